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
 * cache. Items walk down a panel first, so that they do, while the rows stream by; if rows are few, an item is several
 * panels. There is no blocking over the sum: the tile keeps it in registers.
 *
 * Rows are dealt out evenly: 49 rows for a tile of at most 6 become 4 tiles of 6 and 5 of 5, not 8 of 6 and one of 1. Long
 * lines of rows are not dealt out, but go in series. */
#include "framework.h"

enum { ITEM_MACS = 1 << 22, PANEL_BYTES = 1 << 18, PARALLEL_MACS = 1 << 20, ITEMS_PER_THREAD = 4, SUM_ROWS = 64, LONG_LINE = 24 };

typedef struct {
    const nq_gemm *g;
    const nq_isa *isa;
    int in_series;                       /* possible, and worth it: lines are long */
    int64_t panels, row_blocks;          /* per block of groups */
    int64_t least_strips, wide_panels;   /* strips of a panel, but one more in the first ones */
    int64_t item_panels;                 /* of an item with all rows; 1 if there are several blocks of rows */
    int64_t next_panel;                  /* how much further on a thread's next panel lies, as a rule */
    int64_t block_inputs, block_outputs;
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

/* Where `count` rows from `row` on lie, if `at` is the first one's place, or {0}: additions, and divisions where a line
 * ends. Then it is the place of the row after them, or has none left. */
static inline void find_rows(const nq_gemm *g, place *at, int64_t row, int64_t count, const uint8_t **in,
                             uint8_t **out) {
    for (int64_t r = 0; r < count;) {
        if (at->left == 0)
            *at = find_row(g, row + r);
        const int64_t end = nq_min(count, r + at->left);
        for (at->left -= end - r; r < end; r++, at->in += g->in_stride[3], at->out += g->out_stride[3]) {
            in[r] = at->in;
            out[r] = at->out;
        }
    }
}

/* What run_panel does, in series, as far as rows are equally far apart. A tile takes a line's rest, and more if it can. */
static void run_series(const plan *plan_, const nq_gemm *g, nq_tile *tile, int64_t strips, int64_t first, int64_t count,
                       place at) {
    const int64_t step = plan_->isa->series_rows[strips], most = plan_->isa->max_rows[strips];
    for (int64_t row = first; row < first + count; row += tile->row_count) {
        if (at.left == 0)
            at = find_row(g, row);
        const int64_t line = nq_min(at.left, first + count - row), rest = line % step;
        const int64_t rows = line - rest - (rest > 0 && rest + step <= most ? step : 0);
        if (rows < 2 * step) {
            tile->row_count = nq_min(line, most);
            find_rows(g, &at, row, tile->row_count, tile->rows, tile->out);
            plan_->isa->gemm[strips][tile->row_count](tile);
            continue;
        }
        tile->rows[0] = at.in;
        tile->out[0] = at.out;
        tile->row_count = rows;
        plan_->isa->series[strips](tile);
        at = (place){at.in + rows * g->in_stride[3], at.out + rows * g->out_stride[3], at.left - rows};
    }
}

/* Rows first .. first + count - 1 of one panel; `at` is the first one's place in the caller's arrays. `g` is a copy, whose
 * arrays begin at the panel's columns. */
static void run_panel(const plan *plan_, nq_gemm *g, nq_tile *tile, int64_t panel, int64_t first, int64_t count, place at) {
    const nq_packed *p = g->packed;
    const int64_t block = panel / plan_->panels, left_of = panel - block * plan_->panels;
    const int64_t strip = left_of * plan_->least_strips + nq_min(left_of, plan_->wide_panels);
    const int64_t strips = plan_->least_strips + (left_of < plan_->wide_panels);
    const int64_t tiles = nq_ceil_div(count, plan_->isa->max_rows[strips]), least = count / tiles, rest = count % tiles;
    tile->weights = (const uint8_t *)p->weights + (block * p->strips + strip) * tile->strip_bytes;
    tile->channel = (block * p->strips + strip) * NQ_STRIP;
    tile->columns = nq_min(strips * NQ_STRIP, plan_->block_outputs - strip * NQ_STRIP);
    const int64_t input = plan_->block_inputs * block;
    const int64_t output = (block * plan_->block_outputs + strip * NQ_STRIP) * nq_element(g->epilogue);
    g->base = plan_->g->base + input;
    g->out = plan_->g->out + output;
    at = (place){at.in + input, at.out + output, at.left};
    /* The panel's last rows have strips of the thread's next panel fetched, one for each tile. */
    const int64_t next = plan_->next_panel * strips;
    const int64_t ahead = first + count == g->rows ? nq_min(strips, p->strips - strip - next) : 0;
    if (plan_->in_series) {
        tile->ahead = ahead > 0 ? tile->weights + next * tile->strip_bytes : NULL;
        run_series(plan_, g, tile, strips, first, count, at);
        return;
    }
    nq_ukernel *const *kernels = plan_->isa->gemm[p->spread ? 0 : strips];
    for (int64_t i = 0, row = first; i < tiles; i++) {
        const int64_t rows = least + (i < rest);
        find_rows(g, &at, row, rows, tile->rows, tile->out);
        for (int64_t r = 0; p->zero_point && r < rows; r++)
            tile->row_sum[r] = g->row_sums[block * g->rows + row + r];
        row += rows;
        tile->row_count = rows;
        tile->ahead = i < ahead ? tile->weights + (next + i) * tile->strip_bytes : NULL;
        kernels[rows](tile);
    }
}

static void run_item(void *context, int64_t item) {
    const plan *plan_ = context;
    const nq_gemm *g = plan_->g;
    const nq_packed *p = g->packed;
    const int64_t row_block = item % plan_->row_blocks, panel = item / plan_->row_blocks * plan_->item_panels;
    const int64_t first = row_block * g->rows / plan_->row_blocks;
    const int64_t count = (row_block + 1) * g->rows / plan_->row_blocks - first;
    const place start = find_row(g, first);
    nq_gemm shifted = *g;
    nq_tile tile;                        /* zeros for the rest would cost as much as a small tile */
    tile.taps = g->taps;
    tile.tap_count = p->taps;
    tile.quads = p->quads;
    tile.spread = p->spread ? plan_->spread : NULL;
    tile.strip_bytes = p->weight_bytes / ((int64_t)p->blocks * p->strips);
    tile.pairs_fit = p->pairs_fit;
    tile.epilogue = g->epilogue;
    tile.zp_w = p->zero_point;
    tile.row_stride = g->in_stride[3];
    tile.out_stride = g->out_stride[3];
    for (int64_t i = panel; i < nq_min(panel + plan_->item_panels, p->blocks * plan_->panels); i++)
        run_panel(plan_, &shifted, &tile, i, first, count, start);
}

/* row_sums[block][row]: what the weights' zero points are multiplied by. Reads the runs' own bytes and no more. */
static void sum_rows(void *context, int64_t chunk) {
    const plan *plan_ = context;
    const nq_gemm *g = plan_->g;
    const nq_packed *p = g->packed;
    const int64_t first = chunk * SUM_ROWS, count = nq_min(g->rows - first, SUM_ROWS);
    const uint8_t *in[SUM_ROWS];
    uint8_t *out[SUM_ROWS];
    place at = {0};
    find_rows(g, &at, first, count, in, out);
    for (int64_t i = 0; i < count; i++)
        for (int64_t block = 0; block < p->blocks; block++) {
            int32_t sum = 0;
            for (int64_t tap = 0; tap < p->taps; tap++)
                sum += (int32_t)plan_->isa->rows->sum_bytes(in[i] + g->taps[tap] + plan_->block_inputs * block, p->run);
            g->row_sums[block * g->rows + first + i] = sum;
        }
}

void nq_gemm_run(const nq_gemm *g) {
    const nq_packed *p = g->packed;
    if (g->rows == 0 || p->strips == 0)
        return;
    plan plan_ = {.g = g, .isa = nq_find_isa(p->isa), .block_inputs = p->shape.in_channels / p->blocks,
                  .block_outputs = p->shape.out_channels / p->blocks};
    if (p->spread)
        nq_spread_pattern(p, plan_.spread);
    const int64_t all_strips = (int64_t)p->blocks * p->strips;
    plan_.in_series = plan_.isa->series_rows[1] && g->epilogue->narrow && !p->zero_point && !p->spread &&
                      p->taps > 0 && p->quads >= NQ_SERIES_QUADS && g->out_size[2] >= LONG_LINE;
    int64_t widest = plan_.in_series ? NQ_SERIES_STRIPS : NQ_MAX_STRIPS;
    while (plan_.isa->max_rows[widest] == 0 || (widest > 1 && widest * p->weight_bytes > PANEL_BYTES * all_strips))
        widest--;
    plan_.panels = nq_ceil_div(p->strips, widest);
    plan_.least_strips = p->strips / plan_.panels;
    plan_.wide_panels = p->strips % plan_.panels;
    const int64_t width = nq_ceil_div(p->strips, plan_.panels);
    const int64_t panels = p->blocks * plan_.panels;
    const int64_t macs_per_row = width * NQ_STRIP * nq_max((int64_t)p->taps * p->quads * NQ_QUAD, 1);
    const int parallel = g->rows * panels * macs_per_row >= PARALLEL_MACS && nq_get_num_threads() > 1;
    int64_t work = ITEM_MACS / macs_per_row;             /* of an item, in rows of one panel */
    if (parallel)                        /* enough items that no thread waits long for another's last one */
        work = nq_min(work, nq_ceil_div(g->rows * panels, ITEMS_PER_THREAD * nq_get_num_threads()));
    plan_.item_panels = nq_max(work / g->rows, 1);
    plan_.row_blocks = nq_ceil_div(g->rows, nq_round_up(nq_max(work, 1), plan_.isa->max_rows[width]));
    plan_.next_panel = parallel && plan_.row_blocks * plan_.item_panels == 1 ? nq_get_num_threads() : 1;

    if (p->zero_point)
        nq_for(parallel, nq_ceil_div(g->rows, SUM_ROWS), sum_rows, &plan_);
    nq_for(parallel, nq_ceil_div(panels, plan_.item_panels) * plan_.row_blocks, run_item, &plan_);
}
