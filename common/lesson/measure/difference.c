/* Results beside the sequential ones: are they the same, and if not, how do they differ? */
#include "common/lesson/measure/measurement.h"
#include <math.h>

static bool is_poison(enum npy_type type, const void *element)
{
    for (size_t i = 0; i < npy_size(type); i++)
        if (((const unsigned char *)element)[i] != POISON)
            return false;
    return true;
}

/* The same bits, or nearly the same value. */
static bool same(enum npy_type type, const void *expected, const void *got, double tolerance)
{
    return memcmp(expected, got, npy_size(type)) == 0 ||
           (tolerance > 0.0 && npy_close(type, expected, got, tolerance));
}

static void note(struct difference *difference, size_t array, size_t index, enum npy_type type,
                 const void *expected, const void *got)
{
    const double size = fabs(npy_value(type, got) - npy_value(type, expected));
    if (difference->count++ == 0) {
        difference->array = array;
        difference->first = index;
        npy_text(difference->expected, type, expected);
        npy_text(difference->got, type, got);
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
        if (set->arrays[i].result && !npy_is_real(set->arrays[i].type))
            lesson_die(lesson,
                       "%s: a tolerance of %g cannot be applied to whole numbers; its results "
                       "must be NPY_FLOAT32 or NPY_FLOAT64",
                       workload->name, tolerance);
}
