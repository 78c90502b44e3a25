/* gemm_avx512vnni.c: the tile on AVX-512 with VNNI. One instruction does the work:
 *
 *     vpdpbusd acc, a, w      acc[n] += a[0]*w[n][0] + a[1]*w[n][1] + a[2]*w[n][2] + a[3]*w[n][3]     n = 0..15
 *
 * with unsigned a, signed w and no saturation. The packed weights are its operand as it stands: a strip is 16 channels,
 * a quad 4 bytes of each, 64 bytes in all.
 *
 *                  w: quad of strip 0 | strip 1 | strip 2 | strip 3     (one 64-byte load each)
 *     row 0: a a a a (broadcast) -->    acc00    acc01     acc02     acc03
 *     row 1: a a a a             -->    acc10    acc11     acc12     acc13
 *       ...
 *     6 rows x 4 strips: 24 accumulators + 4 weights + 1 activation = 29 of 32 registers
 *
 * Each quad costs 4 + 6 loads for 24 multiplications, so that loads never bind. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

/* For gcc, one line of assembly: gcc 12 copies and spills the accumulators around the intrinsic, which costs more than half
 * of the speed. Not volatile, so that the compiler still schedules it and allocates its registers. */
INLINE __m512i dot(__m512i acc, __m512i a, __m512i w) {
#if defined(__clang__)
    return _mm512_dpbusd_epi32(acc, a, w);
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w));
    return acc;
#endif
}

INLINE __m512i broadcast_quad(const uint8_t *a) {
    int32_t quad;
    __builtin_memcpy(&quad, a, 4);
    return _mm512_set1_epi32(quad);
}

INLINE __mmask16 first_columns(int64_t count) { return (__mmask16)(count >= 16 ? 0xFFFF : (1u << count) - 1); }

/* The two-step form D on 16 accumulators, and the inner part of form B. */
INLINE __m512 two_step(__m512i acc, const nq_epilogue *e, int64_t channel) {
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_set1_ps(e->pre));
    value = _mm512_mul_ps(value, _mm512_loadu_ps(e->mul + channel));
    return _mm512_add_ps(value, _mm512_loadu_ps(e->badd + channel));
}

/* Form A or B on 16 accumulators: y - zero_point as int32. */
INLINE __m512i requantize(__m512i acc, const nq_epilogue *e, int64_t channel, const int form) {
    __m512 value;
    if (form == NQ_FORM_A) {
        value = _mm512_add_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(e->badd + channel));
        value = _mm512_mul_ps(value, _mm512_loadu_ps(e->mul + channel));
    } else {
        value = _mm512_mul_ps(two_step(acc, e, channel), _mm512_set1_ps(e->post));
        value = _mm512_add_ps(value, _mm512_set1_ps(e->offset));
    }
    value = _mm512_max_ps(value, _mm512_set1_ps(e->lo));
    value = _mm512_min_ps(value, _mm512_set1_ps(e->hi));
    return _mm512_cvtps_epi32(value);
}

/* Four strips of one row: 64 bytes. The two packs work inside 128-bit lanes and leave the groups of four channels in
 * the order 0 4 8 12 | 1 5 9 13 | ...; one vpermd puts them back. */
INLINE void store_row_64(const __m512i *acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                         const int form) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero_point = _mm512_set1_epi16((int16_t)e->zero_point);
    __m512i y[4];
    UNROLL for (int j = 0; j < 4; j++)
        y[j] = requantize(acc[j], e, channel + 16 * j, form);
    __m512i low = _mm512_add_epi16(_mm512_packs_epi32(y[0], y[1]), zero_point);
    __m512i high = _mm512_add_epi16(_mm512_packs_epi32(y[2], y[3]), zero_point);
    __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
    bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8((char)e->y_flip));
    _mm512_mask_storeu_epi8(out, columns >= 64 ? ~0ull : (1ull << columns) - 1, bytes);
}

INLINE void store_row_16(__m512i acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                         const int form) {
    __m512i y = _mm512_add_epi32(requantize(acc, e, channel, form), _mm512_set1_epi32(e->zero_point));
    __m128i bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(y), _mm_set1_epi8((char)e->y_flip));
    _mm_mask_storeu_epi8(out, first_columns(columns), bytes);
}

INLINE void store_row_8bit(const __m512i *acc, const nq_tile *t, uint8_t *out, const int strips, const int form) {
    if (strips == 4)
        store_row_64(acc, t->epilogue, t->channel, t->columns, out, form);
    else
        UNROLL for (int j = 0; j < strips; j++)
            store_row_16(acc[j], t->epilogue, t->channel + 16 * j, t->columns - 16 * j, out + 16 * j, form);
}

/* The forms with 32-bit outputs: 16 channels of one row. */
INLINE void store_row_wide(__m512i acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out) {
    __m512 value;
    if (e->form == NQ_FORM_ACCUMULATOR) {
        _mm512_mask_storeu_epi32(out, first_columns(columns), acc);
        return;
    }
    if (e->form == NQ_FORM_D_FUSED)
        value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(e->mul + channel),
                                _mm512_loadu_ps(e->badd + channel));
    else
        value = two_step(acc, e, channel);
    value = _mm512_max_ps(value, _mm512_set1_ps(e->lo));
    _mm512_mask_storeu_ps(out, first_columns(columns), value);
}

INLINE void tile(const nq_tile *t, const int rows, const int strips) {
    const nq_epilogue *e = t->epilogue;
    __m512i acc[NQ_MAX_ROWS][NQ_MAX_STRIPS];
    UNROLL for (int j = 0; j < strips; j++) {
        __m512i init = _mm512_loadu_si512(e->init + t->channel + 16 * j);
        UNROLL for (int i = 0; i < rows; i++)
            acc[i][j] = init;
    }
    if (t->zp_w)
        UNROLL for (int j = 0; j < strips; j++) {
            __m512i zp_w = _mm512_loadu_si512(t->zp_w + t->channel + 16 * j);
            UNROLL for (int i = 0; i < rows; i++)
                acc[i][j] = _mm512_sub_epi32(acc[i][j], _mm512_mullo_epi32(zp_w, _mm512_set1_epi32(t->row_sum[i])));
        }
    const uint8_t *w = t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a[NQ_MAX_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        PRAGMA(GCC unroll 2) for (int64_t quad = 0; quad < t->quads; quad++, w += 64) {
            __m512i wq[NQ_MAX_STRIPS];
            UNROLL for (int j = 0; j < strips; j++)
                wq[j] = _mm512_load_si512(w + j * t->strip_bytes);
            UNROLL for (int i = 0; i < rows; i++) {
                __m512i aq = broadcast_quad(a[i] + 4 * quad);
                UNROLL for (int j = 0; j < strips; j++)
                    acc[i][j] = dot(acc[i][j], aq, wq[j]);
            }
        }
    }
    UNROLL for (int i = 0; i < rows; i++) {
        uint8_t *out = t->out + i * t->out_stride;
        if (e->form == NQ_FORM_A)
            store_row_8bit(acc[i], t, out, strips, NQ_FORM_A);
        else if (e->form == NQ_FORM_B)
            store_row_8bit(acc[i], t, out, strips, NQ_FORM_B);
        else
            UNROLL for (int j = 0; j < strips; j++)
                store_row_wide(acc[i][j], e, t->channel + 16 * j, t->columns - 16 * j, out + 64 * j);
    }
}

#define UKERNEL(ROWS, STRIPS)                                                                                          \
    static void ukernel_##ROWS##x##STRIPS##c4__avx512vnni(const nq_tile *t) { tile(t, ROWS, STRIPS); }
#define UKERNELS_6(STRIPS)                                                                                             \
    UKERNEL(1, STRIPS) UKERNEL(2, STRIPS) UKERNEL(3, STRIPS) UKERNEL(4, STRIPS) UKERNEL(5, STRIPS) UKERNEL(6, STRIPS)
#define ENTRY(ROWS, STRIPS) ukernel_##ROWS##x##STRIPS##c4__avx512vnni
#define ENTRIES_6(STRIPS)                                                                                              \
    0, ENTRY(1, STRIPS), ENTRY(2, STRIPS), ENTRY(3, STRIPS), ENTRY(4, STRIPS), ENTRY(5, STRIPS), ENTRY(6, STRIPS)

UKERNELS_6(1) UKERNEL(7, 1) UKERNEL(8, 1)
UKERNELS_6(2) UKERNEL(7, 2) UKERNEL(8, 2)
UKERNELS_6(3) UKERNEL(7, 3) UKERNEL(8, 3)
UKERNELS_6(4)

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    _mm512_storeu_si512(packed, _mm512_loadu_si512(block));
}

static int32_t sum_bytes(const uint8_t *x, int64_t count) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t k = 0; k < count; k += 64) {
        int64_t left = count - k;
        __m512i bytes = _mm512_maskz_loadu_epi8(left >= 64 ? ~0ull : (1ull << left) - 1, x + k);
        sum = _mm512_add_epi64(sum, _mm512_sad_epu8(bytes, _mm512_setzero_si512()));
    }
    return (int32_t)_mm512_reduce_add_epi64(sum);
}

static int runs(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

END_TARGET

const nq_isa nq_isa_avx512vnni = {
    .name = "avx512vnni",
    .runs = runs,
    .quad_bytes = 64,
    .pack_quad = pack_quad,
    .max_rows = {0, 8, 8, 8, 6},
    .gemm = {{0},
             {ENTRIES_6(1), ENTRY(7, 1), ENTRY(8, 1)},
             {ENTRIES_6(2), ENTRY(7, 2), ENTRY(8, 2)},
             {ENTRIES_6(3), ENTRY(7, 3), ENTRY(8, 3)},
             {ENTRIES_6(4)}},
    .forms = NQ_FLOAT_FORMS,
    .sum_bytes = sum_bytes,
    .quantize = nq_quantize_avx512,
    .dequantize = nq_dequantize_avx512,
    .chains = {{"vpdpbusd zmm", nq_multiply_avx512vnni}},
    .stream = nq_stream_avx512,
};

#endif
