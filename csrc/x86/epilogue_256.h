/* epilogue_256.h: from accumulators to outputs, 16 channels of one pixel in two 256-bit registers.
 *
 *     int32  0..7 | 8..15  --form A, B, D-->  float  --clamp, rint, + zero_point-->  int32  --packs, packus-->  16 bytes
 *
 * Whoever has a tile's sums in registers includes it between BEGIN_TARGET and END_TARGET. */
#ifndef NQ_EPILOGUE_256_H
#define NQ_EPILOGUE_256_H

/* The two-step form D on 8 accumulators, and the inner part of form B. */
INLINE __m256 two_step(__m256i acc, const nq_epilogue *e, int64_t channel) {
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_set1_ps(e->pre));
    value = _mm256_mul_ps(value, _mm256_loadu_ps(e->mul + channel));
    return _mm256_add_ps(value, _mm256_loadu_ps(e->badd + channel));
}

/* Form A or B on 8 accumulators: y as int32 in 0..255. */
INLINE __m256i requantize(__m256i acc, const nq_epilogue *e, int64_t channel, const int form) {
    __m256 value;
    if (form == NQ_FORM_A) {
        value = _mm256_add_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(e->badd + channel));
        value = _mm256_mul_ps(value, _mm256_loadu_ps(e->mul + channel));
    } else {
        value = _mm256_mul_ps(two_step(acc, e, channel), _mm256_set1_ps(e->post));
        value = _mm256_add_ps(value, _mm256_set1_ps(e->offset));
    }
    value = _mm256_max_ps(value, _mm256_set1_ps(e->lo));
    value = _mm256_min_ps(value, _mm256_set1_ps(e->hi));
    return _mm256_add_epi32(_mm256_cvtps_epi32(value), _mm256_set1_epi32(e->zero_point));
}

/* Copies the first `count` of `size`-byte elements of a full row to the output: AVX2 has no masked byte store. */
INLINE void store_columns(uint8_t *out, const void *row, int64_t count, const int size) {
    __builtin_memcpy(out, row, (size_t)(count < NQ_STRIP ? count : NQ_STRIP) * (size_t)size);
}

INLINE void store_row_8bit(__m256i first, __m256i second, const nq_epilogue *e, int64_t channel, int64_t columns,
                           uint8_t *out, const int form) {
    __m256i words = _mm256_packs_epi32(requantize(first, e, channel, form), requantize(second, e, channel + 8, form));
    words = _mm256_permute4x64_epi64(words, 0xD8);       /* packs works in 128-bit lanes: 0 8 4 12 -> 0 4 8 12 */
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    bytes = _mm_xor_si128(bytes, _mm_set1_epi8((char)e->y_flip));
    if (columns >= NQ_STRIP) {
        _mm_storeu_si128((__m128i *)out, bytes);
    } else {
        uint8_t row[NQ_STRIP];
        _mm_storeu_si128((__m128i *)row, bytes);
        store_columns(out, row, columns, 1);
    }
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

INLINE void store_row_32bit(__m256i first, __m256i second, const nq_epilogue *e, int64_t channel, int64_t columns,
                            uint8_t *out) {
    int32_t row[NQ_STRIP];
    if (e->form != NQ_FORM_ACCUMULATOR) {
        first = _mm256_castps_si256(to_float(first, e, channel));
        second = _mm256_castps_si256(to_float(second, e, channel + 8));
    }
    _mm256_storeu_si256((__m256i *)row, first);
    _mm256_storeu_si256((__m256i *)(row + 8), second);
    store_columns(out, row, columns, 4);
}

/* One pixel of one strip: accumulators of channels 0..7 and 8..15 to outputs. */
INLINE void store_row(__m256i first, __m256i second, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out) {
    if (e->form == NQ_FORM_A)
        store_row_8bit(first, second, e, channel, columns, out, NQ_FORM_A);
    else if (e->form == NQ_FORM_B)
        store_row_8bit(first, second, e, channel, columns, out, NQ_FORM_B);
    else
        store_row_32bit(first, second, e, channel, columns, out);
}

#endif
