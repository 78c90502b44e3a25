/* gemm_avx2.c: the tile on AVX2, exact.
 *
 * AVX2's 8-bit multiply, vpmaddubsw, adds pairs of products in int16 and saturates: 255 * 127 * 2 = 64770 > 32767. So
 * we widen to int16 and use vpmaddwd, whose pairs are added in int32:
 *
 *     vpmaddwd p, a, w        p[n] = a[0]*w[n][0] + a[1]*w[n][1]      n = 0..7, everything int16 -> int32
 *
 * Weights are widened once, when packed. Activations are widened in the register, for two instructions a quad: of the
 * four broadcast bytes a0 a1 a2 a3, a mask keeps the even ones and a shift brings down the odd ones, each as int16.
 *
 *     a0 a1 a2 a3 | a0 a1 a2 a3 | ...   --and 0x00FF00FF-->   a0 0 a2 0 | ...   = (a0, a2)  even pair
 *                                       --srli_epi16 8---->   a1 0 a3 0 | ...   = (a1, a3)  odd pair
 *
 * The packed quad of a strip of 16 channels follows suit, 128 bytes:
 *
 *     even pairs (w[n][0], w[n][2]) of n = 0..7 | of n = 8..15 | odd pairs (w[n][1], w[n][3]) of n = 0..7 | of n = 8..15
 *
 * A tile is 6 rows x 1 strip: 12 accumulators + 2 weights + 1 activation = 15 of 16 registers. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")

#include "tile_256.h"

INLINE __m256i multiply_add(__m256i acc, __m256i a, __m256i w) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, w));
}

INLINE void add_products(const nq_tile *t, __m256i acc[NQ_MAX_ROWS][2], const int rows) {
    const __m256i even_bytes = _mm256_set1_epi32(0x00FF00FF);
    const __m256i *w = (const __m256i *)t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        for (int64_t quad = 0; quad < t->quads; quad++, w += 4) {
            __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
            UNROLL for (int i = 0; i < rows; i++) {
                __m256i even = _mm256_and_si256(broadcast_quad(a[i] + 4 * quad), even_bytes);
                acc[i][0] = multiply_add(acc[i][0], even, w0);
                acc[i][1] = multiply_add(acc[i][1], even, w1);
            }
            w0 = _mm256_load_si256(w + 2), w1 = _mm256_load_si256(w + 3);
            UNROLL for (int i = 0; i < rows; i++) {
                __m256i odd = _mm256_srli_epi16(broadcast_quad(a[i] + 4 * quad), 8);
                acc[i][0] = multiply_add(acc[i][0], odd, w0);
                acc[i][1] = multiply_add(acc[i][1], odd, w1);
            }
        }
    }
}

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    int16_t *out = packed;
    for (int odd = 0; odd < 2; odd++)
        for (int n = 0; n < NQ_STRIP; n++, out += 2) {
            out[0] = block[n][odd];
            out[1] = block[n][odd + 2];
        }
}

static int runs(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

END_TARGET

const nq_isa nq_isa_avx2 = {.name = "avx2", .runs = runs, .quad_bytes = 128, .pack_quad = pack_quad, TILE_256_TABLE,
                            .depthwise = &nq_depthwise_avx2,
                            .chains = {{"vpmaddwd, vpaddd", nq_multiply_words_avx2},
                                       {"vpmaddubsw, vpmaddwd, vpaddd", nq_multiply_bytes_avx2}}};

#endif
