/* dwconv_line.h: a depthwise kernel, but for its vectors and products: a segment of a line, two pixels at a time.
 *
 * Who includes it defines VEC, LOAD, LANES and WINDOWS (whether registers suffice for pixels that overlap), and: */
#ifndef NQ_DWCONV_LINE_H
#define NQ_DWCONV_LINE_H

enum { STEP_PIXELS = 2 };

/* Adds a quad of taps to the four groups of one pixel; the last quad holds `count` taps. */
INLINE void add_quad(VEC acc[4], const uint8_t *const *taps, int64_t offset, const uint8_t *w, int64_t count);

#if WINDOWS
/* Adds all taps of a 3x3 or 5x5 filter (`size`) to STEP_PIXELS pixels that overlap. */
INLINE void add_window(VEC acc[STEP_PIXELS][4], const nq_segment *s, int64_t offset, const int size);
#endif

/* The epilogue of the forms with 8-bit outputs. */
INLINE VEC requantize_span(const VEC acc[4], const nq_segment *s, const int form);
INLINE void store_span(VEC bytes, const nq_segment *s, uint8_t *out);

/* The epilogue of the forms with 32-bit outputs. */
static void store_span_32bit(const VEC *acc, const nq_segment *s, uint8_t *out);

INLINE void step(const nq_segment *s, int64_t x, const int pixels, const int form, const int size) {
    VEC acc[STEP_PIXELS][4];
    UNROLL for (int g = 0; g < 4; g++)
        UNROLL for (int i = 0; i < pixels; i++)
            acc[i][g] = LOAD(s->epilogue->init + s->channel + 4 * LANES * g);
    const int64_t offset = s->offset + x * s->pixel_stride;
    const uint8_t *w = s->weights;
#if WINDOWS
    if (size)
        add_window(acc, s, offset, size);
#endif
    for (int64_t t = 0; t < s->tap_count && !size; t += NQ_QUAD, w += s->quad_bytes)
        UNROLL for (int i = 0; i < pixels; i++)
            add_quad(acc[i], s->taps + t, offset + i * s->pixel_stride, w, s->tap_count - t);
    UNROLL for (int i = 0; i < pixels; i++)              /* or clang begins with form C among the sums, and spills one */
        __asm__("" : "+v"(acc[i][0]), "+v"(acc[i][1]), "+v"(acc[i][2]), "+v"(acc[i][3]));
    uint8_t *out = s->out + x * s->out_stride;
    VEC bytes[STEP_PIXELS];
    UNROLL for (int i = 0; i < pixels; i++)              /* before any is stored, so that tables are loaded once */
        if (form < NQ_FORM_ACCUMULATOR)
            bytes[i] = requantize_span(acc[i], s, form);
        else
            store_span_32bit(acc[i], s, out + i * s->out_stride);
    UNROLL for (int i = 0; i < pixels; i++)
        if (form < NQ_FORM_ACCUMULATOR)
            store_span(bytes[i], s, out + i * s->out_stride);
}

INLINE void line(const nq_segment *s, const int form, const int size) {
    int64_t x = 0;
    for (; x + STEP_PIXELS <= s->pixels; x += STEP_PIXELS)
        step(s, x, STEP_PIXELS, form, size);
    if (x < s->pixels)
        step(s, x, 1, form, 0);
}

INLINE void line_of_form(const nq_segment *s, const int form) {
    if (WINDOWS && s->window == 3)
        line(s, form, 3);
    else if (WINDOWS && s->window == 5)
        line(s, form, 5);
    else
        line(s, form, 0);
}

INLINE void dwconv(const nq_segment *s) {
    if (s->epilogue->form == NQ_FORM_A)
        line_of_form(s, NQ_FORM_A);
    else if (s->epilogue->form == NQ_FORM_B)
        line_of_form(s, NQ_FORM_B);
    else if (s->epilogue->form == NQ_FORM_C_DOUBLE)
        line(s, NQ_FORM_C_DOUBLE, 0);
    else if (s->epilogue->form == NQ_FORM_C_SINGLE)
        line(s, NQ_FORM_C_SINGLE, 0);
    else
        line(s, NQ_FORM_ACCUMULATOR, 0);
}

#endif
