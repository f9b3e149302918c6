/* The table of a workload, and what is to be said below it. */
#include "common/lesson/explain/explain.h"
#include <math.h>
#include <stdlib.h>

/* ---- The table ------------------------------------------------------------------------------- */

static const char *colour(const struct lesson *lesson, const char *code)
{
    return lesson->colour ? code : "";
}

static void print_row(struct lesson *lesson, const struct lesson_figures *figures)
{
    const char *start = "", *end = "";
    if (!figures->matches || (figures->mode != LESSON_SEQUENTIAL && figures->speedup < 0.95))
        start = colour(lesson, "\033[31m");
    else if (figures->speedup > 1.05)
        start = colour(lesson, "\033[32m");
    if (*start)
        end = plain(lesson);
    lesson_print(lesson, "%-17s %7s %22s %8s %10.2f ", figures->name, team_text(figures),
                 lesson_range_text(figures->wall_median, figures->wall_min, figures->wall_max),
                 lesson_time_text(figures->cpu_median), figures->cores_busy);
    lesson_print(lesson, "%s%7s %8.0f %% %12s%s\n", start, factor_text(figures->speedup),
                 100.0 * figures->efficiency, figures->matches ? "yes" : "NO", end);
}

static void print_rows(struct lesson *lesson, const struct lesson_results *results)
{
    lesson_print(lesson, "%s%-17s %7s %22s %8s %10s %7s %10s %12s%s\n", bold(lesson), "mode",
                 "workers", "wall [min - max]", "CPU", "cores busy", "speedup", "efficiency",
                 "same result?", plain(lesson));
    for (size_t i = 0; i < results->count; i++)
        print_row(lesson, &results->figures[i]);
}

/* Each term once in a program. */
static void print_terms(struct lesson *lesson, const struct lesson_results *results)
{
    if (lesson->terms_told)
        return;
    lesson->terms_told = true;
    lesson_print(
        lesson,
        "  wall          time on the clock: median of %d runs [fastest - slowest]; a "
        "pool's start-up is apart\n"
        "  CPU           computing time of all threads and processes, added up\n"
        "  cores busy    CPU / wall: how many cores computed at the same time, on average\n"
        "  speedup       wall of sequential / wall;  efficiency: speedup / workers\n"
        "  same result?  every run gave the sequential result, to the last bit\n",
        results->figures[0].repeats);
}

/* "forkserver: 2 workers ready in 957 us, 4 in 1.31 ms; 100 tasks in each run" */
static void print_start(struct lesson *lesson, const struct lesson_results *results)
{
    int last = 0;
    struct paragraph paragraph;
    paragraph_begin(lesson, &paragraph);
    FILE *const stream = paragraph.stream;
    fprintf(stream, "%s", pool_start_method_name(lesson->options->start_method));
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode != LESSON_PROCESSES || figures->workers == last)
            continue;
        fprintf(stream, "%s %d%s in %s", last ? "," : ":", figures->workers,
                last                    ? ""
                : figures->workers == 1 ? " worker ready"
                                        : " workers ready",
                lesson_time_text(figures->startup));
        last = figures->workers;
    }
    const size_t tasks = results->figures[0].tasks;
    fprintf(stream, "; %zu task%s in each run", tasks, plural(tasks));
    lesson_print(lesson, "\n");
    paragraph_end(lesson, &paragraph, PAGE_COLUMNS);
}

/* What went wrong in a row's runs, and was made up for; nothing if nothing did. */
static void print_losses(struct lesson *lesson, const struct lesson_figures *figures)
{
    const struct pool_statistics *pool = &figures->pool_in_all;
    char text[512];
    if (pool->restarts == 0 && pool->chunks_retried == 0 && pool->chunks_lost == 0)
        return;
    snprintf(text, sizeof text,
             "%s, %d worker%s, in all runs: %llu restarted, %llu chunk%s run again, %llu lost; %s",
             figures->name, figures->workers, plural(figures->workers),
             (unsigned long long)pool->restarts, (unsigned long long)pool->chunks_retried,
             plural(pool->chunks_retried), (unsigned long long)pool->chunks_lost, pool->last_death);
    report_paragraph(lesson, 0, text);
}

static void print_phase_terms(struct lesson *lesson)
{
    if (lesson->phases_told)
        return;
    lesson->phases_told = true;
    lesson_print(
        lesson,
        "  start-up      starting the workers, once for all runs;  with start: start-up + wall\n"
        "  send, receive copying arguments to the workers and results back (copied: how much)\n"
        "  compute       time inside tasks, of the worker that had most of it\n"
        "  wait          the rest: waking up, handing out chunks, one waiting for another\n"
        "  chunks        tasks are handed out in chunks; figures of the run with the median wall\n"
        "  wake-ups      system calls that woke a sleeping worker, or the program; a chunk itself "
        "needs none\n");
}

/* Where the time of the process modes went, and what the pool did in it. */
static void print_phases(struct lesson *lesson, const struct lesson_results *results)
{
    if (!lesson_find(results, LESSON_PROCESSES, 0, LESSON_DEFAULT_TRANSFER))
        return;
    print_start(lesson, results);
    lesson_print(lesson, "%s%-17s %7s %10s %8s %7s %7s %7s %7s %6s %6s %8s%s\n", bold(lesson),
                 "where time went", "workers", "with start", "start-up", "send", "compute",
                 "receive", "wait", "copied", "chunks", "wake-ups", plain(lesson));
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode != LESSON_PROCESSES)
            continue;
        lesson_print(
            lesson, "%-17s %7d %10s %8s %7s %7s %7s %7s %6s %6llu %8llu\n", figures->name,
            figures->workers, lesson_time_text(figures->startup + figures->wall_median),
            lesson_time_text(figures->startup), lesson_time_text(figures->phases.send),
            lesson_time_text(figures->phases.compute), lesson_time_text(figures->phases.receive),
            lesson_time_text(figures->phases.wait),
            lesson_bytes_text((double)figures->pool.bytes_copied),
            (unsigned long long)figures->pool.chunks, (unsigned long long)figures->pool.wakeups);
    }
    for (size_t i = 0; i < results->count; i++)
        print_losses(lesson, &results->figures[i]);
    print_phase_terms(lesson);
}

/* ---- The GIL --------------------------------------------------------------------------------- */

static void print_hand_overs(struct lesson *lesson, const struct lesson_results *results)
{
    const char *before = "\n";
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode != LESSON_GIL || at_work(figures) == 1)
            continue;
        lesson_print(lesson,
                     "%sgil, %d workers: the GIL went from thread to thread %llu time%s (%llu "
                     "forced by a waiting thread)\n",
                     before, figures->workers, (unsigned long long)figures->gil.switches,
                     plural(figures->gil.switches), (unsigned long long)figures->gil.forced);
        before = "";
    }
}

static int decimals(double a_second)
{
    return a_second >= 100.0 ? 0 : a_second >= 1.0 ? 1 : 3;
}

/* What the interval decides, and what it does not: the rows of one worker count. */
static void print_intervals_of(struct lesson *lesson, const struct lesson_figures *rows,
                               size_t count)
{
    const struct lesson_figures *shortest = rows, *longest = rows;
    for (size_t i = 0; i < count; i++) {
        const struct lesson_figures *row = &rows[i];
        const double a_second = (double)row->gil.forced / fmax(row->wall_median, 1e-9);
        const double most = 1.0 / row->switch_interval;
        lesson_print(lesson, "%-17s %7d %14llu %10.*f %13.*f %10s\n", row->name, row->workers,
                     (unsigned long long)row->gil.forced, decimals(a_second), a_second,
                     decimals(most), most, lesson_time_text(row->wall_median));
        if (row->switch_interval < shortest->switch_interval)
            shortest = row;
        if (row->switch_interval > longest->switch_interval)
            longest = row;
    }
    if (shortest->gil.forced > 0)
        lesson_print(
            lesson,
            "  %.4g ms against %.4g ms: %llu hand-overs were forced instead of %llu, in %.2f "
            "times the wall time\n",
            1e3 * shortest->switch_interval, 1e3 * longest->switch_interval,
            (unsigned long long)shortest->gil.forced, (unsigned long long)longest->gil.forced,
            shortest->wall_median / fmax(longest->wall_median, 1e-9));
}

static void print_intervals(struct lesson *lesson, const struct lesson_results *results)
{
    const size_t intervals = lesson->options->interval_count;
    lesson_print(lesson, "\n%s%-17s %7s %14s %10s %13s %10s%s\n", bold(lesson), "switch intervals",
                 "workers", "forced in all", "a second", "1 / interval", "wall", plain(lesson));
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode != LESSON_GIL || at_work(figures) == 1)
            continue;
        print_intervals_of(lesson, figures, intervals);
        i += intervals - 1;
    }
    lesson_print(
        lesson,
        "  forced        the holder had to give way, because a thread had waited one interval\n"
        "  1 / interval  as often as that can be in a second; waking a thread takes time, too\n");
}

static void print_gil(struct lesson *lesson, const struct lesson_results *results)
{
    const bool several = lesson->options->interval_count > 1;
    bool shared = false; /* by at least two threads */
    for (size_t i = 0; i < results->count; i++)
        shared |= results->figures[i].mode == LESSON_GIL && at_work(&results->figures[i]) > 1;
    if (shared && several)
        print_intervals(lesson, results);
    else if (shared)
        print_hand_overs(lesson, results);
}

void report_table(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_results *results)
{
    lesson_heading(lesson, workload->title ? workload->title : workload->name);
    print_rows(lesson, results);
    team_notes(lesson, results);
    print_terms(lesson, results);
    if (workload->tolerance > 0.0)
        lesson_print(lesson, "  same result?  here: but for rounding, within %g\n",
                     workload->tolerance);
    if (lesson->options->step)
        lesson_print(lesson, "  speedup       here: against sequential runs in turn with the row's "
                             "own\n");
    print_gil(lesson, results);
    print_phases(lesson, results);
    lesson_print(lesson, "\n");
}
