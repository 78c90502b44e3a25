/* peak_avx2.c: products of registers, and moves, in 256 bits.
 *
 *     vpmaddwd (16 products) -> vpaddd                   exact: bytes widened before
 *     vpmaddubsw (32) -> vpmaddwd -> vpaddd              saturates; as fast where the multipliers are the limit
 *
 * 12 accumulators, as in the micro-kernels, hide the latency. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2,fma")

INLINE int64_t multiply(int64_t rounds, const int bytes) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i acc[12], a = _mm256_set1_epi8(3);
    PRAGMA(GCC unroll 12) for (int i = 0; i < 12; i++)
        acc[i] = _mm256_setzero_si256();
    for (int64_t round = 0; round < rounds; round++)
        PRAGMA(GCC unroll 12) for (int i = 0; i < 12; i++) {
            __asm__ volatile("" : "+x"(a));          /* a may have changed: its product is not the last one */
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(bytes ? _mm256_maddubs_epi16(a, ones) : a, ones));
        }
    PRAGMA(GCC unroll 12) for (int i = 0; i < 12; i++)
        __asm__ volatile("" : : "x"(acc[i]));        /* and the sums are wanted */
    return rounds * 12 * (bytes ? 32 : 16);
}

int64_t nq_multiply_words_avx2(int64_t rounds) { return multiply(rounds, 0); }
int64_t nq_multiply_bytes_avx2(int64_t rounds) { return multiply(rounds, 1); }

#define VECTOR 32
#define STREAM nq_stream_avx2
#include "../stream.h"

END_TARGET
#endif
