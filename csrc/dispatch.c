/* dispatch.c: one table of instruction sets, and the questions one may ask about it.
 *
 * Nothing is chosen here. A caller names an instruction set by its number; Python takes the last one that runs, or the
 * one that NANOQUANT_ISA names. The choice never changes a bit of any result. */
#include "framework.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *name;
    const nq_isa *isa;           /* NULL: known, but not for this processor family or compiler */
} entry;

#if defined(__x86_64__)
#define X86(isa) (&isa)
#else
#define X86(isa) NULL
#endif
#if defined(__aarch64__)
#define ARM(isa) (&isa)
#else
#define ARM(isa) NULL
#endif

/* In growing order of preference. */
static const entry table[] = {
    {"ref", &nq_isa_ref},
    {"avx2", X86(nq_isa_avx2)},
    {"avx512bw", X86(nq_isa_avx512bw)},
    {"avx512vl", X86(nq_isa_avx512vl)},
    {"avxvnni", X86(nq_isa_avxvnni)},
    {"avx512vnni", X86(nq_isa_avx512vnni)},
    {"neon", ARM(nq_isa_neon)},
#if defined(NQ_HAS_DOTPROD)
    {"dotprod", ARM(nq_isa_dotprod)},
#else
    {"dotprod", NULL},
#endif
};

enum { ISA_COUNT = sizeof table / sizeof table[0] };

int nq_isa_count(void) { return ISA_COUNT; }

const char *nq_isa_name(int isa) { return isa >= 0 && isa < ISA_COUNT ? table[isa].name : NULL; }

int nq_isa_compiled(int isa) { return isa >= 0 && isa < ISA_COUNT && table[isa].isa != NULL; }

int nq_isa_runs(int isa) { return nq_isa_compiled(isa) && table[isa].isa->runs(); }

const nq_isa *nq_find_isa(int isa) { return nq_isa_runs(isa) ? table[isa].isa : NULL; }

/* From the third on, the kernels of rows.h, which an instruction set has all or none of. */
static const char *const kernels[] = {"gemm", "depthwise", "quantize", "dequantize", "requantize", "add", "mul",
                                      "scale_shift", "clamp", "lookup", "max_pool", "avg_pool", "softmax", "layer_norm",
                                      "range", "product"};

const char *nq_kernel_name(int index) {
    return index >= 0 && index < (int)(sizeof kernels / sizeof kernels[0]) ? kernels[index] : NULL;
}

int nq_isa_native(int isa, const char *kernel) {
    if (!nq_isa_compiled(isa) || kernel == NULL)
        return -1;
    const nq_isa *i = table[isa].isa;
    const int native[] = {i->max_rows[1] > 0, i->depthwise != NULL, i->rows != &nq_rows_ref};
    for (int k = 0; nq_kernel_name(k) != NULL; k++)
        if (strcmp(kernels[k], kernel) == 0)
            return i == &nq_isa_ref || native[nq_min(k, 2)];
    return -1;
}

#if !defined(__x86_64__) && !defined(__aarch64__)
const nq_feature nq_features[] = {{NULL, NULL}};
#endif

const char *nq_cpu_feature_name(int index) { return nq_features[index].name; }

int nq_cpu_feature(int index) { return nq_features[index].has(); }

const char *nq_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}
