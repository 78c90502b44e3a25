/* vnni_256.h: the tile of tile_256.h on the 8-bit dot product in 256-bit registers, vpdpbusd, which never saturates.
 *
 * Two files include this between BEGIN_TARGET and END_TARGET, with DOT defined: gemm_avxvnni.c for AVX-VNNI, which
 * laptops have, and gemm_avx512vl.c for AVX-512 VNNI at 256 bits, so that the same source is tested on servers, too. */
#ifndef NQ_VNNI_256_H
#define NQ_VNNI_256_H

#include "tile_256.h"

INLINE void tile(const nq_tile *t, const int rows) { FOR_PARTS(t, rows, dot_part, t); }

#endif
