/* ukernel.h: the contract that every instruction set fills.
 *
 * A micro-kernel computes one tile of the output: `rows` pixels by `strips` strips of 16 output channels. It keeps the
 * tile's accumulators in registers over the whole sum, then applies the epilogue and stores. It holds no loop over the
 * problem, allocates nothing, and touches no byte outside what this page names.
 *
 *                            16 channels   16 channels
 *                         +-------------+-------------+
 *     rows[0] + taps[t] --|>  acc 0,0   |   acc 0,1   |--> out[0]
 *     rows[1] + taps[t] --|>  acc 1,0   |   acc 1,1   |--> out[1]
 *     rows[2] + taps[t] --|>  acc 2,0   |   acc 2,1   |--> out[2]
 *                         +-------------+-------------+
 *                            strip 0        strip 1        (weights + strip * strip_bytes)
 *
 * The sum runs over `tap_count` runs of `quads` groups of four bytes. A run is contiguous in the activations, so that a
 * 3x3 convolution over C channels is three runs of 3 * C bytes: no im2col, no table of pointers.
 *
 *     acc[i][n] = init[n] - zp_w[n] * row_sum[i] + sum_t sum_k rows[i][taps[t] + k] * w[n][t][k]     (mod 2^32)
 *
 * A run that is not a multiple of four bytes long is read up to the next multiple; the packed weights are zero there,
 * and the caller has made sure that those (at most three) bytes may be read.
 *
 * If `spread` is not NULL, the strip (there is one) holds groups of a few channels each, a run has at most 16 bytes, and
 * 16 may be read. Then each column has quads of its own: byte k of quad q of column n is byte spread[q][4n + k] of the 16.
 *
 *     16 bytes of a run:     g0 g0 g0 g0 | g1 g1 g1 g1 | g2 g2 g2 g2 | g3 g3 g3 g3       4 groups of 4 inputs, 4 outputs
 *     spread over columns:     n = 0..3   |  n = 4..7   |  n = 8..11  |  n = 12..15      each sees its group's quad     */
#ifndef NQ_UKERNEL_H
#define NQ_UKERNEL_H

#include "nanoquant.h"

/* UNROLL goes before loops over a tile or a block, whose bounds are constants once inlined: arrays of vectors become
 * registers only when it is heeded. */
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL PRAGMA(clang loop unroll(full))
#else
#define UNROLL PRAGMA(GCC unroll 32)
#endif

/* Between BEGIN_TARGET("avx2,fma") and END_TARGET functions are compiled for those features, whatever the flags say; the
 * rest of the library stays runnable on any CPU of the family. Include intrinsics' headers before. */
#if defined(__clang__)
#define BEGIN_TARGET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define BEGIN_TARGET(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_TARGET PRAGMA(GCC pop_options)
#endif

enum {
    NQ_STRIP = 16,       /* output channels in a strip */
    NQ_QUAD = 4,         /* bytes of a run that one step of a micro-kernel consumes */
    NQ_SUMS_BYTES = 4 * NQ_STRIP,        /* a packed strip ends with the sum of each channel's weights, as int32 */
    NQ_MAX_ROWS = 8,
    NQ_MAX_STRIPS = 8,
    NQ_SPREAD = 16,      /* bytes of a run that are spread, in at most NQ_SPREAD_QUADS quads a column */
    NQ_SPREAD_QUADS = 2,
    NQ_CHAINS = 2        /* at most, in an instruction set */
};

typedef struct {
    const uint8_t *rows[NQ_MAX_ROWS];
    int64_t row_count;
    const int64_t *taps;         /* byte offset of each run, the same for every row */
    int64_t tap_count;
    int64_t quads;
    const uint8_t (*spread)[NQ_STRIP * NQ_QUAD];         /* [quads], indices below NQ_SPREAD; or NULL */
    const uint8_t *weights;      /* of the tile's first strip */
    int64_t strip_bytes;
    const uint8_t *ahead;        /* strip_bytes that are wanted next: the tile may prefetch them */
    int pairs_fit;               /* of the packed weights */
    const nq_epilogue *epilogue;
    const int32_t *zp_w;         /* packed tables' zero points, or NULL: then row_sum is not read */
    int32_t row_sum[NQ_MAX_ROWS];
    int64_t channel;             /* the tile's first entry in the epilogue's tables */
    int64_t columns;             /* channels to store: more than 16 * (strips - 1), at most 16 * strips */
    uint8_t *out[NQ_MAX_ROWS];   /* where each row's first column is stored */
    int64_t row_stride, out_stride;      /* of a series: from each row to the next */
} nq_tile;

typedef void nq_ukernel(const nq_tile *tile);

/* A series is many tiles below each other in one call, so that they overlap. Its rows, any multiple of the instruction set's
 * series_rows, are equally far apart: only rows[0] and out[0] are read. The epilogue is `narrow`, zp_w and spread are NULL. */
enum {
    NQ_SERIES_STRIPS = 2,        /* at most */
    NQ_SERIES_QUADS = 3          /* at least, in a run */
};

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
 * channels of a span in another order, which dwconv.c draws; packed weights and the epilogue's tables follow it.
 *
 * A window kernel, for square filters of size 3 or 5 with stride 1 or 2 along a line, computes whole lines; taps[] are
 * lines of the input (or of zero points), of which output line i reads those from i * line_step on:
 *
 *     column     -1  0  1  2 ..        the filter begins at first_column (-1, if padded by 1)
 *     taps[0]     .  x  x  x ..  .     `width` pixels x, input_stride bytes apart; beside them, `zeros` is read
 *     taps[1]     .  x  x  x ..  .                                                                                 */
enum {
    NQ_MAX_TAPS = 64,            /* of a filter that depthwise kernels take */
    NQ_PARTS = 3,                /* tap slots for one weight, if weights have zero points: w - zp_w needs 9 bits */
    NQ_SPAN = 64                 /* bytes: the channels of the largest span */
};

/* What 8-bit outputs are made with, once for each byte of a span: zero point (as int16), range, and 0x80 for int8. */
typedef struct {
    int16_t zero_point[NQ_SPAN / 2];
    uint8_t lowest[NQ_SPAN], highest[NQ_SPAN], flip[NQ_SPAN];
} nq_limits;

typedef struct {
    const uint8_t *const *taps;  /* valid pointers up to a multiple of NQ_QUAD, with zero weights beyond tap_count */
    int64_t tap_count;
    int64_t offset;              /* what is added to every tap's pointer */
    int64_t pixels, pixel_stride;
    const uint8_t *weights;      /* of the span: [quad of taps][strip], each ordered by pack_quad */
    const nq_epilogue *epilogue;
    const nq_limits *limits;
    int64_t channel;             /* the span's first entry in the epilogue's tables */
    int64_t columns;             /* channels to store */
    int64_t quad_bytes;          /* of the span */
    uint8_t *out;
    int64_t out_stride;

    int64_t size, stride;        /* from here on: of a window */
    int64_t lines, line_step, line_stride;               /* of output, to the next one's taps, to the next one's out */
    int64_t first_column, width, input_stride;
    const uint8_t *zeros;
} nq_segment;

typedef void nq_dwkernel(const nq_segment *segment);

/* An instruction set's depthwise kernels. pack_quad: as in nq_isa, taps taking the place of a run's bytes. Taps come by
 * rows, but for window kernels, which serve forms A and B: then by columns, of which a quad has the first four rows (the
 * fourth of three has no weight), then the fifth row. More quads follow, with weights that have moved: of a 3x3 filter,
 * the columns once more, one row down; of a 5x5 filter, the fifth row once more, `stride` pixels along. */
typedef struct {
    nq_dwkernel *kernels[NQ_MAX_STRIPS + 1];             /* [strips in a span]: 2, 4 */
    nq_dwkernel *windows[NQ_MAX_STRIPS + 1];             /* the same spans, or NULL */
    int64_t quad_bytes;
    void (*pack_quad)(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed);
} nq_depthwise;

/* ---- Interleaving -----------------------------------------------------------------------------------------------
 *
 * `height` lines become one, pixel by pixel (patches.c), in blocks: `bytes` bytes of each line, as many whole pixels as fit
 * 16, become height * bytes. Byte j of vector v of an interleaved block is byte pattern[v][i][j] of line i's block, for the
 * one i where that is not 0x80. A kernel reads 16 bytes of each line for a block, and writes `height` vectors. */
enum { NQ_MAX_LINES = 9, NQ_VECTOR = 16 };

typedef struct {
    int64_t height, bytes;
    _Alignas(16) uint8_t pattern[NQ_MAX_LINES][NQ_MAX_LINES][NQ_VECTOR];
} nq_interleaving;

typedef void nq_interleaver(const nq_interleaving *n, const uint8_t *const *lines, int64_t blocks, uint8_t *to);

/* ---- Rows -------------------------------------------------------------------------------------------------------
 *
 * What is done between products runs over rows of contiguous elements (rows.h draws it). */

/* How bytes are read: the integer q is the byte, as uint8 or int8; steps = q - zero_point. The float that q means is
 * scale * steps, or, rounded once less, fma(scale, q, offset) with offset = -(scale * zero_point). */
typedef struct {
    float scale, offset;
    int32_t zero_point;
    int is_signed;
} nq_source;

/* How steps are written: byte = max(rint(min(steps, limit)) + zero_point, lo) ^ flip, as uint8; limit = hi - zero_point.
 * An int8 output is flipped: q ^ 0x80 = q + 128, and so are the zero point and the limits here. */
typedef struct {
    float inv_scale, limit;
    int32_t zero_point;
    uint8_t lo, hi, flip;
} nq_target;

/* An operation of bytes to bytes; nq_op in nanoquant.h says what is read. */
typedef struct {
    nq_source a, b;
    nq_target y;
    float multiplier;            /* NQ_MUL: a.scale * b.scale / y.scale */
    const float *mul, *shift;    /* NQ_SCALE_SHIFT: one for each element of the row */
    const uint8_t *table;        /* NQ_LOOKUP: 256 bytes */
} nq_point;

/* Rows of `columns` bytes, each its stride behind the one before. */
typedef struct {
    const uint8_t *a, *b;
    uint8_t *y;
    int64_t a_stride, b_stride, y_stride, rows, columns;
} nq_area;

typedef void nq_point_kernel(const nq_point *p, const nq_area *area);

/* One output pixel of a pooling layer: where its window lies. Strides in bytes, at most 65535 taps. */
typedef struct {
    const uint8_t *x;
    int64_t height, width, line_stride, pixel_stride;
} nq_window;

/* c[i][n] (+)= sum_k a[i][k] * b[k][n]: element (i, k) of a at a[i * a_row + k * a_inner], of b at b[k * b_inner + n], of c at
 * c[i * c_row + n]. Each row of b is readable up to a multiple of 16 columns. adds: to what c holds. */
typedef struct {
    const float *a, *b;
    float *c;
    int64_t rows, inner, columns, a_row, a_inner, b_inner, c_row;
    int adds;
} nq_product;

/* Fake quantization to the steps low..high of a scale, at most 32766 of each sign. */
typedef struct {
    float scale, inv_scale, low, high;
} nq_fake;

/* A scale chosen at run time: x_scale of the bytes; mul, pre: what the epilogue multiplies by (nq_form). */
typedef struct {
    float x_scale, mul, pre;
    int32_t zero_point;
} nq_scaling;

/* One strip of weights.c, for one row or NQ_WEIGHT_ROWS. words: of 4 bytes, in a group, for each output. a, scale, sum: of the
 * first row; those of the next follow after a_stride bytes, and `groups` numbers. */
enum { NQ_WEIGHT_ROWS = 4 };
typedef struct {
    const uint8_t *blocks;
    int64_t block_bytes, head_bytes, groups, words, rows, a_stride;
    int32_t bits, asymmetric;
    const int8_t *a;
    const float *scale, *bias;           /* bias: [NQ_STRIP] */
    const int32_t *sum;
} nq_strip_of_weights;

/* rows*.h */
typedef struct {
    int (*quantize)(const float *x, int64_t count, const nq_target *t, uint8_t *q);      /* 1: x holds a NaN */
    void (*dequantize)(const uint8_t *q, int64_t count, const nq_source *s, float *x);
    nq_point_kernel *point[NQ_OP_COUNT];                                                    /* one for each nq_op */
    void (*max_window)(const nq_window *w, int64_t channels, uint8_t flip, uint8_t *y);
    void (*average_window)(const nq_window *w, int64_t channels, const nq_target *t, float divisor, uint8_t *y);
    void (*softmax)(const uint8_t *x, int64_t count, uint8_t flip, const int32_t exponentials[256], const nq_target *t,
                    uint8_t *y);
    void (*layer_norm)(const uint8_t *x, int64_t count, const nq_source *s, const float *weight, const float *bias,
                       double eps, const nq_target *t, uint8_t *y);
    int (*range)(const float *x, int64_t count, float *low, float *high);                /* 1: x holds a NaN */
    int64_t (*sum_bytes)(const uint8_t *x, int64_t count);
    void (*multiply)(const nq_product *p);
    int (*fake)(const float *x, const float *g, int64_t count, const nq_fake *f, float *y);      /* rows_fake.h; 1: a NaN */
    int (*fake_back)(const float *x, const float *g, int64_t count, const nq_fake *f, float *dx);
    void (*lstm_step)(float *const at[], int64_t size);                                     /* rows_lstm.h */
    void (*lstm_step_back)(float *const at[], int64_t size);
    void (*rescale)(const nq_epilogue *e, const nq_scaling *s, int64_t count, int32_t *init, float *mul);    /* rows_dynamic.h */
    void (*finish_row)(const nq_epilogue *e, const nq_scaling *s, int64_t count, float *y);
    void (*weights)(const nq_strip_of_weights *s, float y[][NQ_STRIP]);                     /* rows_weights.h */
    int (*round_group)(const float *x, int64_t count, int8_t *a, float *scale, int32_t *sum);
    void (*add_row)(const uint8_t *q, int64_t count, int bits, float scale, float offset, float *y);
} nq_rows;

/* One way to multiply bytes in registers alone: runs its instructions `rounds` times, returns the multiply-adds done. */
typedef int64_t nq_multiplier(int64_t rounds);

typedef struct {
    const char *name;
    nq_multiplier *multiply;
} nq_chain;

/* Moves `blocks` blocks of an nq_pattern; what it returns depends on all it read. */
typedef uint64_t nq_streamer(int32_t pattern, int64_t blocks, const uint8_t *from, uint8_t *to);

/* One row of the dispatch table. A NULL function means: use ref's. */
typedef struct {
    const char *name;
    int (*runs)(void);           /* can this CPU execute it? */

    /* The packed weights of one quad and one strip: block[n][k] in, quad_bytes out. */
    int64_t quad_bytes;
    void (*pack_quad)(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed);

    int max_rows[NQ_MAX_STRIPS + 1];                         /* tallest tile for each width; 0: no such width */
    nq_ukernel *gemm[NQ_MAX_STRIPS + 1][NQ_MAX_ROWS + 1];    /* [strips][rows]; [0]: one strip, spread */
    nq_ukernel *series[NQ_SERIES_STRIPS + 1];                /* [strips] */
    int series_rows[NQ_SERIES_STRIPS + 1];                   /* 0: no series */
    const nq_depthwise *depthwise;       /* NULL: the product serves */
    nq_interleaver *interleave;          /* NULL: patches.c copies pixels one by one */

    const nq_rows *rows;

    nq_chain chains[NQ_CHAINS];  /* the bench calls the fastest of them the peak */
    nq_streamer *stream;
} nq_isa;

void nq_store_ref(const nq_epilogue *e, int64_t channel, int32_t acc, uint8_t *out, int64_t n);   /* y[n] from acc */

extern const nq_isa nq_isa_ref;
extern const nq_rows nq_rows_ref;
#if defined(__x86_64__)
extern const nq_isa nq_isa_avx2, nq_isa_avx512bw, nq_isa_avx512vl, nq_isa_avxvnni, nq_isa_avx512vnni;
extern const nq_rows nq_rows_avx2, nq_rows_avx512, nq_rows_avx512vnni;
extern const nq_depthwise nq_depthwise_avx2, nq_depthwise_avxvnni, nq_depthwise_avx512vl, nq_depthwise_avx512vnni;
#elif defined(__aarch64__)
extern const nq_isa nq_isa_neon, nq_isa_dotprod;
extern const nq_rows nq_rows_neon;
extern const nq_depthwise nq_depthwise_neon;
#if !defined(__clang__) || __clang_major__ >= 16         /* older ones have its intrinsics for whole builds only */
#define NQ_HAS_DOTPROD
#endif
#endif

#endif
