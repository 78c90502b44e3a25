/* slide.c: a filter slides over images of floats: what training needs besides a product of matrices.
 *
 *      image             output pixel 0, its taps        columns: a row for each output pixel
 *      +---------+       +-----+                         +---------+
 *      | a b c d |       | a b |                         | a b e f |
 *      | e f g h |       | e f |                         | b c f g |
 *      | i j k l |       +-----+                         |   ...   |
 *      +---------+
 *
 * Images are channels last, so that a letter above is a run of channels, and neighbours in a line are one longer run. Five
 * operations visit the same pairs of an output pixel and a tap; they differ in what they do with the two runs (nanoquant.h).
 * One item of work is a line of output pixels, or a whole image where operations add into the image or the filter: so every
 * sum has one order, whatever the threads. */
#include "framework.h"

#include <string.h>

enum { PARALLEL_ELEMENTS = 1 << 16 };

typedef struct {
    const nq_windows *w;
    char *image, *pixels, *filter;
    int64_t pixel_taps;          /* runs of an output pixel: its taps for columns, else 1 */
} pass;

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

/* Runs are short: a call of memcpy would take longer than the copy. */
INLINE void copy(char *to, const char *from, int64_t bytes) {
    int64_t i = 0;
    for (; i + 16 <= bytes; i += 16)
        *(four *)(to + i) = *(const four *)(from + i);
    for (; i < bytes; i += 4)
        memcpy(to + i, from + i, 4);
}

INLINE void clear(char *to, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 4)
        memset(to + i, 0, 4);
}

INLINE void add(int32_t element, char *to, const char *from, int64_t count) {
    int64_t i = 0;
    if (element == 4) {
        for (; i + 4 <= count; i += 4)
            *(four *)(to + 4 * i) += *(const four *)(from + 4 * i);
        for (; i < count; i++)
            ((float *)to)[i] += ((const float *)from)[i];
    } else {
        for (; i < count; i++)
            ((double *)to)[i] += ((const double *)from)[i];
    }
}

INLINE void multiply_add(int32_t element, char *to, const char *a, const char *b, int64_t count) {
    int64_t i = 0;
    if (element == 4) {
        for (; i + 4 <= count; i += 4)
            *(four *)(to + 4 * i) += *(const four *)(a + 4 * i) * *(const four *)(b + 4 * i);
        for (; i < count; i++)
            ((float *)to)[i] += ((const float *)a)[i] * ((const float *)b)[i];
    } else {
        for (; i < count; i++)
            ((double *)to)[i] += ((const double *)a)[i] * ((const double *)b)[i];
    }
}

/* Taps lo..hi-1 of `pixel`, of all that start at `tap`, lie in the image, from `inside` on. */
INLINE void visit(const pass *p, int op, int64_t image, int64_t pixel, int64_t tap, int64_t lo, int64_t hi, int64_t inside) {
    const nq_windows *w = p->w;
    const int64_t run = (int64_t)w->channels * w->element, step = (int64_t)w->pixel_channels * w->element;
    const int64_t taps = (int64_t)w->kernel[0] * w->kernel[1] * w->kernel[2];
    const int whole = op <= NQ_FOLD && w->dilation[2] == 1 && run == step;       /* then the taps are one run */
    char *x = p->image + inside * step, *y = p->pixels + (pixel * p->pixel_taps + (op <= NQ_FOLD ? tap + lo : 0)) * run;
    char *f = p->filter + ((op == NQ_FILTER ? image * taps : 0) + tap + lo) * run;
    if (op == NQ_UNFOLD) {
        clear(y - lo * run, lo * run);
        clear(y + (hi - lo) * run, (w->kernel[2] - hi) * run);
    }
    const int64_t count = whole ? hi > lo : hi - lo, length = whole ? (hi - lo) * w->channels : w->channels;
    for (int64_t t = 0; t < count; t++, x += step * w->dilation[2], f += run) {
        if (op == NQ_UNFOLD)
            copy(y + t * run, x, length * w->element);
        else if (op == NQ_FOLD)
            add(w->element, x, y + t * run, length);
        else if (op == NQ_CORRELATE)
            multiply_add(w->element, y, x, f, length);
        else if (op == NQ_SCATTER)
            multiply_add(w->element, x, y, f, length);
        else
            multiply_add(w->element, f, y, x, length);
    }
}

/* How many of the numbers start, start + step ... lie below `end`. */
static int64_t below(int64_t start, int64_t step, int64_t end) { return start < end ? nq_ceil_div(end - start, step) : 0; }

INLINE void slide_line(const pass *p, int op, int64_t item) {
    const nq_windows *w = p->w;
    const int64_t line = w->first + item, image = line / ((int64_t)w->out[0] * w->out[1]);
    const int64_t start0 = line / w->out[1] % w->out[0] * w->stride[0] - w->padding[0];
    const int64_t start1 = line % w->out[1] * w->stride[1] - w->padding[1];
    for (int64_t o = 0; o < w->out[2]; o++) {
        const int64_t start = o * w->stride[2] - w->padding[2];
        const int64_t lo = nq_min(below(start, w->dilation[2], 0), w->kernel[2]);
        const int64_t hi = nq_max(nq_min(below(start, w->dilation[2], w->size[2]), w->kernel[2]), lo);
        for (int64_t i = 0, tap = 0; i < w->kernel[0]; i++)
            for (int64_t j = 0; j < w->kernel[1]; j++, tap += w->kernel[2]) {
                const int64_t z = start0 + i * w->dilation[0], y = start1 + j * w->dilation[1];
                const int in = 0 <= z && z < w->size[0] && 0 <= y && y < w->size[1] && lo < hi;
                const int64_t inside = ((image * w->size[0] + z) * w->size[1] + y) * w->size[2] + start + lo * w->dilation[2];
                visit(p, op, image, item * w->out[2] + o, tap, in ? lo : 0, in ? hi : 0, in ? inside : 0);
            }
    }
}

static void unfold_item(void *context, int64_t item) { slide_line(context, NQ_UNFOLD, item); }

static void correlate_item(void *context, int64_t item) { slide_line(context, NQ_CORRELATE, item); }

/* The item-th image that has lines among those that take part. */
#define IMAGE_ITEM(name, op)                                                                                           \
    static void name(void *context, int64_t item) {                                                                    \
        const nq_windows *w = ((const pass *)context)->w;                                                              \
        const int64_t lines = (int64_t)w->out[0] * w->out[1], from = (w->first / lines + item) * lines - w->first;     \
        for (int64_t i = nq_max(from, 0); i < nq_min(from + lines, w->lines); i++)                                     \
            slide_line(context, op, i);                                                                                \
    }
IMAGE_ITEM(fold_item, NQ_FOLD)
IMAGE_ITEM(scatter_item, NQ_SCATTER)
IMAGE_ITEM(filter_item, NQ_FILTER)

int nq_windows_are_sane(const nq_windows *w) {
    int64_t image = w->pixel_channels, columns = w->channels;
    int sane = (w->element == 4 || w->element == 8) && w->batch >= 0 && w->channels > 0 && w->channels <= w->pixel_channels;
    for (int a = 0; a < 3; a++) {
        sane = sane && w->size[a] > 0 && w->out[a] > 0 && w->kernel[a] > 0 && w->stride[a] > 0 && w->padding[a] >= 0 &&
               w->dilation[a] > 0 && !__builtin_mul_overflow(image, w->size[a], &image) &&
               !__builtin_mul_overflow(columns, w->out[a], &columns) &&
               !__builtin_mul_overflow(columns, w->kernel[a], &columns);
    }
    return sane && !__builtin_mul_overflow(image, 8 * (int64_t)w->batch, &image) &&
           !__builtin_mul_overflow(columns, 8 * (int64_t)w->batch, &columns) && w->first >= 0 && w->lines >= 0 &&
           w->first + w->lines <= (int64_t)w->batch * w->out[0] * w->out[1];
}

/* Lines first..first + lines - 1 of an image of floats, to columns of their own or from them. */
#define SOME_LINES(name, op)                                                                                           \
    void name(const nq_windows *w, float *image, int64_t first, int64_t lines, float *columns) {                       \
        nq_windows part = *w;                                                                                          \
        part.first = first;                                                                                            \
        const int64_t taps = (int64_t)w->kernel[0] * w->kernel[1] * w->kernel[2];                                      \
        pass p = {.w = &part, .image = (char *)image, .pixels = (char *)columns, .pixel_taps = taps};                  \
        for (int64_t i = 0; i < lines; i++)                                                                            \
            slide_line(&p, op, i);                                                                                     \
    }
SOME_LINES(nq_unfold, NQ_UNFOLD)
SOME_LINES(nq_fold, NQ_FOLD)

nq_status nq_slide(int op, const nq_windows *w, void *x, void *pixels, void *f) {
    static void (*const items[])(void *, int64_t) = {unfold_item, fold_item, correlate_item, scatter_item, filter_item};
    if (op < NQ_UNFOLD || op > NQ_FILTER || !nq_windows_are_sane(w))
        return NQ_BAD_ARGUMENT;
    const int64_t taps = (int64_t)w->kernel[0] * w->kernel[1] * w->kernel[2], image = (int64_t)w->out[0] * w->out[1];
    const int parallel = w->lines * w->out[2] * taps * w->channels >= PARALLEL_ELEMENTS;
    const int64_t images = w->lines ? (w->first + w->lines - 1) / image - w->first / image + 1 : 0;
    pass p = {.w = w, .image = x, .pixels = pixels, .filter = f, .pixel_taps = op <= NQ_FOLD ? taps : 1};
    nq_for(parallel, op == NQ_UNFOLD || op == NQ_CORRELATE ? w->lines : images, items[op], &p);
    return NQ_OK;
}
