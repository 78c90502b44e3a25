/* tile_512.h: a tile in 512-bit registers, but for the products, which its two includers define. They include it between
 * BEGIN_TARGET and END_TARGET.
 *
 *                  w: quad of strip 0 | strip 1 | strip 2 | strip 3     (one 64-byte load each)
 *     row 0: a a a a (broadcast) -->    acc00    acc01     acc02     acc03
 *     row 1: a a a a             -->    acc10    acc11     acc12     acc13
 *       ...
 *
 *     6 rows x 4 strips: 24 accumulators + 6 activations + 1 weight = 31 of 32 registers; more rows if there are fewer strips
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

/* The includer's parts: adds the products of the tile to acc. */
INLINE void add_products(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows, const int strips);

/* The same when its inputs are spread (ukernel.h). */
INLINE void add_spread_products(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows);

/* The dot products of bytes in the pattern's order. They are the same 16 four times. `widens`: see gemm_avx512bw.c. */
INLINE __m512i dot_spread(__m512i acc, __m512i bytes, __m512i pattern, __m512i w, const int widens);

/* For add_spread_products. A pattern stays in its register while the taps go by. */
INLINE void add_spread(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows, const int widens) {
    for (int64_t quad = 0; quad < t->quads; quad++) {
        const __m512i pattern = _mm512_loadu_si512(t->spread[quad]);
        const uint8_t *w = t->weights + NQ_STRIP * NQ_QUAD * quad;
        for (int64_t tap = 0; tap < t->tap_count; tap++, w += NQ_STRIP * NQ_QUAD * t->quads) {
            const __m512i wq = _mm512_load_si512(w);
            const int64_t offset = t->taps[tap];
            UNROLL for (int i = 0; i < rows; i++) {
                const __m128i bytes = _mm_loadu_si128((const __m128i *)(t->rows[i] + offset));
                acc[i][0] = dot_spread(acc[i][0], _mm512_broadcast_i32x4(bytes), pattern, wq, widens);
            }
        }
    }
}

INLINE void store_all(const nq_tile *t, const __m512i sums[][TILE_STRIPS], const int strips, const int form) {
    const nq_epilogue e = *t->epilogue;  /* a copy, which the stores to `out` cannot change */
    for (int64_t i = 0; i < t->row_count; i++)
        store_row(sums[i], &e, t->channel, t->columns, t->out[i], strips, form);
}

INLINE void store_sums_of(const nq_tile *t, const __m512i sums[][TILE_STRIPS], const int strips) {
    const int32_t form = t->epilogue->form;
    if (form == NQ_FORM_A)
        store_all(t, sums, strips, NQ_FORM_A);
    else if (form == NQ_FORM_B)
        store_all(t, sums, strips, NQ_FORM_B);
    else if (form == NQ_FORM_C_DOUBLE)
        store_all(t, sums, strips, NQ_FORM_C_DOUBLE);
    else if (form == NQ_FORM_C_SINGLE)
        store_all(t, sums, strips, NQ_FORM_C_SINGLE);
    else
        store_all(t, sums, strips, NQ_FORM_ACCUMULATOR);
}

/* Takes the sums from memory, so that this code stands here once for each width. */
static NOINLINE void store_sums(const nq_tile *t, const __m512i sums[][TILE_STRIPS], int strips) {
    if (strips == 1)
        store_sums_of(t, sums, 1);
    else if (strips == 2)
        store_sums_of(t, sums, 2);
    else if (strips == 3)
        store_sums_of(t, sums, 3);
    else
        store_sums_of(t, sums, 4);
}

/* Accumulators as the contract wants them to start. Loops over a tile are single: clang does not unroll nested ones early
 * enough to see registers in the array. */
INLINE void begin_tile(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows, const int strips) {
    UNROLL for (int n = 0; n < rows * strips; n++)
        acc[n / strips][n % strips] = _mm512_loadu_si512(t->epilogue->init + t->channel + 16 * (n % strips));
    if (t->zp_w)
        UNROLL for (int n = 0; n < rows * strips; n++) {
            const int i = n / strips, j = n % strips;
            __m512i zp_w = _mm512_loadu_si512(t->zp_w + t->channel + 16 * j);
            acc[i][j] = _mm512_sub_epi32(acc[i][j], _mm512_mullo_epi32(zp_w, _mm512_set1_epi32(t->row_sum[i])));
        }
}

INLINE void end_tile(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows, const int strips) {
    if (strips > 2 && t->epilogue->form == NQ_FORM_A) {  /* the commonest: without the way through memory */
        const nq_epilogue e = *t->epilogue;
        UNROLL for (int i = 0; i < rows; i++)
            store_row(acc[i], &e, t->channel, t->columns, t->out[i], strips, NQ_FORM_A);
        return;
    }
    __m512i sums[NQ_MAX_ROWS][TILE_STRIPS];
    UNROLL for (int n = 0; n < rows * strips; n++)
        sums[n / strips][n % strips] = acc[n / strips][n % strips];
    store_sums(t, (const __m512i (*)[TILE_STRIPS])sums, strips);
}

INLINE void tile(const nq_tile *t, const int rows, const int strips) {
    __m512i acc[2 * NQ_MAX_ROWS][TILE_STRIPS];         /* the rows beyond are add_products' own */
    begin_tile(t, acc, rows, strips);
    add_products(t, acc, rows, strips);
    end_tile(t, acc, rows, strips);
}

INLINE void spread_tile(const nq_tile *t, const int rows) {
    __m512i acc[NQ_MAX_ROWS][TILE_STRIPS];
    begin_tile(t, acc, rows, 1);
    add_spread_products(t, acc, rows);
    end_tile(t, acc, rows, 1);
}

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    __builtin_memcpy(packed, block, NQ_STRIP * NQ_QUAD);
}

#define UKERNEL(ROWS, STRIPS)                                                                                          \
    static void ukernel_##ROWS##x##STRIPS##c4(const nq_tile *t) { tile(t, ROWS, STRIPS); }
#define SPREAD_UKERNEL(ROWS) static void ukernel_##ROWS##x0c4(const nq_tile *t) { spread_tile(t, ROWS); }
#define UKERNELS_6(STRIPS)                                                                                             \
    UKERNEL(1, STRIPS) UKERNEL(2, STRIPS) UKERNEL(3, STRIPS) UKERNEL(4, STRIPS) UKERNEL(5, STRIPS) UKERNEL(6, STRIPS)
#define UKERNELS_8(STRIPS) UKERNELS_6(STRIPS) UKERNEL(7, STRIPS) UKERNEL(8, STRIPS)
#define ENTRY(ROWS, STRIPS) ukernel_##ROWS##x##STRIPS##c4
#define ENTRIES_6(STRIPS)                                                                                              \
    0, ENTRY(1, STRIPS), ENTRY(2, STRIPS), ENTRY(3, STRIPS), ENTRY(4, STRIPS), ENTRY(5, STRIPS), ENTRY(6, STRIPS)
#define ENTRIES_8(STRIPS) ENTRIES_6(STRIPS), ENTRY(7, STRIPS), ENTRY(8, STRIPS)

/* What the includers' tables share. */
#define TILE_512_TABLE                                                                                                 \
    .quad_bytes = NQ_STRIP * NQ_QUAD, .pack_quad = pack_quad, .interleave = nq_interleave_avx2,                        \
    .stream = nq_stream_avx512

#endif
