/* rows.h: what is computed between two products, once for all instruction sets.
 *
 * A kernel here runs over one row of contiguous elements. It holds no intrinsics: its words (load, widen, narrow ...) come
 * from the vocabulary that was included before, ref/vec_scalar.h says what they mean, and x86/vec_*.h say how they are
 * done with 8 or 16 lanes. So instruction sets cannot drift apart, and a new one is one page.
 *
 *     bytes  --widen-->  int32  --to_float-->  floats  --arithmetic-->  floats  --to_int, narrow-->  bytes
 *                        - zero_point                                   limit, + zero_point, lo, ^ flip
 *
 *     a row     |<- BLOCK = 4 W ->|<- BLOCK ->|  ...  |<- rest ->|       the rest goes through a block on the stack,
 *                                                                        so that nothing is touched beyond the row
 *
 * Arguments called `const int` are known at compile time: each of their values gets a loop of its own. */
#ifndef NQ_ROWS_H
#define NQ_ROWS_H

/* BLOCK bytes, of which `left` exist; the others are `filler`. */
INLINE vb load_some(const uint8_t *x, int64_t left, uint8_t filler) {
    return left >= BLOCK ? load_bytes(x) : load_part(x, left, filler);
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

/* W integers, and how far they lie from the zero point as float32, exact. */
INLINE vi read(const uint8_t *x, const int is_signed) { return is_signed ? widen_signed(x) : widen(x); }

INLINE vf read_steps(const uint8_t *x, const nq_source *s, const int is_signed) {
    return to_float(read(x, is_signed) - all_ints(s->zero_point));
}

INLINE vf read_real(const uint8_t *x, const nq_source *s, const int is_signed) {
    return fused(all(s->scale), to_float(read(x, is_signed)), all(s->offset));
}

/* 4 W floats, in steps of the output, to bytes: max(rint(min(v, limit)) + zero_point, lo). NaN becomes the limit. */
INLINE vb write_steps(vf v[4], const nq_target *t) {
    vi q[4];
    UNROLL for (int j = 0; j < 4; j++)
        q[j] = to_int(lesser(v[j], all(t->limit)));
    return greater_bytes(narrow(q, t->zero_point), all_bytes(t->lo)) ^ all_bytes(t->flip);
}

/* ---- float32 to bytes and back ----------------------------------------------------------------------------------- */

/* Almost always every number fits int32, and `narrow` does for the limits of a whole byte. The CPU itself tells when one
 * did not fit (met_invalid): then all is done again, with care: huge numbers become the limit, and NaN is looked for. */
INLINE vb quantize_block(const float *x, const nq_target *t, const int careful, const int whole) {
    vf v[4];
    vi q[4];
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = load(x + j * W) * all(t->inv_scale);
    if (careful)
        return write_steps(v, t);
    UNROLL for (int j = 0; j < 4; j++)
        q[j] = to_int(v[j]);
    const vb y = narrow(q, t->zero_point);
    return (whole ? y : greater_bytes(lesser_bytes(y, all_bytes(t->hi)), all_bytes(t->lo))) ^ all_bytes(t->flip);
}

INLINE void quantize_row(const float *x, int64_t count, const nq_target *target, const int careful, const int whole,
                         uint8_t *q) {
    enum { LINE = 16, AHEAD = 96 };      /* floats, asked for early; from L3, twice as far costs a fifth */
    const nq_target t = *target;
    int64_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK) {
        UNROLL for (int j = 0; j < BLOCK; j += LINE)
            __builtin_prefetch(x + i + AHEAD + j);
        store_bytes(q + i, quantize_block(x + i, &t, careful, whole));
    }
    if (i < count) {
        float rest[BLOCK] = {0};
        memcpy(rest, x + i, (size_t)(count - i) * sizeof *x);
        store_some(q + i, quantize_block(rest, &t, careful, whole), count - i);
    }
}

static int holds_nan(const float *x, int64_t count) {
    int nan = 0;
    for (int64_t i = 0; i < count; i++)
        nan |= x[i] != x[i];
    return nan;
}

static int quantize(const float *x, int64_t count, const nq_target *t, uint8_t *q) {
    forget_invalid();
    if (t->lo == 0 && t->hi == 255)
        quantize_row(x, count, t, 0, 1, q);
    else
        quantize_row(x, count, t, 0, 0, q);
    if (!met_invalid())
        return 0;
    quantize_row(x, count, t, 1, 0, q);
    return holds_nan(x, count);
}

INLINE void dequantize_block(const uint8_t *q, const nq_source *s, const int is_signed, float *x) {
    UNROLL for (int j = 0; j < 4; j++)
        store(x + j * W, all(s->scale) * read_steps(q + j * W, s, is_signed));
}

INLINE void dequantize_row(const uint8_t *q, int64_t count, const nq_source *source, const int is_signed, float *x) {
    const nq_source s = *source;
    int64_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        dequantize_block(q + i, &s, is_signed, x + i);
    if (i < count) {
        uint8_t rest[BLOCK];
        float floats[BLOCK];
        store_bytes(rest, load_some(q + i, count - i, 0));
        dequantize_block(rest, &s, is_signed, floats);
        memcpy(x + i, floats, (size_t)(count - i) * sizeof *x);
    }
}

static void dequantize(const uint8_t *q, int64_t count, const nq_source *source, float *x) {
    if (source->is_signed)
        dequantize_row(q, count, source, 1, x);
    else
        dequantize_row(q, count, source, 0, x);
}

/* ---- bytes to bytes ---------------------------------------------------------------------------------------------- */

/* W results of an operation at `at`, in steps of y. */
INLINE vf apply(const int op, const int is_signed, const nq_point *p, const uint8_t *a, const uint8_t *b,
                const float *mul, const float *shift, const int at) {
    if (op == NQ_ADD)
        return (read_real(a + at, &p->a, is_signed) + read_real(b + at, &p->b, is_signed)) * all(p->y.inv_scale);
    const vf x = read_steps(a + at, &p->a, is_signed);
    if (op == NQ_MUL)
        return x * read_steps(b + at, &p->b, is_signed) * all(p->multiplier);
    if (op == NQ_SCALE_SHIFT)
        return fused(x, load(mul + at), load(shift + at));
    return all(p->a.scale) * x * all(p->y.inv_scale);
}

INLINE void point_block(const int op, const int is_signed, const nq_point *p, const uint8_t *a, const uint8_t *b,
                        const float *mul, const float *shift, uint8_t *y) {
    vf v[4];
    if (op == NQ_CLAMP) {
        const vb flip = all_bytes(is_signed ? 0x80 : 0), x = load_bytes(a) ^ flip;
        store_bytes(y, greater_bytes(lesser_bytes(x, all_bytes(p->y.hi)), all_bytes(p->y.lo)) ^ flip);
        return;
    }
    if (op == NQ_LOOKUP) {
        store_bytes(y, lookup(load_bytes(a), p->table));
        return;
    }
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = apply(op, is_signed, p, a, b, mul, shift, j * W);
    store_bytes(y, write_steps(v, &p->y));
}

/* What an operation does not read is not touched: then b is a, and mul and shift are NULL. mul_rest and shift_rest are those
 * of the last elements, which do not fill a block. */
INLINE void point_row(const int op, const int is_signed, const nq_point *p, const uint8_t *a, const uint8_t *b,
                      int64_t count, const float *mul_rest, const float *shift_rest, uint8_t *y) {
    const int channels = op == NQ_SCALE_SHIFT;
    int64_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        point_block(op, is_signed, p, a + i, b + i, channels ? p->mul + i : NULL, channels ? p->shift + i : NULL, y + i);
    if (i < count) {
        uint8_t a_rest[BLOCK], b_rest[BLOCK], bytes[BLOCK];
        store_bytes(a_rest, load_some(a + i, count - i, 0));
        if (op == NQ_ADD || op == NQ_MUL)
            store_bytes(b_rest, load_some(b + i, count - i, 0));
        point_block(op, is_signed, p, a_rest, b_rest, mul_rest, shift_rest, bytes);
        memcpy(y + i, bytes, (size_t)(count - i));
    }
}

INLINE void point_rows(const int op, const int is_signed, const nq_point *point, const nq_area *area) {
    const nq_point p = *point;           /* copies, which stores to y cannot change: they stay in registers */
    const nq_area r = *area;
    const int64_t rest = r.columns % BLOCK;
    float mul[BLOCK] = {0}, shift[BLOCK] = {0};
    if (op == NQ_SCALE_SHIFT) {
        memcpy(mul, p.mul + r.columns - rest, (size_t)rest * sizeof *mul);
        memcpy(shift, p.shift + r.columns - rest, (size_t)rest * sizeof *shift);
    }
    for (int64_t i = 0; i < r.rows; i++)
        point_row(op, is_signed, &p, r.a + i * r.a_stride, r.b + i * r.b_stride, r.columns, mul, shift,
                  r.y + i * r.y_stride);
}

#define POINT_KERNEL(NAME, OP)                                                                                         \
    static void NAME(const nq_point *p, const nq_area *area) {                                                         \
        if (p->a.is_signed)                                                                                            \
            point_rows(OP, 1, p, area);                                                                                \
        else                                                                                                           \
            point_rows(OP, 0, p, area);                                                                                \
    }

POINT_KERNEL(requantize, NQ_REQUANTIZE)
POINT_KERNEL(add, NQ_ADD)
POINT_KERNEL(mul, NQ_MUL)
POINT_KERNEL(scale_shift, NQ_SCALE_SHIFT)
POINT_KERNEL(clamp, NQ_CLAMP)
POINT_KERNEL(look_up, NQ_LOOKUP)

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
