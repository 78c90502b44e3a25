/* elementwise_ref.c: the specification of quantize and dequantize, in scalar C.
 *
 *     x --(* 1/scale)--> --(clamp)--> --(rint)--> --(+ zero_point)--> q
 *
 * The clamp comes before the conversion to integer, at bounds that are integers, so that it commutes with rounding;
 * what a conversion out of range does differs between machines. */
#include "../numerics.h"
#include "../ukernel.h"

int nq_quantize_ref(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point, uint8_t flip,
                    uint8_t *q) {
    int nan = 0;
    for (int64_t i = 0; i < count; i++) {
        nan |= x[i] != x[i];
        q[i] = (uint8_t)((nq_rint(nq_clamp(x[i] * inv_scale, lo, hi)) + zero_point) ^ flip);
    }
    return nan;
}

void nq_dequantize_ref(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x) {
    for (int64_t i = 0; i < count; i++)
        x[i] = scale * (float)((q[i] ^ flip) - zero_point);
}
