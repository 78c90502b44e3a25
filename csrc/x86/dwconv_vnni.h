/* dwconv_vnni.h: depthwise products on the 8-bit dot product, in registers of any width.
 *
 * Four taps of 16 channels (one lane), interleaved twice, are four groups of 4 channels, and each 32 bits hold the four
 * bytes of one channel, as vpdpbusd wants them:
 *
 *     taps       a0 .. a15   b0 .. b15   c0 .. c15   d0 .. d15
 *     8 bits     a0 b0 a1 b1 .. a7 b7 | a8 b8 .. a15 b15         c0 d0 c1 d1 .. c7 d7 | c8 d8 .. c15 d15
 *     16 bits    a0 b0 c0 d0 .. a3 b3 c3 d3 | a4 b4 c4 d4 .. | a8 .. | a12 .. d15
 *
 * Pixels that overlap share this work, where there are 32 registers. In a window, a quad is a column: its rows, or the upper
 * four of five.
 *
 *     column   0   1   2   3
 *     pixel 0  w0  w1  w2               column c is interleaved once, and multiplied by the weights of
 *     pixel 1      w0  w1  w2           column c of pixel 0, and of column c - 1 of pixel 1
 *
 * The fifth row's taps make a quad of four columns and one of the last. */
#ifndef NQ_DWCONV_VNNI_H
#define NQ_DWCONV_VNNI_H

enum { ROW_4 = 20 };     /* slot of the fifth row's first tap */

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

#if WINDOWS
INLINE void load_column(VEC quad[4], const nq_segment *s, int64_t offset, const int size) {
    interleave(quad, LOAD(s->taps[0] + offset), LOAD(s->taps[1] + offset), LOAD(s->taps[2] + offset),
               size > 3 ? LOAD(s->taps[3] + offset) : ZERO);
}

INLINE void add_fifth_row(VEC acc[4], const nq_segment *s, int64_t offset) {
    const uint8_t *row = s->taps[ROW_4] + offset, *w = s->weights + 5 * s->quad_bytes;
    const int64_t step = s->pixel_stride;
    VEC quad[4];
    interleave(quad, LOAD(row), LOAD(row + step), LOAD(row + 2 * step), LOAD(row + 3 * step));
    multiply(acc, quad, w);
    interleave(quad, LOAD(row + 4 * step), ZERO, ZERO, ZERO);
    multiply(acc, quad, w + s->quad_bytes);
}

/* A bound that is constant before inlining, 5, or clang does not unroll. */
INLINE void add_window(VEC acc[STEP_PIXELS][4], const nq_segment *s, int64_t offset, const int size) {
    VEC column[6][4];
    load_column(column[0], s, offset, size);
    UNROLL for (int c = 0; c < 5; c++) {
        if (c >= size)
            continue;
        load_column(column[c + 1], s, offset + (c + 1) * s->pixel_stride, size);
        UNROLL for (int g = 0; g < 4; g++) {
            const VEC w = LOAD(s->weights + 16 * LANES * (4 * c + g));
            acc[0][g] = dot(acc[0][g], column[c][g], w);
            acc[1][g] = dot(acc[1][g], column[c + 1][g], w);
        }
    }
    if (size == 5)
        UNROLL for (int i = 0; i < STEP_PIXELS; i++)
            add_fifth_row(acc[i], s, offset + i * s->pixel_stride);
}
#endif

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    __builtin_memcpy(packed, block, NQ_STRIP * NQ_QUAD);
}

#define DWCONV_VNNI_TABLE .windows = WINDOWS, .quad_bytes = NQ_STRIP * NQ_QUAD, .pack_quad = pack_quad

#endif
