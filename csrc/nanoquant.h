/* nanoquant.h: everything the C library offers, and the only header Python sees.
 *
 * The library multiplies 8-bit matrices exactly. It knows nothing of Python, keeps no state between calls but its
 * threads, allocates nothing the caller would have to free, and prints nothing. Memory belongs to the caller; sizes are
 * known ahead from a query. Every entry point checks its arguments and answers with an nq_status.
 *
 * The life of a layer:
 *
 *     int8 weights --nq_pack--> nq_packed --nq_bind--> nq_epilogue       once
 *     uint8 activations + nq_packed + nq_epilogue --nq_conv--> outputs   every call
 *
 * cffi reads the part between the two marks; it holds no preprocessor line. */
#ifndef NANOQUANT_H
#define NANOQUANT_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* ---- 1. Answers ------------------------------------------------------------------------------------------------ */

typedef enum {
    NQ_OK = 0,
    NQ_BAD_ARGUMENT,     /* a size, stride, enum or pointer is not what the function's comment asks for */
    NQ_BAD_LAYOUT,       /* the weights were packed for another instruction set */
    NQ_BAD_SCALE,        /* a scale, or a product of scales, is not a positive normal finite float32 */
    NQ_BAD_BIAS,         /* the bias, counted in accumulator units, is not finite */
    NQ_ACCUMULATOR,      /* 255 * sum|w - zp_w| + |bias| may leave int32 */
    NQ_WORKSPACE,        /* the workspace is smaller than nq_conv_workspace() says */
    NQ_NAN,              /* the input holds a NaN */
    NQ_NOT_FINITE        /* the input holds a NaN or an infinity */
} nq_status;

typedef enum { NQ_U8, NQ_S8, NQ_S32, NQ_F32 } nq_dtype;

/* ---- 2. Instruction sets and threads ----------------------------------------------------------------------------- */

/* Instruction sets are numbered in growing order of preference: 0 is "ref", the scalar specification. */
int nq_isa_count(void);
const char *nq_isa_name(int isa);                /* "ref", "avx2", ...; NULL beyond the last */
int nq_isa_compiled(int isa);                    /* 1 when this build holds its code */
int nq_isa_runs(int isa);                        /* 1 when, besides, this CPU can run it */
int nq_isa_native(int isa, const char *kernel);  /* 1: `kernel` has its own code; 0: it runs on ref; -1: no such kernel */
const char *nq_kernel_name(int index);           /* the kernels one may ask about; NULL beyond the last */
const char *nq_cpu_feature_name(int index);      /* the features that kernels ask for: count up until NULL */
int nq_cpu_feature(int index);                   /* 1 when this CPU has it */
const char *nq_compiler(void);

int nq_get_num_threads(void);
nq_status nq_set_num_threads(int threads);       /* 1 .. 256; the calling thread counts as one */

/* ---- 3. Between float32 and integers ----------------------------------------------------------------------------- */

/* The array has `outer * channels * inner` elements; channel c uses scale[c] and zero_point[c].
 * Per tensor: channels = 1. dtype is NQ_U8, NQ_S8 or NQ_S32.
 *     q = clamp(rint(x * (1 / scale)) + zero_point, quant_min, quant_max)     infinities saturate; NQ_NAN on a NaN
 *     x = scale * (q - zero_point)                                                                               */
typedef struct {
    int32_t dtype;
    int64_t outer, channels, inner;
    const float *scale;
    const int32_t *zero_point;
    int32_t quant_min, quant_max;
} nq_affine;

nq_status nq_quantize(int isa, const nq_affine *affine, const float *x, void *q);
nq_status nq_dequantize(int isa, const nq_affine *affine, const void *q, float *x);

/* ---- 4. Between bytes and bytes ---------------------------------------------------------------------------------- */

/* What an 8-bit integer means: scale * (q - zero_point). */
typedef struct {
    float scale;
    int32_t zero_point;
    int32_t dtype;                       /* NQ_U8 or NQ_S8 */
} nq_grid;

/* Element by element, y = clamp(rint(v) + y.zero_point, quant_min, quant_max) of (kernels/pointwise.py):
 *     NQ_REQUANTIZE    v = (s_a * (a - z_a)) * (1 / s_y)
 *     NQ_ADD           v = (real(a) + real(b)) * (1 / s_y),  real(a) = fma(s_a, a, -(s_a * z_a))
 *     NQ_MUL           v = ((a - z_a) * (b - z_b)) * ((s_a * s_b) * (1 / s_y))
 *     NQ_SCALE_SHIFT   v = fma(a - z_a, mul[column], shift[column])
 *     NQ_CLAMP         y = clamp(a)                           a's dtype is y's
 *     NQ_LOOKUP        y = table[a's byte]                                                                          */
typedef enum { NQ_REQUANTIZE, NQ_ADD, NQ_MUL, NQ_SCALE_SHIFT, NQ_CLAMP, NQ_LOOKUP, NQ_OP_COUNT } nq_op;

typedef struct {
    int32_t isa, op;                     /* op: nq_op */
    nq_grid a, b, y;                     /* as far as the operation reads them; a and b of one dtype */
    int32_t quant_min, quant_max;        /* relu: quant_min = y.zero_point */
    const float *mul, *shift;            /* [columns] */
    const uint8_t *table;                /* [256] */
    int64_t rows, columns;
} nq_pointwise;

/* Row r of y starts r * y_stride behind y; those of a and b follow each other, as those of y do if y_stride is 0. b is read by
 * NQ_ADD and NQ_MUL. y may be a or b itself, if its rows follow each other, but must not overlap them otherwise. */
nq_status nq_apply(const nq_pointwise *operation, const void *a, const void *b, void *y, int64_t y_stride);

/* y = (x - mean) / sqrt(variance + eps) * weight + bias of each column: NQ_SCALE_SHIFT, which needs no mul and shift, with
 *     inverse = 1 / sqrt(variance + eps),  mul = inverse * weight * (s_x / s_y),  shift = (bias - mean * inverse * weight) / s_y
 * in float32, from left to right. mean, variance, weight, bias: [columns]. */
nq_status nq_batch_norm(const nq_pointwise *operation, const float *mean, const float *variance, const float *weight,
                        const float *bias, float eps, const void *x, void *y);

/* Pooling of images [batch][height][width][channels]; pairs are (height, width). A mean is rint(sum / count) in the input's
 * own scale. `out` is the caller's: a window that leaves the image is cut off there. */
typedef struct {
    int32_t average, adaptive;           /* 1 or 0. Adaptive windows read neither kernel, stride nor padding */
    int32_t dtype, zero_point;
    int32_t batch, channels, size[2], out[2];
    int32_t kernel[2], stride[2], padding[2], dilation[2];      /* dilation is 1 for means and adaptive windows */
    int32_t include_padding, divisor;    /* of a mean: whether padding counts; what to divide by, or 0: the count */
} nq_pooling;

nq_status nq_pool(int isa, const nq_pooling *pooling, const void *x, void *y);

/* Over each of `rows` rows of `columns` (at most 2^23) elements, see kernels/pointwise.py. exponentials: 256 integers of
 * at most 2^24, the first not 0. weight, bias: [columns]. */
nq_status nq_softmax(int isa, int64_t rows, int64_t columns, const nq_grid *x_grid, const void *x,
                     const int32_t *exponentials, const nq_grid *y_grid, void *y);
nq_status nq_layer_norm(int isa, int64_t rows, int64_t columns, const nq_grid *x_grid, const void *x, const float *weight,
                        const float *bias, double eps, const nq_grid *y_grid, void *y);

/* y[b][c][r] = x[b][r][c]: rows = channels takes NCHW to NHWC, rows = pixels the way back. */
nq_status nq_transpose(int64_t batch, int64_t rows, int64_t columns, const void *x, void *y);

/* ---- 5. Dynamic ranges ------------------------------------------------------------------------------------------- */

/* Least and greatest of count >= 1 floats; NQ_NOT_FINITE on a NaN or an infinity. */
nq_status nq_range(int isa, const float *x, int64_t count, float *low, float *high);
/* The dynamic rule of qparams.py. quant_min <= 0 <= quant_max. */
nq_status nq_choose_qparams(float min_val, float max_val, int32_t quant_min, int32_t quant_max, double *scale,
                            int32_t *zero_point);

/* ---- 6. Weights -------------------------------------------------------------------------------------------------- */

/* What a convolution is, apart from its input. Triples are (depth, height, width); an axis that is not there has size 1. A
 * linear layer is a convolution with a kernel of one pixel. */
typedef struct {
    int32_t in_channels, out_channels, groups;
    int32_t kernel[3], stride[3], padding[3], dilation[3];
    int32_t transposed, output_padding[3];
} nq_conv_shape;

/* Packed weights: int8 weights in the order one instruction set's micro-kernel reads them (drawn in pack.c).
 * The caller fills `shape`, `isa`, `phase` and `asymmetric`, asks for sizes, points the arrays at its memory and calls
 * nq_pack. */
typedef struct {
    nq_conv_shape shape;
    int32_t isa;
    int32_t phase;           /* 0, or up to the product of the strides - 1: part of a transposed convolution (phase.c) */
    int32_t asymmetric;      /* 1: weights have zero points                                          */
    int32_t depthwise;       /* strips in a span of a depthwise kernel (dwconv.c); 0: the product's  */
    int32_t merged;          /* groups that share one strip of 16 output channels (block-diagonal)  */
    int32_t blocks;          /* groups / merged: independent products                                */
    int32_t strips;          /* strips of 16 output channels in each block                           */
    int32_t taps;            /* contiguous runs of input bytes that one output pixel reads           */
    int32_t run;             /* bytes in a run                                                       */
    int32_t quads;           /* groups of four bytes of a run that one output channel multiplies     */
    int32_t spread;          /* 1: those of its own group, if groups are merged; 0: all of the run   */
    int32_t pieces;          /* lines of the filter that are interleaved to make this run, or 0       */
    int32_t pairs_fit;       /* nq_pack: 1 when u8 * s8 + u8 * s8 fits int16 for all pairs in a quad   */
    int64_t weight_bytes;    /* size of `weights`, 64-byte aligned                                   */
    int64_t table_length;    /* entries of each table: blocks * strips * 16                          */
    void *weights;
    int32_t *col_offset;     /* [out_channels] sum_k (w - zp_w)                                      */
    int64_t *magnitude;      /* [out_channels] sum_k |w - zp_w|                                      */
    int32_t *zero_point;     /* [table_length] zp_w in packed order, or NULL when all are 0          */
} nq_packed;

/* Fills the other fields of `packed` but the four pointers. */
nq_status nq_pack_sizes(nq_packed *packed);
/* weights: [out_channels][in_channels / groups][kernel depth][height][width], the whole kernel for any phase; zero_point:
 * [out_channels], read only when packed->zero_point is not NULL. */
nq_status nq_pack(nq_packed *packed, const int8_t *weights, const int32_t *zero_point);

/* ---- 7. Scales --------------------------------------------------------------------------------------------------- */

/* numerics.py derives them */
typedef enum { NQ_FBGEMM, NQ_QNNPACK, NQ_ONEDNN, NQ_ORT, NQ_TFLITE, NQ_TFLITE_SINGLE } nq_profile;

typedef struct {
    int32_t profile;                     /* nq_profile */
    int32_t x_dtype, y_dtype;            /* x: NQ_U8, NQ_S8; y: NQ_U8, NQ_S8, NQ_S32 (accumulators), NQ_F32 */
    float x_scale, y_scale;              /* y_scale is read for 8-bit outputs only */
    int32_t x_zero_point, y_zero_point;
    int32_t relu;
    int32_t y_min, y_max;                /* quantized range of an 8-bit output */
    int32_t per_channel;                 /* 1: w_scale has out_channels entries, 0: one */
    const float *w_scale;
    const float *bias;                   /* [out_channels] or NULL */
} nq_binding;

/* What the micro-kernel does with an accumulator (numerics.py):
 *     form A           y = clamp(rint(fma(badd, pre, f32(acc)) * mul), lo, hi) + zero_point
 *     form B           y = clamp(rint(((f32(acc) * pre) * mul + badd) * post + offset), lo, hi) + zero_point
 *     form C           y = clamp(round(acc * multiplier * 2^(shift - 31)), lo, hi) + zero_point   rounded twice or once
 *     accumulator      y = acc
 *     form D, fused    y = max(fma(f32(acc), mul, badd), lo)
 *     form D, two-step y = max((f32(acc) * pre) * mul + badd, lo)                                                 */
typedef enum {
    NQ_FORM_A, NQ_FORM_B, NQ_FORM_C_DOUBLE, NQ_FORM_C_SINGLE,          /* 8-bit outputs */
    NQ_FORM_ACCUMULATOR, NQ_FORM_D_FUSED, NQ_FORM_D_TWO_STEP           /* 32-bit outputs */
} nq_form;

typedef struct {
    int32_t form;            /* nq_form */
    int32_t x_flip, y_flip;  /* 0x80 when x or y holds int8, which the kernels see as uint8: q ^ 0x80 = q + 128 */
    int32_t x_zero_point;    /* as uint8: what padding is filled with */
    int32_t zero_point;      /* of y, as uint8; in form B what is left of it beyond `offset` */
    float lo, hi;            /* clamp, relative to that */
    float pre, post, offset; /* forms A, B and D */
    int32_t narrow;          /* 1: of form A or B, and before it is clamped, |y - zero_point| never exceeds 32000 */
    int32_t *init;           /* [table_length] accumulators start here: bias - zp_x * col_offset */
    float *badd, *mul;       /* [table_length] */
    int32_t *multiplier, *shift;         /* [table_length], form C */
} nq_epilogue;

/* The caller points the five tables at table_length entries each. On NQ_BAD_SCALE, NQ_BAD_BIAS and NQ_ACCUMULATOR
 * *channel names the first offending output channel. */
nq_status nq_bind(const nq_packed *packed, const nq_binding *binding, nq_epilogue *epilogue, int32_t *channel);

/* ---- 8. The product ---------------------------------------------------------------------------------------------- */

/* A layer and the size of its input: all that a call needs besides its arrays. packed, epilogue: arrays of one, or,
 * transposed, of one for each phase, in order. A linear layer over M rows: batch, depth and height 1, width M. */
typedef struct {
    const nq_packed *packed;
    const nq_epilogue *epilogue;
    int32_t batch, size[3];
} nq_layer;

/* x: [batch][depth][height][width][in_channels] bytes; y: [batch][out depth][height][width][out_channels], both compact.
 * The workspace is 64-byte aligned and may be NULL for 0. */
int64_t nq_conv_workspace(const nq_layer *layer);                /* bytes; -1 on impossible sizes */
nq_status nq_conv(const nq_layer *layer, const void *x, void *y, void *workspace, int64_t workspace_bytes);

/* A layer on floats, which are quantized to 0 .. quant_max by the dynamic rule (section 5): with one scale, or with one for
 * each image, or, of a linear layer, for each row. The layer's epilogue is bound for x of scale 1 and zero point 1 and y of
 * NQ_F32. x: [batch][size][in_channels], or [batch][in_channels][size] if channels_first; y: as nq_conv's. */
typedef enum { NQ_ONE_SCALE, NQ_SCALE_PER_IMAGE, NQ_SCALE_PER_ROW } nq_scales;
typedef struct {
    const nq_layer *layer;
    int32_t profile, quant_max, scales, channels_first;
    float least, greatest;               /* of the weights' scales */
} nq_dynamic;

int64_t nq_dynamic_workspace(const nq_dynamic *dynamic);                 /* bytes; -1 on impossible sizes */
nq_status nq_run_dynamic(const nq_dynamic *dynamic, const float *x, float *y, void *workspace, int64_t workspace_bytes);

/* A linear layer on floats whose weights have 4 or 8 bits, and a scale for each run of `group` inputs, a multiple of 16 (weights.c).
 * q: [out_features][in_features], 0 .. 2^bits - 1; scale: [out_features][groups]; zero_point: alike if asymmetric, else all are
 * 2^(bits - 1). packed: the caller's, 64-byte aligned; the same on every instruction set. */
typedef struct {
    int32_t isa, bits, group, asymmetric;
    int64_t in_features, out_features;
    void *packed;
} nq_weights;
int64_t nq_weights_bytes(const nq_weights *weights);                     /* -1 on impossible sizes */
nq_status nq_weights_pack(const nq_weights *weights, const uint8_t *q, const float *scale, const uint8_t *zero_point);
int64_t nq_weights_workspace(const nq_weights *weights, int64_t rows);
/* x: [rows][in_features]; bias: [out_features] or NULL; y: [rows][out_features]. */
nq_status nq_weights_linear(const nq_weights *weights, int64_t rows, const float *x, const float *bias, float *y,
                            void *workspace, int64_t workspace_bytes);

/* A table of which row r means scale[r] q + offset[r]: q of 8 bits, or of 4, two in a byte (embedding.c). */
typedef struct {
    int32_t isa, bits;
    int64_t rows, columns;
    const uint8_t *values;
    const float *scale, *offset;
} nq_table;

/* Bag b holds index[starts[b]] .. index[starts[b + 1] - 1]. factor: one for each index, or NULL. mean: divide by the bag's size. */
typedef struct {
    int64_t count;
    const int64_t *starts, *index;
    const float *factor;
    int32_t mean;
} nq_bags;
nq_status nq_sum_bags(const nq_table *table, const nq_bags *bags, float *y);     /* y: [count][columns] */

/* ---- 9. Plans ---------------------------------------------------------------------------------------------------- */

/* A call of section 3, 4 or 8, with all that it is given but memory:
 *     NQ_STEP_QUANTIZE, NQ_STEP_DEQUANTIZE     isa, what: nq_affine
 *     NQ_STEP_APPLY                            what: nq_pointwise; y's rows follow each other
 *     NQ_STEP_POOL                             isa, what: nq_pooling
 *     NQ_STEP_TRANSPOSE                        size: batch, rows, columns
 *     NQ_STEP_CONV                             what: nq_layer */
typedef enum {
    NQ_STEP_QUANTIZE, NQ_STEP_DEQUANTIZE, NQ_STEP_APPLY, NQ_STEP_POOL, NQ_STEP_TRANSPOSE, NQ_STEP_CONV
} nq_step_kind;

/* Where an operand lies: `offset` bytes behind the plan's input, its output or its memory. */
typedef enum { NQ_PLACE_X, NQ_PLACE_Y, NQ_PLACE_MEMORY, NQ_PLACE_COUNT } nq_place;
typedef struct {
    int32_t place;                       /* nq_place */
    int64_t offset;
} nq_operand;

typedef struct {
    int32_t kind, isa;                   /* kind: nq_step_kind */
    const void *what;
    int64_t size[3];
    nq_operand a, b, y;                  /* b: of NQ_STEP_APPLY, the second input */
} nq_step;

/* Takes the steps in order; returns the first status that is not NQ_OK. memory: 64-byte aligned; its first workspace_bytes are
 * every convolution's workspace. */
nq_status nq_run(int64_t count, const nq_step *steps, const void *x, void *y, void *memory, int64_t workspace_bytes);

/* ---- 10. Training ------------------------------------------------------------------------------------------------ */

/* Windows over images of floats, channels last: [batch][size ...][pixel_channels], of which the first `channels` take part. A
 * tap outside the image is worth 0. */
typedef struct {
    int32_t element;                     /* bytes: 4 (float32) or 8 (float64) */
    int32_t batch, channels, pixel_channels;
    int32_t size[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t first, lines;                /* the lines of output pixels that take part, of all batch * out[0] * out[1] */
} nq_windows;

/* For each output pixel of those lines and each of its taps. columns: [lines][out[2]][kernel ...][channels];
 * y: [lines][out[2]][channels]; f: [kernel ...][channels]; the last operation has one for each image of the batch. */
typedef enum {
    NQ_UNFOLD,           /* columns = image        */
    NQ_FOLD,             /* image += columns       */
    NQ_CORRELATE,        /* y += image * f         */
    NQ_SCATTER,          /* image += y * f         */
    NQ_FILTER            /* f += y * image         */
} nq_slide_op;
nq_status nq_slide(int op, const nq_windows *windows, void *image, void *columns_or_y, void *f);

/* A convolution of float32, over all lines of the windows. image: as above; pixels: [lines][out[2]][pixel_outputs], of which
 * the first `outputs` take part. filter: the rows that the operation reads are padded to a multiple of 16 entries. */
typedef enum {
    NQ_FORWARD,          /* pixels = columns(image) filter           filter: [kernel ...][channels][outputs, padded] */
    NQ_BACKWARD,         /* columns(image) += pixels filter^T        filter: [outputs][kernel ... channels, padded]  */
    NQ_WEIGHTS           /* filter = columns(image)^T pixels         filter: [kernel ...][channels][outputs]         */
} nq_convolve_op;
nq_status nq_convolve_room(int op, const nq_windows *windows, int32_t outputs, int64_t *bytes);
nq_status nq_convolve(int isa, int op, const nq_windows *windows, int32_t outputs, int32_t pixel_outputs, float *image,
                      float *pixels, float *filter, void *room, int64_t room_bytes);

/* Fake quantization of [rows][columns] floats, and its gradient: row r has scale[r % channels], and the steps low..high of that
 * channel, whole numbers between +-32766. g, dx: NULL, or the gradient of y, and where that of x goes, instead of y. */
typedef struct {
    int32_t isa;
    int64_t rows, columns, channels;
    const float *scale, *low, *high;
} nq_rounding;
nq_status nq_fake_quantize(const nq_rounding *rounding, const float *x, const float *g, float *y);

/* An LSTM layer in one direction. H: hidden. lstm.c says how arrays lie. Their float32 matrices have rows padded to a
 * multiple of 16 entries. */
typedef struct {
    int32_t isa, reverse;
    int64_t steps, batch, hidden;
    float *gates;                        /* [steps][batch][4 H]: forward, W_ih x + b, of i f g o; then the gates */
    float *h, *c;                        /* [steps + 1][batch][H]; the first entry is given */
    const float *w;                      /* of W_hh [4 H][H]: forward its transpose, padded; backward itself, padded */
    const float *dy;                     /* backward: [steps][batch][H], the gradient of h_1 ... */
    float *dh, *dc, *dp;                 /* [batch][H], of the last h but by dy and c, then of the first; [steps][batch][4 H] */
} nq_lstm;
nq_status nq_lstm_run(const nq_lstm *lstm, int backward);
/* Forward, with W_hh h + b_hh by nq_run_dynamic, into sums [batch][4 H], at every step. w is not read. */
nq_status nq_lstm_dynamic(const nq_lstm *lstm, const nq_dynamic *hh, float *sums, void *workspace, int64_t workspace_bytes);

/* Rows of channels, [rows][channels]; vectors have `channels` entries. For each block of NQ_SUM_ROWS rows (the last may be
 * shorter) sums[block][0] = sum p - p_shift and sums[block][1] = sum (p - p_shift) (q - q_shift). */
enum { NQ_SUM_ROWS = 256 };
nq_status nq_channel_sums(int64_t rows, int64_t channels, const float *p, const float *p_shift, const float *q,
                          const float *q_shift, float *sums);
/* y = a p + b (q - q_shift) + c; without its first term if p is NULL. */
nq_status nq_channel_line(int64_t rows, int64_t channels, const float *a, const float *p, const float *b, const float *q,
                          const float *q_shift, const float *c, float *y);

/* ---- 11. The machine --------------------------------------------------------------------------------------------- */

/* What this CPU can do at best, on nq_get_num_threads() threads; the caller takes the time. A chain is a way to multiply
 * in registers alone; its name lists its instructions, and is NULL beyond an instruction set's last. *macs: the
 * multiply-adds that all threads did together, in some hundred nanoseconds for each thousand rounds. */
const char *nq_peak_name(int isa, int chain);
nq_status nq_peak(int isa, int chain, int64_t rounds, int64_t *macs);

/* Moves bytes, `passes` times over the same memory, which is 64-byte aligned. In each of `blocks` blocks it reads and
 * writes, in bytes: */
typedef enum {
    NQ_READ,             /* 256 and   0 */
    NQ_NARROW,           /* 256 and  64, as quantize does */
    NQ_WIDEN,            /*  64 and 256, as dequantize does */
    NQ_MERGE             /* 256 and 128, as an addition does */
} nq_pattern;
nq_status nq_stream(int isa, int32_t pattern, int64_t blocks, int64_t passes, const void *from, void *to);

/* cffi: end */

#endif
