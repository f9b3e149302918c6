/* workloads.h - what chapter 8 measures: tasks of the chapters before, and commands.
 *
 * All have one form, so that the loops that run them need not know which they are: a task makes
 * result_size bytes from input_size bytes, and knows of no other task. The inputs of commands are
 * their words, which differ in length.
 */
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/command.h"

enum kind { X_PLUS_1, PYTHON_LIKE, LARGE_DATA, IMAGE, MATRIX, COMMAND, KINDS };

static const char *const names[KINDS] = {"x_plus_1", "python_like", "large_data",
                                         "image",    "matrix",      "command"};
static const char *const titles[COMMAND] = {
    "x_plus_1: one addition",
    "python_like: a loop that never gives the GIL back",
    "large_data: the sum of many numbers, by code that keeps the GIL",
    "image: edges in a picture, by a native kernel that gives the GIL back",
    "matrix: the sum of x times its transpose, by BLAS",
};

struct work {
    enum kind kind;
    size_t tasks, size;             /* size: turns, side of a picture, numbers, order */
    size_t input_size, result_size; /* bytes of each task's */
    enum npy_type result_type;
    void *inputs, *results;
    struct lesson_command command;
};

static const char *title(const struct work *work)
{
    return work->kind == COMMAND ? work->command.text : titles[work->kind];
}

/* Does a task keep Python's lock from its beginning to its end? NumPy's kernels give it back, and
 * so does who waits for a command. */
static bool keeps_gil(const struct work *work)
{
    return work->kind <= LARGE_DATA;
}

/* As in chapter 1. */
static int64_t heavy_computation(int64_t x, size_t iterations, struct gil *gil)
{
    int64_t result = 0;
    for (size_t i = 0; i < iterations;) {
        const size_t next_look = i + 1000 < iterations ? i + 1000 : iterations;
        for (; i < next_look; i++) {
            result += (int64_t)i * x;
            __asm__ volatile("" : "+r"(result)); /* or the compiler would use a formula */
        }
        if (gil)
            gil_checkpoint(gil);
    }
    return result;
}

/* Returns the CPU time of a command, which no clock of this process counts. noinline: in all modes
 * a task is a call, as it is for Python's map. */
__attribute__((noinline)) static double do_task(void *result, const void *input, enum kind kind,
                                                size_t size, struct gil *gil)
{
    double cpu = 0;
    if (kind == X_PLUS_1)
        *(int64_t *)result = *(const int64_t *)input + 1;
    else if (kind == PYTHON_LIKE)
        *(int64_t *)result = heavy_computation(*(const int64_t *)input, size, gil);
    else if (kind == LARGE_DATA)
        *(double *)result = sum(input, size);
    else if (kind == IMAGE)
        image_edges(result, input, size, size, NULL);
    else if (kind == MATRIX)
        *(double *)result = product_sum(lesson_scratch(size * size * sizeof(float)), input, size);
    else
        *(int64_t *)result = lesson_command_run(input, &cpu);
    return cpu;
}

static void do_ith(const struct lesson_run *run, size_t i, struct gil *gil)
{
    const struct work *work = run->work;
    const size_t at = work->kind == COMMAND ? work->command.at[i] : i * work->input_size;
    do_task((char *)work->results + i * work->result_size, (const char *)work->inputs + at,
            work->kind, work->size, gil);
    if (work->kind != X_PLUS_1) /* that takes less time than to look at the clock */
        lesson_task_done(run, i);
}

/* Which workload it is, of how many tasks, how large each is, and so how many bytes; but for the
 * words of commands. */
static void choose(struct work *work, enum kind kind, size_t tasks, size_t size)
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
static void make_inputs(struct lesson *lesson, void *context)
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
