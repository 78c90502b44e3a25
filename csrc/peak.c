/* peak.c: how fast this CPU can be, which is what `nanoquant bench` holds the kernels against.
 *
 *     nq_peak      multiplies registers with registers        no memory: the ceiling of the roofline
 *     nq_stream    moves bytes and computes nothing           no arithmetic: its slope, for a size that some cache holds
 *
 * Both share their work out over the pool as the kernels do. An instruction set without loops of its own (ref) is held
 * against the plain ones below. An empty assembly line makes the compiler believe that a value has changed, so that it
 * hoists no product out of a loop and drops no load. */
#include "framework.h"

enum { PARTS_PER_THREAD = 4, PARALLEL_BLOCKS = 1 << 11, CHUNK_BLOCKS = 1 << 8, CHAINS = 8 };

#define CHANGED(value) __asm__ volatile("" : "+r"(value))

static int64_t multiply_scalars(int64_t rounds) {
    int32_t acc[CHAINS] = {0}, a = 3;
    for (int64_t round = 0; round < rounds; round++)
        for (int i = 0; i < CHAINS; i++) {
            CHANGED(a);
            acc[i] += a * 5;
            CHANGED(acc[i]);
        }
    return rounds * CHAINS;
}

/* 64-byte lines that a block of each pattern reads and writes. */
static const struct { int64_t reads, writes; } patterns[] = {
    [NQ_READ] = {4, 0}, [NQ_COPY] = {4, 4}, [NQ_NARROW] = {4, 1}, [NQ_WIDEN] = {1, 4}, [NQ_MERGE] = {4, 2},
};

static void stream_words(int32_t pattern, int64_t blocks, const uint8_t *from, uint8_t *to) {
    const uint64_t *in = (const uint64_t *)from;
    uint64_t *out = (uint64_t *)to, word = 0;
    for (; blocks > 0; blocks--) {
        for (int64_t i = 0; i < 8 * patterns[pattern].reads; i++) {
            word = *in++;
            CHANGED(word);
        }
        for (int64_t i = 0; i < 8 * patterns[pattern].writes; i++)
            *out++ = word;
    }
}

typedef struct {
    int64_t (*multiply)(int64_t rounds);
    int64_t rounds, macs;
    void (*stream)(int32_t pattern, int64_t blocks, const uint8_t *from, uint8_t *to);
    int32_t pattern;
    const uint8_t *from;
    uint8_t *to;
    int64_t blocks;
} load;

static void multiply_part(void *context, int64_t i) {
    load *l = context;
    const int64_t macs = l->multiply(l->rounds);
    if (i == 0)
        l->macs = macs;
}

static nq_chain find_chain(int isa, int chain) {
    const nq_isa *i = nq_find_isa(isa);
    if (i == NULL || chain < 0 || chain >= NQ_CHAINS)
        return (nq_chain){0};
    return chain == 0 && i->chains[0].name == NULL ? (nq_chain){"imul, add", multiply_scalars} : i->chains[chain];
}

const char *nq_peak_name(int isa, int chain) { return find_chain(isa, chain).name; }

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
    const load *l = context;
    const int64_t start = i * CHUNK_BLOCKS;
    l->stream(l->pattern, nq_min(CHUNK_BLOCKS, l->blocks - start), l->from + 64 * start * patterns[l->pattern].reads,
              l->to + 64 * start * patterns[l->pattern].writes);
}

nq_status nq_stream(int isa, int32_t pattern, int64_t blocks, int64_t passes, const void *from, void *to) {
    const nq_isa *i = nq_find_isa(isa);
    if (i == NULL || pattern < NQ_READ || pattern > NQ_MERGE || blocks < 1 || blocks > INT32_MAX || passes < 1)
        return NQ_BAD_ARGUMENT;
    load l = {.stream = i->stream ? i->stream : stream_words, .pattern = pattern, .from = from, .to = to, .blocks = blocks};
    for (int64_t pass = 0; pass < passes; pass++)
        nq_for(blocks >= PARALLEL_BLOCKS, nq_ceil_div(blocks, CHUNK_BLOCKS), stream_part, &l);
    return NQ_OK;
}
