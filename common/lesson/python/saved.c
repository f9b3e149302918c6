/* What lesson_save was given, kept to be compared with the arrays that notebook.py saves. */
#include "common/lesson/python/python.h"
#include <stdlib.h>

#define TOLERANCE 1e-5 /* relative and absolute */

static size_t elements(const struct npy_array *array)
{
    size_t count = 1;
    for (int i = 0; i < array->dimensions; i++)
        count *= array->shape[i];
    return count;
}

void saved_keep(struct lesson *lesson, const char *file, enum npy_type type, int dimensions,
                const size_t *shape, const void *data)
{
    struct saved_array *saved = lesson_allocate(lesson, 1, sizeof *saved);
    saved->array = (struct npy_array){.type = type, .dimensions = dimensions};
    memcpy(saved->array.shape, shape, (size_t)dimensions * sizeof *shape);
    const size_t bytes = elements(&saved->array) * npy_size(type);
    saved->file = strdup(file);
    saved->array.data = lesson_allocate(lesson, bytes, 1);
    if (!saved->file)
        lesson_die(lesson, "out of memory");
    memcpy(saved->array.data, data, bytes);
    *lesson->last_saved = saved;
    lesson->last_saved = &saved->next;
}

void saved_free(struct lesson *lesson)
{
    while (lesson->saved) {
        struct saved_array *saved = lesson->saved;
        lesson->saved = saved->next;
        free(saved->array.data);
        free(saved->file);
        free(saved);
    }
}

static bool same_shape(const struct npy_array *a, const struct npy_array *b)
{
    return a->dimensions == b->dimensions &&
           memcmp(a->shape, b->shape, (size_t)a->dimensions * sizeof *a->shape) == 0;
}

static const void *element(const struct npy_array *array, size_t i)
{
    return (const char *)array->data + i * npy_size(array->type);
}

/* "[3, 17]": where element i is. */
static const char *index_text(const struct npy_array *array, size_t i)
{
    static char text[24 * NPY_MAX_DIMENSIONS];
    size_t index[NPY_MAX_DIMENSIONS] = {0}, used = 0;
    text[0] = '\0';
    for (int d = array->dimensions - 1; d >= 0; d--) {
        index[d] = i % array->shape[d];
        i /= array->shape[d];
    }
    for (int d = 0; d < array->dimensions; d++)
        used += (size_t)snprintf(text + used, sizeof text - used, d ? ", %zu" : "%zu", index[d]);
    return text;
}

int saved_compare(const struct saved_array *ours, const char *directory, struct error *error)
{
    const struct npy_array *mine = &ours->array;
    struct npy_array theirs;
    char *path;
    if (asprintf(&path, "%s/%s", directory, ours->file) < 0)
        return error_set(error, ERROR_MEMORY, "out of memory");
    const int read = npy_read(path, &theirs, error);
    free(path);
    if (read != 0 && error && error->code == ERROR_SYSTEM)
        return error_set(error, ERROR_SYSTEM, "%s: notebook.py did not save it", ours->file);
    if (read != 0)
        return -1;
    int result = 0;
    if (mine->type != theirs.type || !same_shape(mine, &theirs)) {
        result =
            error_set(error, ERROR_FORMAT, "%s has another type or shape in Python", ours->file);
        goto cleanup;
    }
    for (size_t i = 0, n = elements(mine); i < n && result == 0; i++) {
        char here[32], there[32];
        if (npy_close(mine->type, element(&theirs, i), element(mine, i), TOLERANCE))
            continue;
        npy_text(here, mine->type, element(mine, i));
        npy_text(there, mine->type, element(&theirs, i));
        result = error_set(error, ERROR_FORMAT, "%s[%s] is %s, and in Python %s", ours->file,
                           index_text(mine, i), here, there);
    }
cleanup:
    free(theirs.data);
    return result;
}
