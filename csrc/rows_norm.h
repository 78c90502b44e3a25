/* rows_norm.h: rows that are measured before they are written, in the words of rows.h.
 *
 *     softmax       max of the row --> sum of exp[max - x], exact --> 256 outputs by distance from the max --> look up
 *     layer_norm    sum and sum of squares, exact --> mean and deviation in double --> normalize, scale, shift
 *     range         least and greatest float of the row, and whether it holds a NaN
 *
 * What a row is measured by is an integer, so the order of summation does not matter; what follows is a fixed sequence of
 * IEEE operations on one element. */
#ifndef NQ_ROWS_NORM_H
#define NQ_ROWS_NORM_H

static void softmax(const uint8_t *x, int64_t count, uint8_t flip, const int32_t exponentials[256],
                    const nq_target *target, uint8_t *y) {
    const nq_target t = *target;
    vb greatest = all_bytes(0);
    uint8_t bytes[BLOCK], outputs[256], top = 0;
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i += BLOCK)           /* bytes that do not exist are flipped back to the least */
        greatest = greater_bytes(greatest, load_some(x + i, count - i, flip) ^ all_bytes(flip));
    store_bytes(bytes, greatest);
    for (int i = 0; i < BLOCK; i++)
        top = bytes[i] > top ? bytes[i] : top;
    for (int64_t i = 0; i < count; i++)
        sum += exponentials[top - (x[i] ^ flip)];

    const float share = t.inv_scale / (float)sum;
    for (int i = 0; i < 256; i += BLOCK) {
        vf v[4];
        UNROLL for (int j = 0; j < 4; j++) {
            vi e;
            memcpy(&e, exponentials + i + j * W, sizeof e);
            v[j] = to_float(e) * all(share);
        }
        store_bytes(outputs + i, write_steps(v, &t));
    }
    for (int64_t i = 0; i < count; i += BLOCK) {
        vb distance = all_bytes(top) - (load_some(x + i, count - i, flip) ^ all_bytes(flip));
        store_some(y + i, lookup(distance, outputs), count - i);
    }
}

/* Sums over the row: steps and their squares. */
INLINE void moments(const uint8_t *x, int64_t count, const nq_source *s, const int is_signed, int64_t *sum,
                    int64_t *squares) {
    enum { FLUSH = 8192 };               /* blocks until a lane of int32 might be full: 4 * 255^2 * 8192 < 2^31 */
    *sum = *squares = 0;
    while (count > 0) {
        vi lanes[2] = {all_ints(0), all_ints(0)};
        int32_t stored[2][W];
        for (int64_t block = 0; block < FLUSH && count > 0; block++, x += BLOCK, count -= BLOCK) {
            uint8_t bytes[BLOCK];
            store_bytes(bytes, load_some(x, count, (uint8_t)s->zero_point));       /* its steps are 0 */
            UNROLL for (int j = 0; j < 4; j++) {
                const vi steps = read(bytes + j * W, is_signed) - all_ints(s->zero_point);
                lanes[0] = lanes[0] + steps;
                lanes[1] = lanes[1] + steps * steps;
            }
        }
        memcpy(stored, lanes, sizeof stored);
        for (int j = 0; j < W; j++) {
            *sum += stored[0][j];
            *squares += stored[1][j];
        }
    }
}

INLINE void layer_norm_row(const uint8_t *x, int64_t count, const nq_source *source, const int is_signed,
                           const float *weight, const float *bias, double eps, const nq_target *target, uint8_t *y) {
    const nq_source s = *source;
    const nq_target t = *target;
    int64_t sum, squares;
    moments(x, count, &s, is_signed, &sum, &squares);
    const double scale = (double)s.scale, n = (double)count;
    const double variance = (double)(count * squares - sum * sum) / (n * n) * (scale * scale) + eps;
    const float mean = (float)((double)sum / n), factor = (float)(scale / __builtin_sqrt(variance));
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t left = count - i;
        float weights[BLOCK], biases[BLOCK];
        uint8_t bytes[BLOCK];
        const float *w = weight + i, *b = bias + i;
        vf v[4];
        if (left < BLOCK) {
            memset(weights, 0, sizeof weights);
            memset(biases, 0, sizeof biases);
            memcpy(weights, w, (size_t)left * sizeof *w);
            memcpy(biases, b, (size_t)left * sizeof *b);
            w = weights;
            b = biases;
        }
        store_bytes(bytes, load_some(x + i, left, 0));
        UNROLL for (int j = 0; j < 4; j++) {
            const vf normal = (read_steps(bytes + j * W, &s, is_signed) - all(mean)) * all(factor);
            v[j] = (normal * load(w + j * W) + load(b + j * W)) * all(t.inv_scale);
        }
        store_some(y + i, write_steps(v, &t), left);
    }
}

static void layer_norm(const uint8_t *x, int64_t count, const nq_source *s, const float *weight, const float *bias,
                       double eps, const nq_target *t, uint8_t *y) {
    if (s->is_signed)
        layer_norm_row(x, count, s, 1, weight, bias, eps, t, y);
    else
        layer_norm_row(x, count, s, 0, weight, bias, eps, t, y);
}

/* Least and greatest of count >= 1 floats; returns 1 when there is a NaN, which `lesser` calls invalid. */
static int range(const float *x, int64_t count, float *low, float *high) {
    vf least = all(x[0]), greatest = least;
    float lanes[2][W];
    forget_invalid();
    for (int64_t i = 0; i < count; i += BLOCK) {
        const int64_t left = count - i;
        float rest[BLOCK];
        if (left < BLOCK)
            for (int j = 0; j < BLOCK; j++)
                rest[j] = x[i + (j < left ? j : 0)];
        const float *block = left < BLOCK ? rest : x + i;
        UNROLL for (int j = 0; j < 4; j += 2) {
            const vf v0 = load(block + j * W), v1 = load(block + (j + 1) * W);
            least = lesser(least, lesser(v0, v1));
            greatest = greater(greatest, greater(v0, v1));
        }
    }
    memcpy(lanes[0], &least, sizeof lanes[0]);
    memcpy(lanes[1], &greatest, sizeof lanes[1]);
    *low = lanes[0][0], *high = lanes[1][0];
    for (int j = 1; j < W; j++) {
        *low = lanes[0][j] < *low ? lanes[0][j] : *low;
        *high = lanes[1][j] > *high ? lanes[1][j] : *high;
    }
    return met_invalid() && holds_nan(x, count);
}

/* The includer's table. */
#define NQ_ROWS(REQUANTIZE, LOOK_UP, WEIGHTS)                                                                          \
    {                                                                                                                  \
        .quantize = quantize, .dequantize = dequantize,                                                                \
        .point = {REQUANTIZE, add, mul, scale_shift, clamp, LOOK_UP}, .max_window = max_window,                        \
        .average_window = average_window, .softmax = softmax, .layer_norm = layer_norm, .range = range,                \
        .sum_bytes = sum_bytes, .multiply = multiply, .lstm_step = lstm_step, .lstm_step_back = lstm_step_back,        \
        .fake = fake_quantize, .fake_back = fake_quantize_back, .rescale = rescale, .finish_row = finish_row,          \
        .weights = WEIGHTS, .round_group = round_group, .add_row = add_row                                             \
    }

#endif
