/* x86.h: what the files of this folder share. */
#ifndef NQ_X86_H
#define NQ_X86_H

#include "../ukernel.h"

/* Whether the CPU has AVX-VNNI (compilers' __builtin_cpu_supports does not always know it). */
int nq_cpu_has_avxvnni(void);

#if defined(__x86_64__)
/* The CPU's flag "invalid", raised by NaN and by numbers beyond int32: bit 0 of MXCSR. No load or store passes the clobber,
 * so nothing that leads from one to another does. */
INLINE void forget_invalid(void) {
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() & ~1u);
    __asm__ volatile("" : : : "memory");
}
INLINE int met_invalid(void) {
    __asm__ volatile("" : : : "memory");
    return __builtin_ia32_stmxcsr() & 1;
}
#endif

nq_dwkernel nq_dwconv_32_avx512vl, nq_windows_32_avx512vl;
nq_multiplier nq_multiply_words_avx2, nq_multiply_bytes_avx2, nq_multiply_words_avx512bw, nq_multiply_bytes_avx512bw,
    nq_multiply_avxvnni, nq_multiply_avx512vl, nq_multiply_avx512vnni;
void nq_weights_avx512vnni(const nq_strip_of_weights *s, float y[][NQ_STRIP]);
nq_interleaver nq_interleave_avx2;
nq_streamer nq_stream_avx2, nq_stream_avx512;

#endif
