#include "tests/random_shapes.h"
#include "common/kernels/kernels.h"
#include <check.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAYS 16

struct array {
    unsigned char *memory;
    size_t before, bytes, behind;
};

static struct {
    uint64_t seed, state;
    char shape[200];
    struct array arrays[ARRAYS];
    size_t count;
} trial;

void trial_begin(uint64_t seed)
{
    trial.seed = seed;
    trial.state = seed * 0x9e3779b97f4a7c15u;
    trial.shape[0] = 0;
}

void trial_end(void)
{
    trial_check_guards("a kernel");
    while (trial.count > 0)
        free(trial.arrays[--trial.count].memory);
}

void trial_shape(const char *format, ...)
{
    const size_t used = strlen(trial.shape);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(trial.shape + used, sizeof trial.shape - used, format, arguments);
    va_end(arguments);
}

/* ---- Random numbers -------------------------------------------------------------------------- */

/* SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014). */
uint64_t trial_word(void)
{
    uint64_t word = trial.state += 0x9e3779b97f4a7c15u;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
    word = (word ^ word >> 27) * 0x94d049bb133111ebu;
    return word ^ word >> 31;
}

size_t trial_below(size_t n)
{
    return (size_t)(trial_word() % n);
}

double trial_uniform(void)
{
    return ((double)(trial_word() >> 12) + 0.5) / 0x1p52;
}

/* The sum of four numbers of 16 bits, brought to mean 0 and deviation 1. */
double trial_normal(void)
{
    const uint64_t word = trial_word();
    const uint64_t total =
        (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48);
    return ((double)total - 131070) * (1.7320508075688772 / 65536);
}

void trial_fill(float *x, size_t n)
{
    const double sign = trial_uniform() < 0.5 ? -1 : 1;
    const double mean = trial_uniform() < 0.25 ? 0 : sign * pow(10, 6 * trial_uniform() - 1);
    const double deviation = pow(10, 5 * trial_uniform() - 2);
    const size_t kind = trial_below(5);
    for (size_t i = 0; i < n; i++) {
        const double part = (double)i / (double)n;
        const double value = kind == 0   ? trial_uniform() - 0.5
                             : kind == 1 ? (trial_uniform() < part ? -1 : 1) /* a blurred step */
                             : kind == 2 ? 4 * part + 0.1 * trial_normal()   /* a ramp */
                             : kind == 3 ? (double)trial_below(256) / 64     /* as in pictures */
                                         : trial_normal();
        x[i] = (float)(mean + deviation * value);
    }
    trial_shape(", mean %g, deviation %g, kind %zu", mean, deviation, kind);
}

/* ---- Arrays ---------------------------------------------------------------------------------- */

/* All bits set: a NaN, in float and in double. */
static void *new_array(size_t before, size_t bytes)
{
    struct array *const array = &trial.arrays[trial.count];
    void *memory;
    *array = (struct array){.before = before, .bytes = bytes, .behind = trial_below(2) ? 64 : 0};
    const size_t all = array->before + array->bytes + array->behind;
    if (trial.count == ARRAYS || posix_memalign(&memory, 64, all ? all : 1))
        ck_abort_msg("no memory for %zu bytes", all);
    array->memory = memory;
    memset(memory, 0xff, all ? all : 1);
    trial.count++;
    return array->memory + array->before;
}

float *trial_floats(size_t n)
{
    return new_array(trial_below(17) * sizeof(float), n * sizeof(float));
}

float *trial_aligned_floats(size_t n)
{
    return new_array(trial_below(2) * 64, n * sizeof(float));
}

double *trial_doubles(size_t n)
{
    return new_array(trial_below(17) * sizeof(double), n * sizeof(double));
}

static bool untouched(const unsigned char *guard, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && guard[i] == 0xff)
        i++;
    return i == bytes;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

bool trial_use_isa(size_t level)
{
    const char *const name = kernels_isa_name(level);
    return name && kernels_use_isa(name, NULL) == 0;
}

/* Check writes to a file at each of its assertions, so there is none where nothing is wrong. */
void trial_check_that(bool condition, const char *kernel, const char *what)
{
    if (!condition)
        ck_abort_msg("%s (%s), seed %llu, %s: %s", kernel, kernels_isa(),
                     (unsigned long long)trial.seed, trial.shape, what);
}

void trial_check(const char *kernel, size_t at, double got, double expected, double allowed)
{
    if (!(fabs(got - expected) <= allowed))
        ck_abort_msg("%s (%s), seed %llu, %s: [%zu] is %.9g instead of %.9g", kernel, kernels_isa(),
                     (unsigned long long)trial.seed, trial.shape, at, got, expected);
}

void trial_check_all(const char *kernel, float *got, const double *expected, size_t n,
                     double tolerance)
{
    for (size_t i = 0; i < n; i++)
        trial_check(kernel, i, (double)got[i], expected[i], tolerance * (1 + fabs(expected[i])));
    trial_check_guards(kernel);
    memset(got, 0xff, n * sizeof *got);
}

void trial_check_guards(const char *kernel)
{
    for (size_t i = 0; i < trial.count; i++) {
        const struct array *const array = &trial.arrays[i];
        trial_check_that(untouched(array->memory, array->before) &&
                             untouched(array->memory + array->before + array->bytes, array->behind),
                         kernel, "wrote outside of an array");
    }
}
