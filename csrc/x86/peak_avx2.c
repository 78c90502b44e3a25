/* peak_avx2.c: the products of peak_pairs.h, and moves, in 256 bits. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC __m256i
#define OP(name) _mm256_##name
#define VECTOR 32
#define STREAM nq_stream_avx2

BEGIN_TARGET("avx2,fma")

#include "peak_pairs.h"
#include "../stream.h"

int64_t nq_multiply_words_avx2(int64_t rounds) { return multiply_pairs(rounds, 0); }
int64_t nq_multiply_bytes_avx2(int64_t rounds) { return multiply_pairs(rounds, 1); }

END_TARGET
#endif
