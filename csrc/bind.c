/* bind.c: from scales to the numbers a micro-kernel needs per output channel.
 *
 * With real x = s_x (q_x - z_x) and w = s_w (q_w - z_w), the layer's real output is a * acc + bias, where a = s_x s_w
 * and
 *
 *     acc = sum_k (q_x - z_x) (q_w - z_w)
 *         = sum_k q_x q_w  -  z_w sum_k q_x  -  z_x col_offset,        col_offset = sum_k (q_w - z_w)
 *
 * The first two terms are the micro-kernel's; the last is a constant, and becomes its starting value `init`. Then, for
 * an 8-bit output of scale s_y, nanoquant/numerics.py derives the profiles (nanoquant.h has their forms):
 *
 *              init + z_x col_offset        badd                                     mul
 *     fbgemm   0                            bias / a   (per tensor: bias, pre 1 / a) a / s_y
 *     qnnpack  rint(bias * (1 / a))         0                                        a * (1 / s_y)
 *     ort      rint(f64(bias) / f64(a))     0                                        a / s_y
 *     onednn   0                            bias                                     s_w; pre 1 / (1 / s_x), post 1 / s_y
 *     tflite   as ort                       multiplier 2^(shift - 31) = f64(s_x) f64(s_w) / f64(s_y)
 *
 * Every operation here is one rounded float32 operation, but for those of f64. */
#include "framework.h"
#include "numerics.h"

#include <float.h>
#include <math.h>

/* Positive, normal, finite: false for NaN. */
static int is_scale(float value) { return value >= FLT_MIN && value <= FLT_MAX; }

static int is_finite(float value) { return value >= -FLT_MAX && value <= FLT_MAX; }

static int binding_is_sane(const nq_binding *b) {
    if (b->profile < NQ_FBGEMM || b->profile > NQ_TFLITE_SINGLE || (b->x_dtype != NQ_U8 && b->x_dtype != NQ_S8))
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
    e->pre = b->profile == NQ_ONEDNN ? 1.0f / (1.0f / b->x_scale) : 1.0f;
    if (b->profile == NQ_FBGEMM && !b->per_channel && (b->y_dtype == NQ_U8 || b->y_dtype == NQ_S8))
        e->pre = 1.0f / (b->x_scale * b->w_scale[0]);
    e->post = 1.0f / b->y_scale;
    e->offset = (float)b->y_zero_point;
    switch (b->y_dtype) {
    case NQ_S32:
        e->form = NQ_FORM_ACCUMULATOR;
        break;
    case NQ_F32:
        e->form = b->profile == NQ_FBGEMM ? NQ_FORM_D_FUSED : NQ_FORM_D_TWO_STEP;
        e->lo = b->relu ? 0.0f : -INFINITY;
        break;
    default:
        e->form = b->profile == NQ_ONEDNN        ? NQ_FORM_B
                  : b->profile == NQ_TFLITE        ? NQ_FORM_C_DOUBLE
                  : b->profile == NQ_TFLITE_SINGLE ? NQ_FORM_C_SINGLE
                                                   : NQ_FORM_A;
        if (e->form == NQ_FORM_B)        /* its clamp comes after y_zero_point has been added */
            e->zero_point = y_flip;
        e->lo = (float)((b->relu ? b->y_zero_point : b->y_min) + y_flip - e->zero_point);
        e->hi = (float)(b->y_max + y_flip - e->zero_point);
    }
}

/* real = multiplier * 2^(shift - 31), rounded half up: the leading 31 of the 53 bits of a positive normal double. */
static void quantize_multiplier(double real, int32_t *multiplier, int32_t *shift) {
    uint64_t bits;
    memcpy(&bits, &real, 8);
    const uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    const uint64_t rounded = (mantissa + (1 << 21)) >> 22, carried = rounded >> 31;
    *multiplier = (int32_t)(rounded >> carried);
    *shift = (int32_t)(bits >> 52) - 1022 + (int32_t)carried;
}

/* One channel's entries of the tables; `bias_q` is what joins the accumulator. */
typedef struct {
    int64_t bias_q;
    float badd, mul;
    int32_t multiplier, shift;
} channel_entry;

static nq_status bind_channel(const nq_binding *b, const nq_epilogue *e, int64_t channel, channel_entry *entry) {
    const float w_scale = b->w_scale[b->per_channel ? channel : 0], a = b->x_scale * w_scale;
    const float bias = b->bias ? b->bias[channel] : 0.0f;
    double units = 0.0;                  /* the bias that joins the accumulator, before it is rounded */
    *entry = (channel_entry){.mul = a};
    if (!is_scale(a))
        return NQ_BAD_SCALE;
    if (e->form >= NQ_FORM_ACCUMULATOR) {
        entry->badd = bias;
    } else if (b->profile == NQ_QNNPACK) {
        units = bias * (1.0f / a);
        entry->mul = a * (1.0f / b->y_scale);
    } else {
        entry->mul = a / b->y_scale;
        if (b->profile == NQ_FBGEMM)
            entry->badd = b->per_channel ? bias / a : bias;
        else if (b->profile == NQ_ONEDNN)
            entry->badd = bias;
        else
            units = (double)bias / (double)a;
    }
    if (!is_finite(e->form == NQ_FORM_A ? entry->badd * e->pre : entry->badd) || !(units >= -DBL_MAX && units <= DBL_MAX))
        return NQ_BAD_BIAS;
    if (units < -2147483648.0 || units > 2147483648.0)
        return NQ_ACCUMULATOR;
    entry->bias_q = nq_rint64(units);
    if (!is_scale(entry->mul))
        return NQ_BAD_SCALE;
    if (b->profile == NQ_ONEDNN)
        entry->mul = w_scale;
    if (e->form == NQ_FORM_C_DOUBLE || e->form == NQ_FORM_C_SINGLE) {
        quantize_multiplier((double)b->x_scale * (double)w_scale / (double)b->y_scale, &entry->multiplier,
                            &entry->shift);
        return entry->shift < -31 || entry->shift > 30 ? NQ_BAD_SCALE : NQ_OK;
    }
    return NQ_OK;
}

/* Entry i of the tables, which is the channel's. */
static nq_status bind_entry(const nq_packed *p, const nq_binding *b, nq_epilogue *e, int64_t channel, int64_t i) {
    channel_entry entry;
    const nq_status status = bind_channel(b, e, channel, &entry);
    if (status != NQ_OK)
        return status;
    const int64_t bias_q = entry.bias_q;
    /* |acc| <= 255 sum|q_w - z_w| + |bias|, since |q_x - z_x| <= 255 */
    if (255 * p->magnitude[channel] + (bias_q < 0 ? -bias_q : bias_q) > INT32_MAX)
        return NQ_ACCUMULATOR;
    e->badd[i] = entry.badd;
    e->mul[i] = entry.mul;
    e->plain &= entry.mul <= 0.5f && entry.badd >= -0x1p30f && entry.badd <= 0x1p30f;    /* (2^31 + 2^30) / 2 < 2^31 */
    e->multiplier[i] = entry.multiplier;
    e->shift[i] = entry.shift;
    e->init[i] = (int32_t)((uint32_t)bias_q - (uint32_t)e->x_zero_point * (uint32_t)p->col_offset[channel]);
    return NQ_OK;
}

nq_status nq_bind(const nq_packed *p, const nq_binding *b, nq_epilogue *e, int32_t *channel) {
    *channel = 0;
    if (!binding_is_sane(b))
        return NQ_BAD_ARGUMENT;
    bind_outputs(b, e);
    e->plain = e->form == NQ_FORM_A && e->pre == 1.0f;
    if (!is_scale(b->x_scale) || (b->profile == NQ_ONEDNN && !is_scale(e->pre)))
        return NQ_BAD_SCALE;
    if (e->form < NQ_FORM_ACCUMULATOR && (!is_scale(b->y_scale) || (e->form == NQ_FORM_B && !is_scale(e->post))))
        return NQ_BAD_SCALE;
    const int64_t block_outputs = p->shape.out_channels / p->blocks, block_entries = p->strips * NQ_STRIP;
    for (int64_t block = 0, i = 0; block < p->blocks; block++)
        for (int64_t n = 0; n < block_entries; n++, i++) {
            const int64_t in_block = p->depthwise ? nq_dwconv_channel(p, i) : n;
            e->init[i] = e->multiplier[i] = e->shift[i] = 0;
            e->badd[i] = e->mul[i] = 0.0f;
            if (in_block >= block_outputs)           /* padding of the last strip */
                continue;
            *channel = (int32_t)(block * block_outputs + in_block);
            const nq_status status = bind_entry(p, b, e, *channel, i);
            if (status != NQ_OK)
                return status;
        }
    return NQ_OK;
}
