/* elementwise_avx2.c: quantize and dequantize, 32 elements a step.
 *
 *     float  x0..7     x8..15    x16..23   x24..31
 *     int32  q0..7     q8..15    q16..23   q24..31        multiply, clamp, convert, add the zero point
 *     int16  0-3 8-11 | 4-7 12-15     16-19 24-27 | 20-23 28-31     packs stays inside its 128-bit lanes
 *     uint8  0-3 8-11 16-19 24-27 | 4-7 12-15 20-23 28-31 --vpermd 0 4 1 5 2 6 3 7--> 0..31 */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")

typedef struct {
    __m256 inv_scale, lo, hi;
    __m256i zero_point;
} constants;

static inline __m256i quantize_8(__m256 x, const constants *c, __m256 *nan) {
    *nan = _mm256_or_ps(*nan, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    __m256 value = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(x, c->inv_scale), c->lo), c->hi);
    return _mm256_add_epi32(_mm256_cvtps_epi32(value), c->zero_point);
}

int nq_quantize_avx2(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point,
                     uint8_t flip, uint8_t *q) {
    const constants c = {_mm256_set1_ps(inv_scale), _mm256_set1_ps(lo), _mm256_set1_ps(hi),
                         _mm256_set1_epi32(zero_point)};
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256 nan = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m256i low = _mm256_packs_epi32(quantize_8(_mm256_loadu_ps(x + i), &c, &nan),
                                         quantize_8(_mm256_loadu_ps(x + i + 8), &c, &nan));
        __m256i high = _mm256_packs_epi32(quantize_8(_mm256_loadu_ps(x + i + 16), &c, &nan),
                                          quantize_8(_mm256_loadu_ps(x + i + 24), &c, &nan));
        __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
        bytes = _mm256_xor_si256(bytes, _mm256_set1_epi8((char)flip));
        _mm256_storeu_si256((__m256i *)(q + i), bytes);
    }
    int rest = nq_quantize_ref(x + i, count - i, inv_scale, lo, hi, zero_point, flip, q + i);
    return rest | (_mm256_movemask_ps(nan) != 0);
}

void nq_dequantize_avx2(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x) {
    const __m128i flips = _mm_set1_epi8((char)flip);
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m128i bytes = _mm_xor_si128(_mm_loadl_epi64((const __m128i *)(q + i)), flips);
        __m256i steps = _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(zero_point));
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_cvtepi32_ps(steps), _mm256_set1_ps(scale)));
    }
    nq_dequantize_ref(q + i, count - i, scale, zero_point, flip, x + i);
}

END_TARGET
#endif
