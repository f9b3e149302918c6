#include "common/lesson/internal.h"
#include "common/parallel/resources.h"
#include "common/parallel/shared_memory.h"
#include <math.h>
#include <stdlib.h>

#define POISON 0xA5

static void free_arrays(struct array_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->arrays[i].data);
        free(set->arrays[i].reference);
        shared_memory_free(set->arrays[i].shared);
    }
    free(set->arrays);
    set->arrays = NULL;
    set->count = 0;
    set->needed = 0.0;
}

void arrays_free_all(struct lesson *lesson)
{
    while (lesson->sets) {
        struct array_set *set = lesson->sets;
        lesson->sets = set->next;
        free_arrays(set);
        free(set);
    }
}

struct array_set *arrays_prepare(struct lesson *lesson, const struct lesson_workload *workload)
{
    struct array_set *set = lesson->sets;
    while (set && set->work != workload->work)
        set = set->next;
    if (!set) {
        set = lesson_allocate(lesson, 1, sizeof *set);
        set->work = workload->work;
        set->next = lesson->sets;
        lesson->sets = set;
    }
    free_arrays(set);
    set->available = (double)resources_memory();
    lesson->preparing = set;
    if (workload->prepare)
        workload->prepare(lesson, workload->work);
    lesson->preparing = NULL;
    return set;
}

/* How many copies of an array there may be at a time: its own; the reference of a result; and for
 * processes the pool's or the shared one. */
static int copies(const struct lesson *lesson, bool result)
{
    return 1 + (result ? 1 : 0) + (lesson->options.modes[LESSON_PROCESSES] ? 1 : 0);
}

__attribute__((noreturn)) static void too_large(struct lesson *lesson, double bytes,
                                                const char *available)
{
    lesson_usage(lesson, "%s: needs %s of memory; %s",
                 *lesson->sizes ? lesson->sizes : "the default size", lesson_bytes_text(bytes),
                 available);
}

/* Memory is not touched before it is known to be there: the kernel promises more than it has, and
 * would kill some process later. */
static size_t affordable_bytes(struct lesson *lesson, size_t count, size_t size, bool result)
{
    struct array_set *set = lesson->preparing;
    size_t bytes = 0;
    char available[64];
    snprintf(available, sizeof available, "%s are available", lesson_bytes_text(set->available));
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - 64)
        too_large(lesson, (double)count * (double)size, available);
    set->needed += (double)bytes * copies(lesson, result);
    if (set->needed > set->available)
        too_large(lesson, set->needed, available);
    return bytes;
}

void lesson_require(struct lesson *lesson, size_t tasks, size_t input_size, size_t result_size)
{
    struct array_set unused = {.available = (double)resources_memory()},
                     *before = lesson->preparing;
    lesson->preparing = &unused;
    affordable_bytes(lesson, tasks, input_size, false);
    affordable_bytes(lesson, tasks, result_size, true);
    lesson->preparing = before;
}

static void add_array(struct lesson *lesson, void *pointer, size_t count, size_t size, bool result)
{
    struct array_set *set = lesson->preparing;
    if (!set)
        lesson_die(lesson, "lesson_input and lesson_result belong into a workload's prepare");
    const size_t bytes = affordable_bytes(lesson, count, size, result);
    struct array *arrays = reallocarray(set->arrays, set->count + 1, sizeof *arrays);
    if (!arrays)
        lesson_die(lesson, "out of memory");
    set->arrays = arrays;
    struct array *array = &arrays[set->count];
    *array = (struct array){.pointer = pointer, .bytes = bytes, .size = size, .result = result};
    if (posix_memalign(&array->data, 64, bytes ? bytes : 1))
        too_large(lesson, (double)bytes, "the system refuses it");
    set->count++;
    memset(array->data, 0, bytes ? bytes : 1);
    memcpy(pointer, &array->data, sizeof array->data); /* a T * of any T */
}

void lesson_input(struct lesson *lesson, void *pointer, size_t count, size_t size)
{
    add_array(lesson, pointer, count, size, false);
}

void lesson_result(struct lesson *lesson, void *pointer, size_t count, size_t size)
{
    add_array(lesson, pointer, count, size, true);
}

void arrays_share(struct lesson *lesson, struct array_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct array *array = &set->arrays[i];
        struct error error;
        if (array->bytes == 0 || array->shared)
            continue;
        array->shared = shared_memory_allocate(array->bytes, 1, &error);
        if (!array->shared)
            lesson_die(lesson, "--transfer shared: %s", error.message);
        memcpy(array->shared, array->data, array->bytes);
    }
}

void arrays_unshare(struct array_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        shared_memory_free(set->arrays[i].shared);
        set->arrays[i].shared = NULL;
    }
}

static void *in_use(const struct array *array, bool shared)
{
    return shared && array->shared ? array->shared : array->data;
}

void arrays_use(struct array_set *set, bool shared)
{
    for (size_t i = 0; i < set->count; i++) {
        void *address = in_use(&set->arrays[i], shared);
        memcpy(set->arrays[i].pointer, &address, sizeof address);
    }
}

void arrays_poison(struct array_set *set, bool shared)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->arrays[i].result)
            memset(in_use(&set->arrays[i], shared), POISON, set->arrays[i].bytes);
}

void arrays_keep_reference(struct lesson *lesson, struct array_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct array *array = &set->arrays[i];
        if (!array->result)
            continue;
        if (!array->reference)
            array->reference = lesson_allocate(lesson, array->bytes ? array->bytes : 1, 1);
        memcpy(array->reference, array->data, array->bytes);
    }
}

/* As numpy.isclose with rtol = atol = tolerance. */
static bool close_to(double value, double reference, double tolerance)
{
    return fabs(value - reference) <= tolerance + tolerance * fabs(reference);
}

/* Elements of 4 bytes are floats, of 8 bytes doubles; nothing else may differ. */
static bool nearly_equal(const struct array *array, const void *values, double tolerance)
{
    const float *floats = values, *float_reference = array->reference;
    const double *doubles = values, *double_reference = array->reference;
    const size_t count = array->size ? array->bytes / array->size : 0;
    if (array->size != sizeof *floats && array->size != sizeof *doubles)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!(array->size == sizeof *floats
                  ? close_to((double)floats[i], (double)float_reference[i], tolerance)
                  : close_to(doubles[i], double_reference[i], tolerance)))
            return false;
    return true;
}

bool arrays_match(const struct array_set *set, bool shared, double tolerance)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct array *array = &set->arrays[i];
        const void *values = in_use(array, shared);
        if (!array->result || memcmp(values, array->reference, array->bytes) == 0)
            continue;
        if (tolerance == 0.0 || !nearly_equal(array, values, tolerance))
            return false;
    }
    return true;
}

void arrays_restore(struct array_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->arrays[i].result)
            memcpy(set->arrays[i].data, set->arrays[i].reference, set->arrays[i].bytes);
}
