/* epilogue_512.h: the forms in 512-bit registers, and their outputs to memory: of a tile, one pixel of up to four strips, 16
 * channels to a register.
 *
 * Whoever has sums in registers includes it between BEGIN_TARGET and END_TARGET. */
#ifndef NQ_EPILOGUE_512_H
#define NQ_EPILOGUE_512_H

#define VEC __m512i
#define VEC_FLOAT __m512
#define LANES 4
#define LOAD(address) _mm512_loadu_si512(address)
#define ZERO _mm512_setzero_si512()
#define OP(name) _mm512_##name

#include "forms.h"

enum { TILE_STRIPS = 4 };        /* at most, in a tile of 512-bit registers */

INLINE __m512i merge_lanes(__m512i even, __m512i odd) {
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

INLINE __m512i shift_right_64(__m512i value, __m512i by) { return _mm512_srav_epi64(value, by); }

INLINE __m512i clamp_64(__m512i value, int64_t lo, int64_t hi) {
    return _mm512_min_epi64(_mm512_max_epi64(value, _mm512_set1_epi64(lo)), _mm512_set1_epi64(hi));
}

/* One pixel of `strips` strips: accumulators to outputs. The two packs of to_bytes work inside 128-bit lanes and leave the
 * groups of four channels in the order 0 4 8 12 | 1 5 9 13 | ...; one vpermd puts them back. */
INLINE void store_row(const __m512i *acc, const nq_epilogue *e, int64_t channel, int64_t columns, uint8_t *out,
                      const int strips, const int form) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i y[TILE_STRIPS];
    if (form >= NQ_FORM_ACCUMULATOR) {
        UNROLL for (int j = 0; j < strips; j++, columns -= 16)
            _mm512_mask_storeu_epi32(out + 64 * j, (__mmask16)(columns >= 16 ? 0xFFFF : (1u << columns) - 1),
                                     to_32bit(acc[j], e, channel + 16 * j));
        return;
    }
    UNROLL for (int j = 0; j < TILE_STRIPS; j++)
        y[j] = j < strips ? requantize_below(acc[j], e, channel + 16 * j, form) : y[strips > 2 ? 0 : j % 2 * (strips - 1)];
    const __m512i bytes = _mm512_permutexvar_epi32(order, to_bytes(y, e));
    _mm512_mask_storeu_epi8(out, columns >= 64 ? ~0ull : (1ull << columns) - 1, bytes);
}

#endif
