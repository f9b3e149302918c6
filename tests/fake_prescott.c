/* fake_prescott.c - for LD_PRELOAD: an OpenBLAS that does not know the processor.
 *
 * It says "Prescott" unless OPENBLAS_CORETYPE is set, and then that name. The environment can make
 * the kernels of one core type bad: FAKE_SKYLAKEX or FAKE_HASWELL is "wrong", "crash" or "hang".
 */
#include <cblas.h>
#include <dlfcn.h>
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

void cblas_sgemm(OPENBLAS_CONST enum CBLAS_ORDER order, OPENBLAS_CONST enum CBLAS_TRANSPOSE ta,
                 OPENBLAS_CONST enum CBLAS_TRANSPOSE tb, OPENBLAS_CONST blasint m,
                 OPENBLAS_CONST blasint n, OPENBLAS_CONST blasint k, OPENBLAS_CONST float alpha,
                 OPENBLAS_CONST float *a, OPENBLAS_CONST blasint lda, OPENBLAS_CONST float *b,
                 OPENBLAS_CONST blasint ldb, OPENBLAS_CONST float beta, float *c,
                 OPENBLAS_CONST blasint ldc)
{
    const char *core = core_name();
    const char *fault = strcmp(core, "SkylakeX") == 0  ? getenv("FAKE_SKYLAKEX")
                        : strcmp(core, "Haswell") == 0 ? getenv("FAKE_HASWELL")
                                                       : NULL;
    sgemm_function *real = NULL;
    void *address = dlsym(RTLD_NEXT, "cblas_sgemm");
    memcpy(&real, &address, sizeof address); /* ISO C has no cast from object to function */
    if (!real || (fault && strcmp(fault, "crash") == 0))
        abort();
    while (fault && strcmp(fault, "hang") == 0)
        pause();
    real(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (fault && m > 100) /* "wrong", in one element of the larger products */
        c[m / 2] += 1.0F;
}
