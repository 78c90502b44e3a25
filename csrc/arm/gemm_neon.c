/* gemm_neon.c: the tile of tile_neon.h on what every aarch64 has: smlal, int16 times int16 added to int32, as in QNNPACK; and
 * the depthwise kernel on the same.
 *
 * A quad is packed byte by byte, so that a register of weights is one k of all 16 channels:
 *
 *     byte  0    1         15   16                        a row's quad, widened: a0 a1 a2 a3
 *           | n=0 | n=1 .. n=15 | n=0 | n=1 ..            acc[n] += a0 * w[n][0], then a1 * w[n][1] ..
 *           |       k           |     k + 1               each of a lane: 16 smlal for 64 products             */
#include "arm.h"

#if defined(__aarch64__)
#include "tile_neon.h"

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    for (int k = 0; k < NQ_QUAD; k++)
        for (int n = 0; n < NQ_STRIP; n++)
            ((int8_t *)packed)[k * NQ_STRIP + n] = block[n][k];
}

INLINE int32x4_t begin(const nq_tile *t, const int vector) {
    (void)t, (void)vector;
    return vdupq_n_s32(0);
}

/* acc[n] += a[n] * w[n], n = 0..15 */
INLINE void multiply_bytes(int32x4_t *acc, uint8x16_t a, const uint8_t *w) {
    const int8x16_t b = vld1q_s8((const int8_t *)w);
    const int16x8_t a_low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(a))), b_low = vmovl_s8(vget_low_s8(b));
    const int16x8_t a_high = vreinterpretq_s16_u16(vmovl_high_u8(a)), b_high = vmovl_high_s8(b);
    acc[0] = vmlal_s16(acc[0], vget_low_s16(a_low), vget_low_s16(b_low));
    acc[1] = vmlal_high_s16(acc[1], a_low, b_low);
    acc[2] = vmlal_s16(acc[2], vget_low_s16(a_high), vget_low_s16(b_high));
    acc[3] = vmlal_high_s16(acc[3], a_high, b_high);
}

/* Byte K of the rows' quads. */
#define STEP(K)                                                                                                        \
    do {                                                                                                               \
        const int8x16_t w_ = vld1q_s8((const int8_t *)w + NQ_STRIP * (K));                                             \
        const int16x8_t low_ = vmovl_s8(vget_low_s8(w_)), high_ = vmovl_high_s8(w_);                                   \
        UNROLL for (int i = 0; i < rows; i++) {                                                                        \
            acc[i][0] = vmlal_lane_s16(acc[i][0], vget_low_s16(low_), x[i], K);                                        \
            acc[i][1] = vmlal_high_lane_s16(acc[i][1], low_, x[i], K);                                                 \
            acc[i][2] = vmlal_lane_s16(acc[i][2], vget_low_s16(high_), x[i], K);                                       \
            acc[i][3] = vmlal_high_lane_s16(acc[i][3], high_, x[i], K);                                                \
        }                                                                                                              \
    } while (0)

INLINE void add_run(strip_sums *acc, const uint8_t *const *a, const uint8_t *w, int64_t quads, const int rows) {
    for (int64_t quad = 0; quad < quads; quad++, w += QUAD_BYTES) {
        int16x4_t x[TILE_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            x[i] = vreinterpret_s16_u16(widen_four(a[i] + NQ_QUAD * quad));
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
    }
}

/* Which byte is byte k of each channel: the pattern's, every fourth. */
INLINE void add_spread(int32x4_t *acc, uint8x16_t bytes, const uint8_t *pattern, const uint8_t *w) {
    const uint8x16x4_t which = vld4q_u8(pattern);
    UNROLL for (int k = 0; k < NQ_QUAD; k++)
        multiply_bytes(acc, vqtbl1q_u8(bytes, which.val[k]), w + NQ_STRIP * k);
}

/* The depthwise kernel: one tap after the other, as in QNNPACK. dwconv.c says in which order a span's 32 channels come: by
 * fours, first lane and second in turn, which zip brings the taps to, and unzip the outputs from.
 *
 *     taps     0..3   4..7  8..11 12..15        strip 0    0..3  16..19   4..7  20..23
 *             16..19 20..23  ..    28..31  -->  strip 1    8..11 24..27  12..15 28..31                    */
static void dwconv_32(const nq_segment *s) {
    const nq_epilogue e = *s->epilogue;
    for (int64_t x = 0; x < s->pixels; x++) {
        strip_sums acc[2];
        UNROLL for (int j = 0; j < 2 * VECTORS; j++)
            acc[j / VECTORS][j % VECTORS] = vld1q_s32(e.init + s->channel + 4 * j);
        const uint8_t *w = s->weights;
        for (int64_t tap = 0; tap < s->tap_count; tap += NQ_QUAD, w += s->quad_bytes)
            UNROLL for (int k = 0; k < NQ_QUAD; k++) {
                const uint8_t *a = s->taps[tap + k] + s->offset + x * s->pixel_stride;
                const uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(a)), second = vreinterpretq_u32_u8(vld1q_u8(a + 16));
                multiply_bytes(acc[0], vreinterpretq_u8_u32(vzip1q_u32(first, second)), w + NQ_STRIP * k);
                multiply_bytes(acc[1], vreinterpretq_u8_u32(vzip2q_u32(first, second)), w + QUAD_BYTES + NQ_STRIP * k);
            }
        uint8_t *out = s->out + x * s->out_stride;
        if (has_vectors(&e)) {
            const uint32x4_t one = vreinterpretq_u32_u8(to_bytes(acc[0], &e, s->channel));
            const uint32x4_t two = vreinterpretq_u32_u8(to_bytes(acc[1], &e, s->channel + NQ_STRIP));
            store_some(out, vreinterpretq_u8_u32(vuzp1q_u32(one, two)), s->columns);
            if (s->columns > NQ_STRIP)
                store_some(out + NQ_STRIP, vreinterpretq_u8_u32(vuzp2q_u32(one, two)), s->columns - NQ_STRIP);
            continue;
        }
        for (int64_t n = 0; n < s->columns; n++) {
            const int64_t entry = n % NQ_STRIP / 4 * 8 + n / NQ_STRIP * 4 + n % 4;
            nq_store_ref(&e, s->channel + entry, ((const int32_t *)acc)[entry], out, n);
        }
    }
}

const nq_depthwise nq_depthwise_neon = {.kernels = {[2] = dwconv_32}, .quad_bytes = QUAD_BYTES, .pack_quad = pack_quad};

static int runs(void) { return 1; }

const nq_isa nq_isa_neon = {.name = "neon", .runs = runs, TILE_NEON_TABLE};

#endif
