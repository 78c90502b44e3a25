/* dwconv.c: depthwise convolution: every channel has a filter of its own.
 *
 * As a product it would be a matrix of which one element in 16 is not zero. Instead, vectors run along the channels of a
 * pixel, which are contiguous, and a kernel multiplies up to four taps of each at a time. To bring the four bytes of a
 * channel together, it interleaves the bytes of four vectors, which works in lanes of 16 bytes:
 *
 *     one tap, two lanes    0..3    4..7   8..11  12..15  | 16..19  20..23  24..27  28..31          channels
 *                            |       |       |       |         |       |       |       |
 *     four taps,          group 0  group 1 group 2 group 3  group 0  group 1 group 2 group 3
 *     interleaved
 *                         group 0:  0 1 2 3 16 17 18 19     each channel 32 bits wide: its bytes of four taps
 *                         group 1:  4 5 6 7 20 21 22 23     and so on
 *
 * So a group's accumulators are in this order, too, and so must be weights and tables. Narrowing four groups to bytes, again
 * in lanes, undoes it.
 *
 * A lane is a strip, and the two or four strips of a vector are a span. Where the channels are no multiple of a span, the
 * last one overlaps its neighbour and computes some channels twice: no vector reads beyond a pixel. Only a layer with
 * fewer channels than a span has no neighbour; its input is copied to memory with room behind it (conv.c).
 *
 * 3x3 and 5x5 filters have kernels for whole lines, where an instruction set has registers enough (nq_segment). For any
 * other, an output line is cut where the filter leaves the image. Pixels inside are one segment; each pixel at a border is a
 * segment of its own, whose outer taps point to a line of zero points:
 *
 *     zeros    . . . . . . . .
 *     line 0    [#]# # # # # [#]              [ ]: pixels at the borders          top line of a 3x3 filter with padding 1:
 *     line 1    [#]# # # # # [#]                                                  all taps of its first row read `zeros`
 *
 * pack.c, bind.c and conv.c serve depthwise layers and products alike; from run_item down, this takes the place of gemm.c. */
#include "framework.h"

#include <string.h>

enum {
    ITEM_MACS = 1 << 17,
    PARALLEL_MACS = 1 << 18,
    LEAST_CHANNELS = 8,
    QUARTER = NQ_STRIP / 4,
    MOST_LINES = 16,             /* of output, in a window kernel's item */
    MOST_STEP = 4
};

typedef struct {
    int64_t strips;
    int64_t channel;             /* of the layer: the span's first */
    int64_t entry;               /* of the tables: the span's first */
} span;

static span find_span(const nq_packed *p, int64_t index) {
    const int64_t strips = nq_min(p->depthwise, p->strips - index * p->depthwise);
    const int64_t last = p->shape.out_channels - strips * NQ_STRIP, entry = index * p->depthwise * NQ_STRIP;
    return (span){.strips = strips, .channel = nq_max(nq_min(entry, last), 0), .entry = entry};
}

static int64_t channel_in_span(const span *s, int64_t entry) {
    const int64_t group = entry / (s->strips * QUARTER), lane = entry / QUARTER % s->strips;
    return lane * NQ_STRIP + group * QUARTER + entry % QUARTER;
}

int64_t nq_dwconv_channel(const nq_packed *p, int64_t entry) {
    const span s = find_span(p, entry / (p->depthwise * NQ_STRIP));
    return s.channel + channel_in_span(&s, entry - s.entry);
}

/* 3 or 5: a window kernel serves the layer, as far as weights know. */
static int64_t window_size(const nq_packed *p, const nq_isa *isa) {
    const nq_conv_shape *s = &p->shape;
    const int square = s->kernel[0] == 1 && s->kernel[1] == s->kernel[2] && (s->kernel[1] == 3 || s->kernel[1] == 5);
    const int dense = s->stride[2] <= 2 && s->dilation[1] == 1 && s->dilation[2] == 1;
    return isa->depthwise->windows[2] && !p->asymmetric && square && dense ? s->kernel[1] : 0;
}

/* Tap slots of a pixel: taps by rows, once for each part of the weights; or a window's by columns (nq_depthwise). */
static int64_t slots(const nq_packed *p, const nq_isa *isa) {
    return window_size(p, isa) == 3 ? 3 * NQ_QUAD : p->taps * (p->asymmetric ? NQ_PARTS : 1);
}

static int64_t packed_quads(const nq_packed *p, const nq_isa *isa) {
    const int64_t size = window_size(p, isa), moved = size == 3 ? 3 : size == 5 ? 2 : 0;
    return nq_ceil_div(slots(p, isa), NQ_QUAD) + moved;
}

/* -1: a slot without a tap. */
static int64_t tap_of_slot(const nq_packed *p, const nq_isa *isa, int64_t slot) {
    const int64_t size = window_size(p, isa), again = slot - nq_round_up(slots(p, isa), NQ_QUAD);
    if (size == 0)
        return slot < slots(p, isa) ? slot % p->taps : -1;
    int64_t row = slot % NQ_QUAD, column = slot / NQ_QUAD;
    if (size == 3 && again >= 0) {
        row--;
        column -= size;
    } else if (column >= size) {
        row = NQ_QUAD;
        column = again >= 0 ? again - p->shape.stride[2] : slot - NQ_QUAD * size;
    }
    return row >= 0 && row < size && column >= 0 && column < size ? row * size + column : -1;
}

int nq_dwconv_overreads(const nq_packed *p) { return p->table_length > p->shape.out_channels && p->strips <= p->depthwise; }

int nq_dwconv_sizes(nq_packed *p, const nq_isa *isa) {
    const nq_conv_shape *s = &p->shape;
    const int64_t taps = (int64_t)s->kernel[0] * s->kernel[1] * s->kernel[2], channels = s->in_channels;
    p->depthwise = isa->depthwise == NULL ? 0 : isa->depthwise->kernels[4] ? 4 : 2;
    if (s->groups != channels || s->out_channels != channels || channels < LEAST_CHANNELS || taps > NQ_MAX_TAPS ||
        s->transposed)
        p->depthwise = 0;
    if (p->depthwise == 0)
        return 0;
    const int64_t whole = channels / (p->depthwise * NQ_STRIP), rest = channels % (p->depthwise * NQ_STRIP);
    p->strips = (int32_t)whole * p->depthwise;
    if (rest > 0)
        p->strips += isa->depthwise->kernels[2] && rest <= 2 * NQ_STRIP ? 2 : p->depthwise;
    p->merged = p->blocks = 1;
    p->pieces = p->spread = p->quads = 0;
    p->taps = (int32_t)taps;
    p->run = s->in_channels;
    p->table_length = (int64_t)p->strips * NQ_STRIP;
    p->weight_bytes = p->strips * packed_quads(p, isa) * isa->depthwise->quad_bytes;
    return 1;
}

/* The weight of a slot. w - zp_w = d lies in -255..255 and is dealt out to three slots: the parts floor(d / 3),
 * floor((d + 1) / 3) and floor((d + 2) / 3) fit a byte, and their sum is d. */
static int8_t slot_weight(const nq_packed *p, const nq_isa *isa, const int8_t *weights, const int32_t *zero_point,
                          int64_t channel, int64_t slot) {
    const int64_t tap = tap_of_slot(p, isa, slot);
    if (channel >= p->shape.out_channels || tap < 0)
        return 0;
    const int32_t w = weights[channel * p->taps + tap];
    if (!p->asymmetric)
        return (int8_t)w;
    const int32_t part = w - zero_point[channel] + (int32_t)(slot / p->taps);
    return (int8_t)((part + 255) / NQ_PARTS - 255 / NQ_PARTS);       /* 255 is a multiple of 3: floor, by a positive / */
}

void nq_dwconv_pack(nq_packed *p, const nq_isa *isa, const int8_t *weights, const int32_t *zero_point) {
    uint8_t *out = p->weights;
    for (int64_t entry = 0; entry < p->table_length;) {
        const span s = find_span(p, entry / (p->depthwise * NQ_STRIP));
        for (int64_t slot = 0; slot < NQ_QUAD * packed_quads(p, isa); slot += NQ_QUAD)
            for (int64_t i = 0; i < s.strips * NQ_STRIP; i += NQ_STRIP, out += isa->depthwise->quad_bytes) {
                int8_t quad[NQ_STRIP][NQ_QUAD];
                for (int64_t n = 0; n < NQ_STRIP; n++)
                    for (int64_t k = 0; k < NQ_QUAD; k++)
                        quad[n][k] = slot_weight(p, isa, weights, zero_point, s.channel + channel_in_span(&s, i + n),
                                                 slot + k);
                isa->depthwise->pack_quad((const int8_t (*)[NQ_QUAD])quad, out);
            }
        entry += s.strips * NQ_STRIP;
    }
}

/* The layer's lines of output, and where their outermost pixels end. */
typedef struct {
    const nq_in_place *d;
    const nq_depthwise *kernels;
    nq_limits limits;
    int64_t lines, item_lines, spans;
    int64_t slots, quads;
    uint8_t tap_of_slot[NQ_MAX_TAPS * NQ_PARTS];         /* any tap for a slot that has none */
    int64_t inner, right;                /* pixels from `inner` on, and before `right`, read nothing beside the image */
} plan;

/* Where the slots of output pixel x of a line read. */
static void place_taps(const plan *plan_, int64_t line, int64_t x, const uint8_t **slot_taps) {
    const nq_in_place *d = plan_->d;
    const nq_packed *p = d->packed;
    const nq_conv_shape *s = &p->shape;
    const int64_t plane = line / d->out_size[1], image = plane / d->out_size[0];
    const int64_t front = (plane - image * d->out_size[0]) * s->stride[0] - s->padding[0];
    const int64_t top = (line - plane * d->out_size[1]) * s->stride[1] - s->padding[1];
    const int64_t left = x * s->stride[2] - s->padding[2];
    const uint8_t *taps[NQ_MAX_TAPS], **tap = taps;
    for (int64_t i = 0; i < s->kernel[0]; i++)
        for (int64_t j = 0; j < s->kernel[1]; j++) {
            const uint8_t *from = nq_line(d, image, front + i * s->dilation[0], top + j * s->dilation[1]);
            for (int64_t k = 0; k < s->kernel[2]; k++) {
                const int64_t column = left + k * s->dilation[2];
                *tap++ = column >= 0 && column < d->size[2] ? from + column * s->in_channels : d->zeros;
            }
        }
    for (int64_t i = 0; i < nq_round_up(plan_->slots, NQ_QUAD); i++)
        slot_taps[i] = taps[plan_->tap_of_slot[i]];
}

/* Completes a segment whose out is a pixel, span by span. */
static void run_spans(const plan *plan_, nq_segment *segment, nq_dwkernel *const *kernels) {
    const nq_packed *p = plan_->d->packed;
    const int64_t channels = p->shape.out_channels;
    uint8_t *out = segment->out;
    segment->weights = p->weights;
    segment->epilogue = plan_->d->epilogue;
    segment->limits = &plan_->limits;
    segment->out_stride = channels * nq_element(segment->epilogue);
    for (int64_t i = 0; i < plan_->spans; i++) {
        const span s = find_span(p, i);
        segment->offset = s.channel;
        segment->channel = s.entry;
        segment->quad_bytes = s.strips * plan_->kernels->quad_bytes;
        segment->columns = nq_min(channels, s.strips * NQ_STRIP);
        segment->out = out + s.channel * nq_element(segment->epilogue);
        kernels[s.strips](segment);
        segment->weights += plan_->quads * segment->quad_bytes;
    }
}

/* Pixels x .. x + pixels - 1 of a line. */
static void run_pixels(const plan *plan_, int64_t line, int64_t x, int64_t pixels) {
    const nq_in_place *d = plan_->d;
    const int64_t channels = d->packed->shape.out_channels;
    const uint8_t *taps[NQ_MAX_TAPS * NQ_PARTS];
    nq_segment segment;          /* no initializer: what belongs to windows would be cleared for each pixel at a border */
    segment.taps = taps;
    segment.tap_count = plan_->slots;
    segment.pixels = pixels;
    segment.pixel_stride = d->packed->shape.stride[2] * channels;
    segment.out = d->out + (line * d->out_size[2] + x) * channels * nq_element(d->epilogue);
    place_taps(plan_, line, x, taps);
    run_spans(plan_, &segment, plan_->kernels->kernels);
}

static void run_item(void *context, int64_t item) {
    const plan *plan_ = context;
    for (int64_t i = item * plan_->item_lines; i < nq_min((item + 1) * plan_->item_lines, plan_->lines); i++) {
        for (int64_t x = 0; x < plan_->inner; x++)
            run_pixels(plan_, i, x, 1);
        if (plan_->right > plan_->inner)
            run_pixels(plan_, i, plan_->inner, plan_->right - plan_->inner);
        for (int64_t x = plan_->right; x < plan_->d->out_size[2]; x++)
            run_pixels(plan_, i, x, 1);
    }
}

/* The next lines of a plane. */
static void run_windows(void *context, int64_t item) {
    const plan *plan_ = context;
    const nq_in_place *d = plan_->d;
    const nq_conv_shape *s = &d->packed->shape;
    const int64_t items = nq_ceil_div(d->out_size[1], plan_->item_lines), plane = item / items;
    const int64_t line = item % items * plan_->item_lines, image = plane / d->out_size[0];
    const uint8_t *taps[MOST_LINES * MOST_STEP + NQ_MAX_TAPS];
    nq_segment segment = {
        .taps = taps,
        .pixels = d->out_size[2],
        .size = s->kernel[2],
        .stride = s->stride[2],
        .lines = nq_min(plan_->item_lines, d->out_size[1] - line),
        .line_step = s->stride[1],
        .line_stride = d->out_size[2] * s->out_channels,
        .first_column = -s->padding[2],
        .width = d->size[2],
        .input_stride = s->in_channels,
        .zeros = d->zeros,
    };
    const int64_t front = (plane - image * d->out_size[0]) * s->stride[0] - s->padding[0];
    for (int64_t i = 0; i < (segment.lines - 1) * s->stride[1] + s->kernel[1]; i++)
        taps[i] = nq_line(d, image, front, line * s->stride[1] - s->padding[1] + i);
    segment.out = d->out + (plane * d->out_size[1] + line) * segment.line_stride;
    run_spans(plan_, &segment, plan_->kernels->windows);
}

static nq_limits limits_of(const nq_epilogue *e) {
    nq_limits l;
    for (int64_t i = 0; i < NQ_SPAN / 2; i++)
        l.zero_point[i] = (int16_t)e->zero_point;
    memset(l.lowest, (int32_t)e->lo + e->zero_point, NQ_SPAN);
    memset(l.highest, (int32_t)e->hi + e->zero_point, NQ_SPAN);
    memset(l.flip, e->y_flip, NQ_SPAN);
    return l;
}

void nq_dwconv_run(const nq_in_place *d) {
    const nq_packed *p = d->packed;
    const nq_conv_shape *s = &p->shape;
    const nq_isa *isa = nq_find_isa(p->isa);
    const int64_t out_width = d->out_size[2], padding = s->padding[2], stride = s->stride[2];
    const int64_t last = d->size[2] + padding - (int64_t)(s->kernel[2] - 1) * s->dilation[2] - 1;        /* inner start */
    plan plan_ = {.d = d, .kernels = isa->depthwise, .lines = d->images * d->out_size[0] * d->out_size[1]};
    plan_.spans = nq_ceil_div(p->strips, p->depthwise);
    plan_.slots = slots(p, isa);
    plan_.quads = packed_quads(p, isa);
    const int64_t macs = out_width * p->table_length * plan_.slots;
    const int parallel = plan_.lines * macs >= PARALLEL_MACS && nq_get_num_threads() > 1;
    if (nq_element(d->epilogue) == 1)
        plan_.limits = limits_of(d->epilogue);
    if (window_size(p, isa) && d->epilogue->form <= NQ_FORM_B && s->stride[1] <= MOST_STEP) {
        const int64_t planes = d->images * d->out_size[0], fair = nq_round_up(nq_max(ITEM_MACS / macs, 1), 2);
        plan_.item_lines = parallel ? nq_min(fair, MOST_LINES) : MOST_LINES;
        nq_for(parallel, planes * nq_ceil_div(d->out_size[1], plan_.item_lines), run_windows, &plan_);
        return;
    }
    plan_.inner = nq_min(nq_ceil_div(padding, stride), out_width);
    plan_.right = nq_min(nq_max(last < 0 ? 0 : last / stride + 1, plan_.inner), out_width);
    for (int64_t i = 0; i < nq_round_up(plan_.slots, NQ_QUAD); i++)
        plan_.tap_of_slot[i] = (uint8_t)nq_max(tap_of_slot(p, isa, i), 0);
    plan_.item_lines = nq_max(ITEM_MACS / macs, 1);
    nq_for(parallel, nq_ceil_div(plan_.lines, plan_.item_lines), run_item, &plan_);
}
