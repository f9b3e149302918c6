/* reduce.c - sums, and products through BLAS.
 *
 * A plain loop adds to one variable, and each addition waits three or four cycles for the one
 * before it. `sum` keeps LANES partial sums that wait for nobody: a few vector registers' worth,
 * so memory is the limit. Element i always goes to lane i % LANES, wherever the array lies in
 * memory, so the result depends on nothing but the values.
 */
#include "common/kernels/isa.h"
#include "common/kernels/kernels.h"
#include <cblas.h>
#include <string.h>

#define LANES 32

double sum_naive(const float *x, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += x[i];
    return total;
}

INLINED void add_to_lanes(double *restrict lanes, const float *restrict x)
{
#pragma omp simd
    for (size_t lane = 0; lane < LANES; lane++)
        lanes[lane] += (double)x[lane];
}

EACH_ISA double sum(const float *x, size_t n)
{
    double lanes[LANES] = {0};
    const size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        add_to_lanes(lanes, x + i);

    /* The rest goes through the same lanes, filled up with zeros. */
    if (whole < n) {
        float rest[LANES] = {0};
        memcpy(rest, x + whole, (n - whole) * sizeof *rest);
        add_to_lanes(lanes, rest);
    }

    /* Pairwise: the upper half onto the lower, until one is left. */
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return lanes[0];
}

double product_sum_naive(float *product, const float *x, size_t order)
{
    for (size_t i = 0; i < order; i++)
        for (size_t j = 0; j < order; j++) {
            double dot = 0;
            for (size_t k = 0; k < order; k++)
                dot += (double)x[i * order + k] * (double)x[j * order + k];
            product[i * order + j] = (float)dot;
        }
    return sum_naive(product, order * order);
}

double product_sum(float *product, const float *x, size_t order)
{
    if (order == 0) /* BLAS takes a leading dimension of 0 for a mistake */
        return 0;
    const blasint n = (blasint)order;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0f, x, n, x, n, 0.0f, product,
                n);
    return sum(product, order * order);
}

void product_naive(double *restrict product, const double *a, const double *b, size_t rows,
                   size_t inner, size_t columns)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            double dot = 0;
            for (size_t k = 0; k < inner; k++)
                dot += a[i * inner + k] * b[k * columns + j];
            product[i * columns + j] = dot;
        }
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
