/* gemm_ref.c: the specification of every micro-kernel, in scalar C. Read this one first.
 *
 * One function fills the whole table: rows and strips are bounds of plain loops. The packed weights of a strip are
 *
 *     byte  0       4       8            60
 *           | n=0   | n=1   | n=2 | ... | n=15  |     one quad: k, k+1, k+2, k+3 of each of the 16 channels
 *           | k..k+3| k..k+3|
 *
 * quad after quad, tap after tap. Sums are taken in uint32_t, where wrapping is defined: nq_bind has proved that the
 * final value fits int32, so it does not matter what the partial sums do on the way. */
#include "../numerics.h"
#include "../ukernel.h"

#include <string.h>

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    memcpy(packed, block, NQ_STRIP * NQ_QUAD);
}

static uint32_t dot(const nq_tile *t, const uint8_t *row, int64_t strip, int64_t n) {
    const int8_t *w = (const int8_t *)t->weights + strip * t->strip_bytes + n * NQ_QUAD;
    uint32_t sum = 0;
    for (int64_t tap = 0; tap < t->tap_count; tap++) {
        const uint8_t *a = row + t->taps[tap];
        for (int64_t quad = 0; quad < t->quads; quad++, w += NQ_STRIP * NQ_QUAD)
            for (int64_t k = 0; k < NQ_QUAD; k++) {
                const int64_t at = t->spread ? t->spread[quad][n * NQ_QUAD + k] : quad * NQ_QUAD + k;
                sum += (uint32_t)(a[at] * w[k]);
            }
    }
    return sum;
}

static void store_32bit(const nq_epilogue *e, float value, uint8_t *out) {
    value = value > e->lo ? value : e->lo;
    memcpy(out, &value, 4);
}

static void store_8bit(const nq_epilogue *e, float value, uint8_t *out) {
    *out = (uint8_t)((nq_rint(nq_clamp(value, e->lo, e->hi)) + e->zero_point) ^ e->y_flip);
}

/* see nq_form in nanoquant.h */
void nq_store_ref(const nq_epilogue *e, int64_t channel, int32_t acc, uint8_t *out, int64_t n) {
    const float mul = e->mul[channel], badd = e->badd[channel], two_step = (float)acc * e->pre * mul + badd;
    int64_t steps;
    switch (e->form) {
    case NQ_FORM_A:
        store_8bit(e, nq_fma(badd, e->pre, (float)acc) * mul, out + n);
        break;
    case NQ_FORM_B:
        store_8bit(e, two_step * e->post + e->offset, out + n);
        break;
    case NQ_FORM_ACCUMULATOR:
        memcpy(out + 4 * n, &acc, 4);
        break;
    case NQ_FORM_D_FUSED:
        store_32bit(e, nq_fma((float)acc, mul, badd), out + 4 * n);
        break;
    case NQ_FORM_D_TWO_STEP:
        store_32bit(e, two_step, out + 4 * n);
        break;
    default:             /* form C; the clamp's bounds are integers: float holds them, and the clamped steps */
        steps = nq_multiply(acc, e->multiplier[channel], e->shift[channel], e->form == NQ_FORM_C_SINGLE);
        store_8bit(e, (float)steps, out + n);
    }
}

static void tile(const nq_tile *t) {
    for (int64_t i = 0; i < t->row_count; i++)
        for (int64_t n = 0; n < t->columns; n++) {
            int64_t channel = t->channel + n;
            uint32_t acc = (uint32_t)t->epilogue->init[channel];
            if (t->zp_w)
                acc -= (uint32_t)t->zp_w[channel] * (uint32_t)t->row_sum[i];
            acc += dot(t, t->rows[i], n / NQ_STRIP, n % NQ_STRIP);
            nq_store_ref(t->epilogue, channel, (int32_t)acc, t->out[i], n);
        }
}

static int runs(void) { return 1; }

#define TALL {0, tile, tile, tile, tile, tile, tile, tile, tile}

const nq_isa nq_isa_ref = {
    .name = "ref",
    .runs = runs,
    .quad_bytes = NQ_STRIP * NQ_QUAD,
    .pack_quad = pack_quad,
    .max_rows = {0, NQ_MAX_ROWS, NQ_MAX_ROWS, NQ_MAX_ROWS, NQ_MAX_ROWS},
    .gemm = {TALL, TALL, TALL, TALL, TALL},
    .rows = &nq_rows_ref,
};
