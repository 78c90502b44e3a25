/* vnni_256.h: the tile on the 8-bit dot product in 256-bit registers.
 *
 *     vpdpbusd acc, a, w        acc[n] += a[0]*w[n][0] + a[1]*w[n][1] + a[2]*w[n][2] + a[3]*w[n][3]      n = 0..7
 *
 * u8 times s8 in int32, never saturating. `a` holds one quad of a row eight times, `w` a quad of eight channels: the
 * packed quad of a strip is two registers, in ref's order.
 *
 *     byte  0       4             28      32            60
 *           | n=0   | n=1 | ...  | n=7   | n=8  | ... | n=15 |        each n: k, k+1, k+2, k+3
 *
 * A tile is 6 rows x 1 strip: 12 accumulators + 2 weights + 1 activation = 15 of 16 registers.
 *
 * Two files include this between BEGIN_TARGET and END_TARGET, with DOT defined: gemm_avxvnni.c for AVX-VNNI, which
 * laptops have, and gemm_avx512vl.c for AVX-512 VNNI at 256 bits, so that the same source is tested on servers, too. */
#ifndef NQ_VNNI_256_H
#define NQ_VNNI_256_H

#include "tile_256.h"

INLINE void add_products(const nq_tile *t, __m256i acc[NQ_MAX_ROWS][2], const int rows) {
    const __m256i *w = (const __m256i *)t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        for (int64_t quad = 0; quad < t->quads; quad++, w += 2) {
            __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
            UNROLL for (int i = 0; i < rows; i++) {
                __m256i aq = broadcast_quad(a[i] + 4 * quad);
                acc[i][0] = DOT(acc[i][0], aq, w0);
                acc[i][1] = DOT(acc[i][1], aq, w1);
            }
        }
    }
}

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    __builtin_memcpy(packed, block, NQ_STRIP * NQ_QUAD);
}

#define VNNI_256_TABLE .quad_bytes = NQ_STRIP * NQ_QUAD, .pack_quad = pack_quad, TILE_256_TABLE

#endif
