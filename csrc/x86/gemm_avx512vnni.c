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
 *     2 x 2:   acc[0..1] += quad 0    acc[2..3] += quad 1    | acc[0..1] += quad 2 ...    at the end they are added
 *
 * A lone row takes four, and one strip after the other. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define DOT_ENCODING ""

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

#include "tile_512.h"
#include "dot.h"
#include "series_512.h"

/* Quads k / 4 .. k / 4 + phases - 1 of every row, into acc[phase * rows + row]. One loop, not three: see begin_tile. The
 * activations stay and the weights pass: the other way about, gcc 12 copies accumulators to and fro. */
INLINE void add_quads(const nq_tile *t, const uint8_t *const *a, int64_t k, const uint8_t *w, __m512i acc[][TILE_STRIPS],
                      const int rows, const int strips, const int phases) {
    __m512i aq[NQ_MAX_ROWS], wq;
    UNROLL for (int n = 0; n < phases * rows * strips; n++) {
        const int i = n % rows, j = n / rows % strips, phase = n / rows / strips;
        if (i == 0 && j == 0)
            UNROLL for (int row = 0; row < rows; row++)
                aq[row] = broadcast_quad(a[row] + k + 4 * phase);
        if (i == 0)
            wq = _mm512_load_si512(w + 64 * phase + j * t->strip_bytes);
        acc[phase * rows + i][j] = dot(acc[phase * rows + i][j], aq[i], wq);
    }
}

/* One row, whose weights come from far: as one stream, strip after strip, they come faster than as four. */
INLINE void add_row(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int strips) {
    UNROLL for (int j = 0; j < strips; j++) {
        const uint8_t *w = t->weights + j * t->strip_bytes;
        __m512i part[4] = {acc[0][j], _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
        for (int64_t tap = 0; tap < t->tap_count; tap++) {
            const uint8_t *a = t->rows[0] + t->taps[tap], *const end = a + 4 * t->quads;
            for (; a + 16 <= end; a += 16, w += 256)
                UNROLL for (int i = 0; i < 4; i++)
                    part[i] = dot(part[i], broadcast_quad(a + 4 * i), _mm512_load_si512(w + 64 * i));
            for (; a < end; a += 4, w += 64)
                part[0] = dot(part[0], broadcast_quad(a), _mm512_load_si512(w));
        }
        acc[0][j] = _mm512_add_epi32(_mm512_add_epi32(part[0], part[1]), _mm512_add_epi32(part[2], part[3]));
    }
}

/* All taps, and of `ahead`, if it is not NULL, a line for each quad: from the third-level cache it takes no longer than a
 * quad's products. */
INLINE void add_taps(const nq_tile *t, const uint8_t *ahead, __m512i acc[][TILE_STRIPS], const int rows,
                     const int strips, const int phases) {
    const uint8_t *w = t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        const int64_t end = 4 * t->quads;
        int64_t k = 0;
        for (; k + 4 * phases <= end; k += 4 * phases, w += 64 * phases) {
            if (ahead)
                _mm_prefetch(ahead + (w - t->weights), _MM_HINT_T1);
            add_quads(t, a, k, w, acc, rows, strips, phases);
        }
        for (; phases > 1 && k < end; k += 4, w += 64)
            add_quads(t, a, k, w, acc, rows, strips, 1);
    }
}

INLINE void add_products(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows, const int strips) {
    const int cells = rows * strips, phases = rows == 1 || cells >= 8 ? 1 : cells >= 4 ? 2 : 4;
    UNROLL for (int n = cells; n < phases * cells; n++)
        acc[n / strips][n % strips] = _mm512_setzero_si512();
    if (rows == 1)
        add_row(t, acc, strips);
    else if (cells >= 16 && t->ahead)
        add_taps(t, t->ahead, acc, rows, strips, phases);
    else
        add_taps(t, NULL, acc, rows, strips, phases);
    UNROLL for (int n = cells; n < phases * cells; n++)
        acc[n % cells / strips][n % strips] =
            _mm512_add_epi32(acc[n % cells / strips][n % strips], acc[n / strips][n % strips]);
}

INLINE __m512i dot_spread(__m512i acc, __m512i bytes, __m512i pattern, __m512i w, const int widens) {
    (void)widens;
    return dot(acc, _mm512_shuffle_epi8(bytes, pattern), w);
}

INLINE void add_spread_products(const nq_tile *t, __m512i acc[][TILE_STRIPS], const int rows) {
    add_spread(t, acc, rows, 0);
}

SPREAD_UKERNEL(1) SPREAD_UKERNEL(2) SPREAD_UKERNEL(3) SPREAD_UKERNEL(4) SPREAD_UKERNEL(5) SPREAD_UKERNEL(6)
SPREAD_UKERNEL(7) SPREAD_UKERNEL(8)
UKERNELS_8(1)
UKERNELS_8(2)
UKERNELS_6(3)
UKERNEL(7, 3)
UKERNELS_6(4)

static int runs(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

END_TARGET

const nq_isa nq_isa_avx512vnni = {
    .name = "avx512vnni",
    .runs = runs,
    .max_rows = {0, 8, 8, 7, 6},
    .gemm = {{ENTRIES_8(0)}, {ENTRIES_8(1)}, {ENTRIES_8(2)}, {ENTRIES_6(3), ENTRY(7, 3)}, {ENTRIES_6(4)}},
    .series = {0, series_8x1, series_6x2},
    .series_rows = {0, 8, 6},
    TILE_512_TABLE,
    .rows = &nq_rows_avx512vnni,
    .depthwise = &nq_depthwise_avx512vnni,
    .chains = {{"vpdpbusd zmm", nq_multiply_avx512vnni}},
};

#endif
