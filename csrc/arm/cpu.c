/* cpu.c: what this processor says it has, of what the kernels of this folder ask for beyond NEON, which every aarch64 has. */
#include "arm.h"

#include "../framework.h"

#if defined(__aarch64__)
#if defined(__APPLE__)
#include <sys/sysctl.h>

int nq_cpu_has_dotprod(void) {
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, NULL, 0) == 0 && has;
}
#else
#include <sys/auxv.h>

int nq_cpu_has_dotprod(void) { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }       /* HWCAP_ASIMDDP */
#endif

const nq_feature nq_features[] = {{"dotprod", nq_cpu_has_dotprod}, {NULL, NULL}};

#endif
