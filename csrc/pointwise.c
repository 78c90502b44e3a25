/* pointwise.c: operations of bytes to bytes over rows with strides, in pieces that threads share.
 *
 *     a  |== columns ==|        y  |== columns ==|......|        cat: y_stride spans all parts of a row
 *        |=============|           |=============|......|        compact arrays are one long row
 *        <-- a_stride -->          <----- y_stride ----->
 *
 * The constants of an operation are derived here, once for all instruction sets, from scales and zero points. */
#include "framework.h"

#include <float.h>
#include <stddef.h>

typedef struct {
    const nq_pointwise *operation;
    nq_point_kernel *kernel;
    nq_point point;
    nq_cut cut;
    nq_area area;
} pass;

int nq_grid_is_sane(const nq_grid *grid) {
    const int32_t low = grid->dtype == NQ_S8 ? -128 : 0;
    return (grid->dtype == NQ_U8 || grid->dtype == NQ_S8) && grid->zero_point >= low && grid->zero_point <= low + 255;
}

int nq_scale_is_sane(float scale) { return scale >= FLT_MIN && scale <= FLT_MAX; }

nq_source nq_source_of(const nq_grid *grid) {
    return (nq_source){grid->scale, -(grid->scale * (float)grid->zero_point), grid->zero_point, grid->dtype == NQ_S8};
}

nq_target nq_target_of(const nq_grid *grid, int32_t quant_min, int32_t quant_max) {
    const uint8_t flip = grid->dtype == NQ_S8 ? 0x80 : 0;
    return (nq_target){
        .inv_scale = 1.0f / grid->scale,
        .limit = (float)(quant_max - grid->zero_point),
        .zero_point = grid->zero_point + flip,
        .lo = (uint8_t)(quant_min + flip),
        .hi = (uint8_t)(quant_max + flip),
        .flip = flip,
    };
}

int nq_limits_are_sane(const nq_grid *grid, int32_t quant_min, int32_t quant_max) {
    const int32_t low = grid->dtype == NQ_S8 ? -128 : 0;
    return nq_grid_is_sane(grid) && quant_min >= low && quant_max <= low + 255 && quant_min <= grid->zero_point &&
           quant_max >= grid->zero_point;
}

/* Beyond these bounds infinity would meet infinity or zero. */
static int scales_are_sane(const nq_pointwise *o) {
    const float product = o->a.scale * o->b.scale, most = FLT_MAX / 256;
    switch (o->op) {
    case NQ_REQUANTIZE:
        return nq_scale_is_sane(o->a.scale) && nq_scale_is_sane(o->y.scale);
    case NQ_ADD:
        return nq_scale_is_sane(o->a.scale) && nq_scale_is_sane(o->b.scale) && nq_scale_is_sane(o->y.scale) &&
               o->a.scale <= most && o->b.scale <= most;
    case NQ_MUL:
        return nq_scale_is_sane(o->a.scale) && nq_scale_is_sane(o->b.scale) && nq_scale_is_sane(o->y.scale) &&
               nq_scale_is_sane(product) && nq_scale_is_sane(product * (1.0f / o->y.scale));
    default:
        return 1;
    }
}

static int operation_is_sane(const nq_pointwise *o, int64_t columns) {
    const int binary = o->op == NQ_ADD || o->op == NQ_MUL;
    if (o->op == NQ_LOOKUP)
        return o->table != NULL;
    if (!nq_limits_are_sane(&o->y, o->quant_min, o->quant_max))
        return 0;
    if (o->op == NQ_SCALE_SHIFT && o->mul == NULL)       /* only nq_batch_norm gives them */
        return 0;
    if (o->op == NQ_SCALE_SHIFT)
        for (int64_t c = 0; c < columns; c++)
            if (!(o->mul[c] >= -FLT_MAX && o->mul[c] <= FLT_MAX && o->shift[c] >= -FLT_MAX && o->shift[c] <= FLT_MAX))
                return 0;
    return o->op == NQ_CLAMP || (nq_grid_is_sane(&o->a) && (!binary || (nq_grid_is_sane(&o->b) && o->b.dtype == o->a.dtype)));
}

static void run_item(void *context, int64_t item) {
    const pass *p = context;
    const nq_piece piece = nq_piece_of(&p->cut, item);
    nq_point point = p->point;
    if (p->operation->op == NQ_SCALE_SHIFT) {
        point.mul += piece.column;
        point.shift += piece.column;
    }
    nq_area area = p->area;
    area.rows = piece.rows;
    area.columns = piece.columns;
    area.a += piece.row * area.a_stride + piece.column;
    area.b += piece.row * area.b_stride + piece.column;
    area.y += piece.row * area.y_stride + piece.column;
    p->kernel(&point, &area);
}

static nq_status run(const nq_pointwise *o, const uint8_t *a, const uint8_t *b, int64_t stride, uint8_t *y,
                     int64_t y_stride) {
    const nq_isa *found = nq_find_isa(o->isa);
    int64_t rows = o->rows, columns = o->columns, count;
    if (found == NULL || o->op < 0 || o->op >= NQ_OP_COUNT || rows < 0 || columns < 0 ||
        __builtin_mul_overflow(rows, columns, &count) || !operation_is_sane(o, columns))
        return NQ_BAD_ARGUMENT;
    if (!scales_are_sane(o))
        return NQ_BAD_SCALE;
    if (count == 0)
        return NQ_OK;
    if (stride == columns && y_stride == columns && o->op != NQ_SCALE_SHIFT) {
        columns = count;
        rows = 1;
    }
    pass p = {.operation = o, .kernel = found->rows->point[o->op], .cut = nq_cut_rows(rows, columns, y, 1),
              .area = {.a = a, .b = b, .y = y, .a_stride = stride, .b_stride = stride, .y_stride = y_stride}};
    p.point = (nq_point){
        .a = nq_source_of(o->op == NQ_CLAMP ? &o->y : &o->a),
        .b = nq_source_of(&o->b),
        .y = nq_target_of(&o->y, o->quant_min, o->quant_max),
        .multiplier = o->a.scale * o->b.scale * (1.0f / o->y.scale),
        .mul = o->mul,
        .shift = o->shift,
        .table = o->table,
    };
    nq_for(p.cut.parallel, p.cut.items, run_item, &p);
    return NQ_OK;
}

nq_status nq_apply(const nq_pointwise *o, const void *a, const void *b, void *y, int64_t y_stride) {
    return run(o, a, o->op == NQ_ADD || o->op == NQ_MUL ? b : a, o->columns, y, y_stride ? y_stride : o->columns);
}

nq_status nq_batch_norm(const nq_pointwise *o, const float *mean, const float *variance, const float *weight,
                        const float *bias, float eps, const void *x, void *y) {
    enum { PART = 1024 };                /* channels at a time, so that their constants fit the stack */
    float mul[PART], shift[PART];
    nq_pointwise part = *o;
    part.mul = mul;
    part.shift = shift;
    for (int64_t first = 0; first < o->columns; first += part.columns) {
        part.columns = nq_min(o->columns - first, PART);
        for (int64_t i = 0, c = first; i < part.columns; i++, c++) {
            const float inverse = 1.0f / __builtin_sqrtf(variance[c] + eps);
            mul[i] = inverse * weight[c] * (o->a.scale / o->y.scale);
            shift[i] = (bias[c] - mean[c] * inverse * weight[c]) / o->y.scale;
        }
        const nq_status status = run(&part, (const uint8_t *)x + first, x, o->columns, (uint8_t *)y + first,
                                     o->columns);
        if (status != NQ_OK)
            return status;
    }
    return NQ_OK;
}
