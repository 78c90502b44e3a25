/* tile_512.h: a tile in 512-bit registers, but for the products, which its two includers define. They include it between
 * BEGIN_TARGET and END_TARGET.
 *
 *                  w: quad of strip 0 | strip 1 | strip 2 | strip 3     (one 64-byte load each)
 *     row 0: a a a a (broadcast) -->    acc00    acc01     acc02     acc03
 *     row 1: a a a a             -->    acc10    acc11     acc12     acc13
 *       ...
 *
 *     strips    rows up to    accumulators    weights    activations, of 32 registers
 *       1           16             16            1            1
 *       2           12             24            2            1
 *       3            8             24            3            1
 *       4            6             24            4            1
 *
 * Each quad of the widest costs 4 + 6 loads for 24 products, so that loads never bind. */
#ifndef NQ_TILE_512_H
#define NQ_TILE_512_H

#include "epilogue_512.h"

INLINE __m512i broadcast_quad(const uint8_t *a) {
    int32_t quad;
    __builtin_memcpy(&quad, a, 4);
    return _mm512_set1_epi32(quad);
}

/* The includer's part: adds the products of the tile to acc. */
INLINE void add_products(const nq_tile *t, __m512i acc[][NQ_MAX_STRIPS], const int rows, const int strips);

INLINE void store_all(const nq_tile *t, const __m512i sums[][NQ_MAX_STRIPS], const int strips, const int form) {
    for (int64_t i = 0; i < t->row_count; i++)
        store_row(sums[i], t->epilogue, t->channel, t->columns, t->out[i], strips, form);
}

/* The rarer forms take the sums from memory, so that their code stands here once for each width. */
INLINE void store_sums(const nq_tile *t, const __m512i sums[][NQ_MAX_STRIPS], const int strips) {
    const int32_t form = t->epilogue->form;
    if (form == NQ_FORM_B)
        store_all(t, sums, strips, NQ_FORM_B);
    else if (form == NQ_FORM_C_DOUBLE)
        store_all(t, sums, strips, NQ_FORM_C_DOUBLE);
    else if (form == NQ_FORM_C_SINGLE)
        store_all(t, sums, strips, NQ_FORM_C_SINGLE);
    else
        store_all(t, sums, strips, NQ_FORM_ACCUMULATOR);
}

static NOINLINE void store_sums_1(const nq_tile *t, const __m512i sums[][NQ_MAX_STRIPS]) { store_sums(t, sums, 1); }
static NOINLINE void store_sums_2(const nq_tile *t, const __m512i sums[][NQ_MAX_STRIPS]) { store_sums(t, sums, 2); }
static NOINLINE void store_sums_3(const nq_tile *t, const __m512i sums[][NQ_MAX_STRIPS]) { store_sums(t, sums, 3); }
static NOINLINE void store_sums_4(const nq_tile *t, const __m512i sums[][NQ_MAX_STRIPS]) { store_sums(t, sums, 4); }

INLINE void begin_tile(const nq_tile *t, __m512i acc[][NQ_MAX_STRIPS], const int rows, const int strips) {
    UNROLL for (int j = 0; j < strips; j++) {
        __m512i init = _mm512_loadu_si512(t->epilogue->init + t->channel + 16 * j);
        UNROLL for (int i = 0; i < rows; i++)
            acc[i][j] = init;
    }
    if (t->zp_w)
        UNROLL for (int j = 0; j < strips; j++) {
            __m512i zp_w = _mm512_loadu_si512(t->zp_w + t->channel + 16 * j);
            UNROLL for (int i = 0; i < rows; i++)
                acc[i][j] = _mm512_sub_epi32(acc[i][j], _mm512_mullo_epi32(zp_w, _mm512_set1_epi32(t->row_sum[i])));
        }
}

INLINE void tile(const nq_tile *t, const int rows, const int strips) {
    __m512i acc[NQ_MAX_ROWS][NQ_MAX_STRIPS];
    begin_tile(t, acc, rows, strips);
    add_products(t, acc, rows, strips);
    if (t->epilogue->form == NQ_FORM_A) {
        const nq_epilogue e = *t->epilogue;          /* a copy, which the stores to `out` cannot change */
        UNROLL for (int i = 0; i < rows; i++)
            store_row(acc[i], &e, t->channel, t->columns, t->out[i], strips, NQ_FORM_A);
        return;
    }
    __m512i sums[NQ_MAX_ROWS][NQ_MAX_STRIPS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < strips; j++)
            sums[i][j] = acc[i][j];
    void (*const store[])(const nq_tile *, const __m512i (*)[NQ_MAX_STRIPS]) = {store_sums_1, store_sums_2, store_sums_3,
                                                                                store_sums_4};
    store[strips - 1](t, (const __m512i (*)[NQ_MAX_STRIPS])sums);
}

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    __builtin_memcpy(packed, block, NQ_STRIP * NQ_QUAD);
}

#define UKERNEL(ROWS, STRIPS)                                                                                          \
    static void ukernel_##ROWS##x##STRIPS##c4(const nq_tile *t) { tile(t, ROWS, STRIPS); }
#define UKERNELS(STRIPS)                                                                                               \
    UKERNEL(1, STRIPS) UKERNEL(2, STRIPS) UKERNEL(3, STRIPS) UKERNEL(4, STRIPS) UKERNEL(5, STRIPS) UKERNEL(6, STRIPS)
#define ENTRY(ROWS, STRIPS) ukernel_##ROWS##x##STRIPS##c4
#define ENTRIES(STRIPS)                                                                                                \
    0, ENTRY(1, STRIPS), ENTRY(2, STRIPS), ENTRY(3, STRIPS), ENTRY(4, STRIPS), ENTRY(5, STRIPS), ENTRY(6, STRIPS)

UKERNELS(1) UKERNEL(7, 1) UKERNEL(8, 1) UKERNEL(9, 1) UKERNEL(10, 1) UKERNEL(11, 1) UKERNEL(12, 1)
UKERNEL(13, 1) UKERNEL(14, 1) UKERNEL(15, 1) UKERNEL(16, 1)
UKERNELS(2) UKERNEL(7, 2) UKERNEL(8, 2) UKERNEL(9, 2) UKERNEL(10, 2) UKERNEL(11, 2) UKERNEL(12, 2)
UKERNELS(3) UKERNEL(7, 3) UKERNEL(8, 3)
UKERNELS(4)

/* What the includers' tables share. */
#define TILE_512_TABLE                                                                                                 \
    .quad_bytes = NQ_STRIP * NQ_QUAD, .pack_quad = pack_quad, .max_rows = {0, 16, 12, 8, 6},                           \
    .gemm = {{0},                                                                                                      \
             {ENTRIES(1), ENTRY(7, 1), ENTRY(8, 1), ENTRY(9, 1), ENTRY(10, 1), ENTRY(11, 1), ENTRY(12, 1),             \
              ENTRY(13, 1), ENTRY(14, 1), ENTRY(15, 1), ENTRY(16, 1)},                                                 \
             {ENTRIES(2), ENTRY(7, 2), ENTRY(8, 2), ENTRY(9, 2), ENTRY(10, 2), ENTRY(11, 2), ENTRY(12, 2)},            \
             {ENTRIES(3), ENTRY(7, 3), ENTRY(8, 3)},                                                                   \
             {ENTRIES(4)}},                                                                                            \
    .rows = &nq_rows_avx512, .stream = nq_stream_avx512

#endif
