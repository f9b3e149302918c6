/* 07_shared_memory - the same map with copied and with shared data
 *
 * The sum of the squares of a large array, a task for each row. Threads see the array anyway. For
 * processes it lies in shared memory, or each row is copied to the worker that needs it, or, the
 * notebook's way, the whole array to each worker. Beside them stands how fast this machine can
 * read so many bytes at all. Then the total itself: what becomes of it when it is a float.
 *
 * Notebook: part 5, shared memory.
 * Usage: shared_memory [--shape DxHxW] [--workers 1,2] [--transfer copy|shared|both] [--help]
 *
 * Watch for:
 *   - the time to copy the array, against the time to read it once, which is all the work there is.
 *   - one float as the total of ten million squares: more than 1 % of the sum is lost.
 *
 * Try:
 *   1. --shape 10x100x100, then 4000x100x100: from where does a second core pay?
 *   2. --workers 1,3,7: is every row in the total?
 *   3. Put POOL_TASK(unregistered_task); below that function: what does the last line say?
 */
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"

struct work {
    size_t shape[3];         /* rows, height, width */
    size_t row_length, size; /* floats in a row, height * width; and in all */
    float *array;            /* [rows][row_length] */
    double *sums, total;     /* [rows], and of them all */
    pool_function *task;
    double (*accumulate)(const float *x, size_t n);
};

/* ---- The task: one row --------------------------------------------------------------------- */

/* roof: the row is only read, for what the machine's memory allows at best. */
static double sum_row(const float *row, size_t n, bool roof)
{
    return roof ? (double)read_all(row, n) : sum_of_squares(row, n);
}

static void do_row(const struct lesson_run *run, size_t row)
{
    const struct work *work = run->work;
    const size_t n = work->row_length;
    work->sums[row] = sum_row(work->array + row * n, n, run->roof);
    lesson_task_done(run, row); /* for --timeline */
}

/* In the same order whoever summed the rows, so that all ways give the same bits. */
static void add_up(struct work *work)
{
    work->total = 0;
    for (size_t row = 0; row < work->shape[0]; row++)
        work->total += work->sums[row];
}

/* ---- Four ways to run it ------------------------------------------------------------------- */

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t row = 0; row < work->shape[0]; row++)
        do_row(run, row);
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t row = 0; row < work->shape[0]; row++)
        do_row(run, row);
}

/* The kernel is native code, so the GIL is given back while it runs, as NumPy does. */
static void run_threads_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t row = 0; row < work->shape[0]; row++) {
            gil_release(run->gil);
            do_row(run, row);
            gil_acquire(run->gil);
        }
        gil_release(run->gil);
    }
}

static int row_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(double *)result =
        sum_row(arguments[0], *(const size_t *)arguments[1], *(const bool *)arguments[2]);
    return 0;
}
POOL_TASK(row_task);

/* Wrong on purpose: without POOL_TASK no worker finds it, as in Python none finds a function that
 * was defined inside of another. */
static int unregistered_task(const void *const *arguments, void *result, struct pool_task *task)
{
    return row_task(arguments, result, task);
}

/* Copied or shared? That is decided by where array and sums lie, and nothing here says it. In
 * ordinary memory each row travels to the worker that gets it; in shared memory it is there. (Where
 * they lie is the lesson's doing: lesson_input and lesson_result, by --transfer.) */
static void run_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->array, .size = work->row_length * sizeof *work->array},
        {.data = &work->row_length, .size = sizeof work->row_length, .constant = true},
        {.data = &run->roof, .size = sizeof run->roof, .constant = true},
    };
    const struct pool_results results = {.data = work->sums, .size = sizeof *work->sums};
    pool_starmap(run->pool, work->task, columns, 3, &results, work->shape[0], run->chunksize,
                 &run->error);
}

/* ---- The notebook's way: (array, first, end) for each worker -------------------------------- */

static int range_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const size_t *range = arguments[1], n = *(const size_t *)arguments[2];
    double *sums = result; /* of these rows */
    (void)task;
    for (size_t row = range[0]; row < range[1]; row++)
        sums[row - range[0]] = sum_row((const float *)arguments[0] + row * n, n, false);
    return 0;
}
POOL_TASK(range_task);

static void run_whole(struct lesson_run *run)
{
    struct work *work = run->work;
    const size_t rows = work->shape[0], workers = (size_t)run->workers;
    const size_t n = rows < workers ? rows : workers; /* no range is empty */
    size_t ranges[POOL_MAX_WORKERS][2],
        at[POOL_MAX_WORKERS + 1] = {0}; /* where their sums begin, in bytes */
    for (size_t i = 0; i < n; i++) {
        /* The notebook has rows / n for each, and rows % n of them are in no range then. Here each
         * begins where the one before has ended, and the last ends with the rows. */
        ranges[i][0] = i * rows / n;
        ranges[i][1] = (i + 1) * rows / n;
        at[i + 1] = ranges[i][1] * sizeof *work->sums;
    }
    const struct pool_column columns[] = {
        {.data = work->array, .size = work->size * sizeof *work->array, .copied_each = true},
        {.data = ranges, .size = sizeof *ranges},
        {.data = &work->row_length, .size = sizeof work->row_length, .constant = true},
    };
    const struct pool_results results = {.data = work->sums, .offsets = at};
    pool_starmap(run->pool, range_task, columns, 3, &results, n, run->chunksize, &run->error);
}

static void compare_ways(struct lesson *lesson, struct work *work,
                         const struct lesson_results *modes)
{
    const size_t bytes = work->size * sizeof *work->array;
    struct lesson_variant ways[] = {{NULL, modes}, {"part to each", NULL}, {"whole to each", NULL}};
    struct lesson_workload copied = {.name = "each_row_copied",
                                     .work = work,
                                     .tasks = work->shape,
                                     .run = {run_sequential, [LESSON_PROCESSES] = run_processes},
                                     .modes = 1u << LESSON_PROCESSES,
                                     .transfer = LESSON_COPY,
                                     .fixed_transfer = true,
                                     .quiet = true};
    if (lesson_runs(lesson, LESSON_PROCESSES)) {
        ways[1].results = lesson_measure(lesson, &copied);
        copied.name = "whole_array_to_each";
        copied.run[LESSON_PROCESSES] = run_whole;
        copied.tasks = NULL;
        copied.bytes_per_worker = bytes;
        ways[2].results = lesson_measure(lesson, &copied);
    }
    lesson_compare(lesson, "Copied or shared, and the array read once", ways, 3, bytes);
}

static void accumulate(struct lesson_run *run)
{
    struct work *work = run->work;
    work->total = work->accumulate(work->array, work->size);
}

static void compare_accumulators(struct lesson *lesson, struct work *work)
{
    double (*const kernels[])(const float *, size_t) = {
        sum_of_squares_exact, sum_of_squares_float_naive, sum_of_squares_float,
        sum_of_squares_naive, sum_of_squares};
    const char *const names[] = {"exactly", "one float", "128 floats", "one double", "64 doubles"};
    struct lesson_workload workload = {
        .work = work, .run = {accumulate}, .modes = 1u << LESSON_SEQUENTIAL, .quiet = true};
    double exact = 0;
    lesson_heading(lesson, "One total for the whole array, on one core: float against double");
    lesson_print(lesson, "added up in %24s %16s %10s\n", "total", "relative error", "wall");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        workload.name = names[i];
        work->accumulate = kernels[i];
        const double wall = lesson_measure(lesson, &workload)->figures[0].wall_median;
        exact = i == 0 ? work->total : exact;
        lesson_print(lesson, "%-11s %24.6f %16.1e %10s\n", names[i], work->total,
                     exact > 0 ? work->total / exact - 1 : 0, lesson_time_text(wall));
    }
}

static void make_array(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    work->row_length = work->shape[1] * work->shape[2];
    work->size = work->shape[0] * work->row_length;
    lesson_input(lesson, &work->array, work->shape[0], work->row_length * sizeof *work->array);
    lesson_result(lesson, &work->sums, NPY_FLOAT64, work->shape[0], 1);
    random_seed(&random, lesson_seed(lesson));
    random_normal_float(&random, work->array, work->size);
}

int main(int argc, char **argv)
{
    struct work work = {.shape = {1000, 100, 100}, .task = row_task};
    const struct lesson_option options[] = {
        {"shape", "DxHxW", "rows, and sides of each", LESSON_SHAPE3, work.shape, 1, 1 << 30}, {0}};
    const struct lesson_chapter chapter = {
        .name = "07_shared_memory", .title = "Copied or shared", .options = options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    struct lesson_workload workload = {
        .name = "sum_of_squares",
        .title = "the sum of the squares of an array, a task for each row",
        .work = &work,
        .prepare = make_array,
        .run = {run_sequential, run_threads, run_threads_under_gil, run_processes},
        .tasks = &work.shape[0],
        .grow = &work.shape[0],
        .grow_most = 1 + (1 << 25) / (work.shape[1] * work.shape[2]), /* copies take time */
        .transfer = LESSON_SHARED,
        .roof = true,
    };
    const struct lesson_results *modes = lesson_measure(lesson, &workload);
    add_up(&work);
    lesson_save(lesson, "array.npy", NPY_FLOAT32, 3, work.shape, work.array);
    lesson_save(lesson, "total.npy", NPY_FLOAT64, 1, (size_t[]){1}, &work.total);
    compare_ways(lesson, &work, modes);
    compare_accumulators(lesson, &work);
    if (lesson_runs(lesson, LESSON_PROCESSES)) {
        work.task = unregistered_task;
        const struct error error = lesson_try(lesson, LESSON_PROCESSES, 1, run_processes, &work);
        lesson_heading(lesson, "A task that no other process can find");
        lesson_print(lesson, "%s\n", error.code ? error.message : "It was found.");
    }
    return lesson_end(lesson);
}
