/* cut.c: how an array of rows is dealt out to threads.
 *
 *     short rows       | item 0          long rows      | item 0 | item 1 | item 2 |
 *                      | item 0                         | item 3 | item 4 | item 5 |
 *                      | item 1
 *                      | item 1          an item is one piece of one row, or some whole rows
 *
 * Vectors that straddle two lines of the cache are stored at half speed, and NumPy's arrays start anywhere in a line. So
 * the first piece of a long row only leads to the next line, where all others start:
 *     lines       |       |       |       |       |       |       |
 *     pieces          |---|---------------|---------------|--|
 *         <---early-->                                        what the first lacks */
#include "framework.h"

enum { ITEM_ELEMENTS = 1 << 15, PARALLEL_ELEMENTS = 1 << 17, LINE = 64 };

nq_cut nq_cut_rows(int64_t rows, int64_t columns, const void *y, int64_t element) {
    nq_cut cut = {.rows = rows, .columns = columns, .parallel = rows * columns >= PARALLEL_ELEMENTS};
    const int64_t lead = (int64_t)(-(uintptr_t)y % LINE) / element;
    cut.early = columns > ITEM_ELEMENTS && lead > 0 ? ITEM_ELEMENTS - lead : 0;
    cut.item_columns = nq_min(columns, ITEM_ELEMENTS);
    cut.pieces = nq_ceil_div(columns + cut.early, cut.item_columns);
    cut.item_rows = cut.pieces > 1 ? 1 : nq_max(ITEM_ELEMENTS / columns, 1);
    cut.items = nq_ceil_div(rows, cut.item_rows) * cut.pieces;
    return cut;
}

nq_piece nq_piece_of(const nq_cut *cut, int64_t item) {
    const int64_t row = item / cut->pieces * cut->item_rows, at = item % cut->pieces * cut->item_columns - cut->early;
    const int64_t column = nq_max(at, 0);
    return (nq_piece){
        .row = row,
        .rows = nq_min(cut->item_rows, cut->rows - row),
        .column = column,
        .columns = nq_min(at + cut->item_columns, cut->columns) - column,
    };
}
