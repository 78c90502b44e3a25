/* embedding.c: rows of a table of 4- or 8-bit integers, picked by number and added up in bags, in floats.
 *
 *     index:     5 2 | 7 | | 1 1 8          y[bag] = sum_i f_i (scale[r] q[r] + offset[r]),  r = index[i],  in order
 *     starts:    0     2 3   3     (6)
 *
 * Of 4-bit rows, byte n holds column n in its low nibble and column n + half in its high one (rows_weights.h). */
#include "framework.h"

#include <string.h>

enum { ITEM = 16, PARALLEL = 1 << 16 };

typedef struct {
    const nq_table *t;
    const nq_bags *b;
    const nq_rows *kernels;
    float *y;
} job;

static void run_bags(void *context, int64_t item) {
    const job *j = context;
    const nq_table *t = j->t;
    const nq_bags *b = j->b;
    const int64_t stride = t->bits == 4 ? nq_ceil_div(t->columns, 2) : t->columns;
    for (int64_t bag = item * ITEM; bag < nq_min((item + 1) * ITEM, b->count); bag++) {
        float *y = j->y + bag * t->columns;
        memset(y, 0, 4 * (size_t)t->columns);
        for (int64_t i = b->starts[bag]; i < b->starts[bag + 1]; i++) {
            const int64_t row = b->index[i];
            const float factor = b->factor ? b->factor[i] : 1.0f;
            j->kernels->add_row(t->values + row * stride, t->columns, t->bits, factor * t->scale[row],
                                factor * t->offset[row], y);
        }
        const float share = b->mean ? 1.0f / (float)nq_max(b->starts[bag + 1] - b->starts[bag], 1) : 1.0f;
        for (int64_t n = 0; b->mean && n < t->columns; n++)
            y[n] *= share;
    }
}

nq_status nq_sum_bags(const nq_table *t, const nq_bags *b, float *y) {
    const nq_isa *isa = nq_find_isa(t->isa);
    if (!isa || (t->bits != 4 && t->bits != 8) || t->rows < 0 || t->columns < 0 || b->count < 0 || b->starts[0] < 0)
        return NQ_BAD_ARGUMENT;
    for (int64_t bag = 0; bag < b->count; bag++)
        if (b->starts[bag + 1] < b->starts[bag])
            return NQ_BAD_ARGUMENT;
    for (int64_t i = b->starts[0]; i < b->starts[b->count]; i++)
        if (b->index[i] < 0 || b->index[i] >= t->rows)
            return NQ_BAD_ARGUMENT;
    job j = {t, b, isa->rows, y};
    nq_for(b->starts[b->count] * t->columns >= PARALLEL, nq_ceil_div(b->count, ITEM), run_bags, &j);
    return NQ_OK;
}
