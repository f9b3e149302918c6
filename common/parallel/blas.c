/* blas.c - the BLAS that is loaded, recognised by functions that only one of them has: all are
 * asked for as weak symbols or by name, so that the program runs with any. */
#include "common/parallel/blas.h"
#include <dlfcn.h>
#include <limits.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Only present when the program uses BLAS, and then OpenBLAS's, or those of whoever is before it.
 */
extern void cblas_sgemm(void) __attribute__((weak)); /* never called here */
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));
extern int openblas_get_parallel(void) __attribute__((weak));
extern int openblas_get_num_threads(void) __attribute__((weak));
extern void openblas_set_num_threads(int threads) __attribute__((weak));

#define ON_OPENMP 2 /* openblas_get_parallel */
#define REFERENCE "reference BLAS"

typedef void function(void);

/* BLIS is not linked, so its functions are looked for by name. ISO C has no cast from object to
 * function. */
static function *find(const char *name)
{
    function *found = NULL;
    void *address = dlsym(RTLD_DEFAULT, name);
    memcpy(&found, &address, sizeof found);
    return found;
}

static bool object_of(function *of, Dl_info *object)
{
    void *address = NULL;
    memcpy(&address, &of, sizeof address);
    return address && dladdr(address, object) != 0;
}

/* Are both in the same library? */
static bool together(function *a, function *b)
{
    Dl_info object_a, object_b;
    return object_of(a, &object_a) && object_of(b, &object_b) &&
           object_a.dli_fbase == object_b.dli_fbase;
}

bool blas_is_openblas(void)
{
    return together(cblas_sgemm, (function *)openblas_get_corename);
}

static bool is_blis(void)
{
    return together(cblas_sgemm, find("bli_info_get_version_str"));
}

/* The file that has the product, with what all links lead to; "" if it is not known. */
static const char *blas_file(char path[PATH_MAX])
{
    Dl_info object;
    if (!object_of(cblas_sgemm, &object) || !object.dli_fname)
        return "";
    return realpath(object.dli_fname, path) ? path : object.dli_fname;
}

/* Of those that have no function to ask, the directory tells: Debian has a libblas.so.3 of each. */
static const char *name_by_file(const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    return strcasestr(file, "blis")                                                  ? "BLIS"
           : strcasestr(file, "atlas")                                               ? "ATLAS"
           : strcasestr(file, "mkl")                                                 ? "MKL"
           : strncmp(name, "libblas.", 8) == 0 || strncmp(name, "libcblas.", 9) == 0 ? REFERENCE
           : *name                                                                   ? name
                                                                                     : "BLAS";
}

void blas_set_threads(int threads)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(threads);
    if (openblas_get_parallel && openblas_get_parallel() == ON_OPENMP)
        omp_set_num_threads(threads);
    if (is_blis()) {
        void (*set)(int64_t) = (void (*)(int64_t))find("bli_thread_set_num_threads");
        if (set)
            set(threads);
    }
}

int blas_threads(void)
{
    if (blas_is_openblas())
        return openblas_get_num_threads ? openblas_get_num_threads() : 0;
    if (is_blis()) {
        int64_t (*get)(void) = (int64_t(*)(void))find("bli_thread_get_num_threads");
        return get ? (int)get() : 0;
    }
    char path[PATH_MAX];
    return strcmp(name_by_file(blas_file(path)), REFERENCE) == 0 ? 1 : 0;
}

void blas_name(char *name, size_t size)
{
    char product[24], version[24], path[PATH_MAX];
    if (is_blis()) {
        const char *(*get)(void) = (const char *(*)(void))find("bli_info_get_version_str");
        snprintf(name, size, "BLIS %s", get());
    } else if (!blas_is_openblas()) {
        snprintf(name, size, "%s", name_by_file(blas_file(path)));
    } else if (openblas_get_config &&
               sscanf(openblas_get_config(), "%23s %23s", product, version) == 2 &&
               strchr(version, '.')) {
        snprintf(name, size, "%s %s", product, version);
    } else {
        snprintf(name, size, "OpenBLAS");
    }
}
