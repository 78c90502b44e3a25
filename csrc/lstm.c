/* lstm.c: an LSTM layer in one direction over a whole sequence, forward and backward, for training.
 *
 *     rows of a batch never meet: a few of them go through all steps at once     p_t += h_t W      (rows_product.h)
 *                                                                                gates, c', h'     (rows_lstm.h)
 *
 * Arrays are [steps][batch][...]; h and c have one entry more, the first being where the sequence starts. With `reverse`
 * the steps of p, dp and dh are visited from the last to the first; those of h and c always lie in the order of visits. */
#include "framework.h"

enum { ROWS = 8, PARALLEL = 1 << 16 };

static int64_t visited(const nq_lstm *s, int64_t t) { return s->reverse ? s->steps - 1 - t : t; }

static void forward_rows(void *context, int64_t item) {
    const nq_lstm *s = context;
    const nq_rows *kernels = nq_find_isa(s->isa)->rows;
    const int64_t H = s->hidden, first = item * ROWS, rows = nq_min(ROWS, s->batch - first);
    for (int64_t t = 0; t < s->steps; t++) {
        float *p = s->gates + (visited(s, t) * s->batch + first) * 4 * H, *h = s->h + (t * s->batch + first) * H;
        float *c = s->c + (t * s->batch + first) * H, *h_next = h + s->batch * H, *c_next = c + s->batch * H;
        kernels->multiply(&(nq_product){h, s->w, p, rows, H, 4 * H, H, 1, nq_round_up(4 * H, 16), 4 * H, 1});
        for (int64_t r = 0; r < rows; r++, p += 4 * H, c += H, c_next += H, h_next += H)
            kernels->lstm_step((float *[]){p, p + H, p + 2 * H, p + 3 * H, c, c_next, h_next}, H);
    }
}

static void backward_rows(void *context, int64_t item) {
    const nq_lstm *s = context;
    const nq_rows *kernels = nq_find_isa(s->isa)->rows;
    const int64_t H = s->hidden, first = item * ROWS, rows = nq_min(ROWS, s->batch - first);
    float *dh = s->dh + first * H, *dc = s->dc + first * H;
    for (int64_t t = s->steps - 1; t >= 0; t--) {
        const int64_t place = visited(s, t) * s->batch + first;
        float *p = s->gates + place * 4 * H, *dp = s->dp + place * 4 * H, *c = s->c + (t * s->batch + first) * H;
        const float *g = s->dy + place * H;
        for (int64_t n = 0; n < rows * H; n++)
            dh[n] += g[n];
        for (int64_t r = 0; r < rows; r++, p += 4 * H, c += H) {
            float *d = dp + 4 * r * H;
            kernels->lstm_step_back((float *[]){p, p + H, p + 2 * H, p + 3 * H, c, c + s->batch * H, dh + r * H, dc + r * H,
                                                d, d + H, d + 2 * H, d + 3 * H}, H);
        }
        kernels->multiply(&(nq_product){dp, s->w, dh, rows, 4 * H, H, 4 * H, 1, nq_round_up(H, 16), H, 0});
    }
}

static int is_sane(const nq_lstm *s, int64_t *size) {
    return nq_find_isa(s->isa) && s->steps >= 0 && s->batch >= 0 && s->hidden > 0 && s->hidden <= INT32_MAX / 64 &&
           !__builtin_mul_overflow(s->steps + 1, s->batch, size) && !__builtin_mul_overflow(*size, 16 * s->hidden, size);
}

nq_status nq_lstm_dynamic(const nq_lstm *s, const nq_dynamic *hh, float *sums, void *workspace, int64_t workspace_bytes) {
    int64_t size;
    if (!is_sane(s, &size) || hh->layer->size[2] != s->batch || hh->layer->packed->shape.in_channels != s->hidden ||
        hh->layer->packed->shape.out_channels != 4 * s->hidden)
        return NQ_BAD_ARGUMENT;
    const nq_rows *kernels = nq_find_isa(s->isa)->rows;
    const int64_t H = s->hidden, state = s->batch * H;
    for (int64_t t = 0; t < s->steps; t++) {
        float *p = s->gates + 4 * visited(s, t) * state, *h = s->h + t * state, *c = s->c + t * state;
        const nq_status status = nq_run_dynamic(hh, h, sums, workspace, workspace_bytes);
        if (status != NQ_OK)
            return status;
        for (int64_t n = 0; n < 4 * state; n++)
            p[n] += sums[n];
        for (int64_t r = 0; r < s->batch; r++, p += 4 * H, c += H)
            kernels->lstm_step((float *[]){p, p + H, p + 2 * H, p + 3 * H, c, c + state, h + state + r * H}, H);
    }
    return NQ_OK;
}

nq_status nq_lstm_run(const nq_lstm *s, int backward) {
    int64_t size;
    if (!is_sane(s, &size))
        return NQ_BAD_ARGUMENT;
    nq_for(size >= PARALLEL, nq_ceil_div(s->batch, ROWS), backward ? backward_rows : forward_rows, (void *)s);
    return NQ_OK;
}
