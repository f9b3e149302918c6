/* workloads.c - see workloads.h. */
#include "workloads.h"
#include "common/data/random.h"

const char *const names[KINDS] = {"x_plus_1", "python_like", "large_data",
                                  "image",    "matrix",      "command"};
static const char *const titles[COMMAND] = {
    "x_plus_1: one addition",
    "python_like: a loop that never gives the GIL back",
    "large_data: the sum of many numbers, by code that keeps the GIL",
    "image: edges in a picture, by a native kernel that gives the GIL back",
    "matrix: the sum of x times its transpose, by BLAS",
};

const char *title(const struct work *work)
{
    return work->kind == COMMAND ? work->command.text : titles[work->kind];
}

bool keeps_gil(const struct work *work)
{
    return work->kind <= LARGE_DATA;
}

void choose(struct work *work, enum kind kind, size_t tasks, size_t size)
{
    const size_t numbers = kind == LARGE_DATA ? size : size * size;
    work->kind = kind;
    work->tasks = tasks;
    work->size = size;
    work->input_size = kind <= PYTHON_LIKE ? sizeof(int64_t) : numbers * sizeof(float);
    work->result_type = kind == IMAGE                          ? NPY_FLOAT32
                        : kind == LARGE_DATA || kind == MATRIX ? NPY_FLOAT64
                                                               : NPY_INT64;
    work->result_size = (kind == IMAGE ? (size - 4) * (size - 4) : 1) * npy_size(work->result_type);
}

/* The integers are below 1000, so that no sum is beyond 64 bits. */
void make_inputs(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    lesson_result(lesson, &work->results, work->result_type, work->tasks,
                  work->result_size / npy_size(work->result_type));
    if (work->kind == COMMAND) {
        lesson_input(lesson, &work->inputs, work->command.at[work->tasks], 1);
        memcpy(work->inputs, work->command.words, work->command.at[work->tasks]);
        return;
    }
    lesson_input(lesson, &work->inputs, work->tasks, work->input_size);
    random_seed(&random, lesson_seed(lesson));
    if (work->kind > PYTHON_LIKE)
        random_normal_float(&random, work->inputs, work->tasks * work->input_size / sizeof(float));
    for (size_t i = 0; i < work->tasks && work->kind <= PYTHON_LIKE; i++)
        ((int64_t *)work->inputs)[i] = (int64_t)(i % 1000);
}
