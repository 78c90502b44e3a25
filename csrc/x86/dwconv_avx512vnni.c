/* dwconv_avx512vnni.c: the depthwise kernel on AVX-512 with VNNI: spans of 64 channels, four lanes to a register.
 *
 *     4 pixels x 4 groups: 16 accumulators + 2 columns of 4 groups + what makes a column + weights, of 32 registers */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define DOT_ENCODING ""

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

#include "epilogue_512.h"
#include "dwconv_line.h"
#include "dot.h"
#include "dwconv_vnni.h"

INLINE void store_span(__m512i bytes, const nq_segment *s, uint8_t *out) {
    _mm512_mask_storeu_epi8(out, s->columns >= 64 ? ~0ull : (1ull << s->columns) - 1, bytes);
}

/* Lane l of group g holds channels 16 l + 4 g .. + 3. */
static void store_span_32bit(const __m512i *acc, const nq_segment *s, uint8_t *out) {
    int32_t row[4][4][4];
    UNROLL for (int g = 0; g < 4; g++) {
        int32_t lanes[4][4];
        _mm512_storeu_si512(lanes, to_32bit(acc[g], s->epilogue, s->channel + 16 * g));
        UNROLL for (int l = 0; l < 4; l++)
            __builtin_memcpy(row[l][g], lanes[l], 16);
    }
    __builtin_memcpy(out, row, (size_t)s->columns * 4);
}

#include "dwconv_window.h"

static void dwconv_64(const nq_segment *s) { dwconv(s); }
static void windows_64(const nq_segment *s) { dwconv_windows(s); }

END_TARGET

const nq_depthwise nq_depthwise_avx512vnni = {
    .kernels = {[2] = nq_dwconv_32_avx512vl, [4] = dwconv_64},
    .windows = {[2] = nq_windows_32_avx512vl, [4] = windows_64},
    DWCONV_VNNI_TABLE,
};

#endif
