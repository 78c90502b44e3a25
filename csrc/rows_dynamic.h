/* rows_dynamic.h: what a scale chosen at run time does to a row, over the vocabulary of rows.h.
 *
 *     e holds the tables of s_x = 1, z_x = 1:   init_1 = -col_offset,   mul_1 = s_w,   badd = bias
 *
 *     sum - z_x col_offset = sum + z_x init_1                                  y = max(fma(f32(acc), s_x mul_1, badd), lo) */
#ifndef NQ_ROWS_DYNAMIC_H
#define NQ_ROWS_DYNAMIC_H

/* count: a multiple of NQ_STRIP. */
static void rescale(const nq_epilogue *e, const nq_scaling *s, int64_t count, int32_t *init, float *mul) {
    for (int64_t n = 0; n < count; n += W) {
        const vi moved = load_ints(e->init + n) * all_ints(s->zero_point);
        memcpy(init + n, &moved, sizeof moved);
        store(mul + n, load(e->mul + n) * all(s->mul));
    }
}

INLINE vf finished(const nq_epilogue *e, const nq_scaling *s, int64_t n, vi sums) {
    const vf acc = to_float(sums + load_ints(e->init + n) * all_ints(s->zero_point)), mul = load(e->mul + n) * all(s->mul);
    const vf badd = load(e->badd + n), low = all(e->lo);
    if (e->form == NQ_FORM_D_FUSED)
        return greater(fused(acc, mul, badd), low);
    return greater(acc * all(s->pre) * mul + badd, low);
}

/* y holds the row's bare sums, as integers, and gets what they mean. */
static void finish_row(const nq_epilogue *epilogue, const nq_scaling *scaling, int64_t count, float *y) {
    const nq_epilogue e = *epilogue;
    const nq_scaling s = *scaling;
    int64_t n = 0;
    for (; n + W <= count; n += W)
        store(y + n, finished(&e, &s, n, load_ints(y + n)));
    if (n < count) {
        float rest[W] = {0};
        memcpy(rest, y + n, 4 * (size_t)(count - n));
        store(rest, finished(&e, &s, n, load_ints(rest)));
        memcpy(y + n, rest, 4 * (size_t)(count - n));
    }
}

#endif
