/* 03_transfer_cost - what it costs to send a task its data, and when that pays
 *
 * Three tasks run in all four ways: very light (x + 1), light (the sum of a matrix) and heavy (the
 * sum of x times its transpose, through BLAS). What processes need is either copied, as Python does
 * it by pickle, or lies in shared memory. Then the weight of a task is varied, to find the
 * break-even, and, since BLAS can use several cores by itself, BLAS threads are set against
 * workers.
 *
 * Notebook: part 2, the cost of data transfer.
 * Usage: transfer_cost [--light-tasks N] [--matrices N] [--order N] [--workers 2] [--help]
 *
 * Watch for:
 *   - the columns send and receive beside compute: copied light tasks are nearly all copying.
 *   - the GIL does not slow the matrices: like NumPy, a task gives the lock back while it computes.
 *
 * Try:
 *   1. --order 50, then 400: the work grows with the cube of the order, the data with its square.
 *   2. --light-tasks 10000000: does x + 1 ever pay?
 */
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"

struct numbers {
    size_t count;
    int64_t *x, *incremented; /* [count] */
};

struct matrices {
    size_t count, order;
    double (*compute)(const float *matrix, size_t order); /* light or heavy */
    pool_function *task;                                  /* light_task or heavy_task, for a pool */
    float *x;                                             /* [count][order][order] */
    double *results;                                      /* [count] */
};

/* ---- Very light: x + 1 --------------------------------------------------------------------- */

static void add_sequential(struct lesson_run *run)
{
    struct numbers *work = run->work;
    for (size_t i = 0; i < work->count; i++)
        work->incremented[i] = work->x[i] + 1;
}

static void add_threads(struct lesson_run *run)
{
    struct numbers *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->count; i++)
        work->incremented[i] = work->x[i] + 1;
}

/* nowait: at a barrier a thread would wait for others with the GIL in its hands, and they for it.
 */
static void add_under_gil(struct lesson_run *run)
{
    struct numbers *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->count; i++) {
            work->incremented[i] = work->x[i] + 1;
            gil_checkpoint(run->gil);
        }
        gil_release(run->gil);
    }
}

/* What a worker process is sent: arguments[0] points to one x. POOL_TASK makes its name known
 * there. */
static int add_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(int64_t *)result = *(const int64_t *)arguments[0] + 1;
    return 0;
}
POOL_TASK(add_task);

static void add_processes(struct lesson_run *run)
{
    struct numbers *work = run->work;
    pool_map(run->pool, add_task, work->x, sizeof *work->x, work->incremented,
             sizeof *work->incremented, work->count, run->chunksize, &run->error);
}

/* ---- Light and heavy: one number from each matrix ------------------------------------------ */

static double light(const float *matrix, size_t order)
{
    return sum(matrix, order * order);
}

/* The sum of the product of a matrix with its transpose. The memory is this thread's own. */
static double heavy(const float *matrix, size_t order)
{
    float *product = lesson_scratch(order * order * sizeof *product);
    return product_sum(product, matrix, order);
}

static void matrices_sequential(struct lesson_run *run)
{
    struct matrices *work = run->work;
    const size_t size = work->order * work->order;
    for (size_t i = 0; i < work->count; i++) {
        work->results[i] = work->compute(work->x + i * size, work->order);
        lesson_task_done(run, i); /* for --timeline */
    }
}

static void matrices_threads(struct lesson_run *run)
{
    struct matrices *work = run->work;
    const size_t size = work->order * work->order;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->count; i++) {
        work->results[i] = work->compute(work->x + i * size, work->order);
        lesson_task_done(run, i);
    }
}

/* NumPy's kernels touch no Python object, so they give the GIL back while they compute. */
static void matrices_under_gil(struct lesson_run *run)
{
    struct matrices *work = run->work;
    const size_t size = work->order * work->order;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->count; i++) {
            gil_release(run->gil);
            work->results[i] = work->compute(work->x + i * size, work->order);
            gil_acquire(run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

static int light_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(double *)result = light(arguments[0], *(const size_t *)arguments[1]);
    return 0;
}
POOL_TASK(light_task);

static int heavy_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(double *)result = heavy(arguments[0], *(const size_t *)arguments[1]);
    return 0;
}
POOL_TASK(heavy_task);

static void matrices_processes(struct lesson_run *run)
{
    struct matrices *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->x, .size = work->order * work->order * sizeof *work->x},
        {.data = &work->order, .size = sizeof work->order, .constant = true},
    };
    const struct pool_results results = {.data = work->results, .size = sizeof *work->results};
    pool_starmap(run->pool, work->task, columns, 2, &results, work->count, run->chunksize,
                 &run->error);
}

/* ---- What is measured ---------------------------------------------------------------------- */

static void make_numbers(struct lesson *lesson, void *context)
{
    struct numbers *work = context;
    lesson_input(lesson, &work->x, work->count, sizeof *work->x);
    lesson_result(lesson, &work->incremented, NPY_INT64, work->count, 1);
    for (size_t i = 0; i < work->count; i++)
        work->x[i] = (int64_t)i;
}

static void make_matrices(struct lesson *lesson, void *context)
{
    struct matrices *work = context;
    const size_t size = work->order * work->order;
    struct random_state random;
    lesson_input(lesson, &work->x, work->count, size * sizeof *work->x);
    lesson_result(lesson, &work->results, NPY_FLOAT64, work->count, 1);
    random_seed(&random, lesson_seed(lesson));
    random_normal_float(&random, work->x, work->count * size);
}

static struct lesson_workload of_matrices(const char *name, const char *title,
                                          struct matrices *work)
{
    return (struct lesson_workload){
        .name = name,
        .title = title,
        .work = work,
        .prepare = make_matrices,
        .run = {matrices_sequential, matrices_threads, matrices_under_gil, matrices_processes},
        .tasks = &work->count,
        .transfer = LESSON_BOTH,
    };
}

static void measure_numbers(struct lesson *lesson, struct numbers *numbers)
{
    const struct lesson_workload very_light = {
        .name = "very_light",
        .title = "very light: x + 1",
        .work = numbers,
        .prepare = make_numbers,
        .run = {add_sequential, add_threads, add_under_gil, add_processes},
        .tasks = &numbers->count,
        .transfer = LESSON_BOTH,
    };
    lesson_measure(lesson, &very_light);
    lesson_save(lesson, "very_light.npy", NPY_INT64, 1, &numbers->count, numbers->incremented);
}

static void measure_matrices(struct lesson *lesson, struct matrices *products)
{
    struct lesson_workload growing = of_matrices("heavy", NULL, products);
    growing.grow = &products->count;
    lesson_grow(lesson, &growing); /* --seconds: as many matrices as suit the heavy task */

    struct matrices sums = *products;
    sums.compute = light;
    sums.task = light_task;
    const struct lesson_workload of_sums =
        of_matrices("light", "light: the sum of a matrix", &sums);
    lesson_measure(lesson, &of_sums);
    lesson_save(lesson, "light.npy", NPY_FLOAT64, 1, &sums.count, sums.results);

    const struct lesson_workload of_products =
        of_matrices("heavy", "heavy: the sum of x times its transpose, by BLAS", products);
    lesson_measure(lesson, &of_products);
    lesson_save(lesson, "matrices.npy", NPY_FLOAT32, 3,
                (size_t[]){products->count, products->order, products->order}, products->x);
    lesson_save(lesson, "heavy.npy", NPY_FLOAT64, 1, &products->count, products->results);
}

static void vary_the_weight(struct lesson *lesson, struct matrices *products)
{
    const struct lesson_workload by_order = of_matrices(
        "break_even", "The heavy task with matrices of growing order: from where does it pay?",
        products);
    lesson_sweep(lesson, &by_order, "order", &products->order, 4, 256);
}

static void add_blas_threads(struct lesson *lesson, struct matrices *products)
{
    struct lesson_workload by_threads = of_matrices(
        "blas_threads", "The heavy task: worker processes x BLAS threads in each", products);
    by_threads.tolerance = 1e-5; /* with more threads BLAS may add in another order */
    lesson_blas_threads(lesson, &by_threads);
}

int main(int argc, char **argv)
{
    struct numbers numbers = {.count = 10000};
    struct matrices matrices = {.count = 100, .order = 200, .compute = heavy, .task = heavy_task};
    const struct lesson_option options[] = {
        {"light-tasks", "N", "numbers for x + 1", LESSON_COUNT, &numbers.count, 1, 1 << 30},
        {"matrices", "N", "matrices for sum and product", LESSON_COUNT, &matrices.count, 1,
         1 << 24},
        {"order", "N", "rows and columns of each", LESSON_COUNT, &matrices.order, 1, 1 << 14},
        {0}};
    const struct lesson_chapter chapter = {.name = "03_transfer_cost",
                                           .title = "The cost of sending data",
                                           .options = options,
                                           .blas = true};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    struct matrices as_asked = matrices; /* whatever --seconds makes of the others */
    measure_numbers(lesson, &numbers);
    measure_matrices(lesson, &matrices);
    vary_the_weight(lesson, &as_asked);
    add_blas_threads(lesson, &as_asked);
    return lesson_end(lesson);
}
