/* gemm_dotprod.c: the tile of tile_neon.h on ARMv8.2's sdot: four int8 products added to each int32.
 *
 *     byte  0       4             60
 *           | n=0   | n=1 | ..  n=15 |       each n: k, k+1, k+2, k+3, the reference's order
 *
 * It multiplies signed bytes, and activations are unsigned: a - 128 is a ^ 0x80 read as signed, so that
 *
 *     sum a w = sum (a - 128) w + 128 sum w            sum w stands behind the strip
 *
 * Sixteen bytes of a row are four quads; the lane says which. */
#include "arm.h"

#if defined(NQ_HAS_DOTPROD)
#if defined(__clang__)
BEGIN_TARGET("dotprod")
#else
BEGIN_TARGET("arch=armv8.2-a+dotprod")
#endif
#include "tile_neon.h"

static void pack_quad(const int8_t block[NQ_STRIP][NQ_QUAD], void *packed) {
    __builtin_memcpy(packed, block, QUAD_BYTES);
}

INLINE int32x4_t begin(const nq_tile *t, const int vector) {
    return vshlq_n_s32(vld1q_s32((const int32_t *)(t->weights + t->strip_bytes - NQ_SUMS_BYTES) + 4 * vector), 7);
}

INLINE int8x16_t centred(uint8x16_t a) { return vreinterpretq_s8_u8(veorq_u8(a, vdupq_n_u8(0x80))); }

INLINE int8x16_t weights_of(const uint8_t *w, int vector) { return vld1q_s8((const int8_t *)w + 16 * vector); }

/* Quad LANE of the rows' 16 bytes. No weights are loaded before it is their turn: there are no registers for them. */
#define STEP(LANE)                                                                                                     \
    __asm__ volatile("" : : : "memory");                                                                               \
    UNROLL for (int j = 0; j < VECTORS; j++) {                                                                         \
        const int8x16_t w_ = weights_of(w + QUAD_BYTES * (LANE), j);                                                   \
        UNROLL for (int i = 0; i < rows; i++)                                                                          \
            acc[i][j] = vdotq_laneq_s32(acc[i][j], w_, x[i], LANE);                                                    \
    }

INLINE void add_run(strip_sums *acc, const uint8_t *const *a, const uint8_t *w, int64_t quads, const int rows) {
    int8x16_t x[TILE_ROWS];
    int64_t quad = 0;
    for (; quad + 4 <= quads; quad += 4, w += 4 * QUAD_BYTES) {
        UNROLL for (int i = 0; i < rows; i++)
            x[i] = centred(vld1q_u8(a[i] + NQ_QUAD * quad));
        STEP(0)
        STEP(1)
        STEP(2)
        STEP(3)
    }
    for (; quad < quads; quad++, w += QUAD_BYTES) {
        UNROLL for (int i = 0; i < rows; i++) {
            uint32_t four;
            __builtin_memcpy(&four, a[i] + NQ_QUAD * quad, 4);
            x[i] = centred(vreinterpretq_u8_u32(vdupq_n_u32(four)));
        }
        STEP(0)
    }
}

INLINE void add_spread(int32x4_t *acc, uint8x16_t bytes, const uint8_t *pattern, const uint8_t *w) {
    UNROLL for (int j = 0; j < VECTORS; j++)
        acc[j] = vdotq_s32(acc[j], weights_of(w, j), centred(vqtbl1q_u8(bytes, vld1q_u8(pattern + 16 * j))));
}
END_TARGET

const nq_isa nq_isa_dotprod = {.name = "dotprod", .runs = nq_cpu_has_dotprod, TILE_NEON_TABLE};

#endif
