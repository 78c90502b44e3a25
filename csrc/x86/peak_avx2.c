/* peak_avx2.c: products of registers, and moves, in 256 bits.
 *
 *     vpmaddwd (16 products) -> vpaddd                   exact: bytes widened before
 *     vpmaddubsw (32) -> vpmaddwd -> vpaddd              saturates; as fast where the multipliers are the limit
 *
 * 12 accumulators, as in the micro-kernels, hide the latency; `changed` is peak.c's empty assembly line. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")

enum { ACCUMULATORS = 12 };

INLINE __m256i changed(__m256i a) {
    __asm__ volatile("" : "+x"(a));
    return a;
}

INLINE int64_t multiply(int64_t rounds, const int bytes) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[ACCUMULATORS], a = _mm256_set1_epi8(3);
    PRAGMA(GCC unroll 12) for (int i = 0; i < ACCUMULATORS; i++)
        acc[i] = _mm256_setzero_si256();
    for (int64_t round = 0; round < rounds; round++)
        PRAGMA(GCC unroll 12) for (int i = 0; i < ACCUMULATORS; i++) {
            a = changed(a);
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(bytes ? _mm256_maddubs_epi16(a, ones) : a, ones));
        }
    PRAGMA(GCC unroll 12) for (int i = 0; i < ACCUMULATORS; i++)
        changed(acc[i]);
    return rounds * ACCUMULATORS * (bytes ? 32 : 16);
}

int64_t nq_multiply_words_avx2(int64_t rounds) { return multiply(rounds, 0); }
int64_t nq_multiply_bytes_avx2(int64_t rounds) { return multiply(rounds, 1); }

INLINE void move(int64_t blocks, const uint8_t *from, uint8_t *to, const int reads, const int writes) {
    for (blocks *= 2; blocks > 0; blocks--, from += 32 * reads, to += 32 * writes) {
        __m256i v = _mm256_setzero_si256();
        UNROLL for (int i = 0; i < reads; i++)
            v = changed(_mm256_loadu_si256((const __m256i *)from + i));
        UNROLL for (int i = 0; i < writes; i++)
            _mm256_storeu_si256((__m256i *)to + i, v);
    }
}

void nq_stream_avx2(int32_t pattern, int64_t blocks, const uint8_t *from, uint8_t *to) {
    switch (pattern) {
    case NQ_READ: move(blocks, from, to, 4, 0); break;
    case NQ_COPY: move(blocks, from, to, 4, 4); break;
    case NQ_NARROW: move(blocks, from, to, 4, 1); break;
    case NQ_WIDEN: move(blocks, from, to, 1, 4); break;
    default: move(blocks, from, to, 4, 2);
    }
}

END_TARGET
#endif
