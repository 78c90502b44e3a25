/* forms.h: the arithmetic of nanoquant.h's forms, in registers of either width: accumulators to y - zero_point, to bytes.
 *
 *     int32  --form A, B, D-->  float  --clamp, rint-->  int32  --four registers to one, + zero_point-->  bytes
 *            --form C, in int64-->  int32  ----^
 *
 * For epilogue_256.h and epilogue_512.h, which define VEC, VEC_FLOAT, LOAD, OP(name), an intrinsic of that width,
 * and three functions. Operators are C's own, on vectors of lanes. `form` is a constant wherever it is a parameter. */
#ifndef NQ_FORMS_H
#define NQ_FORMS_H

typedef int32_t lanes_32 __attribute__((vector_size(sizeof(VEC))));
typedef int64_t lanes_64 __attribute__((vector_size(sizeof(VEC))));

/* The low halves of even's and odd's int64 lanes in turn: 0 of even, 0 of odd, 1 of even ..; an arithmetic shift; a clamp. */
INLINE VEC merge_lanes(VEC even, VEC odd);
INLINE VEC shift_right_64(VEC value, VEC by);
INLINE VEC clamp_64(VEC value, int64_t lo, int64_t hi);

/* The two-step form D, and the inner part of form B. */
INLINE VEC_FLOAT two_step(VEC acc, const nq_epilogue *e, int64_t channel) {
    const VEC_FLOAT value = OP(cvtepi32_ps)(acc) * OP(set1_ps)(e->pre);
    return value * OP(loadu_ps)(e->mul + channel) + OP(loadu_ps)(e->badd + channel);
}

/* vpmuldq multiplies the even lanes of int32, so that form C works on even and odd ones apart. */
INLINE VEC multiply_odd(VEC a, VEC b) { return OP(mul_epi32)(OP(srli_epi64)(a, 32), OP(srli_epi64)(b, 32)); }

/* nq_multiply of numerics.h, rounded twice. */
INLINE VEC multiply_twice_rounded(VEC acc, VEC multiplier, VEC shift) {
    const VEC nudge = (VEC)((lanes_64){0} + (1 << 30));
    const VEC left = OP(max_epi32)(shift, (VEC)(lanes_32){0}), right = OP(sub_epi32)(left, shift);
    const VEC moved = OP(sllv_epi32)(acc, left), limit = OP(srai_epi32)(acc, 31) ^ (VEC)((lanes_32){0} + INT32_MAX);
    const VEC fits = (VEC)((lanes_32)OP(srav_epi32)(moved, left) == (lanes_32)acc);
    const VEC clamped = (moved & fits) | (limit & ~fits);
    const VEC even = OP(add_epi64)(OP(mul_epi32)(clamped, multiplier), nudge);
    const VEC odd = OP(add_epi64)(multiply_odd(clamped, multiplier), nudge);
    const VEC high = merge_lanes(OP(srli_epi64)(even, 31), OP(srli_epi64)(odd, 31)), sign = OP(srai_epi32)(high, 31);
    const VEC half = OP(srli_epi32)(OP(sllv_epi32)(OP(set1_epi32)(1), right), 1);
    const VEC size = OP(srlv_epi32)(OP(add_epi32)(OP(abs_epi32)(high), half), right);
    return OP(sub_epi32)(size ^ sign, sign);
}

/* nq_multiply, rounded once, of products in int64, clamped. */
INLINE VEC round_once(VEC product, VEC right, const nq_epilogue *e) {
    const VEC one = (VEC)((lanes_64){0} + 1), nudge = OP(sllv_epi64)(one, OP(sub_epi64)(right, one));
    return clamp_64(shift_right_64(OP(add_epi64)(product, nudge), right), (int64_t)e->lo, (int64_t)e->hi);
}

INLINE VEC multiply_once_rounded(VEC acc, VEC multiplier, VEC shift, const nq_epilogue *e) {
    const VEC right = OP(sub_epi32)(OP(set1_epi32)(31), shift);
    return merge_lanes(round_once(OP(mul_epi32)(acc, multiplier), right & (VEC)((lanes_64){0} + 63), e),
                       round_once(multiply_odd(acc, multiplier), OP(srli_epi64)(right, 32), e));
}

/* Form A or B, before it is clamped and rounded. */
INLINE VEC_FLOAT scaled(VEC acc, const nq_epilogue *e, int64_t channel, const int form) {
    if (form == NQ_FORM_B)
        return two_step(acc, e, channel) * OP(set1_ps)(e->post) + OP(set1_ps)(e->offset);
    return OP(fmadd_ps)(OP(loadu_ps)(e->badd + channel), OP(set1_ps)(e->pre), OP(cvtepi32_ps)(acc)) *
           OP(loadu_ps)(e->mul + channel);
}

/* Form A, B or C: y - zero_point as int32, clamped from above. Clamping from below is left to to_bytes; a float too low for
 * int32 is converted to INT32_MIN. */
INLINE VEC requantize_below(VEC acc, const nq_epilogue *e, int64_t channel, const int form) {
    VEC_FLOAT value;
    if (form == NQ_FORM_A || form == NQ_FORM_B)
        value = scaled(acc, e, channel, form);
    else if (form == NQ_FORM_C_DOUBLE)
        value = OP(cvtepi32_ps)(
            multiply_twice_rounded(acc, LOAD(e->multiplier + channel), LOAD(e->shift + channel)));
    else
        value = OP(cvtepi32_ps)(
            multiply_once_rounded(acc, LOAD(e->multiplier + channel), LOAD(e->shift + channel), e));
    return OP(cvtps_epi32)(OP(min_ps)(value, OP(set1_ps)(e->hi)));
}

/* Four registers of such steps to one of bytes, whose 128-bit lanes hold 32 bits of y[0], of y[1], of y[2], of y[3]. */
INLINE VEC to_bytes(const VEC y[4], const nq_epilogue *e) {
    const VEC zero_point = OP(set1_epi16)((int16_t)e->zero_point);
    const VEC low = OP(adds_epi16)(OP(packs_epi32)(y[0], y[1]), zero_point);
    const VEC high = OP(adds_epi16)(OP(packs_epi32)(y[2], y[3]), zero_point);
    return OP(max_epu8)(OP(packus_epi16)(low, high), OP(set1_epi8)((char)((int32_t)e->lo + e->zero_point))) ^
           OP(set1_epi8)((char)e->y_flip);
}

/* The forms with 32-bit outputs. */
INLINE VEC to_32bit(VEC acc, const nq_epilogue *e, int64_t channel) {
    VEC_FLOAT value;
    if (e->form == NQ_FORM_ACCUMULATOR)
        return acc;
    if (e->form == NQ_FORM_D_FUSED)
        value = OP(fmadd_ps)(OP(cvtepi32_ps)(acc), OP(loadu_ps)(e->mul + channel), OP(loadu_ps)(e->badd + channel));
    else
        value = two_step(acc, e, channel);
    return (VEC)OP(max_ps)(value, OP(set1_ps)(e->lo));
}

#endif
