/* dynamic.c: a linear layer on floats, which are quantized by the range that they have.
 *
 *     x --range--> least, greatest --dynamic rule--> s_x, z_x --quantize--> bytes --bind, product--> y
 *
 * Nothing is written but y and the caller's workspace, so that threads may share a layer:
 *
 *     [ bytes ] [ the epilogue's tables ] [ the product's workspace ]                                                  */
#include "framework.h"

enum { ALIGNMENT = 64, TABLES = 5, ENTRY_BYTES = 4 };

static int64_t count_of(const nq_dynamic *d) { return (int64_t)d->rows * d->packed->shape.in_channels; }

/* Where the product's workspace begins. */
static int64_t product_offset(const nq_dynamic *d) {
    return nq_round_up(count_of(d), ALIGNMENT) + nq_round_up(TABLES * ENTRY_BYTES * d->packed->table_length, ALIGNMENT);
}

int64_t nq_linear_dynamic_workspace(const nq_dynamic *d) {
    const nq_epilogue epilogue = {.form = NQ_FORM_D_FUSED};
    const nq_layer layer = {.packed = d->packed, .epilogue = &epilogue, .batch = 1, .size = {1, 1, d->rows}};
    const int64_t product = nq_conv_workspace(&layer);
    return product < 0 ? -1 : product_offset(d) + product;
}

nq_status nq_linear_dynamic(const nq_dynamic *d, const float *x, float *y, void *workspace, int64_t workspace_bytes) {
    const nq_packed *p = d->packed;
    const int64_t needed = nq_linear_dynamic_workspace(d), entries = p->table_length;
    if (needed < 0 || d->binding->y_dtype != NQ_F32)
        return NQ_BAD_ARGUMENT;
    if (workspace == NULL || workspace_bytes < needed)
        return NQ_WORKSPACE;
    uint8_t *const bytes = workspace;
    int32_t *const ints = (int32_t *)(bytes + nq_round_up(count_of(d), ALIGNMENT));
    float *const floats = (float *)(ints + 3 * entries);
    nq_epilogue epilogue = {.init = ints, .multiplier = ints + entries, .shift = ints + 2 * entries, .badd = floats,
                            .mul = floats + entries};
    const nq_layer layer = {.packed = p, .epilogue = &epilogue, .batch = 1, .size = {1, 1, d->rows}};
    nq_binding binding = *d->binding;
    int32_t channel;
    float low, high;
    double scale;
    nq_status status = nq_range(p->isa, x, count_of(d), &low, &high);
    if (status == NQ_OK)
        status = nq_choose_qparams(low, high, 0, d->quant_max, &scale, &binding.x_zero_point);
    if (status != NQ_OK)
        return status;
    const float x_scale = (float)scale;
    const nq_affine affine = {.dtype = NQ_U8, .outer = 1, .channels = 1, .inner = count_of(d), .scale = &x_scale,
                              .zero_point = &binding.x_zero_point, .quant_max = d->quant_max};
    binding.x_dtype = NQ_U8;
    binding.x_scale = binding.profile == NQ_ONEDNN ? 1.0f / (float)(1.0 / scale) : x_scale;      /* oneDNN inverts twice */
    status = nq_quantize(p->isa, &affine, x, bytes);
    if (status == NQ_OK)
        status = nq_bind(p, &binding, &epilogue, &channel);
    if (status != NQ_OK)
        return status;
    return nq_conv(&layer, bytes, y, bytes + product_offset(d), needed - product_offset(d));
}
