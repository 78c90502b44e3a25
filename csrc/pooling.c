/* pooling.c: which taps each output pixel of a pooling layer reads.
 *
 *     sliding    start = o * stride - padding, taps at start, start + dilation ...; what lies outside the image is cut off
 *     adaptive   floor(o * size / out) .. ceil((o + 1) * size / out)
 *
 * In a mean, cut-off taps are worth 0 and count if padding does, as far as the padding reaches. */
#include "framework.h"
#include "numerics.h"

#include <stddef.h>

enum { MAX_TAPS = 65535 };

typedef struct {
    const nq_pooling *p;
    const nq_rows *rows;
    nq_target target;
    const uint8_t *x;
    uint8_t *y;
} pass;

/* Along one axis: the first tap, the taps inside the image, and those that count in a mean. */
typedef struct {
    int64_t first, taps, counted;
} span;

static int64_t taps_in(int64_t length, int64_t dilation) {
    return dilation == 1 ? length : nq_ceil_div(length, dilation);       /* divisions would be felt */
}

static span span_of(const nq_pooling *p, int axis, int64_t o) {
    const int64_t size = p->size[axis], out = p->out[axis], dilation = p->dilation[axis];
    if (p->adaptive) {
        const int64_t first = o * size / out, taps = nq_ceil_div((o + 1) * size, out) - first;
        return (span){first, taps, taps};
    }
    const int64_t start = o * p->stride[axis] - p->padding[axis];
    const int64_t skipped = start < 0 ? taps_in(-start, dilation) : 0, first = start + skipped * dilation;
    const int64_t inside = first < size ? taps_in(size - first, dilation) : 0;
    const int64_t taps = nq_max(nq_min(p->kernel[axis] - skipped, inside), 0);
    const int64_t reach = nq_min(p->kernel[axis], size + p->padding[axis] - start);
    return (span){first, taps, p->include_padding ? reach : taps};
}

/* A mean over more taps than float32 counts exactly; double does. */
static void average_large(const pass *s, const nq_window *w, int64_t channels, double divisor, uint8_t *y) {
    for (int64_t c = 0; c < channels; c++) {
        int64_t sum = -w->height * w->width * s->target.zero_point;
        for (int64_t i = 0; i < w->height; i++)
            for (int64_t j = 0; j < w->width; j++)
                sum += w->x[i * w->line_stride + j * w->pixel_stride + c] ^ s->target.flip;
        const int64_t mean = nq_rint64((double)sum / divisor), lo = -s->target.zero_point, hi = 255 + lo;
        y[c] = (uint8_t)((nq_min(nq_max(mean, lo), hi) - lo) ^ s->target.flip);
    }
}

/* `pixels` windows with equal taps, one stride apart. Where one pixel follows the other they are one long pixel. */
static void pool_pixels(const pass *s, const uint8_t *image, span rows, span columns, int64_t pixels, uint8_t *y) {
    const nq_pooling *p = s->p;
    const int64_t line = p->size[1] * p->channels, channels = p->stride[1] == 1 ? pixels * p->channels : p->channels;
    const int64_t divisor = p->divisor ? p->divisor : nq_max(rows.counted * columns.counted, 1);
    nq_window w = {
        .x = rows.taps && columns.taps ? image + rows.first * line + columns.first * p->channels : image,
        .height = columns.taps ? rows.taps : 0,
        .width = columns.taps,
        .line_stride = line * p->dilation[0],
        .pixel_stride = p->channels * p->dilation[1],
    };
    for (const uint8_t *end = y + pixels * p->channels; y < end; y += channels, w.x += p->stride[1] * p->channels)
        if (!p->average)
            s->rows->max_window(&w, channels, s->target.flip, y);
        else if (divisor > MAX_TAPS || w.height * w.width > MAX_TAPS)
            average_large(s, &w, channels, (double)divisor, y);
        else
            s->rows->average_window(&w, channels, &s->target, (float)divisor, y);
}

/* Item i is line i of the output, counted over all images. */
static void pool_line(void *context, int64_t item) {
    const pass *s = context;
    const nq_pooling *p = s->p;
    const uint8_t *image = s->x + item / p->out[0] * p->size[0] * p->size[1] * p->channels;
    const span rows = span_of(p, 0, item % p->out[0]);
    const int64_t last = p->size[1] - 1 - ((int64_t)p->kernel[1] - 1) * p->dilation[1];  /* first tap of a whole window */
    for (int64_t o = 0, count; o < p->out[1]; o += count) {
        const span first = span_of(p, 1, o);
        count = 1;
        if (!p->adaptive && first.taps == p->kernel[1])
            count = nq_min((last - first.first) / p->stride[1] + 1, p->out[1] - o);
        pool_pixels(s, image, rows, first, count, s->y + (item * p->out[1] + o) * p->channels);
    }
}

static int pooling_is_sane(const nq_pooling *p) {
    int64_t in = p->batch, out = p->batch;
    if (p->batch < 0 || p->channels < 0 || p->divisor < 0 ||
        !nq_grid_is_sane(&(nq_grid){1.0f, p->zero_point, p->dtype}))
        return 0;
    for (int axis = 0; axis < 2; axis++) {
        const int sliding = p->kernel[axis] > 0 && p->stride[axis] > 0 && p->padding[axis] >= 0 && p->dilation[axis] > 0;
        const int fits = sliding && ((int64_t)p->out[axis] - 1) * p->stride[axis] < (int64_t)p->size[axis] + p->padding[axis];
        if (p->size[axis] < 1 || p->out[axis] < 1 || (!p->adaptive && !fits) || (p->adaptive && p->dilation[axis] != 1) ||
            (p->average && p->dilation[axis] != 1) || __builtin_mul_overflow(in, p->size[axis], &in) ||
            __builtin_mul_overflow(out, p->out[axis], &out))
            return 0;
    }
    return !__builtin_mul_overflow(in, p->channels, &in) && !__builtin_mul_overflow(out, p->channels, &out) &&
           in <= INT64_MAX / 8 && out <= INT64_MAX / 8;
}

nq_status nq_pool(int isa, const nq_pooling *p, const void *x, void *y) {
    const nq_isa *found = nq_find_isa(isa);
    if (found == NULL || !pooling_is_sane(p))
        return NQ_BAD_ARGUMENT;
    const nq_grid grid = {1.0f, p->zero_point, p->dtype};
    const int32_t low = p->dtype == NQ_S8 ? -128 : 0;
    pass s = {.p = p, .rows = found->rows, .target = nq_target_of(&grid, low, low + 255),
              .x = x, .y = y};
    const int64_t lines = (int64_t)p->batch * p->out[0];
    const int64_t taps = p->adaptive ? 1 : (int64_t)p->kernel[0] * p->kernel[1];
    const int64_t reads = nq_max((int64_t)p->batch * p->size[0] * p->size[1], lines * p->out[1] * taps) * p->channels;
    nq_for(reads >= 1 << 18, p->channels ? lines : 0, pool_line, &s);
    return NQ_OK;
}
