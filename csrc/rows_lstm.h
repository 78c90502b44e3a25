/* rows_lstm.h: one step of an LSTM for one row of a batch, forward and backward, over the vocabulary of rows.h.
 *
 *     p:   i | f | g | o      `size` numbers each         c' = f c + i g        h' = o tanh(c')
 *
 *     e^x - 1 = 2^k (1 + q) - 1,  x = k ln 2 + r,  |r| <= ln(2) / 2,  q = e^r - 1 = r + r^2/2! + ... + r^7/7!
 *
 * What is left out of q is below r 2^-26, and near 0, where k = 0, nothing cancels: so tanh x = e / (e + 2) of e = e^2x - 1
 * is accurate to a few units in the last place everywhere. All steps are IEEE's, in one order: the same bits everywhere.  */
#ifndef NQ_ROWS_LSTM_H
#define NQ_ROWS_LSTM_H

INLINE vf exp_minus_1(vf x) {
    const vf far = all(80.0f), near = lesser(greater(x, all(-80.0f)), far);
    const vi k = to_int(near * all(1.44269504f));
    const vf n = to_float(k), r = fused(n, all(1.9046543e-9f), fused(n, all(-0.693147182f), near));  /* n ln 2, in two parts */
    vf q = all(1.0f / 5040);
    q = fused(q, r, all(1.0f / 720));
    q = fused(q, r, all(1.0f / 120));
    q = fused(q, r, all(1.0f / 24));
    q = fused(q, r, all(1.0f / 6));
    q = fused(q, r, all(0.5f));
    q = fused(q * r, r, r);
    const vi bits = (k + all_ints(127)) << 23;
    vf power;
    memcpy(&power, &bits, sizeof power);
    return fused(power, q, power - all(1.0f));
}

INLINE vf sigmoid_of(vf x) { return all(1.0f) / (all(2.0f) + exp_minus_1(all(0.0f) - x)); }

INLINE vf tanh_of(vf x) {
    const vf e = exp_minus_1(x + x);
    return e / (e + all(2.0f));
}

/* at[0..3]: i f g o, which the gates replace; at[4]: c; at[5], at[6]: for c' and h'. */
INLINE void lstm_forward(float *const at[7]) {
    const vf i = sigmoid_of(load(at[0])), f = sigmoid_of(load(at[1])), g = tanh_of(load(at[2])), o = sigmoid_of(load(at[3]));
    const vf c = fused(f, load(at[4]), i * g);
    store(at[0], i);
    store(at[1], f);
    store(at[2], g);
    store(at[3], o);
    store(at[5], c);
    store(at[6], o * tanh_of(c));
}

/* at[0..3]: the gates; at[4], at[5]: c, c'; at[6]: dh'; at[7]: dc', which dc replaces; at[8..11]: for di df dg do. */
INLINE void lstm_backward(float *const at[12]) {
    const vf i = load(at[0]), f = load(at[1]), g = load(at[2]), o = load(at[3]), dh = load(at[6]), one = all(1.0f);
    const vf squashed = tanh_of(load(at[5])), dc = load(at[7]) + dh * o * (one - squashed * squashed);
    store(at[8], dc * g * (i - i * i));
    store(at[9], dc * load(at[4]) * (f - f * f));
    store(at[10], dc * i * (one - g * g));
    store(at[11], dh * squashed * (o - o * o));
    store(at[7], dc * f);
}

/* The step over `size` numbers of each of `count` arrays; what does not fill a vector goes through a copy. */
#define OVER_ROWS(name, step, count)                                                                                   \
    static void name(float *const at[], int64_t size) {                                                                \
        float *here[count], rest[count][W];                                                                            \
        for (int64_t n = 0; n < size; n += W) {                                                                        \
            const int64_t some = size - n < W ? size - n : W;                                                          \
            for (int a = 0; a < count; a++) {                                                                          \
                here[a] = some < W ? memcpy(memset(rest[a], 0, sizeof rest[a]), at[a] + n, 4 * (size_t)some) : at[a] + n;  \
            }                                                                                                          \
            step(here);                                                                                                \
            for (int a = 0; some < W && a < count; a++)                                                                \
                memcpy(at[a] + n, rest[a], 4 * (size_t)some);                                                          \
        }                                                                                                              \
    }
OVER_ROWS(lstm_step, lstm_forward, 7)
OVER_ROWS(lstm_step_back, lstm_backward, 12)

#endif
