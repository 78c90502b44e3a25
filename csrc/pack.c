/* pack.c: int8 weights in the order the micro-kernels read them.
 *
 * A convolution is a sum over taps. With channels-last activations, and if dilation is 1, one line of the filter is one
 * contiguous run of input bytes; so a 3x3 filter over C channels has 3 taps with runs of 3 * C bytes:
 *
 *     input lines   . . [ c0..cC | c0..cC | c0..cC ] . . .      tap 0      . = other pixels
 *                   . . [ c0..cC | c0..cC | c0..cC ] . . .      tap 1
 *                   . . [ c0..cC | c0..cC | c0..cC ] . . .      tap 2
 *
 * Otherwise (dilation, or groups that own a part of each pixel only) each pixel of the filter is a tap of its own. A
 * linear layer has one tap of in_features bytes.
 *
 * The packed weights are
 *
 *     [block][strip of 16 output channels][tap][quad of 4 run bytes]  -->  isa->quad_bytes, ordered by isa->pack_quad
 *
 * zero where a run or the channels end early.
 *
 * Groups. A block is a set of groups computed as one dense product. Groups with fewer than 16 output channels share a
 * strip: `merged` groups form one block-diagonal matrix (here 4 groups of 2 inputs and 4 outputs):
 *
 *     outputs   inputs 0 1 | 2 3 | 4 5 | 6 7
 *      0.. 3          w w |     |     |            Off the diagonal the weight *means* 0: the stored integer is the
 *      4.. 7              | w w |     |            channel's zero point, so that w - zp_w is 0.
 *      8..11              |     | w w |
 *     12..15              |     |     | w w                                                                          */
#include "framework.h"

/* The most groups that divide evenly and fit one strip. */
static int32_t groups_per_strip(int32_t groups, int32_t outputs_per_group) {
    int32_t merged = 1;
    if (outputs_per_group > 0)
        for (int32_t m = 2; m <= groups && m * outputs_per_group <= NQ_STRIP; m++)
            if (groups % m == 0)
                merged = m;
    return merged;
}

static int shape_is_sane(const nq_conv_shape *s) {
    if (s->groups < 1 || s->in_channels < 0 || s->out_channels < 0)
        return 0;
    if (s->in_channels % s->groups != 0 || s->out_channels % s->groups != 0)
        return 0;
    for (int axis = 0; axis < 2; axis++)
        if (s->kernel[axis] < 1 || s->stride[axis] < 1 || s->dilation[axis] < 1 || s->padding[axis] < 0)
            return 0;
    return (int64_t)s->in_channels * s->kernel[1] <= INT32_MAX && (int64_t)s->kernel[0] * s->kernel[1] <= INT32_MAX;
}

nq_status nq_pack_sizes(nq_packed *p) {
    const nq_isa *isa = nq_find_isa(p->isa);
    const nq_conv_shape *s = &p->shape;
    if (isa == NULL || !shape_is_sane(s))
        return NQ_BAD_ARGUMENT;
    if (nq_dwconv_sizes(p, isa))
        return NQ_OK;
    p->merged = groups_per_strip(s->groups, s->out_channels / s->groups);
    p->blocks = s->groups / p->merged;
    p->strips = (int32_t)nq_ceil_div(s->out_channels / p->blocks, NQ_STRIP);
    const int whole_lines = p->blocks == 1 && s->dilation[1] == 1;
    p->taps = whole_lines ? s->kernel[0] : s->kernel[0] * s->kernel[1];
    p->run = s->in_channels / p->blocks * (whole_lines ? s->kernel[1] : 1);
    p->table_length = (int64_t)p->blocks * p->strips * NQ_STRIP;
    p->weight_bytes = (int64_t)p->blocks * p->strips * p->taps * nq_ceil_div(p->run, NQ_QUAD) * isa->quad_bytes;
    return NQ_OK;
}

/* What byte k of run `tap` is multiplied by for an output channel. */
static int8_t weight_at(const nq_packed *p, const int8_t *weights, int32_t zero_point, int64_t channel, int64_t tap,
                        int64_t k) {
    const nq_conv_shape *s = &p->shape;
    const int64_t pixels = (int64_t)s->kernel[0] * s->kernel[1], pixels_per_tap = pixels / p->taps;
    const int64_t group_inputs = s->in_channels / s->groups, group_outputs = s->out_channels / s->groups;
    const int64_t block_inputs = group_inputs * p->merged;
    const int64_t pixel = tap * pixels_per_tap + k / block_inputs, input = k % block_inputs;
    if (input / group_inputs != channel / group_outputs % p->merged)
        return (int8_t)zero_point;
    return weights[(channel * group_inputs + input % group_inputs) * pixels + pixel];
}

static void sum_channel(nq_packed *p, const int8_t *weights, int64_t channel, int32_t zero_point) {
    const nq_conv_shape *s = &p->shape;
    const int64_t count = (int64_t)(s->in_channels / s->groups) * s->kernel[0] * s->kernel[1];
    int64_t sum = 0, magnitude = 0;
    for (int64_t k = 0; k < count; k++) {
        int64_t w = weights[channel * count + k] - zero_point;
        sum += w;
        magnitude += w < 0 ? -w : w;
    }
    p->col_offset[channel] = (int32_t)sum;       /* meaningless beyond int32, where nq_bind refuses the magnitude */
    p->magnitude[channel] = magnitude;
}

static void pack_strips(nq_packed *p, const nq_isa *isa, const int8_t *weights, const int32_t *zero_point) {
    const int64_t block_outputs = p->shape.out_channels / p->blocks;
    uint8_t *out = p->weights;
    for (int64_t block = 0; block < p->blocks; block++)
        for (int64_t strip = 0; strip < p->strips; strip++) {
            const int64_t first = block * block_outputs + strip * NQ_STRIP;      /* channel of the strip's column 0 */
            const int64_t columns = nq_min(NQ_STRIP, block_outputs - strip * NQ_STRIP);
            for (int64_t tap = 0; tap < p->taps; tap++)
                for (int64_t k = 0; k < p->run; k += NQ_QUAD, out += isa->quad_bytes) {
                    int8_t quad[NQ_STRIP][NQ_QUAD] = {{0}};
                    for (int64_t n = 0; n < columns; n++)
                        for (int64_t j = 0; j < nq_min(NQ_QUAD, p->run - k); j++)
                            quad[n][j] = weight_at(p, weights, p->zero_point ? zero_point[first + n] : 0, first + n,
                                                   tap, k + j);
                    isa->pack_quad((const int8_t (*)[NQ_QUAD])quad, out);
                }
            if (p->zero_point)
                for (int64_t n = 0; n < NQ_STRIP; n++)
                    p->zero_point[(block * p->strips + strip) * NQ_STRIP + n] = n < columns ? zero_point[first + n] : 0;
        }
}

nq_status nq_pack(nq_packed *p, const int8_t *weights, const int32_t *zero_point) {
    nq_packed sizes = *p;
    if (nq_pack_sizes(&sizes) != NQ_OK || sizes.table_length != p->table_length || sizes.depthwise != p->depthwise ||
        sizes.weight_bytes != p->weight_bytes || (p->asymmetric && (p->zero_point == NULL || zero_point == NULL)))
        return NQ_BAD_ARGUMENT;
    if (p->depthwise)
        nq_dwconv_pack(p, nq_find_isa(p->isa), weights, zero_point);
    else
        pack_strips(p, nq_find_isa(p->isa), weights, zero_point);
    for (int64_t channel = 0; channel < p->shape.out_channels; channel++)
        sum_channel(p, weights, channel, p->asymmetric ? zero_point[channel] : 0);
    return NQ_OK;
}
