/* convolve.c: convolutions of floats and their gradients, for training: slide.c's columns, a few lines at a time, and the
 * product of rows_product.h, while both are in the cache.
 *
 *      image --unfold--> columns (pixels x K) . filter (K x N) --> pixels            NQ_FORWARD      K: taps * channels
 *      image <---fold--- columns (pixels x K) <-- pixels . filter^T                  NQ_BACKWARD     N: outputs
 *      image --unfold--> columns^T . pixels --> filter (K x N)                       NQ_WEIGHTS
 *
 * One item of work is a few lines; or an image, where lines add into the same pixels; or a fixed part of the batch, where
 * all add into the filter, the parts being summed in order at the end. So no thread count changes a bit. */
#include "framework.h"

#include <stdatomic.h>
#include <string.h>

enum { COLUMNS_BYTES = 1 << 16, PARTS = 8, PARTS_BYTES = 1 << 25, PAD = 16, PARALLEL = 1 << 18 };

typedef struct {
    const nq_windows *w;
    const nq_rows *rows;
    int op;
    int64_t K, N, padded, pixel_outputs;         /* padded: N, or for the backward product K, up to a multiple of PAD */
    int64_t line, lines, step, items;            /* pixels in a line, lines in all, at a time, and items */
    float *image;
    float *pixels, *filter, *room;
    int64_t threads, room_size, parts_size;      /* floats of one thread's room; of all parts of the filter, behind the rooms */
    _Atomic int64_t next;
} job;

static int64_t image_lines(const nq_windows *w) { return (int64_t)w->out[0] * w->out[1]; }

/* Fills in what does not depend on where arrays lie; returns the bytes of room. */
static int64_t plan(job *j) {
    const nq_windows *w = j->w;
    j->K = (int64_t)w->kernel[0] * w->kernel[1] * w->kernel[2] * w->channels;
    j->padded = nq_round_up(j->op == NQ_BACKWARD ? j->K : j->N, PAD);
    j->line = w->out[2];
    j->lines = image_lines(w) * w->batch;
    j->step = nq_max(1, nq_min(COLUMNS_BYTES / (4 * j->K * j->line), j->op == NQ_FORWARD ? j->lines : image_lines(w)));
    const int64_t parts = nq_max(1, nq_min(nq_min(PARTS, w->batch), PARTS_BYTES / (4 * j->K * j->N)));
    j->items = j->op == NQ_FORWARD ? nq_ceil_div(j->lines, j->step) : j->op == NQ_BACKWARD ? w->batch : parts;
    j->room_size = nq_round_up(j->step * j->line * (j->K + (j->op == NQ_WEIGHTS ? j->padded : 0)), PAD);
    j->parts_size = j->op == NQ_WEIGHTS ? parts * j->K * j->N : 0;
    j->threads = nq_get_num_threads();
    return 4 * (j->threads * j->room_size + j->parts_size);
}

/* One pass over `lines` lines from `first` on. */
static void some_lines(const job *j, int64_t first, int64_t lines, float *columns, float *filter) {
    const int64_t pixels = lines * j->line;
    float *y = j->pixels + first * j->line * j->pixel_outputs, *b = columns + pixels * j->K;
    if (j->op == NQ_FORWARD) {
        nq_unfold(j->w, j->image, first, lines, columns);
        j->rows->multiply(&(nq_product){columns, filter, y, pixels, j->K, j->N, j->K, 1, j->padded, j->pixel_outputs, 0});
    } else if (j->op == NQ_BACKWARD) {
        j->rows->multiply(&(nq_product){y, filter, columns, pixels, j->N, j->K, j->pixel_outputs, 1, j->padded, j->K, 0});
        nq_fold(j->w, j->image, first, lines, columns);
    } else {
        for (int64_t p = 0; p < pixels; p++)     /* the product reads beyond the columns of b */
            memcpy(b + p * j->padded, y + p * j->pixel_outputs, 4 * (size_t)j->N);
        nq_unfold(j->w, j->image, first, lines, columns);
        j->rows->multiply(&(nq_product){columns, b, filter, j->K, pixels, j->N, 1, j->K, j->padded, j->N, 1});
    }
}

/* One thread's share: items as they come, with a room of its own. */
static void share(void *context, int64_t thread) {
    job *j = context;
    float *room = j->room + thread * j->room_size, *parts = j->room + j->threads * j->room_size;
    for (int64_t i; (i = atomic_fetch_add(&j->next, 1)) < j->items;) {
        int64_t first = i * j->step, end = nq_min(first + j->step, j->lines);
        float *filter = j->filter;
        if (j->op != NQ_FORWARD) {               /* whole images */
            const int64_t lines = image_lines(j->w), batch = j->w->batch;
            first = lines * (i * batch / j->items);
            end = lines * ((i + 1) * batch / j->items);
        }
        if (j->op == NQ_WEIGHTS)
            filter = memset(parts + i * j->K * j->N, 0, 4 * (size_t)(j->K * j->N));
        for (; first < end; first += j->step)
            some_lines(j, first, nq_min(j->step, end - first), room, filter);
    }
}

static void add_parts(const job *j) {
    const float *parts = j->room + j->threads * j->room_size;
    const int64_t size = j->K * j->N;
    memcpy(j->filter, parts, 4 * (size_t)size);
    for (int64_t part = 1; part < j->items; part++)
        for (int64_t i = 0; i < size; i++)
            j->filter[i] += parts[part * size + i];
}

static int is_sane(const job *j) {
    const nq_windows *w = j->w;
    int64_t filter = w->channels;
    int sane = nq_windows_are_sane(w) && w->element == 4 && j->N > 0 && j->op >= NQ_FORWARD && j->op <= NQ_WEIGHTS &&
               !__builtin_mul_overflow(filter, j->N, &filter);
    for (int a = 0; a < 3; a++)
        sane = sane && !__builtin_mul_overflow(filter, w->kernel[a], &filter);
    return sane && filter < INT64_MAX / 64;
}

nq_status nq_convolve_room(int op, const nq_windows *w, int32_t outputs, int64_t *bytes) {
    job j = {.w = w, .op = op, .N = outputs};
    if (!is_sane(&j))
        return NQ_BAD_ARGUMENT;
    *bytes = plan(&j);
    return NQ_OK;
}

nq_status nq_convolve(int isa, int op, const nq_windows *w, int32_t outputs, int32_t pixel_outputs, float *image,
                      float *pixels, float *filter, void *room, int64_t room_bytes) {
    const nq_isa *found = nq_find_isa(isa);
    job j = {.w = w, .op = op, .N = outputs, .pixel_outputs = pixel_outputs, .image = image, .pixels = pixels,
             .filter = filter, .room = room};
    if (!found || !is_sane(&j) || pixel_outputs < outputs || room_bytes < plan(&j))
        return NQ_BAD_ARGUMENT;
    j.rows = found->rows;
    nq_for(j.lines * j.line * j.K * j.N >= PARALLEL, nq_min(j.threads, j.items), share, &j);
    if (op == NQ_WEIGHTS)
        add_parts(&j);
    return NQ_OK;
}
