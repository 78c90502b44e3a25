/* x86.h: what the files of this folder share: the elementwise kernels that fill the tables next to the micro-kernels. */
#ifndef NQ_X86_H
#define NQ_X86_H

#include "../ukernel.h"

/* Between BEGIN_TARGET("avx2,fma") and END_TARGET functions are compiled for those features, whatever the flags say; the
 * rest of the library stays runnable on any x86-64. Include intrinsics' headers before. UNROLL goes before loops over a
 * tile, whose bounds are constants once inlined: the accumulators' arrays become registers only when it is heeded. */
#define PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define BEGIN_TARGET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#define UNROLL PRAGMA(clang loop unroll(full))
#else
#define BEGIN_TARGET(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define END_TARGET PRAGMA(GCC pop_options)
#define UNROLL PRAGMA(GCC unroll 8)
#endif

/* Whether the CPU has AVX-VNNI (compilers' __builtin_cpu_supports does not always know it). */
int nq_cpu_has_avxvnni(void);

#define INLINE static inline __attribute__((always_inline))

/* dwconv_*.c */
void nq_dwconv_avx2(const nq_segment *segment);
void nq_dwconv_avx512vl(const nq_segment *segment);
void nq_dwconv_avx512vnni(const nq_segment *segment);

int nq_quantize_avx2(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point,
                     uint8_t flip, uint8_t *q);
void nq_dequantize_avx2(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x);
int nq_quantize_avx512(const float *x, int64_t count, float inv_scale, float lo, float hi, int32_t zero_point,
                       uint8_t flip, uint8_t *q);
void nq_dequantize_avx512(const uint8_t *q, int64_t count, float scale, int32_t zero_point, uint8_t flip, float *x);

#endif
