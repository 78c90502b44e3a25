/* vec_neon.h: the vocabulary of rows.h on NEON: 4 lanes. Four vectors of int32 become one of bytes in their own order. */
#ifndef NQ_VEC_NEON_H
#define NQ_VEC_NEON_H

enum { W = 4, BLOCK = 4 * W };

typedef float32x4_t vf;
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
typedef uint8_t vb __attribute__((vector_size(16)));

INLINE vf load(const float *x) { return vld1q_f32(x); }
INLINE void store(float *y, vf x) { vst1q_f32(y, x); }
INLINE vf all(float x) { return vdupq_n_f32(x); }
INLINE vi all_ints(int32_t x) { return (vi)vdupq_n_s32(x); }
INLINE vb load_bytes(const uint8_t *x) { return (vb)vld1q_u8(x); }
INLINE void store_bytes(uint8_t *y, vb x) { vst1q_u8(y, (uint8x16_t)x); }
INLINE vb all_bytes(uint8_t x) { return (vb)vdupq_n_u8(x); }

/* The last byte first, so that each moves the others up. */
INLINE vb load_part(const uint8_t *x, int64_t count, uint8_t filler) {
    uint8x16_t y = vdupq_n_u8(filler);
    for (int64_t i = count - 1; i >= 0; i--)
        y = vsetq_lane_u8(x[i], vextq_u8(y, y, 15), 0);
    return (vb)y;
}

INLINE vi widen(const uint8_t *x) { return (vi)vmovl_u16(widen_four(x)); }
INLINE vi widen_signed(const uint8_t *x) {
    const uint16x4_t q = widen_four(x);
    return (vi)vmovl_s16(vshr_n_s16(vreinterpret_s16_u16(vshl_n_u16(q, 8)), 8));
}
INLINE vf to_float(vi x) { return vcvtq_f32_s32((int32x4_t)x); }
INLINE vi to_int(vf x) { return (vi)vcvtnq_s32_f32(x); }
INLINE vf fused(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
INLINE vf lesser(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
INLINE vf greater(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

INLINE vb lesser_bytes(vb a, vb b) { return (vb)vminq_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE vb greater_bytes(vb a, vb b) { return (vb)vmaxq_u8((uint8x16_t)a, (uint8x16_t)b); }
INLINE vi add_bytes(vi sum, vb x) { return (vi)vpadalq_u16((uint32x4_t)sum, vpaddlq_u8((uint8x16_t)x)); }

INLINE vb narrow(const vi x[4], int32_t zero_point) {
    const int32x4_t steps[4] = {(int32x4_t)x[0], (int32x4_t)x[1], (int32x4_t)x[2], (int32x4_t)x[3]};
    return (vb)narrow_sixteen(steps, zero_point);
}

/* tbl looks up 64 entries, and gives 0 beyond them; tbx leaves what is beyond its own. */
INLINE vb lookup(vb x, const uint8_t *table) {
    uint8x16_t at = (uint8x16_t)x, y = vqtbl4q_u8(vld1q_u8_x4(table), at);
    UNROLL for (int i = 1; i < 4; i++) {
        at = vsubq_u8(at, vdupq_n_u8(64));
        y = vqtbx4q_u8(y, vld1q_u8_x4(table + 64 * i), at);
    }
    return (vb)y;
}

#endif
