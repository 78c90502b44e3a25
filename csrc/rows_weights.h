/* rows_weights.h: one strip of 16 outputs of weights.c, for up to NQ_WEIGHT_ROWS rows, over the vocabulary of rows.h.
 *
 *     words:      | w0 | w1 | ...  a vector of outputs each, of 4 weights (8 in nibbles) that meet the same 4 (8) of a
 *     dot4:       acc += q0 a0 + q1 a1 + q2 a2 + q3 a3
 *
 * One chain of sums would wait for itself; integers may be added in any order, so a single row has four. */
#ifndef NQ_ROWS_WEIGHTS_H
#define NQ_ROWS_WEIGHTS_H

INLINE vi load_ints(const void *x) {
    vi v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* acc + the sum of (q - BYTES_FROM) a over the four bytes of each lane. bits: q's; a: -127 .. 127. Vocabularies may have their
 * own. */
#ifndef BYTES_FROM
#define BYTES_FROM(bits) 0
INLINE vi dot4(vi acc, vi q, int32_t four, const int bits) {
    (void)bits;
    UNROLL for (int i = 0; i < 4; i++)
        acc += ((vi)((vu)q >> 8 * i) & all_ints(255)) * all_ints((int8_t)((uint32_t)four >> 8 * i));
    return acc;
}
#endif

/* sum[r] of one group: sum q a, of W outputs. w: their words, a: the rows of a, from this group on. */
INLINE void group_sums(const uint8_t *w, const int8_t *a, int64_t a_stride, int64_t words, const int bits, const int rows,
                       vi sum[NQ_WEIGHT_ROWS]) {
    const int chains = rows == 1 ? 4 : 1, steps = bits == 4 ? 2 : 1, at_once = chains > steps ? chains : steps;
    const vi mask = all_ints(0x0F0F0F0F);
    vi part[NQ_WEIGHT_ROWS][4];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int p = 0; p < chains; p++)
            part[r][p] = all_ints(0);
    for (int64_t i = 0; i < words; i += at_once / steps)
        UNROLL for (int p = 0; p < at_once; p++) {
            const vi word = load_ints(w + (i + p / steps) * 4 * NQ_STRIP);
            const vi q = bits == 8 ? word : (p % 2 ? (vi)((vu)word >> 4) : word) & mask;
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, a + r * a_stride + 4 * (i * steps + p), 4);
                part[r][p % chains] = dot4(part[r][p % chains], q, four, bits);
            }
        }
    UNROLL for (int r = 0; r < rows; r++)
        sum[r] = chains == 1 ? part[r][0] : part[r][0] + part[r][1] + (part[r][2] + part[r][3]);
}

/* `wide` vectors of outputs at once: all 16 of a strip, or, if registers are wanted for several rows, fewer. */
INLINE void strip_of_weights(const nq_strip_of_weights *strip, const int bits, const int rows, const int wide,
                             float y[][NQ_STRIP]) {
    const nq_strip_of_weights s = *strip;                /* a copy, which stores to y cannot change */
    for (int lane = 0; lane < NQ_STRIP; lane += wide * W) {
        const uint8_t *block = s.blocks + 4 * lane;
        const int8_t *a = s.a;
        vf acc[NQ_STRIP / W][NQ_WEIGHT_ROWS];
        UNROLL for (int v = 0; v < wide; v++)
            UNROLL for (int r = 0; r < rows; r++)
                acc[v][r] = all(0.0f);
        for (int64_t g = 0; g < s.groups; g++, block += s.block_bytes, a += s.words * (32 / bits))
            UNROLL for (int v = 0; v < wide; v++) {
                vi sum[NQ_WEIGHT_ROWS];
                group_sums(block + s.head_bytes + 4 * v * W, a, s.a_stride, s.words, bits, rows, sum);
                const vi zero = s.asymmetric ? load_ints(block + 4 * (NQ_STRIP + v * W)) : all_ints(1 << (bits - 1));
                const vf scale = load((const float *)(const void *)(block + 4 * v * W));
                UNROLL for (int r = 0; r < rows; r++) {
                    const vi centred = sum[r] - (zero - all_ints(BYTES_FROM(bits))) * all_ints(s.sum[r * s.groups + g]);
                    acc[v][r] = fused(to_float(centred), scale * all(s.scale[r * s.groups + g]), acc[v][r]);
                }
            }
        UNROLL for (int v = 0; v < wide; v++)
            UNROLL for (int r = 0; r < rows; r++)
                store(y[r] + lane + v * W, acc[v][r] + load(s.bias + lane + v * W));
    }
}

#ifndef ONLY_WEIGHTS
/* A group of x as integers, their scale and their sum (weights.c). 1: x holds NaN or an infinity. If 1 / scale is infinite, they
 * count as zeros. */
static int round_group(const float *x, int64_t count, int8_t *a, float *scale, int32_t *sum) {
    const float largest = 3.402823466e38f, least = 1.17549435e-38f;
    float rest[W] = {0}, lanes[W], most = 0.0f;
    int32_t steps[W];
    vf high = all(0.0f), nan = all(0.0f);
    for (int64_t n = 0; n < count; n += W) {
        const vf v = load(count - n < W ? memcpy(rest, x + n, 4 * (size_t)(count - n)) : x + n);
        high = greater(high, greater(v, all(0.0f) - v));
        nan = nan + (v - v);                             /* NaN, of NaN and infinity */
    }
    store(lanes, high + nan);
    for (int i = 0; i < W; i++) {
        most = lanes[i] > most ? lanes[i] : most;
        if (!(lanes[i] <= largest))
            return 1;
    }
    const float step = most / 127.0f, inverse = step >= least ? 1.0f / step : 0.0f;
    vi total = all_ints(0);
    for (int64_t n = 0; n < count; n += W) {
        const int64_t some = count - n < W ? count - n : W;
        const vi q = to_int(load(some < W ? rest : x + n) * all(inverse));
        total += q;
        memcpy(steps, &q, sizeof steps);
        for (int64_t i = 0; i < some; i++)
            a[n + i] = (int8_t)steps[i];
    }
    memcpy(steps, &total, sizeof steps);
    *sum = 0;
    for (int i = 0; i < W; i++)
        *sum += steps[i];
    *scale = step >= least ? step : 0.0f;
    return 0;
}

/* y += scale (bits of q from `shift` on) + offset */
INLINE void add_part(const uint8_t *q, int64_t count, const int shift, const int mask, float scale, float offset, float *y) {
    for (int64_t n = 0; n < count; n += W) {
        uint8_t bytes[W] = {0};
        float rest[W] = {0}, *at = count - n < W ? rest : y + n;
        if (at == rest) {
            memcpy(bytes, q + n, (size_t)(count - n));
            memcpy(rest, y + n, 4 * (size_t)(count - n));
        }
        const vi value = (vi)((vu)widen(at == rest ? bytes : q + n) >> shift) & all_ints(mask);
        store(at, fused(all(scale), to_float(value), load(at) + all(offset)));
        if (at == rest)
            memcpy(y + n, rest, 4 * (size_t)(count - n));
    }
}

/* A row of an embedding (embedding.c). */
static void add_row(const uint8_t *q, int64_t count, int bits, float scale, float offset, float *y) {
    const int64_t half = (count + 1) / 2;
    if (bits == 8) {
        add_part(q, count, 0, 255, scale, offset, y);
        return;
    }
    add_part(q, half, 0, 15, scale, offset, y);
    add_part(q, count - half, 4, 15, scale, offset, y + half);
}
#endif

static void weights(const nq_strip_of_weights *s, float y[][NQ_STRIP]) {
    if (s->bits == 4 && s->rows == 1)
        strip_of_weights(s, 4, 1, NQ_STRIP / W, y);
    else if (s->bits == 4)
        strip_of_weights(s, 4, NQ_WEIGHT_ROWS, 1, y);
    else if (s->rows == 1)
        strip_of_weights(s, 8, 1, NQ_STRIP / W, y);
    else
        strip_of_weights(s, 8, NQ_WEIGHT_ROWS, 1, y);
}

#endif
