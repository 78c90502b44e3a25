/* bind.c: from scales to the three numbers a micro-kernel needs per output channel.
 *
 * With real x = s_x (q_x - z_x) and w = s_w (q_w - z_w), the layer's real output is a * acc + bias, where a = s_x s_w
 * and
 *
 *     acc = sum_k (q_x - z_x) (q_w - z_w)
 *         = sum_k q_x q_w  -  z_w sum_k q_x  -  z_x col_offset,        col_offset = sum_k (q_w - z_w)
 *
 * The first two terms are the micro-kernel's; the last is a constant, and becomes its starting value `init`. Then,
 * for an 8-bit output of scale s_y, form A computes (f32(acc) + badd) * mul. nanoquant/numerics.py derives the two
 * profiles:
 *
 *              init              badd                                     mul
 *     fbgemm   - z_x col_offset  bias / a   (per tensor: bias * (1 / a))  a / s_y
 *     qnnpack  rint(bias * (1 / a)) - z_x col_offset      0               a * (1 / s_y)
 *
 * Every operation here is one rounded float32 operation. */
#include "framework.h"
#include "numerics.h"

#include <float.h>
#include <math.h>

/* Positive, normal, finite: false for NaN. */
static int is_scale(float value) { return value >= FLT_MIN && value <= FLT_MAX; }

static int is_finite(float value) { return value >= -FLT_MAX && value <= FLT_MAX; }

static int binding_is_sane(const nq_binding *b) {
    if ((b->profile != NQ_FBGEMM && b->profile != NQ_QNNPACK) || (b->x_dtype != NQ_U8 && b->x_dtype != NQ_S8))
        return 0;
    if (b->y_dtype == NQ_S32 && b->bias != NULL)
        return 0;
    const int32_t x_low = b->x_dtype == NQ_S8 ? -128 : 0, y_low = b->y_dtype == NQ_S8 ? -128 : 0;
    if (b->x_zero_point < x_low || b->x_zero_point > x_low + 255)
        return 0;
    if (b->y_dtype != NQ_U8 && b->y_dtype != NQ_S8)
        return b->y_dtype == NQ_S32 || b->y_dtype == NQ_F32;
    return y_low <= b->y_min && b->y_min <= b->y_zero_point && b->y_zero_point <= b->y_max && b->y_max <= y_low + 255;
}

static void bind_outputs(const nq_binding *b, nq_epilogue *e) {
    const int32_t y_flip = b->y_dtype == NQ_S8 ? 128 : 0;
    e->x_flip = b->x_dtype == NQ_S8 ? 128 : 0;
    e->y_flip = y_flip;
    e->x_zero_point = b->x_zero_point + e->x_flip;
    e->zero_point = b->y_zero_point + y_flip;
    switch (b->y_dtype) {
    case NQ_S32:
        e->form = NQ_FORM_ACCUMULATOR;
        break;
    case NQ_F32:
        e->form = b->profile == NQ_FBGEMM ? NQ_FORM_D_FUSED : NQ_FORM_D_TWO_STEP;
        e->lo = b->relu ? 0.0f : -INFINITY;
        break;
    default:
        e->form = NQ_FORM_A;
        e->lo = (float)((b->relu ? b->y_zero_point : b->y_min) - b->y_zero_point);
        e->hi = (float)(b->y_max - b->y_zero_point);
    }
}

/* One channel's entries of the tables; `bias_q` receives what joins the accumulator. */
static nq_status bind_channel(const nq_binding *b, int64_t channel, float *badd, float *mul, int64_t *bias_q) {
    const float a = b->x_scale * b->w_scale[b->per_channel ? channel : 0];
    const float bias = b->bias ? b->bias[channel] : 0.0f;
    const int to_float = b->y_dtype == NQ_F32, to_byte = b->y_dtype == NQ_U8 || b->y_dtype == NQ_S8;
    *bias_q = 0;
    *badd = 0.0f;
    *mul = a;
    if (!is_scale(a))
        return NQ_BAD_SCALE;
    if (to_float)
        *badd = bias;
    if (to_byte && b->profile == NQ_FBGEMM) {
        *badd = b->per_channel ? bias / a : bias * (1.0f / a);
        *mul = a / b->y_scale;
    }
    if (to_byte && b->profile == NQ_QNNPACK) {
        const float units = bias * (1.0f / a);
        if (!is_finite(units))
            return NQ_BAD_BIAS;
        if (units < -2147483648.0f || units > 2147483648.0f)
            return NQ_ACCUMULATOR;
        *bias_q = nq_rint64(units);
        *mul = a * (1.0f / b->y_scale);
    }
    return !is_finite(*badd) ? NQ_BAD_BIAS : !is_scale(*mul) ? NQ_BAD_SCALE : NQ_OK;
}

nq_status nq_bind(const nq_packed *p, const nq_binding *b, nq_epilogue *e, int32_t *channel) {
    *channel = 0;
    if (!binding_is_sane(b))
        return NQ_BAD_ARGUMENT;
    bind_outputs(b, e);
    if (!is_scale(b->x_scale) || (e->form == NQ_FORM_A && !is_scale(b->y_scale)))
        return NQ_BAD_SCALE;
    const int64_t block_outputs = p->shape.out_channels / p->blocks;
    for (int64_t i = 0; i < p->table_length; i++) {
        const int64_t block = i / (p->strips * NQ_STRIP), n = i % (p->strips * NQ_STRIP);
        e->init[i] = 0;
        e->badd[i] = e->mul[i] = 0.0f;
        if (n >= block_outputs)          /* padding of the block's last strip */
            continue;
        const int64_t c = block * block_outputs + n;
        int64_t bias_q;
        *channel = (int32_t)c;
        nq_status status = bind_channel(b, c, &e->badd[i], &e->mul[i], &bias_q);
        if (status != NQ_OK)
            return status;
        /* |acc| <= 255 sum|q_w - z_w| + |bias|, since |q_x - z_x| <= 255 */
        if (255 * p->magnitude[c] + (bias_q < 0 ? -bias_q : bias_q) > INT32_MAX)
            return NQ_ACCUMULATOR;
        e->init[i] = (int32_t)((uint32_t)bias_q - (uint32_t)e->x_zero_point * (uint32_t)p->col_offset[c]);
    }
    return NQ_OK;
}
