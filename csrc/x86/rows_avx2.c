/* rows_avx2.c: rows.h with the vocabulary of vec_avx2.h, 8 lanes. */
#include "x86.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define VECTOR 32
#define STREAM nq_stream_avx2

BEGIN_TARGET("avx2,fma")
#include "vec_avx2.h"
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

const nq_rows nq_rows_avx2 = NQ_ROWS(requantize, look_up, weights);

#endif
