/* rows.h: what is computed between two products, once for all instruction sets.
 *
 * A kernel here runs over one row of contiguous elements. It holds no intrinsics: its words (load, widen, narrow ...) come
 * from the vocabulary that was included before, ref/vec_scalar.h says what they mean, and x86/vec_*.h say how they are
 * done with 8 or 16 lanes. So instruction sets cannot drift apart, and a new one is one page.
 *
 *     bytes  --widen-->  int32 steps  --to_float-->  floats  --arithmetic-->  floats  --to_int, narrow-->  bytes
 *              ^ flip, - base                                                   limit, + zero_point, lo, ^ flip
 *
 *     a row     |<- BLOCK = 4 W ->|<- BLOCK ->|  ...  |<- rest ->|       the rest goes through a block on the stack,
 *                                                                        so that nothing is touched beyond the row
 *
 * int8 data is seen as uint8 by q ^ 0x80 = q + 128 ("flip"). */
#ifndef NQ_ROWS_H
#define NQ_ROWS_H

/* BLOCK bytes, of which `left` exist; the others are `filler`. */
INLINE vb load_some(const uint8_t *x, int64_t left, uint8_t filler) {
    uint8_t rest[BLOCK];
    if (left >= BLOCK)
        return load_bytes(x);
    store_bytes(rest, all_bytes(filler));
    memcpy(rest, x, (size_t)left);
    return load_bytes(rest);
}

INLINE void store_some(uint8_t *y, vb x, int64_t left) {
    uint8_t rest[BLOCK];
    if (left >= BLOCK) {
        store_bytes(y, x);
        return;
    }
    store_bytes(rest, x);
    memcpy(y, rest, (size_t)left);
}

/* W integers as float32: q - base, exact. */
INLINE vf read_steps(const uint8_t *x, const nq_source *s) {
    return to_float((widen(x) ^ all_ints(s->flip)) - all_ints(s->base));
}

/* 4 W floats, in steps of the output, to bytes: max(rint(min(v, limit)) + zero_point, lo). NaN becomes the limit. */
INLINE vb write_steps(vf v[4], const nq_target *t) {
    vi q[4];
    UNROLL for (int j = 0; j < 4; j++)
        q[j] = to_int(lesser(v[j], all(t->limit)));
    return greater_bytes(narrow(q, t->zero_point), all_bytes(t->lo)) ^ all_bytes(t->flip);
}

/* ---- float32 to bytes and back ----------------------------------------------------------------------------------- */

INLINE vm quantize_block(const float *x, const nq_target *t, uint8_t *q) {
    vf v[4];
    vm nan;
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = load(x + j * W);
    nan = either_nan(v[0], v[1]) | either_nan(v[2], v[3]);
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = v[j] * all(t->inv_scale);
    store_bytes(q, write_steps(v, t));
    return nan;
}

static int quantize(const float *x, int64_t count, const nq_target *target, uint8_t *q) {
    const nq_target t = *target;
    const vf zero = all(0);
    vm nan = either_nan(zero, zero);
    int64_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        nan = nan | quantize_block(x + i, &t, q + i);
    if (i < count) {
        float rest[BLOCK] = {0};
        uint8_t bytes[BLOCK];
        memcpy(rest, x + i, (size_t)(count - i) * sizeof *x);
        nan = nan | quantize_block(rest, &t, bytes);
        memcpy(q + i, bytes, (size_t)(count - i));
    }
    return any(nan);
}

INLINE void dequantize_block(const uint8_t *q, const nq_source *s, float *x) {
    UNROLL for (int j = 0; j < 4; j++)
        store(x + j * W, all(s->scale) * read_steps(q + j * W, s));
}

static void dequantize(const uint8_t *q, int64_t count, const nq_source *source, float *x) {
    const nq_source s = *source;
    int64_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        dequantize_block(q + i, &s, x + i);
    if (i < count) {
        uint8_t rest[BLOCK] = {0};
        float floats[BLOCK];
        memcpy(rest, q + i, (size_t)(count - i));
        dequantize_block(rest, &s, floats);
        memcpy(x + i, floats, (size_t)(count - i) * sizeof *x);
    }
}

/* ---- bytes to bytes ---------------------------------------------------------------------------------------------- */

/* W results of an operation, in steps of y. `mul` and `shift` are read by NQ_SCALE_SHIFT only. */
INLINE vf apply(const int op, const nq_point *p, const uint8_t *a, const uint8_t *b, const float *mul,
                const float *shift, const int at) {
    const vf x = read_steps(a + at, &p->a);
    if (op == NQ_REQUANTIZE)
        return all(p->a.scale) * x * all(p->y.inv_scale);
    if (op == NQ_SCALE_SHIFT)
        return fused(x, load(mul + at), load(shift + at));
    const vf z = read_steps(b + at, &p->b);
    if (op == NQ_MUL)
        return x * z * all(p->multiplier);
    return (fused(all(p->a.scale), x, all(p->a.offset)) + fused(all(p->b.scale), z, all(p->b.offset))) *
           all(p->y.inv_scale);
}

INLINE void point_block(const int op, const nq_point *p, const uint8_t *a, const uint8_t *b, const float *mul,
                        const float *shift, uint8_t *y) {
    vf v[4];
    if (op == NQ_CLAMP) {
        vb x = lesser_bytes(load_bytes(a) ^ all_bytes(p->y.flip), all_bytes(p->y.hi));
        store_bytes(y, greater_bytes(x, all_bytes(p->y.lo)) ^ all_bytes(p->y.flip));
        return;
    }
    if (op == NQ_LOOKUP) {
        store_bytes(y, lookup(load_bytes(a), p->table));
        return;
    }
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = apply(op, p, a, b, mul, shift, j * W);
    store_bytes(y, write_steps(v, &p->y));
}

/* The row of `op`. What an operation does not read is not touched: a stands in for b, zeros for mul and shift. */
INLINE void point_row(const int op, const nq_point *point, const uint8_t *a, const uint8_t *b, int64_t count,
                      uint8_t *y) {
    const nq_point p = *point;
    const int binary = op == NQ_ADD || op == NQ_MUL, channels = op == NQ_SCALE_SHIFT;
    int64_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        point_block(op, &p, a + i, b + i, channels ? p.mul + i : NULL, channels ? p.shift + i : NULL, y + i);
    if (i < count) {
        const size_t left = (size_t)(count - i);
        uint8_t a_rest[BLOCK] = {0}, b_rest[BLOCK] = {0}, bytes[BLOCK];
        float mul[BLOCK] = {0}, shift[BLOCK] = {0};
        memcpy(a_rest, a + i, left);
        if (binary)
            memcpy(b_rest, b + i, left);
        if (channels) {
            memcpy(mul, p.mul + i, left * sizeof *mul);
            memcpy(shift, p.shift + i, left * sizeof *shift);
        }
        point_block(op, &p, a_rest, b_rest, mul, shift, bytes);
        memcpy(y + i, bytes, left);
    }
}

#define POINT_ROW(NAME, OP)                                                                                            \
    static void NAME(const nq_point *p, const uint8_t *a, const uint8_t *b, int64_t count, uint8_t *y) {               \
        point_row(OP, p, a, b, count, y);                                                                              \
    }

POINT_ROW(requantize, NQ_REQUANTIZE)
POINT_ROW(add, NQ_ADD)
POINT_ROW(mul, NQ_MUL)
POINT_ROW(scale_shift, NQ_SCALE_SHIFT)
POINT_ROW(clamp, NQ_CLAMP)
POINT_ROW(look_up, NQ_LOOKUP)

static int64_t sum_bytes(const uint8_t *x, int64_t count) {
    enum { FLUSH = 1 << 20 };            /* blocks until a lane of int32 might be full */
    int64_t total = 0;
    while (count > 0) {
        vi sum = all_ints(0);
        int32_t lanes[W];
        for (int64_t block = 0; block < FLUSH && count > 0; block++, x += BLOCK, count -= BLOCK)
            sum = add_bytes(sum, load_some(x, count, 0));
        memcpy(lanes, &sum, sizeof lanes);
        for (int j = 0; j < W; j++)
            total += lanes[j];
    }
    return total;
}

#endif
