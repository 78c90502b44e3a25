/* peak_vnni.c: vpdpbusd on registers, in each of its encodings.
 *
 *     vpdpbusd acc, a, w        4 multiply-adds in each 32-bit lane; latency 4 or 5, so 12 accumulators keep 2 units busy */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define MULTIPLY(NAME, REGISTER, INSTRUCTION)                                                                          \
    int64_t NAME(int64_t rounds) {                                                                                     \
        REGISTER acc[12] = {{0}}, a = {3};                                                                             \
        for (int64_t round = 0; round < rounds; round++)                                                               \
            UNROLL for (int i = 0; i < 12; i++)                                                         \
                __asm__ volatile(INSTRUCTION " %1, %1, %0" : "+v"(acc[i]) : "v"(a));                                   \
        return rounds * 12 * (int64_t)sizeof(REGISTER);                                                                \
    }

BEGIN_TARGET("avx2,avxvnni")
MULTIPLY(nq_multiply_avxvnni, __m256i, "%{vex%} vpdpbusd")
END_TARGET

BEGIN_TARGET("avx512f,avx512vl,avx512vnni")
MULTIPLY(nq_multiply_avx512vl, __m256i, "vpdpbusd")
MULTIPLY(nq_multiply_avx512vnni, __m512i, "vpdpbusd")
END_TARGET

#endif
