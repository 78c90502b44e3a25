/* gemm_avx512bw.c: the tile of tile_512.h on AVX-512 without VNNI: gemm_avx2.c, twice as wide.
 *
 * If no pair of products can saturate (see there): vpmaddubsw, vpmaddwd by 1, vpaddd. Else weights and activations are
 * widened in the register, the even bytes of a quad first, then the odd ones:
 *
 *     weights       w0 w1 w2 w3 | ...    slli 8, srai 8 -->   w0 w2 | ...    srai 8 -->   w1 w3 | ...
 *     activations   a0 a1 a2 a3 | ...    and 0x00FF     -->   a0 a2 | ...    srli 8 -->   a1 a3 | ...
 *
 * The temporaries take registers: 6 rows x 2 strips is the largest tile. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")

#include "tile_512.h"

/* A line of assembly, as in gemm_avx2.c. */
INLINE __m512i add(__m512i acc, __m512i products) {
    __asm__ volatile("vpaddd %1, %0, %0" : "+v"(acc) : "v"(products));
    return acc;
}

/* The bytes of `quads` that have their turn, as int16. */
INLINE __m512i half_of_weights(__m512i quads, const int odd) {
    return _mm512_srai_epi16(odd ? quads : _mm512_slli_epi16(quads, 8), 8);
}

INLINE __m512i half_of_activations(__m512i quads, const int odd) {
    return odd ? _mm512_srli_epi16(quads, 8) : _mm512_and_si512(quads, _mm512_set1_epi16(0x00FF));
}

INLINE __m512i add_products_of(__m512i acc, __m512i a, __m512i w, const int widens) {
    const __m512i pairs = widens ? a : _mm512_maddubs_epi16(a, w);
    return add(acc, _mm512_madd_epi16(pairs, widens ? w : _mm512_set1_epi16(1)));
}

/* At most two strips; a loop over them would make two nested ones: see begin_tile. */
INLINE void add_half(const uint8_t *const *a, int64_t k, const __m512i *wq, __m512i acc[][TILE_STRIPS], const int rows,
                     const int strips, const int widens, const int odd) {
    UNROLL for (int i = 0; i < rows; i++) {
        __m512i aq = broadcast_quad(a[i] + k);
        if (widens)
            aq = half_of_activations(aq, odd);
        acc[i][0] = add_products_of(acc[i][0], aq, wq[0], widens);
        if (strips > 1)
            acc[i][1] = add_products_of(acc[i][1], aq, wq[1], widens);
    }
}

INLINE void add_quad(const nq_tile *t, const uint8_t *const *a, int64_t k, const uint8_t *w, __m512i acc[][TILE_STRIPS],
                     const int rows, const int strips, const int widens) {
    __m512i wq[TILE_STRIPS], half[TILE_STRIPS];
    UNROLL for (int j = 0; j < strips; j++) {
        wq[j] = _mm512_load_si512(w + j * t->strip_bytes);
        half[j] = widens ? half_of_weights(wq[j], 0) : wq[j];
    }
    add_half(a, k, half, acc, rows, strips, widens, 0);
    if (!widens)
        return;
    UNROLL for (int j = 0; j < strips; j++)
        half[j] = half_of_weights(wq[j], 1);
    add_half(a, k, half, acc, rows, strips, widens, 1);
}

INLINE void add_taps(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows, const int strips, const int widens) {
    const uint8_t *w = t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        for (int64_t quad = 0; quad < t->quads; quad++, w += NQ_STRIP * NQ_QUAD)
            add_quad(t, a, 4 * quad, w, acc, rows, strips, widens);
    }
}

static int below_128(const nq_tile *t) {
    for (int64_t i = 0; i < t->row_count; i++)
        for (int64_t tap = 0; tap < t->tap_count; tap++)
            for (int64_t k = 0, end = 4 * t->quads; k < end; k += 64) {
                const __mmask64 bytes = end - k >= 64 ? ~0ull : (1ull << (end - k)) - 1;
                if (_mm512_movepi8_mask(_mm512_maskz_loadu_epi8(bytes, t->rows[i] + t->taps[tap] + k)) != 0)
                    return 0;
            }
    return 1;
}

INLINE void add_products(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows, const int strips) {
    if (t->pairs_fit || below_128(t))
        add_taps(t, acc, rows, strips, 0);
    else
        add_taps(t, acc, rows, strips, 1);
}

INLINE __m512i dot_spread(__m512i acc, __m512i bytes, __m512i pattern, __m512i w, const int widens) {
    const __m512i a = _mm512_shuffle_epi8(bytes, pattern);
    if (!widens)
        return add_products_of(acc, a, w, 0);
    acc = add_products_of(acc, half_of_activations(a, 0), half_of_weights(w, 0), 1);
    return add_products_of(acc, half_of_activations(a, 1), half_of_weights(w, 1), 1);
}

INLINE void add_spread_products(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows) {
    if (t->pairs_fit)
        add_spread(t, acc, rows, 0);
    else
        add_spread(t, acc, rows, 1);
}

SPREAD_UKERNEL(1) SPREAD_UKERNEL(2) SPREAD_UKERNEL(3) SPREAD_UKERNEL(4) SPREAD_UKERNEL(5) SPREAD_UKERNEL(6)
UKERNELS_6(1)
UKERNELS_6(2)

static int runs(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}

END_TARGET

const nq_isa nq_isa_avx512bw = {
    .name = "avx512bw",
    .runs = runs,
    .max_rows = {0, 6, 6},
    .gemm = {{ENTRIES_6(0)}, {ENTRIES_6(1)}, {ENTRIES_6(2)}},
    TILE_512_TABLE,
    .rows = &nq_rows_avx512,
    .depthwise = &nq_depthwise_avx2,
    .chains = {{"vpmaddwd, vpaddd zmm", nq_multiply_words_avx512bw},
               {"vpmaddubsw, vpmaddwd, vpaddd zmm", nq_multiply_bytes_avx512bw}},
};

#endif
