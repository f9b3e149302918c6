/* One workload at several sizes, and where a way begins to pay; and with several numbers of BLAS
 * threads in each worker. */
#include "common/lesson/study/study.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define MOST_STEPS 40

enum way { THREADS, COPIED, SHARED, WAYS };

static const char *const way_names[WAYS] = {"threads", "processes, copy", "processes, shared"};

struct sweep_step {
    size_t size;
    double task;          /* seconds of one task, sequentially */
    double speedup[WAYS]; /* NAN: was not asked for */
};

static double speedup(const struct lesson_results *results, int workers, enum way way)
{
    const struct lesson_figures *figures =
        way == THREADS ? lesson_find(results, LESSON_THREADS, workers, LESSON_DEFAULT_TRANSFER)
                       : lesson_find(results, LESSON_PROCESSES, workers,
                                     way == COPIED ? LESSON_COPY : LESSON_SHARED);
    return figures ? figures->speedup : NAN;
}

static struct sweep_step measure_step(struct lesson *lesson, const struct lesson_workload *workload,
                                      const char *size_name, size_t size, unsigned modes,
                                      int workers)
{
    char name[128];
    struct lesson_workload quiet = *workload;
    snprintf(name, sizeof name, "%s, %s %zu", workload->name, size_name, size);
    quiet.name = name;
    quiet.workers = (const int[]){workers, 0};
    quiet.modes = modes;
    quiet.grow = NULL;
    quiet.quiet = true;
    quiet.recorded = false;
    const struct lesson_results *results = lesson_measure(lesson, &quiet);
    series_note_size(lesson, results, size_name, size);
    struct sweep_step step = {.size = size,
                              .task = results->figures[0].wall_median /
                                      (double)(workload->tasks ? *workload->tasks : 1)};
    for (enum way way = 0; way < WAYS; way++)
        step.speedup[way] = speedup(results, workers, way);
    return step;
}

/* Where the speedup goes above 1 for good: after the last step at which it is not, between that
 * step and the next, on a logarithmic scale. */
static void print_break_even(struct lesson *lesson, const char *size_name,
                             const struct sweep_step *steps, int count, enum way way)
{
    int above = count;
    while (above > 0 && steps[above - 1].speedup[way] > 1.0)
        above--;
    if (isnan(steps[0].speedup[way]))
        return;
    const struct sweep_step *first = &steps[0], *last = &steps[count - 1];
    if (above == 0) {
        lesson_print(lesson,
                     "  %-18s pay at every size measured, from %s %zu: %s of work per task\n",
                     way_names[way], size_name, first->size, lesson_time_text(first->task));
    } else if (above == count) {
        lesson_print(lesson, "  %-18s do not pay at any size measured, up to %s %zu: %s per task\n",
                     way_names[way], size_name, last->size, lesson_time_text(last->task));
    } else {
        const struct sweep_step *before = &steps[above - 1], *after = &steps[above];
        const double low = log(before->speedup[way]), high = log(after->speedup[way]);
        const double part = low < high ? -low / (high - low) : 0.0;
        const double size =
            (double)before->size * pow((double)after->size / (double)before->size, part);
        const double task = before->task * pow(after->task / before->task, part);
        lesson_print(lesson, "  %-18s pay from about %s %.0f on: %s of work per task\n",
                     way_names[way], size_name, size, lesson_time_text(task));
    }
}

/* ---- For JSON, and as a chart ---------------------------------------------------------------- */

/* The steps as columns: the size, the work of a task, each way's speedup (null: not measured). */
static void keep_series(struct lesson *lesson, const char *name, const char *size_name,
                        const struct sweep_step *steps, int count, int workers)
{
    json_t *rows = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(rows,
                              json_pack("[I, f, o, o, o]", (json_int_t)steps[i].size, steps[i].task,
                                        number_or_null(steps[i].speedup[THREADS]),
                                        number_or_null(steps[i].speedup[COPIED]),
                                        number_or_null(steps[i].speedup[SHARED])));
    series_add(lesson,
               json_pack("{s:s, s:s, s:i, s:s, s:[s, s, s, s, s], s:o}", "name", name, "kind",
                         "break_even", "workers", workers, "x", size_name, "columns", size_name,
                         "task_s", "threads_speedup", "processes_copy_speedup",
                         "processes_shared_speedup", "rows", rows));
}

static void draw_steps(struct lesson *lesson, const char *name, const char *size_name,
                       const struct sweep_step *steps, int count, int workers)
{
    static const enum chart_colour colours[WAYS] = {COLOUR_THREADS, COLOUR_COPY, COLOUR_SHARED};
    char title[256];
    if (!charts_wanted(lesson))
        return;
    snprintf(title, sizeof title, "%s: break-even, %d worker%s (above the line it pays)", name,
             workers, plural(workers));
    struct chart *chart = chart_add(lesson, CHART_LINES, title, size_name, "speed-up");
    chart->x_log = true;
    chart->level = 1.0;
    for (enum way way = 0; way < WAYS; way++) {
        struct chart_series *series =
            chart_series(lesson, chart, way_names[way], CHART_MARKED, colours[way]);
        for (int i = 0; i < count; i++)
            chart_point(lesson, series,
                        (struct chart_point){.x = (double)steps[i].size,
                                             .y = steps[i].speedup[way],
                                             .low = NAN,
                                             .high = NAN});
    }
}

void lesson_sweep(struct lesson *lesson, const struct lesson_workload *workload,
                  const char *size_name, size_t *size, size_t first, size_t last)
{
    const size_t original = *size;
    const int workers = lesson->options->workers[lesson->options->worker_count - 1];
    unsigned modes = 0;
    struct sweep_step steps[MOST_STEPS];
    int count = 0;

    if (lesson_runs(lesson, LESSON_THREADS))
        modes |= 1u << LESSON_THREADS;
    if (lesson_runs(lesson, LESSON_PROCESSES))
        modes |= 1u << LESSON_PROCESSES;
    if (modes == 0) /* nothing to compare with the plain loop */
        return;
    lesson_heading(lesson, workload->title);
    lesson_print(lesson, "%10s %15s", size_name, "work per task");
    for (enum way way = 0; way < WAYS; way++)
        lesson_print(lesson, " %18s", way_names[way]);
    lesson_print(lesson, "   (speedup, %d worker%s)\n", workers, plural(workers));
    for (*size = first; *size <= last && count < MOST_STEPS; *size *= 2) {
        const struct sweep_step step =
            measure_step(lesson, workload, size_name, *size, modes, workers);
        lesson_print(lesson, "%10zu %15s", step.size, lesson_time_text(step.task));
        for (enum way way = 0; way < WAYS; way++)
            if (isnan(step.speedup[way]))
                lesson_print(lesson, " %18s", "-");
            else
                lesson_print(lesson, " %17.2fx", step.speedup[way]);
        lesson_print(lesson, "\n");
        steps[count++] = step;
    }
    *size = original;
    lesson_print(lesson, "Break-even, the start of the pool not counted:\n");
    for (enum way way = 0; way < WAYS && count > 0; way++)
        print_break_even(lesson, size_name, steps, count, way);
    keep_series(lesson, workload->name, size_name, steps, count, workers);
    draw_steps(lesson, workload->name, size_name, steps, count, workers);
}

void lesson_blas_threads(struct lesson *lesson, const struct lesson_workload *workload)
{
    const int counts[] = {1, lesson_cores(lesson) > 1 ? lesson_cores(lesson) : 2, 0};
    struct lesson_workload quiet = *workload;
    quiet.transfer = LESSON_SHARED;
    quiet.fixed_transfer = true;
    quiet.workers = counts;
    quiet.modes = 1u << LESSON_PROCESSES;
    quiet.grow = NULL;
    quiet.quiet = true;
    quiet.recorded = false;
    if (!lesson_runs(lesson, LESSON_PROCESSES))
        return;
    lesson_heading(lesson, workload->title);
    lesson_print(lesson, " workers  BLAS threads           wall   speedup  cores busy\n");
    double base = 0; /* one worker with one thread */
    for (int t = 0; counts[t] != 0; t++) {
        quiet.threads_per_worker = counts[t];
        const struct lesson_results *results = lesson_measure(lesson, &quiet);
        for (size_t i = 1; i < results->count; i++) {
            const struct lesson_figures *row = &results->figures[i];
            base = base > 0 ? base : row->wall_median;
            lesson_print(lesson, "%8d %13d %14s %8.2fx %11.2f\n", row->workers, counts[t],
                         lesson_time_text(row->wall_median), base / row->wall_median,
                         row->cores_busy);
        }
    }
}
