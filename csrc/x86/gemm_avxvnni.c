/* gemm_avxvnni.c: the tile of vnni_256.h on AVX-VNNI. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define DOT(acc, a, w) _mm256_dpbusd_avx_epi32(acc, a, _mm256_load_si256(w))

BEGIN_TARGET("avx2,fma,avxvnni")
#include "vnni_256.h"
END_TARGET

static int runs(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && nq_cpu_has_avxvnni();
}

const nq_isa nq_isa_avxvnni = {.name = "avxvnni", .runs = runs, TILE_256_TABLE,
                               .chains = {{"vpdpbusd ymm", nq_multiply_avxvnni}}};

#endif
