/* tile_256.h: a tile of 6 rows by 16 channels, each row's in two 256-bit registers, but for the sum itself. gemm_avx2.c and
 * vnni_256.h include it between BEGIN_TARGET and END_TARGET, and define add_products.
 *
 *     begin_tile: init - zp_w * row_sum  -->  add_products  -->  end_tile: epilogue and store */
#ifndef NQ_TILE_256_H
#define NQ_TILE_256_H

#include "epilogue_256.h"

INLINE __m256i broadcast_quad(const uint8_t *a) {
    int32_t quad;
    __builtin_memcpy(&quad, a, 4);
    return _mm256_set1_epi32(quad);
}

/* Accumulators as the contract wants them to start: [row][channels 0..7 | 8..15]. */
INLINE void begin_tile(const nq_tile *t, __m256i acc[NQ_MAX_ROWS][2], const int rows) {
    const nq_epilogue *e = t->epilogue;
    UNROLL for (int j = 0; j < 2; j++) {
        __m256i init = _mm256_loadu_si256((const __m256i *)(e->init + t->channel + 8 * j));
        UNROLL for (int i = 0; i < rows; i++)
            acc[i][j] = init;
    }
    if (t->zp_w)
        UNROLL for (int j = 0; j < 2; j++) {
            __m256i zp_w = _mm256_loadu_si256((const __m256i *)(t->zp_w + t->channel + 8 * j));
            UNROLL for (int i = 0; i < rows; i++)
                acc[i][j] = _mm256_sub_epi32(acc[i][j], _mm256_mullo_epi32(zp_w, _mm256_set1_epi32(t->row_sum[i])));
        }
}

INLINE void end_tile(const nq_tile *t, __m256i acc[NQ_MAX_ROWS][2], const int rows) {
    UNROLL for (int i = 0; i < rows; i++)
        store_row(acc[i][0], acc[i][1], t->epilogue, t->channel, t->columns, t->out[i]);
}

/* The includer's part: adds the products of the tile to acc. */
INLINE void add_products(const nq_tile *t, __m256i acc[NQ_MAX_ROWS][2], const int rows);

INLINE void tile(const nq_tile *t, const int rows) {
    __m256i acc[NQ_MAX_ROWS][2];
    begin_tile(t, acc, rows);
    add_products(t, acc, rows);
    end_tile(t, acc, rows);
}

static void ukernel_1x16c4(const nq_tile *t) { tile(t, 1); }
static void ukernel_2x16c4(const nq_tile *t) { tile(t, 2); }
static void ukernel_3x16c4(const nq_tile *t) { tile(t, 3); }
static void ukernel_4x16c4(const nq_tile *t) { tile(t, 4); }
static void ukernel_5x16c4(const nq_tile *t) { tile(t, 5); }
static void ukernel_6x16c4(const nq_tile *t) { tile(t, 6); }

/* What the includers' tables share. */
#define TILE_256_TABLE                                                                                                 \
    .max_rows = {0, 6, 0, 0, 0},                                                                                       \
    .gemm = {{0},                                                                                                      \
             {0, ukernel_1x16c4, ukernel_2x16c4, ukernel_3x16c4, ukernel_4x16c4, ukernel_5x16c4, ukernel_6x16c4}},     \
    .forms = NQ_FLOAT_FORMS, .rows = &nq_rows_avx2, .stream = nq_stream_avx2

#endif
