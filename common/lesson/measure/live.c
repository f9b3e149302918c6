/* The live view of a run, below the line of progress.
 *
 *   heavy_computation: run 3 of 5, threads, 2 workers  [#####-----]  52 %  busy 1.98
 *     worker 0  [######--------------]  26 tasks
 *     worker 1  [######--------------]  26 tasks
 *
 * Whoever computes only counts, each thread in a cache line of its own; the main thread, when it
 * has done a task or waits for a pool, looks at a coarse clock, and draws when a tenth of a second
 * is over.
 */
#include "common/lesson/measure/measurement.h"
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LONG_RUN      0.15  /* seconds; a shorter one is over before there is something to see */
#define SHORT_TASK    20e-6 /* seconds; counting takes some hundredths of a microsecond */
#define FEW_TASKS     10000 /* may be counted before it is known how long they take */
#define LEAST_HEADING 8     /* columns; less of it says nothing */
#define WORKER_COLUMN 44    /* what a worker's line needs */

struct counter {
    _Alignas(64) _Atomic size_t tasks; /* written by one thread */
};

struct live {
    int rows;
    size_t tasks; /* of the run; 0: not known */
    struct pool *pool;
    double wall_start, cpu_start;
    size_t earlier[POOL_MAX_WORKERS]; /* by the pool's workers in maps that are over */
    struct counter counters[POOL_MAX_WORKERS];
};

static double process_cpu(struct pool *pool)
{
    struct timespec used = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec +
           (pool ? pool_cpu_seconds(pool) : 0.0);
}

static const char *bar(double part, int width)
{
    static char text[32]; /* more than any width */
    const int full = part >= 1.0 ? width : (int)(part * width);
    memset(text, '#', (size_t)full);
    memset(text + full, '-', (size_t)(width - full));
    text[width] = '\0';
    return text;
}

/* What is known of the run, with a bar if there is room; the heading gets what is left. */
static void compose_run(char line[PROGRESS_COLUMNS], const struct live *live, size_t done,
                        int columns)
{
    char figures[64], part[16] = "";
    const double wall = coarse_clock() - live->wall_start;
    const double busy = (process_cpu(live->pool) - live->cpu_start) / (wall > 0.01 ? wall : 0.01);
    const double fraction = live->tasks ? (double)done / (double)live->tasks : 0.0;
    if (live->tasks)
        snprintf(part, sizeof part, "%3.0f %%  ", 100.0 * (fraction < 1.0 ? fraction : 1.0));
    if (live->tasks && columns >= (int)strlen(progress_heading()) + 40)
        snprintf(figures, sizeof figures, "  [%s]  %sbusy %.2f", bar(fraction, 20), part, busy);
    else
        snprintf(figures, sizeof figures, " %sbusy %.2f", part, busy);
    const int left = columns - 1 - (int)strlen(figures);
    snprintf(line, PROGRESS_COLUMNS, "%.*s%s", left < LEAST_HEADING ? 0 : left, progress_heading(),
             figures);
}

static void draw_run(const struct live *live)
{
    const struct winsize window = terminal_window(STDERR_FILENO);
    const int columns = window.ws_col < PROGRESS_COLUMNS ? window.ws_col : PROGRESS_COLUMNS;
    const bool roomy = columns >= WORKER_COLUMN && window.ws_row >= 2 * (live->rows + 1);
    char lines[PROGRESS_LINES][PROGRESS_COLUMNS];
    int count = 1;
    size_t done = 0;
    for (int row = 0; row < live->rows; row++) {
        const size_t tasks = atomic_load_explicit(&live->counters[row].tasks, memory_order_relaxed);
        done += tasks;
        if (live->rows == 1 || live->rows >= PROGRESS_LINES || !roomy || !live->tasks)
            continue;
        snprintf(lines[count++], PROGRESS_COLUMNS, "  worker %-2d  [%s]  %zu tasks", row,
                 bar((double)tasks * live->rows / (double)live->tasks, 20), tasks);
    }
    compose_run(lines[0], live, done, columns);
    progress_draw(lines, count);
}

void live_task(struct live *live)
{
    const int thread = omp_get_thread_num();
    _Atomic size_t *tasks = &live->counters[thread < live->rows ? thread : 0].tasks;
    atomic_store_explicit(tasks, atomic_load_explicit(tasks, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (thread == 0 && progress_due())
        draw_run(live);
}

static void look_at_pool(void *context, const size_t *done, int workers, bool ended)
{
    struct live *live = context;
    for (int i = 0; i < workers; i++) {
        live->counters[i].tasks = live->earlier[i] + done[i];
        if (ended)
            live->earlier[i] = live->counters[i].tasks;
    }
    if (progress_due())
        draw_run(live);
}

/* Would anybody see it, and would nobody feel it? Workers of a pool feel nothing. */
static bool worth_watching(const struct lesson_run *run, size_t tasks, double expected)
{
    if (run->roof)
        return false;
    if (expected < 0.0)
        return run->pool || (tasks > 0 && tasks <= FEW_TASKS);
    return expected >= LONG_RUN &&
           (run->pool || (tasks > 0 && expected >= SHORT_TASK * (double)tasks));
}

void live_begin(struct lesson *lesson, const struct lesson_workload *workload,
                struct lesson_run *run, double expected)
{
    static struct live live;
    const size_t tasks = workload->tasks ? *workload->tasks : 0;
    if (!lesson->progress || !worth_watching(run, tasks, expected))
        return;
    live.rows = run->threads;
    live.tasks = tasks;
    live.pool = run->pool;
    memset(live.earlier, 0, (size_t)run->workers * sizeof *live.earlier);
    memset(live.counters, 0, (size_t)run->workers * sizeof *live.counters);
    live.wall_start = coarse_clock();
    live.cpu_start = process_cpu(run->pool);
    if (!run->pool) {
        lesson->watch.live = &live;
        run->watched = &lesson->watch;
    } else {
        pool_watch(run->pool, look_at_pool, &live, NULL); /* without memory, nobody looks */
    }
}

void live_end(struct lesson *lesson, struct lesson_run *run)
{
    lesson->watch.live = NULL;
    run->watched = NULL;
    if (run->pool)
        pool_watch(run->pool, NULL, NULL, NULL);
}
