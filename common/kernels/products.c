/* products.c - products of matrices, by BLAS. */
#include "common/kernels/kernels.h"
#include <cblas.h>
#include <string.h>

double product_sum(float *product, const float *x, size_t order)
{
    if (order == 0) /* BLAS takes a leading dimension of 0 for a mistake */
        return 0;
    const blasint n = (blasint)order;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0f, x, n, x, n, 0.0f, product,
                n);
    return sum(product, order * order);
}

void product(double *restrict product, const double *a, const double *b, size_t rows, size_t inner,
             size_t columns)
{
    if (rows == 0 || columns == 0) /* BLAS takes a leading dimension of 0 for a mistake */
        return;
    if (inner == 0) {
        memset(product, 0, rows * columns * sizeof *product);
        return;
    }
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)columns,
                (blasint)inner, 1.0, a, (blasint)inner, b, (blasint)columns, 0.0, product,
                (blasint)columns);
}
