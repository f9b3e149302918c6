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
 *   - one float as the total of ten million squares: more than 1 % of them are missing.
 *
 * Try:
 *   1. --shape 10x100x100, then 4000x100x100: from where does a second core pay?
 *   2. --workers 1,3,7: is every row in the total?
 *   3. Put POOL_TASK(unregistered_task); below that function.
 */
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"
#include "common/parallel/resources.h"

struct work {
    size_t shape[3], row_length; /* rows, and two more sides: their product */
    float *array;                /* [rows][row_length] */
    double *sums, *total;        /* [rows], [1] */
    double (*accumulate)(const float *, size_t);
    struct error error;
};

/* ---- The task: one row --------------------------------------------------------------------- */

static double sum_row(const float *row, size_t n, bool roof)
{
    return roof ? (double)read_all(row, n) : sum_of_squares(row, n);
}

static void do_row(const struct lesson_run *run, size_t row)
{
    const struct work *work = run->work;
    const float *from = work->array + row * work->row_length;
    work->sums[row] = sum_row(from, work->row_length, run->roof);
}

/* Always in the same order, whoever summed the rows: so all ways give the same bits. */
static void add_up(struct work *work)
{
    *work->total = 0;
    for (size_t row = 0; row < work->shape[0]; row++)
        *work->total += work->sums[row];
}

/* ---- Four ways to run it ------------------------------------------------------------------- */

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t row = 0; row < work->shape[0]; row++)
        do_row(run, row);
    add_up(work);
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t row = 0; row < work->shape[0]; row++)
        do_row(run, row);
    add_up(work);
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
    add_up(work);
}

static int row_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(double *)result =
        sum_row(arguments[0], *(const size_t *)arguments[1], *(const bool *)arguments[2]);
    return 0;
}
POOL_TASK(row_task);

/* Copied or shared? That is decided by where array and sums lie, and nothing here says it. In
 * ordinary memory each row travels to the worker that gets it; in shared memory it is there. */
static void run_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->array, .size = work->row_length * sizeof *work->array},
        {.data = &work->row_length, .size = sizeof work->row_length, .constant = true},
        {.data = &run->roof, .size = sizeof run->roof, .constant = true},
    };
    const struct pool_results results = {.data = work->sums, .size = sizeof *work->sums};
    pool_starmap(run->pool, row_task, columns, 3, &results, work->shape[0], run->chunksize,
                 &run->error);
    add_up(work);
}

/* ---- The notebook's way: (array, first, end) for each worker -------------------------------- */

struct range {
    size_t first, end; /* rows first .. end-1 */
};

static int range_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct range *range = arguments[1];
    const size_t n = *(const size_t *)arguments[2];
    double *sums = result; /* of these rows */
    (void)task;
    for (size_t row = range->first; row < range->end; row++)
        sums[row - range->first] = sum_row((const float *)arguments[0] + row * n, n, false);
    return 0;
}
POOL_TASK(range_task);

static void run_whole(struct lesson_run *run)
{
    struct work *work = run->work;
    struct range ranges[POOL_MAX_WORKERS];
    size_t sums_at[POOL_MAX_WORKERS + 1] = {0}; /* in bytes */
    const size_t rows = work->shape[0], workers = (size_t)run->workers;
    const size_t n = rows < workers ? rows : workers; /* no range is empty */
    for (size_t i = 0; i < n; i++) {
        /* Wrong: rows / n for each, as in the notebook; rows % n of them are in no range then.
         * Right: each begins where the one before has ended, and the last ends with the rows. */
        ranges[i] = (struct range){.first = i * rows / n, .end = (i + 1) * rows / n};
        sums_at[i + 1] = ranges[i].end * sizeof *work->sums;
    }
    const size_t bytes = rows * work->row_length * sizeof *work->array;
    const struct pool_column columns[] = {
        {.data = work->array, .size = bytes, .copied_each = true}, /* as pickle does */
        {.data = ranges, .size = sizeof *ranges},
        {.data = &work->row_length, .size = sizeof work->row_length, .constant = true},
    };
    const struct pool_results results = {.data = work->sums, .offsets = sums_at};
    pool_starmap(run->pool, range_task, columns, 3, &results, n, run->chunksize, &run->error);
    add_up(work);
}

static void ways_side_by_side(struct lesson *lesson, struct lesson_workload workload,
                              const struct lesson_results *modes)
{
    struct work *work = workload.work;
    struct lesson_variant ways[] = {
        {NULL, modes}, {"each row copied", NULL}, {"whole array to each", NULL}};
    const size_t bytes = work->shape[0] * work->row_length * sizeof *work->array;
    size_t count, most = 0;
    const int *workers = lesson_workers(lesson, &count);
    for (size_t i = 0; i < count; i++)
        most = (size_t)workers[i] > most ? (size_t)workers[i] : most;
    workload.modes = 1u << LESSON_PROCESSES;
    workload.transfer = LESSON_COPY;
    workload.fixed_transfer = true;
    workload.name = "each_row_copied";
    if (lesson_runs(lesson, LESSON_PROCESSES))
        ways[1].results = lesson_measure(lesson, &workload);
    workload.name = "whole_array_to_each";
    workload.run[LESSON_PROCESSES] = run_whole;
    workload.tasks = NULL;
    const bool fits = bytes < resources_memory() / 2 / most;
    if (lesson_runs(lesson, LESSON_PROCESSES) && fits)
        ways[2].results = lesson_measure(lesson, &workload);
    lesson_heading(lesson, "Copied or shared, and how fast the array can be read at all");
    lesson_compare(lesson, ways, 3, bytes);
    if (!fits)
        lesson_print(lesson, "  not measured  the whole array to each worker: too much memory\n");
}

/* ---- One total: float against double ----------------------------------------------------------
 */

static void accumulate(struct lesson_run *run)
{
    struct work *work = run->work;
    *work->total = work->accumulate(work->array, work->shape[0] * work->row_length);
}

static void float_against_double(struct lesson *lesson, struct lesson_workload workload)
{
    static const struct {
        const char *name, *title;
        double (*kernel)(const float *, size_t);
    } accumulators[] = {{"one_float", "one float", sum_of_squares_float_naive},
                        {"float_lanes", "128 floats, joined at the end", sum_of_squares_float},
                        {"one_double", "one double", sum_of_squares_naive},
                        {"double_lanes", "64 doubles, joined at the end", sum_of_squares}};
    struct work *work = workload.work;
    const double exact = sum_of_squares_exact(work->array, work->shape[0] * work->row_length);
    workload.run[LESSON_SEQUENTIAL] = accumulate;
    workload.modes = 1u << LESSON_SEQUENTIAL;
    workload.tasks = NULL;
    lesson_heading(lesson, "One total for the whole array: float against double, on one core");
    lesson_print(lesson, "%-30s %18s %15s %9s\n", "added up in", "total", "relative error", "wall");
    for (size_t i = 0; i < sizeof accumulators / sizeof *accumulators; i++) {
        workload.name = accumulators[i].name;
        work->accumulate = accumulators[i].kernel;
        const struct lesson_results *results = lesson_measure(lesson, &workload);
        lesson_print(lesson, "%-30s %18.6f %15.1e %9s\n", accumulators[i].title, *work->total,
                     exact > 0 ? *work->total / exact - 1 : 0.0,
                     lesson_time_text(results->figures[0].wall_median));
    }
    lesson_print(lesson, "%-30s %18.6f\n", "exactly", exact);
}

/* ---- A task that no other process can find --------------------------------------------------- */

/* Wrong: a worker finds a task by its name, and nobody was told this one's; the notebook's was a
 * function inside a function. Right: a line with POOL_TASK after it, as for row_task. */
static int unregistered_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(double *)result = sum_of_squares(arguments[0], 1);
    return 0;
}

static void send_unregistered(struct lesson_run *run)
{
    struct work *work = run->work;
    double square;
    pool_map(run->pool, unregistered_task, work->array, sizeof *work->array, &square, sizeof square,
             1, 1, &work->error);
}

static void show_unregistered(struct lesson *lesson, struct work *work)
{
    lesson_once(lesson, LESSON_PROCESSES, 1, send_unregistered, work);
    lesson_heading(lesson, "A task that no other process can find");
    lesson_print(lesson,
                 "Python  AttributeError: Can't pickle local object "
                 "'demonstrate_shared_memory.<locals>.worker_copy'\n"
                 "C       %s\n",
                 work->error.code ? work->error.message : "it was found, so it is registered");
}

static void make_array(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    work->row_length = work->shape[1] * work->shape[2];
    lesson_input(lesson, &work->array, work->shape[0], work->row_length * sizeof *work->array);
    lesson_result(lesson, &work->sums, work->shape[0], sizeof *work->sums);
    lesson_result(lesson, &work->total, 1, sizeof *work->total);
    random_seed(&random, lesson_seed(lesson));
    random_normal_float(&random, work->array, work->shape[0] * work->row_length);
}

int main(int argc, char **argv)
{
    struct work work = {.shape = {1000, 100, 100}};
    const struct lesson_option options[] = {{"shape", "DxHxW", "the array: D rows of HxW floats",
                                             LESSON_SHAPE3, work.shape, 1, 1 << 30},
                                            {0}};
    const struct lesson_chapter chapter = {"07_shared_memory", "A large array, copied or shared",
                                           options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    struct lesson_workload workload = {
        .name = "sum_of_squares",
        .title = "the sum of the squares of an array, a task for each row",
        .work = &work,
        .prepare = make_array,
        .run = {run_sequential, run_threads, run_threads_under_gil, run_processes},
        .tasks = &work.shape[0],
        .grow = &work.shape[0],
        .transfer = LESSON_SHARED,
        .roof = true,
    };
    const struct lesson_results *modes = lesson_measure(lesson, &workload);
    lesson_save(lesson, "array.npy", NPY_FLOAT32, 3, work.shape, work.array);
    lesson_save(lesson, "total.npy", NPY_FLOAT64, 1, (size_t[]){1}, work.total);
    workload.prepare = NULL; /* the same array for all that follows */
    workload.grow = NULL;
    workload.quiet = true;
    workload.roof = false;
    ways_side_by_side(lesson, workload, modes);
    float_against_double(lesson, workload);
    if (lesson_runs(lesson, LESSON_PROCESSES))
        show_unregistered(lesson, &work);
    return lesson_end(lesson);
}
