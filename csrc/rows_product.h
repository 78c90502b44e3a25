/* rows_product.h: a small product of matrices in floats, written once over the vocabulary of rows.h.
 *
 *                     b[k]:  vector 0 | vector 1        c[i][n] += sum_k a[i][k] b[k][n], k in order, each step fused:
 *     a[0][k] (all lanes) -->  acc 0,0    acc 0,1       so that every instruction set computes the same floats
 *     a[1][k]             -->  acc 1,0    acc 1,1
 *       ...                                             32 registers: 12 rows x 2 vectors; 16: 6 rows x 2 vectors */
#ifndef NQ_ROWS_PRODUCT_H
#define NQ_ROWS_PRODUCT_H

enum { PRODUCT_ROWS = W == 16 ? 12 : 6 };

/* rows, vectors: constants. `some`: how many of the columns exist; b is readable beyond them, c is not. */
INLINE void product_tile(const nq_product *p, const float *a, const float *b, float *c, const int rows, const int vectors,
                         int64_t some) {
    vf acc[PRODUCT_ROWS][2];
    float rest[2 * W];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++)
            acc[i][v] = all(0.0f);
    for (int64_t k = 0; k < p->inner; k++, a += p->a_inner, b += p->b_inner) {
        vf x[2];
        UNROLL for (int v = 0; v < vectors; v++)
            x[v] = load(b + W * v);
        UNROLL for (int i = 0; i < rows; i++) {
            const vf s = all(a[i * p->a_row]);
            UNROLL for (int v = 0; v < vectors; v++)
                acc[i][v] = fused(s, x[v], acc[i][v]);
        }
    }
    UNROLL for (int i = 0; i < rows; i++, c += p->c_row) {
        UNROLL for (int v = 0; v < vectors; v++)
            if (some == W * vectors)
                store(c + W * v, acc[i][v] + (p->adds ? load(c + W * v) : all(0.0f)));
            else
                store(rest + W * v, acc[i][v]);
        for (int64_t n = 0; some < W * vectors && n < some; n++)
            c[n] = p->adds ? c[n] + rest[n] : rest[n];
    }
}

INLINE void product_rows(const nq_product *p, const float *a, float *c, const int rows) {
    int64_t n = 0;
    for (; p->columns - n > W; n += 2 * W)
        product_tile(p, a, p->b + n, c + n, rows, 2, p->columns - n < 2 * W ? p->columns - n : 2 * W);
    if (n < p->columns)
        product_tile(p, a, p->b + n, c + n, rows, 1, p->columns - n);
}

#define SOME_ROWS(count)                                                                                               \
    for (; i + (count) <= p->rows; i += (count))                                                                       \
        product_rows(p, p->a + i * p->a_row, p->c + i * p->c_row, count)

static void multiply(const nq_product *p) {
    int64_t i = 0;
    SOME_ROWS(PRODUCT_ROWS);
    SOME_ROWS(PRODUCT_ROWS == 12 ? 8 : 4);
    SOME_ROWS(4);
    SOME_ROWS(1);
}

#endif
