/* One line for each variant of what is measured: as a table, a variant below the other. */
#include "common/lesson/study/study.h"

static const struct lesson_results *measure(struct lesson *lesson, const char *variant,
                                            const struct lesson_workload *workload)
{
    const int workers[] = {lesson->options->workers[lesson->options->worker_count - 1], 0};
    char name[128];
    struct lesson_workload quiet = *workload;
    snprintf(name, sizeof name, "%s, %s", variant, workload->name);
    quiet.name = name;
    quiet.workers = workers;
    quiet.run[LESSON_GIL] = NULL;
    quiet.grow = NULL;
    quiet.quiet = true;
    quiet.recorded = false;
    return lesson_measure(lesson, &quiet);
}

static void print_per_task(struct lesson *lesson, const struct lesson_results *results,
                           enum lesson_mode mode)
{
    const struct lesson_figures *row = lesson_find(results, mode, 0, LESSON_DEFAULT_TRANSFER);
    lesson_print(lesson, "%10s",
                 row ? lesson_time_text(row->wall_median / (double)row->tasks) : "-");
}

void lesson_line(struct lesson *lesson, const char *variant,
                 const struct lesson_workload *workloads, size_t count,
                 const struct lesson_results **results)
{
    for (size_t i = 0; i < count; i++)
        results[i] = measure(lesson, variant, &workloads[i]);
    lesson_print(lesson, "%-7s%7zu", variant, results[0]->figures[0].tasks);
    for (size_t i = 0; i < count; i++) {
        lesson_function *const *const run = workloads[i].run;
        if (i == 0 || run[LESSON_SEQUENTIAL] != workloads[i - 1].run[LESSON_SEQUENTIAL])
            print_per_task(lesson, results[i], LESSON_SEQUENTIAL);
        if (run[LESSON_THREADS])
            print_per_task(lesson, results[i], LESSON_THREADS);
        if (run[LESSON_PROCESSES])
            print_per_task(lesson, results[i], LESSON_PROCESSES);
    }
}

void lesson_beats_pool(struct lesson *lesson, const struct lesson_results *one,
                       const struct lesson_results *other)
{
    const struct lesson_figures *pool = lesson_find(other, LESSON_PROCESSES, 0, 0);
    if (!pool) {
        lesson_print(lesson, "%8s%12s\n", "-", "-");
        return;
    }
    const double wall = one->figures[0].wall_median;
    const double running = pool->wall_median / wall, started = running + pool->startup / wall;
    lesson_print(lesson, "%7.2fx %-3s%8.2fx %s\n", running, running > 1 ? "yes" : "no", started,
                 started > 1 ? "yes" : "no");
}
