/* interleave_avx2.c: lines of a few channels become one (patches.c), here three lines in blocks of five pixels of three bytes:
 *
 *     lines       aaa aaa aaa aaa aaa     bbb bbb bbb bbb bbb     ccc ccc ccc ccc ccc
 *
 *                 aaa------aaa----        ---bbb------bbb-        ------ccc------c        vpshufb, by pattern[0][0 .. 2]
 *                                     \           |           /
 *     vector 0                         aaabbbcccaaabbbc                                   vpor; so are vectors 1 and 2 */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>

BEGIN_TARGET("avx2")

INLINE void interleave(const nq_interleaving *n, const uint8_t *const *lines, int64_t blocks, uint8_t *to,
                       const int height) {
    const uint8_t *from[NQ_MAX_LINES];
    const int64_t bytes = n->bytes;
    UNROLL for (int i = 0; i < height; i++)
        from[i] = lines[i];
    for (int64_t x = 0; x < blocks * bytes; x += bytes, to += height * bytes) {
        __m128i line[NQ_MAX_LINES];
        UNROLL for (int i = 0; i < height; i++)
            line[i] = _mm_loadu_si128((const __m128i *)(from[i] + x));
        UNROLL for (int v = 0; v < height; v++) {
            __m128i sum = _mm_setzero_si128();
            UNROLL for (int i = 0; i < height; i++)
                sum = _mm_or_si128(sum, _mm_shuffle_epi8(line[i], *(const __m128i *)n->pattern[v][i]));
            _mm_storeu_si128((__m128i *)(to + 16 * v), sum);
        }
    }
}

#define HEIGHT(height) case height: interleave(n, lines, blocks, to, height); break

/* A constant height keeps the lines in registers. */
void nq_interleave_avx2(const nq_interleaving *n, const uint8_t *const *lines, int64_t blocks, uint8_t *to) {
    switch (n->height) {
        HEIGHT(2); HEIGHT(3); HEIGHT(4); HEIGHT(5); HEIGHT(6); HEIGHT(7); HEIGHT(8); HEIGHT(9);
    }
}

END_TARGET

#endif
