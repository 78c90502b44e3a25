/* cpu.c: what this processor says it has, of what the kernels of this folder ask for. */
#include "x86.h"

#include "../framework.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* CPUID leaf 7, subleaf 1: EAX bit 4. That the system saves 256-bit registers is "avx2"'s part. Asked once, when the
 * library is loaded: in a virtual machine CPUID takes as long as a small layer. */
static int has_avxvnni;

__attribute__((constructor)) static void ask_cpu(void) {
    unsigned eax = 0, ebx, ecx, edx;
    has_avxvnni = __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}

int nq_cpu_has_avxvnni(void) { return has_avxvnni; }

#define FEATURE(NAME, ID) \
    static int has_##ID(void) { return __builtin_cpu_supports(NAME) != 0; }

FEATURE("sse4.1", sse41)
FEATURE("avx2", avx2)
FEATURE("fma", fma)
FEATURE("avx512f", avx512f)
FEATURE("avx512bw", avx512bw)
FEATURE("avx512dq", avx512dq)
FEATURE("avx512vl", avx512vl)
FEATURE("avx512vnni", avx512vnni)
FEATURE("avx512vbmi", avx512vbmi)

const nq_feature nq_features[] = {
    {"sse4.1", has_sse41},     {"avx2", has_avx2},         {"fma", has_fma},
    {"avxvnni", nq_cpu_has_avxvnni},
    {"avx512f", has_avx512f},  {"avx512bw", has_avx512bw}, {"avx512dq", has_avx512dq},
    {"avx512vl", has_avx512vl}, {"avx512vnni", has_avx512vnni}, {"avx512vbmi", has_avx512vbmi}, {NULL, NULL},
};

#endif
