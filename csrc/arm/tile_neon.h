/* tile_neon.h: a tile of one strip in 128-bit registers, four for each row.
 *
 *                 channels 0-3   4-7   8-11   12-15
 *     row 0          acc        acc    acc     acc       16 accumulators for 4 rows, 4 registers for the rows' bytes, and
 *     row 1          acc        acc    acc     acc       at most 4 for weights, each of which serves all rows: QNNPACK's
 *     row 2          acc        acc    acc     acc       tile turned on its side, since strips are 16 channels wide
 *     row 3          acc        acc    acc     acc
 *
 * Whoever includes it defines three functions, of which `rows` is a constant: what the accumulators begin with besides `init`,
 * a run's products, and those of 16 bytes that are spread. A packed quad has 64 bytes. */
#ifndef NQ_TILE_NEON_H
#define NQ_TILE_NEON_H

enum { TILE_ROWS = 4, VECTORS = 4, QUAD_BYTES = NQ_STRIP * NQ_QUAD };

typedef int32x4_t strip_sums[VECTORS];

INLINE int32x4_t begin(const nq_tile *t, const int vector);
INLINE void add_run(strip_sums *acc, const uint8_t *const *a, const uint8_t *w, int64_t quads, const int rows);
INLINE void add_spread(int32x4_t *acc, uint8x16_t bytes, const uint8_t *pattern, const uint8_t *w);

/* Forms A and B: y - zero_point, clamped from above; vcvtn rounds half to even, and saturates. */
INLINE int32x4_t requantize_below(int32x4_t acc, const nq_epilogue *e, int64_t channel) {
    const float32x4_t value = vcvtq_f32_s32(acc), badd = vld1q_f32(e->badd + channel), mul = vld1q_f32(e->mul + channel);
    const float32x4_t y = e->form == NQ_FORM_A
                              ? vmulq_f32(vfmaq_f32(value, badd, vdupq_n_f32(e->pre)), mul)
                              : vaddq_f32(vmulq_f32(vaddq_f32(vmulq_f32(vmulq_f32(value, vdupq_n_f32(e->pre)), mul), badd),
                                                    vdupq_n_f32(e->post)), vdupq_n_f32(e->offset));
    return vcvtnq_s32_f32(vminq_f32(y, vdupq_n_f32(e->hi)));
}

INLINE int has_vectors(const nq_epilogue *e) { return e->form == NQ_FORM_A || e->form == NQ_FORM_B; }

/* Other forms go to the specification, sum by sum; from a copy, since what has an address is in no register. */
INLINE void store_plainly(const int32x4_t *acc, const nq_epilogue *e, int64_t channel, uint8_t *out, int64_t columns) {
    int32_t sums[NQ_STRIP];
    for (int j = 0; j < VECTORS; j++)
        vst1q_s32(sums + 4 * j, acc[j]);
    for (int64_t n = 0; n < columns; n++)
        nq_store_ref(e, channel + n, sums[n], out, n);
}

INLINE uint8x16_t to_bytes(const int32x4_t *acc, const nq_epilogue *e, int64_t channel) {
    int32x4_t y[VECTORS];
    UNROLL for (int j = 0; j < VECTORS; j++)
        y[j] = requantize_below(acc[j], e, channel + 4 * j);
    const uint8x16_t lowest = vdupq_n_u8((uint8_t)((int32_t)e->lo + e->zero_point));
    return veorq_u8(vmaxq_u8(narrow_sixteen(y, e->zero_point), lowest), vdupq_n_u8((uint8_t)e->y_flip));
}

INLINE void store_some(uint8_t *out, uint8x16_t bytes, int64_t columns) {
    if (columns >= NQ_STRIP) {
        vst1q_u8(out, bytes);
        return;
    }
    uint8_t some[NQ_STRIP];
    vst1q_u8(some, bytes);
    __builtin_memcpy(out, some, (size_t)columns);
}

/* spread: whether it is; a constant, since code for both would push accumulators out of their registers. */
INLINE void tile(const nq_tile *t, const int rows, const int spread) {
    strip_sums acc[TILE_ROWS];
    UNROLL for (int j = 0; j < VECTORS; j++) {
        const int32x4_t first = vaddq_s32(vld1q_s32(t->epilogue->init + t->channel + 4 * j), begin(t, j));
        const int32x4_t zp_w = t->zp_w ? vld1q_s32(t->zp_w + t->channel + 4 * j) : vdupq_n_s32(0);
        UNROLL for (int i = 0; i < rows; i++)
            acc[i][j] = t->zp_w ? vmlsq_n_s32(first, zp_w, t->row_sum[i]) : first;
    }
    const uint8_t *w = t->weights;
    for (int64_t tap = 0; tap < t->tap_count; tap++, w += QUAD_BYTES * t->quads) {
        const uint8_t *a[TILE_ROWS];
        UNROLL for (int i = 0; i < rows; i++)
            a[i] = t->rows[i] + t->taps[tap];
        if (!spread) {
            add_run(acc, a, w, t->quads, rows);
            continue;
        }
        for (int64_t quad = 0; quad < t->quads; quad++)
            UNROLL for (int i = 0; i < rows; i++)
                add_spread(acc[i], vld1q_u8(a[i]), t->spread[quad], w + QUAD_BYTES * quad);
    }
    const nq_epilogue e = *t->epilogue;  /* a copy, which the stores to `out` cannot change */
    UNROLL for (int i = 0; i < rows; i++)
        if (has_vectors(&e))
            store_some(t->out[i], to_bytes(acc[i], &e, t->channel), t->columns);
        else
            store_plainly(acc[i], &e, t->channel, t->out[i], t->columns);
}

#define KERNELS(ROWS)                                                                                                  \
    static void ukernel_##ROWS##x16(const nq_tile *t) { tile(t, ROWS, 0); }                                            \
    static void spread_##ROWS##x16(const nq_tile *t) { tile(t, ROWS, 1); }
KERNELS(1) KERNELS(2) KERNELS(3) KERNELS(4)

/* What the includers' tables share. */
#define ALL_ROWS(KIND) {0, KIND##_1x16, KIND##_2x16, KIND##_3x16, KIND##_4x16}
#define TILE_NEON_TABLE                                                                                                \
    .quad_bytes = QUAD_BYTES, .pack_quad = pack_quad, .max_rows = {0, TILE_ROWS}, .rows = &nq_rows_neon,               \
    .depthwise = &nq_depthwise_neon,                                                                                   \
    .gemm = {ALL_ROWS(spread), ALL_ROWS(ukernel)}

#endif
