/* x86.h: what the files of this folder share: the elementwise kernels that fill the tables next to the micro-kernels.
 * */
#ifndef NQ_X86_H
#define NQ_X86_H

#include "../ukernel.h"

int nq_quantize_avx2(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point,
                     uint8_t flip, uint8_t *q);
void nq_dequantize_avx2(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x);
int nq_quantize_avx512(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point,
                       uint8_t flip, uint8_t *q);
void nq_dequantize_avx512(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x);

#endif
