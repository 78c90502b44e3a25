/* peak_avx512bw.c: the products of peak_pairs.h, and moves, in 512 bits. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC __m512i
#define OP(name) _mm512_##name
#define VECTOR 64
#define STREAM nq_stream_avx512

BEGIN_TARGET("avx512f,avx512bw")

#include "peak_pairs.h"
#include "../stream.h"

int64_t nq_multiply_words_avx512bw(int64_t rounds) { return multiply_pairs(rounds, 0); }
int64_t nq_multiply_bytes_avx512bw(int64_t rounds) { return multiply_pairs(rounds, 1); }

END_TARGET
#endif
