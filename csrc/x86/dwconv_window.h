/* dwconv_window.h: 3x3 and 5x5 filters for 32 registers of any width: whole lines of output, borders included.
 *
 * A quad is a column: one pixel of each of the filter's rows, or of the upper four of five. Pixels that overlap share
 * columns. So do two lines of a 3x3 filter with stride 1, as the fourth byte of a quad is free:
 *
 *     column    0   1   2   3              row 0   a            a b c: the weights of a column. Line 0 multiplies
 *     pixel 0   w0  w1  w2                 row 1   b  a         it by (a b c 0), line 1 by (0 a b c)
 *     pixel 1       w0  w1  w2             row 2   c  b
 *     next tile         w0  w1  w2 ..      row 3      c
 *
 * A tile is two such pixels of two such lines. Columns 2 and 3 stay in registers and are the next tile's 0 and 1, so
 * that four pixels cost two new columns; with stride 2, column 4 becomes the next tile's 0.
 *
 * The fifth row of a 5x5 filter makes two quads along the line, which both pixels share; the second one's weights are
 * moved by the stride:
 *
 *     quads     x0 x1 x2 x3 | x4 x5 x6 .
 *     pixel 0   a  b  c  d  | e
 *     pixel 1      a  b  c  | d  e               with stride 1 */
#ifndef NQ_DWCONV_WINDOW_H
#define NQ_DWCONV_WINDOW_H

#define HOLD(acc) __asm__ volatile("" : "+v"((acc)[0]), "+v"((acc)[1]), "+v"((acc)[2]), "+v"((acc)[3]))

enum { TILE_PIXELS = 2, TILE_LINES = 2, TILE_COLUMNS = 7, FIFTH_ROW = 5 };

/* The pixel of a line, or zero points beside it. */
INLINE VEC load_pixel(const nq_segment *s, const uint8_t *line, int64_t column) {
    return LOAD((uint64_t)column < (uint64_t)s->width ? line + column * s->input_stride : s->zeros);
}

/* The first four pixels of a column of `rows`. */
INLINE void load_column(VEC quad[4], const nq_segment *s, const uint8_t *const from[5], int64_t column,
                        const int rows) {
    interleave(quad, load_pixel(s, from[0], column), load_pixel(s, from[1], column), load_pixel(s, from[2], column),
               rows > 3 ? load_pixel(s, from[3], column) : ZERO);
}

INLINE const uint8_t *quad_weights(const nq_segment *s, int64_t quad) {
    return s->weights + quad * 4 * (int64_t)sizeof(VEC);
}

INLINE void add_fifth_row(VEC acc[TILE_PIXELS][4], const nq_segment *s, const uint8_t *line, int64_t column,
                          const int pixels, const int stride) {
    const int columns = stride * (pixels - 1) + 5;
    UNROLL for (int half = 0; half < 2; half++) {
        VEC quad[4], pixel[4];
        UNROLL for (int i = 0; i < 4; i++)
            pixel[i] = 4 * half + i < columns ? load_pixel(s, line, column + 4 * half + i) : ZERO;
        interleave(quad, pixel[0], pixel[1], pixel[2], pixel[3]);
        UNROLL for (int i = 0; i < pixels; i++)
            multiply(acc[i], quad, quad_weights(s, FIFTH_ROW + 2 * i + half));
    }
}

/* Columns that tiles share: as many as registers allow. */
INLINE int shared_columns(const int size, const int stride) { return size == 3 ? size - stride : 0; }

/* Pixels x .. of `lines` lines of output. The first columns are there already, and are the next tile's after. */
INLINE void tile(const nq_segment *s, const uint8_t *const from[5], uint8_t *out, VEC column[TILE_COLUMNS][4],
                 int64_t x, const int lines, const int pixels, const int size, const int stride, const int form) {
    const int shared = shared_columns(size, stride);
    const int64_t first = s->first_column + x * stride;
    VEC acc[TILE_LINES * TILE_PIXELS][4], bytes[TILE_LINES * TILE_PIXELS];
    UNROLL for (int g = 0; g < 4; g++)
        UNROLL for (int i = 0; i < lines * pixels; i++)
            acc[i][g] = LOAD(s->epilogue->init + s->channel + 4 * LANES * g);
    UNROLL for (int k = 0; k < 5; k++) {         /* size, but constant before inlining, or clang does not unroll */
        if (k >= size)
            continue;
        __asm__ volatile("" : : : "memory");     /* or gcc loads weights early, until registers are short */
        UNROLL for (int i = 0; i < pixels; i++)
            if (i * stride + k >= shared && (i + 1 == pixels || k < stride))     /* not there yet */
                load_column(column[i * stride + k], s, from, first + i * stride + k, size + lines - 1);
        UNROLL for (int g = 0; g < 4; g++)
            UNROLL for (int j = 0; j < lines; j++) {
                const VEC w = LOAD(quad_weights(s, j * size + k) + g * sizeof(VEC));
                UNROLL for (int i = 0; i < pixels; i++)
                    acc[j * pixels + i][g] = dot(acc[j * pixels + i][g], column[i * stride + k][g], w);
            }
    }
    if (size == 5)
        add_fifth_row(acc, s, from[4], first, pixels, stride);
    UNROLL for (int g = 0; g < 4; g++)           /* for all pixels, so that tables are loaded once */
        UNROLL for (int i = 0; i < lines * pixels; i++)
            if (size == 3)
                acc[i][g] = requantize_group(acc[i][g], s, g, form);
    UNROLL for (int i = 0; i < lines * pixels; i++)
        bytes[i] = size == 3 ? pack_span(acc[i], s) : requantize_span(acc[i], s, form);
    UNROLL for (int i = 0; i < lines * pixels; i++)
        store_span(bytes[i], s, out + i / pixels * s->line_stride + i % pixels * s->out_stride);
    UNROLL for (int c = 0; c < shared; c++) {
        HOLD(column[pixels * stride + c]);       /* or gcc has them twice while it multiplies, and spills a sum */
        UNROLL for (int g = 0; g < 4; g++)
            column[c][g] = column[pixels * stride + c][g];
    }
}

INLINE void tile_line(const nq_segment *s, const uint8_t *const *taps, uint8_t *out, const int lines, const int size,
                      const int stride, const int form) {
    const uint8_t *from[5];
    VEC column[TILE_COLUMNS][4];
    UNROLL for (int i = 0; i < 5; i++)
        from[i] = i < size + lines - 1 ? taps[i] + s->offset : NULL;
    UNROLL for (int c = 0; c < shared_columns(size, stride); c++)
        load_column(column[c], s, from, s->first_column + c, size + lines - 1);
    int64_t x = 0;
    for (; x + TILE_PIXELS <= s->pixels; x += TILE_PIXELS)
        tile(s, from, out + x * s->out_stride, column, x, lines, TILE_PIXELS, size, stride, form);
    if (x < s->pixels)
        tile(s, from, out + x * s->out_stride, column, x, lines, 1, size, stride, form);
}

INLINE void tile_lines(const nq_segment *s, const int size, const int stride, const int form) {
    int64_t y = 0;
    if (size == 3 && stride == 1 && s->line_step == 1)
        for (; y + TILE_LINES <= s->lines; y += TILE_LINES)
            tile_line(s, s->taps + y, s->out + y * s->line_stride, TILE_LINES, size, stride, form);
    for (; y < s->lines; y++)
        tile_line(s, s->taps + y * s->line_step, s->out + y * s->line_stride, 1, size, stride, form);
}

INLINE void tiles_of_form(const nq_segment *segment, const int form) {
    const nq_segment s = *segment;       /* a copy, or it would be read again after each store */
    if (s.size == 3 && s.stride == 1)
        tile_lines(&s, 3, 1, form);
    else if (s.size == 3)
        tile_lines(&s, 3, 2, form);
    else if (s.stride == 1)
        tile_lines(&s, 5, 1, form);
    else
        tile_lines(&s, 5, 2, form);
}

INLINE void dwconv_windows(const nq_segment *s) {
    if (is_plain(s->epilogue))
        tiles_of_form(s, FORM_PLAIN);
    else if (s->epilogue->form == NQ_FORM_A)
        tiles_of_form(s, NQ_FORM_A);
    else
        tiles_of_form(s, NQ_FORM_B);
}

#endif
