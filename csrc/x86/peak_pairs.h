/* peak_pairs.h: products of registers, without the 8-bit dot product, in registers of any width: who includes it defines VEC
 * and OP(intrinsic).
 *
 *     vpmaddwd (a product for every two bytes) -> vpaddd             exact: bytes widened before
 *     vpmaddubsw (one for every byte) -> vpmaddwd -> vpaddd          saturates; as fast where the multipliers are the limit
 *
 * 12 accumulators, as in the micro-kernels, hide the latency. */
#ifndef NQ_PEAK_PAIRS_H
#define NQ_PEAK_PAIRS_H

INLINE int64_t multiply_pairs(int64_t rounds, const int bytes) {
    const VEC ones = OP(set1_epi16)(1);
    VEC acc[12] = {{0}}, a = OP(set1_epi8)(3);
    for (int64_t round = 0; round < rounds; round++)
        UNROLL for (int i = 0; i < 12; i++) {
            __asm__ volatile("" : "+v"(a), "+v"(acc[i]));        /* may have changed: a's product is not the last one */
            acc[i] = OP(add_epi32)(acc[i], OP(madd_epi16)(bytes ? OP(maddubs_epi16)(a, ones) : a, ones));
        }
    UNROLL for (int i = 0; i < 12; i++)
        __asm__ volatile("" : : "v"(acc[i]));        /* and the sums are wanted */
    return rounds * 12 * (int64_t)sizeof(VEC) / (bytes ? 1 : 2);
}

#endif
