/* patches.c: the product over rows whose runs are copied together first.
 *
 * A network's first layer has three input channels: a line of its 3x3 filter is a run of 9 bytes, which costs three quads
 * of 4, and three such lines cost 9 quads where the 27 bytes of a patch fit in 7. So the runs are joined:
 *
 *     haloed image                                 patches, one row each
 *       . [0 0 0]# # # #                             0 0 0 1 1 1 2 2 2 - - - -
 *       . [1 1 1]# # # #          -->                0 0 0 1 1 1 2 2 2 - - - -     copied 16 bytes at a time: what is
 *       . [2 2 2]# # # #                             . . .                         too much, the next piece overwrites
 *
 * and so are the pixels that a strided 1x1 filter picks, if many strips read them: a piece each. A part of the rows is
 * copied at a time, so that it is still in the cache when it is read. nq_pack_sizes decides who pays for that. */
#include "framework.h"

#include <string.h>

enum { COPY_BYTES = 16, ITEM_ROWS = 128, PASS_BYTES = 1 << 17 };

typedef struct {
    const nq_gemm *from;
    int64_t first, count;        /* rows of this pass */
    uint8_t *to;
} gathering;

static int64_t patch_bytes(const nq_packed *p) {
    const int64_t piece = p->run / p->pieces;
    return nq_round_up(p->run - piece + nq_round_up(piece, COPY_BYTES), NQ_QUAD);
}

static int64_t pass_rows(const nq_packed *p) { return nq_round_up(nq_max(PASS_BYTES / patch_bytes(p), 1), ITEM_ROWS); }

int64_t nq_patches_size(const nq_packed *p) { return p->pieces ? pass_rows(p) * patch_bytes(p) : 0; }

static void copy_chunks(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, int64_t count) {
    for (; count > 0; count--, to += to_stride, from += from_stride)
        memcpy(to, from, COPY_BYTES);
}

static void gather_rows(void *context, int64_t item) {
    const gathering *g = context;
    const nq_gemm *m = g->from;
    const int64_t pieces = m->packed->pieces, piece = m->packed->run / pieces, stride = patch_bytes(m->packed);
    const int64_t end = g->first + nq_min((item + 1) * ITEM_ROWS, g->count);
    uint8_t *to = g->to + item * ITEM_ROWS * stride;
    for (int64_t row = g->first + item * ITEM_ROWS, count; row < end; row += count, to += count * stride) {
        const uint8_t *from = nq_row(m, row);
        count = nq_min(end - row, m->out_size[2] - row % m->out_size[2]);        /* rows of one line */
        for (int64_t i = 0; i < pieces; i++)
            for (int64_t k = 0; k < piece; k += COPY_BYTES)
                copy_chunks(to + i * piece + k, stride, from + m->taps[i] + k, m->in_stride[3], count);
    }
}

void nq_patches_run(const nq_gemm *rows, uint8_t *patches) {
    const int64_t no_offset = 0, pixel = rows->out_stride[3];
    nq_gemm m = *rows;
    m.taps = &no_offset;
    m.base = patches;
    m.in_stride[3] = patch_bytes(rows->packed);
    m.out_size[0] = m.out_size[1] = 1;
    gathering g = {.from = rows, .to = patches};
    for (; g.first < rows->rows; g.first += g.count) {
        g.count = nq_min(pass_rows(rows->packed), rows->rows - g.first);
        nq_for(g.count * m.in_stride[3] >= PASS_BYTES / 2, nq_ceil_div(g.count, ITEM_ROWS), gather_rows, &g);
        m.rows = m.tail_row = m.out_size[2] = g.count;
        m.out = rows->out + g.first * pixel;
        nq_gemm_run(&m);
    }
}
