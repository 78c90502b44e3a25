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

#include <float.h>
#include <stdatomic.h>

enum { CHUNK = 1 << 14, PARALLEL_ELEMENTS = 1 << 17 };

typedef struct {
    const nq_affine *affine;
    const nq_isa *isa;
    const float *x;
    float *x_out;
    const uint8_t *q;
    uint8_t *q_out;
    int64_t chunks_per_stretch, chunk;
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
        if (!(a->scale[c] >= FLT_MIN && a->scale[c] <= FLT_MAX))
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

/* The part of the array that item i covers. */
typedef struct {
    int64_t start, count, channel;
} part;

static part part_of(const pass *p, int64_t i) {
    const int64_t stretch = i / p->chunks_per_stretch, offset = i % p->chunks_per_stretch * p->chunk;
    return (part){
        .start = stretch * p->affine->inner + offset,
        .count = nq_min(p->chunk, p->affine->inner - offset),
        .channel = stretch % p->affine->channels,
    };
}

static void quantize_part(void *context, int64_t i) {
    pass *p = context;
    const nq_affine *a = p->affine;
    const part s = part_of(p, i);
    const int32_t flip = a->dtype == NQ_S8 ? 0x80 : 0, zero_point = a->zero_point[s.channel];
    int nan;
    if (a->dtype == NQ_S32)
        nan = quantize_32(a, s.channel, p->x + s.start, s.count, (int32_t *)p->q_out + s.start);
    else
        nan = p->isa->quantize(p->x + s.start, s.count, 1.0f / a->scale[s.channel], (float)(a->quant_min - zero_point),
                               (float)(a->quant_max - zero_point), zero_point + flip, (uint8_t)flip, p->q_out + s.start);
    if (nan)
        atomic_store(&p->nan, 1);
}

static void dequantize_part(void *context, int64_t i) {
    pass *p = context;
    const nq_affine *a = p->affine;
    const part s = part_of(p, i);
    const int32_t flip = a->dtype == NQ_S8 ? 0x80 : 0;
    if (a->dtype == NQ_S32)
        dequantize_32(a, s.channel, (const int32_t *)p->q + s.start, s.count, p->x_out + s.start);
    else
        p->isa->dequantize(p->q + s.start, s.count, a->scale[s.channel], a->zero_point[s.channel] + flip, (uint8_t)flip,
                           p->x_out + s.start);
}

static nq_status run(pass *p, int isa, void (*body)(void *, int64_t)) {
    const nq_affine *a = p->affine;
    p->isa = nq_find_isa(isa);
    if (p->isa == NULL || !affine_is_sane(a))
        return NQ_BAD_ARGUMENT;
    if (!scales_are_sane(a))
        return NQ_BAD_SCALE;
    const int64_t count = a->outer * a->channels * a->inner;
    if (count == 0)
        return NQ_OK;
    p->chunk = CHUNK;
    p->chunks_per_stretch = nq_ceil_div(a->inner, CHUNK);
    nq_for(count >= PARALLEL_ELEMENTS, a->outer * a->channels * p->chunks_per_stretch, body, p);
    return atomic_load(&p->nan) ? NQ_NAN : NQ_OK;
}

nq_status nq_quantize(int isa, const nq_affine *affine, const float *x, void *q) {
    pass p = {.affine = affine, .x = x, .q_out = q};
    return run(&p, isa, quantize_part);
}

nq_status nq_dequantize(int isa, const nq_affine *affine, const void *q, float *x) {
    pass p = {.affine = affine, .q = q, .x_out = x};
    return run(&p, isa, dequantize_part);
}
