/* 01_pool_map - one function, many numbers, four ways to run it
 *
 * The same heavy_computation(x) is done for x = 0 .. tasks-1: in a plain loop; by OpenMP threads;
 * by threads that share one lock, as Python's threads share the GIL; by the worker processes of a
 * pool, as with multiprocessing.Pool.map. Then the program shows who ran where, and whose memory
 * is shared with whom. At the end a better algorithm beats them all.
 * Notebook: part 1.1, "Process vs thread", Pool.map and the pool-size benchmark.
 * Usage: pool_map [--tasks N] [--iterations N] [--workers 1,2,4] [--help]
 *
 * Watch for:
 *   - "cores busy": near the number of workers for threads and processes, near 1 under the GIL,
 *     however many threads there are.
 *   - "start-up": what the pool costs before the first task runs.
 *   - the counter: the program sees what its threads added, and nothing of what processes added.
 *
 * Try:
 *   1. --iterations 1000, then 10: when do processes stop paying?
 *   2. --mode gil --seconds 1 --switch-interval 0.0005,0.005,0.05: the lock changes hands more
 *      often; does it take longer, too?
 *   3. Take the asm line out of heavy_computation, and compile: where did the time go?
 */
#include "common/lesson/lesson.h"
#include <sched.h>
#include <unistd.h>

struct work {
    size_t tasks, iterations;
    int64_t *data, *results;
    struct lesson_visit *visits; /* [visited] */
    size_t visited;              /* so many tasks: 20 for each worker */
};

/* ---- The task ------------------------------------------------------------------------------ */

/* noinline: one copy of the machine code for all modes, or they would not be comparable. */
__attribute__((noinline)) static int64_t heavy_computation(int64_t x, size_t iterations)
{
    int64_t result = 0;
    for (size_t i = 0; i < iterations; i++) {
        result += (int64_t)i * x;
        __asm__ volatile("" : "+r"(result)); /* or the compiler would use the formula below */
    }
    return result;
}

/* The same under the GIL. At every turn of a loop an interpreter looks whether another thread wants
 * the lock. One of its turns takes as long as a hundred of ours, so every 1000 is often enough. */
__attribute__((noinline)) static int64_t heavy_computation_under_gil(int64_t x, size_t iterations,
                                                                     struct gil *gil)
{
    int64_t result = 0;
    for (size_t i = 0; i < iterations;) {
        const size_t next_look = i + 1000 < iterations ? i + 1000 : iterations;
        for (; i < next_look; i++) {
            result += (int64_t)i * x;
            __asm__ volatile("" : "+r"(result));
        }
        gil_checkpoint(gil);
    }
    return result;
}

/* ---- Four ways to run it ------------------------------------------------------------------- */

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->tasks; i++) {
        work->results[i] = heavy_computation(work->data[i], work->iterations);
        lesson_task_done(run, i); /* for --timeline; nearly free */
    }
}

/* schedule(runtime): which thread gets which i is said by an option, --schedule. */
static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->tasks; i++) {
        work->results[i] = heavy_computation(work->data[i], work->iterations);
        lesson_task_done(run, i);
    }
}

/* A Python thread holds the GIL from its first instruction to its last, but for the checkpoints.
 * nowait: at a barrier a thread would wait for others with the GIL in its hands, and they for it.
 */
static void run_threads_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->tasks; i++) {
            work->results[i] =
                heavy_computation_under_gil(work->data[i], work->iterations, run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

/* A worker process has its own copy of every variable. The numbers are sent to it with the tasks,
 * the iterations once, when it starts: Pool(initializer=set_iterations).
 *
 * All that a pool calls has this form: pointers to the arguments, where the result goes, and the
 * call itself, which is not needed here; 0 says that all went well. POOL_TASK makes its name known
 * to the workers, as pickle finds a function by its name. */
static size_t iterations;

static int set_iterations(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)result, (void)task;
    iterations = *(const size_t *)arguments[0];
    return 0;
}
POOL_TASK(set_iterations);

static int heavy_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const int64_t *x = arguments[0];
    (void)task;
    *(int64_t *)result = heavy_computation(*x, iterations);
    return 0;
}
POOL_TASK(heavy_task);

static void run_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    pool_map(run->pool, heavy_task, work->data, sizeof *work->data, work->results,
             sizeof *work->results, work->tasks, run->chunksize, &run->error);
}

/* ---- Who runs where, and whose memory is it? ----------------------------------------------- */

static long counter; /* a global variable, like any other */

static void note_visit(struct lesson_visit *visit)
{
    long seen;
    usleep(1000); /* a task that waits, so that everybody gets a share */
#pragma omp atomic capture
    seen = ++counter;
    *visit = (struct lesson_visit){getpid(), gettid(), sched_getcpu(), seen};
}

static void visit_by_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers)
    for (size_t i = 0; i < work->visited; i++)
        note_visit(&work->visits[i]);
}

static int visit_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments, (void)task;
    note_visit(result);
    return 0;
}
POOL_TASK(visit_task);

static void visit_by_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    pool_map(run->pool, visit_task, work->data, sizeof *work->data, work->visits,
             sizeof *work->visits, work->visited, run->chunksize, &run->error);
}

static void show_who_runs_where(struct lesson *lesson, struct work *work)
{
    size_t count;
    const int workers = lesson_workers(lesson, &count)[count - 1];
    work->visited = work->tasks < 20 * (size_t)workers ? work->tasks : 20 * (size_t)workers;
    work->visits = lesson_scratch(work->visited * sizeof *work->visits);
    lesson_heading(lesson, "Who runs where: every task adds 1 to the same global counter");
    for (enum lesson_mode mode = LESSON_THREADS; mode <= LESSON_PROCESSES; mode++) {
        const bool threads = mode == LESSON_THREADS;
        if (mode == LESSON_GIL || !lesson_runs(lesson, mode))
            continue;
        counter = 0;
        lesson_once(lesson, mode, workers, threads ? visit_by_threads : visit_by_processes, work);
        lesson_draw_visits(lesson, work->visits, work->visited, counter);
    }
}

/* ---- A better algorithm: 0 + 1 + ... + (n-1) = n (n-1) / 2 ---------------------------------- */

static void run_formula(struct lesson_run *run)
{
    struct work *work = run->work;
    const int64_t n = (int64_t)work->iterations;
    for (size_t i = 0; i < work->tasks; i++)
        work->results[i] = work->data[i] * (n * (n - 1) / 2);
}

static void make_data(struct lesson *lesson, void *context)
{
    struct work *work = context;
    int64_t largest;
    if (__builtin_mul_overflow(work->iterations * (work->iterations - 1) / 2, work->tasks,
                               &largest))
        lesson_usage(lesson, "--tasks %zu --iterations %zu: the results would not fit into 64 bits",
                     work->tasks, work->iterations);
    lesson_input(lesson, &work->data, work->tasks, sizeof *work->data);
    lesson_result(lesson, &work->results, NPY_INT64, work->tasks, 1);
    for (size_t i = 0; i < work->tasks; i++)
        work->data[i] = (int64_t)i;
}

int main(int argc, char **argv)
{
    struct work work = {.tasks = 100, .iterations = 100000};
    const struct lesson_option options[] = {
        {"tasks", "N", "numbers to compute with", LESSON_COUNT, &work.tasks, 1, 1 << 28},
        {"iterations", "N", "turns of each loop", LESSON_COUNT, &work.iterations, 1, 1 << 30},
        {0}};
    const struct lesson_chapter chapter = {
        .name = "01_pool_map", .title = "Pool.map: one task, many numbers", .options = options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);

    struct lesson_workload loop = {
        .name = "heavy_computation",
        .title = "heavy_computation(x) = 0*x + 1*x + 2*x + ...",
        .work = &work,
        .prepare = make_data,
        .run = {run_sequential, run_threads, run_threads_under_gil, run_processes},
        .tasks = &work.tasks,
        .grow = &work.tasks,
        .initializer = set_iterations,
        .initializer_argument = &work.iterations,
        .initializer_size = sizeof work.iterations,
    };
    const double loop_time = lesson_measure(lesson, &loop)->figures[0].wall_median;
    const int64_t last = work.results[work.tasks - 1];
    lesson_save(lesson, "results.npy", NPY_INT64, 1, &work.tasks, work.results);
    if (lesson_runs(lesson, LESSON_THREADS) || lesson_runs(lesson, LESSON_PROCESSES))
        show_who_runs_where(lesson, &work);

    struct lesson_workload formula = {.name = "closed_formula",
                                      .work = &work,
                                      .run = {run_formula},
                                      .tasks = &work.tasks,
                                      .quiet = true};
    const double formula_time = lesson_measure(lesson, &formula)->figures[0].wall_median;
    if (work.results[work.tasks - 1] != last)
        lesson_fail(lesson, "the formula does not give the loop's result");
    lesson_heading(lesson, "A better algorithm: x * n * (n-1) / 2");
    lesson_print(lesson, "loop %s, formula %s: %.0f times as fast, on one core\n",
                 lesson_time_text(loop_time), lesson_time_text(formula_time),
                 loop_time / formula_time);
    return lesson_end(lesson);
}
