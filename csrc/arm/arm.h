/* arm.h: what the files of this folder share. */
#ifndef NQ_ARM_H
#define NQ_ARM_H

#include "../ukernel.h"

int nq_cpu_has_dotprod(void);

#if defined(__aarch64__)
/* The CPU's flag "invalid", raised by NaN and by numbers beyond int32: bit 0 of FPSR. */
INLINE void forget_invalid(void) {
    uint64_t flags;
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags) : : "memory");
    __asm__ volatile("msr fpsr, %0" : : "r"(flags & ~(uint64_t)1) : "memory");
}
INLINE int met_invalid(void) {
    uint64_t flags;
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags) : : "memory");
    return flags & 1;
}
#endif

#endif
