/* rows_fake.h: fake quantization of a row of floats, and its gradient, over the vocabulary of rows.h.
 *
 *     steps = rint(clamp(x / scale, low, high)),  y = scale * steps           low, high: quant_min, quant_max - zero_point
 *
 *     the gradient passes where rint(x / scale) lies in [low, high]:          clamped one step further out, it differs from
 *     dx = g (1 - d^2),  d = r - clamp(r, low, high) in {-1, 0, 1}            what it is within by d                        */
#ifndef NQ_ROWS_FAKE_H
#define NQ_ROWS_FAKE_H

INLINE vf steps_within(vf x, const nq_fake *f, float beyond) {
    const vf v = greater(lesser(x * all(f->inv_scale), all(f->high + beyond)), all(f->low - beyond));
    return to_float(to_int(v));
}

INLINE vf fake(vf x, vf g, const nq_fake *f) {
    (void)g;
    return all(f->scale) * steps_within(x, f, 0);
}

INLINE vf fake_gradient(vf x, vf g, const nq_fake *f) {
    const vf r = steps_within(x, f, 1), d = r - greater(lesser(r, all(f->high)), all(f->low));
    return g * (all(1.0f) - d * d);
}

/* y[n] = function(x[n], g[n]) */
#define FAKE_ROW(name, function)                                                                                       \
    static int name(const float *x, const float *g, int64_t count, const nq_fake *of, float *y) {                      \
        const nq_fake f = *of;                                                                                         \
        int64_t i = 0;                                                                                                 \
        forget_invalid();                                                                                              \
        for (; i + W <= count; i += W)                                                                                 \
            store(y + i, function(load(x + i), load(g + i), &f));                                                      \
        if (i < count) {                                                                                               \
            float rest[2][W] = {{0}};                                                                                  \
            memcpy(rest[0], x + i, 4 * (size_t)(count - i));                                                           \
            memcpy(rest[1], g + i, 4 * (size_t)(count - i));                                                           \
            store(rest[0], function(load(rest[0]), load(rest[1]), &f));                                                \
            memcpy(y + i, rest[0], 4 * (size_t)(count - i));                                                           \
        }                                                                                                              \
        return met_invalid() && holds_nan(x, count);                                                                   \
    }
FAKE_ROW(fake_quantize, fake)
FAKE_ROW(fake_quantize_back, fake_gradient)

#endif
