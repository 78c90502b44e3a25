/* weights.c: a linear layer whose weights have 4 or 8 bits and a scale for each group, for floats.
 *
 *     w[n][k] = scale[n][g] (q[n][k] - z[n][g]),   g = k / group            a group is a run of inputs of one output
 *     x[k]    ~ s_x[g] a[k],  s_x[g] = max |x| / 127 over the group         a: -127 .. 127
 *
 *     y[n] = sum_g  (scale[n][g] s_x[g]) * sum_k (q - z) a   + bias[n]      the inner sum in integers
 *
 * With one row of x, each weight is used once: time is that of reading them, so they are stored in the order in which they
 * are read, as one stream. A strip of 16 outputs is a row of blocks, one for each group; all instruction sets share it:
 *
 *     block:   | 16 scales | 16 zero points, if they differ | words ...     8 bits: a word is 4 weights of one output
 *              |  64 bytes |            64 bytes            | 16 x 4 bytes  4 bits: 8, four in low and four in high nibbles
 *
 * Integers are stored without sign: q + 8 or q + 128; z is in these terms. */
#include "framework.h"

#include <string.h>

enum { ALIGNMENT = 64, PARALLEL = 1 << 16 };

static int64_t groups_of(const nq_weights *w) { return nq_ceil_div(w->in_features, w->group); }
static int64_t strips_of(const nq_weights *w) { return nq_ceil_div(w->out_features, NQ_STRIP); }
static int64_t head_bytes(const nq_weights *w) { return 4 * NQ_STRIP * (1 + (w->asymmetric != 0)); }
static int64_t block_bytes(const nq_weights *w) { return head_bytes(w) + NQ_STRIP * w->group * w->bits / 8; }

static int is_sane(const nq_weights *w) {
    return nq_find_isa(w->isa) && (w->bits == 4 || w->bits == 8) && w->group > 0 && w->group % 16 == 0 && w->group <= 4096 &&
           w->in_features > 0 && w->out_features > 0 && w->in_features <= INT32_MAX && w->out_features <= INT32_MAX;
}

int64_t nq_weights_bytes(const nq_weights *w) {
    return is_sane(w) ? strips_of(w) * groups_of(w) * block_bytes(w) : -1;
}

nq_status nq_weights_pack(const nq_weights *w, const uint8_t *q, const float *scale, const uint8_t *zero_point) {
    if (!is_sane(w) || (w->asymmetric && zero_point == NULL))
        return NQ_BAD_ARGUMENT;
    const int64_t groups = groups_of(w), per_word = 32 / w->bits;
    memset(w->packed, 0, (size_t)nq_weights_bytes(w));
    for (int64_t n = 0; n < w->out_features; n++)
        for (int64_t g = 0; g < groups; g++) {
            uint8_t *block = (uint8_t *)w->packed + (n / NQ_STRIP * groups + g) * block_bytes(w);
            const int64_t lane = n % NQ_STRIP, first = g * w->group, count = nq_min(w->group, w->in_features - first);
            if (!nq_scale_is_sane(scale[n * groups + g]))
                return NQ_BAD_SCALE;
            ((float *)block)[lane] = scale[n * groups + g];
            if (w->asymmetric)
                ((int32_t *)block)[NQ_STRIP + lane] = zero_point[n * groups + g];
            for (int64_t k = 0; k < count; k++) {
                uint8_t *word = block + head_bytes(w) + (k / per_word * NQ_STRIP + lane) * 4;
                const uint8_t value = q[n * w->in_features + first + k];
                word[k % 4] |= (uint8_t)(k % per_word < 4 ? value : value << 4);
            }
        }
    return NQ_OK;
}

/* The workspace: [ a, rows padded to whole groups ] [ s_x of each row and group ] [ sums of a ]. */
typedef struct {
    const nq_weights *w;
    const nq_rows *kernels;
    int64_t rows, groups, padded;
    const float *bias;
    int8_t *a;
    float *scale;
    int32_t *sum;
    float *y;
} job;

static int64_t a_bytes(const nq_weights *w, int64_t rows) {
    return nq_round_up(rows * groups_of(w) * w->group, ALIGNMENT);
}

int64_t nq_weights_workspace(const nq_weights *w, int64_t rows) {
    int64_t bytes;
    if (!is_sane(w) || rows < 0 || __builtin_mul_overflow(rows, 2 * groups_of(w) * (w->group + 8), &bytes))
        return -1;
    return a_bytes(w, rows) + 8 * rows * groups_of(w);
}

static void run_strip(void *context, int64_t strip) {
    const job *j = context;
    const nq_weights *w = j->w;
    const int64_t first = strip * NQ_STRIP, count = nq_min(NQ_STRIP, w->out_features - first);
    float bias[NQ_STRIP] = {0}, y[NQ_WEIGHT_ROWS][NQ_STRIP];
    if (j->bias)
        memcpy(bias, j->bias + first, 4 * (size_t)count);
    for (int64_t row = 0, rows; row < j->rows; row += rows) {
        rows = j->rows - row < NQ_WEIGHT_ROWS ? 1 : NQ_WEIGHT_ROWS;
        const nq_strip_of_weights s = {
            .blocks = (const uint8_t *)w->packed + strip * j->groups * block_bytes(w), .block_bytes = block_bytes(w),
            .head_bytes = head_bytes(w), .groups = j->groups, .words = w->group * w->bits / 32, .bits = w->bits,
            .asymmetric = w->asymmetric, .rows = rows, .a = j->a + row * j->padded, .a_stride = j->padded,
            .scale = j->scale + row * j->groups, .sum = j->sum + row * j->groups, .bias = bias,
        };
        j->kernels->weights(&s, y);
        for (int64_t r = 0; r < rows; r++)
            memcpy(j->y + (row + r) * w->out_features + first, y[r], 4 * (size_t)count);
    }
}

nq_status nq_weights_linear(const nq_weights *w, int64_t rows, const float *x, const float *bias, float *y, void *workspace,
                            int64_t workspace_bytes) {
    const int64_t needed = nq_weights_workspace(w, rows);
    if (needed < 0)
        return NQ_BAD_ARGUMENT;
    if (workspace_bytes < needed || (workspace == NULL && needed > 0))
        return NQ_WORKSPACE;
    job j = {.w = w, .kernels = nq_find_isa(w->isa)->rows, .rows = rows, .groups = groups_of(w), .bias = bias, .y = y};
    j.padded = j.groups * w->group;
    j.a = workspace;
    j.scale = (float *)((uint8_t *)workspace + a_bytes(w, rows));
    j.sum = (int32_t *)(j.scale + rows * j.groups);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t g = 0; g < j.groups; g++) {
            const int64_t first = g * w->group, count = nq_min(w->group, w->in_features - first), at = row * j.groups + g;
            int8_t *a = j.a + row * j.padded + first;
            memset(a + count, 0, (size_t)(w->group - count));
            if (j.kernels->round_group(x + row * w->in_features + first, count, a, j.scale + at, j.sum + at))
                return NQ_NOT_FINITE;
        }
    nq_for(rows * w->in_features * w->out_features >= PARALLEL, strips_of(w), run_strip, &j);
    return NQ_OK;
}
