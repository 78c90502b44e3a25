/* gemm.c: the loops around the micro-kernel.
 *
 *                        strips of 16 output channels
 *                     panel 0       panel 1       panel 2
 *     rows          +-------------+-------------+----------+
 *     (output       |  item 0     |  item 3     |  item 6  |      an item: some tiles of one panel;
 *      pixels)      +-------------+-------------+----------+      threads take items from one counter
 *                   |  item 1     |  item 4     |  item 7  |
 *                   +-------------+-------------+----------+
 *                   |  item 2     |  item 5     |  item 8  |
 *                   +-------------+-------------+----------+
 *
 * A panel is as many strips as the micro-kernel's widest tile, unless their weights would not stay in the second-level
 * cache. Items walk down a panel first, so that they do, while the rows stream by. There is no blocking over the sum: the
 * tile keeps it in registers.
 *
 * Rows are dealt out evenly: 49 rows for a tile of at most 6 become 4 tiles of 6 and 5 of 5, not 8 of 6 and one of 1. */
#include "framework.h"

enum { ITEM_MACS = 1 << 22, PANEL_BYTES = 1 << 18, PARALLEL_MACS = 1 << 20, ITEMS_PER_THREAD = 4, SUM_ROWS = 64 };

typedef struct {
    const nq_gemm *g;
    const nq_isa *isa;
    int64_t panels, row_blocks;          /* per block of groups */
    uint8_t spread[NQ_SPREAD_QUADS][NQ_STRIP * NQ_QUAD];
} plan;

/* Where a row lies, and how many follow it at equal distances, itself included. */
typedef struct {
    const uint8_t *in;
    uint8_t *out;
    int64_t left;
} place;

static place find_row(const nq_gemm *g, int64_t row) {
    const int64_t *size = g->out_size, *o = g->out_stride, line = row / size[2], plane = line / size[1];
    const int64_t x = row % size[2], y = line % size[1], z = plane % size[0], image = plane / size[0];
    place at = {nq_row(g, row), g->out + image * o[0] + z * o[1] + y * o[2] + x * o[3], size[2] - x};
    if (row >= g->tail_row)
        at.in = g->tail + (at.in - g->tail_start);
    else
        at.left = nq_min(at.left, g->tail_row - row);
    return at;
}

static const place before_row = {.left = 1};

/* Where `row` lies, if `at` is the row before it, or before_row: two additions, and divisions where a line ends. */
static place next_row(const nq_gemm *g, place at, int64_t row) {
    if (--at.left == 0)
        return find_row(g, row);
    at.in += g->in_stride[3];
    at.out += g->out_stride[3];
    return at;
}

static int64_t strip_bytes(const nq_packed *p) { return p->weight_bytes / ((int64_t)p->blocks * p->strips); }

static void run_item(void *context, int64_t item) {
    const plan *plan_ = context;
    const nq_gemm *g = plan_->g;
    const nq_packed *p = g->packed;
    const int64_t row_block = item % plan_->row_blocks, panel = item / plan_->row_blocks % plan_->panels;
    const int64_t block = item / plan_->row_blocks / plan_->panels;
    const int64_t strip = panel * p->strips / plan_->panels, strips = (panel + 1) * p->strips / plan_->panels - strip;
    const int64_t first = row_block * g->rows / plan_->row_blocks;
    const int64_t count = (row_block + 1) * g->rows / plan_->row_blocks - first;
    const int64_t tiles = nq_ceil_div(count, plan_->isa->max_rows[strips]);
    const int64_t block_outputs = p->shape.out_channels / p->blocks;
    nq_tile tile = {
        .taps = g->taps,
        .tap_count = p->taps,
        .quads = p->quads,
        .spread = p->spread ? plan_->spread : NULL,
        .strip_bytes = strip_bytes(p),
        .pairs_fit = p->pairs_fit,
        .epilogue = g->epilogue,
        .zp_w = p->zero_point,
        .channel = (block * p->strips + strip) * NQ_STRIP,
        .columns = nq_min(strips * NQ_STRIP, block_outputs - strip * NQ_STRIP),
    };
    tile.weights = (const uint8_t *)p->weights + (block * p->strips + strip) * tile.strip_bytes;
    const int64_t input = p->shape.in_channels / p->blocks * block;
    const int64_t output = (block * block_outputs + strip * NQ_STRIP) * nq_element(g->epilogue);
    place at = before_row;
    for (int64_t i = 0, row = first; i < tiles; i++) {
        tile.row_count = count / tiles + (i < count % tiles);
        for (int64_t r = 0; r < tile.row_count; r++, row++) {
            at = next_row(g, at, row);
            tile.rows[r] = at.in + input;
            tile.out[r] = at.out + output;
        }
        if (p->zero_point)
            for (int64_t r = 0; r < tile.row_count; r++)
                tile.row_sum[r] = g->row_sums[block * g->rows + row - tile.row_count + r];
        plan_->isa->gemm[p->spread ? 0 : strips][tile.row_count](&tile);
    }
}

/* row_sums[block][row]: what the weights' zero points are multiplied by. Reads the runs' own bytes and no more. */
static void sum_rows(void *context, int64_t chunk) {
    const plan *plan_ = context;
    const nq_gemm *g = plan_->g;
    const nq_packed *p = g->packed;
    place at = before_row;
    for (int64_t row = chunk * SUM_ROWS; row < nq_min(g->rows, (chunk + 1) * SUM_ROWS); row++) {
        at = next_row(g, at, row);
        for (int64_t block = 0; block < p->blocks; block++) {
            int32_t sum = 0;
            for (int64_t tap = 0; tap < p->taps; tap++)
                sum += (int32_t)plan_->isa->rows->sum_bytes(
                    at.in + g->taps[tap] + p->shape.in_channels / p->blocks * block, p->run);
            g->row_sums[block * g->rows + row] = sum;
        }
    }
}

void nq_gemm_run(const nq_gemm *g) {
    const nq_packed *p = g->packed;
    plan plan_ = {.g = g, .isa = nq_find_isa(p->isa)};
    if (g->rows == 0 || p->strips == 0)
        return;
    if (p->spread)
        nq_spread_pattern(p, plan_.spread);
    int64_t widest = NQ_MAX_STRIPS;
    while (plan_.isa->max_rows[widest] == 0 || (widest > 1 && widest * strip_bytes(p) > PANEL_BYTES))
        widest--;
    plan_.panels = nq_ceil_div(p->strips, widest);
    const int64_t width = nq_ceil_div(p->strips, plan_.panels);
    const int64_t panels = p->blocks * plan_.panels;
    const int64_t macs_per_row = width * NQ_STRIP * nq_max((int64_t)p->taps * p->quads * NQ_QUAD, 1);
    const int parallel = g->rows * panels * macs_per_row >= PARALLEL_MACS && nq_get_num_threads() > 1;
    int64_t item_rows = nq_max(ITEM_MACS / macs_per_row, 1);
    if (parallel)                        /* enough items that no thread waits long for another's last one */
        item_rows = nq_min(item_rows, nq_ceil_div(g->rows * panels, ITEMS_PER_THREAD * nq_get_num_threads()));
    item_rows = nq_round_up(item_rows, plan_.isa->max_rows[width]);
    plan_.row_blocks = nq_ceil_div(g->rows, item_rows);

    if (p->zero_point)
        nq_for(parallel, nq_ceil_div(g->rows, SUM_ROWS), sum_rows, &plan_);
    nq_for(parallel, panels * plan_.row_blocks, run_item, &plan_);
}
