/* channels.c: what batch normalization does to rows of channels, each array read once.
 *
 *      rows 0..255    |   c 0..7   |   c 8..15   | ...       Sums run down a column of eight channels, in registers, and end
 *      rows 256..511  |     |      |      |      |           with the block: one result for each, so that no sum is long and
 *          ...              v             v                  threads do not change any.                                      */
#include "framework.h"

enum { PARALLEL_ELEMENTS = 1 << 16 };

typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));

typedef struct {
    int64_t rows, channels;
    const float *p, *p_shift, *q, *q_shift, *a, *b, *c;
    float *out;
} pass;

#define AT(pointer) (*(const eight *)(pointer))

static void sum_block(void *context, int64_t block) {
    const pass *s = context;
    const int64_t n = s->channels, start = block * NQ_SUM_ROWS, end = nq_min(start + NQ_SUM_ROWS, s->rows);
    float *sums = s->out + 2 * n * block, *products = sums + n;
    int64_t c = 0;
    for (; c + 8 <= n; c += 8) {
        const eight p_shift = AT(s->p_shift + c), q_shift = AT(s->q_shift + c);
        eight sum = {0}, product = {0};
        for (int64_t i = start * n + c; i < end * n; i += n) {
            const eight p = AT(s->p + i) - p_shift;
            sum += p;
            product += p * (AT(s->q + i) - q_shift);
        }
        *(eight *)(sums + c) = sum;
        *(eight *)(products + c) = product;
    }
    for (; c < n; c++) {
        sums[c] = products[c] = 0;
        for (int64_t i = start * n + c; i < end * n; i += n) {
            const float p = s->p[i] - s->p_shift[c];
            sums[c] += p;
            products[c] += p * (s->q[i] - s->q_shift[c]);
        }
    }
}

static void combine_block(void *context, int64_t block) {
    const pass *s = context;
    const int64_t n = s->channels, start = block * NQ_SUM_ROWS, end = nq_min(start + NQ_SUM_ROWS, s->rows);
    for (int64_t r = start; r < end; r++) {
        const float *p = s->p ? s->p + r * n : s->q + r * n, *q = s->q + r * n;
        float *y = s->out + r * n;
        int64_t c = 0;
        for (; c + 8 <= n; c += 8) {
            eight sum = AT(s->b + c) * (AT(q + c) - AT(s->q_shift + c)) + AT(s->c + c);
            if (s->p)
                sum = AT(s->a + c) * AT(p + c) + sum;
            *(eight *)(y + c) = sum;
        }
        for (; c < n; c++) {
            const float sum = s->b[c] * (q[c] - s->q_shift[c]) + s->c[c];
            y[c] = s->p ? s->a[c] * p[c] + sum : sum;
        }
    }
}

static nq_status run(pass *s, void (*body)(void *, int64_t)) {
    int64_t count;
    if (s->rows < 0 || s->channels < 0 || __builtin_mul_overflow(s->rows, s->channels, &count) || count > INT64_MAX / 8)
        return NQ_BAD_ARGUMENT;
    nq_for(count >= PARALLEL_ELEMENTS, nq_ceil_div(s->rows, NQ_SUM_ROWS), body, s);
    return NQ_OK;
}

nq_status nq_channel_sums(int64_t rows, int64_t channels, const float *p, const float *p_shift, const float *q,
                          const float *q_shift, float *sums) {
    pass s = {.rows = rows, .channels = channels, .p = p, .p_shift = p_shift, .q = q, .q_shift = q_shift, .out = sums};
    return run(&s, sum_block);
}

nq_status nq_channel_line(int64_t rows, int64_t channels, const float *a, const float *p, const float *b, const float *q,
                          const float *q_shift, const float *c, float *y) {
    pass s = {rows, channels, p, NULL, q, q_shift, a, b, c, y};
    return run(&s, combine_block);
}
