/* gemm_avx2.c: the tile on AVX2, exact.
 *
 * AVX2's 8-bit multiply, vpmaddubsw, adds pairs of products in int16 and saturates: 255 * 127 * 2 = 64770 > 32767. It
 * cannot if packing has proved it of every pair of weights (nq_packed.pairs_fit), nor if all of the tile's activations are
 * below 128, since 127 * 128 * 2 = 32512. Then three instructions make the dot product of tile_256.h:
 *
 *     vpmaddubsw, vpmaddwd by 1, vpaddd        u8 x s8 --> int16 pairs --> int32 --> acc
 *
 * Else a - 128 is multiplied, by its sign and then its size, and the sums of weights make up for the 128:
 *
 *     a*w = 128*w + |a - 128| * (w or -w)          -w = ~w + 1, and ~w = w ^ 0xFF, which is 127 for w = -128
 *         = 128*w + size * (w ^ sign) + (size & sign)                               sign = 0xFF where a < 128, or 0
 *
 * No pair of products leaves int16, whatever a and w: 128 * -128 * 2 = -32768. The first term sums to a constant of the
 * column, which ends each packed strip (pack.c); the third, to one of the row. So vpxor is all that is added to the three
 * instructions. Sizes and signs of a tile's rows are kept, for all its strips, in a scratch that stays in the first-level
 * cache, at most 1 KB of a row at a time. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

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

/* The same with the weights' signs changed, where those of the activations say so. */
INLINE __m256i dot_signed(__m256i acc, __m256i size, __m256i sign, const __m256i *w) {
    __m256i turned;
    __asm__("vpxor %2, %1, %0" : "=x"(turned) : "x"(sign), "m"(*w));
    return add(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(size, turned), _mm256_set1_epi16(1)));
}

/* The pad takes what split_block stores beyond a row, and keeps rows out of each other's cache sets. */
enum { SCRATCH_QUADS = 256, SCRATCH_PAD = 8 };

typedef struct {
    uint32_t size[TILE_ROWS][SCRATCH_QUADS + SCRATCH_PAD], sign[TILE_ROWS][SCRATCH_QUADS + SCRATCH_PAD];
    int32_t row_term[TILE_ROWS];         /* sum of size & sign */
    int64_t quads;               /* in the scratch */
    int64_t before;              /* quads of each row that came before these */
    int64_t tap, quad;           /* what comes next */
    __m256i sums[TILE_VECTORS][TILE_ROWS];               /* of those before */
} split;

/* Returns the sum of size & sign, of the quads that `own` covers. Of eight quads all are stored. */
INLINE __m256i split_block(__m256i bytes, __m256i own, uint32_t *size, uint32_t *sign) {
    const __m256i zero = _mm256_setzero_si256(), centred = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
    const __m256i signs = _mm256_cmpgt_epi8(zero, centred), sizes = _mm256_abs_epi8(centred);
    _mm256_storeu_si256((__m256i *)size, sizes);
    _mm256_storeu_si256((__m256i *)sign, signs);
    return _mm256_sad_epu8(_mm256_and_si256(_mm256_and_si256(sizes, own), signs), zero);
}

static int32_t split_run(const uint8_t *a, int64_t quads, uint32_t *size, uint32_t *sign) {
    const __m256i ramp = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), all = _mm256_set1_epi32(-1);
    __m256i sum = _mm256_setzero_si256();
    int64_t quad = 0;
    for (; quad + 8 <= quads; quad += 8) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(a + 4 * quad));
        sum = _mm256_add_epi64(sum, split_block(bytes, all, size + quad, sign + quad));
    }
    if (quad < quads) {
        const __m256i own = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(quads - quad)), ramp);
        const __m256i bytes = _mm256_maskload_epi32((const int *)(a + 4 * quad), own);
        sum = _mm256_add_epi64(sum, split_block(bytes, own, size + quad, sign + quad));
    }
    const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    return _mm_cvtsi128_si32(half) + _mm_extract_epi32(half, 2);
}

/* The constants of columns come in with the first quads, those of rows with their own. */
INLINE void begin_split(const nq_tile *t, const split *s, int64_t first, __m256i acc[][TILE_ROWS], const int rows,
                        const int vectors) {
    if (s->before > 0) {
        copy_part(acc, PART(s->sums + first), rows, vectors);
    } else {
        begin_part(t, first, acc, rows, vectors);
        UNROLL for (int j = 0; j < vectors; j++) {
            const uint8_t *sums = t->weights + ((first + j) / 2 + 1) * t->strip_bytes - NQ_SUMS_BYTES;
            const __m256i sum = LOAD((const int32_t *)sums + (first + j) % 2 * 8);
            UNROLL for (int i = 0; i < rows; i++)
                acc[j][i] = _mm256_add_epi32(acc[j][i], _mm256_slli_epi32(sum, 7));
        }
    }
    UNROLL for (int n = 0; n < rows * vectors; n++)
        acc[n / rows][n % rows] = _mm256_add_epi32(acc[n / rows][n % rows], _mm256_set1_epi32(s->row_term[n % rows]));
}

INLINE void split_part(const nq_tile *t, split *s, int64_t first, const int rows, const int vectors) {
    __m256i acc[TILE_VECTORS][TILE_ROWS];
    begin_split(t, s, first, acc, rows, vectors);
    const uint8_t *strip = t->weights + first / 2 * t->strip_bytes + s->before * NQ_STRIP * NQ_QUAD;
    for (int64_t quad = 0; quad < s->quads; quad++, strip += NQ_STRIP * NQ_QUAD)
        UNROLL for (int i = 0; i < rows; i++) {
            const __m256i size = broadcast_quad(&s->size[i][quad]), sign = broadcast_quad(&s->sign[i][quad]);
            UNROLL for (int j = 0; j < vectors; j++)
                acc[j][i] = dot_signed(acc[j][i], size, sign, (const __m256i *)(strip + j / 2 * t->strip_bytes) + j % 2);
        }
    if (s->tap == t->tap_count)
        end_part(t, first, PART(acc), rows, vectors);
    else
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
static void fill(const nq_tile *t, split *s) {
    s->before += s->quads;
    s->quads = 0;
    memset(s->row_term, 0, sizeof s->row_term);
    while (s->tap < t->tap_count && s->quads < SCRATCH_QUADS) {
        const int64_t room = SCRATCH_QUADS - s->quads, left = t->quads - s->quad, quads = left < room ? left : room;
        for (int64_t i = 0; i < t->row_count; i++)
            s->row_term[i] += split_run(t->rows[i] + t->taps[s->tap] + 4 * s->quad, quads, s->size[i] + s->quads,
                                        s->sign[i] + s->quads);
        s->quads += quads;
        s->quad += quads;
        if (s->quad == t->quads) {
            s->tap++;
            s->quad = 0;
        }
    }
}

INLINE void split_tile(const nq_tile *t, const int rows) {
    split s;
    s.tap = s.quad = s.before = s.quads = 0;
    do {
        fill(t, &s);
        FOR_PARTS(t, rows, split_part, t, &s);
    } while (s.tap < t->tap_count);
}

INLINE void tile(const nq_tile *t, const int rows) {
    if (t->spread && t->pairs_fit)
        spread_tile(t, rows, 0);
    else if (t->spread)          /* to look at the activations first would take as long */
        spread_tile(t, rows, 1);
    else if (t->pairs_fit || below_128(t))
        FOR_PARTS(t, rows, dot_part, t);
    else
        split_tile(t, rows);
}

static int runs(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

END_TARGET

const nq_isa nq_isa_avx2 = {.name = "avx2", .runs = runs, TILE_256_TABLE, .depthwise = &nq_depthwise_avx2,
                            .chains = {{"vpmaddwd, vpaddd", nq_multiply_words_avx2},
                                       {"vpmaddubsw, vpmaddwd, vpaddd", nq_multiply_bytes_avx2}}};

#endif
