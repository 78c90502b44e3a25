/* dwconv_line.h: a depthwise kernel for any filter, but for its vectors and products: a segment of a line, two pixels
 * at a time; and the epilogue of all depthwise kernels.
 *
 * Who includes it defines VEC, LOAD, LANES, OP and requantize_below (epilogue_*.h), and: */
#ifndef NQ_DWCONV_LINE_H
#define NQ_DWCONV_LINE_H

enum { STEP_PIXELS = 2, FORM_PLAIN = -1 };

/* Form A without a fused operation, and without a clamp before pack_span. */
INLINE int is_plain(const nq_epilogue *e) { return e->narrow && e->form == NQ_FORM_A && e->pre == 1.0f; }

/* Adds a quad of taps to the four groups of one pixel; the last quad holds `count` taps. */
INLINE void add_quad(VEC acc[4], const uint8_t *const *taps, int64_t offset, const uint8_t *w, int64_t count);

INLINE void store_span(VEC bytes, const nq_segment *s, uint8_t *out);

/* The epilogue of the forms with 32-bit outputs. */
static void store_span_32bit(const VEC *acc, const nq_segment *s, uint8_t *out);

/* One of four groups: y - zero_point as int32. */
INLINE VEC requantize_group(VEC acc, const nq_segment *s, const int group, const int form) {
    const nq_epilogue *e = s->epilogue;
    const int64_t entry = s->channel + 4 * LANES * group;
    if (form != FORM_PLAIN)
        return requantize_below(acc, e, entry, form);
    return OP(cvtps_epi32)(OP(mul_ps)(OP(add_ps)(OP(cvtepi32_ps)(acc), OP(loadu_ps)(e->badd + entry)),
                                      OP(loadu_ps)(e->mul + entry)));
}

/* gcc 12 keeps a vector of 256 bits that it has loaded on the stack, for the second time it is needed. */
#if LANES > 2 || defined(__clang__)
#define LOAD_AGAIN
#else
#define LOAD_AGAIN __asm__ volatile("" : : : "memory")
#endif

/* Four groups become bytes by packs and packus, which undo the interleaving (dwconv.c). */
INLINE VEC pack_span(const VEC y[4], const nq_segment *s) {
    const VEC low = OP(adds_epi16)(OP(packs_epi32)(y[0], y[1]), LOAD(s->limits->zero_point));
    LOAD_AGAIN;
    const VEC high = OP(adds_epi16)(OP(packs_epi32)(y[2], y[3]), LOAD(s->limits->zero_point));
    return OP(min_epu8)(OP(max_epu8)(OP(packus_epi16)(low, high), LOAD(s->limits->lowest)), LOAD(s->limits->highest)) ^
           LOAD(s->limits->flip);
}

INLINE VEC requantize_span(const VEC acc[4], const nq_segment *s, const int form) {
    VEC y[4];
    UNROLL for (int g = 0; g < 4; g++)
        y[g] = requantize_group(acc[g], s, g, form);
    return pack_span(y, s);
}

INLINE void step(const nq_segment *s, int64_t x, const int pixels, const int form) {
    VEC acc[STEP_PIXELS][4], bytes[STEP_PIXELS];
    UNROLL for (int g = 0; g < 4; g++)
        UNROLL for (int i = 0; i < pixels; i++)
            acc[i][g] = LOAD(s->epilogue->init + s->channel + 4 * LANES * g);
    const int64_t offset = s->offset + x * s->pixel_stride;
    const uint8_t *w = s->weights;
    for (int64_t t = 0; t < s->tap_count; t += NQ_QUAD, w += s->quad_bytes)
        UNROLL for (int i = 0; i < pixels; i++)
            add_quad(acc[i], s->taps + t, offset + i * s->pixel_stride, w, s->tap_count - t);
    UNROLL for (int i = 0; i < pixels; i++)              /* or clang begins with form C among the sums, and spills one */
        __asm__("" : "+v"(acc[i][0]), "+v"(acc[i][1]), "+v"(acc[i][2]), "+v"(acc[i][3]));
    uint8_t *out = s->out + x * s->out_stride;
    UNROLL for (int i = 0; i < pixels; i++)              /* before any is stored, so that tables are loaded once */
        if (form < NQ_FORM_ACCUMULATOR)
            bytes[i] = requantize_span(acc[i], s, form);
        else
            store_span_32bit(acc[i], s, out + i * s->out_stride);
    UNROLL for (int i = 0; i < pixels; i++)
        if (form < NQ_FORM_ACCUMULATOR)
            store_span(bytes[i], s, out + i * s->out_stride);
}

INLINE void line(const nq_segment *s, const int form) {
    int64_t x = 0;
    for (; x + STEP_PIXELS <= s->pixels; x += STEP_PIXELS)
        step(s, x, STEP_PIXELS, form);
    if (x < s->pixels)
        step(s, x, 1, form);
}

INLINE void dwconv(const nq_segment *s) {
    if (is_plain(s->epilogue))
        line(s, FORM_PLAIN);
    else if (s->epilogue->form == NQ_FORM_A)
        line(s, NQ_FORM_A);
    else if (s->epilogue->form == NQ_FORM_B)
        line(s, NQ_FORM_B);
    else if (s->epilogue->form == NQ_FORM_C_DOUBLE)
        line(s, NQ_FORM_C_DOUBLE);
    else if (s->epilogue->form == NQ_FORM_C_SINGLE)
        line(s, NQ_FORM_C_SINGLE);
    else
        line(s, NQ_FORM_ACCUMULATOR);
}

#endif
