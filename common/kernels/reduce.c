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
#include <math.h>
#include <string.h>

#define LANES 32UL

double ONCE(sum_naive)(const float *x, size_t n)
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

double EACH_ISA(sum)(const float *x, size_t n)
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

double ONCE(sum_of_squares_naive)(const float *x, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)x[i] * (double)x[i];
    return total;
}

/* Two streams, each with the lanes of `sum`, so that more of the memory is asked for at a time: two
 * pages side by side, while the next two are fetched, in this array or in the next, of which
 * nothing is known here. The rest is halved, and what cannot be goes a few at a time. */
#define PAGE 1024UL /* floats */
#define FEW  16UL

INLINED void add_squares(double *restrict lanes, const float *restrict x, size_t n)
{
#pragma omp simd
    for (size_t lane = 0; lane < n; lane++)
        lanes[lane] += (double)x[lane] * (double)x[lane];
}

INLINED void add_two_streams(double *restrict first, double *restrict second,
                             const float *restrict x, size_t half)
{
    prefetch(x, 4 * PAGE * sizeof *x, 512); /* so that the processor begins to fetch those pages */
    prefetch(x + half, 4 * PAGE * sizeof *x, 512);
    for (size_t i = 0; i < half; i += LANES) {
        prefetch(x + i, 2 * PAGE * sizeof *x, LANES * sizeof *x);
        prefetch(x + half + i, 2 * PAGE * sizeof *x, LANES * sizeof *x);
        add_squares(first, x + i, LANES);
        add_squares(second, x + half + i, LANES);
    }
}

double EACH_ISA(sum_of_squares)(const float *x, size_t n)
{
    double first[LANES] = {0}, second[LANES] = {0};
    size_t done = 0;
    while (n - done >= 2 * LANES) {
        const size_t half = n - done >= 2 * PAGE ? PAGE : (n - done) / LANES / 2 * LANES;
        add_two_streams(first, second, x + done, half);
        done += 2 * half;
    }
    for (; n - done >= FEW; done += FEW)
        add_squares(first, x + done, FEW);
    if (done < n) { /* filled up with zeros */
        float last[FEW] = {0};
        memcpy(last, x + done, (n - done) * sizeof *last);
        add_squares(first, last, FEW);
    }
    for (size_t lane = 0; lane < LANES; lane++)
        first[lane] += second[lane];
#pragma GCC unroll 5
    for (size_t step = LANES / 2; step > 0; step /= 2)
        for (size_t lane = 0; lane < step; lane++)
            first[lane] += first[lane + step];
    return first[0];
}

/* C does not let the compiler change the order of additions in float, so this stays the chain of
 * single additions that it is. */
double ONCE(sum_of_squares_float_naive)(const float *x, size_t n)
{
    float total = 0;
    for (size_t i = 0; i < n; i++)
        total += x[i] * x[i];
    return (double)total;
}

#define FLOAT_LANES SUM_OF_SQUARES_FLOAT_LANES

INLINED void add_float_squares(float *restrict lanes, const float *restrict x)
{
#pragma omp simd
    for (size_t lane = 0; lane < FLOAT_LANES; lane++)
        lanes[lane] += x[lane] * x[lane];
}

double EACH_ISA(sum_of_squares_float)(const float *x, size_t n)
{
    float lanes[FLOAT_LANES] = {0};
    const size_t whole = n - n % FLOAT_LANES;
    for (size_t i = 0; i < whole; i += FLOAT_LANES)
        add_float_squares(lanes, x + i);
    if (whole < n) {
        float rest[FLOAT_LANES] = {0};
        memcpy(rest, x + whole, (n - whole) * sizeof *rest);
        add_float_squares(lanes, rest);
    }
#pragma GCC unroll 7
    for (size_t half = FLOAT_LANES / 2; half > 0; half /= 2)
        for (size_t lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return (double)lanes[0];
}

/* (total - next) + square is what the addition lost where the total was the larger of the two. */
double ONCE(sum_of_squares_exact)(const float *x, size_t n)
{
    double total = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        const double square = (double)x[i] * (double)x[i], next = total + square;
        lost += fabs(total) >= fabs(square) ? (total - next) + square : (square - next) + total;
        total = next;
    }
    return isfinite(lost) ? total + lost : total; /* infinity - infinity is lost for nothing */
}

double ONCE(product_sum_naive)(float *product, const float *x, size_t order)
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

double ONCE(product_sum)(float *product, const float *x, size_t order)
{
    if (order == 0) /* BLAS takes a leading dimension of 0 for a mistake */
        return 0;
    const blasint n = (blasint)order;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0f, x, n, x, n, 0.0f, product,
                n);
    return sum(product, order * order);
}

void ONCE(product_naive)(double *restrict product, const double *a, const double *b, size_t rows,
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

void ONCE(product)(double *restrict product, const double *a, const double *b, size_t rows,
                   size_t inner, size_t columns)
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
