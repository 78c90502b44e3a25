/* tile_256.h: a tile in 256-bit registers, on a dot product of quads. Whoever includes it between BEGIN_TARGET and
 * END_TARGET has defined
 *
 *     DOT(acc, a, w):      acc[n] += a[0]*w[n][0] + a[1]*w[n][1] + a[2]*w[n][2] + a[3]*w[n][3]      n = 0..7
 *
 * u8 times s8 in int32. `a` holds one quad of a row eight times, `w` points to a quad of eight channels: the packed quad of
 * a strip is two such vectors.
 *
 *     byte  0       4             28      32            60
 *           | n=0   | n=1 | ...  | n=7   | n=8  | ... | n=15 |        each n: k, k+1, k+2, k+3
 *
 * A tile is up to 6 rows x 8 strips, computed in parts of as many accumulators as the 16 registers hold:
 *
 *     rows   vectors   accumulators   weights   activations
 *       1       8           8            1           1        many streams of weights: they come from far
 *       2       4           8            1           2
 *     3 - 6     2         6 - 12         2           1
 *
 * What is left is computed two vectors at a time, and one if its eight channels are enough. */
#ifndef NQ_TILE_256_H
#define NQ_TILE_256_H

#include "epilogue_256.h"

enum { TILE_ROWS = 6, TILE_VECTORS = 2 * NQ_MAX_STRIPS };

/* A part's accumulators are acc[vector][row]; C wants to be told that they may be passed as constants. */
#define PART(acc) ((const __m256i (*)[TILE_ROWS])(acc))

INLINE __m256i broadcast_quad(const void *a) {
    int32_t quad;
    __builtin_memcpy(&quad, a, 4);
    return _mm256_set1_epi32(quad);
}

/* Accumulators as the contract wants them to start. `first` is its first vector. */
INLINE void begin_part(const nq_tile *t, int64_t first, __m256i acc[][TILE_ROWS], const int rows, const int vectors) {
    const int64_t channel = t->channel + 8 * first;
    UNROLL for (int j = 0; j < vectors; j++) {
        __m256i init = LOAD(t->epilogue->init + channel + 8 * j);
        UNROLL for (int i = 0; i < rows; i++)
            acc[j][i] = init;
    }
    if (t->zp_w)
        UNROLL for (int j = 0; j < vectors; j++) {
            __m256i zp_w = LOAD(t->zp_w + channel + 8 * j);
            UNROLL for (int i = 0; i < rows; i++)
                acc[j][i] = _mm256_sub_epi32(acc[j][i], _mm256_mullo_epi32(zp_w, _mm256_set1_epi32(t->row_sum[i])));
        }
}

INLINE void add_dots(const nq_tile *t, int64_t first, __m256i acc[][TILE_ROWS], const int rows, const int vectors) {
    const uint8_t *strip = t->weights + first / 2 * t->strip_bytes;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[TILE_ROWS];
        __asm__ volatile("" : : : "memory");     /* reads rows[i] again, rather than keep copies on the stack */
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        for (int64_t quad = 0; quad < t->quads; quad++, strip += NQ_STRIP * NQ_QUAD) {
            const __m256i *w[TILE_VECTORS];
            __m256i aq[TILE_ROWS];
            UNROLL for (int j = 0; j < vectors; j++)
                w[j] = (const __m256i *)(strip + j / 2 * t->strip_bytes) + j % 2;
            UNROLL for (int i = 0; i < rows; i++) {
                aq[i] = broadcast_quad(a[i] + 4 * quad);
                UNROLL for (int j = 0; j < vectors && vectors <= 2; j++)
                    acc[j][i] = DOT(acc[j][i], aq[i], w[j]);
            }
            UNROLL for (int j = 0; j < vectors && vectors > 2; j++)
                UNROLL for (int i = 0; i < rows; i++)
                    acc[j][i] = DOT(acc[j][i], aq[i], w[j]);
        }
    }
}

/* The includer's part: DOT of bytes in the pattern's order. They are the same 16 twice. `widens`: see gemm_avx2.c. */
INLINE __m256i dot_spread(__m256i acc, __m256i bytes, __m256i pattern, const __m256i *w, const int widens);

/* What ukernel.h calls spread, of one vector of the strip. A pattern stays in its register while the taps go by. */
INLINE void add_spread(const nq_tile *t, int64_t vector, __m256i acc[][TILE_ROWS], const int rows, const int widens) {
    for (int64_t quad = 0; quad < t->quads; quad++) {
        const __m256i pattern = _mm256_loadu_si256((const __m256i *)t->spread[quad] + vector);
        const __m256i *w = (const __m256i *)t->weights + 2 * quad + vector;
        for (int64_t tap = 0; tap < t->tap_count; tap++, w += 2 * t->quads) {
            const int64_t offset = t->taps[tap];
            UNROLL for (int i = 0; i < rows; i++) {
                const __m128i bytes = _mm_loadu_si128((const __m128i *)(t->rows[i] + offset));
                acc[0][i] = dot_spread(acc[0][i], _mm256_broadcastsi128_si256(bytes), pattern, w, widens);
            }
        }
    }
}

INLINE strip_place place_of(const nq_tile *t, int64_t vector, int64_t row, const int form) {
    const int64_t column = 8 * vector, element = form < NQ_FORM_ACCUMULATOR ? 1 : 4;
    return (strip_place){t->channel + column, t->columns - column, t->out[row] + column * element};
}

/* Two strips at a time: of two rows, or of a lone row. What is left over is stored twice. */
INLINE void store_all(const nq_tile *t, int64_t first, const __m256i sums[][TILE_ROWS], int vectors, const int form) {
    const nq_epilogue e = *t->epilogue;  /* a copy, which the stores to `out` cannot change */
    const int64_t last_row = t->row_count - 1;
    const int step = last_row == 0 ? 4 : 2;
    for (int j = 0; j < vectors; j += step)
        for (int64_t i = 0; i <= last_row; i += 2) {
            const int j2 = last_row == 0 && j + 2 < vectors ? j + 2 : j;
            const int64_t i2 = i < last_row ? i + 1 : i;
            const strip_place at[2] = {place_of(t, first + j, i, form), place_of(t, first + j2, i2, form)};
            const __m256i two[4] = {sums[j][i], sums[j + 1 < vectors ? j + 1 : j][i], sums[j2][i2],
                                    sums[j2 + 1 < vectors ? j2 + 1 : j2][i2]};
            store_two(two, &e, at, form);
        }
}

/* Takes a part's sums from memory: unrolled over rows, this code would be so long that compilers keep the accumulators of
 * the inner loop in memory, too. */
static NOINLINE void store_sums(const nq_tile *t, int64_t first, const __m256i sums[][TILE_ROWS], int vectors) {
    const int32_t form = t->epilogue->form;
    if (form == NQ_FORM_A)
        store_all(t, first, sums, vectors, NQ_FORM_A);
    else if (form == NQ_FORM_B)
        store_all(t, first, sums, vectors, NQ_FORM_B);
    else if (form == NQ_FORM_C_DOUBLE)
        store_all(t, first, sums, vectors, NQ_FORM_C_DOUBLE);
    else if (form == NQ_FORM_C_SINGLE)
        store_all(t, first, sums, vectors, NQ_FORM_C_SINGLE);
    else
        store_all(t, first, sums, vectors, NQ_FORM_ACCUMULATOR);
}

INLINE void copy_part(__m256i to[][TILE_ROWS], const __m256i from[][TILE_ROWS], const int rows, const int vectors) {
    UNROLL for (int k = 0; k < rows * vectors; k++)
        to[k / rows][k % rows] = from[k / rows][k % rows];
}

/* The commonest epilogue of a whole strip takes its sums from their registers. */
INLINE void end_part(const nq_tile *t, int64_t first, const __m256i acc[][TILE_ROWS], const int rows,
                     const int vectors) {
    if (vectors == 2 && t->columns >= 8 * first + NQ_STRIP && t->epilogue->form == NQ_FORM_A) {
        const nq_epilogue e = *t->epilogue;
        const int64_t channel = t->channel + 8 * first;
        UNROLL for (int i = 0; i < rows; i += 2) {
            const int i2 = i + 1 < rows ? i + 1 : i;
            const strip_place at[2] = {{channel, NQ_STRIP, t->out[i] + 8 * first},
                                       {channel, NQ_STRIP, t->out[i2] + 8 * first}};
            const __m256i two[4] = {acc[0][i], acc[1][i], acc[0][i2], acc[1][i2]};
            store_two(two, &e, at, NQ_FORM_A);
        }
        return;
    }
    __m256i sums[TILE_VECTORS][TILE_ROWS];
    copy_part(sums, acc, rows, vectors);
    store_sums(t, first, PART(sums), vectors);
}

INLINE void dot_part(const nq_tile *t, int64_t first, const int rows, const int vectors) {
    __m256i acc[TILE_VECTORS][TILE_ROWS];
    begin_part(t, first, acc, rows, vectors);
    add_dots(t, first, acc, rows, vectors);
    end_part(t, first, PART(acc), rows, vectors);
}

INLINE void spread_tile(const nq_tile *t, const int rows, const int widens) {
    __m256i sums[TILE_VECTORS][TILE_ROWS], acc[1][TILE_ROWS];
    const int vectors = t->columns > 8 ? 2 : 1;
    for (int j = 0; j < vectors; j++) {
        begin_part(t, j, acc, rows, 1);
        add_spread(t, j, acc, rows, widens);
        copy_part(sums + j, PART(acc), rows, 1);
    }
    store_sums(t, 0, PART(sums), vectors);
}

/* Calls CALL(t, ..., first vector, rows, vectors) for all parts of a tile. */
#define FOR_PARTS(t, rows, CALL, ...)                                                                                  \
    do {                                                                                                               \
        const int wide_ = (rows) == 1 ? 8 : (rows) == 2 ? 4 : 2;                                                       \
        const int64_t vectors_ = ((t)->columns + 7) >> 3;                                                              \
        int64_t first_ = 0;                                                                                            \
        for (; wide_ > 2 && first_ + wide_ - 1 <= vectors_; first_ += wide_)                                           \
            CALL(__VA_ARGS__, first_, rows, wide_);                                                                    \
        for (; first_ + 2 <= vectors_; first_ += 2)                                                                    \
            CALL(__VA_ARGS__, first_, rows, 2);                                                                        \
        if (first_ < vectors_)                                                                                         \
            CALL(__VA_ARGS__, first_, rows, 1);                                                                        \
    } while (0)

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    __builtin_memcpy(packed, block, NQ_STRIP * NQ_QUAD);
}

/* The includer's part. */
INLINE void tile(const nq_tile *t, const int rows);

static void ukernel_1x128c4(const nq_tile *t) { tile(t, 1); }
static void ukernel_2x128c4(const nq_tile *t) { tile(t, 2); }
static void ukernel_3x128c4(const nq_tile *t) { tile(t, 3); }
static void ukernel_4x128c4(const nq_tile *t) { tile(t, 4); }
static void ukernel_5x128c4(const nq_tile *t) { tile(t, 5); }
static void ukernel_6x128c4(const nq_tile *t) { tile(t, 6); }

/* What the includers' tables share. */
#define ROWS_256 {0, ukernel_1x128c4, ukernel_2x128c4, ukernel_3x128c4, ukernel_4x128c4, ukernel_5x128c4, ukernel_6x128c4}
#define TILE_256_TABLE                                                                                                 \
    .quad_bytes = NQ_STRIP * NQ_QUAD, .pack_quad = pack_quad, .max_rows = {0, 6, 6, 6, 6, 6, 6, 6, 6},                 \
    .gemm = {ROWS_256, ROWS_256, ROWS_256, ROWS_256, ROWS_256, ROWS_256, ROWS_256, ROWS_256, ROWS_256},                \
    .interleave = nq_interleave_avx2, .rows = &nq_rows_avx2, .stream = nq_stream_avx2

#endif
