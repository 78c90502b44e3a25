/* peak.c: how fast this CPU can be, which is what `nanoquant bench` holds the kernels against.
 *
 *     nq_peak      multiplies registers with registers        no memory: the ceiling of the roofline
 *     nq_stream    moves bytes and computes nothing           no arithmetic: its slope, for a size that some cache holds
 *
 * Both share their work out over the pool as the kernels do. An instruction set without loops of its own (ref) is held
 * against the plain ones. */
#include "framework.h"

#define VECTOR 16
#define STREAM nq_stream_plain
#include "stream.h"

enum { PARTS_PER_THREAD = 4, PARALLEL_BLOCKS = 1 << 11, CHUNK_BLOCKS = 1 << 8, CHAINS = 8 };

static int64_t multiply_scalars(int64_t rounds) {
    uint32_t acc[CHAINS] = {0}, a = 3;
    for (int64_t round = 0; round < rounds; round++)
        _Pragma("GCC unroll 8") for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+r"(a));          /* a may have changed: its product is not the last one */
            acc[i] += a * a;
            __asm__ volatile("" : "+r"(acc[i]));
        }
    return rounds * CHAINS;
}

typedef struct {
    nq_multiplier *multiply;
    int64_t rounds, macs;
    nq_streamer *stream;
    int32_t pattern;
    int64_t blocks;
    const uint8_t *from;
    uint8_t *to;
} load;

static nq_chain find_chain(int isa, int chain) {
    const nq_isa *i = nq_find_isa(isa);
    if (i == NULL || chain < 0 || chain >= NQ_CHAINS)
        return (nq_chain){0};
    return chain == 0 && i->chains[0].name == NULL ? (nq_chain){"imul, add", multiply_scalars} : i->chains[chain];
}

const char *nq_peak_name(int isa, int chain) { return find_chain(isa, chain).name; }

static void multiply_part(void *context, int64_t i) {
    load *l = context;
    const int64_t macs = l->multiply(l->rounds);
    if (i == 0)
        l->macs = macs;
}

nq_status nq_peak(int isa, int chain, int64_t rounds, int64_t *macs) {
    load l = {.multiply = find_chain(isa, chain).multiply, .rounds = rounds};
    if (l.multiply == NULL || rounds < 1 || rounds > INT32_MAX)
        return NQ_BAD_ARGUMENT;
    const int64_t parts = PARTS_PER_THREAD * nq_get_num_threads();
    nq_for(1, parts, multiply_part, &l);
    *macs = parts * l.macs;
    return NQ_OK;
}

static void stream_part(void *context, int64_t i) {
    static const int64_t reads[] = {4, 4, 1, 4}, writes[] = {0, 1, 4, 2};
    const load *l = context;
    const int64_t start = i * CHUNK_BLOCKS;
    l->stream(l->pattern, nq_min(CHUNK_BLOCKS, l->blocks - start), l->from + 64 * start * reads[l->pattern],
              l->to + 64 * start * writes[l->pattern]);
}

nq_status nq_stream(int isa, int32_t pattern, int64_t blocks, int64_t passes, const void *from, void *to) {
    const nq_isa *i = nq_find_isa(isa);
    if (i == NULL || pattern < NQ_READ || pattern > NQ_MERGE || blocks < 1 || blocks > INT32_MAX || passes < 1 ||
        ((uintptr_t)from | (uintptr_t)to) % 64 != 0)
        return NQ_BAD_ARGUMENT;
    load l = {.stream = i->stream ? i->stream : nq_stream_plain, .pattern = pattern, .blocks = blocks, .from = from, .to = to};
    for (int64_t pass = 0; pass < passes; pass++)
        nq_for(blocks >= PARALLEL_BLOCKS, nq_ceil_div(blocks, CHUNK_BLOCKS), stream_part, &l);
    return NQ_OK;
}
