/* From the samples of all runs to the figures of a row, and the results that are kept. */
#include "common/lesson/measure/measurement.h"
#include <math.h>
#include <stdlib.h>

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2.0;
}

/* "gil", or which one of several; "processes, copy" */
void name_row(const struct measurement *measurement, const struct configuration *configuration,
              char *name, size_t size)
{
    const char *mode = lesson_mode_names[configuration->mode];
    if (configuration->mode == LESSON_PROCESSES)
        snprintf(name, size, "%s, %s", mode, lesson_transfer_names[configuration->transfer]);
    else if (configuration->mode == LESSON_GIL && measurement->lesson->options->interval_count > 1)
        snprintf(name, size, "%s, %.4g ms", mode, 1e3 * configuration->switch_interval);
    else
        snprintf(name, size, "%s", mode);
}

/* What the runs that were recorded cost, against those beside them. */
static void summarise_recorded(struct lesson *lesson, const struct configuration *configuration,
                               struct lesson_figures *figures)
{
    const size_t repeats = (size_t)lesson->options->repeats;
    const struct sample *samples = configuration->samples;
    if (!configuration->timeline)
        return;
    double *walls = lesson_allocate(lesson, 2 * repeats, sizeof *walls), *costs = walls + repeats;
    for (size_t i = 0; i < repeats; i++) {
        walls[i] = samples[i].recorded;
        costs[i] = samples[i].recorded / fmax(samples[i].wall, 1e-9) - 1.0;
    }
    figures->recorded_wall = median(walls, repeats);
    configuration->timeline->cost = median(costs, repeats);
    figures->timeline = configuration->timeline;
    free(walls);
}

/* One member of all samples, for median. The caller frees it. */
static double *values_of(struct lesson *lesson, const struct sample *samples, size_t count,
                         size_t member)
{
    double *values = lesson_allocate(lesson, count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        memcpy(&values[i], (const char *)&samples[i] + member, sizeof values[i]);
    return values;
}

static double median_of(struct lesson *lesson, const struct sample *samples, size_t count,
                        size_t member)
{
    double *values = values_of(lesson, samples, count, member);
    const double middle = median(values, count);
    free(values);
    return middle;
}

/* The wall times; and the run with the (lower) median of them. */
static const struct sample *summarise_walls(struct lesson *lesson, const struct sample *samples,
                                            size_t repeats, struct lesson_figures *figures)
{
    double *walls = values_of(lesson, samples, repeats, offsetof(struct sample, wall));
    const struct sample *middle = samples;
    figures->wall_median = median(walls, repeats);
    figures->wall_min = walls[0];
    figures->wall_max = walls[repeats - 1];
    while (middle->wall != walls[(repeats - 1) / 2])
        middle++;
    free(walls);
    return middle;
}

struct lesson_figures summarise(const struct measurement *measurement,
                                const struct configuration *configuration)
{
    struct lesson *lesson = measurement->lesson;
    const size_t repeats = (size_t)lesson->options->repeats;
    const struct sample *samples = configuration->samples;
    struct lesson_figures figures = {
        .mode = configuration->mode,
        .workers = configuration->workers,
        .threads = configuration->threads,
        .transfer = configuration->transfer,
        .repeats = (int)repeats,
        .cpu_median = median_of(lesson, samples, repeats, offsetof(struct sample, cpu)),
        .roof = median_of(lesson, samples, repeats, offsetof(struct sample, roof)),
        .device = median_of(lesson, samples, repeats, offsetof(struct sample, device)),
        .device_idle = median_of(lesson, samples, repeats, offsetof(struct sample, device_idle)),
        .pool_in_all = configuration->pool_in_all,
        .matches = configuration->matches,
        .tasks = measurement->workload->tasks ? *measurement->workload->tasks : 1};
    const struct sample *middle = summarise_walls(lesson, samples, repeats, &figures);
    figures.cores_busy = figures.wall_median > 0.0 ? figures.cpu_median / figures.wall_median : 0.0;
    figures.phases = middle->phases;
    figures.pool = middle->pool;
    figures.gil = middle->gil;
    if (!measurement->workload->tasks && figures.pool.tasks > 0)
        figures.tasks = figures.pool.tasks;
    if (configuration->mode == LESSON_GIL)
        figures.switch_interval = configuration->switch_interval;
    name_row(measurement, configuration, figures.name, sizeof figures.name);
    summarise_recorded(lesson, configuration, &figures);
    if (configuration->pool)
        figures.startup = pool_statistics(configuration->pool).startup;
    return figures;
}

/* base: the wall time of the sequential runs beside the row's. */
void set_speedup(struct lesson_figures *figures, double base)
{
    figures->speedup = figures->wall_median > 0.0 ? base / figures->wall_median : 0.0;
    figures->efficiency = figures->speedup / at_work(figures);
}

const struct lesson_results *keep_results(struct measurement *measurement)
{
    struct lesson *lesson = measurement->lesson;
    struct measured *measured = lesson_allocate(lesson, 1, sizeof *measured);
    measured->figures = lesson_allocate(lesson, measurement->count, sizeof *measured->figures);
    measured->name = strdup(measurement->workload->name);
    measured->title = measurement->workload->title ? strdup(measurement->workload->title) : NULL;
    if (!measured->name || (measurement->workload->title && !measured->title))
        lesson_die(lesson, "out of memory");
    measured->quiet = true; /* until it is shown */
    measured->results =
        (struct lesson_results){.count = measurement->count, .figures = measured->figures};
    for (size_t i = 0; i < measurement->count; i++) {
        struct lesson_figures *figures = &measured->figures[i];
        *figures = summarise(measurement, &measurement->configurations[i]);
        const double beside = measurement->configurations[i].base;
        set_speedup(figures, beside > 0.0 ? beside : measured->figures[0].wall_median);
    }
    for (enum lesson_mode mode = 0; mode < LESSON_MODES; mode++)
        measured->run[mode] = measurement->workload->run[mode];
    *lesson->last_measured = measured;
    lesson->last_measured = &measured->next;
    return &measured->results;
}

struct measured *measured_of(struct lesson *lesson, const struct lesson_results *results)
{
    struct measured *measured = lesson->measured;
    while (measured && &measured->results != results)
        measured = measured->next;
    return measured;
}

const struct lesson_figures *lesson_find(const struct lesson_results *results,
                                         enum lesson_mode mode, int workers,
                                         enum lesson_transfer transfer)
{
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode == mode && (workers == 0 || figures->workers == workers) &&
            (transfer == LESSON_DEFAULT_TRANSFER || figures->transfer == transfer))
            return figures;
    }
    return NULL;
}

/* Each thread took it once to begin, and again after each task. */
bool gives_lock_back(const struct lesson_figures *figures)
{
    return figures->gil.acquired - figures->gil.forced >= figures->tasks + (size_t)at_work(figures);
}

bool is_first_of_name(const struct lesson_results *results, size_t i)
{
    for (size_t before = 1; before < i; before++)
        if (strcmp(results->figures[before].name, results->figures[i].name) == 0)
            return false;
    return true;
}
