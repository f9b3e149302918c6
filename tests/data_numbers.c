/* data_numbers.c - writes random numbers as .npy files, for data_oracle.py to compare.
 *
 * Usage: data_numbers SEED (KIND COUNT FILE)...   draws one after the other from one generator
 *        data_numbers copy FROM TO                reads one .npy file and writes it again
 *
 * KIND is normal (float64), normal_float (float32), double (float64), permutation (int64),
 * state (int64: the 624 words, the position and has_gauss; COUNT is 626), or philox,K,K,C,C,C,C
 * (uint64 as int64; key and counter; it does not draw from the generator).
 */
#include "common/data/npy.h"
#include "common/data/random.h"
#include <stdlib.h>

static struct error error;

static void draw_doubles(struct random_state *state, double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = random_double(state);
}

static void copy_state(const struct random_state *state, int64_t *values)
{
    for (int i = 0; i < 624; i++)
        values[i] = state->key[i];
    values[624] = state->position;
    values[625] = state->has_gauss;
}

static int philox(const char *kind, uint64_t *words, size_t n)
{
    uint64_t numbers[6]; /* key, counter */
    const char *at = kind;
    for (int i = 0; i < 6; i++) {
        at = strchr(at, ',');
        if (!at)
            return -1;
        numbers[i] = strtoull(++at, NULL, 10);
    }
    random_philox(words, n, numbers, numbers + 2);
    return 0;
}

static int draw(struct random_state *state, const char *kind, size_t count, const char *path)
{
    enum npy_type type = NPY_FLOAT64;
    void *values = calloc(count + 1, sizeof(double)); /* the widest type */
    if (!values)
        return error_set(&error, ERROR_MEMORY, "no memory for %zu numbers", count);
    if (strcmp(kind, "normal") == 0) {
        random_normal(state, values, count);
    } else if (strcmp(kind, "double") == 0) {
        draw_doubles(state, values, count);
    } else if (strcmp(kind, "normal_float") == 0) {
        type = NPY_FLOAT32;
        random_normal_float(state, values, count);
    } else if (strcmp(kind, "permutation") == 0) {
        type = NPY_INT64;
        random_permutation(state, values, count);
    } else if (strcmp(kind, "state") == 0 && count == 626) {
        type = NPY_INT64;
        copy_state(state, values);
    } else if (strncmp(kind, "philox", 6) == 0 && philox(kind, values, count) == 0) {
        type = NPY_INT64;
    } else {
        free(values);
        return error_set(&error, ERROR_INVALID, "cannot draw %zu of kind '%s'", count, kind);
    }
    const int status = npy_write(path, type, 1, &count, values, &error);
    free(values);
    return status;
}

static int copy(const char *from, const char *to)
{
    struct npy_array array;
    if (npy_read(from, &array, &error) < 0)
        return -1;
    const int status = npy_write(to, array.type, array.dimensions, array.shape, array.data, &error);
    free(array.data);
    return status;
}

int main(int argc, char **argv)
{
    int status = 0;
    if (argc == 4 && strcmp(argv[1], "copy") == 0) {
        status = copy(argv[2], argv[3]);
    } else if (argc >= 2 && argc % 3 == 2) {
        struct random_state state;
        random_seed(&state, (uint32_t)strtoul(argv[1], NULL, 10));
        for (int i = 2; i < argc && status == 0; i += 3)
            status = draw(&state, argv[i], strtoul(argv[i + 1], NULL, 10), argv[i + 2]);
    } else {
        status = error_set(&error, ERROR_INVALID,
                           "usage: data_numbers SEED (KIND COUNT FILE)... | copy FROM TO");
    }
    if (status < 0)
        fprintf(stderr, "%s\n", error.message);
    return status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
