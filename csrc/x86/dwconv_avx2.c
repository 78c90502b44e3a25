/* dwconv_avx2.c: the depthwise kernel on AVX2, exact.
 *
 * As in gemm_avx2.c, bytes are widened to int16 and multiplied in pairs by vpmaddwd. The bytes of two taps are
 * interleaved, and then widened by interleaving with zero; here is one lane:
 *
 *     taps       a0 a1 .. a15     c0 c1 .. c15
 *     8 bits     a0 c0 a1 c1 .. a7 c7 | a8 c8 .. a15 c15
 *     with 0     (a0, c0) .. (a3, c3) | (a4, c4) .. | (a8, c8) .. | (a12, c12) .. (a15, c15)        four groups
 *
 * The packed quad of taps a b c d holds (a, c) as its even pair and (b, d) as its odd one. Of 9 taps the last is half of
 * a pair: 5 pairs, for 20 multiplications a pixel of 32 channels. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")

#include "dwconv_256.h"

INLINE void add_pair(__m256i acc[4], __m256i a, __m256i c, const uint8_t *w) {
    const __m256i low = _mm256_unpacklo_epi8(a, c), high = _mm256_unpackhi_epi8(a, c);
    acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(_mm256_unpacklo_epi8(low, ZERO), LOAD(w)));
    acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(_mm256_unpackhi_epi8(low, ZERO), LOAD(w + 32)));
    acc[2] = _mm256_add_epi32(acc[2], _mm256_madd_epi16(_mm256_unpacklo_epi8(high, ZERO), LOAD(w + 128)));
    acc[3] = _mm256_add_epi32(acc[3], _mm256_madd_epi16(_mm256_unpackhi_epi8(high, ZERO), LOAD(w + 160)));
}

INLINE void add_quad(__m256i acc[4], const uint8_t *const *taps, int64_t offset, const uint8_t *w, int64_t count) {
    add_pair(acc, LOAD(taps[0] + offset), LOAD(taps[2] + offset), w);
    if (count > 1)
        add_pair(acc, LOAD(taps[1] + offset), LOAD(taps[3] + offset), w + 64);
}

static void dwconv_32(const nq_segment *s) { dwconv(s); }

/* (w0, w2) of channels 0..7 and 8..15 of the block, then (w1, w3), as int16. */
static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    int16_t *out = packed;
    for (int odd = 0; odd < 2; odd++)
        for (int n = 0; n < NQ_STRIP; n++, out += 2) {
            out[0] = block[n][odd];
            out[1] = block[n][odd + 2];
        }
}

END_TARGET

const nq_depthwise nq_depthwise_avx2 = {.kernels = {[2] = dwconv_32}, .quad_bytes = 128, .pack_quad = pack_quad};

#endif
