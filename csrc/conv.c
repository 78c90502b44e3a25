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
 *       |  . . . . . . . . . . . . . . . |      One axis more, for depth, changes nothing; one or two fewer have size 1.
 *       +--------------------------------+
 *
 * An input whose padding is read is copied once into such a haloed workspace, a few images at a time, so that the copy
 * is still in the cache when it is read; the phases of a transposed convolution (phase.c) share it. So is an int8 input,
 * whose sign bit the copy flips. Any other is read where it lies.
 *
 * Micro-kernels read whole quads, or 16 bytes (nq_run_read), and so some beyond a run. The workspace has slack for that. In
 * a foreign array those bytes may lie beyond its end, for the last few rows: these are read from a copy of the array's tail.
 *
 * The input of a depthwise layer (dwconv.c), or of one in patches (patches.c), gets no halo: in place of tap offsets, its
 * workspace holds a line of zero points.
 *
 * The workspace:   [ tap offsets ] [ haloed images or tail | slack ] [ patches ] [ row sums ]                         */
#include "framework.h"

#include <string.h>

enum { ALIGNMENT = 64, SLACK = 64, PASS_BYTES = 1 << 20, COPY_LINES = 16 };

typedef struct {
    const nq_packed *packed;                         /* one for each phase */
    const nq_epilogue *epilogue;
    int phases;
    int64_t batch, size[3], channels;                /* of x */
    int64_t before[3], padded[3];                    /* padding in front, and the size with all padding */
    int64_t out_size[3];
    int copies;                                      /* the input goes through the workspace */
    int64_t images;                                  /* in one pass */
    int64_t image_bytes;                             /* as the product reads it: padded, if copied */
    int64_t taps_bytes, input_bytes, patches_bytes, sums_bytes;      /* sections of the workspace */
} geometry;

/* Whether a layer's input needs no halo, and its workspace a line of zero points in place of tap offsets. */
static int in_place(const nq_packed *p) { return p->depthwise || p->pieces; }

/* A phase's outputs along an axis. */
static int64_t phase_size(const nq_axis *a, int64_t out_size) {
    return out_size <= a->out_first ? 0 : (out_size - 1 - a->out_first) / a->out_step + 1;
}

/* The padding that some output reads, which may be less than the layer's. */
static void measure_axis(geometry *g, int axis) {
    const nq_conv_shape *s = &g->packed->shape;
    int64_t end = g->size[axis];
    g->out_size[axis] = nq_out_size(s, axis, g->size[axis]);
    g->padded[axis] = end;
    if (in_place(g->packed))
        return;
    for (int phase = 0; phase < g->phases; phase++) {
        const nq_axis a = nq_phase_axis(s, phase, axis);
        const int64_t outputs = phase_size(&a, g->out_size[axis]);
        if (outputs > 0 && a.taps > 0) {
            g->before[axis] = nq_max(g->before[axis], -a.origin);
            end = nq_max(end, a.in_step * (outputs - 1) + a.origin + a.tap_step * (a.taps - 1) + 1);
        }
    }
    g->padded[axis] = g->before[axis] + end;
}

/* images * size * pixel, each taken as at least 1; INT64_MAX when it is larger. */
static int64_t volume(int64_t images, const int64_t size[3], int64_t pixel) {
    int64_t v = nq_max(images, 1);
    const int64_t factors[4] = {size[0], size[1], size[2], pixel};
    for (int i = 0; i < 4; i++)
        if (__builtin_mul_overflow(v, nq_max(factors[i], 1), &v))
            return INT64_MAX;
    return v;
}

static int64_t tap_offset(const geometry *g, const nq_filter *f, int64_t taps, int64_t tap) {
    int64_t offset = 0, size = g->channels;
    const int64_t counts[3] = {f->axis[0].taps, f->axis[1].taps, taps / (f->axis[0].taps * f->axis[1].taps)};
    for (int a = 2; a >= 0; a--) {
        offset += tap % counts[a] * f->axis[a].tap_step * size;
        tap /= counts[a];
        size *= g->padded[a];
    }
    return offset;
}

static int reads_beyond(const nq_packed *p) { return p->taps > 0 && nq_run_read(p) > p->run; }

/* From a row's base to the end of what is read. */
static int64_t reach(const geometry *g, const nq_packed *p) {
    const nq_filter f = nq_phase_filter(&p->shape, p->phase);
    return tap_offset(g, &f, p->taps, p->taps - 1) + nq_run_read(p) +
           (int64_t)(p->blocks - 1) * (g->channels / p->blocks);
}

/* 0 when a size is impossible. */
static int measure(geometry *g, const nq_layer *layer) {
    const nq_packed *p = layer->packed;
    const nq_epilogue *e = layer->epilogue;
    const int32_t batch = layer->batch, *size = layer->size;
    if (batch < 0 || size[0] < 0 || size[1] < 0 || size[2] < 0)
        return 0;
    *g = (geometry){.packed = p, .epilogue = e, .batch = batch, .size = {size[0], size[1], size[2]}};
    g->phases = nq_phase_count(&p->shape);
    g->channels = p->shape.in_channels;
    g->copies = e->x_flip != 0 || (p->depthwise && nq_dwconv_overreads(p));
    for (int axis = 0; axis < 3; axis++) {
        measure_axis(g, axis);
        g->copies |= g->padded[axis] > g->size[axis];
    }
    const int64_t outputs = 4 * (int64_t)nq_max(p->shape.out_channels, p->blocks);
    if (volume(batch, g->padded, g->channels) > INT64_MAX / 4 || volume(batch, g->out_size, outputs) > INT64_MAX / 4)
        return 0;
    g->image_bytes = g->padded[0] * g->padded[1] * g->padded[2] * g->channels;
    g->images = g->copies ? nq_min(batch, nq_max(PASS_BYTES / nq_max(g->image_bytes, 1), 1)) : batch;
    if (g->copies)
        g->input_bytes = nq_round_up(g->images * g->image_bytes + SLACK, ALIGNMENT);
    for (int phase = 0; phase < g->phases; phase++) {
        if (p[phase].phase != phase)
            return 0;
        if (in_place(p)) {
            g->taps_bytes = nq_round_up(g->size[2] * g->channels + SLACK, ALIGNMENT);
            continue;
        }
        if (p[phase].taps > 1)
            g->taps_bytes = nq_max(g->taps_bytes, nq_round_up((int64_t)p[phase].taps * 8, ALIGNMENT));
        if (!g->copies && reads_beyond(p + phase))
            g->input_bytes = nq_max(g->input_bytes, nq_round_up(reach(g, p + phase) + SLACK, ALIGNMENT));
    }
    if (p->pieces)
        g->patches_bytes = nq_round_up(nq_patches_size(p, g->out_size[2]), ALIGNMENT);
    if (p->zero_point && !p->depthwise)
        g->sums_bytes = nq_round_up(g->images * g->out_size[0] * g->out_size[1] * g->out_size[2] * p->blocks * 4,
                                    ALIGNMENT);
    return 1;
}

static int64_t workspace_size(const geometry *g) {
    return g->taps_bytes + g->input_bytes + g->patches_bytes + g->sums_bytes;
}

int64_t nq_conv_workspace(const nq_layer *layer) {
    geometry g;
    return measure(&g, layer) ? workspace_size(&g) : -1;
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
    if (flip == 0) {
        memcpy(to, from, (size_t)count);
        return;
    }
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
    const int64_t line_bytes = g->size[2] * g->channels, padded_bytes = g->padded[2] * g->channels;
    const int64_t left = g->before[2] * g->channels, right = padded_bytes - left - line_bytes;
    const int64_t end = nq_min((item + 1) * COPY_LINES, g->images * g->padded[0] * g->padded[1]);
    for (int64_t i = item * COPY_LINES; i < end; i++) {
        const int64_t plane = i / g->padded[1], image = plane / g->padded[0];
        const int64_t z = plane % g->padded[0] - g->before[0], y = i % g->padded[1] - g->before[1];
        uint8_t *to = c->to + i * padded_bytes;
        if (z < 0 || z >= g->size[0] || y < 0 || y >= g->size[1]) {
            memset(to, g->epilogue->x_zero_point, (size_t)padded_bytes);
            continue;
        }
        memset(to, g->epilogue->x_zero_point, (size_t)left);
        copy_bytes(to + left, c->from + ((image * g->size[0] + z) * g->size[1] + y) * line_bytes, line_bytes,
                   g->epilogue->x_flip);
        memset(to + left + line_bytes, g->epilogue->x_zero_point, (size_t)right);
    }
}

/* One phase's product over `images` images at `in`, with outputs interleaved at `out`. */
static nq_gemm product_of(const geometry *g, int phase, int64_t images, const uint8_t *in, uint8_t *out,
                          int64_t *taps) {
    const nq_packed *p = g->packed + phase;
    const nq_filter f = nq_phase_filter(&p->shape, phase);
    static const int64_t no_offset = 0;
    nq_gemm m = {.packed = p, .epilogue = g->epilogue + phase, .base = in, .out = out, .rows = images};
    m.taps = p->taps > 1 ? taps : &no_offset;
    int64_t in_size = g->channels, out_size = p->shape.out_channels * nq_element(m.epilogue);
    for (int a = 2; a >= 0; a--) {
        const nq_axis axis = f.axis[a];
        m.base += (g->before[a] + axis.origin) * in_size;
        m.out += axis.out_first * out_size;
        m.in_stride[a + 1] = axis.in_step * in_size;
        m.out_stride[a + 1] = axis.out_step * out_size;
        m.out_size[a] = phase_size(&axis, g->out_size[a]);
        m.rows *= m.out_size[a];
        in_size *= g->padded[a];
        out_size *= g->out_size[a];
    }
    m.in_stride[0] = in_size;
    m.out_stride[0] = out_size;
    for (int a = 1; a >= 0 && m.in_stride[a + 1] == m.out_size[2] * m.in_stride[3] &&
                    m.out_stride[a + 1] == m.out_size[2] * m.out_stride[3]; a--) {
        m.out_size[2] *= m.out_size[a];  /* lines that follow each other without a gap are one */
        m.out_size[a] = 1;
    }
    m.tail_row = m.rows;
    for (int64_t tap = 0; tap < p->taps && p->taps > 1; tap++)       /* a single run starts at the row's base */
        taps[tap] = tap_offset(g, &f, p->taps, tap);
    return m;
}

/* Rows that would be read beyond the end of the array; their bytes are copied to where that may be read. */
static void divert_tail(nq_gemm *m, const uint8_t *end, int64_t reach_, uint8_t *tail) {
    while (m->tail_row > 0 && end - nq_row(m, m->tail_row - 1) < reach_)
        m->tail_row--;
    if (m->tail_row == m->rows)
        return;
    m->tail = tail;
    m->tail_start = nq_row(m, m->tail_row);
    memcpy(tail, m->tail_start, (size_t)(end - m->tail_start));
}

static void run_in_place(const geometry *g, const uint8_t *in, uint8_t *out, uint8_t *workspace) {
    nq_in_place layer = {.packed = g->packed, .epilogue = g->epilogue, .images = g->images, .in = in, .out = out};
    uint8_t *patches = workspace + g->taps_bytes + g->input_bytes;
    layer.zeros = memset(workspace, g->epilogue->x_zero_point, (size_t)g->taps_bytes);
    memcpy(layer.size, g->size, sizeof layer.size);
    memcpy(layer.out_size, g->out_size, sizeof layer.out_size);
    if (g->packed->depthwise)
        nq_dwconv_run(&layer);
    else
        nq_patches_run(&layer, patches, (int32_t *)(patches + g->patches_bytes));
}

nq_status nq_conv(const nq_layer *layer, const void *x, void *y, void *workspace, int64_t workspace_bytes) {
    geometry g;
    const nq_packed *p = layer->packed;
    if (!measure(&g, layer) || nq_find_isa(p->isa) == NULL)
        return NQ_BAD_ARGUMENT;
    const int64_t out_pixel = p->shape.out_channels * nq_element(layer->epilogue);
    const int64_t image_outputs = g.out_size[0] * g.out_size[1] * g.out_size[2] * out_pixel;
    if (g.batch * image_outputs == 0)
        return NQ_OK;
    if (x == NULL || y == NULL)
        return NQ_BAD_ARGUMENT;
    uint8_t nothing;                     /* where sections without bytes lie */
    if (workspace_bytes < workspace_size(&g) || (workspace == NULL && workspace_bytes > 0))
        return NQ_WORKSPACE;
    if (workspace == NULL)
        workspace = &nothing;
    const int64_t x_image = g.size[0] * g.size[1] * g.size[2] * g.channels;
    uint8_t *input = (uint8_t *)workspace + g.taps_bytes;
    for (int64_t first = 0; first < g.batch; first += g.images) {
        g.images = nq_min(g.images, g.batch - first);
        const uint8_t *in = (const uint8_t *)x + first * x_image;
        if (g.copies) {
            copying c = {.g = &g, .from = in, .to = input};
            nq_for(g.images * g.image_bytes >= PASS_BYTES / 4,
                   nq_ceil_div(g.images * g.padded[0] * g.padded[1], COPY_LINES), copy_lines, &c);
        }
        if (in_place(p))
            run_in_place(&g, g.copies ? input : in, (uint8_t *)y + first * image_outputs, workspace);
        for (int phase = 0; phase < g.phases && !in_place(p); phase++) {
            nq_gemm m = product_of(&g, phase, g.images, g.copies ? input : in, (uint8_t *)y + first * image_outputs,
                                   workspace);
            m.row_sums = (int32_t *)(input + g.input_bytes + g.patches_bytes);
            if (!g.copies && reads_beyond(p + phase))
                divert_tail(&m, in + g.images * x_image, reach(&g, p + phase), input);
            nq_gemm_run(&m);
        }
    }
    return NQ_OK;
}
