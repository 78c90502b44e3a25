/* weights_avx512vnni.c: rows_weights.h with vpdpbusd, which multiplies unsigned weights by signed activations as they are. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#define DOT_BY_VNNI
#define ONLY_WEIGHTS
#include "vec_avx512.h"
#include "../rows_weights.h"

void nq_weights_avx512vnni(const nq_strip_of_weights *s, float y[][NQ_STRIP]) { weights(s, y); }
END_TARGET

#endif
