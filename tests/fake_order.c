/* fake_order.c - for LD_PRELOAD: a BLAS that adds in another order for each size and number of
 * threads.
 *
 * OpenBLAS may do that as well, with the kernels of some processors and not with those of others: a
 * row of a product then has other last bits if it is computed alone or among others. Here the sums
 * over k begin at a k that depends on both, so results that are compared to the last bit differ
 * wherever the comparison rests on a machine's luck. Row-major only; nobody here asks for more.
 */
#include <cblas.h>
#include <stdlib.h>

static int threads = 1;

void openblas_set_num_threads(int num_threads)
{
    threads = num_threads;
}

int openblas_get_num_threads(void)
{
    return threads;
}

/* C = alpha A B + beta C, with op(A) M x K and op(B) K x N, whose strides are given. */
/* NOLINTBEGIN(bugprone-macro-parentheses): the parameter is a type */
#define GEMM(real)                                                                                 \
    static void gemm_##real(size_t M, size_t N, size_t K, real alpha, const real *A, size_t a_row, \
                            size_t a_column, const real *B, size_t b_row, size_t b_column,         \
                            real beta, real *C, size_t ldc)                                        \
    {                                                                                              \
        const size_t begin = K ? (31 * M + 17 * N + 7 * (size_t)threads) % K : 0;                  \
        for (size_t i = 0; i < M; i++)                                                             \
            for (size_t j = 0; j < N; j++) {                                                       \
                real sum = 0;                                                                      \
                for (size_t step = 0, k = begin; step < K; step++, k = k + 1 < K ? k + 1 : 0)      \
                    sum += A[i * a_row + k * a_column] * B[k * b_row + j * b_column];              \
                C[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * C[i * ldc + j]);            \
            }                                                                                      \
    }
GEMM(float)
GEMM(double)
/* NOLINTEND(bugprone-macro-parentheses) */

static size_t step(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE transpose, blasint ld, int of_row)
{
    if (order != CblasRowMajor)
        abort();
    return (transpose == CblasNoTrans) == (of_row != 0) ? (size_t)ld : 1;
}

void cblas_sgemm(OPENBLAS_CONST enum CBLAS_ORDER Order, OPENBLAS_CONST enum CBLAS_TRANSPOSE TransA,
                 OPENBLAS_CONST enum CBLAS_TRANSPOSE TransB, OPENBLAS_CONST blasint M,
                 OPENBLAS_CONST blasint N, OPENBLAS_CONST blasint K, OPENBLAS_CONST float alpha,
                 OPENBLAS_CONST float *A, OPENBLAS_CONST blasint lda, OPENBLAS_CONST float *B,
                 OPENBLAS_CONST blasint ldb, OPENBLAS_CONST float beta, float *C,
                 OPENBLAS_CONST blasint ldc)
{
    gemm_float((size_t)M, (size_t)N, (size_t)K, alpha, A, step(Order, TransA, lda, 1),
               step(Order, TransA, lda, 0), B, step(Order, TransB, ldb, 1),
               step(Order, TransB, ldb, 0), beta, C, (size_t)ldc);
}

void cblas_dgemm(OPENBLAS_CONST enum CBLAS_ORDER Order, OPENBLAS_CONST enum CBLAS_TRANSPOSE TransA,
                 OPENBLAS_CONST enum CBLAS_TRANSPOSE TransB, OPENBLAS_CONST blasint M,
                 OPENBLAS_CONST blasint N, OPENBLAS_CONST blasint K, OPENBLAS_CONST double alpha,
                 OPENBLAS_CONST double *A, OPENBLAS_CONST blasint lda, OPENBLAS_CONST double *B,
                 OPENBLAS_CONST blasint ldb, OPENBLAS_CONST double beta, double *C,
                 OPENBLAS_CONST blasint ldc)
{
    gemm_double((size_t)M, (size_t)N, (size_t)K, alpha, A, step(Order, TransA, lda, 1),
                step(Order, TransA, lda, 0), B, step(Order, TransB, ldb, 1),
                step(Order, TransB, ldb, 0), beta, C, (size_t)ldc);
}
