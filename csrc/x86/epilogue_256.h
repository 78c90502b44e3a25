/* epilogue_256.h: the forms in 256-bit registers, and their outputs to memory: of a tile, 16 channels of each of two pixels
 * in four registers.
 *
 * Whoever has sums in registers includes it between BEGIN_TARGET and END_TARGET. */
#ifndef NQ_EPILOGUE_256_H
#define NQ_EPILOGUE_256_H

#define VEC __m256i
#define VEC_FLOAT __m256
#define LANES 2
#define LOAD(address) _mm256_loadu_si256((const __m256i *)(address))
#define ZERO _mm256_setzero_si256()
#define OP(name) _mm256_##name

#include "forms.h"

INLINE __m256i merge_lanes(__m256i even, __m256i odd) {
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/* AVX2 has no such shift: 2^63 is added before a logical one, and what has become of it is subtracted after. */
INLINE __m256i shift_right_64(__m256i value, __m256i by) {
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    return _mm256_sub_epi64(_mm256_srlv_epi64(_mm256_add_epi64(value, sign), by), _mm256_srlv_epi64(sign, by));
}

INLINE __m256i clamp_64(__m256i value, int64_t lo, int64_t hi) {
    const __m256i low = _mm256_set1_epi64x(lo), high = _mm256_set1_epi64x(hi);
    value = _mm256_blendv_epi8(value, low, _mm256_cmpgt_epi64(low, value));
    return _mm256_blendv_epi8(value, high, _mm256_cmpgt_epi64(value, high));
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

INLINE void store_32bit(__m256i first, __m256i second, const nq_epilogue *e, strip_place at) {
    store_some(at.out, to_32bit(first, e, at.channel), at.columns);
    store_some(at.out + 32, to_32bit(second, e, at.channel + 8), at.columns - 8);
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
