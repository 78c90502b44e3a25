/* gemm_avx512vnni.c: the tile of tile_512.h on AVX-512 with VNNI. One instruction does the work:
 *
 *     vpdpbusd acc, a, w      acc[n] += a[0]*w[n][0] + a[1]*w[n][1] + a[2]*w[n][2] + a[3]*w[n][3]     n = 0..15
 *
 * with unsigned a, signed w and no saturation. The packed weights are its operand as it stands: a strip is 16 channels,
 * a quad 4 bytes of each, 64 bytes in all.
 *
 * An accumulator is ready again after 4 or 5 cycles, in which up to 10 products could start. A small tile takes two or four
 * quads at a time, each into accumulators of its own:
 *
 *     1 x 4:   acc[0][0..3] += quad 0    acc[1][0..3] += quad 1    | acc[0][0..3] += quad 2 ...   at the end acc[0] += acc[1] */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC __m512i
#define DOT_INTRINSIC _mm512_dpbusd_epi32
#define DOT_ENCODING ""

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

#include "dot.h"
#include "tile_512.h"

INLINE void add_quad(const nq_tile *t, const uint8_t *const *a, int64_t k, const uint8_t *w, __m512i acc[][NQ_MAX_STRIPS],
                     const int rows, const int strips) {
    __m512i wq[NQ_MAX_STRIPS];
    UNROLL for (int j = 0; j < strips; j++)
        wq[j] = _mm512_load_si512(w + j * t->strip_bytes);
    UNROLL for (int i = 0; i < rows; i++) {
        __m512i aq = broadcast_quad(a[i] + k);
        UNROLL for (int j = 0; j < strips; j++)
            acc[i][j] = dot(acc[i][j], aq, wq[j]);
    }
}

INLINE void add_products(const nq_tile *t, __m512i acc[][NQ_MAX_STRIPS], const int rows, const int strips) {
    const int phases = rows * strips >= 8 ? 1 : rows * strips >= 4 ? 2 : 4;
    __m512i more[3][8][NQ_MAX_STRIPS];
    UNROLL for (int p = 1; p < phases; p++)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < strips; j++)
                more[p - 1][i][j] = _mm512_setzero_si512();
    const uint8_t *w = t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        const int64_t end = 4 * t->quads;
        int64_t k = 0;
        PRAGMA(GCC unroll 2) for (; k + 4 * phases <= end; k += 4 * phases, w += 64 * phases) {
            add_quad(t, a, k, w, acc, rows, strips);
            UNROLL for (int p = 1; p < phases; p++)
                add_quad(t, a, k + 4 * p, w + 64 * p, more[p - 1], rows, strips);
        }
        for (; phases > 1 && k < end; k += 4, w += 64)
            add_quad(t, a, k, w, acc, rows, strips);
    }
    UNROLL for (int p = 1; p < phases; p++)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < strips; j++)
                acc[i][j] = _mm512_add_epi32(acc[i][j], more[p - 1][i][j]);
}

static int runs(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

END_TARGET

const nq_isa nq_isa_avx512vnni = {.name = "avx512vnni", .runs = runs, TILE_512_TABLE, .depthwise = &nq_depthwise_avx512vnni,
                                  .chains = {{"vpdpbusd zmm", nq_multiply_avx512vnni}}};

#endif
