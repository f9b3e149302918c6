/* The arrays of a workload: inputs and results, in ordinary memory and, for modes that share them,
 * once more in shared arrays; and what the sequential run gave, to compare with. A workload's
 * struct holds pointers, which are turned to the one or the other before each run. Memory is
 * counted before it is asked for, since the kernel promises more than it has.
 */
#include "common/lesson/measure/measurement.h"
#include "common/parallel/resources.h"
#include "common/parallel/shared_memory.h"
#include <math.h>
#include <stdlib.h>

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

void lesson_release(struct lesson *lesson, const void *work)
{
    for (struct array_set **at = &lesson->sets; *at; at = &(*at)->next)
        if ((*at)->work == work) {
            struct array_set *set = *at;
            *at = set->next;
            free_arrays(set);
            free(set);
            return;
        }
}

struct array_set *arrays_prepare(struct lesson *lesson, const struct lesson_workload *workload)
{
    struct array_set *set = lesson->sets;
    while (set && set->work != workload->work)
        set = set->next;
    if (set && !workload->prepare)
        return set;
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
    return 1 + (result ? 1 : 0) + (lesson->options->modes[LESSON_PROCESSES] ? 1 : 0);
}

__attribute__((noreturn)) static void too_large(struct lesson *lesson, double bytes,
                                                const char *available)
{
    lesson_usage(lesson, "%s: needs %s of memory; %s",
                 *lesson->sizes ? lesson->sizes : "the default size", lesson_bytes_text(bytes),
                 available);
}

void lesson_require(struct lesson *lesson, double bytes)
{
    char available[64];
    const double free_bytes = (double)resources_memory();
    snprintf(available, sizeof available, "%s are available", lesson_bytes_text(free_bytes));
    if (bytes > free_bytes)
        too_large(lesson, bytes, available);
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

/* What it holds is known of a result only. */
static void add_array(struct lesson *lesson, void *pointer, size_t count, size_t size,
                      const enum npy_type *type)
{
    const bool result = type != NULL;
    struct array_set *set = lesson->preparing;
    if (!set)
        lesson_die(lesson, "lesson_input and lesson_result belong into a workload's prepare");
    const size_t bytes = affordable_bytes(lesson, count, size, result);
    struct array *arrays = reallocarray(set->arrays, set->count + 1, sizeof *arrays);
    if (!arrays)
        lesson_die(lesson, "out of memory");
    set->arrays = arrays;
    struct array *array = &arrays[set->count];
    *array = (struct array){.pointer = pointer, .bytes = bytes, .result = result};
    if (result)
        array->type = *type;
    if (posix_memalign(&array->data, 64, bytes ? bytes : 1))
        too_large(lesson, (double)bytes, "the system refuses it");
    set->count++;
    memset(array->data, 0, bytes ? bytes : 1);
    memcpy(pointer, &array->data, sizeof array->data); /* a T * of any T */
}

void lesson_input(struct lesson *lesson, void *pointer, size_t count, size_t size)
{
    add_array(lesson, pointer, count, size, NULL);
}

void lesson_result(struct lesson *lesson, void *pointer, enum npy_type type, size_t count,
                   size_t width)
{
    size_t size = 0;
    if (__builtin_mul_overflow(width, npy_size(type), &size))
        too_large(lesson, (double)count * (double)width, "no computer has so much");
    add_array(lesson, pointer, count, size, &type);
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

void *array_in_use(const struct array *array, bool shared)
{
    return shared && array->shared ? array->shared : array->data;
}

void arrays_use(struct array_set *set, bool shared)
{
    for (size_t i = 0; i < set->count; i++) {
        void *address = array_in_use(&set->arrays[i], shared);
        memcpy(set->arrays[i].pointer, &address, sizeof address);
    }
}

void arrays_poison(struct array_set *set, bool shared)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->arrays[i].result)
            memset(array_in_use(&set->arrays[i], shared), POISON, set->arrays[i].bytes);
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

void arrays_restore(struct array_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->arrays[i].result)
            memcpy(set->arrays[i].data, set->arrays[i].reference, set->arrays[i].bytes);
}
