/* gemm_avx512vl.c: the tile of vnni_256.h on AVX-512 VNNI at 256 bits; gemm_avx512vnni.c is preferred where this runs. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define DOT(acc, a, w) _mm256_dpbusd_epi32(acc, a, _mm256_load_si256(w))

BEGIN_TARGET("avx2,fma,avx512f,avx512vl,avx512vnni")
#include "vnni_256.h"
END_TARGET

static int runs(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

const nq_isa nq_isa_avx512vl = {.name = "avx512vl", .runs = runs, TILE_256_TABLE, .depthwise = &nq_depthwise_avx512vl,
                                .chains = {{"vpdpbusd ymm", nq_multiply_avx512vl}}};

#endif
