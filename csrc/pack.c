/* pack.c: int8 weights in the order the micro-kernels read them.
 *
 * A convolution is a sum over taps. With channels-last activations, and if dilation is 1, one line of the filter is one
 * contiguous run of input bytes; so a 3x3 filter over C channels has 3 taps with runs of 3 * C bytes (and a phase of a
 * transposed convolution, which phase.c makes of it, is a filter like any other):
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
 *                                         [sums of the strip's weights, int32]
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
 *     12..15              |     |     | w w
 *
 * If the inputs of the merged groups fit in 16 bytes, micro-kernels can spread them (ukernel.h): each output multiplies its
 * own group's quads only, and the diagonal is all that is packed. But weights with zero points would need a sum of the
 * inputs for each group. */
#include "framework.h"

#include <string.h>

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
    int64_t pixels = 1, phases = 1;
    for (int axis = 0; axis < 3; axis++) {
        if (s->kernel[axis] < 1 || s->stride[axis] < 1 || s->dilation[axis] < 1 || s->padding[axis] < 0 ||
            s->output_padding[axis] < 0 || (int64_t)s->dilation[axis] * (s->kernel[axis] - 1) > INT32_MAX)
            return 0;
        pixels *= s->kernel[axis];
        phases *= s->transposed ? s->stride[axis] : 1;
        if (pixels > INT32_MAX || phases > INT32_MAX)
            return 0;
    }
    return (int64_t)s->in_channels * s->kernel[2] <= INT32_MAX;
}

/* Whether to interleave the lines of a filter (patches.c) is worth its time: when the quads that joining the runs saves
 * outweigh it, or when the stride skips pixels and many strips would skip them again. */
static int pays_to_interleave(const nq_packed *p) {
    const nq_conv_shape *s = &p->shape;
    const int64_t apart = (int64_t)p->taps * p->quads, together = nq_ceil_div((int64_t)p->taps * p->run, NQ_QUAD);
    const int64_t lines = (int64_t)s->kernel[0] * s->kernel[1];
    if (p->blocks > 1 || p->spread || s->transposed || p->taps != lines || lines > NQ_MAX_LINES)
        return 0;
    if (lines * s->kernel[2] == 1)
        return s->stride[2] > 1 && p->run % 16 == 0 && p->strips >= 8;
    return s->in_channels < NQ_QUAD && 2 * (apart - together) * p->strips > lines * s->stride[2];
}

/* Whether taps of one pixel each, spread, cost less than runs of all merged inputs. A quad that is spread costs one
 * instruction more. */
static int pays_to_spread(const nq_packed *p, int64_t pixels) {
    const int64_t group_inputs = p->shape.in_channels / p->shape.groups, spread = nq_ceil_div(group_inputs, NQ_QUAD);
    return p->merged > 1 && !p->asymmetric && p->merged * group_inputs <= NQ_SPREAD &&
           3 * pixels * spread <= 2 * (int64_t)p->taps * p->quads;
}

nq_status nq_pack_sizes(nq_packed *p) {
    const nq_isa *isa = nq_find_isa(p->isa);
    const nq_conv_shape *s = &p->shape;
    if (isa == NULL || !shape_is_sane(s) || p->phase < 0 || p->phase >= nq_phase_count(s))
        return NQ_BAD_ARGUMENT;
    if (nq_dwconv_sizes(p, isa))
        return NQ_OK;
    p->merged = groups_per_strip(s->groups, s->out_channels / s->groups);
    p->blocks = s->groups / p->merged;
    p->strips = (int32_t)nq_ceil_div(s->out_channels / p->blocks, NQ_STRIP);
    const nq_filter f = nq_phase_filter(&p->shape, p->phase);
    const nq_axis *x = &f.axis[2];
    const int whole_lines = p->blocks == 1 && (x->tap_step == 1 || x->taps == 1);
    p->taps = (int32_t)(whole_lines && x->taps > 0 ? f.pixels / x->taps : f.pixels);
    p->run = (int32_t)(s->in_channels / p->blocks * (whole_lines ? x->taps : 1));
    p->quads = (int32_t)nq_ceil_div(p->run, NQ_QUAD);
    p->spread = pays_to_spread(p, f.pixels);
    if (p->spread) {
        p->taps = (int32_t)f.pixels;
        p->run = s->in_channels / p->blocks;
        p->quads = (int32_t)nq_ceil_div(s->in_channels / s->groups, NQ_QUAD);
    }
    p->pieces = pays_to_interleave(p) ? p->taps : 0;
    if (p->pieces) {
        p->run *= p->pieces;
        p->taps = 1;
        p->quads = (int32_t)nq_ceil_div(p->run, NQ_QUAD);
    }
    p->table_length = (int64_t)p->blocks * p->strips * NQ_STRIP;
    p->weight_bytes = (int64_t)p->blocks * p->strips * ((int64_t)p->taps * p->quads * isa->quad_bytes + NQ_SUMS_BYTES);
    return NQ_OK;
}

/* Which pixel of the whole kernel is number `i` of the filter. */
static int64_t kernel_pixel(const nq_packed *p, const nq_filter *f, int64_t i) {
    int64_t pixel = 0, size = 1;
    for (int axis = 2; axis >= 0; size *= p->shape.kernel[axis--]) {
        const nq_axis *a = &f->axis[axis];
        pixel += (a->first + i % a->taps * a->step) * size;
        i /= a->taps;
    }
    return pixel;
}

void nq_spread_pattern(const nq_packed *p, uint8_t pattern[NQ_SPREAD_QUADS][NQ_STRIP * NQ_QUAD]) {
    const int32_t group_inputs = p->shape.in_channels / p->shape.groups;
    const int32_t group_outputs = p->shape.out_channels / p->shape.groups;
    for (int32_t quad = 0; quad < NQ_SPREAD_QUADS; quad++)
        for (int32_t i = 0; i < NQ_STRIP * NQ_QUAD; i++) {
            const int32_t group = i / NQ_QUAD / group_outputs, input = quad * NQ_QUAD + i % NQ_QUAD;
            pattern[quad][i] = (uint8_t)((group * group_inputs + input) % NQ_SPREAD);    /* any byte will do beyond the end */
        }
}

/* Bytes k .. k+3 of run `tap`, or of each column's own group in it, for a strip of output channels from `first` on. */
static void gather_quad(const nq_packed *p, const nq_filter *f, const int8_t *weights, const int32_t *zero_point,
                        int64_t first, int64_t columns, int64_t tap, int64_t k, int8_t quad[NQ_STRIP][NQ_QUAD]) {
    const nq_conv_shape *s = &p->shape;
    const int64_t pixels = (int64_t)s->kernel[0] * s->kernel[1] * s->kernel[2];
    const int64_t group_inputs = s->in_channels / s->groups, group_outputs = s->out_channels / s->groups;
    const int64_t block_inputs = group_inputs * p->merged;
    const int64_t end = p->spread ? group_inputs : p->run;
    for (int64_t j = 0; j < nq_min(NQ_QUAD, end - k); j++) {
        const int64_t i = tap * (p->run / block_inputs) + (k + j) / block_inputs;
        const int64_t pixel = kernel_pixel(p, f, p->pieces ? i % p->pieces * s->kernel[2] + i / p->pieces : i);
        for (int64_t n = 0; n < columns; n++) {
            const int64_t channel = first + n, own = channel / group_outputs % p->merged;
            const int64_t input = p->spread ? own * group_inputs + k + j : (k + j) % block_inputs;
            quad[n][j] = zero_point ? (int8_t)zero_point[channel] : 0;
            if (input / group_inputs == own)
                quad[n][j] = weights[(channel * group_inputs + input % group_inputs) * pixels + pixel];
        }
    }
}

/* Sums over the weights of this phase. */
static void sum_channel(nq_packed *p, const nq_filter *f, const int8_t *weights, int64_t channel, int32_t zero_point) {
    const nq_conv_shape *s = &p->shape;
    const int64_t group_inputs = s->in_channels / s->groups;
    const int64_t pixels = (int64_t)s->kernel[0] * s->kernel[1] * s->kernel[2];
    int64_t sum = 0, magnitude = 0;
    for (int64_t i = 0; i < f->pixels; i++) {
        const int8_t *w = weights + channel * group_inputs * pixels + kernel_pixel(p, f, i);
        for (int64_t c = 0; c < group_inputs; c++) {
            const int64_t value = w[c * pixels] - zero_point;
            sum += value;
            magnitude += value < 0 ? -value : value;
        }
    }
    p->col_offset[channel] = (int32_t)sum;       /* meaningless beyond int32, where nq_bind refuses the magnitude */
    p->magnitude[channel] = magnitude;
}

/* Whether no two neighbouring products of a quad can add up to more than int16, whatever the activations. */
static int pairs_fit(const int8_t quad[NQ_STRIP][NQ_QUAD]) {
    for (int64_t n = 0; n < NQ_STRIP; n++)
        for (int64_t i = 0; i < NQ_QUAD; i += 2) {
            const int a = quad[n][i], b = quad[n][i + 1];
            const int high = (a > 0 ? a : 0) + (b > 0 ? b : 0), low = (a < 0 ? a : 0) + (b < 0 ? b : 0);
            if (255 * high > INT16_MAX || 255 * low < INT16_MIN)
                return 0;
        }
    return 1;
}

static void pack_strips(nq_packed *p, const nq_isa *isa, const nq_filter *f, const int8_t *weights,
                        const int32_t *zero_point) {
    const int64_t block_outputs = p->shape.out_channels / p->blocks;
    uint8_t *out = p->weights;
    p->pairs_fit = 1;
    for (int64_t block = 0; block < p->blocks; block++)
        for (int64_t strip = 0; strip < p->strips; strip++, out += NQ_SUMS_BYTES) {
            const int64_t first = block * block_outputs + strip * NQ_STRIP;      /* channel of the strip's column 0 */
            const int64_t columns = nq_min(NQ_STRIP, block_outputs - strip * NQ_STRIP);
            int32_t sums[NQ_STRIP] = {0};
            for (int64_t tap = 0; tap < p->taps; tap++)
                for (int64_t k = 0; k < p->quads * NQ_QUAD; k += NQ_QUAD, out += isa->quad_bytes) {
                    int8_t quad[NQ_STRIP][NQ_QUAD] = {{0}};
                    gather_quad(p, f, weights, p->zero_point ? zero_point : NULL, first, columns, tap, k, quad);
                    isa->pack_quad((const int8_t (*)[NQ_QUAD])quad, out);
                    p->pairs_fit &= pairs_fit((const int8_t (*)[NQ_QUAD])quad);
                    for (int64_t i = 0; i < NQ_STRIP * NQ_QUAD; i++)
                        sums[i / NQ_QUAD] += quad[i / NQ_QUAD][i % NQ_QUAD];
                }
            memcpy(out, sums, NQ_SUMS_BYTES);
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
    const nq_filter f = nq_phase_filter(&p->shape, p->phase);
    if (p->depthwise)
        nq_dwconv_pack(p, nq_find_isa(p->isa), weights, zero_point);
    else
        pack_strips(p, nq_find_isa(p->isa), &f, weights, zero_point);
    for (int64_t channel = 0; channel < p->shape.out_channels; channel++)
        sum_channel(p, &f, weights, channel, p->asymmetric ? zero_point[channel] : 0);
    return NQ_OK;
}
