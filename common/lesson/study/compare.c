/* Several workloads that do the same, side by side in one table, with the roof of each. */
#include "common/lesson/study/study.h"

#define DISTURBED 1.05 /* of its roof: more than a run can have */

/* Does it seem to be above its roof? */
static bool print_way(struct lesson *lesson, const char *name, const struct lesson_figures *way,
                      double gigabytes)
{
    const double time = way->mode == LESSON_PROCESSES ? way->phases.compute : way->wall_median;
    lesson_print(lesson, "%-22s %7d %7s %9s %9s %9s", name ? name : way->name, way->workers,
                 lesson_bytes_text((double)way->pool.bytes_copied),
                 lesson_time_text(way->phases.send + way->phases.receive), lesson_time_text(time),
                 lesson_time_text(way->wall_median));
    if (time > 0.0) /* a clock may be too coarse for little work */
        lesson_print(lesson, " %8.1f", gigabytes / time);
    if (time > 0.0 && way->roof > 0.0)
        lesson_print(lesson, " %8.1f %8.0f %%", gigabytes / way->roof, 100.0 * way->roof / time);
    lesson_print(lesson, "\n");
    return way->roof > DISTURBED * time;
}

void lesson_compare(struct lesson *lesson, const char *title, const struct lesson_variant *ways,
                    size_t count, size_t bytes)
{
    const struct options *options = lesson->options;
    const double gigabytes = 1e-9 * (double)bytes;
    lesson_heading(lesson, title);
    lesson_print(lesson, "%-22s %7s %7s %9s %9s %9s %8s %8s %10s\n", "way", "workers", "copied",
                 "copying", "compute", "wall", "GB/s", "roof", "of roof");
    bool above = print_way(lesson, NULL, &ways[0].results->figures[0], gigabytes);
    for (size_t w = 0; w < options->worker_count; w++)
        for (size_t i = 0; i < count; i++)
            for (size_t f = 1; ways[i].results && f < ways[i].results->count; f++)
                if (ways[i].results->figures[f].workers == options->workers[w])
                    above |=
                        print_way(lesson, ways[i].name, &ways[i].results->figures[f], gigabytes);
    lesson_print(lesson,
                 "  copying       arguments to the workers and results back\n"
                 "  GB/s          %s, once, in the time to compute (threads: in the wall time)\n"
                 "  roof          the same workers, in turn with the row's own runs, only read the "
                 "same memory\n",
                 lesson_bytes_text((double)bytes));
    if (above)
        lesson_print(lesson,
                     "  of roof       above 100 %%: the runs that only read were disturbed, "
                     "so measure again\n");
}
