/* numerics.h: the scalar arithmetic of nanoquant/numerics.py, for portable C.
 *
 * Nothing here calls libm: every result follows from IEEE 754 additions and multiplications, so that every machine gets
 * the same bits. The build says -ffp-contract=off; with contraction, `a * b + c` would be another number. */
#ifndef NQ_NUMERICS_H
#define NQ_NUMERICS_H

#include <stdint.h>
#include <string.h>

static inline float nq_clamp(float value, float lo, float hi) {
    value = value > lo ? value : lo;
    return value < hi ? value : hi;
}

/* Round half to even, |value| <= 2^22. Adding 1.5 * 2^23 pushes the fraction out of the mantissa, where the addition's
 * own rounding (half to even) does the work; subtracting it brings the integer back. */
static inline int32_t nq_rint(float value) {
    const float magic = 12582912.0f;
    return (int32_t)((value + magic) - magic);
}

/* The same in double: |value| <= 2^51. */
static inline int64_t nq_rint64(double value) {
    const double magic = 6755399441055744.0;
    return (int64_t)((value + magic) - magic);
}

/* Form C: acc * multiplier * 2^(shift - 31), multiplier in [2^30, 2^31), shift in -31..30. Rounded once, half up; or
 * twice: a shift to the left saturates, the product is rounded half up, a shift to the right half away from zero. >> of a
 * negative number keeps its sign with every compiler that builds this. */
static inline int64_t nq_multiply(int32_t acc, int32_t multiplier, int32_t shift, int once) {
    if (once)
        return ((int64_t)acc * multiplier + ((int64_t)1 << (30 - shift))) >> (31 - shift);
    const int64_t left = (int64_t)acc * ((int64_t)1 << (shift > 0 ? shift : 0));
    const int32_t right = shift < 0 ? -shift : 0;
    const int64_t clamped = left < INT32_MIN ? INT32_MIN : left > INT32_MAX ? INT32_MAX : left;
    const int64_t high = (clamped * multiplier + ((int64_t)1 << 30)) >> 31, half = ((int64_t)1 << right) >> 1;
    return high < 0 ? -((half - high) >> right) : (high + half) >> right;
}

/* a * b + c, rounded once to float32.
 *
 * In double the product of two floats is exact (24 + 24 <= 53 bits), the sum is not. Its error, which Knuth's two-sum
 * recovers exactly, tells on which side of `sum` the true value lies. Were we to round `sum` to float now, we would
 * round twice. So we first round it "to odd": when inexact, we take the neighbour whose last bit is 1. An odd double
 * is never a tie of float32 (53 >= 24 + 2), and lies on the true value's side of every tie: the second rounding is
 * then right (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", IEEE TC 2008). */
static inline float nq_fma(float a, float b, float c) {
    double product = (double)a * (double)b, sum = product + (double)c;
    double part = sum - product;
    double error = (product - (sum - part)) + ((double)c - part);
    int64_t bits;
    memcpy(&bits, &sum, 8);
    if (error != 0.0 && (bits & 1) == 0) {
        bits += (error > 0.0) == (sum > 0.0) ? 1 : -1;
        memcpy(&sum, &bits, 8);
    }
    return (float)sum;
}

#endif
