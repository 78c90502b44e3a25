/* arm.h: what the files of this folder share. */
#ifndef NQ_ARM_H
#define NQ_ARM_H

#include "../ukernel.h"

int nq_cpu_has_dotprod(void);

#if defined(__aarch64__)
#include <arm_neon.h>

INLINE uint16x4_t widen_four(const uint8_t *x) {
    uint32_t four;
    __builtin_memcpy(&four, x, 4);
    return vget_low_u16(vmovl_u8(vcreate_u8(four)));
}

/* max(x + zero_point, 0), at most 255, of 16 integers. */
INLINE uint8x16_t narrow_sixteen(const int32x4_t x[4], int32_t zero_point) {
    const int16x8_t zero = vdupq_n_s16((int16_t)zero_point);
    const int16x8_t low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(x[0]), x[1]), zero);
    const int16x8_t high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(x[2]), x[3]), zero);
    return vqmovun_high_s16(vqmovun_s16(low), high);
}

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
