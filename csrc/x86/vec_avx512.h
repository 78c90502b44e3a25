/* vec_avx512.h: the vocabulary of rows.h on AVX-512 (F, BW, DQ, VL): 16 lanes.
 *
 *     four vectors of 16 int32  --packs, packus-->  64 bytes, in the order of groups 0 4 8 12 1 5 9 13 ...  --vpermd--> */
#ifndef NQ_VEC_AVX512_H
#define NQ_VEC_AVX512_H

enum { W = 16, BLOCK = 4 * W };

typedef __m512 vf;
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint8_t vb __attribute__((vector_size(64)));

INLINE vf load(const float *x) { return _mm512_loadu_ps(x); }
INLINE void store(float *y, vf x) { _mm512_storeu_ps(y, x); }
INLINE vf all(float x) { return _mm512_set1_ps(x); }
INLINE vi all_ints(int32_t x) { return (vi)_mm512_set1_epi32(x); }
INLINE vb load_bytes(const uint8_t *x) { return (vb)_mm512_loadu_si512(x); }
INLINE void store_bytes(uint8_t *y, vb x) { _mm512_storeu_si512(y, (__m512i)x); }
INLINE vb load_part(const uint8_t *x, int64_t count, uint8_t filler) {
    return (vb)_mm512_mask_loadu_epi8(_mm512_set1_epi8((char)filler), ((uint64_t)1 << count) - 1, x);
}
INLINE vb all_bytes(uint8_t x) { return (vb)_mm512_set1_epi8((char)x); }

INLINE vi widen(const uint8_t *x) { return (vi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x)); }
INLINE vi widen_signed(const uint8_t *x) { return (vi)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)x)); }
INLINE vf to_float(vi x) { return _mm512_cvtepi32_ps((__m512i)x); }
INLINE vi to_int(vf x) { return (vi)_mm512_cvtps_epi32(x); }
INLINE vf fused(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf lesser(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf greater(vf a, vf b) { return _mm512_max_ps(a, b); }

INLINE vb lesser_bytes(vb a, vb b) { return (vb)_mm512_min_epu8((__m512i)a, (__m512i)b); }
INLINE vb greater_bytes(vb a, vb b) { return (vb)_mm512_max_epu8((__m512i)a, (__m512i)b); }
INLINE vi add_bytes(vi sum, vb x) { return sum + (vi)_mm512_sad_epu8((__m512i)x, _mm512_setzero_si512()); }

/* As in vec_avx2.h, but where there is an instruction. */
#if defined(DOT_BY_VNNI)
#define BYTES_FROM(bits) 0
INLINE vi dot4(vi acc, vi q, int32_t four, const int bits) {
    (void)bits;
    return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)q, _mm512_set1_epi32(four));
}
#else
#define BYTES_FROM(bits) ((bits) == 8 ? 128 : 0)
INLINE vi dot4(vi acc, vi q, int32_t four, const int bits) {
    const __m512i a = _mm512_set1_epi32(four), s = _mm512_xor_si512((__m512i)q, _mm512_set1_epi8((char)0x80));
    const __m512i turned = _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(s), _mm512_setzero_si512(), a);
    const __m512i pairs = bits == 4 ? _mm512_maddubs_epi16((__m512i)q, a) : _mm512_maddubs_epi16(_mm512_abs_epi8(s), turned);
    return acc + (vi)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
#endif

INLINE vb narrow(const vi x[4], int32_t zero_point) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero = _mm512_set1_epi16((int16_t)zero_point);
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32((__m512i)x[0], (__m512i)x[1]), zero);
    __m512i high = _mm512_adds_epi16(_mm512_packs_epi32((__m512i)x[2], (__m512i)x[3]), zero);
    return (vb)_mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
}

/* Sixteen shuffles look up the low four bits, each in its sixteenth of the table; a mask keeps the bytes whose high four
 * bits name that sixteenth. */
INLINE vb lookup(vb x, const uint8_t *table) {
    const __m512i high = _mm512_and_si512((__m512i)x, _mm512_set1_epi8((char)0xF0));
    __m512i low = _mm512_and_si512((__m512i)x, _mm512_set1_epi8(15)), y = low;
    UNROLL for (int i = 0; i < 16; i++) {
        __m512i part = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(table + 16 * i)));
        y = _mm512_mask_shuffle_epi8(y, _mm512_cmpeq_epi8_mask(high, _mm512_set1_epi8((char)(16 * i))), part, low);
    }
    return (vb)y;
}

#endif
