/* In which ways a workload is run: mode by mode, worker by worker. */
#include "common/lesson/measure/measurement.h"
#include "common/parallel/resources.h"
#include <stdlib.h>

#define WORKER_RETRIES 3 /* how often a chunk is run again whose worker died */

static bool wanted(const struct measurement *measurement, enum lesson_mode mode)
{
    const struct lesson_workload *workload = measurement->workload;
    const bool asked = workload->modes ? (workload->modes & 1u << mode) != 0
                                       : measurement->lesson->options->modes[mode];
    return asked && workload->run[mode];
}

void add_configuration(struct measurement *measurement, enum lesson_mode mode, int workers,
                       enum lesson_transfer transfer)
{
    struct lesson *lesson = measurement->lesson;
    struct configuration *list =
        reallocarray(measurement->configurations, measurement->count + 1, sizeof *list);
    if (!list)
        lesson_die(lesson, "out of memory");
    measurement->configurations = list;
    list[measurement->count++] =
        (struct configuration){.mode = mode,
                               .workers = workers,
                               .transfer = transfer,
                               .switch_interval = lesson->options->intervals[0],
                               .matches = true,
                               .samples = lesson_allocate(lesson, (size_t)lesson->options->repeats,
                                                          sizeof(struct sample))};
}

/* Is there memory for so many workers, and as much again? Where not, that is said. */
static bool affordable(const struct measurement *measurement, enum lesson_mode mode, int workers)
{
    const struct lesson_workload *workload = measurement->workload;
    const double needed = (double)workload->bytes_per_worker * workers;
    const double available = (double)resources_memory();
    if (needed <= available / 2)
        return true;
    lesson_print(measurement->lesson,
                 "%s, mode %s, %d worker%s: left out; it takes %s, and %s are available\n",
                 workload->name, lesson_mode_names[mode], workers, plural(workers),
                 lesson_bytes_text(needed), lesson_bytes_text(available));
    return false;
}

static void add_process_configurations(struct measurement *measurement, int workers)
{
    enum lesson_transfer transfer = measurement->lesson->options->transfer;
    if (transfer == LESSON_DEFAULT_TRANSFER || measurement->workload->fixed_transfer)
        transfer = measurement->workload->transfer;
    if (transfer != LESSON_SHARED)
        add_configuration(measurement, LESSON_PROCESSES, workers, LESSON_COPY);
    if (transfer == LESSON_SHARED || transfer == LESSON_BOTH)
        add_configuration(measurement, LESSON_PROCESSES, workers, LESSON_SHARED);
}

static void add_gil_configurations(struct measurement *measurement, int workers)
{
    const struct options *options = measurement->lesson->options;
    for (size_t i = 0; i < options->interval_count; i++) {
        add_configuration(measurement, LESSON_GIL, workers, LESSON_DEFAULT_TRANSFER);
        measurement->configurations[measurement->count - 1].switch_interval = options->intervals[i];
    }
}

/* Mode by mode, as the rows of the table shall stand. */
void list_configurations(struct measurement *measurement)
{
    const struct options *options = measurement->lesson->options;
    const int *workers = measurement->workload->workers;
    size_t count = 0;
    if (workers) {
        while (workers[count])
            count++;
    } else {
        workers = options->workers;
        count = options->worker_count;
    }
    for (enum lesson_mode mode = LESSON_THREADS; mode < LESSON_MODES; mode++)
        for (size_t i = 0; wanted(measurement, mode) && i < count; i++)
            if (!affordable(measurement, mode, workers[i]))
                continue;
            else if (mode == LESSON_PROCESSES)
                add_process_configurations(measurement, workers[i]);
            else if (mode == LESSON_GIL)
                add_gil_configurations(measurement, workers[i]);
            else
                add_configuration(measurement, mode, workers[i], LESSON_DEFAULT_TRANSFER);
}

struct pool *create_pool(struct lesson *lesson, const struct lesson_workload *workload, int workers)
{
    struct error error;
    struct pool_options options = {.workers = workers,
                                   .start_method = lesson->options->start_method,
                                   .retries = WORKER_RETRIES};
    if (workload) {
        options.initializer = workload->initializer;
        options.initializer_argument = workload->initializer_argument;
        options.initializer_size = workload->initializer_size;
        options.threads_per_worker = workload->threads_per_worker;
        options.background = workload->background;
    }
    struct pool *pool = pool_create(&options, &error);
    if (!pool)
        lesson_die(lesson, "a pool of %d worker%s: %s", workers, plural(workers), error.message);
    return pool;
}

struct gil *create_gil(struct lesson *lesson, double switch_interval)
{
    struct error error;
    struct gil *gil = gil_create(switch_interval, &error);
    if (!gil)
        lesson_die(lesson, "%s", error.message);
    return gil;
}

void open_configurations(struct measurement *measurement)
{
    struct lesson *lesson = measurement->lesson;
    for (size_t i = 0; i < measurement->count; i++) {
        struct configuration *configuration = &measurement->configurations[i];
        struct configuration *previous = i ? configuration - 1 : configuration;
        if (configuration->mode == LESSON_GIL)
            configuration->gil = create_gil(lesson, configuration->switch_interval);
        if (configuration->transfer == LESSON_SHARED)
            arrays_share(lesson, measurement->arrays);
        if (configuration->mode != LESSON_PROCESSES)
            continue;
        progress_show(lesson, "%s: starting %d processes", measurement->workload->name,
                      configuration->workers);
        /* copied and shared stand side by side and use the same workers */
        configuration->pool =
            previous->pool && previous->workers == configuration->workers
                ? previous->pool
                : create_pool(lesson, measurement->workload, configuration->workers);
    }
}

void close_configurations(struct measurement *measurement)
{
    for (size_t i = 0; i < measurement->count; i++) {
        struct configuration *configuration = &measurement->configurations[i];
        gil_destroy(configuration->gil);
        if (i == 0 || configuration->pool != configuration[-1].pool)
            pool_destroy(configuration->pool);
        free(configuration->samples);
    }
    free(measurement->configurations);
    arrays_unshare(measurement->arrays);
}
