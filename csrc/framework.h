/* framework.h: what the portable files share with each other, and with nobody else. */
#ifndef NQ_FRAMEWORK_H
#define NQ_FRAMEWORK_H

#include "ukernel.h"

/* dispatch.c: NULL when this build or this CPU lacks it. Kernels it has no code for are ref's. */
const nq_isa *nq_find_isa(int isa);

/* x86/cpu.c, arm/cpu.c: the features that this processor family's kernels ask for; ends with a NULL name. */
typedef struct {
    const char *name;
    int (*has)(void);
} nq_feature;

extern const nq_feature nq_features[];

/* pool.c: calls body(context, i) for every i in 0..count-1 and returns when all have returned. If `parallel` is 0 (the
 * work is not worth waking a thread) in this thread and in order, else in any order on up to nq_get_num_threads(). */
void nq_for(int parallel, int64_t count, void (*body)(void *context, int64_t i), void *context);

/* phase.c: one axis of a phase. Along it, output q lies at out_step * q + out_first. Its tap t is the kernel's at
 * first + t * step, and reads the input at in_step * q + origin + t * tap_step. */
typedef struct {
    int64_t taps, first, step;
    int64_t in_step, origin, tap_step;
    int64_t out_step, out_first;
} nq_axis;

/* A phase's part of the kernel. */
typedef struct {
    nq_axis axis[3];
    int64_t pixels;
} nq_filter;

int nq_phase_count(const nq_conv_shape *shape);
nq_axis nq_phase_axis(const nq_conv_shape *shape, int32_t phase, int axis);
nq_filter nq_phase_filter(const nq_conv_shape *shape, int32_t phase);
int64_t nq_out_size(const nq_conv_shape *shape, int axis, int64_t size);         /* of all phases */

/* pack.c: which byte of a run each packed weight is for, as ukernel.h wants it, when packed->spread is not 0. */
void nq_spread_pattern(const nq_packed *packed, uint8_t pattern[NQ_SPREAD_QUADS][NQ_STRIP * NQ_QUAD]);
/* Bytes that a micro-kernel reads at each tap. */
static inline int64_t nq_run_read(const nq_packed *packed) {
    return packed->spread ? NQ_SPREAD : NQ_QUAD * (int64_t)packed->quads;
}

/* gemm.c: the activations of a product, as row base pointers can be computed from them.
 *
 *     row p = (image, z, y, x)  -->  base + (image, z, y, x) . in_stride          in bytes
 *
 * Its outputs go to out + (image, z, y, x) . out_stride.
 *
 * Rows from `tail_row` on would be read beyond the end of the caller's array. `tail` is a copy of what lies from
 * `tail_start` to that end, with room behind it. */
typedef struct {
    const nq_packed *packed;
    const nq_epilogue *epilogue;
    const int64_t *taps;
    const uint8_t *base;
    uint8_t *out;
    int64_t in_stride[4], out_stride[4];
    int64_t out_size[3], rows;   /* depth, height, width; rows = images * their product */
    const uint8_t *tail, *tail_start;
    int64_t tail_row;
    int32_t *row_sums;           /* [blocks][rows] of room when the weights have zero points */
} nq_gemm;

void nq_gemm_run(const nq_gemm *gemm);

static inline const uint8_t *nq_row(const nq_gemm *m, int64_t row) {
    const int64_t *size = m->out_size, *stride = m->in_stride, line = row / size[2], plane = line / size[1];
    return m->base + plane / size[0] * stride[0] + plane % size[0] * stride[1] + line % size[1] * stride[2] +
           row % size[2] * stride[3];
}

/* A layer whose input is read where it lies. `zeros`: a line of zero points. */
typedef struct {
    const nq_packed *packed;
    const nq_epilogue *epilogue;
    int64_t images, size[3], out_size[3];
    const uint8_t *in, *zeros;
    uint8_t *out;
} nq_in_place;

/* Line (z, y) of an image; of zero points if it lies beside the image. */
static inline const uint8_t *nq_line(const nq_in_place *l, int64_t image, int64_t z, int64_t y) {
    if (z < 0 || z >= l->size[0] || y < 0 || y >= l->size[1])
        return l->zeros;
    return l->in + ((image * l->size[0] + z) * l->size[1] + y) * l->size[2] * l->packed->shape.in_channels;
}

/* patches.c: a layer with packed->pieces: its product, over patches that are prepared a part at a time. */
int64_t nq_patches_size(const nq_packed *packed, int64_t out_width);     /* bytes of room */
void nq_patches_run(const nq_in_place *layer, uint8_t *patches, int32_t *row_sums);

/* dwconv.c: a depthwise layer. */
void nq_dwconv_run(const nq_in_place *layer);
/* 1: kernels read beyond a pixel, up to SLACK bytes, so that the input must be copied. */
int nq_dwconv_overreads(const nq_packed *packed);
/* Its part in packing. nq_dwconv_sizes answers 0 when no depthwise kernel serves the layer; nq_dwconv_channel names an
 * entry's channel, which lies beyond the last for an entry without one. */
int nq_dwconv_sizes(nq_packed *packed, const nq_isa *isa);
void nq_dwconv_pack(nq_packed *packed, const nq_isa *isa, const int8_t *weights, const int32_t *zero_point);
int64_t nq_dwconv_channel(const nq_packed *packed, int64_t entry);

/* pointwise.c: the constants of rows.h from scales and zero points, and what those may be. */
int nq_scale_is_sane(float scale);               /* positive, normal, finite */
int nq_grid_is_sane(const nq_grid *grid);        /* but for its scale */
int nq_limits_are_sane(const nq_grid *grid, int32_t quant_min, int32_t quant_max);
nq_source nq_source_of(const nq_grid *grid);
nq_target nq_target_of(const nq_grid *grid, int32_t quant_min, int32_t quant_max);

/* cut.c: an array of rows, cut into items of about 2^15 elements: some rows each, or one piece of a row. y: where the
 * results go, of `element` bytes each. */
typedef struct {
    int64_t rows, columns, item_rows, item_columns, early, pieces, items;
    int parallel;                /* whether the work is worth waking a thread */
} nq_cut;

typedef struct {
    int64_t row, rows, column, columns;
} nq_piece;

nq_cut nq_cut_rows(int64_t rows, int64_t columns, const void *y, int64_t element);
nq_piece nq_piece_of(const nq_cut *cut, int64_t item);

/* slide.c: `lines` lines of output pixels from `first` on: columns = image, image += columns (nanoquant.h). */
int nq_windows_are_sane(const nq_windows *w);
void nq_unfold(const nq_windows *w, float *image, int64_t first, int64_t lines, float *columns);
void nq_fold(const nq_windows *w, float *image, int64_t first, int64_t lines, float *columns);

/* Bytes of one output. */
static inline int64_t nq_element(const nq_epilogue *epilogue) { return epilogue->form < NQ_FORM_ACCUMULATOR ? 1 : 4; }

static inline int64_t nq_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t nq_round_up(int64_t a, int64_t b) { return nq_ceil_div(a, b) * b; }
static inline int64_t nq_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t nq_max(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
