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

#define FEATURES(F)                                                                                                    \
    F("sse4.1", sse41) F("avx2", avx2) F("fma", fma) F("avx512f", avx512f) F("avx512bw", avx512bw)                     \
    F("avx512dq", avx512dq) F("avx512vl", avx512vl) F("avx512vnni", avx512vnni) F("avx512vbmi", avx512vbmi)
#define FUNCTION(NAME, ID)                                                                                             \
    static int has_##ID(void) { return __builtin_cpu_supports(NAME) != 0; }
#define ENTRY(NAME, ID) {NAME, has_##ID},

FEATURES(FUNCTION)

const nq_feature nq_features[] = {FEATURES(ENTRY){"avxvnni", nq_cpu_has_avxvnni}, {NULL, NULL}};

#endif
