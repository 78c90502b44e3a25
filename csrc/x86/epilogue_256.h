/* epilogue_256.h: from accumulators to outputs, 16 channels of each of two pixels in four 256-bit registers.
 *
 *     int32  0..7 | 8..15  --form A, B, D-->  float  --clamp, rint-->  int32  --packs, + zero_point, packus-->  bytes
 *                          --form C, in int64-->  int32  --------^
 *
 * Whoever has a tile's sums in registers includes it between BEGIN_TARGET and END_TARGET. `form` is a constant wherever
 * it is a parameter. */
#ifndef NQ_EPILOGUE_256_H
#define NQ_EPILOGUE_256_H

INLINE __m256i load_8(const int32_t *table) { return _mm256_loadu_si256((const __m256i *)table); }

/* The two-step form D on 8 accumulators, and the inner part of form B. */
INLINE __m256 two_step(__m256i acc, const nq_epilogue *e, int64_t channel) {
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_set1_ps(e->pre));
    value = _mm256_mul_ps(value, _mm256_loadu_ps(e->mul + channel));
    return _mm256_add_ps(value, _mm256_loadu_ps(e->badd + channel));
}

/* vpmuldq multiplies the even channels of its operands only. f(even) and f(odd) as two registers of int64 become one of
 * int32:
 *
 *     even  | 0      | 2      | ..       each int64's low half, `bit` bits up
 *     odd   | 1      | 3      | ..   -->   | 0 | 1 | 2 | 3 | ..                                                        */
INLINE __m256i merge_lanes(__m256i even, __m256i odd, const int bit) {
    return _mm256_blend_epi32(_mm256_srli_epi64(even, bit), _mm256_slli_epi64(odd, 32 - bit), 0xAA);
}

/* nq_multiply of numerics.h, rounded twice. */
INLINE __m256i multiply_twice_rounded(__m256i acc, __m256i multiplier, __m256i shift) {
    const __m256i zero = _mm256_setzero_si256(), nudge = _mm256_set1_epi64x(1 << 30);
    const __m256i left = _mm256_max_epi32(shift, zero), right = _mm256_sub_epi32(left, shift);
    const __m256i moved = _mm256_sllv_epi32(acc, left), fits = _mm256_cmpeq_epi32(_mm256_srav_epi32(moved, left), acc);
    const __m256i limit = _mm256_xor_si256(_mm256_srai_epi32(acc, 31), _mm256_set1_epi32(INT32_MAX));
    const __m256i clamped = _mm256_blendv_epi8(limit, moved, fits);
    const __m256i even = _mm256_mul_epi32(clamped, multiplier);
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(clamped, 32), _mm256_srli_epi64(multiplier, 32));
    const __m256i high = merge_lanes(_mm256_add_epi64(even, nudge), _mm256_add_epi64(odd, nudge), 31);
    const __m256i half = _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), right), 1);
    const __m256i size = _mm256_srlv_epi32(_mm256_add_epi32(_mm256_abs_epi32(high), half), right);
    return _mm256_sign_epi32(size, high);
}

/* nq_multiply, rounded once, of the even channels, clamped. AVX2 has no arithmetic shift of int64: 2^63 is added before a
 * logical one, and what has become of it is subtracted after. */
INLINE __m256i multiply_even(__m256i acc, __m256i multiplier, __m256i right, const nq_epilogue *e) {
    const __m256i one = _mm256_set1_epi64x(1), sign = _mm256_set1_epi64x(INT64_MIN);
    const __m256i lo = _mm256_set1_epi64x((int64_t)e->lo), hi = _mm256_set1_epi64x((int64_t)e->hi);
    const __m256i nudge = _mm256_sllv_epi64(one, _mm256_sub_epi64(right, one));
    __m256i steps = _mm256_add_epi64(_mm256_mul_epi32(acc, multiplier), nudge);
    steps = _mm256_srlv_epi64(_mm256_add_epi64(steps, sign), right);
    steps = _mm256_sub_epi64(steps, _mm256_srlv_epi64(sign, right));
    steps = _mm256_blendv_epi8(steps, lo, _mm256_cmpgt_epi64(lo, steps));
    return _mm256_blendv_epi8(steps, hi, _mm256_cmpgt_epi64(steps, hi));
}

INLINE __m256i multiply_once_rounded(__m256i acc, __m256i multiplier, __m256i shift, const nq_epilogue *e) {
    const __m256i right = _mm256_sub_epi32(_mm256_set1_epi32(31), shift);
    const __m256i even = multiply_even(acc, multiplier, _mm256_and_si256(right, _mm256_set1_epi64x(63)), e);
    const __m256i odd = multiply_even(_mm256_srli_epi64(acc, 32), _mm256_srli_epi64(multiplier, 32),
                                      _mm256_srli_epi64(right, 32), e);
    return merge_lanes(even, odd, 0);
}

/* Form A, B or C on 8 accumulators: y - zero_point as int32, clamped from above. Who stores clamps from below, after
 * packing; a float too low for int32 is converted to INT32_MIN. */
INLINE __m256i requantize_below(__m256i acc, const nq_epilogue *e, int64_t channel, const int form) {
    __m256 value;
    if (form == NQ_FORM_A) {
        value = _mm256_fmadd_ps(_mm256_loadu_ps(e->badd + channel), _mm256_set1_ps(e->pre), _mm256_cvtepi32_ps(acc));
        value = _mm256_mul_ps(value, _mm256_loadu_ps(e->mul + channel));
    } else if (form == NQ_FORM_B) {
        value = _mm256_mul_ps(two_step(acc, e, channel), _mm256_set1_ps(e->post));
        value = _mm256_add_ps(value, _mm256_set1_ps(e->offset));
    } else {
        const __m256i multiplier = load_8(e->multiplier + channel), shift = load_8(e->shift + channel);
        if (form == NQ_FORM_C_DOUBLE)
            value = _mm256_cvtepi32_ps(multiply_twice_rounded(acc, multiplier, shift));
        else
            value = _mm256_cvtepi32_ps(multiply_once_rounded(acc, multiplier, shift, e));
    }
    return _mm256_cvtps_epi32(_mm256_min_ps(value, _mm256_set1_ps(e->hi)));
}

/* The first 1..15 bytes of a row, by the bits of their count: AVX2 has no masked byte store. */
INLINE void store_bytes(uint8_t *out, __m128i bytes, int64_t count) {
    if (count & 8) {
        _mm_storel_epi64((__m128i *)out, bytes);
        bytes = _mm_srli_si128(bytes, 8);
        out += 8;
    }
    uint64_t rest = (uint64_t)_mm_cvtsi128_si64(bytes);
    for (int size = 4; size > 0; size >>= 1)
        if (count & size) {
            for (int i = 0; i < size; i++)
                out[i] = (uint8_t)(rest >> 8 * i);
            rest >>= 8 * size;
            out += size;
        }
}

/* The first `count` of 8 channels of 32 bits. */
INLINE void store_some(uint8_t *out, __m256i values, int64_t count) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_epi32((int *)out, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), index), values);
}

/* Four times 8 such steps to 32 bytes: half a 128-bit lane of y[0], of y[1], of y[2], of y[3], and so with the other. */
INLINE __m256i to_bytes(const __m256i y[4], const nq_epilogue *e) {
    const __m256i zero_point = _mm256_set1_epi16((int16_t)e->zero_point);
    const __m256i lowest = _mm256_set1_epi8((char)((int32_t)e->lo + e->zero_point));
    __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(y[0], y[1]), zero_point);
    __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(y[2], y[3]), zero_point);
    __m256i bytes = _mm256_max_epu8(_mm256_packus_epi16(low, high), lowest);
    return _mm256_xor_si256(bytes, _mm256_set1_epi8((char)e->y_flip));
}

INLINE void store_channels(uint8_t *out, __m128i bytes, int64_t columns) {
    if (columns >= NQ_STRIP)
        _mm_storeu_si128((__m128i *)out, bytes);
    else
        store_bytes(out, bytes, columns);
}

/* A strip of a pixel: where its channels are in the tables, how many are stored, and where. */
typedef struct {
    int64_t channel, columns;
    uint8_t *out;
} strip_place;

/* Channels 0..3 and 8..11 of both pixels are in the low lane, 4..7 and 12..15 in the high one, until vpermd sorts them. */
INLINE void store_two_8bit(const __m256i acc[4], const nq_epilogue *e, const strip_place at[2], const int form) {
    __m256i y[4];
    UNROLL for (int i = 0; i < 4; i++)
        y[i] = requantize_below(acc[i], e, at[i / 2].channel + 8 * (i % 2), form);
    const __m256i bytes = _mm256_permutevar8x32_epi32(to_bytes(y, e), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    store_channels(at[0].out, _mm256_castsi256_si128(bytes), at[0].columns);
    store_channels(at[1].out, _mm256_extracti128_si256(bytes, 1), at[1].columns);
}

INLINE __m256 to_float(__m256i acc, const nq_epilogue *e, int64_t channel) {
    __m256 value;
    if (e->form == NQ_FORM_D_FUSED)
        value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(e->mul + channel),
                                _mm256_loadu_ps(e->badd + channel));
    else
        value = two_step(acc, e, channel);
    return _mm256_max_ps(value, _mm256_set1_ps(e->lo));
}

INLINE void store_32bit(__m256i first, __m256i second, const nq_epilogue *e, strip_place at) {
    if (e->form != NQ_FORM_ACCUMULATOR) {
        first = _mm256_castps_si256(to_float(first, e, at.channel));
        second = _mm256_castps_si256(to_float(second, e, at.channel + 8));
    }
    store_some(at.out, first, at.columns);
    store_some(at.out + 32, second, at.columns - 8);
}

/* Two strips of pixels: accumulators of channels 0..7 and 8..15 of each to outputs. They may be the same. */
INLINE void store_two(const __m256i acc[4], const nq_epilogue *e, const strip_place at[2], const int form) {
    if (form < NQ_FORM_ACCUMULATOR) {
        store_two_8bit(acc, e, at, form);
    } else {
        store_32bit(acc[0], acc[1], e, at[0]);
        if (at[1].out != at[0].out)
            store_32bit(acc[2], acc[3], e, at[1]);
    }
}

#endif
