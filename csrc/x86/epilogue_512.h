/* epilogue_512.h: from accumulators to outputs, one pixel of up to four strips, 16 channels to a 512-bit register.
 *
 *     int32  --form A, B, D-->  float  --clamp, rint-->  int32  --four registers to one, + zero_point-->  64 bytes
 *            --form C, in int64-->  int32  ----^
 *
 * Whoever has a tile's sums in registers includes it between BEGIN_TARGET and END_TARGET. `form` is a constant wherever
 * it is a parameter. */
#ifndef NQ_EPILOGUE_512_H
#define NQ_EPILOGUE_512_H

enum { TILE_STRIPS = 4 };        /* at most, in a tile of 512-bit registers */

INLINE __mmask16 first_columns(int64_t count) { return (__mmask16)(count >= 16 ? 0xFFFF : (1u << count) - 1); }

/* The two-step form D on 16 accumulators, and the inner part of form B. */
INLINE __m512 two_step(__m512i acc, const nq_epilogue *e, int64_t channel) {
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_set1_ps(e->pre));
    value = _mm512_mul_ps(value, _mm512_loadu_ps(e->mul + channel));
    return _mm512_add_ps(value, _mm512_loadu_ps(e->badd + channel));
}

/* vpmuldq multiplies the even channels of its operands only, so that form C works on even and odd ones apart. */
INLINE __m512i multiply_odd(__m512i a, __m512i b) {
    return _mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
}

INLINE __m512i merge_lanes(__m512i even, __m512i odd) {
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

/* nq_multiply of numerics.h, rounded twice. */
INLINE __m512i multiply_twice_rounded(__m512i acc, __m512i multiplier, __m512i shift) {
    const __m512i zero = _mm512_setzero_si512(), nudge = _mm512_set1_epi64(1 << 30);
    const __m512i left = _mm512_max_epi32(shift, zero), right = _mm512_sub_epi32(left, shift);
    const __m512i moved = _mm512_sllv_epi32(acc, left);
    const __mmask16 overflows = _mm512_cmpneq_epi32_mask(_mm512_srav_epi32(moved, left), acc);
    const __m512i limit = _mm512_xor_si512(_mm512_srai_epi32(acc, 31), _mm512_set1_epi32(INT32_MAX));
    const __m512i clamped = _mm512_mask_mov_epi32(moved, overflows, limit);
    const __m512i even = _mm512_srli_epi64(_mm512_add_epi64(_mm512_mul_epi32(clamped, multiplier), nudge), 31);
    const __m512i odd = _mm512_srli_epi64(_mm512_add_epi64(multiply_odd(clamped, multiplier), nudge), 31);
    const __m512i high = merge_lanes(even, odd);
    const __m512i half = _mm512_srli_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), right), 1);
    const __m512i size = _mm512_srlv_epi32(_mm512_add_epi32(_mm512_abs_epi32(high), half), right);
    return _mm512_mask_sub_epi32(size, _mm512_cmplt_epi32_mask(high, zero), zero, size);
}

/* nq_multiply, rounded once, of products in int64, clamped. */
INLINE __m512i round_once(__m512i product, __m512i right, const nq_epilogue *e) {
    const __m512i one = _mm512_set1_epi64(1), nudge = _mm512_sllv_epi64(one, _mm512_sub_epi64(right, one));
    const __m512i steps = _mm512_srav_epi64(_mm512_add_epi64(product, nudge), right);
    return _mm512_min_epi64(_mm512_max_epi64(steps, _mm512_set1_epi64((int64_t)e->lo)),
                            _mm512_set1_epi64((int64_t)e->hi));
}

INLINE __m512i multiply_once_rounded(__m512i acc, __m512i multiplier, __m512i shift, const nq_epilogue *e) {
    const __m512i right = _mm512_sub_epi32(_mm512_set1_epi32(31), shift);
    return merge_lanes(
        round_once(_mm512_mul_epi32(acc, multiplier), _mm512_and_si512(right, _mm512_set1_epi64(63)), e),
        round_once(multiply_odd(acc, multiplier), _mm512_srli_epi64(right, 32), e));
}

/* Form A or B on 16 accumulators, before it is clamped and rounded. */
INLINE __m512 scaled(__m512i acc, const nq_epilogue *e, int64_t channel, const int form) {
    if (form == NQ_FORM_B)
        return _mm512_add_ps(_mm512_mul_ps(two_step(acc, e, channel), _mm512_set1_ps(e->post)), _mm512_set1_ps(e->offset));
    const __m512 value =
        _mm512_fmadd_ps(_mm512_loadu_ps(e->badd + channel), _mm512_set1_ps(e->pre), _mm512_cvtepi32_ps(acc));
    return _mm512_mul_ps(value, _mm512_loadu_ps(e->mul + channel));
}

/* Form A, B or C on 16 accumulators: y - zero_point as int32, clamped from above. Who stores clamps from below, after
 * packing; a float too low for int32 is converted to INT32_MIN. */
INLINE __m512i requantize_below(__m512i acc, const nq_epilogue *e, int64_t channel, const int form) {
    __m512 value;
    if (form == NQ_FORM_A || form == NQ_FORM_B) {
        value = scaled(acc, e, channel, form);
    } else {
        const __m512i multiplier = _mm512_loadu_si512(e->multiplier + channel);
        const __m512i shift = _mm512_loadu_si512(e->shift + channel);
        if (form == NQ_FORM_C_DOUBLE)
            value = _mm512_cvtepi32_ps(multiply_twice_rounded(acc, multiplier, shift));
        else
            value = _mm512_cvtepi32_ps(multiply_once_rounded(acc, multiplier, shift, e));
    }
    return _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(e->hi)));
}

/* The same, clamped from both sides. */
INLINE __m512i requantize(__m512i acc, const nq_epilogue *e, int64_t channel, const int form) {
    return _mm512_max_epi32(requantize_below(acc, e, channel, form), _mm512_set1_epi32((int32_t)e->lo));
}

/* Up to four strips of one row: 64 bytes. The two packs work inside 128-bit lanes and leave the groups of four channels in
 * the order 0 4 8 12 | 1 5 9 13 | ...; one vpermd puts them back. */
INLINE void store_row_8bit(const __m512i *acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                           const int strips, const int form) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero_point = _mm512_set1_epi16((int16_t)e->zero_point);
    __m512i y[TILE_STRIPS];
    UNROLL for (int j = 0; j < TILE_STRIPS; j++)
        y[j] = j < strips ? requantize_below(acc[j], e, channel + 16 * j, form) : y[0];
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(y[0], y[1]), zero_point), high = low;
    if (strips > 2)
        high = _mm512_adds_epi16(_mm512_packs_epi32(y[2], y[3]), zero_point);
    __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(low, high), _mm512_set1_epi8((char)((int32_t)e->lo + e->zero_point)));
    bytes = _mm512_xor_si512(_mm512_permutexvar_epi32(order, bytes), _mm512_set1_epi8((char)e->y_flip));
    _mm512_mask_storeu_epi8(out, columns >= 64 ? ~0ull : (1ull << columns) - 1, bytes);
}

/* The forms with 32-bit outputs: 16 channels of one row. */
INLINE void store_row_32bit(__m512i acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out) {
    __m512 value;
    if (e->form == NQ_FORM_ACCUMULATOR) {
        _mm512_mask_storeu_epi32(out, first_columns(columns), acc);
        return;
    }
    if (e->form == NQ_FORM_D_FUSED)
        value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(e->mul + channel),
                                _mm512_loadu_ps(e->badd + channel));
    else
        value = two_step(acc, e, channel);
    value = _mm512_max_ps(value, _mm512_set1_ps(e->lo));
    _mm512_mask_storeu_ps(out, first_columns(columns), value);
}

/* One pixel of `strips` strips: accumulators to outputs. */
INLINE void store_row(const __m512i *acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                      const int strips, const int form) {
    if (form < NQ_FORM_ACCUMULATOR)
        store_row_8bit(acc, e, channel, columns, out, strips, form);
    else
        UNROLL for (int j = 0; j < strips; j++)
            store_row_32bit(acc[j], e, channel + 16 * j, columns - 16 * j, out + 64 * j);
}

#endif
