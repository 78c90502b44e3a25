/* tile_256.h: a tile of 6 rows by 16 channels, each row's in two 256-bit registers, but for the sum itself. gemm_avx2.c and
 * vnni_256.h include it between BEGIN_TARGET and END_TARGET, and define add_products.
 *
 *     begin_tile: init - zp_w * row_sum  -->  add_products  -->  end_tile: epilogue and store */
#ifndef NQ_TILE_256_H
#define NQ_TILE_256_H

INLINE __m256i broadcast_quad(const uint8_t *a) {
    int32_t quad;
    __builtin_memcpy(&quad, a, 4);
    return _mm256_set1_epi32(quad);
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
    const nq_epilogue *e = t->epilogue;
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
    .forms = NQ_FLOAT_FORMS, .sum_bytes = sum_bytes, .quantize = nq_quantize_avx2, .dequantize = nq_dequantize_avx2,       \
    .stream = nq_stream_avx2

#endif
