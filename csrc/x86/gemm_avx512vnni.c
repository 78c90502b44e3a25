/* gemm_avx512vnni.c: the tile on AVX-512 with VNNI. One instruction does the work:
 *
 *     vpdpbusd acc, a, w      acc[n] += a[0]*w[n][0] + a[1]*w[n][1] + a[2]*w[n][2] + a[3]*w[n][3]     n = 0..15
 *
 * with unsigned a, signed w and no saturation. The packed weights are its operand as it stands: a strip is 16 channels,
 * a quad 4 bytes of each, 64 bytes in all.
 *
 *                  w: quad of strip 0 | strip 1 | strip 2 | strip 3     (one 64-byte load each)
 *     row 0: a a a a (broadcast) -->    acc00    acc01     acc02     acc03
 *     row 1: a a a a             -->    acc10    acc11     acc12     acc13
 *       ...
 *     6 rows x 4 strips: 24 accumulators + 4 weights + 1 activation = 29 of 32 registers
 *
 * Each quad costs 4 + 6 loads for 24 multiplications, so that loads never bind. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC __m512i
#define DOT_INTRINSIC _mm512_dpbusd_epi32
#define DOT_ENCODING ""

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

#include "dot.h"
#include "epilogue_512.h"

INLINE __m512i broadcast_quad(const uint8_t *a) {
    int32_t quad;
    __builtin_memcpy(&quad, a, 4);
    return _mm512_set1_epi32(quad);
}

INLINE void tile(const nq_tile *t, const int rows, const int strips) {
    const nq_epilogue *e = t->epilogue;
    __m512i acc[NQ_MAX_ROWS][NQ_MAX_STRIPS];
    UNROLL for (int j = 0; j < strips; j++) {
        __m512i init = _mm512_loadu_si512(e->init + t->channel + 16 * j);
        UNROLL for (int i = 0; i < rows; i++)
            acc[i][j] = init;
    }
    if (t->zp_w)
        UNROLL for (int j = 0; j < strips; j++) {
            __m512i zp_w = _mm512_loadu_si512(t->zp_w + t->channel + 16 * j);
            UNROLL for (int i = 0; i < rows; i++)
                acc[i][j] = _mm512_sub_epi32(acc[i][j], _mm512_mullo_epi32(zp_w, _mm512_set1_epi32(t->row_sum[i])));
        }
    const uint8_t *w = t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        PRAGMA(GCC unroll 2) for (int64_t quad = 0; quad < t->quads; quad++, w += 64) {
            __m512i wq[NQ_MAX_STRIPS];
            UNROLL for (int j = 0; j < strips; j++)
                wq[j] = _mm512_load_si512(w + j * t->strip_bytes);
            UNROLL for (int i = 0; i < rows; i++) {
                __m512i aq = broadcast_quad(a[i] + 4 * quad);
                UNROLL for (int j = 0; j < strips; j++)
                    acc[i][j] = dot(acc[i][j], aq, wq[j]);
            }
        }
    }
    UNROLL for (int i = 0; i < rows; i++)
        store_row(acc[i], e, t->channel, t->columns, t->out[i], strips);
}

#define UKERNEL(ROWS, STRIPS)                                                                                          \
    static void ukernel_##ROWS##x##STRIPS##c4__avx512vnni(const nq_tile *t) { tile(t, ROWS, STRIPS); }
#define UKERNELS_6(STRIPS)                                                                                             \
    UKERNEL(1, STRIPS) UKERNEL(2, STRIPS) UKERNEL(3, STRIPS) UKERNEL(4, STRIPS) UKERNEL(5, STRIPS) UKERNEL(6, STRIPS)
#define ENTRY(ROWS, STRIPS) ukernel_##ROWS##x##STRIPS##c4__avx512vnni
#define ENTRIES_6(STRIPS)                                                                                              \
    0, ENTRY(1, STRIPS), ENTRY(2, STRIPS), ENTRY(3, STRIPS), ENTRY(4, STRIPS), ENTRY(5, STRIPS), ENTRY(6, STRIPS)

UKERNELS_6(1) UKERNEL(7, 1) UKERNEL(8, 1)
UKERNELS_6(2) UKERNEL(7, 2) UKERNEL(8, 2)
UKERNELS_6(3) UKERNEL(7, 3) UKERNEL(8, 3)
UKERNELS_6(4)

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    _mm512_storeu_si512(packed, _mm512_loadu_si512(block));
}

static int runs(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

END_TARGET

const nq_isa nq_isa_avx512vnni = {
    .name = "avx512vnni",
    .runs = runs,
    .quad_bytes = 64,
    .pack_quad = pack_quad,
    .max_rows = {0, 8, 8, 8, 6},
    .gemm = {{0},
             {ENTRIES_6(1), ENTRY(7, 1), ENTRY(8, 1)},
             {ENTRIES_6(2), ENTRY(7, 2), ENTRY(8, 2)},
             {ENTRIES_6(3), ENTRY(7, 3), ENTRY(8, 3)},
             {ENTRIES_6(4)}},
    .depthwise = &nq_depthwise_avx512vnni,
    .forms = NQ_FLOAT_FORMS,
    .rows = &nq_rows_avx512,
    .chains = {{"vpdpbusd zmm", nq_multiply_avx512vnni}},
    .stream = nq_stream_avx512,
};

#endif
