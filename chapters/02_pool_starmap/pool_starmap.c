/* 02_pool_starmap - a task with several arguments
 *
 * process_with_params(x, multiplier, offset) takes three arguments, as most real functions take
 * several; here, how often to turn its loop is a fourth.
 * Python packs them into a tuple for each call, and Pool.starmap unpacks the tuple. C has two
 * answers. pool_starmap takes the arguments as columns: one array for each argument that changes
 * from task to task, and one single value for each that does not. And a struct is C's tuple: an
 * array of structs goes through pool_map. The program runs both and counts the bytes they send.
 *
 * Notebook: part 1.2, Pool.starmap.
 *
 * Usage: pool_starmap [--tasks N] [--iterations N] [--multiplier N] [--offset N] [--help]
 *
 * Watch for:
 *   - "copied": a column that is constant travels once, as a member of a struct with every task.
 *   - that threads need no packing at all: they read the variables where they are.
 *
 * Try:
 *   1. --tasks 100000 --iterations 10: now sending is what costs. Which form is faster?
 *   2. --transfer both: the columns in ordinary and in shared memory.
 *   3. Give the task one more argument, say a divisor, as a column.
 */
#include "common/lesson/lesson.h"

struct arguments { /* the tuple (x, multiplier, offset), and how often to turn the loop */
    int64_t x, multiplier, offset;
    size_t iterations;
};

struct work {
    size_t tasks, iterations;
    int64_t multiplier, offset;
    int64_t *x;               /* [tasks]: the one argument that differs from task to task */
    struct arguments *tuples; /* [tasks]: all of them together */
    int64_t *results;
};

/* ---- The task ------------------------------------------------------------------------------ */

__attribute__((noinline)) static int64_t process_with_params(int64_t x, int64_t multiplier,
                                                             int64_t offset, size_t iterations)
{
    int64_t result = 0;
    for (size_t i = 0; i < iterations; i++) {
        result += (int64_t)i * x * multiplier + offset;
        __asm__ volatile("" : "+r"(result)); /* else a compiler may use a formula instead */
    }
    return result;
}

__attribute__((noinline)) static int64_t process_with_params_under_gil(
    int64_t x, int64_t multiplier, int64_t offset, size_t iterations, struct gil *gil)
{
    int64_t result = 0;
    for (size_t i = 0; i < iterations;) {
        const size_t next_look = i + 1000 < iterations ? i + 1000 : iterations;
        for (; i < next_look; i++) {
            result += (int64_t)i * x * multiplier + offset;
            __asm__ volatile("" : "+r"(result));
        }
        gil_checkpoint(gil); /* as Python does between turns: gives it up if asked to */
    }
    return result;
}

/* ---- Four ways to run it ------------------------------------------------------------------- */

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->tasks; i++) {
        work->results[i] =
            process_with_params(work->x[i], work->multiplier, work->offset, work->iterations);
        lesson_task_done(run, i); /* for --timeline */
    }
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->tasks; i++) {
        work->results[i] =
            process_with_params(work->x[i], work->multiplier, work->offset, work->iterations);
        lesson_task_done(run, i);
    }
}

static void run_threads_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->tasks; i++) {
            work->results[i] = process_with_params_under_gil(
                work->x[i], work->multiplier, work->offset, work->iterations, run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

/* Pool.starmap: the columns' i-th elements are the arguments of the i-th call. */
static int params_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const int64_t *x = arguments[0], *multiplier = arguments[1], *offset = arguments[2];
    const size_t *iterations = arguments[3];
    (void)task;
    *(int64_t *)result = process_with_params(*x, *multiplier, *offset, *iterations);
    return 0;
}
POOL_TASK(params_task);

static void run_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->x, .size = sizeof *work->x},
        {.data = &work->multiplier, .size = sizeof work->multiplier, .constant = true},
        {.data = &work->offset, .size = sizeof work->offset, .constant = true},
        {.data = &work->iterations, .size = sizeof work->iterations, .constant = true},
    };
    const struct pool_results results = {.data = work->results, .size = sizeof *work->results};
    pool_starmap(run->pool, params_task, columns, 4, &results, work->tasks, run->chunksize,
                 &run->error);
}

/* Pool.map over tuples: every task gets a struct of its own. */
static int tuple_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct arguments *tuple = arguments[0];
    (void)task;
    *(int64_t *)result =
        process_with_params(tuple->x, tuple->multiplier, tuple->offset, tuple->iterations);
    return 0;
}
POOL_TASK(tuple_task);

static void run_processes_with_tuples(struct lesson_run *run)
{
    struct work *work = run->work;
    pool_map(run->pool, tuple_task, work->tuples, sizeof *work->tuples, work->results,
             sizeof *work->results, work->tasks, run->chunksize, &run->error);
}

/* ---- The inputs ---------------------------------------------------------------------------- */

static void check_results_fit(struct lesson *lesson, const struct work *work)
{
    const long double n = (long double)work->iterations, x = (long double)work->tasks - 1;
    const long double multiplier = (long double)work->multiplier;
    const long double offset = (long double)work->offset;
    const long double largest = x * (multiplier < 0 ? -multiplier : multiplier) * n * (n - 1) / 2 +
                                (offset < 0 ? -offset : offset) * n;
    if (largest > 9.2e18L)
        lesson_usage(lesson,
                     "--tasks %zu --iterations %zu --multiplier %lld --offset %lld: the results "
                     "would not fit into 64 bits",
                     work->tasks, work->iterations, (long long)work->multiplier,
                     (long long)work->offset);
}

static void make_columns(struct lesson *lesson, void *context)
{
    struct work *work = context;
    check_results_fit(lesson, work);
    lesson_input(lesson, &work->x, work->tasks, sizeof *work->x);
    lesson_result(lesson, &work->results, NPY_INT64, work->tasks, 1);
    for (size_t i = 0; i < work->tasks; i++)
        work->x[i] = (int64_t)i;
}

static void make_columns_and_tuples(struct lesson *lesson, void *context)
{
    struct work *work = context;
    make_columns(lesson, work);
    lesson_input(lesson, &work->tuples, work->tasks, sizeof *work->tuples);
    for (size_t i = 0; i < work->tasks; i++)
        work->tuples[i] = (struct arguments){.x = work->x[i],
                                             .multiplier = work->multiplier,
                                             .offset = work->offset,
                                             .iterations = work->iterations};
}

int main(int argc, char **argv)
{
    struct work work = {.tasks = 50, .iterations = 50000, .multiplier = 2, .offset = 100};
    const struct lesson_option options[] = {
        {"tasks", "N", "calls of the function", LESSON_COUNT, &work.tasks, 1, 1 << 28},
        {"iterations", "N", "turns of the loop in each", LESSON_COUNT, &work.iterations, 1,
         1 << 30},
        {"multiplier", "N", "the second argument", LESSON_INTEGER, &work.multiplier, 0, 0},
        {"offset", "N", "the third argument", LESSON_INTEGER, &work.offset, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {.name = "02_pool_starmap",
                                           .title = "Pool.starmap: several arguments per task",
                                           .options = options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);

    struct lesson_workload columns = {
        .name = "starmap_columns",
        .title = "process_with_params(x, multiplier, offset): the arguments as columns",
        .work = &work,
        .prepare = make_columns,
        .run = {run_sequential, run_threads, run_threads_under_gil, run_processes},
        .tasks = &work.tasks,
        .grow = &work.tasks,
    };
    lesson_measure(lesson, &columns);
    const size_t shape[] = {work.tasks};
    lesson_save(lesson, "results.npy", NPY_INT64, 1, shape, work.results);

    struct lesson_workload tuples = {
        .name = "map_structs",
        .title = "the same calls, the arguments packed into a struct for each",
        .work = &work,
        .prepare = make_columns_and_tuples,
        .run = {run_sequential, NULL, NULL, run_processes_with_tuples},
        .tasks = &work.tasks,
    };
    lesson_measure(lesson, &tuples);
    return lesson_end(lesson);
}
