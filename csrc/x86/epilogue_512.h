/* epilogue_512.h: from accumulators to outputs, one pixel of up to four strips, 16 channels to a 512-bit register.
 *
 *     int32  --form A, B, D-->  float  --clamp, rint, + zero_point-->  int32  --four registers to one-->  64 bytes
 *
 * Whoever has a tile's sums in registers includes it between BEGIN_TARGET and END_TARGET. */
#ifndef NQ_EPILOGUE_512_H
#define NQ_EPILOGUE_512_H

INLINE __mmask16 first_columns(int64_t count) { return (__mmask16)(count >= 16 ? 0xFFFF : (1u << count) - 1); }

/* The two-step form D on 16 accumulators, and the inner part of form B. */
INLINE __m512 two_step(__m512i acc, const nq_epilogue *e, int64_t channel) {
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_set1_ps(e->pre));
    value = _mm512_mul_ps(value, _mm512_loadu_ps(e->mul + channel));
    return _mm512_add_ps(value, _mm512_loadu_ps(e->badd + channel));
}

/* Form A or B on 16 accumulators: y - zero_point as int32. */
INLINE __m512i requantize(__m512i acc, const nq_epilogue *e, int64_t channel, const int form) {
    __m512 value;
    if (form == NQ_FORM_A) {
        value = _mm512_add_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(e->badd + channel));
        value = _mm512_mul_ps(value, _mm512_loadu_ps(e->mul + channel));
    } else {
        value = _mm512_mul_ps(two_step(acc, e, channel), _mm512_set1_ps(e->post));
        value = _mm512_add_ps(value, _mm512_set1_ps(e->offset));
    }
    value = _mm512_max_ps(value, _mm512_set1_ps(e->lo));
    value = _mm512_min_ps(value, _mm512_set1_ps(e->hi));
    return _mm512_cvtps_epi32(value);
}

/* Four strips of one row: 64 bytes. The two packs work inside 128-bit lanes and leave the groups of four channels in
 * the order 0 4 8 12 | 1 5 9 13 | ...; one vpermd puts them back. */
INLINE void store_row_64(const __m512i *acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                         const int form) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero_point = _mm512_set1_epi16((int16_t)e->zero_point);
    __m512i y[4];
    UNROLL for (int j = 0; j < 4; j++)
        y[j] = requantize(acc[j], e, channel + 16 * j, form);
    __m512i low = _mm512_add_epi16(_mm512_packs_epi32(y[0], y[1]), zero_point);
    __m512i high = _mm512_add_epi16(_mm512_packs_epi32(y[2], y[3]), zero_point);
    __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
    bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8((char)e->y_flip));
    _mm512_mask_storeu_epi8(out, columns >= 64 ? ~0ull : (1ull << columns) - 1, bytes);
}

INLINE void store_row_16(__m512i acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                         const int form) {
    __m512i y = _mm512_add_epi32(requantize(acc, e, channel, form), _mm512_set1_epi32(e->zero_point));
    __m128i bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(y), _mm_set1_epi8((char)e->y_flip));
    _mm_mask_storeu_epi8(out, first_columns(columns), bytes);
}

INLINE void store_row_8bit(const __m512i *acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                           const int strips, const int form) {
    if (strips == 4)
        store_row_64(acc, e, channel, columns, out, form);
    else
        UNROLL for (int j = 0; j < strips; j++)
            store_row_16(acc[j], e, channel + 16 * j, columns - 16 * j, out + 16 * j, form);
}

/* The forms with 32-bit outputs: 16 channels of one row. */
INLINE void store_row_wide(__m512i acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out) {
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
                      const int strips) {
    if (e->form == NQ_FORM_A)
        store_row_8bit(acc, e, channel, columns, out, strips, NQ_FORM_A);
    else if (e->form == NQ_FORM_B)
        store_row_8bit(acc, e, channel, columns, out, strips, NQ_FORM_B);
    else
        UNROLL for (int j = 0; j < strips; j++)
            store_row_wide(acc[j], e, channel + 16 * j, columns - 16 * j, out + 64 * j);
}

#endif
