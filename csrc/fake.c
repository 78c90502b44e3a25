/* fake.c: fake quantization, and its straight-through gradient, for training.
 *
 *     row 0: channel 0   | piece | piece |         each row, or piece of one, with the scale of its channel (rows_fake.h)
 *     row 1: channel 1   | piece | piece |
 *       ...                                                                                                             */
#include "framework.h"

#include <stdatomic.h>

typedef struct {
    const nq_rounding *r;
    const nq_rows *kernels;
    const float *x, *g;
    float *y;
    nq_cut cut;
    atomic_int nan;
} pass;

static void item(void *context, int64_t number) {
    pass *p = context;
    const nq_piece piece = nq_piece_of(&p->cut, number);
    for (int64_t row = piece.row; row < piece.row + piece.rows; row++) {
        const int64_t channel = row % p->r->channels, start = row * p->r->columns + piece.column;
        const float scale = p->r->scale[channel];
        const nq_fake f = {scale, 1.0f / scale, p->r->low[channel], p->r->high[channel]};
        if (p->g)
            p->kernels->fake_back(p->x + start, p->g + start, piece.columns, &f, p->y + start);
        else if (p->kernels->fake(p->x + start, p->x + start, piece.columns, &f, p->y + start))
            atomic_store(&p->nan, 1);
    }
}

nq_status nq_fake_quantize(const nq_rounding *r, const float *x, const float *g, float *y) {
    const nq_isa *isa = nq_find_isa(r->isa);
    int64_t size;
    if (!isa || r->rows < 0 || r->columns <= 0 || r->channels <= 0 || __builtin_mul_overflow(r->rows, r->columns, &size) ||
        size > INT64_MAX / 8)
        return NQ_BAD_ARGUMENT;
    for (int64_t c = 0; c < r->channels; c++)
        if (!nq_scale_is_sane(r->scale[c]) || !(r->low[c] >= -32766 && r->low[c] <= r->high[c] && r->high[c] <= 32766))
            return NQ_BAD_ARGUMENT;
    pass p = {.r = r, .kernels = isa->rows, .x = x, .g = g, .y = y, .cut = nq_cut_rows(r->rows, r->columns, y, 4)};
    nq_for(p.cut.parallel, p.cut.items, item, &p);
    return p.nan ? NQ_NAN : NQ_OK;
}
