/* dwconv_vnni.h: depthwise products on the 8-bit dot product, in registers of any width.
 *
 * Four taps of 16 channels (one lane), interleaved twice, are four groups of 4 channels, and each 32 bits hold the four
 * bytes of one channel, as vpdpbusd wants them:
 *
 *     taps       a0 .. a15   b0 .. b15   c0 .. c15   d0 .. d15
 *     8 bits     a0 b0 a1 b1 .. a7 b7 | a8 b8 .. a15 b15         c0 d0 c1 d1 .. c7 d7 | c8 d8 .. c15 d15
 *     16 bits    a0 b0 c0 d0 .. a3 b3 c3 d3 | a4 b4 c4 d4 .. | a8 .. | a12 .. d15 */
#ifndef NQ_DWCONV_VNNI_H
#define NQ_DWCONV_VNNI_H

/* The four groups of four taps. */
INLINE void interleave(VEC quad[4], VEC a, VEC b, VEC c, VEC d) {
    const VEC ab_low = OP(unpacklo_epi8)(a, b), cd_low = OP(unpacklo_epi8)(c, d);
    const VEC ab_high = OP(unpackhi_epi8)(a, b), cd_high = OP(unpackhi_epi8)(c, d);
    quad[0] = OP(unpacklo_epi16)(ab_low, cd_low);
    quad[1] = OP(unpackhi_epi16)(ab_low, cd_low);
    quad[2] = OP(unpacklo_epi16)(ab_high, cd_high);
    quad[3] = OP(unpackhi_epi16)(ab_high, cd_high);
}

INLINE void multiply(VEC acc[4], const VEC quad[4], const uint8_t *w) {
    UNROLL for (int g = 0; g < 4; g++)
        acc[g] = dot(acc[g], quad[g], LOAD(w + 16 * LANES * g));
}

INLINE void add_quad(VEC acc[4], const uint8_t *const *taps, int64_t offset, const uint8_t *w, int64_t count) {
    VEC quad[4];
    (void)count;
    interleave(quad, LOAD(taps[0] + offset), LOAD(taps[1] + offset), LOAD(taps[2] + offset), LOAD(taps[3] + offset));
    multiply(acc, quad, w);
}

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    __builtin_memcpy(packed, block, NQ_STRIP * NQ_QUAD);
}

#define DWCONV_VNNI_TABLE .quad_bytes = NQ_STRIP * NQ_QUAD, .pack_quad = pack_quad

#endif
