/* elementwise.c: quantize and dequantize whole arrays, in chunks that threads share.
 *
 *     outer 0   | channel 0: inner elements | channel 1: inner elements | ... |
 *     outer 1   | channel 0                 | channel 1                 | ... |
 *
 * Each (outer, channel) is one contiguous stretch with one scale and zero point. 8-bit stretches go to the instruction
 * set's kernel; 32-bit integers (biases: few, and rarely wanted) are done here, in double, where q + zero_point and
 * the limits are exact. */
#include "framework.h"
#include "numerics.h"

#include <stdatomic.h>

typedef struct {
    const nq_affine *affine;
    const nq_isa *isa;
    const float *x;
    float *x_out;
    const uint8_t *q;
    uint8_t *q_out;
    nq_cut cut;
    _Atomic int nan;
} pass;

static int affine_is_sane(const nq_affine *a) {
    static const int64_t low[] = {0, -128, INT32_MIN}, high[] = {255, 127, INT32_MAX};
    int64_t count;
    if (a->dtype != NQ_U8 && a->dtype != NQ_S8 && a->dtype != NQ_S32)
        return 0;
    if (a->outer < 0 || a->channels < 0 || a->inner < 0 || __builtin_mul_overflow(a->outer, a->channels, &count) ||
        __builtin_mul_overflow(count, a->inner, &count) || count > INT64_MAX / 8)
        return 0;
    if (a->quant_min < low[a->dtype] || a->quant_max > high[a->dtype])
        return 0;
    for (int64_t c = 0; c < a->channels; c++)
        if (a->zero_point[c] < a->quant_min || a->zero_point[c] > a->quant_max)
            return 0;
    return 1;
}

static int scales_are_sane(const nq_affine *a) {
    for (int64_t c = 0; c < a->channels; c++)
        if (!nq_scale_is_sane(a->scale[c]))
            return 0;
    return 1;
}

static int quantize_32(const nq_affine *a, int64_t channel, const float *x, int64_t count, int32_t *q) {
    const float inv_scale = 1.0f / a->scale[channel];
    const double zero_point = a->zero_point[channel], lo = a->quant_min - zero_point, hi = a->quant_max - zero_point;
    int nan = 0;
    for (int64_t i = 0; i < count; i++) {
        double value = (double)(x[i] * inv_scale);
        nan |= x[i] != x[i];
        value = value > lo ? value : lo;
        value = value < hi ? value : hi;
        q[i] = (int32_t)(nq_rint64(value) + a->zero_point[channel]);
    }
    return nan;
}

static void dequantize_32(const nq_affine *a, int64_t channel, const int32_t *q, int64_t count, float *x) {
    for (int64_t i = 0; i < count; i++)
        x[i] = a->scale[channel] * (float)((int64_t)q[i] - a->zero_point[channel]);
}

static nq_grid grid_of(const nq_affine *a, int64_t channel) {
    return (nq_grid){a->scale[channel], a->zero_point[channel], a->dtype};
}

static void quantize_item(void *context, int64_t item) {
    pass *p = context;
    const nq_affine *a = p->affine;
    const nq_piece piece = nq_piece_of(&p->cut, item);
    for (int64_t row = piece.row; row < piece.row + piece.rows; row++) {
        const int64_t channel = row % a->channels, start = row * a->inner + piece.column;
        const nq_grid grid = grid_of(a, channel);
        int nan;
        if (a->dtype == NQ_S32) {
            nan = quantize_32(a, channel, p->x + start, piece.columns, (int32_t *)p->q_out + start);
        } else {
            const nq_target target = nq_target_of(&grid, a->quant_min, a->quant_max);
            nan = p->isa->rows->quantize(p->x + start, piece.columns, &target, p->q_out + start);
        }
        if (nan)
            atomic_store(&p->nan, 1);
    }
}

static void dequantize_item(void *context, int64_t item) {
    pass *p = context;
    const nq_affine *a = p->affine;
    const nq_piece piece = nq_piece_of(&p->cut, item);
    for (int64_t row = piece.row; row < piece.row + piece.rows; row++) {
        const int64_t channel = row % a->channels, start = row * a->inner + piece.column;
        const nq_grid grid = grid_of(a, channel);
        if (a->dtype == NQ_S32) {
            dequantize_32(a, channel, (const int32_t *)p->q + start, piece.columns, p->x_out + start);
        } else {
            const nq_source source = nq_source_of(&grid);
            p->isa->rows->dequantize(p->q + start, piece.columns, &source, p->x_out + start);
        }
    }
}

static nq_status run(pass *p, int isa, void (*body)(void *, int64_t), const void *out, int64_t element) {
    const nq_affine *a = p->affine;
    p->isa = nq_find_isa(isa);
    if (p->isa == NULL || !affine_is_sane(a))
        return NQ_BAD_ARGUMENT;
    if (!scales_are_sane(a))
        return NQ_BAD_SCALE;
    if (a->outer * a->channels * a->inner == 0)
        return NQ_OK;
    p->cut = nq_cut_rows(a->outer * a->channels, a->inner, out, element);
    nq_for(p->cut.parallel, p->cut.items, body, p);
    return atomic_load(&p->nan) ? NQ_NAN : NQ_OK;
}

nq_status nq_quantize(int isa, const nq_affine *affine, const float *x, void *q) {
    pass p = {.affine = affine, .x = x, .q_out = q};
    return run(&p, isa, quantize_item, q, affine->dtype == NQ_S32 ? 4 : 1);
}

nq_status nq_dequantize(int isa, const nq_affine *affine, const void *q, float *x) {
    pass p = {.affine = affine, .q = q, .x_out = x};
    return run(&p, isa, dequantize_item, x, 4);
}
