/* dot.h: the 8-bit dot product, vpdpbusd: acc[n] += a[n][0]*w[n][0] + a[n][1]*w[n][1] + a[n][2]*w[n][2] + a[n][3]*w[n][3].
 *
 * For the avx512vnni and avxvnni files, which define VEC, DOT_INTRINSIC and DOT_ENCODING. For gcc, one line of assembly: gcc
 * 12 copies and spills the accumulators around the intrinsic, which costs more than half of the speed. Not volatile, so that
 * the compiler still schedules it and allocates its registers. */
#ifndef NQ_DOT_H
#define NQ_DOT_H

INLINE VEC dot(VEC acc, VEC a, VEC w) {
#if defined(__clang__)
    return DOT_INTRINSIC(acc, a, w);
#else
    __asm__(DOT_ENCODING "vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w));
    return acc;
#endif
}

#endif
