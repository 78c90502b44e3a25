/* dynamic.c: a layer on floats, which are quantized by the range that they have.
 *
 *     x --range--> least, greatest --dynamic rule--> s_x, z_x --quantize--> bytes --product--> y
 *
 * Scales change with every call, weights do not. So the layer is bound once, for s_x = 1 and z_x = 1, and a call makes its
 * own tables from those: init = z_x init_1, mul = s_x mul_1. With a scale for each image, images are called one by one. With
 * one for each row, the product gives bare sums, which are finished in place, row by row (rows_dynamic.h).
 *
 * Nothing is written but y and the caller's workspace, so that threads may share a layer:
 *
 *     [ bytes ] [ bytes, channels last ] [ scales of rows ] [ a phase's epilogue and tables ] ... [ the product's workspace ]  */
#include "framework.h"

#include <string.h>

enum { ALIGNMENT = 64 };

typedef struct {
    const nq_dynamic *d;
    const nq_rows *kernels;
    nq_layer layer;                                  /* of one call: an image, or all */
    int64_t items, item_size;                        /* images, rows, or 1; floats in each */
    int64_t turned, scales, tables, product;         /* where sections of the workspace begin */
    uint8_t *bytes;
} run;

static int64_t aligned(int64_t bytes) { return nq_round_up(bytes, ALIGNMENT); }

/* Bytes of a phase's epilogue, or of its table of init or mul. */
static int64_t head_bytes(void) { return aligned(sizeof(nq_epilogue)); }
static int64_t table_bytes(const nq_packed *p) { return aligned(4 * p->table_length); }

static int begin(const nq_dynamic *d, run *r) {
    const nq_layer *l = d->layer;
    if (nq_conv_workspace(l) < 0 || d->quant_max < 1 || d->quant_max > 255 ||
        (d->scales == NQ_SCALE_PER_ROW && (l->batch != 1 || l->size[0] != 1 || l->size[1] != 1)))
        return 0;
    const int64_t pixels = (int64_t)l->size[0] * l->size[1] * l->size[2], count = l->batch * pixels * l->packed->shape.in_channels;
    *r = (run){.d = d, .kernels = nq_find_isa(l->packed->isa)->rows, .layer = *l, .items = 1};
    if (d->scales != NQ_ONE_SCALE)
        r->items = d->scales == NQ_SCALE_PER_ROW ? l->size[2] : l->batch;
    if (d->scales == NQ_SCALE_PER_IMAGE)
        r->layer.batch = nq_min(1, l->batch);
    r->item_size = r->items > 0 ? count / r->items : 0;
    r->turned = aligned(d->scales == NQ_SCALE_PER_IMAGE ? r->item_size : count);
    r->scales = r->turned + (d->channels_first ? r->turned : 0);
    r->tables = r->scales + (d->scales == NQ_SCALE_PER_ROW ? aligned(r->items * (int64_t)sizeof(nq_scaling)) : 0);
    r->product = r->tables;
    for (int i = 0; i < nq_phase_count(&l->packed->shape); i++)
        r->product += head_bytes() + 2 * table_bytes(l->packed + i);
    return 1;
}

int64_t nq_dynamic_workspace(const nq_dynamic *d) {
    run r;
    return begin(d, &r) ? r.product + nq_conv_workspace(&r.layer) : -1;
}

/* The scale and zero point of some floats. */
static nq_status choose(const run *r, const float *x, int64_t count, nq_scaling *s) {
    float low, high;
    double scale;
    nq_status status = nq_range(r->layer.packed->isa, x, count, &low, &high);
    if (status == NQ_OK)
        status = nq_choose_qparams(low, high, 0, r->d->quant_max, &scale, &s->zero_point);
    if (status != NQ_OK)
        return status;
    s->x_scale = s->mul = (float)scale;
    s->pre = 1.0f;
    if (r->d->profile == NQ_ONEDNN) {
        s->mul = 1.0f / (float)(1.0 / scale);        /* oneDNN inverts twice */
        s->pre = 1.0f / (1.0f / s->mul);
        if (!nq_scale_is_sane(s->pre))
            return NQ_BAD_SCALE;
    }
    if (!nq_scale_is_sane(s->mul * r->d->least) || !nq_scale_is_sane(s->mul * r->d->greatest))
        return NQ_BAD_SCALE;
    s->mul = r->d->profile == NQ_ONEDNN ? 1.0f : s->mul;
    return NQ_OK;
}

static nq_status quantize(const run *r, const nq_scaling *s, const float *x, int64_t count, uint8_t *bytes) {
    const nq_affine affine = {.dtype = NQ_U8, .outer = 1, .channels = 1, .inner = count, .scale = &s->x_scale,
                              .zero_point = &s->zero_point, .quant_max = r->d->quant_max};
    return nq_quantize(r->layer.packed->isa, &affine, x, bytes);
}

static const uint8_t *channels_last(const run *r, int64_t count) {
    const nq_layer *l = &r->layer;
    if (!r->d->channels_first)
        return r->bytes;
    nq_transpose(l->batch, l->packed->shape.in_channels, count / l->batch / l->packed->shape.in_channels, r->bytes,
                 r->bytes + r->turned);
    return r->bytes + r->turned;
}

/* An epilogue for each phase; `s` NULL: of bare sums. Returns the first. */
static const nq_epilogue *bind(const run *r, const nq_scaling *s) {
    const int phases = nq_phase_count(&r->layer.packed->shape);
    nq_epilogue *epilogue = (nq_epilogue *)(r->bytes + r->tables);
    uint8_t *at = r->bytes + r->tables + phases * head_bytes();
    for (int i = 0; i < phases; i++) {
        const nq_packed *p = r->layer.packed + i;
        nq_epilogue *e = epilogue + i;
        *e = r->d->layer->epilogue[i];
        int32_t *init = (int32_t *)at;
        e->mul = (float *)(at + table_bytes(p));
        if (s) {
            r->kernels->rescale(&r->d->layer->epilogue[i], s, p->table_length, init, e->mul);
            e->x_zero_point = s->zero_point;
            e->pre = s->pre;
        } else {
            memset(init, 0, 4 * (size_t)p->table_length);
            e->form = NQ_FORM_ACCUMULATOR;
            e->x_zero_point = 0;
        }
        e->init = init;
        at += 2 * table_bytes(p);
    }
    return epilogue;
}

static nq_status multiply(run *r, const uint8_t *bytes, void *y) {
    return nq_conv(&r->layer, bytes, y, r->bytes + r->product, nq_conv_workspace(&r->layer));
}

static nq_status run_item(run *r, const float *x, float *y) {
    nq_scaling s;
    nq_status status = choose(r, x, r->item_size, &s);
    if (status == NQ_OK)
        status = quantize(r, &s, x, r->item_size, r->bytes);
    if (status != NQ_OK)
        return status;
    r->layer.epilogue = bind(r, &s);
    return multiply(r, channels_last(r, r->item_size), y);
}

typedef struct {
    const run *r;
    float *y;
} rows_of;

static void finish_row(void *context, int64_t row) {
    const rows_of *c = context;
    const int64_t outputs = c->r->layer.packed->shape.out_channels;
    const nq_scaling *s = (const nq_scaling *)(c->r->bytes + c->r->scales) + row;
    c->r->kernels->finish_row(&c->r->d->layer->epilogue[0], s, outputs, c->y + row * outputs);
}

static nq_status run_rows(run *r, const float *x, float *y) {
    nq_scaling *scales = (nq_scaling *)(r->bytes + r->scales);
    for (int64_t row = 0; row < r->items; row++, x += r->item_size) {
        nq_status status = choose(r, x, r->item_size, scales + row);
        if (status == NQ_OK)
            status = quantize(r, scales + row, x, r->item_size, r->bytes + row * r->item_size);
        if (status != NQ_OK)
            return status;
    }
    r->layer.epilogue = bind(r, NULL);
    const nq_status status = multiply(r, r->bytes, y);
    if (status == NQ_OK)
        nq_for(r->items * r->layer.packed->shape.out_channels > 1 << 16, r->items, finish_row, &(rows_of){r, y});
    return status;
}

nq_status nq_run_dynamic(const nq_dynamic *d, const float *x, float *y, void *workspace, int64_t workspace_bytes) {
    run r;
    if (!begin(d, &r) || (d->layer->epilogue->form != NQ_FORM_D_FUSED && d->layer->epilogue->form != NQ_FORM_D_TWO_STEP))
        return NQ_BAD_ARGUMENT;
    if (workspace == NULL || workspace_bytes < r.product + nq_conv_workspace(&r.layer))
        return NQ_WORKSPACE;
    r.bytes = workspace;
    if (d->scales == NQ_SCALE_PER_ROW)
        return run_rows(&r, x, y);
    nq_status status = NQ_OK;
    int64_t outputs = r.layer.batch * r.layer.packed->shape.out_channels;
    for (int axis = 0; axis < 3; axis++)
        outputs *= nq_out_size(&r.layer.packed->shape, axis, r.layer.size[axis]);
    for (int64_t item = 0; item < r.items && status == NQ_OK; item++)
        status = run_item(&r, x + item * r.item_size, y + item * outputs);
    return status;
}
