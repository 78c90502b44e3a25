/* dot.h: the 8-bit dot product, vpdpbusd: acc[n] += a[n][0]*w[n][0] + a[n][1]*w[n][1] + a[n][2]*w[n][2] + a[n][3]*w[n][3].
 *
 * For the avx512vnni and avxvnni files, which define VEC and DOT_ENCODING. One line of assembly: gcc 12 copies and spills
 * the accumulators around the intrinsic, which costs more than half of the speed. gcc may schedule it; clang may not, which
 * would hoist loads over it until registers are short. */
#ifndef NQ_DOT_H
#define NQ_DOT_H

#if defined(__clang__)
#define DOT_QUALIFIER volatile
#else
#define DOT_QUALIFIER
#endif

INLINE VEC dot(VEC acc, VEC a, VEC w) {
    __asm__ DOT_QUALIFIER(DOT_ENCODING "vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w));
    return acc;
}

#endif
