/* stream.h: the loop that only moves bytes, for vectors of VECTOR bytes, as a function called STREAM. Whoever includes it
 * defines both: peak.c for any CPU, files of x86/ between BEGIN_TARGET and END_TARGET.
 *
 *     each block     sum[i] ^= from[i], i < reads      to[i] = sum[i], i < writes      so no load can be left out */
typedef uint64_t vector __attribute__((vector_size(VECTOR), aligned(8), may_alias));

static inline __attribute__((always_inline)) uint64_t move(int64_t blocks, const uint8_t *from, uint8_t *to,
                                                           const int reads, const int writes) {
    vector sum[4] = {{0}};
    for (blocks *= 64 / VECTOR; blocks > 0; blocks--, from += VECTOR * reads, to += VECTOR * writes) {
        _Pragma("GCC unroll 4") for (int i = 0; i < reads; i++)
            sum[i] ^= ((const vector *)from)[i];
        _Pragma("GCC unroll 4") for (int i = 0; i < writes; i++)
            ((vector *)to)[i] = sum[i % reads];
    }
    return sum[0][0] ^ sum[1][0] ^ sum[2][0] ^ sum[3][0];
}

/* In 64-byte lines: nanoquant.h says which pattern reads and writes how many. */
uint64_t STREAM(int32_t pattern, int64_t blocks, const uint8_t *from, uint8_t *to) {
    switch (pattern) {
    case NQ_READ: return move(blocks, from, to, 4, 0);
    case NQ_NARROW: return move(blocks, from, to, 4, 1);
    case NQ_WIDEN: return move(blocks, from, to, 1, 4);
    default: return move(blocks, from, to, 4, 2);
    }
}
