/* framework.h: what the portable files share with each other, and with nobody else. */
#ifndef NQ_FRAMEWORK_H
#define NQ_FRAMEWORK_H

#include "ukernel.h"

/* dispatch.c: NULL when this build or this CPU lacks it. Kernels it has no code for are ref's. */
const nq_isa *nq_find_isa(int isa);

/* x86/cpu.c: the features that this processor family's kernels ask for; ends with a NULL name. */
typedef struct {
    const char *name;
    int (*has)(void);
} nq_feature;

extern const nq_feature nq_features[];

/* pool.c: calls body(context, i) for every i in 0..count-1 and returns when all have returned. If `parallel` is 0 (the
 * work is not worth waking a thread) in this thread and in order, else in any order on up to nq_get_num_threads(). */
void nq_for(int parallel, int64_t count, void (*body)(void *context, int64_t i), void *context);

/* gemm.c: the activations of a product, as row base pointers can be computed from them.
 *
 *     row p = (image, y, x)  -->  base + image * image_stride + y * line_stride + x * pixel_stride
 *
 * Rows from `tail_row` on would be read beyond the end of the caller's array. `tail` is a copy of what lies from
 * `tail_start` to that end, with room behind it. */
typedef struct {
    const nq_packed *packed;
    const nq_epilogue *epilogue;
    const int64_t *taps;
    const uint8_t *base;
    int64_t image_stride, line_stride, pixel_stride;
    int64_t out_height, out_width, rows;
    const uint8_t *tail, *tail_start;
    int64_t tail_row;
    int32_t *row_sums;           /* [blocks][rows] of room when the weights have zero points */
    uint8_t *out;
} nq_gemm;

void nq_gemm_run(const nq_gemm *gemm);

/* dwconv.c: a depthwise layer, whose input is read where it lies: a tap outside the image reads a line of zero points. */
typedef struct {
    const nq_packed *packed;
    const nq_epilogue *epilogue;
    int64_t images, height, width, out_height, out_width;
    const uint8_t *in, *zeros;
    uint8_t *out;
} nq_dwconv;

void nq_dwconv_run(const nq_dwconv *layer);
/* 1: kernels read beyond a pixel, up to SLACK bytes, so that the input must be copied. */
int nq_dwconv_overreads(const nq_packed *packed);
/* Its part in packing. nq_dwconv_sizes answers 0 when no depthwise kernel serves the layer; nq_dwconv_channel names an
 * entry's channel, which lies beyond the last for an entry without one. */
int nq_dwconv_sizes(nq_packed *packed, const nq_isa *isa);
void nq_dwconv_pack(nq_packed *packed, const nq_isa *isa, const int8_t *weights, const int32_t *zero_point);
int64_t nq_dwconv_channel(const nq_packed *packed, int64_t entry);

/* Bytes of one output. */
static inline int64_t nq_element(const nq_epilogue *epilogue) { return epilogue->form < NQ_FORM_ACCUMULATOR ? 1 : 4; }

static inline int64_t nq_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t nq_round_up(int64_t a, int64_t b) { return nq_ceil_div(a, b) * b; }
static inline int64_t nq_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t nq_max(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
