/* normalize.c: what must see a whole row, or a whole array, before it can write: softmax, layer_norm, and the range that
 * dynamic quantization chooses its scale from.
 *
 *     rows are shared by threads; a long array of floats is measured in pieces, whose ranges are then joined */
#include "framework.h"
#include "numerics.h"

#include <float.h>
#include <stdatomic.h>
#include <stddef.h>

enum { RANGES = 64, PARALLEL_FLOATS = 1 << 18, MAX_COLUMNS = 1 << 23 };

typedef struct {
    const nq_rows *rows;
    nq_cut cut;
    nq_source source;
    nq_target target;
    const int32_t *exponentials;
    const float *weight, *bias;
    double eps;
    const uint8_t *x;
    uint8_t *y;
} pass;

static void run_rows(void *context, int64_t item) {
    const pass *p = context;
    const int64_t n = p->cut.columns, first = item * p->cut.item_rows;
    for (int64_t r = first; r < nq_min(first + p->cut.item_rows, p->cut.rows); r++)
        if (p->exponentials)
            p->rows->softmax(p->x + r * n, n, (uint8_t)(p->source.is_signed ? 0x80 : 0), p->exponentials, &p->target, p->y + r * n);
        else
            p->rows->layer_norm(p->x + r * n, n, &p->source, p->weight, p->bias, p->eps, &p->target, p->y + r * n);
}

static nq_status run(int isa, pass *p, int64_t rows, int64_t columns, const nq_grid *x, const nq_grid *y) {
    const nq_isa *found = nq_find_isa(isa);
    if (found == NULL || rows < 0 || columns < 0 || columns > MAX_COLUMNS || rows > INT64_MAX / 8 / MAX_COLUMNS ||
        !nq_grid_is_sane(x) || !nq_grid_is_sane(y))
        return NQ_BAD_ARGUMENT;
    if (!nq_scale_is_sane(x->scale) || !nq_scale_is_sane(y->scale))
        return NQ_BAD_SCALE;
    if (rows * columns == 0)
        return NQ_OK;
    const int32_t low = y->dtype == NQ_S8 ? -128 : 0;
    p->rows = found->rows;
    p->source = nq_source_of(x);
    p->target = nq_target_of(y, low, low + 255);
    p->cut = nq_cut_rows(rows, columns, p->y, 1);
    nq_for(p->cut.parallel, nq_ceil_div(rows, p->cut.item_rows), run_rows, p);
    return NQ_OK;
}

nq_status nq_softmax(int isa, int64_t rows, int64_t columns, const nq_grid *x_grid, const void *x,
                     const int32_t *exponentials, const nq_grid *y_grid, void *y) {
    pass p = {.exponentials = exponentials, .x = x, .y = y};
    for (int i = 0; i < 256; i++)
        if (exponentials[i] < (i == 0) || exponentials[i] > 1 << 24)
            return NQ_BAD_ARGUMENT;
    return run(isa, &p, rows, columns, x_grid, y_grid);
}

nq_status nq_layer_norm(int isa, int64_t rows, int64_t columns, const nq_grid *x_grid, const void *x, const float *weight,
                        const float *bias, double eps, const nq_grid *y_grid, void *y) {
    pass p = {.weight = weight, .bias = bias, .eps = eps, .x = x, .y = y};
    for (int64_t c = 0; c < columns; c++)
        if (!(weight[c] >= -FLT_MAX && weight[c] <= FLT_MAX && bias[c] >= -FLT_MAX && bias[c] <= FLT_MAX))
            return NQ_BAD_ARGUMENT;
    if (!(eps >= DBL_MIN && eps <= DBL_MAX))
        return NQ_BAD_ARGUMENT;
    return run(isa, &p, rows, columns, x_grid, y_grid);
}

/* ---- the range of floats ----------------------------------------------------------------------------------------- */

typedef struct {
    const nq_rows *rows;
    const float *x;
    int64_t count, pieces;
    float low[RANGES], high[RANGES];
    _Atomic int nan;
} search;

static void measure_piece(void *context, int64_t i) {
    search *s = context;
    const int64_t first = i * s->count / s->pieces, end = (i + 1) * s->count / s->pieces;
    if (s->rows->range(s->x + first, end - first, &s->low[i], &s->high[i]))
        atomic_store(&s->nan, 1);
}

nq_status nq_range(int isa, const float *x, int64_t count, float *low, float *high) {
    const nq_isa *found = nq_find_isa(isa);
    if (found == NULL || count < 1 || count > INT64_MAX / RANGES)
        return NQ_BAD_ARGUMENT;
    search s = {.rows = found->rows, .x = x, .count = count, .pieces = count >= PARALLEL_FLOATS ? RANGES : 1};
    nq_for(s.pieces > 1, s.pieces, measure_piece, &s);
    *low = s.low[0], *high = s.high[0];
    for (int64_t i = 1; i < s.pieces; i++) {
        *low = s.low[i] < *low ? s.low[i] : *low;
        *high = s.high[i] > *high ? s.high[i] : *high;
    }
    *low += 0.0f, *high += 0.0f;         /* -0 becomes 0: which zero is found depends on the order of search */
    const int finite = *low >= -FLT_MAX && *high <= FLT_MAX;
    return atomic_load(&s.nan) || !finite ? NQ_NOT_FINITE : NQ_OK;
}

static double magnitude(double value) { return value < 0 ? -value : value; }

/* qparams.choose_dynamic_qparams, operation by operation. */
nq_status nq_choose_qparams(float min_val, float max_val, int32_t quant_min, int32_t quant_max, double *scale,
                            int32_t *zero_point) {
    const float smallest = 6.1e-5f;
    double low = min_val < 0 ? (double)min_val : 0, high = max_val > 0 ? (double)max_val : 0;
    if (!(min_val >= -FLT_MAX && max_val <= FLT_MAX && min_val <= max_val) || quant_min < -128 || quant_max > 255 ||
        quant_min >= quant_max || quant_min > 0 || quant_max < 0)
        return NQ_BAD_ARGUMENT;
    *scale = (high - low) / (double)(quant_max - quant_min);
    if ((float)*scale == 0 || 1.0f / (float)*scale > FLT_MAX)
        *scale = 0.1;
    if (*scale < (double)smallest) {
        const float widest = smallest * (float)(quant_max - quant_min), stretch = smallest / (float)*scale;
        if (low == 0) {
            high = (double)widest;
        } else if (high == 0) {
            low = -(double)widest;
        } else {
            low = (double)((float)low * stretch);
            high = (double)((float)high * stretch);
        }
        *scale = (double)smallest;
    }
    const double error_min = magnitude(quant_min) - magnitude(low / *scale);
    const double error_max = magnitude(quant_max) - magnitude(high / *scale);
    const double exact = error_min < error_max ? quant_min - low / *scale : quant_max - high / *scale;
    *zero_point = (int32_t)nq_min(nq_max(nq_rint64(exact), quant_min), quant_max);
    return NQ_OK;
}
