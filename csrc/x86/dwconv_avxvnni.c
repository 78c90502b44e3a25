/* dwconv_avxvnni.c: the depthwise kernel of dwconv_256.h and dwconv_vnni.h on AVX-VNNI. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define DOT_ENCODING "%{vex%} "

BEGIN_TARGET("avx2,fma,avxvnni")

#include "dwconv_256.h"
#include "dot.h"
#include "dwconv_vnni.h"

static void dwconv_32(const nq_segment *s) { dwconv(s); }

END_TARGET

const nq_depthwise nq_depthwise_avxvnni = {.kernels = {[2] = dwconv_32}, DWCONV_VNNI_TABLE};

#endif
