/* elementwise_avx512.c: quantize and dequantize, 64 elements a step; the last step is the same with masked lanes.
 *
 *     four vectors of 16 int32  --packs, packus-->  64 bytes in the order of groups 0 4 8 12 1 5 9 13 ...  --vpermd--> */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")

static inline __mmask16 mask_16(int64_t count) { return (__mmask16)(count >= 16 ? 0xFFFF : count > 0 ? (1u << count) - 1 : 0); }

int nq_quantize_avx512(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point,
                       uint8_t flip, uint8_t *q) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512 inverse = _mm512_set1_ps(inv_scale), low = _mm512_set1_ps(lo), high = _mm512_set1_ps(hi);
    const __m512i zero = _mm512_set1_epi16((int16_t)zero_point), flips = _mm512_set1_epi8((char)flip);
    unsigned nan = 0;
    for (int64_t i = 0; i < count; i += 64) {
        int64_t left = count - i;
        __m512i y[4];
        for (int j = 0; j < 4; j++) {
            __m512 value = _mm512_maskz_loadu_ps(mask_16(left - 16 * j), x + i + 16 * j);
            nan |= _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
            value = _mm512_min_ps(_mm512_max_ps(_mm512_mul_ps(value, inverse), low), high);
            y[j] = _mm512_cvtps_epi32(value);
        }
        __m512i words0 = _mm512_add_epi16(_mm512_packs_epi32(y[0], y[1]), zero);
        __m512i words1 = _mm512_add_epi16(_mm512_packs_epi32(y[2], y[3]), zero);
        __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(words0, words1));
        _mm512_mask_storeu_epi8(q + i, left >= 64 ? ~0ull : (1ull << left) - 1, _mm512_xor_si512(bytes, flips));
    }
    return nan != 0;
}

void nq_dequantize_avx512(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x) {
    const __m512 scales = _mm512_set1_ps(scale);
    const __m512i zero = _mm512_set1_epi32(zero_point);
    const __m128i flips = _mm_set1_epi8((char)flip);
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 lanes = mask_16(count - i);
        __m128i bytes = _mm_xor_si128(_mm_maskz_loadu_epi8(lanes, q + i), flips);
        __m512 steps = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), zero));
        _mm512_mask_storeu_ps(x + i, lanes, _mm512_mul_ps(steps, scales));
    }
}

END_TARGET
#endif
