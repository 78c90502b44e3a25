/* plan.c: the calls of a network, one after the other, in one.
 *
 *     x --> quantize --> conv --> conv --> add --> ... --> dequantize --> y
 *                  \     / \     /                   \     /
 *           memory: workspace | a     b     c  ...              each where nothing lies that is read later
 *
 * An interpreter between two kernels runs on caches that the kernels have filled with weights and pixels, which makes its few
 * microseconds many. A plan leaves it out. It computes nothing of its own. */
#include "framework.h"

static nq_status run_step(const nq_step *step, const void *a, const void *b, void *y, void *memory, int64_t bytes) {
    switch (step->kind) {
    case NQ_STEP_QUANTIZE:
        return nq_quantize(step->isa, step->what, a, y);
    case NQ_STEP_DEQUANTIZE:
        return nq_dequantize(step->isa, step->what, a, y);
    case NQ_STEP_APPLY:
        return nq_apply(step->what, a, b, y, 0);
    case NQ_STEP_POOL:
        return nq_pool(step->isa, step->what, a, y);
    case NQ_STEP_TRANSPOSE:
        return nq_transpose(step->size[0], step->size[1], step->size[2], a, y);
    case NQ_STEP_CONV:
        return nq_conv(step->what, a, y, memory, bytes);
    default:
        return NQ_BAD_ARGUMENT;
    }
}

nq_status nq_run(int64_t count, const nq_step *steps, const void *x, void *y, void *memory, int64_t workspace_bytes) {
    if (count < 0 || !steps || !x || !y || !memory || workspace_bytes < 0)
        return NQ_BAD_ARGUMENT;
    char *const places[NQ_PLACE_COUNT] = {(char *)x, y, memory};         /* x is only read: it is no step's y */
    for (const nq_step *step = steps; step < steps + count; step++) {
        const nq_operand *const operands[] = {&step->a, &step->b, &step->y};
        char *at[3];
        for (int i = 0; i < 3; i++) {
            if (operands[i]->place < 0 || operands[i]->place >= NQ_PLACE_COUNT || operands[i]->offset < 0)
                return NQ_BAD_ARGUMENT;
            at[i] = places[operands[i]->place] + operands[i]->offset;
        }
        nq_status status = step->y.place == NQ_PLACE_X ? NQ_BAD_ARGUMENT
                                                       : run_step(step, at[0], at[1], at[2], memory, workspace_bytes);
        if (status != NQ_OK)
            return status;
    }
    return NQ_OK;
}
