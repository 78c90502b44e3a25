/* rows_avx512.c: rows.h with the vocabulary of vec_avx512.h, 16 lanes. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

BEGIN_TARGET("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#include "vec_avx512.h"
#include "../rows.h"
#include "../rows_norm.h"
#include "../rows_pool.h"
END_TARGET

const nq_rows nq_rows_avx512 = NQ_ROWS;

#endif
