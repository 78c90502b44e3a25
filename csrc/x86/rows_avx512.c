/* rows_avx512.c: rows.h with the vocabulary of vec_avx512.h, 16 lanes; once more with faster tables, for CPUs with VNNI.
 *
 *     table   |  part 0  |  part 1  |  part 2  |  part 3  |      64 bytes each, in a register
 *              \__ low: bits 0-6 __/ \__ high: 0-6 ______/      bit 7 chooses */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define VECTOR 64
#define STREAM nq_stream_avx512

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#include "vec_avx512.h"
#include "../rows.h"
#include "../rows_norm.h"
#include "../rows_pool.h"
#include "../rows_product.h"
#include "../rows_lstm.h"
#include "../rows_fake.h"
#include "../rows_weights.h"
#include "../rows_dynamic.h"
#include "../stream.h"
END_TARGET

/* Most CPUs with VNNI have VBMI, too: permutations of bytes by index. */
BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")
INLINE __m512i permute(__m512i x, const __m512i part[4]) {
    const __m512i low = _mm512_permutex2var_epi8(part[0], x, part[1]), high = _mm512_permutex2var_epi8(part[2], x, part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high);
}

static void look_up_by_permutation(const nq_point *p, const nq_area *r) {
    __m512i part[4];
    UNROLL for (int i = 0; i < 4; i++)
        part[i] = _mm512_loadu_si512(p->table + 64 * i);
    for (int64_t row = 0; row < r->rows; row++) {
        const uint8_t *x = r->a + row * r->a_stride;
        uint8_t *y = r->y + row * r->y_stride;
        int64_t i = 0;
        for (; i + 64 <= r->columns; i += 64)
            _mm512_storeu_si512(y + i, permute(_mm512_loadu_si512(x + i), part));
        const __mmask64 rest = ((uint64_t)1 << (r->columns - i)) - 1;
        if (rest)
            _mm512_mask_storeu_epi8(y + i, rest, permute(_mm512_maskz_loadu_epi8(rest, x + i), part));
    }
}
END_TARGET

static void look_up_fast(const nq_point *p, const nq_area *r) {
    (__builtin_cpu_supports("avx512vbmi") ? look_up_by_permutation : look_up)(p, r);
}

/* Many bytes are requantized by a table of what becomes of each. */
static void requantize_fast(const nq_point *p, const nq_area *r) {
    enum { MANY = 2048 };
    uint8_t bytes[256], table[256];
    if (r->rows * r->columns >= MANY && __builtin_cpu_supports("avx512vbmi")) {
        for (int i = 0; i < 256; i++)
            bytes[i] = (uint8_t)i;
        requantize(p, &(nq_area){.a = bytes, .b = bytes, .y = table, .rows = 1, .columns = 256});
        nq_point known = *p;
        known.table = table;
        look_up_by_permutation(&known, r);
    } else
        requantize(p, r);
}

const nq_rows nq_rows_avx512 = NQ_ROWS(requantize, look_up, weights);
const nq_rows nq_rows_avx512vnni = NQ_ROWS(requantize_fast, look_up_fast, nq_weights_avx512vnni);

#endif
