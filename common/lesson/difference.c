/* Results beside the sequential ones: are they the same, and if not, how do they differ? */
#include "common/lesson/internal.h"
#include <math.h>

/* One element of an array: bits to compare, a value to subtract, and what to print. */
static double value_of(enum npy_type type, const void *element)
{
    float real = 0;
    double twice = 0;
    int64_t whole = 0;
    if (type == NPY_FLOAT32) {
        memcpy(&real, element, sizeof real);
        return (double)real;
    }
    if (type == NPY_FLOAT64) {
        memcpy(&twice, element, sizeof twice);
        return twice;
    }
    if (type == NPY_UINT8)
        return *(const unsigned char *)element;
    memcpy(&whole, element, sizeof whole);
    return (double)whole;
}

static bool is_poison(enum npy_type type, const void *element)
{
    for (size_t i = 0; i < npy_size(type); i++)
        if (((const unsigned char *)element)[i] != POISON)
            return false;
    return true;
}

static void element_text(char text[32], enum npy_type type, const void *element)
{
    int64_t whole = 0;
    if (type == NPY_INT64) {
        memcpy(&whole, element, sizeof whole);
        snprintf(text, 32, "%lld", (long long)whole);
    } else {
        snprintf(text, 32, type == NPY_FLOAT32 ? "%.9g" : "%.17g", value_of(type, element));
    }
}

/* The same bits; or, as numpy.isclose has it with rtol = atol = tolerance, nearly the same, which
 * nothing infinite is. */
static bool same(enum npy_type type, const void *expected, const void *got, double tolerance)
{
    if (memcmp(expected, got, npy_size(type)) == 0)
        return true;
    if (tolerance == 0.0)
        return false;
    const double reference = value_of(type, expected);
    return isfinite(reference) &&
           fabs(value_of(type, got) - reference) <= tolerance + tolerance * fabs(reference);
}

static void note(struct difference *difference, size_t array, size_t index, enum npy_type type,
                 const void *expected, const void *got)
{
    const double size = fabs(value_of(type, got) - value_of(type, expected));
    if (difference->count++ == 0) {
        difference->array = array;
        difference->first = index;
        element_text(difference->expected, type, expected);
        element_text(difference->got, type, got);
        if (is_poison(type, got))
            snprintf(difference->got, sizeof difference->got, "nothing (never written)");
    }
    if (!(size <= difference->largest)) /* NAN counts as the largest, and stays */
        difference->largest = size;
}

bool arrays_match(const struct array_set *set, bool shared, double tolerance,
                  struct difference *difference)
{
    *difference = (struct difference){.count = 0};
    for (size_t i = 0; i < set->count; i++) {
        const struct array *array = &set->arrays[i];
        const char *got = array_in_use(array, shared), *expected = array->reference;
        if (!array->result)
            continue;
        const size_t size = npy_size(array->type), count = array->bytes / size;
        difference->of += count;
        difference->arrays++;
        if (count == 0 || memcmp(got, expected, array->bytes) == 0)
            continue;
        for (size_t j = 0; j < count; j++)
            if (!same(array->type, expected + j * size, got + j * size, tolerance))
                note(difference, difference->arrays, j, array->type, expected + j * size,
                     got + j * size);
    }
    return difference->count == 0;
}

void difference_text(char *text, size_t size, const struct difference *difference)
{
    char of_array[32] = "";
    if (difference->arrays > 1)
        snprintf(of_array, sizeof of_array, " of array %zu", difference->array);
    snprintf(text, size,
             "%zu of %zu results differ from the sequential ones, by up to %.3g; the first is "
             "[%zu]%s: expected %s, got %s",
             difference->count, difference->of, difference->largest, difference->first, of_array,
             difference->expected, difference->got);
}

void arrays_check_tolerance(struct lesson *lesson, const struct array_set *set,
                            const struct lesson_workload *workload)
{
    const double tolerance = workload->tolerance;
    if (!(tolerance >= 0.0 && isfinite(tolerance)))
        lesson_die(lesson, "%s: %g is no tolerance; it must be 0 or a positive number",
                   workload->name, tolerance);
    for (size_t i = 0; i < set->count && tolerance > 0.0; i++)
        if (set->arrays[i].result && set->arrays[i].type != NPY_FLOAT32 &&
            set->arrays[i].type != NPY_FLOAT64)
            lesson_die(lesson,
                       "%s: a tolerance of %g cannot be applied to whole numbers; its results "
                       "must be NPY_FLOAT32 or NPY_FLOAT64",
                       workload->name, tolerance);
}
