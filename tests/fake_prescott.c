/* fake_prescott.c - for LD_PRELOAD: an OpenBLAS that does not know the processor.
 *
 * It says "Prescott" unless OPENBLAS_CORETYPE is set to a name that it knows, and then that name.
 * The environment can make the kernels of one core type bad: FAKE_SKYLAKEX, FAKE_HASWELL or
 * FAKE_CORE2 is "wrong", "crash", "hang" or "illegal", as on a processor without the instructions.
 */
#include <cblas.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static char *core_name(void)
{
    static char *const names[] = {"Prescott", "SkylakeX", "Haswell", "Core2"};
    const char *asked = getenv("OPENBLAS_CORETYPE");
    for (size_t i = 0; asked && i < sizeof names / sizeof *names; i++)
        if (strcasecmp(asked, names[i]) == 0)
            return names[i];
    return names[0];
}

char *openblas_get_corename(void)
{
    return core_name();
}

typedef void sgemm_function(OPENBLAS_CONST enum CBLAS_ORDER, OPENBLAS_CONST enum CBLAS_TRANSPOSE,
                            OPENBLAS_CONST enum CBLAS_TRANSPOSE, OPENBLAS_CONST blasint,
                            OPENBLAS_CONST blasint, OPENBLAS_CONST blasint, OPENBLAS_CONST float,
                            OPENBLAS_CONST float *, OPENBLAS_CONST blasint, OPENBLAS_CONST float *,
                            OPENBLAS_CONST blasint, OPENBLAS_CONST float, float *,
                            OPENBLAS_CONST blasint);

void cblas_sgemm(OPENBLAS_CONST enum CBLAS_ORDER Order, OPENBLAS_CONST enum CBLAS_TRANSPOSE TransA,
                 OPENBLAS_CONST enum CBLAS_TRANSPOSE TransB, OPENBLAS_CONST blasint M,
                 OPENBLAS_CONST blasint N, OPENBLAS_CONST blasint K, OPENBLAS_CONST float alpha,
                 OPENBLAS_CONST float *A, OPENBLAS_CONST blasint lda, OPENBLAS_CONST float *B,
                 OPENBLAS_CONST blasint ldb, OPENBLAS_CONST float beta, float *C,
                 OPENBLAS_CONST blasint ldc)
{
    const char *core = core_name();
    const char *fault = strcmp(core, "SkylakeX") == 0  ? getenv("FAKE_SKYLAKEX")
                        : strcmp(core, "Haswell") == 0 ? getenv("FAKE_HASWELL")
                        : strcmp(core, "Core2") == 0   ? getenv("FAKE_CORE2")
                                                       : NULL;
    sgemm_function *real = NULL;
    void *address = dlsym(RTLD_NEXT, "cblas_sgemm");
    memcpy(&real, &address, sizeof address); /* ISO C has no cast from object to function */
    if (!real || (fault && strcmp(fault, "crash") == 0))
        abort();
    if (fault && strcmp(fault, "illegal") == 0)
        raise(SIGILL);
    while (fault && strcmp(fault, "hang") == 0)
        pause();
    real(Order, TransA, TransB, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
    if (fault && M > 100) /* "wrong", in one element of the larger products */
        C[M / 2] += 1.0F;
}
