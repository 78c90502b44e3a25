/* gemm_avx2.c: the tile on AVX2, exact.
 *
 * AVX2's 8-bit multiply, vpmaddubsw, adds pairs of products in int16 and saturates: 255 * 127 * 2 = 64770 > 32767. So
 * we widen to int16 and use vpmaddwd, whose pairs are added in int32:
 *
 *     vpmaddwd p, a, w        p[n] = a[0]*w[n][0] + a[1]*w[n][1]      n = 0..7, everything int16 -> int32
 *
 * Weights are widened once, when packed. Activations are widened in the register, for two instructions a quad: of the
 * four broadcast bytes a0 a1 a2 a3, a mask keeps the even ones and a shift brings down the odd ones, each as int16.
 *
 *     a0 a1 a2 a3 | a0 a1 a2 a3 | ...   --and 0x00FF00FF-->   a0 0 a2 0 | ...   = (a0, a2)  even pair
 *                                       --srli_epi16 8---->   a1 0 a3 0 | ...   = (a1, a3)  odd pair
 *
 * The packed quad of a strip of 16 channels follows suit, 128 bytes:
 *
 *     even pairs (w[n][0], w[n][2]) of n = 0..7 | of n = 8..15 | odd pairs (w[n][1], w[n][3]) of n = 0..7 | of n = 8..15
 *
 * A tile is 6 rows x 1 strip: 12 accumulators + 2 weights + 1 activation = 15 of 16 registers. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")

INLINE __m256i broadcast_quad(const uint8_t *a) {
    int32_t quad;
    __builtin_memcpy(&quad, a, 4);
    return _mm256_set1_epi32(quad);
}

INLINE __m256i multiply_add(__m256i acc, __m256i a, __m256i w) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, w));
}

/* The two-step form D on 8 accumulators, and the inner part of form B. */
INLINE __m256 two_step(__m256i acc, const nq_epilogue *e, int64_t channel) {
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_set1_ps(e->pre));
    value = _mm256_mul_ps(value, _mm256_loadu_ps(e->mul + channel));
    return _mm256_add_ps(value, _mm256_loadu_ps(e->badd + channel));
}

/* Form A or B on 8 accumulators: y as int32 in 0..255. */
INLINE __m256i requantize(__m256i acc, const nq_epilogue *e, int64_t channel, const int form) {
    __m256 value;
    if (form == NQ_FORM_A) {
        value = _mm256_add_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(e->badd + channel));
        value = _mm256_mul_ps(value, _mm256_loadu_ps(e->mul + channel));
    } else {
        value = _mm256_mul_ps(two_step(acc, e, channel), _mm256_set1_ps(e->post));
        value = _mm256_add_ps(value, _mm256_set1_ps(e->offset));
    }
    value = _mm256_max_ps(value, _mm256_set1_ps(e->lo));
    value = _mm256_min_ps(value, _mm256_set1_ps(e->hi));
    return _mm256_add_epi32(_mm256_cvtps_epi32(value), _mm256_set1_epi32(e->zero_point));
}

/* Copies the first `count` of `size`-byte elements of a full row to the output: AVX2 has no masked byte store. */
INLINE void store_columns(uint8_t *out, const void *row, int64_t count, const int size) {
    __builtin_memcpy(out, row, (size_t)(count < NQ_STRIP ? count : NQ_STRIP) * (size_t)size);
}

INLINE void store_row_8bit(__m256i first, __m256i second, const nq_tile *t, uint8_t *out, const int form) {
    const nq_epilogue *e = t->epilogue;
    __m256i words = _mm256_packs_epi32(requantize(first, e, t->channel, form),
                                       requantize(second, e, t->channel + 8, form));
    words = _mm256_permute4x64_epi64(words, 0xD8);       /* packs works in 128-bit lanes: 0 8 4 12 -> 0 4 8 12 */
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    bytes = _mm_xor_si128(bytes, _mm_set1_epi8((char)e->y_flip));
    if (t->columns >= NQ_STRIP) {
        _mm_storeu_si128((__m128i *)out, bytes);
    } else {
        uint8_t row[NQ_STRIP];
        _mm_storeu_si128((__m128i *)row, bytes);
        store_columns(out, row, t->columns, 1);
    }
}

INLINE __m256 to_float(__m256i acc, const nq_epilogue *e, int64_t channel) {
    __m256 value;
    if (e->form == NQ_FORM_D_FUSED)
        value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(e->mul + channel),
                                _mm256_loadu_ps(e->badd + channel));
    else
        value = two_step(acc, e, channel);
    return _mm256_max_ps(value, _mm256_set1_ps(e->lo));
}

INLINE void store_row_32bit(__m256i first, __m256i second, const nq_tile *t, uint8_t *out) {
    int32_t row[NQ_STRIP];
    if (t->epilogue->form != NQ_FORM_ACCUMULATOR) {
        first = _mm256_castps_si256(to_float(first, t->epilogue, t->channel));
        second = _mm256_castps_si256(to_float(second, t->epilogue, t->channel + 8));
    }
    _mm256_storeu_si256((__m256i *)row, first);
    _mm256_storeu_si256((__m256i *)(row + 8), second);
    store_columns(out, row, t->columns, 4);
}

INLINE void tile(const nq_tile *t, const int rows) {
    const nq_epilogue *e = t->epilogue;
    const __m256i even_bytes = _mm256_set1_epi32(0x00FF00FF);
    __m256i acc[NQ_MAX_ROWS][2];
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
    const __m256i *w = (const __m256i *)t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        for (int64_t quad = 0; quad < t->quads; quad++, w += 4) {
            __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
            UNROLL for (int i = 0; i < rows; i++) {
                __m256i even = _mm256_and_si256(broadcast_quad(a[i] + 4 * quad), even_bytes);
                acc[i][0] = multiply_add(acc[i][0], even, w0);
                acc[i][1] = multiply_add(acc[i][1], even, w1);
            }
            w0 = _mm256_load_si256(w + 2), w1 = _mm256_load_si256(w + 3);
            UNROLL for (int i = 0; i < rows; i++) {
                __m256i odd = _mm256_srli_epi16(broadcast_quad(a[i] + 4 * quad), 8);
                acc[i][0] = multiply_add(acc[i][0], odd, w0);
                acc[i][1] = multiply_add(acc[i][1], odd, w1);
            }
        }
    }
    UNROLL for (int i = 0; i < rows; i++) {
        uint8_t *out = t->out + i * t->out_stride;
        if (e->form == NQ_FORM_A)
            store_row_8bit(acc[i][0], acc[i][1], t, out, NQ_FORM_A);
        else if (e->form == NQ_FORM_B)
            store_row_8bit(acc[i][0], acc[i][1], t, out, NQ_FORM_B);
        else
            store_row_32bit(acc[i][0], acc[i][1], t, out);
    }
}

static void ukernel_1x16c4__avx2(const nq_tile *t) { tile(t, 1); }
static void ukernel_2x16c4__avx2(const nq_tile *t) { tile(t, 2); }
static void ukernel_3x16c4__avx2(const nq_tile *t) { tile(t, 3); }
static void ukernel_4x16c4__avx2(const nq_tile *t) { tile(t, 4); }
static void ukernel_5x16c4__avx2(const nq_tile *t) { tile(t, 5); }
static void ukernel_6x16c4__avx2(const nq_tile *t) { tile(t, 6); }

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    int16_t *out = packed;
    for (int odd = 0; odd < 2; odd++)
        for (int n = 0; n < NQ_STRIP; n++, out += 2) {
            out[0] = block[n][odd];
            out[1] = block[n][odd + 2];
        }
}

static int32_t sum_bytes(const uint8_t *x, int64_t count) {
    __m256i sum = _mm256_setzero_si256();
    int64_t k = 0, lanes[4];
    for (; k + 32 <= count; k += 32)
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(_mm256_loadu_si256((const __m256i *)(x + k)),
                                                    _mm256_setzero_si256()));
    _mm256_storeu_si256((__m256i *)lanes, sum);
    int64_t total = lanes[0] + lanes[1] + lanes[2] + lanes[3];
    for (; k < count; k++)
        total += x[k];
    return (int32_t)total;
}

static int runs(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

END_TARGET

const nq_isa nq_isa_avx2 = {
    .name = "avx2",
    .runs = runs,
    .quad_bytes = 128,
    .pack_quad = pack_quad,
    .max_rows = {0, 6, 0, 0, 0},
    .gemm = {{0},
             {0, ukernel_1x16c4__avx2, ukernel_2x16c4__avx2, ukernel_3x16c4__avx2, ukernel_4x16c4__avx2,
              ukernel_5x16c4__avx2, ukernel_6x16c4__avx2}},
    .forms = NQ_FLOAT_FORMS,
    .sum_bytes = sum_bytes,
    .quantize = nq_quantize_avx2,
    .dequantize = nq_dequantize_avx2,
};

#endif
