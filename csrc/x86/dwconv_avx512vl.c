/* dwconv_avx512vl.c: the depthwise kernel of dwconv_256.h and dwconv_vnni.h on AVX-512 VNNI at 256 bits, which also
 * serves the last span of dwconv_avx512vnni.c. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define DOT_ENCODING ""

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512vnni")

#include "dwconv_256.h"
#include "dot.h"
#include "dwconv_vnni.h"
#include "dwconv_window.h"

void nq_dwconv_32_avx512vl(const nq_segment *s) { dwconv(s); }
void nq_windows_32_avx512vl(const nq_segment *s) { dwconv_windows(s); }

END_TARGET

const nq_depthwise nq_depthwise_avx512vl = {
    .kernels = {[2] = nq_dwconv_32_avx512vl},
    .windows = {[2] = nq_windows_32_avx512vl},
    DWCONV_VNNI_TABLE,
};

#endif
