/* isa.c - see isa.h, and kernels.h for what others call: which instruction sets the machine can do,
 * the one in use, and the kernels that pass each call on to it.
 */
#include "common/kernels/isa.h"
#include <stdbool.h>
#include <stdio.h>

#if defined __x86_64__
    #define BASE_NAME "x86-64"
#elif defined __aarch64__
    #define BASE_NAME "aarch64"
#elif defined __riscv
    #define BASE_NAME "riscv"
#elif defined __powerpc64__
    #define BASE_NAME "ppc64"
#else
    #define BASE_NAME "generic"
#endif

/* The functions of a level, each in the member of its name. */
/* NOLINTNEXTLINE(bugprone-macro-parentheses): parameters have theirs */
#define MEMBER(result, name, parameters, arguments) result(*name) parameters;
struct kernels {
    FAST_KERNELS(MEMBER)
};

struct level {
    const char *name, *short_name;
    struct kernels kernels;
};

#define DECLARE_BASE(result, name, parameters, arguments) result name##_base parameters;
#define BASE(result, name, parameters, arguments)         .name = name##_base,
FAST_KERNELS(DECLARE_BASE)

#ifdef KERNELS_X86_64
    #define DECLARE_V3(result, name, parameters, arguments) result name##_v3 parameters;
    #define V3(result, name, parameters, arguments)         .name = name##_v3,
FAST_KERNELS(DECLARE_V3)
    #define DECLARE_V4(result, name, parameters, arguments) result name##_v4 parameters;
    #define V4(result, name, parameters, arguments)         .name = name##_v4,
FAST_KERNELS(DECLARE_V4)
#endif

/* From the lowest to the highest; each processor that can do one can do those before it. */
static const struct level levels[] = {
    {BASE_NAME, "baseline", {FAST_KERNELS(BASE)}},
#ifdef KERNELS_X86_64
    {"x86-64-v3", "v3", {FAST_KERNELS(V3)}},
    {"x86-64-v4", "v4", {FAST_KERNELS(V4)}},
#endif
};

static const struct level *in_use = levels;
static size_t usable = 1; /* so many of them the machine can do */

/* ---- What the machine can do ----------------------------------------------------------------- */

#ifdef KERNELS_X86_64
/* clang 14 does not know the names of the levels. */
static bool processor_has_v3(void)
{
    #ifdef __clang__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    #else
    return __builtin_cpu_supports("x86-64-v3");
    #endif
}

static bool processor_has_v4(void)
{
    #ifdef __clang__
    return processor_has_v3() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    #else
    return __builtin_cpu_supports("x86-64-v4");
    #endif
}
#endif

/* Before main, and so before there are threads or other processes. */
__attribute__((constructor)) static void choose_best(void)
{
#ifdef KERNELS_X86_64
    __builtin_cpu_init();
    usable += processor_has_v3() + processor_has_v4();
#endif
    in_use = &levels[usable - 1];
}

const char *kernels_isa(void)
{
    return in_use->name;
}

const char *kernels_isa_name(size_t level)
{
    return level < usable ? levels[level].name : NULL;
}

int kernels_use_isa(const char *name, struct error *error)
{
    char known[128] = "";
    for (size_t i = 0; i < usable; i++) {
        if (strcmp(name, levels[i].name) == 0 || strcmp(name, levels[i].short_name) == 0) {
            in_use = &levels[i];
            return 0;
        }
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s (%s)", i ? ", " : "", levels[i].name,
                 levels[i].short_name);
    }
    return error_set(error, ERROR_INVALID,
                     "'%.40s' is none of the instruction sets that can be used here: %s", name,
                     known);
}

/* ---- The kernels that everybody calls -------------------------------------------------------- */

/* One definition for those that return something and those that do not: C as it is written in books
 * does not allow `return` before a call that gives nothing, all compilers do. */
#pragma GCC diagnostic ignored "-Wpedantic"
#define PASS_ON(result, name, parameters, arguments)                                               \
    result name parameters                                                                         \
    {                                                                                              \
        return in_use->kernels.name arguments;                                                     \
    }
FAST_KERNELS(PASS_ON)
