/* peak_x86.c: products of registers with registers, in instructions alone. 12 accumulators, as in micro-kernels, hide latency.
 *
 *     vpmaddwd (a product for every two bytes) -> vpaddd             exact: bytes widened before
 *     vpmaddubsw (one for every byte) -> vpmaddwd -> vpaddd          saturates; as fast where the multipliers are the limit
 *     vpdpbusd                                                       all in one, in each of its encodings */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define WORDS "vpmaddwd %2, %2, %1\n\tvpaddd %1, %0, %0"
#define BYTES "vpmaddubsw %2, %2, %1\n\tvpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0"
#define DOT "vpdpbusd %2, %2, %0"

#define MULTIPLY(NAME, REGISTER, BYTES_A_PRODUCT, INSTRUCTIONS)                                                        \
    int64_t NAME(int64_t rounds) {                                                                                     \
        REGISTER acc[12] = {{0}}, product, a = {3};                                                                    \
        for (int64_t round = 0; round < rounds; round++)                                                               \
            UNROLL for (int i = 0; i < 12; i++)                                                                        \
                __asm__ volatile(INSTRUCTIONS : "+v"(acc[i]), "=&v"(product) : "v"(a));                                \
        return rounds * 12 * (int64_t)sizeof(REGISTER) / (BYTES_A_PRODUCT);                                            \
    }

BEGIN_TARGET("avx2,avxvnni")
MULTIPLY(nq_multiply_words_avx2, __m256i, 2, WORDS)
MULTIPLY(nq_multiply_bytes_avx2, __m256i, 1, BYTES)
MULTIPLY(nq_multiply_avxvnni, __m256i, 1, "%{vex%} " DOT)
END_TARGET

BEGIN_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")
MULTIPLY(nq_multiply_words_avx512bw, __m512i, 2, WORDS)
MULTIPLY(nq_multiply_bytes_avx512bw, __m512i, 1, BYTES)
MULTIPLY(nq_multiply_avx512vl, __m256i, 1, DOT)
MULTIPLY(nq_multiply_avx512vnni, __m512i, 1, DOT)
END_TARGET

#endif
