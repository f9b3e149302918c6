/* What it brings to load ahead: how long the device was idle, and why. */
#include "common/lesson/study/study.h"
#include <math.h>

static void print_row(struct lesson *lesson, const struct lesson_figures *figures, double loading)
{
    char hidden[16] = "-"; /* sequential has nobody to load ahead */
    if (figures->mode != LESSON_SEQUENTIAL)
        snprintf(hidden, sizeof hidden, "%.0f %%", 100 * (1 - figures->device_idle / loading));
    lesson_print(lesson, "%-17s %7s %22s %10s %10s %7.2fx %7s %12s\n", figures->name,
                 team_text(figures),
                 lesson_range_text(figures->wall_median, figures->wall_min, figures->wall_max),
                 lesson_time_text(figures->device), lesson_time_text(figures->device_idle),
                 figures->speedup, hidden, figures->matches ? "yes" : "NO");
}

/* "Why: threads, 2 workers: the device was idle for 1.31 ms instead of 20.1 ms; ..." */
static void say_why(struct lesson *lesson, const struct lesson_figures *figures, double loading)
{
    const double copying = figures->phases.send + figures->phases.receive;
    const double share = loading / at_work(figures);
    char text[512];
    int used = snprintf(text, sizeof text,
                        "Why: %s, %d worker%s: the device was idle for %s instead of %s",
                        figures->name, figures->workers, plural(figures->workers),
                        lesson_time_text(figures->device_idle), lesson_time_text(loading));
    if (figures->pool.bytes_copied > 0 && copying > 0.25 * figures->device_idle)
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "; for %s the program copied %s to the workers and back, which nobody "
                         "can do for it meanwhile",
                         lesson_time_text(copying),
                         lesson_bytes_text((double)figures->pool.bytes_copied));
    if (figures->device < share)
        snprintf(text + used, sizeof text - (size_t)used,
                 "; it computed for %s only, and loading takes %s for each worker, so not all of "
                 "it can be hidden",
                 lesson_time_text(figures->device), lesson_time_text(share));
    report_paragraph(lesson, 0, text);
}

void lesson_overlap(struct lesson *lesson, const struct lesson_results *results)
{
    const double loading = fmax(results->figures[0].device_idle, 1e-9);
    lesson_print(lesson, "%-17s %7s %22s %10s %10s %8s %7s %12s\n", "mode", "workers",
                 "wall [min - max]", "device", "exposed", "speedup", "hidden", "same result?");
    for (size_t i = 0; i < results->count; i++)
        print_row(lesson, &results->figures[i], loading);
    team_notes(lesson, results);
    lesson_print(
        lesson,
        "  device        time in which it computed;  exposed: the rest, in which it waited "
        "for a batch\n"
        "  hidden        1 - exposed / loading;  loading: what sequential exposes, %s\n\n",
        lesson_time_text(loading));
    for (size_t i = 1; i < results->count; i++)
        say_why(lesson, &results->figures[i], loading);
    lesson_flush(lesson);
}
