/* vec_avx2.h: the vocabulary of rows.h on AVX2: 8 lanes.
 *
 *     vi    0-7     8-15    16-23   24-31                               four vectors of int32
 *     int16 0-3 8-11 | 4-7 12-15     16-19 24-27 | 20-23 28-31          packs stays inside its 128-bit lanes
 *     vb    0-3 8-11 16-19 24-27 | 4-7 12-15 20-23 28-31  --vpermd 0 4 1 5 2 6 3 7-->  0..31 */
#ifndef NQ_VEC_AVX2_H
#define NQ_VEC_AVX2_H

enum { W = 8, BLOCK = 4 * W };

typedef __m256 vf;
typedef int32_t vi __attribute__((vector_size(32)));
typedef uint32_t vu __attribute__((vector_size(32)));
typedef uint8_t vb __attribute__((vector_size(32)));

INLINE vf load(const float *x) { return _mm256_loadu_ps(x); }
INLINE void store(float *y, vf x) { _mm256_storeu_ps(y, x); }
INLINE vf all(float x) { return _mm256_set1_ps(x); }
INLINE vi all_ints(int32_t x) { return (vi)_mm256_set1_epi32(x); }
INLINE vb load_bytes(const uint8_t *x) { return (vb)_mm256_loadu_si256((const __m256i *)x); }
INLINE void store_bytes(uint8_t *y, vb x) { _mm256_storeu_si256((__m256i *)y, (__m256i)x); }
INLINE vb all_bytes(uint8_t x) { return (vb)_mm256_set1_epi8((char)x); }

/* Whole words under a mask, then the word that the last bytes begin: bytes written to memory and read back as a vector
 * would wait for each other. */
INLINE vb load_part(const uint8_t *x, int64_t count, uint8_t filler) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), words = _mm256_set1_epi32((int32_t)(count / 4));
    const __m256i whole = _mm256_cmpgt_epi32(words, lane);
    uint32_t last = filler * 0x01010101u;
    for (int64_t i = count - 1; i >= count / 4 * 4; i--)
        last = last << 8 | x[i];
    const __m256i rest = _mm256_set1_epi32((int32_t)last), filled = _mm256_set1_epi8((char)filler);
    const __m256i y = _mm256_blendv_epi8(filled, _mm256_maskload_epi32((const int *)x, whole), whole);
    return (vb)_mm256_blendv_epi8(y, rest, _mm256_cmpeq_epi32(words, lane));
}

INLINE vi widen(const uint8_t *x) { return (vi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)x)); }
INLINE vi widen_signed(const uint8_t *x) { return (vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)x)); }
INLINE vf to_float(vi x) { return _mm256_cvtepi32_ps((__m256i)x); }
INLINE vi to_int(vf x) { return (vi)_mm256_cvtps_epi32(x); }
INLINE vf fused(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf lesser(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf greater(vf a, vf b) { return _mm256_max_ps(a, b); }

INLINE vb lesser_bytes(vb a, vb b) { return (vb)_mm256_min_epu8((__m256i)a, (__m256i)b); }
INLINE vb greater_bytes(vb a, vb b) { return (vb)_mm256_max_epu8((__m256i)a, (__m256i)b); }
INLINE vi add_bytes(vi sum, vb x) { return sum + (vi)_mm256_sad_epu8((__m256i)x, _mm256_setzero_si256()); }

/* u4 s8 + u4 s8 fits int16, and so does |s8| s8 + |s8| s8. */
#define BYTES_FROM(bits) ((bits) == 8 ? 128 : 0)
INLINE vi dot4(vi acc, vi q, int32_t four, const int bits) {
    const __m256i a = _mm256_set1_epi32(four), s = _mm256_xor_si256((__m256i)q, _mm256_set1_epi8((char)0x80));
    const __m256i pairs = bits == 4 ? _mm256_maddubs_epi16((__m256i)q, a)
                                    : _mm256_maddubs_epi16(_mm256_abs_epi8(s), _mm256_sign_epi8(a, s));
    return acc + (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

INLINE vb narrow(const vi x[4], int32_t zero_point) {
    const __m256i zero = _mm256_set1_epi16((int16_t)zero_point);
    __m256i low = _mm256_adds_epi16(_mm256_packs_epi32((__m256i)x[0], (__m256i)x[1]), zero);
    __m256i high = _mm256_adds_epi16(_mm256_packs_epi32((__m256i)x[2], (__m256i)x[3]), zero);
    return (vb)_mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Sixteen shuffles look up the low four bits in each sixteenth of the table; bits 4, 5, 6, 7 then choose between pairs,
 * pairs of pairs and so on, each brought to the bytes' highest bit, where a blend reads it. */
INLINE vb lookup(vb x, const uint8_t *table) {
    const __m256i low = _mm256_and_si256((__m256i)x, _mm256_set1_epi8(15));
    __m256i y[16];
    UNROLL for (int i = 0; i < 16; i++)
        y[i] = _mm256_shuffle_epi8(
            _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table + 16 * i))), low);
    UNROLL for (int i = 0; i < 8; i++)
        y[i] = _mm256_blendv_epi8(y[2 * i], y[2 * i + 1], _mm256_slli_epi16((__m256i)x, 3));
    UNROLL for (int i = 0; i < 4; i++)
        y[i] = _mm256_blendv_epi8(y[2 * i], y[2 * i + 1], _mm256_slli_epi16((__m256i)x, 2));
    UNROLL for (int i = 0; i < 2; i++)
        y[i] = _mm256_blendv_epi8(y[2 * i], y[2 * i + 1], _mm256_slli_epi16((__m256i)x, 1));
    return (vb)_mm256_blendv_epi8(y[0], y[1], (__m256i)x);
}

#endif
