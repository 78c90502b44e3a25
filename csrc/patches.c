/* patches.c: the product over patches, for layers whose input has a few channels.
 *
 * A network's first layer has up to three input channels: a line of its 3x3 filter is a run of 9 bytes, which costs three
 * quads of 4, and three such lines cost 9 quads where the 27 bytes of a patch fit in 7. So the lines that a line of output
 * reads are interleaved, pixel by pixel. Then a patch is one run, and shares what overlaps with its neighbours:
 *
 *     lines of the image       interleaved, a column for each pixel
 *       a a a a a a              . . .  a b c  a b c  a b c  a b c  a b c  a b c  . . .       . = padding, zero points
 *       b b b b b b              [    patch 0      ]
 *       c c c c c c                            [    patch 1      ]   with stride 2
 *
 * Padding is written here, so that the image needs no halo. Some lines of output are prepared at a time, so that they are
 * still in the cache when they are read. A strided 1x1 filter that many strips read has its pixels picked in the same way,
 * a column for each. nq_pack_sizes decides who pays for that. */
#include "framework.h"

#include <string.h>

enum { PASS_BYTES = 1 << 17 };

typedef struct {
    const nq_in_place *layer;
    nq_interleaver *kernel;
    nq_interleaving how;
    int64_t step;                /* from one interleaved column to the next, in pixels of the image */
    int64_t columns;             /* in a line */
    int64_t column_bytes, line_bytes;
    int64_t first;               /* line of output that comes first in this pass */
    uint8_t *to;
} plan;

/* But for `layer`, `kernel` and `to`. */
static plan plan_of(const nq_packed *p, int64_t out_width) {
    const int64_t kernel = p->shape.kernel[2], stride = p->shape.stride[2], pixel = p->shape.in_channels;
    plan n = {.step = kernel == 1 ? stride : 1};
    n.columns = (out_width - 1) * stride / n.step + kernel;
    n.column_bytes = p->pieces * pixel;
    n.line_bytes = n.columns * n.column_bytes + p->pieces * NQ_VECTOR;      /* room for what a block has too much */
    return n;
}

static int64_t pass_lines(const plan *n) { return nq_max(PASS_BYTES / n->line_bytes, 1); }

int64_t nq_patches_size(const nq_packed *p, int64_t out_width) {
    const plan n = plan_of(p, out_width);
    return pass_lines(&n) * n.line_bytes;
}

static void set_pattern(nq_interleaving *how, int64_t height, int64_t pixel) {
    uint8_t to = 0;
    how->height = height;
    how->bytes = NQ_VECTOR / pixel * pixel;
    memset(how->pattern, 0x80, sizeof how->pattern);
    for (int64_t from = 0; from < how->bytes; from += pixel)
        for (int64_t i = 0; i < height; i++)
            for (int64_t byte = 0; byte < pixel; byte++, to++)
                how->pattern[to / NQ_VECTOR][i][to % NQ_VECTOR] = (uint8_t)(from + byte);
}

/* `columns` columns from where the lines begin: in blocks, while these do not read beyond `readable` bytes, then pixels. */
static void interleave(const plan *n, const uint8_t *const *lines, int64_t columns, int64_t readable, uint8_t *to) {
    const int64_t pixel = n->layer->packed->shape.in_channels, pieces = n->layer->packed->pieces;
    int64_t column = 0;
    if (n->kernel) {
        const int64_t whole = readable < NQ_VECTOR ? 0 : (readable - NQ_VECTOR) / n->how.bytes + 1;
        const int64_t blocks = nq_min(nq_ceil_div(columns * pixel, n->how.bytes), whole);
        n->kernel(&n->how, lines, blocks, to);
        column = blocks * n->how.bytes / pixel;
        to += column * n->column_bytes;
    }
    for (; column < columns; column++)
        for (int64_t i = 0; i < pieces; i++, to += pixel)
            memcpy(to, lines[i] + column * n->step * pixel, (size_t)pixel);
}

/* What one line of output reads. */
static void prepare_line(void *context, int64_t item) {
    const plan *n = context;
    const nq_in_place *l = n->layer;
    const nq_conv_shape *s = &l->packed->shape;
    const int64_t *size = l->size, line = n->first + item, plane = line / l->out_size[1], image = plane / l->out_size[0];
    const int64_t front = (plane - image * l->out_size[0]) * s->stride[0] - s->padding[0];
    const int64_t top = (line - plane * l->out_size[1]) * s->stride[1] - s->padding[1];
    const int64_t before = nq_min(nq_ceil_div(s->padding[2], n->step), n->columns);
    const int64_t left = before * n->step - s->padding[2];       /* pixel of the first column inside the image */
    const int64_t inside = nq_max(nq_min(nq_ceil_div(size[2] - left, n->step), n->columns - before), 0);
    const uint8_t *lines[NQ_MAX_LINES], **next = lines;
    int64_t z = 0, y = 0;
    for (int32_t i = 0; i < s->kernel[0]; i++)
        for (int32_t j = 0; j < s->kernel[1]; j++) {
            z = front + i * s->dilation[0], y = top + j * s->dilation[1];
            *next++ = nq_line(l, image, z, y) + left * s->in_channels;
        }
    const int64_t last = (image * size[0] + nq_min(z, size[0] - 1)) * size[1] + nq_min(y, size[1] - 1);
    const int64_t line_bytes = size[2] * s->in_channels, behind = (l->images * size[0] * size[1] - 1 - last) * line_bytes;
    const int64_t readable = line_bytes - left * s->in_channels + nq_min(behind, NQ_VECTOR);
    uint8_t *to = n->to + item * n->line_bytes;
    memset(to, l->epilogue->x_zero_point, (size_t)(before * n->column_bytes));
    to += before * n->column_bytes;
    interleave(n, lines, inside, readable, to);
    to += inside * n->column_bytes;
    memset(to, l->epilogue->x_zero_point, (size_t)((n->columns - before - inside) * n->column_bytes));
}

void nq_patches_run(const nq_in_place *layer, uint8_t *patches, int32_t *row_sums) {
    static const int64_t no_offset = 0;
    const nq_packed *p = layer->packed;
    const int64_t out_width = layer->out_size[2], out_pixel = p->shape.out_channels * nq_element(layer->epilogue);
    const int64_t lines = layer->images * layer->out_size[0] * layer->out_size[1];
    plan n = plan_of(p, out_width);
    n.layer = layer;
    n.to = patches;
    if (n.step == 1)
        n.kernel = nq_find_isa(p->isa)->interleave;
    if (n.kernel)
        set_pattern(&n.how, p->pieces, p->shape.in_channels);
    nq_gemm m = {.packed = p, .epilogue = layer->epilogue, .taps = &no_offset, .base = patches, .row_sums = row_sums};
    m.in_stride[2] = n.line_bytes;
    m.in_stride[3] = p->shape.stride[2] / n.step * n.column_bytes;
    m.out_stride[2] = out_width * out_pixel;
    m.out_stride[3] = out_pixel;
    m.out_size[0] = 1;
    m.out_size[2] = out_width;
    for (; n.first < lines; n.first += m.out_size[1]) {
        m.out_size[1] = nq_min(pass_lines(&n), lines - n.first);
        m.rows = m.tail_row = m.out_size[1] * out_width;
        m.out = layer->out + n.first * m.out_stride[2];
        nq_for(m.out_size[1] * n.line_bytes >= PASS_BYTES / 4, m.out_size[1], prepare_line, &n);
        nq_gemm_run(&m);
    }
}
