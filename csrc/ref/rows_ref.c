/* rows_ref.c: rows.h with the scalar vocabulary: the specification of what is done between products. */
#include <string.h>
#include "../numerics.h"
#include "../ukernel.h"
#include "vec_scalar.h"
#include "../rows.h"
#include "../rows_norm.h"
#include "../rows_pool.h"
#include "../rows_product.h"
#include "../rows_lstm.h"
#include "../rows_fake.h"
#include "../rows_weights.h"
#include "../rows_dynamic.h"

const nq_rows nq_rows_ref = NQ_ROWS(requantize, look_up, weights);
