/* rows_pool.h: one output pixel of a pooling layer, in the words of rows.h.
 *
 *     line_stride  |   x[0] .. channels | x .. | x ..        pixel_stride -->
 *                  v   x                | x .. | x ..        a window of height x width taps
 *                      \__ some blocks of channels of every tap at a time: their maximum, or their sums
 *
 * Sums are taken in 16 bits, two to an int32 lane, so that bytes need no widening; before they can overflow, they move on
 * to 32 bits:
 *
 *     lane  b3 b2 b1 b0  --& 00FF00FF-->  0 b2  0 b0    even
 *                  --shift 8, & 00FF00FF-->  0 b3  0 b1    odd
 *
 * A sum of at most 65535 bytes and its distance from taps * zero_point are below 2^24: float32 holds them. Their quotient
 * rounds like the exact one: were the exact one not a tie, it would lie at least 1 / (2 * divisor) > 2^-17 from it, which is
 * the most by which a quotient of at most 256 is rounded. So the mean is exact, ties to even. */
#ifndef NQ_ROWS_POOL_H
#define NQ_ROWS_POOL_H

INLINE void max_blocks(const nq_window *w, const int blocks, int64_t c, int64_t left, uint8_t flip, uint8_t *y) {
    vb greatest[4];
    UNROLL for (int k = 0; k < blocks; k++)
        greatest[k] = all_bytes(0);
    for (int64_t i = 0; i < w->height; i++) {
        const uint8_t *x = w->x + i * w->line_stride + c;
        for (int64_t j = 0; j < w->width; j++, x += w->pixel_stride)
            UNROLL for (int k = 0; k < blocks; k++) {
                const vb tap = blocks == 1 ? load_some(x, left, 0) : load_bytes(x + k * BLOCK);
                greatest[k] = greater_bytes(greatest[k], tap ^ all_bytes(flip));
            }
    }
    UNROLL for (int k = 0; k < blocks; k++)
        store_some(y + c + k * BLOCK, greatest[k] ^ all_bytes(flip), left - k * BLOCK);
}

static void max_window(const nq_window *w, int64_t channels, uint8_t flip, uint8_t *y) {
    int64_t c = 0;
    for (; c + 4 * BLOCK <= channels; c += 4 * BLOCK)
        max_blocks(w, 4, c, channels - c, flip, y);
    for (; c + 2 * BLOCK <= channels; c += 2 * BLOCK)
        max_blocks(w, 2, c, channels - c, flip, y);
    for (; c < channels; c += BLOCK)
        max_blocks(w, 1, c, channels - c, flip, y);
}

/* Adds the 16-bit sums to those in 32 bits, of bytes 0, 1, 2, 3 of each lane, and clears them. */
INLINE void move_on(vi sum[4], vu *even, vu *odd) {
    const vu low = (vu)all_ints(0xFFFF);
    sum[0] = sum[0] + (vi)(*even & low);
    sum[1] = sum[1] + (vi)(*odd & low);
    sum[2] = sum[2] + (vi)(*even >> 16);
    sum[3] = sum[3] + (vi)(*odd >> 16);
    *even = *odd = (vu)all_ints(0);
}

/* 4 W means to bytes: rint((sum - taps * zero_point) / divisor) + zero_point, back into their places. The quotient is a
 * product with the rounded reciprocal, corrected by what it leaves over, which is exact: as good as a division (before it is
 * rounded, at most 2^-40 off), in a fraction of its time. */
INLINE vb write_means(vi sum[4], int32_t offset, const nq_target *t, float divisor) {
    const vf reciprocal = all(1.0f / divisor);
    vu y = (vu)all_ints(0);
    UNROLL for (int k = 3; k >= 0; k--) {
        const vf steps = to_float(sum[k] - all_ints(offset)), guess = steps * reciprocal;
        const vf mean = fused(fused(all(-divisor), guess, steps), reciprocal, guess);
        const vf inside = lesser(greater(mean, all((float)-t->zero_point)), all(t->limit));
        y = y << 8 | (vu)(to_int(inside) + all_ints(t->zero_point));
    }
    return (vb)y ^ all_bytes(t->flip);
}

INLINE vb average_block(const nq_window *w, int64_t c, int64_t left, const nq_target *t, float divisor) {
    enum { FLUSH = 257 };                /* taps: 257 * 255 = 2^16 - 1 */
    const vu bytes = (vu)all_ints(0x00FF00FF);
    vi sum[4];
    vu even = (vu)all_ints(0), odd = even;
    int64_t room = FLUSH;
    UNROLL for (int k = 0; k < 4; k++)
        sum[k] = all_ints(0);
    for (int64_t i = 0; i < w->height; i++) {
        const uint8_t *x = w->x + i * w->line_stride + c;
        for (int64_t j = 0; j < w->width; j++, x += w->pixel_stride) {
            const vu tap = (vu)(load_some(x, left, 0) ^ all_bytes(t->flip));
            even = even + (tap & bytes);
            odd = odd + (tap >> 8 & bytes);
            if (--room == 0) {
                move_on(sum, &even, &odd);
                room = FLUSH;
            }
        }
    }
    move_on(sum, &even, &odd);
    return write_means(sum, (int32_t)(w->height * w->width * t->zero_point), t, divisor);
}

static void average_window(const nq_window *w, int64_t channels, const nq_target *target, float divisor, uint8_t *y) {
    const nq_target t = *target;
    const int64_t whole = channels / BLOCK * BLOCK;
    for (int64_t c = 0; c < whole; c += BLOCK)
        store_bytes(y + c, average_block(w, c, BLOCK, &t, divisor));
    if (whole < channels)
        store_some(y + whole, average_block(w, whole, channels - whole, &t, divisor), channels - whole);
}

#endif
