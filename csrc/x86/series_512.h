/* series_512.h: tiles below each other in one call, for sums so short that epilogues take as long as products.
 *
 * A core multiplies in some of its units, and converts, adds and packs in others, but looks only some sixty vector
 * instructions ahead: fewer than a tile's epilogue has. So the epilogue of each tile stands between the products of the next,
 * a register of outputs at a time:
 *
 *     multiplying units     | products of tile 0 |  products of tile 1   | products of tile 2    |                      |
 *     other units           |                    |  epilogue of tile 0   | epilogue of tile 1    |  epilogue of tile 2  |
 *
 *     2 strips:  2 tiles x 6 rows x 2 strips: 24 accumulators + 6 activations + 1 weight; a register of outputs is 2 rows
 *     1 strip:   2 tiles x 8 rows x 1 strip:  16 accumulators + 8 activations + 1 weight;                          4 rows
 *
 * The sums are `narrow`: steps and zero point fit int16, so that clamping is left to packs and to one minimum of 64 bytes. A
 * float minimum for each 16 would take time; so would saturating additions, which on Zen 4 are done where products are.
 *
 * For the includer of tile_512.h, if it has the dot product of dot.h. */
#ifndef NQ_SERIES_512_H
#define NQ_SERIES_512_H

/* What outputs need after packing. It is read from memory when it is used, since accumulators take the registers. */
typedef struct {
    int32_t order[16];
    int32_t zero_point, lowest, highest, flip;           /* repeated: two int16, or four bytes */
    int32_t plain;                                       /* 0..255, not flipped: packs clamp enough */
    __mmask32 columns;                                   /* of a row */
} output_bytes;

/* The compiler may not load `vector` a second time to save a register. */
INLINE __m512i keep(__m512i vector) {
    __asm__("" : "+v"(vector));
    return vector;
}

INLINE void store_rows(const nq_tile *t, __m512i bytes, __mmask32 columns, uint8_t *out, const int strips) {
    const int full = t->columns == 16 * strips;          /* a masked store takes a cycle more */
    if (full && t->out_stride == 16 * strips) {
        _mm512_storeu_si512(out, bytes);
    } else if (strips == 2) {
        const __m256i row[2] = {_mm512_castsi512_si256(bytes), _mm512_extracti64x4_epi64(bytes, 1)};
        UNROLL for (int i = 0; i < 2; i++, out += t->out_stride)
            if (full)
                _mm256_storeu_si256((__m256i *)out, row[i]);
            else
                _mm256_mask_storeu_epi8(out, columns, row[i]);
    } else {
        const __m128i row[4] = {_mm512_castsi512_si128(bytes), _mm512_extracti32x4_epi32(bytes, 1),
                                _mm512_extracti32x4_epi32(bytes, 2), _mm512_extracti32x4_epi32(bytes, 3)};
        UNROLL for (int i = 0; i < 4; i++, out += t->out_stride)
            if (full)
                _mm_storeu_si128((__m128i *)out, row[i]);
            else
                _mm_mask_storeu_epi8(out, (__mmask16)columns, row[i]);
    }
}

/* The epilogue of four registers of sums: one register of outputs. `unit`: of form A, pre is 1. */
INLINE void finish(const nq_tile *t, const output_bytes *b, const __m512i sums[4], uint8_t *out, const int strips,
                   const int form, const int unit) {
    const nq_epilogue *e = t->epilogue;
    __m512i y[4];
    UNROLL for (int n = 0; n < 4; n++) {
        const int64_t channel = t->channel + 16 * (n % strips);
        __m512 value;
        if (unit)                                        /* the same number, without a multiplying unit */
            value = _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(sums[n]), _mm512_loadu_ps(e->badd + channel)),
                                  _mm512_loadu_ps(e->mul + channel));
        else
            value = scaled(sums[n], e, channel, form);
        y[n] = _mm512_cvtps_epi32(value);
    }
    const __m512i zero_point = _mm512_set1_epi32(b->zero_point);
    const __m512i low = _mm512_add_epi16(_mm512_packs_epi32(y[0], y[1]), zero_point);
    const __m512i high = _mm512_add_epi16(_mm512_packs_epi32(y[2], y[3]), zero_point);
    __m512i bytes = _mm512_packus_epi16(low, high);
    if (!b->plain) {
        bytes = _mm512_max_epu8(bytes, _mm512_set1_epi32(b->lowest));
        bytes = _mm512_min_epu8(bytes, _mm512_set1_epi32(b->highest));
        bytes = _mm512_xor_si512(bytes, _mm512_set1_epi32(b->flip));
    }
    store_rows(t, _mm512_permutexvar_epi32(_mm512_loadu_si512(b->order), bytes), b->columns, out, strips);
}

/* One quad of a tile: acc[row * strips + strip]. `fetch` leads from the weights to those that are wanted next, or is 0. */
INLINE void add_tile_quad(const nq_tile *t, const uint8_t *a, const uint8_t *w, int64_t fetch, __m512i *acc, const int rows,
                          const int strips) {
    __m512i aq[NQ_MAX_ROWS], wq;
    _mm_prefetch(w + fetch, _MM_HINT_T1);
    UNROLL for (int n = 0; n < rows * strips; n++) {
        const int i = n % rows, j = n / rows;
        if (j == 0)
            aq[i] = keep(broadcast_quad(a + i * t->row_stride));
        if (i == 0)
            wq = keep(_mm512_load_si512(w + j * t->strip_bytes));
        acc[i * strips + j] = dot(acc[i * strips + j], aq[i], wq);
    }
}

INLINE void series_of(const nq_tile *t, const output_bytes *b, const int rows, const int strips, const int form,
                      const int unit) {
    const int cells = rows * strips;
    const int64_t share = 4 * t->quads * 4 / cells & -4; /* bytes of the first run between two registers of outputs */
    __m512i acc[NQ_MAX_ROWS * 2], sums[NQ_MAX_ROWS * 2];
    const uint8_t *x = t->rows[0];
    uint8_t *out = t->out[0];
    UNROLL for (int n = 0; n < cells; n++)
        sums[n] = _mm512_setzero_si512();                /* compilers do not see that the first tile reads none */
    for (int64_t row = 0; row < t->row_count; row += rows, x += rows * t->row_stride) {
        const uint8_t *w = t->weights, *a = x + t->taps[0], *end = a + 4 * t->quads;
        const int64_t strip = (t->row_count - row) / rows - 1;           /* the last tiles have one fetched each */
        const int64_t fetch = t->ahead && strip < strips ? t->ahead - w + strip * t->strip_bytes : 0;
        UNROLL for (int n = 0; n < cells; n++)
            acc[n] = _mm512_loadu_si512(t->epilogue->init + t->channel + 16 * (n % strips));
        if (row > 0)
            UNROLL for (int n = 0; n < cells; n += 4, out += 4 / strips * t->out_stride) {
                const uint8_t *const until = a + share;
                do {
                    add_tile_quad(t, a, w, fetch, acc, rows, strips);
                    a += 4, w += 64;
                } while (a < until);
                finish(t, b, sums + n, out, strips, form, unit);
            }
        for (int64_t tap = 0;;) {
            for (; a < end; a += 4, w += 64)
                add_tile_quad(t, a, w, fetch, acc, rows, strips);
            if (++tap == t->tap_count)
                break;
            a = x + t->taps[tap];
            end = a + 4 * t->quads;
        }
        UNROLL for (int n = 0; n < cells; n++)
            sums[n] = acc[n];
    }
    UNROLL for (int n = 0; n < cells; n += 4, out += 4 / strips * t->out_stride)
        finish(t, b, sums + n, out, strips, form, unit);
}

INLINE void series(const nq_tile *t, const int rows, const int strips) {
    const nq_epilogue *e = t->epilogue;
    const int32_t lowest = (int32_t)e->lo + e->zero_point, highest = (int32_t)e->hi + e->zero_point;
    const uint32_t each_byte = 0x01010101;
    const output_bytes bytes = {
        {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
        e->zero_point * 0x00010001, (int32_t)(lowest * each_byte), (int32_t)(highest * each_byte),
        (int32_t)(e->y_flip * each_byte), lowest == 0 && highest == 255 && e->y_flip == 0, (__mmask32)((1ull << t->columns) - 1),
    }, *b = &bytes;
    __asm__("" : "+r"(b) : "m"(bytes));                  /* or they would be registers' or the stack's */
    if (e->form == NQ_FORM_B)
        series_of(t, b, rows, strips, NQ_FORM_B, 0);
    else if (e->pre == 1.0f)
        series_of(t, b, rows, strips, NQ_FORM_A, 1);
    else
        series_of(t, b, rows, strips, NQ_FORM_A, 0);
}

static void series_8x1(const nq_tile *t) { series(t, 8, 1); }
static void series_6x2(const nq_tile *t) { series(t, 6, 2); }

#endif
