/* dwconv_avx512vnni.c: the depthwise kernel on AVX-512 with VNNI: spans of 64 channels, four lanes to a register.
 *
 *     2 pixels x 4 groups: 8 accumulators + 2 columns of 4 groups + what a column is made of + weights, of 32 registers
 *
 * Four groups become 64 bytes by packs and packus, which undo the interleaving (dwconv.c). */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC __m512i
#define LANES 4
#define WINDOWS 1
#define LOAD(address) _mm512_loadu_si512(address)
#define ZERO _mm512_setzero_si512()
#define OP(name) _mm512_##name
#define DOT_ENCODING ""

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

#include "dot.h"
#include "dwconv_line.h"
#include "dwconv_vnni.h"
#include "epilogue_512.h"

INLINE __m512i requantize_span(const __m512i acc[4], const nq_segment *s, const int form) {
    const nq_epilogue *e = s->epilogue;
    const __m512i zero_point = _mm512_set1_epi16((int16_t)e->zero_point);
    const __m512i lowest = _mm512_set1_epi8((char)((int32_t)e->lo + e->zero_point));
    __m512i y[4];
    UNROLL for (int g = 0; g < 4; g++)
        y[g] = requantize_below(acc[g], e, s->channel + 16 * g, form);
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(y[0], y[1]), zero_point);
    __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(y[2], y[3]), zero_point);
    __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(low, high), lowest);
    return _mm512_xor_si512(bytes, _mm512_set1_epi8((char)e->y_flip));
}

INLINE void store_span(__m512i bytes, const nq_segment *s, uint8_t *out) {
    _mm512_mask_storeu_epi8(out, s->columns >= 64 ? ~0ull : (1ull << s->columns) - 1, bytes);
}

/* Lane l of group g holds channels 16 l + 4 g .. + 3. */
static void store_span_32bit(const __m512i *acc, const nq_segment *s, uint8_t *out) {
    int32_t row[4][4][4];
    UNROLL for (int g = 0; g < 4; g++) {
        int32_t lanes[4][4];
        store_row_32bit(acc[g], s->epilogue, s->channel + 16 * g, 16, (uint8_t *)lanes);
        UNROLL for (int l = 0; l < 4; l++)
            __builtin_memcpy(row[l][g], lanes[l], 16);
    }
    __builtin_memcpy(out, row, (size_t)s->columns * 4);
}

static void dwconv_64(const nq_segment *s) { dwconv(s); }

END_TARGET

const nq_depthwise nq_depthwise_avx512vnni = {.kernels = {[2] = nq_dwconv_32_avx512vl, [4] = dwconv_64}, DWCONV_VNNI_TABLE};

#endif
