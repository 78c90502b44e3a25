/* dwconv_256.h: the depthwise kernel in 256-bit registers, but for the products. Spans of two strips.
 *
 * Whoever includes it between BEGIN_TARGET and END_TARGET defines add_quad. */
#ifndef NQ_DWCONV_256_H
#define NQ_DWCONV_256_H

#include "epilogue_256.h"

enum { DW_PIXELS = 2, DW_SPAN = 2 * NQ_STRIP };

/* The includer's part: adds four taps (or, at the end, fewer) of the span to its four groups of accumulators. */
INLINE void add_quad(__m256i acc[4], const uint8_t *const *taps, int64_t offset, const __m256i *w, int64_t count);

/* Four groups to 32 bytes: packs and packus work in 128-bit lanes, and so undo the interleaving. */
INLINE void store_span_8bit(const __m256i acc[4], const nq_segment *s, uint8_t *out, const int form) {
    __m256i y[4];
    UNROLL for (int g = 0; g < 4; g++)
        y[g] = requantize(acc[g], s->epilogue, s->channel + 8 * g, form);
    __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(y[0], y[1]), _mm256_packs_epi32(y[2], y[3]));
    bytes = _mm256_xor_si256(bytes, _mm256_set1_epi8((char)s->epilogue->y_flip));
    if (s->columns >= DW_SPAN) {
        _mm256_storeu_si256((__m256i *)out, bytes);
    } else {
        uint8_t row[DW_SPAN];
        _mm256_storeu_si256((__m256i *)row, bytes);
        __builtin_memcpy(out, row, (size_t)s->columns);
    }
}

INLINE void store_span_32bit(const __m256i acc[4], const nq_segment *s, uint8_t *out) {
    int32_t row[DW_SPAN];
    UNROLL for (int g = 0; g < 4; g++) {
        __m256i y = acc[g];
        if (s->epilogue->form != NQ_FORM_ACCUMULATOR)
            y = _mm256_castps_si256(to_float(y, s->epilogue, s->channel + 8 * g));
        _mm_storeu_si128((__m128i *)(row + 4 * g), _mm256_castsi256_si128(y));
        _mm_storeu_si128((__m128i *)(row + NQ_STRIP + 4 * g), _mm256_extracti128_si256(y, 1));
    }
    __builtin_memcpy(out, row, (size_t)s->columns * 4);
}

INLINE void segment(const nq_segment *s, int64_t first, const int pixels, const int form) {
    const nq_epilogue *e = s->epilogue;
    __m256i acc[DW_PIXELS][4];
    UNROLL for (int g = 0; g < 4; g++)
        UNROLL for (int i = 0; i < pixels; i++)
            acc[i][g] = _mm256_loadu_si256((const __m256i *)(e->init + s->channel + 8 * g));
    const __m256i *w = (const __m256i *)s->weights;
    for (int64_t t = 0; t < s->tap_count; t += NQ_QUAD, w += QUAD_VECTORS)
        UNROLL for (int i = 0; i < pixels; i++)
            add_quad(acc[i], s->taps + t, s->offset + (first + i) * s->pixel_stride, w, s->tap_count - t);
    UNROLL for (int i = 0; i < pixels; i++) {
        uint8_t *out = s->out + (first + i) * s->out_stride;
        if (form < NQ_FORM_ACCUMULATOR)
            store_span_8bit(acc[i], s, out, form);
        else
            store_span_32bit(acc[i], s, out);
    }
}

INLINE void line(const nq_segment *s, const int form) {
    int64_t x = 0;
    for (; x + DW_PIXELS <= s->pixels; x += DW_PIXELS)
        segment(s, x, DW_PIXELS, form);
    if (x < s->pixels)
        segment(s, x, 1, form);
}

static void dwconv_32(const nq_segment *s) {
    if (s->epilogue->form == NQ_FORM_A)
        line(s, NQ_FORM_A);
    else if (s->epilogue->form == NQ_FORM_B)
        line(s, NQ_FORM_B);
    else
        line(s, NQ_FORM_ACCUMULATOR);
}

#endif
