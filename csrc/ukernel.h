/* ukernel.h: the contract that every instruction set fills.
 *
 * A micro-kernel computes one tile of the output: `rows` pixels by `strips` strips of 16 output channels. It keeps the
 * tile's accumulators in registers over the whole sum, then applies the epilogue and stores. It holds no loop over the
 * problem, allocates nothing, and touches no byte outside what this page names.
 *
 *                            16 channels   16 channels
 *                         +-------------+-------------+
 *     rows[0] + taps[t] --|>  acc 0,0   |   acc 0,1   |--> out
 *     rows[1] + taps[t] --|>  acc 1,0   |   acc 1,1   |--> out + out_stride
 *     rows[2] + taps[t] --|>  acc 2,0   |   acc 2,1   |--> out + 2 out_stride
 *                         +-------------+-------------+
 *                            strip 0        strip 1        (weights + strip * strip_bytes)
 *
 * The sum runs over `tap_count` runs of `quads` groups of four bytes. A run is contiguous in the activations, so that a
 * 3x3 convolution over C channels is three runs of 3 * C bytes: no im2col, no table of pointers.
 *
 *     acc[i][n] = init[n] - zp_w[n] * row_sum[i] + sum_t sum_k rows[i][taps[t] + k] * w[n][t][k]     (mod 2^32)
 *
 * A run that is not a multiple of four bytes long is read up to the next multiple; the packed weights are zero there,
 * and the caller has made sure that those (at most three) bytes may be read. */
#ifndef NQ_UKERNEL_H
#define NQ_UKERNEL_H

#include "nanoquant.h"

enum {
    NQ_STRIP = 16,       /* output channels in a strip */
    NQ_QUAD = 4,         /* bytes of a run that one step of a micro-kernel consumes */
    NQ_MAX_ROWS = 8,
    NQ_MAX_STRIPS = 4
};

typedef struct {
    const uint8_t *rows[NQ_MAX_ROWS];
    int64_t row_count;
    const int64_t *taps;         /* byte offset of each run, the same for every row */
    int64_t tap_count;
    int64_t quads;
    const uint8_t *weights;      /* of the tile's first strip */
    int64_t strip_bytes;
    const nq_epilogue *epilogue;
    const int32_t *zp_w;         /* packed tables' zero points, or NULL: then row_sum is not read */
    int32_t row_sum[NQ_MAX_ROWS];
    int64_t channel;             /* the tile's first entry in the epilogue's tables */
    int64_t columns;             /* channels to store: more than 16 * (strips - 1), at most 16 * strips */
    uint8_t *out;
    int64_t out_stride;          /* bytes */
} nq_tile;

typedef void nq_ukernel(const nq_tile *tile);

/* Depthwise: every channel has a filter of its own, so that nothing is shared along a row of the product; vectors run
 * along channels, which are contiguous. A depthwise kernel computes a segment of an output line for one span of
 * channels:
 *
 *     taps[0] -->  pixel 0 | pixel 1 | ...           input of tap 0, `pixel_stride` bytes apart; one pointer for each
 *     taps[1] -->  pixel 0 | pixel 1 | ...           tap of the filter, so that lines may lie anywhere
 *       ...
 *     out     -->  pixel 0 | pixel 1 | ...           out_stride bytes apart
 *
 *     acc[c] = init[c] + sum_t taps[t][c] * w[t][c]     (mod 2^32),  then the epilogue
 *
 * A span is two or four strips. The kernel reads whole spans; it stores `columns` channels. Interleaving taps leaves the
 * channels of a span in another order, which dwconv.c draws; packed weights and the epilogue's tables follow it. */
enum {
    NQ_MAX_TAPS = 64,            /* of a filter that depthwise kernels take */
    NQ_PARTS = 3                 /* tap slots for one weight, if weights have zero points: w - zp_w needs 9 bits */
};

typedef struct {
    const uint8_t *const *taps;  /* valid pointers up to a multiple of NQ_QUAD, with zero weights beyond tap_count */
    int64_t tap_count;
    int64_t window;              /* 3, 5: taps of a filter of that size, pixel_stride apart along a line; 0: of any */
    int64_t offset;              /* what is added to every tap's pointer */
    int64_t pixels, pixel_stride;
    const uint8_t *weights;      /* of the span: [quad of taps][strip], each ordered by pack_quad */
    const nq_epilogue *epilogue;
    int64_t channel;             /* the span's first entry in the epilogue's tables */
    int64_t columns;             /* channels to store */
    int64_t quad_bytes;          /* of the span */
    uint8_t *out;
    int64_t out_stride;
} nq_segment;

/* If isa->windows, the taps of 3x3 and 5x5 filters come by columns: the first four rows (the fourth of three has no weight)
 * of each column, then the fifth row. Taps of all others come by rows. */
typedef void nq_dwkernel(const nq_segment *segment);

/* Forms of an epilogue as bits. A micro-kernel that lacks one is asked for accumulators, and ref applies the form. */
enum {
    NQ_ALL_FORMS = (1 << (NQ_FORM_D_TWO_STEP + 1)) - 1,
    NQ_FLOAT_FORMS = NQ_ALL_FORMS & ~(1 << NQ_FORM_C_DOUBLE | 1 << NQ_FORM_C_SINGLE)
};

/* One row of the dispatch table. A NULL function means: use ref's. */
typedef struct {
    const char *name;
    int (*runs)(void);           /* can this CPU execute it? */

    /* The packed weights of one quad and one strip: block[n][k] in, quad_bytes out. */
    int64_t quad_bytes;
    void (*pack_quad)(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed);

    int max_rows[NQ_MAX_STRIPS + 1];                         /* tallest tile for each width; 0: no such width */
    nq_ukernel *gemm[NQ_MAX_STRIPS + 1][NQ_MAX_ROWS + 1];    /* [strips][rows] */
    nq_dwkernel *depthwise[NQ_MAX_STRIPS + 1];               /* [strips in a span]: 2, 4; none: the product serves */
    int windows;                 /* 1: they have code for pixels that overlap, and want slots by columns (nq_segment) */
    int forms;                                               /* that all of them apply */

    int32_t (*sum_bytes)(const uint8_t *x, int64_t count);

    /* q = (clamp(rint(x * inv_scale), lo, hi) + zero_point) ^ flip, as uint8; returns 1 when x holds a NaN */
    int (*quantize)(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point,
                    uint8_t flip, uint8_t *q);
    /* x = scale * ((q ^ flip) - zero_point) */
    void (*dequantize)(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x);
} nq_isa;

void nq_store_ref(const nq_epilogue *e, int64_t channel, int32_t acc, uint8_t *out, int64_t n);   /* y[n] from acc */
int nq_quantize_ref(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point, uint8_t flip,
                    uint8_t *q);
void nq_dequantize_ref(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x);

extern const nq_isa nq_isa_ref;
#if defined(__x86_64__)
extern const nq_isa nq_isa_avx2, nq_isa_avxvnni, nq_isa_avx512vl, nq_isa_avx512vnni;
#endif

#endif
