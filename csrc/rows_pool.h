/* rows_pool.h: one output pixel of a pooling layer, in the words of rows.h.
 *
 *     line_stride  |   x[0] .. channels | x .. | x ..        pixel_stride -->
 *                  v   x                | x .. | x ..        a window of height x width taps
 *                      \__ BLOCK channels of every tap at a time: their maximum, or the sum in int32
 *
 * A sum of at most 65535 bytes and its distance from taps * base are below 2^24: float32 holds them. Their quotient rounds
 * like the exact one: were the exact one not a tie, it would lie at least 1 / (2 * divisor) > 2^-17 from it, which is the
 * most by which a quotient of at most 256 is rounded. So the mean is exact, ties to even. */
#ifndef NQ_ROWS_POOL_H
#define NQ_ROWS_POOL_H

static void max_window(const nq_window *w, int64_t channels, uint8_t flip, uint8_t *y) {
    for (int64_t c = 0; c < channels; c += BLOCK) {
        vb greatest = all_bytes(0);
        for (int64_t i = 0; i < w->height; i++)
            for (int64_t j = 0; j < w->width; j++) {
                const uint8_t *x = w->x + i * w->line_stride + j * w->pixel_stride + c;
                greatest = greater_bytes(greatest, load_some(x, channels - c, 0) ^ all_bytes(flip));
            }
        store_some(y + c, greatest ^ all_bytes(flip), channels - c);
    }
}

static void average_window(const nq_window *w, int64_t channels, const nq_source *source, const nq_target *target,
                           float divisor, uint8_t *y) {
    const nq_source s = *source;
    const nq_target t = *target;
    for (int64_t c = 0; c < channels; c += BLOCK) {
        vi sum[4];
        vf v[4];
        UNROLL for (int k = 0; k < 4; k++)
            sum[k] = all_ints((int32_t)(-w->height * w->width * s.base));
        for (int64_t i = 0; i < w->height; i++)
            for (int64_t j = 0; j < w->width; j++) {
                const uint8_t *x = w->x + i * w->line_stride + j * w->pixel_stride + c;
                uint8_t rest[BLOCK];
                if (channels - c < BLOCK) {
                    store_bytes(rest, load_some(x, channels - c, 0));
                    x = rest;
                }
                UNROLL for (int k = 0; k < 4; k++)
                    sum[k] = sum[k] + (widen(x + k * W) ^ all_ints(s.flip));
            }
        UNROLL for (int k = 0; k < 4; k++)
            v[k] = to_float(sum[k]) / all(divisor);
        store_some(y + c, write_steps(v, &t), channels - c);
    }
}

#endif
