/* The live view: lines on a terminal's standard error that are drawn again in place, and taken away
 * before anything else is printed.
 *
 *   heavy_computation: run 3 of 5, threads, 2 workers  [#####-----]  52 %  busy 1.98
 *     worker 0  [######--------------]  26 tasks
 *     worker 1  [######--------------]  26 tasks
 *
 * Whoever computes only counts, each thread in a cache line of its own; the main thread, when it
 * has done a task or waits for a pool, looks at a coarse clock, and draws when a tenth of a second
 * is over. Nothing is drawn that a window cannot hold, or while the terminal takes nothing.
 */
#include "common/lesson/internal.h"
#include <omp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL      0.1   /* seconds between two drawings, at least */
#define LONG_RUN      0.15  /* seconds; a shorter one is over before there is something to see */
#define SHORT_TASK    20e-6 /* seconds; counting takes some hundredths of a microsecond */
#define FEW_TASKS     10000 /* may be counted before it is known how long they take */
#define MOST_COLUMNS  160
#define MOST_LINES    17 /* the run, and so many workers less one */
#define LEAST_HEADING 8  /* columns; less of it says nothing */
#define WORKER_COLUMN 44 /* what a worker's line needs */

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

/* ---- The lines on the screen ------------------------------------------------------------------
 */

static struct {
    char heading[MOST_COLUMNS];
    char lines[MOST_LINES][MOST_COLUMNS];
    int count;
    int lengths[MOST_LINES];     /* of the lines that are on the screen, */
    volatile sig_atomic_t shown; /*   which are so many */
    double drawn;                /* when */
} screen;

static double coarse_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool due(void)
{
    return screen.drawn == 0.0 || coarse_clock() - screen.drawn >= INTERVAL;
}

/* Erases the line where the cursor is, and those above. */
static const char erase_line[] = "\r\033[K", erase_above[] = "\033[A\033[K";

/* The program ends by the signal as it would anyway, but leaves a clean screen. */
static void erase_and_end(int number)
{
    ssize_t written = 0;
    for (int i = 0; i < screen.shown && written >= 0; i++)
        written = i ? write(STDERR_FILENO, erase_above, sizeof erase_above - 1)
                    : write(STDERR_FILENO, erase_line, sizeof erase_line - 1);
    raise(number); /* its action is the default again (SA_RESETHAND) */
}

/* Stopped, the program has lost its lines: the shell has written below them. */
static void leave_lines(int number)
{
    (void)number;
    screen.shown = 0;
}

/* In the background the terminal is another's. */
static bool in_background(void)
{
    const pid_t front = tcgetpgrp(STDERR_FILENO);
    return front >= 0 && front != getpgrp();
}

static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    static const struct sigaction go_on = {.sa_handler = leave_lines, .sa_flags = SA_RESTART};
    static bool caught;
    if (!caught)
        sigaction(SIGCONT, &go_on, NULL);
    for (size_t i = 0; !caught && i < sizeof numbers / sizeof *numbers; i++) {
        const struct sigaction action = {.sa_handler = erase_and_end, .sa_flags = SA_RESETHAND};
        struct sigaction old;
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(numbers[i], &action, NULL);
    }
    caught = true;
}

/* In a window that has become narrower, lines were broken. */
static int rows_on_screen(int columns)
{
    int rows = 0;
    for (int i = 0; i < screen.shown; i++) {
        rows += screen.lengths[i] > columns ? (screen.lengths[i] + columns - 1) / columns : 1;
    }
    return rows;
}

static void put_erase(FILE *out, int columns)
{
    const int rows = rows_on_screen(columns);
    if (rows > 0)
        fputs(erase_line, out);
    for (int i = 1; i < rows; i++)
        fputs(erase_above, out);
}

/* In one write, and only if the terminal takes it: with Ctrl-S, or over a line that is slow, the
 * run must not wait for it. */
static void draw(void)
{
    char text[MOST_LINES * (MOST_COLUMNS + 8)];
    struct pollfd terminal = {.fd = STDERR_FILENO, .events = POLLOUT};
    screen.drawn = coarse_clock();
    if (in_background() || poll(&terminal, 1, 0) != 1 || !(terminal.revents & POLLOUT))
        return;
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out)
        return;
    catch_signals();
    const int columns = terminal_window(STDERR_FILENO).ws_col;
    if (screen.shown)
        put_erase(out, columns);
    else
        fputs(erase_line, out);
    for (int i = 0; i < screen.count; i++) {
        if (columns <= MOST_COLUMNS) /* a line that wraps would stay */
            screen.lines[i][columns - 1] = '\0';
        screen.lengths[i] = (int)strlen(screen.lines[i]);
        fprintf(out, "%s%s", i ? "\n" : "", screen.lines[i]);
    }
    const long length = ftell(out);
    screen.shown = screen.count;
    if (fclose(out) == 0 && length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        screen.shown = 0;
}

void progress_show(struct lesson *lesson, const char *format, ...)
{
    va_list arguments;
    if (!lesson->progress)
        return;
    va_start(arguments, format);
    vsnprintf(screen.heading, sizeof screen.heading, format, arguments);
    va_end(arguments);
    if (!due())
        return;
    memcpy(screen.lines[0], screen.heading, sizeof screen.heading);
    screen.count = 1;
    draw();
}

void progress_clear(struct lesson *lesson)
{
    (void)lesson;
    if (screen.shown)
        put_erase(stderr, terminal_window(STDERR_FILENO).ws_col);
    screen.shown = 0;
}

/* ---- A run that goes on ------------------------------------------------------------------------
 */

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
static void compose_run(const struct live *live, size_t done, int columns)
{
    char figures[64], part[16] = "";
    const double wall = coarse_clock() - live->wall_start;
    const double busy = (process_cpu(live->pool) - live->cpu_start) / (wall > 0.01 ? wall : 0.01);
    const double fraction = live->tasks ? (double)done / (double)live->tasks : 0.0;
    if (live->tasks)
        snprintf(part, sizeof part, "%3.0f %%  ", 100.0 * (fraction < 1.0 ? fraction : 1.0));
    if (live->tasks && columns >= (int)strlen(screen.heading) + 40)
        snprintf(figures, sizeof figures, "  [%s]  %sbusy %.2f", bar(fraction, 20), part, busy);
    else
        snprintf(figures, sizeof figures, " %sbusy %.2f", part, busy);
    const int left = columns - 1 - (int)strlen(figures);
    snprintf(screen.lines[0], sizeof screen.lines[0], "%.*s%s", left < LEAST_HEADING ? 0 : left,
             screen.heading, figures);
}

static void draw_run(const struct live *live)
{
    const struct winsize window = terminal_window(STDERR_FILENO);
    const int columns = window.ws_col < MOST_COLUMNS ? window.ws_col : MOST_COLUMNS;
    const bool roomy = columns >= WORKER_COLUMN && window.ws_row >= 2 * (live->rows + 1);
    size_t done = 0;
    screen.count = 1;
    for (int row = 0; row < live->rows; row++) {
        const size_t tasks = atomic_load_explicit(&live->counters[row].tasks, memory_order_relaxed);
        done += tasks;
        if (live->rows == 1 || live->rows >= MOST_LINES || !roomy || !live->tasks)
            continue;
        snprintf(screen.lines[screen.count++], MOST_COLUMNS, "  worker %-2d  [%s]  %zu tasks", row,
                 bar((double)tasks * live->rows / (double)live->tasks, 20), tasks);
    }
    compose_run(live, done, columns);
    draw();
}

void live_task(struct live *live)
{
    const int thread = omp_get_thread_num();
    _Atomic size_t *tasks = &live->counters[thread < live->rows ? thread : 0].tasks;
    atomic_store_explicit(tasks, atomic_load_explicit(tasks, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (thread == 0 && due())
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
    if (due())
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
