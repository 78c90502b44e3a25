/* vec_scalar.h: the vocabulary of rows.h in plain C: one lane. Read rows.h with this page beside it: it says what the
 * words mean.
 *
 *     vf    W float32 lanes, on which + - * / work           vb    4 W bytes, on which ^ works
 *     vi    W int32 lanes, on which + - * work               vu    the same unsigned, on which + & | << >> work */
#ifndef NQ_VEC_SCALAR_H
#define NQ_VEC_SCALAR_H

enum { W = 1, BLOCK = 4 * W };

typedef float vf;
typedef int32_t vi;
typedef uint32_t vu;
typedef uint8_t vb __attribute__((vector_size(4)));

INLINE vf load(const float *x) { return *x; }
INLINE void store(float *y, vf x) { *y = x; }
INLINE vf all(float x) { return x; }
INLINE vi all_ints(int32_t x) { return x; }
INLINE vb load_bytes(const uint8_t *x) { return (vb){x[0], x[1], x[2], x[3]}; }
INLINE vb load_part(const uint8_t *x, int64_t count, uint8_t filler) {         /* count < BLOCK; the others are filler */
    return (vb){count > 0 ? x[0] : filler, count > 1 ? x[1] : filler, count > 2 ? x[2] : filler, filler};
}
INLINE void store_bytes(uint8_t *y, vb x) { memcpy(y, &x, 4); }
INLINE vb all_bytes(uint8_t x) { return (vb){x, x, x, x}; }

INLINE vi widen(const uint8_t *x) { return *x; }                      /* W bytes to W int32 */
INLINE vi widen_signed(const uint8_t *x) { return (int8_t)*x; }
INLINE vf to_float(vi x) { return (float)x; }
/* Rounds half to even. Beyond +-32768, where `narrow` makes all numbers alike, any such number may come out; for NaN and
 * numbers beyond int32 even INT32_MIN, which is invalid. */
INLINE vi to_int(vf x) { return nq_rint(nq_clamp(x, -32768.0f, 32768.0f)); }
INLINE vf fused(vf a, vf b, vf c) { return nq_fma(a, b, c); }         /* a * b + c, rounded once */
INLINE vf lesser(vf a, vf b) { return a < b ? a : b; }                /* b when one is NaN */
INLINE vf greater(vf a, vf b) { return a > b ? a : b; }

/* Whether to_int or lesser may have met something invalid since forget_invalid(); NaN always is. Where CPUs keep a flag, it
 * is theirs. What was computed must have gone to memory that others see. */
INLINE void forget_invalid(void) {}
INLINE int met_invalid(void) { return 1; }

INLINE vb lesser_bytes(vb a, vb b) {
    for (int i = 0; i < 4; i++)
        a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
}

INLINE vb greater_bytes(vb a, vb b) {
    for (int i = 0; i < 4; i++)
        a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

/* Adds each byte to one lane or another of `sum`. */
INLINE vi add_bytes(vi sum, vb x) { return sum + x[0] + x[1] + x[2] + x[3]; }

/* 4 W integers to bytes: max(x + zero_point, 0), at most 255. */
INLINE vb narrow(const vi x[4], int32_t zero_point) {
    vb y;
    for (int i = 0; i < 4; i++) {
        const int32_t q = x[i] + zero_point;
        y[i] = (uint8_t)(q < 0 ? 0 : q > 255 ? 255 : q);
    }
    return y;
}

INLINE vb lookup(vb x, const uint8_t *table) { return (vb){table[x[0]], table[x[1]], table[x[2]], table[x[3]]}; }

#endif
