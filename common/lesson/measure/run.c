/* One run of a workload in one way, by the clock, and what is measured beside it. */
#include "common/lesson/measure/measurement.h"
#include <math.h>

static struct lesson_run run_arguments(const struct measurement *measurement,
                                       const struct configuration *configuration)
{
    return (struct lesson_run){.work = measurement->workload->work,
                               .mode = configuration->mode,
                               .workers = configuration->workers,
                               .transfer = configuration->transfer,
                               .pool = configuration->pool,
                               .gil = configuration->gil,
                               .roof = measurement->roof,
                               .watched =
                                   measurement->recorded ? &measurement->lesson->watch : NULL,
                               .chunksize = measurement->lesson->options->chunksize};
}

static void check_run(struct lesson *lesson, const char *name, enum lesson_mode mode, int workers,
                      const struct lesson_run *run)
{
    if (run->error.code != ERROR_NONE)
        lesson_die(lesson, "%s, mode %s, %d worker%s: %s", name, lesson_mode_names[mode], workers,
                   plural(workers), run->error.message);
}

/* Is it a mode in which OpenMP has a team of threads? */
static bool has_team(enum lesson_mode mode)
{
    return mode == LESSON_THREADS || mode == LESSON_GIL;
}

/* Adds the counts of a run, from the pool's before and after it, to a sum; and the last death. */
static void add_counts(struct pool_statistics *sum, const struct pool_statistics *before,
                       const struct pool_statistics *after)
{
    sum->maps += after->maps - before->maps;
    sum->tasks += after->tasks - before->tasks;
    sum->chunks += after->chunks - before->chunks;
    sum->bytes_copied += after->bytes_copied - before->bytes_copied;
    sum->wakeups += after->wakeups - before->wakeups;
    sum->restarts += after->restarts - before->restarts;
    sum->retired += after->retired - before->retired;
    sum->chunks_retried += after->chunks_retried - before->chunks_retried;
    sum->chunks_lost += after->chunks_lost - before->chunks_lost;
    sum->timeouts += after->timeouts - before->timeouts;
    sum->cancelled += after->cancelled - before->cancelled;
    sum->all.send += after->all.send - before->all.send;
    sum->all.compute += after->all.compute - before->all.compute;
    sum->all.receive += after->all.receive - before->all.receive;
    sum->all.wait += after->all.wait - before->all.wait;
    if (strcmp(before->last_death, after->last_death) != 0)
        memcpy(sum->last_death, after->last_death, sizeof sum->last_death);
}

/* A worker that died is no secret, although the pool has made up for it. */
static void report_deaths(struct lesson *lesson, const struct pool_statistics *of_run)
{
    const unsigned long long chunks = of_run->chunks_retried;
    if (of_run->restarts == 0)
        return;
    progress_clear(lesson);
    fprintf(stderr, "%s: %s%s; %llu chunk%s ran again on a new worker\n", lesson->chapter->name,
            of_run->last_death, of_run->restarts > 1 ? ", as were others before" : "", chunks,
            plural(chunks));
}

/* What the pool and the lock have counted. */
struct counts {
    struct pool_statistics pool;
    struct gil_statistics gil;
};

static struct counts counts_of(const struct lesson_run *run)
{
    struct counts counts = {0};
    if (run->pool)
        counts.pool = pool_statistics(run->pool);
    if (run->gil)
        counts.gil = gil_statistics(run->gil);
    return counts;
}

/* The run itself, between two looks at the clocks. */
static void time_run(struct measurement *measurement, struct configuration *configuration,
                     struct lesson_run *run, struct sample *sample)
{
    struct lesson *lesson = measurement->lesson;
    const bool team = has_team(configuration->mode);
    const int threads = run->threads;
    settle(run->pool);
    if (team)
        bind_team(lesson, threads, true);
    if (measurement->recorded)
        record_begin(lesson, threads);

    const double others_start = others_cpu(run->pool);
    const double own_start = own_cpu(), wall_start = wall_clock();
    measurement->workload->run[configuration->mode](run);
    const double wall_end = wall_clock(), own_end = own_cpu();
    if (measurement->recorded)
        record_end(lesson);
    live_end(lesson, run);
    if (!settle(run->pool))
        lesson->restless = true;
    const double others = others_cpu(run->pool) - others_start;
    if (team)
        bind_team(lesson, threads, false);

    const double cpu = fmax(0.0, own_end - own_start - clock_cost()) + fmax(0.0, others);
    sample->wall = wall_end - wall_start;
    /* Idle threads spin on for some microseconds after the run; more than all cores cannot have
     * been busy in it. */
    sample->cpu = fmin(cpu, sample->wall * lesson->machine->cores);
    if (measurement->recorded) {
        record_free(configuration->timeline);
        configuration->timeline =
            record_take(lesson, configuration->mode, threads, wall_start, sample->wall);
    }
}

void run_once(struct measurement *measurement, struct configuration *configuration,
              struct sample *sample)
{
    struct lesson *lesson = measurement->lesson;
    const bool shared = configuration->transfer == LESSON_SHARED;
    struct lesson_run run = run_arguments(measurement, configuration);
    struct pool_statistics of_run = {0};
    *sample = (struct sample){0};
    arrays_use(measurement->arrays, shared);
    arrays_poison(measurement->arrays, shared);
    if (configuration->threads == 0)
        configuration->threads = has_team(configuration->mode) ? team_of(run.workers) : run.workers;
    run.threads = configuration->threads;
    const struct counts before = counts_of(&run);
    const double expected = configuration->last_wall > 0.0
                                ? configuration->last_wall
                                : measurement->configurations[0].last_wall;
    if (!measurement->recorded)
        live_begin(lesson, measurement->workload, &run, expected > 0.0 ? expected : -1.0);

    time_run(measurement, configuration, &run, sample);
    configuration->threads = run.threads;
    configuration->last_wall = sample->wall;

    const struct counts after = counts_of(&run);
    add_counts(&of_run, &before.pool, &after.pool);
    add_counts(&configuration->pool_in_all, &before.pool, &after.pool);
    report_deaths(lesson, &of_run);
    check_run(lesson, measurement->workload->name, configuration->mode, configuration->workers,
              &run);
    sample->device = run.device;
    sample->device_idle = fmax(0.0, sample->wall - run.device);
    sample->phases = of_run.all;
    sample->pool = of_run;
    sample->gil = (struct gil_statistics){.acquired = after.gil.acquired - before.gil.acquired,
                                          .switches = after.gil.switches - before.gil.switches,
                                          .forced = after.gil.forced - before.gil.forced};
}

/* Once for each row: its other runs likely differ in the same way. */
static void report_difference(const struct measurement *measurement,
                              struct configuration *configuration,
                              const struct difference *difference)
{
    char row[40], text[256];
    if (!configuration->matches)
        return;
    configuration->matches = false;
    name_row(measurement, configuration, row, sizeof row);
    difference_text(text, sizeof text, difference);
    lesson_fail(measurement->lesson, "%s, mode %s, %d worker%s: %s", measurement->workload->name,
                row, configuration->workers, plural(configuration->workers), text);
}

void run_and_compare(struct measurement *measurement, struct configuration *configuration,
                     struct sample *sample)
{
    struct difference difference;
    run_once(measurement, configuration, sample);
    if (!arrays_match(measurement->arrays, configuration->transfer == LESSON_SHARED,
                      measurement->workload->tolerance, &difference))
        report_difference(measurement, configuration, &difference);
    arrays_use(measurement->arrays, false);
}

/* The seconds in which the configuration does the least that can be done with the same memory. */
static double run_roof(struct measurement *measurement, struct configuration *configuration)
{
    struct sample sample;
    measurement->roof = true;
    run_once(measurement, configuration, &sample);
    measurement->roof = false;
    arrays_use(measurement->arrays, false);
    return configuration->mode == LESSON_PROCESSES ? sample.phases.compute : sample.wall;
}

/* The seconds that the configuration takes while all that it does is recorded. */
static double run_recorded(struct measurement *measurement, struct configuration *configuration)
{
    struct sample sample;
    measurement->recorded = true;
    run_and_compare(measurement, configuration, &sample);
    measurement->recorded = false;
    return sample.wall;
}

static void run_twins(struct measurement *measurement, struct configuration *configuration,
                      struct sample *sample)
{
    if (measurement->workload->roof)
        sample->roof = run_roof(measurement, configuration);
    if (measurement->records)
        sample->recorded = run_recorded(measurement, configuration);
}

/* What is measured beside a run comes before it or after it in turn: what comes second may find its
 * data in a cache. */
void run_with_twins(struct measurement *measurement, struct configuration *configuration,
                    int repeat)
{
    struct sample *sample = &configuration->samples[repeat], twins = {0};
    if (repeat % 2 == 0)
        run_twins(measurement, configuration, &twins);
    run_and_compare(measurement, configuration, sample);
    if (repeat % 2 != 0)
        run_twins(measurement, configuration, &twins);
    sample->roof = twins.roof;
    sample->recorded = twins.recorded;
}

/* ---- A run that is not measured -------------------------------------------------------------- */

struct error lesson_try(struct lesson *lesson, enum lesson_mode mode, int workers,
                        lesson_function *function, void *work)
{
    struct lesson_run run = {
        .work = work, .mode = mode, .workers = workers, .chunksize = lesson->options->chunksize};
    struct pool_statistics of_run = {0};
    if (mode == LESSON_PROCESSES)
        run.pool = create_pool(lesson, NULL, workers);
    if (mode == LESSON_GIL)
        run.gil = create_gil(lesson, lesson->options->intervals[0]);
    const bool team = has_team(mode);
    const int threads = run.threads = team ? team_of(workers) : workers;
    if (team)
        bind_team(lesson, threads, true);
    function(&run);
    if (team)
        bind_team(lesson, threads, false);
    if (run.pool) {
        const struct pool_statistics after = pool_statistics(run.pool);
        add_counts(&of_run, &(struct pool_statistics){0}, &after);
        report_deaths(lesson, &of_run);
    }
    pool_destroy(run.pool);
    gil_destroy(run.gil);
    return run.error;
}

void lesson_once(struct lesson *lesson, enum lesson_mode mode, int workers,
                 lesson_function *function, void *work)
{
    const struct lesson_run run = {.error = lesson_try(lesson, mode, workers, function, work)};
    check_run(lesson, "a single run", mode, workers, &run);
}
