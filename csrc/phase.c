/* phase.c: a transposed convolution is several ordinary ones, one for each phase of its stride.
 *
 * It scatters: input i adds x[i] * w[k] to output i * stride - padding + k * dilation. Seen from an output, that is a
 * sum over those taps k that hit it; and outputs `stride` apart are hit by the same ones. In one dimension, stride 2,
 * kernel a b c, padding 0:
 *
 *     inputs            0     1     2     3              phase 0, outputs 0 2 4 ..   taps a, c:   x[q] a + x[q-1] c
 *                      /|\   /|\   /|\   /|\             phase 1, outputs 1 3 5 ..   tap b:       x[q] b
 *                     a b c a b c a b c a b c
 *                     | | |/  | |/  | |/  | |            Each is a convolution of stride 1 with a part of the kernel,
 *     outputs         0 1 2   3 4   5 6   7 8            read backwards: x[q-1] c + x[q] a.
 *
 * So output q of a phase lies at out_step * q + out_first, and its tap t reads the input at
 * in_step * q + origin + t * tap_step. An ordinary convolution is one phase that fits the same two lines. */
#include "framework.h"

int nq_phase_count(const nq_conv_shape *s) {
    return s->transposed ? s->stride[0] * s->stride[1] * s->stride[2] : 1;
}

nq_axis nq_phase_axis(const nq_conv_shape *s, int32_t phase, int axis) {
    const int64_t stride = s->stride[axis], dilation = s->dilation[axis], padding = s->padding[axis];
    if (!s->transposed)
        return (nq_axis){.taps = s->kernel[axis], .step = 1, .in_step = stride, .origin = -padding,
                         .tap_step = dilation, .out_step = 1};
    for (int inner = 2; inner > axis; inner--)
        phase /= s->stride[inner];
    const int64_t residue = phase % stride;              /* of output + padding, and of k * dilation, modulo stride */
    nq_axis a = {.in_step = 1, .out_step = stride};
    for (int64_t k = s->kernel[axis] - 1; k >= 0; k--)
        if (k * dilation % stride == residue) {
            if (a.taps == 0)
                a.first = k;
            else if (a.taps == 1)
                a.step = k - a.first;
            a.taps++;
        }
    const int64_t cut = nq_max(nq_ceil_div(padding - residue + stride, stride) - 1, 0);      /* by the padding */
    a.tap_step = -a.step * dilation / stride;
    a.origin = cut - (a.taps ? (a.first * dilation - residue) / stride : 0);
    a.out_first = cut * stride + residue - padding;
    return a;
}

nq_filter nq_phase_filter(const nq_conv_shape *s, int32_t phase) {
    nq_filter f = {.axis = {nq_phase_axis(s, phase, 0), nq_phase_axis(s, phase, 1), nq_phase_axis(s, phase, 2)}};
    f.pixels = f.axis[0].taps * f.axis[1].taps * f.axis[2].taps;
    return f;
}

int64_t nq_out_size(const nq_conv_shape *s, int axis, int64_t size) {
    const int64_t span = (int64_t)s->dilation[axis] * (s->kernel[axis] - 1) + 1;
    const int64_t padding = 2 * (int64_t)s->padding[axis];
    if (s->transposed)
        return size == 0 ? 0 : nq_max((size - 1) * s->stride[axis] + span + s->output_padding[axis] - padding, 0);
    return size + padding < span ? 0 : (size + padding - span) / s->stride[axis] + 1;
}
