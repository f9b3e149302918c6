/* fake_blas.c - for LD_PRELOAD: a BLAS that other machines have. It computes with the real one.
 *
 * As libfake_openmp_blas.so it is OpenBLAS 0.3.29 on OpenMP: at a product outside of parallel
 * regions it takes as many threads as omp_get_max_threads says, whatever it was told before. As
 * libfake_silent_blas.so it has no function that tells its name or its threads. Products of several
 * threads have another last bit.
 */
#include <cblas.h>
#include <dlfcn.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef FAKE_OPENMP
static int threads; /* 0: nobody has said */

char *openblas_get_corename(void)
{
    static char name[] = "Fake";
    return name;
}

int openblas_get_parallel(void)
{
    return OPENBLAS_OPENMP;
}

void openblas_set_num_threads(int num_threads)
{
    threads = num_threads;
}

int openblas_get_num_threads(void)
{
    return threads > 0 ? threads : omp_get_max_threads();
}

static bool is_shared_out(void)
{
    if (omp_in_parallel())
        return false;
    threads = omp_get_max_threads();
    return threads > 1;
}
#else
static bool is_shared_out(void)
{
    const char *count = getenv("BLIS_NUM_THREADS");
    return count && atoi(count) > 1;
}
#endif

static void *next(const char *name)
{
    void *address = dlsym(RTLD_NEXT, name);
    if (!address)
        abort();
    return address;
}

/* NOLINTBEGIN(bugprone-macro-parentheses): the parameters are names and types */
#define PRODUCT(name, real, next_after)                                                            \
    typedef void name##_function(                                                                  \
        OPENBLAS_CONST enum CBLAS_ORDER, OPENBLAS_CONST enum CBLAS_TRANSPOSE,                      \
        OPENBLAS_CONST enum CBLAS_TRANSPOSE, OPENBLAS_CONST blasint, OPENBLAS_CONST blasint,       \
        OPENBLAS_CONST blasint, OPENBLAS_CONST real, OPENBLAS_CONST real *,                        \
        OPENBLAS_CONST blasint, OPENBLAS_CONST real *, OPENBLAS_CONST blasint,                     \
        OPENBLAS_CONST real, real *, OPENBLAS_CONST blasint);                                      \
    void name(OPENBLAS_CONST enum CBLAS_ORDER Order, OPENBLAS_CONST enum CBLAS_TRANSPOSE TransA,   \
              OPENBLAS_CONST enum CBLAS_TRANSPOSE TransB, OPENBLAS_CONST blasint M,                \
              OPENBLAS_CONST blasint N, OPENBLAS_CONST blasint K, OPENBLAS_CONST real alpha,       \
              OPENBLAS_CONST real *A, OPENBLAS_CONST blasint lda, OPENBLAS_CONST real *B,          \
              OPENBLAS_CONST blasint ldb, OPENBLAS_CONST real beta, real *C,                       \
              OPENBLAS_CONST blasint ldc)                                                          \
    {                                                                                              \
        name##_function *product = NULL;                                                           \
        void *address = next(#name);                                                               \
        memcpy(&product, &address, sizeof address);                                                \
        product(Order, TransA, TransB, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);              \
        if (is_shared_out())                                                                       \
            C[0] = next_after(C[0], (real)INFINITY);                                               \
    }

PRODUCT(cblas_sgemm, float, nextafterf)
PRODUCT(cblas_dgemm, double, nextafter)
/* NOLINTEND(bugprone-macro-parentheses) */
