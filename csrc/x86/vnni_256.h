/* vnni_256.h: the tile of tile_256.h on the 8-bit dot product in 256-bit registers, vpdpbusd, which never saturates.
 *
 * Two files include this between BEGIN_TARGET and END_TARGET, with DOT defined: gemm_avxvnni.c for AVX-VNNI, which
 * laptops have, and gemm_avx512vl.c for AVX-512 VNNI at 256 bits, so that the same source is tested on servers, too. */
#ifndef NQ_VNNI_256_H
#define NQ_VNNI_256_H

#include "tile_256.h"

INLINE __m256i dot_spread(__m256i acc, __m256i bytes, __m256i pattern, const __m256i *w, const int widens) {
    (void)widens;
    return DOT(acc, _mm256_shuffle_epi8(bytes, pattern), w);
}

INLINE void tile(const nq_tile *t, const int rows) {
    if (t->spread)
        spread_tile(t, rows, 0);
    else
        FOR_PARTS(t, rows, dot_part, t);
}

#endif
