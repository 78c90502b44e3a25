/* peak_vnni.c: vpdpbusd on registers, in each of its encodings; and moves in 512 bits.
 *
 *     vpdpbusd acc, a, w        4 multiply-adds in each 32-bit lane; latency 4 or 5, so 12 accumulators keep 2 units busy */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* The loop for one register width; an assembly line, since gcc copies accumulators of the intrinsic. */
#define MULTIPLY(NAME, VECTOR, INSTRUCTION)                                                                            \
    int64_t NAME(int64_t rounds) {                                                                                     \
        VECTOR acc[12], a = (VECTOR){3};                                                                               \
        PRAGMA(GCC unroll 12) for (int i = 0; i < 12; i++) acc[i] = (VECTOR){0};                                       \
        for (int64_t round = 0; round < rounds; round++)                                                               \
            PRAGMA(GCC unroll 12) for (int i = 0; i < 12; i++)                                                         \
                __asm__ volatile(INSTRUCTION " %1, %1, %0" : "+v"(acc[i]) : "v"(a));                                   \
        return rounds * 12 * (int64_t)sizeof(VECTOR);                                                                  \
    }

BEGIN_TARGET("avx2,avxvnni")
MULTIPLY(nq_multiply_avxvnni, __m256i, "%{vex%} vpdpbusd")
END_TARGET

BEGIN_TARGET("avx512f,avx512vl,avx512vnni")
MULTIPLY(nq_multiply_avx512vl, __m256i, "vpdpbusd")
MULTIPLY(nq_multiply_avx512vnni, __m512i, "vpdpbusd")

INLINE void move(int64_t blocks, const uint8_t *from, uint8_t *to, const int reads, const int writes) {
    for (; blocks > 0; blocks--, from += 64 * reads, to += 64 * writes) {
        __m512i v = _mm512_setzero_si512();
        UNROLL for (int i = 0; i < reads; i++) {
            v = _mm512_loadu_si512(from + 64 * i);
            __asm__ volatile("" : "+v"(v));
        }
        UNROLL for (int i = 0; i < writes; i++)
            _mm512_storeu_si512(to + 64 * i, v);
    }
}

void nq_stream_avx512(int32_t pattern, int64_t blocks, const uint8_t *from, uint8_t *to) {
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
