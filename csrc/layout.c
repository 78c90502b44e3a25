/* layout.c: channels first to channels last and back, which is a matrix transposed for each image.
 *
 *     x [batch][rows][columns]           y [batch][columns][rows]
 *        channels x pixels       -->        pixels x channels          NCHW to NHWC; the other way round for NHWC to NCHW
 *
 * Bytes move in tiles of 8 x 8, held in eight 64-bit integers: the tile's upper right and lower left quarters change
 * places, then those of each quarter, then those of each quarter's quarters.
 *
 *     a b | c d            a b | i j            a e | i m        The first byte in memory is the lowest of an integer, as
 *     e f | g h    -->     e f | m n    -->     b f | j n        on x86 and ARM.
 *     ----+----            ----+----            ----+----
 *     i j | k l            c d | k l            c g | k o
 *     m n | o p            g h | o p            d h | l p */
#include "framework.h"

#include <string.h>

enum { TILE = 8, ITEM_COLUMNS = 512 };

typedef struct {
    int64_t rows, columns, pieces;
    const uint8_t *x;
    uint8_t *y;
} pass;

/* Exchanges, between lines i and i + distance, what `mask` and its shifted counterpart select. */
INLINE void exchange(uint64_t line[TILE], const int distance, const int shift, const uint64_t mask) {
    UNROLL for (int i = 0; i < TILE; i++)
        if ((i & distance) == 0) {
            const uint64_t difference = (line[i] >> shift ^ line[i + distance]) & mask;
            line[i + distance] ^= difference;
            line[i] ^= difference << shift;
        }
}

INLINE void move_tile(const uint8_t *x, int64_t columns, uint8_t *y, int64_t rows) {
    uint64_t line[TILE];
    UNROLL for (int i = 0; i < TILE; i++)
        memcpy(&line[i], x + i * columns, TILE);
    exchange(line, 4, 32, 0x00000000FFFFFFFF);
    exchange(line, 2, 16, 0x0000FFFF0000FFFF);
    exchange(line, 1, 8, 0x00FF00FF00FF00FF);
    UNROLL for (int i = 0; i < TILE; i++)
        memcpy(y + i * rows, &line[i], TILE);
}

/* Columns first .. end, byte by byte, of the rows from first_row on. */
INLINE void move_bytes(const uint8_t *x, int64_t columns, uint8_t *y, const int64_t first_row, const int64_t rows,
                       int64_t first, int64_t end) {
    for (int64_t c = first; c < end; c++)
        for (int64_t r = first_row; r < rows; r++)
            y[c * rows + r] = x[r * columns + c];
}

/* Eight pixels of three colours: byte k of the 24 is colour k % 3 of pixel k / 3. */
INLINE void move_colours(const uint8_t *x, int64_t columns, uint8_t *y) {
    uint64_t line[3], out[3] = {0, 0, 0};
    UNROLL for (int i = 0; i < 3; i++)
        memcpy(&line[i], x + i * columns, TILE);
    UNROLL for (int k = 0; k < 3 * TILE; k++)
        out[k / TILE] |= (line[k % 3] >> 8 * (k / 3) & 0xFF) << 8 * (k % TILE);
    memcpy(y, out, sizeof out);
}

static void run_item(void *context, int64_t item) {
    const pass p = *(const pass *)context;
    const int64_t image = item / p.pieces, first = item % p.pieces * ITEM_COLUMNS;
    const int64_t end = nq_min(first + ITEM_COLUMNS, p.columns), tiles_end = p.rows / TILE * TILE;
    const uint8_t *x = p.x + image * p.rows * p.columns;
    uint8_t *y = p.y + image * p.rows * p.columns;
    int64_t c = first;
    for (; p.rows == 3 && c + TILE <= end; c += TILE)
        move_colours(x + c, p.columns, y + 3 * c);
    for (; c + TILE <= end; c += TILE) {
        for (int64_t r = 0; r < tiles_end; r += TILE)
            move_tile(x + r * p.columns + c, p.columns, y + c * p.rows + r, p.rows);
        move_bytes(x, p.columns, y, tiles_end, p.rows, c, c + TILE);
    }
    move_bytes(x, p.columns, y, 0, p.rows, c, end);
}

nq_status nq_transpose(int64_t batch, int64_t rows, int64_t columns, const void *x, void *y) {
    int64_t count;
    if (batch < 0 || rows < 0 || columns < 0 || __builtin_mul_overflow(batch, rows, &count) ||
        __builtin_mul_overflow(count, columns, &count))
        return NQ_BAD_ARGUMENT;
    pass p = {rows, columns, nq_ceil_div(columns, ITEM_COLUMNS), x, y};
    nq_for(count >= 1 << 18, count ? batch * p.pieces : 0, run_item, &p);
    return NQ_OK;
}
