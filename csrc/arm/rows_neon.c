/* rows_neon.c: rows.h with the vocabulary of vec_neon.h, 4 lanes. */
#include "arm.h"

#if defined(__aarch64__)
#include <string.h>

#include "vec_neon.h"
#include "../rows.h"
#include "../rows_norm.h"
#include "../rows_pool.h"
#include "../rows_product.h"
#include "../rows_lstm.h"
#include "../rows_fake.h"
#include "../rows_weights.h"
#include "../rows_dynamic.h"

const nq_rows nq_rows_neon = NQ_ROWS(requantize, look_up, weights);

#endif
