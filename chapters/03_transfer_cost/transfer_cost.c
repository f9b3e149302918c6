/* 03_transfer_cost - what it costs to send a task its data, and when that pays
 *
 * Three tasks run in all four ways: very light (x + 1), light (the sum of a matrix) and heavy (the
 * sum of x times its transpose, through BLAS). What processes need is copied, Python's pickle
 * cost, or lives in shared memory. Then the weight of a task is varied, to find the break-even,
 * and, since BLAS can use several cores by itself, BLAS threads are set against workers.
 *
 * Notebook: part 2, the cost of data transfer.
 * Usage: transfer_cost [--light-tasks N] [--matrices N] [--order N] [--workers 2] [--help]
 *
 * Watch for:
 *   - send and receive against compute: for the light tasks the copying is all there is.
 *   - the GIL does not slow the heavy task: like NumPy, it gives the lock back to compute.
 *
 * Try:
 *   1. --order 50, then 400: the work grows with the cube of the order, the data with its square.
 *   2. --light-tasks 10000000: does x + 1 ever pay?
 */
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"

struct work {
    size_t light_tasks, matrices, order;
    bool heavy;                     /* what is done with each matrix */
    int64_t *numbers, *incremented; /* [light_tasks] */
    float *x;                       /* [matrices][order][order] */
    double *sums;                   /* [matrices] */
};

/* ---- Very light: x + 1 --------------------------------------------------------------------- */

static void add_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->light_tasks; i++)
        work->incremented[i] = work->numbers[i] + 1;
}

static void add_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->light_tasks; i++)
        work->incremented[i] = work->numbers[i] + 1;
}

static void add_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->light_tasks; i++) {
            work->incremented[i] = work->numbers[i] + 1;
            gil_checkpoint(run->gil);
        }
        gil_release(run->gil);
    }
}

static int add_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(int64_t *)result = *(const int64_t *)arguments[0] + 1;
    return 0;
}
POOL_TASK(add_task);

static void add_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    pool_map(run->pool, add_task, work->numbers, sizeof *work->numbers, work->incremented,
             sizeof *work->incremented, work->light_tasks, run->chunksize, &run->error);
}

static void make_numbers(struct lesson *lesson, void *context)
{
    struct work *work = context;
    lesson_input(lesson, &work->numbers, work->light_tasks, sizeof *work->numbers);
    lesson_result(lesson, &work->incremented, NPY_INT64, work->light_tasks, 1);
    for (size_t i = 0; i < work->light_tasks; i++)
        work->numbers[i] = (int64_t)i;
}

/* ---- Light and heavy: one number from each matrix ------------------------------------------ */

static double matrix_work(const float *x, size_t order, bool heavy)
{
    if (!heavy)
        return sum(x, order * order);
    float *product = lesson_scratch(order * order * sizeof *product);
    return product_sum(product, x, order);
}

static void matrices_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    const size_t n = work->order;
    for (size_t i = 0; i < work->matrices; i++) {
        work->sums[i] = matrix_work(work->x + i * n * n, n, work->heavy);
        lesson_task_done(run, i); /* for --timeline */
    }
}

static void matrices_threads(struct lesson_run *run)
{
    struct work *work = run->work;
    const size_t n = work->order;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->matrices; i++) {
        work->sums[i] = matrix_work(work->x + i * n * n, n, work->heavy);
        lesson_task_done(run, i);
    }
}

/* NumPy's kernels touch no Python object, so they give the GIL back while they compute. */
static void matrices_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
    const size_t n = work->order;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->matrices; i++) {
            gil_release(run->gil);
            work->sums[i] = matrix_work(work->x + i * n * n, n, work->heavy);
            gil_acquire(run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

static int matrix_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(double *)result =
        matrix_work(arguments[0], *(const size_t *)arguments[1], *(const bool *)arguments[2]);
    return 0;
}
POOL_TASK(matrix_task);

static void matrices_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->x, .size = work->order * work->order * sizeof *work->x},
        {.data = &work->order, .size = sizeof work->order, .constant = true},
        {.data = &work->heavy, .size = sizeof work->heavy, .constant = true},
    };
    const struct pool_results results = {.data = work->sums, .size = sizeof *work->sums};
    pool_starmap(run->pool, matrix_task, columns, 3, &results, work->matrices, run->chunksize,
                 &run->error);
}

static void make_matrices(struct lesson *lesson, void *context)
{
    struct work *work = context;
    const size_t n = work->matrices * work->order * work->order;
    struct random_state random;
    lesson_input(lesson, &work->x, n, sizeof *work->x);
    lesson_result(lesson, &work->sums, NPY_FLOAT64, work->matrices, 1);
    random_seed(&random, lesson_seed(lesson));
    random_normal_float(&random, work->x, n);
}

int main(int argc, char **argv)
{
    struct work work = {.light_tasks = 10000, .matrices = 100, .order = 200};
    const struct lesson_option options[] = {
        {"light-tasks", "N", "numbers for x + 1", LESSON_COUNT, &work.light_tasks, 1, 1 << 30},
        {"matrices", "N", "matrices for sum and product", LESSON_COUNT, &work.matrices, 1, 1 << 24},
        {"order", "N", "rows and columns of each", LESSON_COUNT, &work.order, 1, 1 << 14},
        {0}};
    const struct lesson_chapter chapter = {"03_transfer_cost", "The cost of sending data", options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    lesson_uses_blas(lesson);
    struct work few = work; /* the sizes as asked for, whatever --seconds makes of the others */
    struct lesson_workload numbers = {
        .name = "very_light",
        .title = "very light: x + 1",
        .work = &work,
        .prepare = make_numbers,
        .run = {add_sequential, add_threads, add_under_gil, add_processes},
        .tasks = &work.light_tasks,
        .transfer = LESSON_BOTH,
    };
    lesson_measure(lesson, &numbers);
    lesson_save(lesson, "very_light.npy", NPY_INT64, 1, &work.light_tasks, work.incremented);
    struct lesson_workload matrices = {
        .name = "light",
        .title = "light: the sum of a matrix",
        .work = &work,
        .prepare = make_matrices,
        .run = {matrices_sequential, matrices_threads, matrices_under_gil, matrices_processes},
        .tasks = &work.matrices,
        .grow = &work.matrices,
        .transfer = LESSON_BOTH,
    };
    work.heavy = true;
    lesson_grow(lesson, &matrices); /* --seconds: as many matrices as suit the heavy task */
    work.heavy = false;
    matrices.grow = NULL;
    lesson_measure(lesson, &matrices);
    lesson_save(lesson, "light.npy", NPY_FLOAT64, 1, &work.matrices, work.sums);

    work.heavy = true;
    matrices.name = "heavy";
    matrices.title = "heavy: the sum of x times its transpose, by BLAS";
    lesson_measure(lesson, &matrices);
    lesson_save(lesson, "matrices.npy", NPY_FLOAT32, 3,
                (size_t[]){work.matrices, work.order, work.order}, work.x);
    lesson_save(lesson, "heavy.npy", NPY_FLOAT64, 1, &work.matrices, work.sums);

    few.heavy = true;
    matrices.work = &few;
    matrices.tasks = &few.matrices;
    matrices.name = "break_even";
    matrices.title = "The heavy task with matrices of growing order: from where does it pay?";
    lesson_sweep(lesson, &matrices, "order", &few.order, 4, 256);

    matrices.name = "blas_threads";
    matrices.title = "The heavy task: worker processes x BLAS threads in each";
    matrices.tolerance = 1e-5; /* with more threads BLAS may add in another order */
    lesson_blas_threads(lesson, &matrices);
    return lesson_end(lesson);
}
