/* dwconv_256.h: the depthwise kernel in 256-bit registers, but for the products: spans of 32 channels, two lanes to a
 * register. */
#ifndef NQ_DWCONV_256_H
#define NQ_DWCONV_256_H

#include "epilogue_256.h"
#include "dwconv_line.h"

INLINE void store_span(__m256i bytes, const nq_segment *s, uint8_t *out) {
    if (s->columns >= 2 * NQ_STRIP) {
        _mm256_storeu_si256((__m256i *)out, bytes);
    } else {
        uint8_t row[2 * NQ_STRIP];
        _mm256_storeu_si256((__m256i *)row, bytes);
        __builtin_memcpy(out, row, (size_t)s->columns);
    }
}

/* Lane l of group g holds channels 16 l + 4 g .. + 3. */
static void store_span_32bit(const __m256i *acc, const nq_segment *s, uint8_t *out) {
    int32_t row[2][4][4];
    UNROLL for (int g = 0; g < 4; g++) {
        const __m256i y = to_32bit(acc[g], s->epilogue, s->channel + 8 * g);
        _mm_storeu_si128((__m128i *)row[0][g], _mm256_castsi256_si128(y));
        _mm_storeu_si128((__m128i *)row[1][g], _mm256_extracti128_si256(y, 1));
    }
    __builtin_memcpy(out, row, (size_t)s->columns * 4);
}

#endif
