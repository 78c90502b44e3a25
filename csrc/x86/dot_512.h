/* dot_512.h: the 8-bit dot product in 512-bit registers: acc[n] += a[n][0]*w[n][0] + .. + a[n][3]*w[n][3], n = 0..15.
 *
 * For gcc, one line of assembly: gcc 12 copies and spills the accumulators around the intrinsic, which costs more than half
 * of the speed. Not volatile, so that the compiler still schedules it and allocates its registers. */
#ifndef NQ_DOT_512_H
#define NQ_DOT_512_H

INLINE __m512i dot(__m512i acc, __m512i a, __m512i w) {
#if defined(__clang__)
    return _mm512_dpbusd_epi32(acc, a, w);
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w));
    return acc;
#endif
}

#endif
