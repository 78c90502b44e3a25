/* conv.c: a convolution is a product whose rows overlap.
 *
 * In a channels-last image, output pixel (y, x) reads, for each tap, bytes at a fixed distance from one base pointer:
 *
 *      base = image + (y * stride_h * width + x * stride_w) * channels           taps[t] = where run t starts, from base
 *
 *       +--------------------------------+
 *       |  . . . . . . . . . . . . . . . |      haloed image: padding is real memory that holds the zero point,
 *       |  . # # # # # # # # # # # # # . |      since the *real* value 0 is what padding means. So no tap of any
 *       |  . #[0 0 0]# # # # # # # # # . |      pixel needs a test, and the sums of weights folded into `init`
 *       |  . #[1 1 1]# # # # # # # # # . |      hold at the borders too.
 *       |  . #[2 2 2]# # # # # # # # # . |
 *       |  . . . . . . . . . . . . . . . |
 *       +--------------------------------+
 *
 * A padded input is copied once into such a haloed workspace, a few images at a time, so that the copy is still in the
 * cache when it is read. So is an int8 input, whose sign bit the copy flips. Any other input is read where it lies.
 *
 * Micro-kernels read whole quads, up to three bytes beyond a run. The workspace has slack for that. In a foreign array
 * those bytes may lie beyond its end, for the last few rows: these are read from a copy of the array's tail.
 *
 * A depthwise layer's input gets no halo (dwconv.c): in place of tap offsets, its workspace holds a line of zero points.
 *
 * The workspace:   [ tap offsets ] [ haloed images or tail | slack ] [ row sums ]                                     */
#include "framework.h"

#include <string.h>

enum { ALIGNMENT = 64, SLACK = 64, PASS_BYTES = 1 << 20, COPY_LINES = 16 };

typedef struct {
    const nq_packed *packed;
    const nq_epilogue *epilogue;
    int64_t batch, height, width, channels;          /* of x */
    int64_t halo[2], padded_height, padded_width, out_height, out_width;
    int copies;                                      /* the input goes through the workspace */
    int64_t images;                                  /* in one pass */
    int64_t image_bytes;                             /* as the product reads it: padded, if copied */
    int64_t reach;                                   /* from a row's base to the end of its last quad */
    int64_t taps_bytes, input_bytes, sums_bytes;     /* sections of the workspace */
} geometry;

static int64_t out_size(int64_t padded, int64_t kernel, int64_t stride, int64_t dilation) {
    const int64_t span = dilation * (kernel - 1) + 1;
    return padded < span ? 0 : (padded - span) / stride + 1;
}

static int64_t tap_offset(const geometry *g, int64_t tap) {
    const nq_conv_shape *s = &g->packed->shape;
    const int64_t taps_per_line = g->packed->taps / s->kernel[0];
    const int64_t y = tap / taps_per_line * s->dilation[0], x = tap % taps_per_line * s->dilation[1];
    return (y * g->padded_width + x) * g->channels;
}

static int64_t row_offset(const geometry *g, int64_t row) {
    const nq_conv_shape *s = &g->packed->shape;
    const int64_t x = row % g->out_width * s->stride[1], y = row / g->out_width % g->out_height * s->stride[0];
    return row / g->out_width / g->out_height * g->image_bytes + (y * g->padded_width + x) * g->channels;
}

/* 0 when a size is impossible. */
static int measure(geometry *g, const nq_packed *p, const nq_epilogue *e, int64_t batch, int64_t height, int64_t width) {
    const nq_conv_shape *s = &p->shape;
    if (batch < 0 || height < 0 || width < 0)
        return 0;
    *g = (geometry){.packed = p, .epilogue = e, .batch = batch, .height = height, .width = width};
    g->channels = s->in_channels;
    g->halo[0] = p->depthwise ? 0 : s->padding[0];
    g->halo[1] = p->depthwise ? 0 : s->padding[1];
    g->padded_height = height + 2 * g->halo[0];
    g->padded_width = width + 2 * g->halo[1];
    g->out_height = out_size(height + 2 * (int64_t)s->padding[0], s->kernel[0], s->stride[0], s->dilation[0]);
    g->out_width = out_size(width + 2 * (int64_t)s->padding[1], s->kernel[1], s->stride[1], s->dilation[1]);
    int64_t pixels, all;
    if (__builtin_mul_overflow(g->padded_height, g->padded_width, &pixels) ||
        __builtin_mul_overflow(pixels, g->channels, &g->image_bytes) ||
        __builtin_mul_overflow(nq_max(pixels, g->image_bytes), nq_max(batch, 1) * 4, &all) ||
        __builtin_mul_overflow(all, (int64_t)p->blocks, &all) || all > INT64_MAX / 2)
        return 0;
    g->copies = g->halo[0] > 0 || g->halo[1] > 0 || e->x_flip != 0 || (p->depthwise && nq_dwconv_overreads(p));
    g->images = batch;
    if (g->copies)
        g->images = nq_min(batch, nq_max(PASS_BYTES / nq_max(g->image_bytes, 1), 1));
    g->reach = tap_offset(g, p->taps - 1) + nq_round_up(p->run, NQ_QUAD) +
               (int64_t)(p->blocks - 1) * (g->channels / p->blocks);
    g->taps_bytes = nq_round_up(p->depthwise ? width * g->channels + SLACK : p->taps * 8, ALIGNMENT);
    if (g->copies)
        g->input_bytes = nq_round_up(g->images * g->image_bytes + SLACK, ALIGNMENT);
    else if (p->run % NQ_QUAD != 0 && !p->depthwise)
        g->input_bytes = nq_round_up(g->reach + SLACK, ALIGNMENT);
    if (p->zero_point && !p->depthwise)
        g->sums_bytes = nq_round_up(g->images * g->out_height * g->out_width * p->blocks * 4, ALIGNMENT);
    return 1;
}

int64_t nq_conv_workspace(const nq_packed *packed, const nq_epilogue *epilogue, int32_t batch, int32_t height,
                          int32_t width) {
    geometry g;
    return measure(&g, packed, epilogue, batch, height, width) ? g.taps_bytes + g.input_bytes + g.sums_bytes : -1;
}

/* One pass's copy of its images into the halo. */
typedef struct {
    const geometry *g;
    const uint8_t *from;
    uint8_t *to;
} copying;

static void copy_bytes(uint8_t *to, const uint8_t *from, int64_t count, int32_t flip) {
    const uint64_t flips = (uint64_t)flip * 0x0101010101010101u;
    int64_t i = 0;
    for (uint64_t word; i + 8 <= count; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= flips;
        memcpy(to + i, &word, 8);
    }
    for (; i < count; i++)
        to[i] = (uint8_t)(from[i] ^ flip);
}

static void copy_lines(void *context, int64_t item) {
    const copying *c = context;
    const geometry *g = c->g;
    const int64_t line_bytes = g->width * g->channels, padded_bytes = g->padded_width * g->channels;
    const int64_t side = g->halo[1] * g->channels;
    for (int64_t i = item * COPY_LINES; i < nq_min((item + 1) * COPY_LINES, g->images * g->padded_height); i++) {
        const int64_t image = i / g->padded_height, y = i % g->padded_height - g->halo[0];
        uint8_t *to = c->to + i * padded_bytes;
        if (y < 0 || y >= g->height) {
            memset(to, g->epilogue->x_zero_point, (size_t)padded_bytes);
            continue;
        }
        memset(to, g->epilogue->x_zero_point, (size_t)side);
        copy_bytes(to + side, c->from + (image * g->height + y) * line_bytes, line_bytes, g->epilogue->x_flip);
        memset(to + side + line_bytes, g->epilogue->x_zero_point, (size_t)side);
    }
}

/* Rows whose last quad ends beyond the array; their bytes are copied to where that may be read. */
static void divert_tail(const geometry *g, nq_gemm *gemm, uint8_t *tail) {
    const int64_t end = g->batch * g->image_bytes;
    while (gemm->tail_row > 0 && row_offset(g, gemm->tail_row - 1) + g->reach > end)
        gemm->tail_row--;
    if (gemm->tail_row == gemm->rows)
        return;
    const int64_t start = row_offset(g, gemm->tail_row);
    memcpy(tail, gemm->base + start, (size_t)(end - start));
    gemm->tail = tail;
    gemm->tail_start = gemm->base + start;
}

static void run_depthwise(const geometry *g, const uint8_t *in, const uint8_t *zeros, uint8_t *out) {
    const nq_dwconv d = {.packed = g->packed, .epilogue = g->epilogue, .images = g->images, .height = g->height,
                         .width = g->width, .out_height = g->out_height, .out_width = g->out_width,
                         .in = in, .zeros = zeros, .out = out};
    nq_dwconv_run(&d);
}

nq_status nq_conv(const nq_packed *p, const nq_epilogue *e, const void *x, int32_t batch, int32_t height, int32_t width,
                  void *y, void *workspace, int64_t workspace_bytes) {
    geometry g;
    if (!measure(&g, p, e, batch, height, width) || nq_find_isa(p->isa) == NULL)
        return NQ_BAD_ARGUMENT;
    if (g.batch * g.out_height * g.out_width == 0 || p->shape.out_channels == 0)
        return NQ_OK;
    if (x == NULL || y == NULL)
        return NQ_BAD_ARGUMENT;
    if (workspace == NULL || workspace_bytes < g.taps_bytes + g.input_bytes + g.sums_bytes)
        return NQ_WORKSPACE;
    int64_t *taps = workspace;
    if (p->depthwise)
        memset(workspace, e->x_zero_point, (size_t)g.taps_bytes);
    for (int64_t tap = 0; tap < p->taps && !p->depthwise; tap++)
        taps[tap] = tap_offset(&g, tap);
    uint8_t *input = (uint8_t *)workspace + g.taps_bytes;
    const int64_t pixel = p->shape.out_channels * nq_element(e);
    nq_gemm gemm = {
        .packed = p,
        .epilogue = e,
        .taps = taps,
        .in_stride = {g.image_bytes, 0, p->shape.stride[0] * g.padded_width * g.channels,
                      p->shape.stride[1] * g.channels},
        .out_stride = {g.out_height * g.out_width * pixel, 0, g.out_width * pixel, pixel},
        .out_size = {1, g.out_height, g.out_width},
        .row_sums = (int32_t *)(input + g.input_bytes),
    };
    for (int64_t first = 0; first < batch; first += g.images) {
        g.images = nq_min(g.images, batch - first);
        gemm.base = (const uint8_t *)x + first * g.height * g.width * g.channels;
        gemm.out = (uint8_t *)y + first * gemm.out_stride[0];
        gemm.rows = gemm.tail_row = g.images * g.out_height * g.out_width;
        if (g.copies) {
            copying c = {.g = &g, .from = gemm.base, .to = input};
            nq_for(g.images * g.image_bytes >= PASS_BYTES / 4, nq_ceil_div(g.images * g.padded_height, COPY_LINES),
                   copy_lines, &c);
            gemm.base = input;
        } else if (!p->depthwise) {
            divert_tail(&g, &gemm, input);
        }
        if (p->depthwise)
            run_depthwise(&g, gemm.base, workspace, gemm.out);
        else
            nq_gemm_run(&gemm);
    }
    return NQ_OK;
}
