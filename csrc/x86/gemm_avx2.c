/* gemm_avx2.c: the tile on AVX2, exact.
 *
 * AVX2's 8-bit multiply, vpmaddubsw, adds pairs of products in int16 and saturates: 255 * 127 * 2 = 64770 > 32767. It
 * cannot if packing has proved it of every pair of weights (nq_packed.pairs_fit), nor if all of the tile's activations are
 * below 128, since 127 * 128 * 2 = 32512. Then three instructions make the dot product of tile_256.h:
 *
 *     vpmaddubsw, vpmaddwd by 1, vpaddd        u8 x s8 --> int16 pairs --> int32 --> acc
 *
 * Else everything is widened to int16, and vpmaddwd adds the pairs in int32. The weights are widened in the register, for
 * three shifts that all rows share. The activations are widened once for all strips of the tile, into a scratch that stays
 * in the first-level cache, at most 1 KB of a row at a time:
 *
 *     weights       w0 w1 w2 w3 | ...    slli 8, srai 8 -->   w0 w2 | ...    srai 8 -->   w1 w3 | ...
 *     activations   a0 a1 a2 a3 | ...    -->  scratch      [ a0 a2 ] [ a1 a3 ] | ...      one broadcast each           */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")

/* A line of assembly, volatile, so that compilers neither regroup the sums nor hoist products over them: both spill
 * accumulators. */
INLINE __m256i add(__m256i acc, __m256i products) {
    __asm__ volatile("vpaddd %1, %0, %0" : "+x"(acc) : "x"(products));
    return acc;
}

/* The weights come from memory each time: registers for them there are none left. */
INLINE __m256i DOT(__m256i acc, __m256i a, const __m256i *w) {
    __m256i pairs;
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(pairs) : "x"(a), "m"(*w));
    return add(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "tile_256.h"

enum { SCRATCH_QUADS = 256, SCRATCH_PAD = 8 };       /* the pad keeps rows out of each other's cache sets */

typedef struct {
    uint32_t pairs[2][TILE_ROWS][SCRATCH_QUADS + SCRATCH_PAD];       /* (a0, a2), and (a1, a3), of each quad */
    int64_t quads;               /* in the scratch */
    int64_t before;              /* quads of each row that came before these */
    int64_t tap, quad;           /* what comes next */
    __m256i sums[TILE_VECTORS][TILE_ROWS];               /* of those before */
} widened;

static void widen(const uint8_t *a, int64_t quads, uint32_t *even, uint32_t *odd) {
    const __m256i low = _mm256_set1_epi16(0x00FF);
    int64_t quad = 0;
    for (; quad + 8 <= quads; quad += 8) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(a + 4 * quad));
        _mm256_storeu_si256((__m256i *)(even + quad), _mm256_and_si256(bytes, low));
        _mm256_storeu_si256((__m256i *)(odd + quad), _mm256_srli_epi16(bytes, 8));
    }
    for (uint32_t bytes; quad < quads; quad++) {
        __builtin_memcpy(&bytes, a + 4 * quad, 4);
        even[quad] = bytes & 0x00FF00FF;
        odd[quad] = bytes >> 8 & 0x00FF00FF;
    }
}

INLINE void add_widened(const nq_tile *t, const widened *s, int64_t first, __m256i acc[][TILE_ROWS], const int rows,
                        const int vectors) {
    const uint8_t *strip = t->weights + first / 2 * t->strip_bytes + s->before * NQ_STRIP * NQ_QUAD;
    for (int64_t quad = 0; quad < s->quads; quad++, strip += NQ_STRIP * NQ_QUAD)
        UNROLL for (int odd = 0; odd < 2; odd++)
            UNROLL for (int j = 0; j < vectors; j += 2) {
                const __m256i *w = (const __m256i *)(strip + j / 2 * t->strip_bytes);
                __m256i w0 = _mm256_load_si256(w), w1 = vectors > 1 ? _mm256_load_si256(w + 1) : w0;
                if (!odd)
                    w0 = _mm256_slli_epi16(w0, 8), w1 = _mm256_slli_epi16(w1, 8);
                w0 = _mm256_srai_epi16(w0, 8), w1 = _mm256_srai_epi16(w1, 8);
                UNROLL for (int i = 0; i < rows; i++) {
                    const __m256i pair = broadcast_quad(&s->pairs[odd][i][quad]);
                    acc[j][i] = add(acc[j][i], _mm256_madd_epi16(pair, w0));
                    if (vectors > 1)
                        acc[j + 1][i] = add(acc[j + 1][i], _mm256_madd_epi16(pair, w1));
                }
            }
}

INLINE void widened_part(const nq_tile *t, widened *s, int64_t first, const int rows, const int vectors) {
    __m256i acc[TILE_VECTORS][TILE_ROWS];
    if (s->before == 0)
        begin_part(t, first, acc, rows, vectors);
    else
        copy_part(acc, PART(s->sums + first), rows, vectors);
    add_widened(t, s, first, acc, rows, vectors);
    copy_part(s->sums + first, PART(acc), rows, vectors);
}

/* Spreading widens, too, since an index above 127 means a zero byte:
 *
 *     pattern       p0 p1 p2 p3 | ...    or 0x8000 -->   p0 -- p2 -- | ...    srli 8, or 0x8000 -->   p1 -- p3 -- | ... */
INLINE __m256i dot_spread(__m256i acc, __m256i bytes, __m256i pattern, const __m256i *w, const int widens) {
    if (!widens)
        return DOT(acc, _mm256_shuffle_epi8(bytes, pattern), w);
    const __m256i zeros = _mm256_set1_epi16(INT16_MIN), both = _mm256_load_si256(w);
    const __m256i even = _mm256_shuffle_epi8(bytes, _mm256_or_si256(pattern, zeros));
    const __m256i odd = _mm256_shuffle_epi8(bytes, _mm256_or_si256(_mm256_srli_epi16(pattern, 8), zeros));
    acc = add(acc, _mm256_madd_epi16(even, _mm256_srai_epi16(_mm256_slli_epi16(both, 8), 8)));
    return add(acc, _mm256_madd_epi16(odd, _mm256_srai_epi16(both, 8)));
}

static int below_128(const nq_tile *t) {
    for (int64_t i = 0; i < t->row_count; i++)
        for (int64_t tap = 0; tap < t->tap_count; tap++) {
            const uint8_t *a = t->rows[i] + t->taps[tap], *end = a + 4 * t->quads;
            __m256i all = _mm256_setzero_si256();
            for (; a + 32 <= end; a += 32)
                all = _mm256_or_si256(all, _mm256_loadu_si256((const __m256i *)a));
            for (; a < end; a += 4)
                all = _mm256_or_si256(all, broadcast_quad(a));
            if (_mm256_movemask_epi8(all) != 0)
                return 0;
        }
    return 1;
}

/* Fills the scratch with the next quads of all rows, across taps. */
static void fill(const nq_tile *t, widened *s) {
    s->before += s->quads;
    s->quads = 0;
    while (s->tap < t->tap_count && s->quads < SCRATCH_QUADS) {
        const int64_t room = SCRATCH_QUADS - s->quads, left = t->quads - s->quad, quads = left < room ? left : room;
        for (int64_t i = 0; i < t->row_count; i++)
            widen(t->rows[i] + t->taps[s->tap] + 4 * s->quad, quads, s->pairs[0][i] + s->quads,
                  s->pairs[1][i] + s->quads);
        s->quads += quads;
        s->quad += quads;
        if (s->quad == t->quads) {
            s->tap++;
            s->quad = 0;
        }
    }
}

INLINE void widened_tile(const nq_tile *t, const int rows) {
    widened s;
    s.tap = s.quad = s.before = s.quads = 0;
    do {
        fill(t, &s);
        FOR_PARTS(t, rows, widened_part, t, &s);
    } while (s.tap < t->tap_count);
    store_sums(t, 0, PART(s.sums), (int)((t->columns + 7) >> 3));
}

INLINE void tile(const nq_tile *t, const int rows) {
    if (t->spread && t->pairs_fit)
        spread_tile(t, rows, 0);
    else if (t->spread)          /* to look at the activations first would take as long */
        spread_tile(t, rows, 1);
    else if (t->pairs_fit || below_128(t))
        FOR_PARTS(t, rows, dot_part, t);
    else
        widened_tile(t, rows);
}

static int runs(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

END_TARGET

const nq_isa nq_isa_avx2 = {.name = "avx2", .runs = runs, TILE_256_TABLE, .depthwise = &nq_depthwise_avx2,
                            .chains = {{"vpmaddwd, vpaddd", nq_multiply_words_avx2},
                                       {"vpmaddubsw, vpmaddwd, vpaddd", nq_multiply_bytes_avx2}}};

#endif
