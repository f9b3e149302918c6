#include "common/lesson/internal.h"
#include "common/parallel/resources.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define MOST_GROWN     ((double)(1 << 29)) /* bytes that --seconds may let the arrays grow to */
#define WORKER_RETRIES 3                   /* how often a chunk is run again whose worker died */

/* What one timed run showed. */
struct sample {
    double wall, cpu, device, roof;
    double recorded; /* wall of the run beside it that was recorded */
    struct pool_phases phases;
    struct pool_statistics pool; /* what the run added */
    struct gil_statistics gil;
};

/* One way to run the workload: one row of the table. */
struct configuration {
    enum lesson_mode mode;
    int workers;
    enum lesson_transfer transfer; /* LESSON_SHARED: the arrays in shared memory */
    double switch_interval;        /* mode gil */
    struct pool *pool;             /* of mode processes, also of others with as many workers */
    struct gil *gil;
    struct sample *samples;
    struct pool_statistics pool_in_all; /* of all runs */
    struct lesson_timeline *timeline;   /* of the last recorded run, or NULL */
    bool matches;
    double last_wall; /* of its last run; 0: there was none */
    double base;      /* with --step: the wall of the sequential runs beside its own */
};

struct measurement {
    struct lesson *lesson;
    const struct lesson_workload *workload;
    struct array_set *arrays;
    struct configuration *configurations; /* [0] is sequential */
    size_t count;
    bool records;        /* has each run one beside it that is recorded? */
    bool roof, recorded; /* is the present run one for the roof, or a recorded one? */
};

/* ---- Clocks ---------------------------------------------------------------------------------- */

static double read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double wall_clock(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

/* CPU time of this thread, exact at any moment. */
static double own_cpu(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* CPU time of the programs that this process has started and waited for. */
static double children_cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* CPU time of all others: the other threads of this process, the workers, and programs that tasks
 * have run. The kernel adds up the time of a thread on another core only when it stops or the timer
 * ticks, milliseconds later, so this is right only while they rest. */
static double others_cpu(struct pool *pool)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID) - own_cpu() + children_cpu() +
           (pool ? pool_cpu_seconds(pool) : 0.0);
}

/* The CPU time that reading the clocks takes itself, which would be much of a very short run's. */
static double clock_cost(void)
{
    static double least = INFINITY;
    static int readings;
    for (; readings < 20; readings++) {
        const double start = own_cpu();
        wall_clock();
        wall_clock();
        least = fmin(least, own_cpu() - start);
    }
    return least;
}

/* An idle thread of OpenMP or BLAS spins for a while before it sleeps, which would be counted as
 * work of the next run. Wait until the others have twice been found to use no CPU time, 50 ms at
 * most. Have they? With OMP_WAIT_POLICY=active they never do. */
static bool settle(struct pool *pool)
{
    const struct timespec millisecond = {.tv_nsec = 1000000};
    double last = others_cpu(pool);
    int still = 0;
    for (int i = 0; i < 50 && still < 2; i++) {
        nanosleep(&millisecond, NULL);
        const double now = others_cpu(pool);
        still = now - last < 20e-6 ? still + 1 : 0;
        last = now;
    }
    return still >= 2;
}

/* Where there is a core for each thread, each is on its own while it is measured: the main thread
 * where it is, the others of its team on those beside it. A short run would else show where the
 * kernel happened to wake them. The main thread stays free, for what it starts inherits its
 * affinity. OMP_PROC_BIND goes before. */
static void bind_team(const struct lesson *lesson, int workers, bool bind)
{
    if (workers == 1 || workers > lesson->machine.cores ||
        omp_get_proc_bind() != omp_proc_bind_false)
        return;
    const int here = resources_here();
#pragma omp parallel num_threads(workers)
    if (omp_get_thread_num() > 0) {
        if (bind)
            resources_bind(here + omp_get_thread_num());
        else
            resources_unbind();
    }
    if (bind) /* the end of that region may have woken the main thread beside another */
        resources_place(here);
}

/* ---- One run --------------------------------------------------------------------------------- */

static struct lesson_run run_arguments(const struct measurement *measurement,
                                       const struct configuration *configuration)
{
    return (struct lesson_run){.work = measurement->workload->work,
                               .mode = configuration->mode,
                               .workers = configuration->workers,
                               .pool = configuration->pool,
                               .gil = configuration->gil,
                               .roof = measurement->roof,
                               .watched =
                                   measurement->recorded ? &measurement->lesson->watch : NULL,
                               .chunksize = measurement->lesson->options.chunksize};
}

static void check_run(struct lesson *lesson, const char *name, enum lesson_mode mode, int workers,
                      const struct lesson_run *run)
{
    if (run->error.code != ERROR_NONE)
        lesson_die(lesson, "%s, mode %s, %d worker%s: %s", name, lesson_mode_names[mode], workers,
                   workers == 1 ? "" : "s", run->error.message);
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
            chunks == 1 ? "" : "s");
}

/* Runs a configuration once and checks what it computed. */
static void run_once(struct measurement *measurement, struct configuration *configuration,
                     struct sample *sample)
{
    struct lesson *lesson = measurement->lesson;
    const bool shared = configuration->transfer == LESSON_SHARED;
    struct lesson_run run = run_arguments(measurement, configuration);
    struct pool_statistics before = {0}, after = {0}, of_run = {0};
    struct gil_statistics gil_before = {0}, gil_after = {0};

    arrays_use(measurement->arrays, shared);
    arrays_poison(measurement->arrays, shared);
    if (run.pool)
        before = pool_statistics(run.pool);
    if (run.gil)
        gil_before = gil_statistics(run.gil);
    const double expected = configuration->last_wall > 0.0
                                ? configuration->last_wall
                                : measurement->configurations[0].last_wall;
    if (!measurement->recorded)
        live_begin(lesson, measurement->workload, &run, expected > 0.0 ? expected : -1.0);
    const bool team = configuration->mode == LESSON_THREADS || configuration->mode == LESSON_GIL;
    settle(run.pool);
    if (team)
        bind_team(lesson, run.workers, true);
    if (measurement->recorded)
        record_begin(lesson, run.workers);

    const double others_start = others_cpu(run.pool);
    const double own_start = own_cpu(), wall_start = wall_clock();
    measurement->workload->run[configuration->mode](&run);
    const double wall_end = wall_clock(), own_end = own_cpu();
    if (measurement->recorded)
        record_end(lesson);
    live_end(lesson, &run);
    if (!settle(run.pool))
        lesson->restless = true;
    const double others = others_cpu(run.pool) - others_start;
    if (team)
        bind_team(lesson, run.workers, false);
    const double wall = wall_end - wall_start;
    configuration->last_wall = wall;
    if (measurement->recorded) {
        record_free(configuration->timeline);
        configuration->timeline =
            record_take(lesson, configuration->mode, run.workers, wall_start, wall);
    }
    const double cpu = fmax(0.0, own_end - own_start - clock_cost()) + fmax(0.0, others);

    if (run.pool)
        after = pool_statistics(run.pool);
    if (run.gil)
        gil_after = gil_statistics(run.gil);
    add_counts(&of_run, &before, &after);
    add_counts(&configuration->pool_in_all, &before, &after);
    report_deaths(lesson, &of_run);
    check_run(lesson, measurement->workload->name, configuration->mode, configuration->workers,
              &run);
    /* Idle threads spin on for some microseconds after the run; more than all cores cannot have
     * been busy in it. */
    *sample = (struct sample){.wall = wall,
                              .cpu = fmin(cpu, wall * lesson->machine.cores),
                              .device = run.device,
                              .phases = of_run.all,
                              .pool = of_run,
                              .gil = {.acquired = gil_after.acquired - gil_before.acquired,
                                      .switches = gil_after.switches - gil_before.switches,
                                      .forced = gil_after.forced - gil_before.forced}};
}

static void run_and_compare(struct measurement *measurement, struct configuration *configuration,
                            struct sample *sample)
{
    run_once(measurement, configuration, sample);
    configuration->matches &=
        arrays_match(measurement->arrays, configuration->transfer == LESSON_SHARED,
                     measurement->workload->tolerance);
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
static void run_with_twins(struct measurement *measurement, struct configuration *configuration,
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

/* ---- --seconds ------------------------------------------------------------------------------- */

/* By what to multiply the size, for so many times the work. (Memory grows no faster than the work
 * that is done on it.) */
static double as_size(const struct measurement *measurement, double factor)
{
    const int power = measurement->workload->grow_power;
    return power > 1 ? pow(factor, 1.0 / power) : factor;
}

/* What the size may become: within the option's range, and such that memory suffices and the
 * inputs do not take longer to make than to work on. */
static size_t limited_size(const struct measurement *measurement, double wanted)
{
    const struct array_set *arrays = measurement->arrays;
    const size_t *grow = measurement->workload->grow;
    const struct lesson_option *option = options_find(measurement->lesson, grow);
    const double most = fmin(0.25 * arrays->available, MOST_GROWN);
    const double fitting =
        arrays->needed > 0.0
            ? (double)*grow * as_size(measurement, fmax(1.0, most / arrays->needed))
            : 1e15;
    double size = fmin(fmin(wanted, 1e15), fitting);
    if (option && option->maximum > 0)
        size = fmin(size, (double)option->maximum);
    if (measurement->workload->grow_most > 0)
        size = fmin(size, fmax((double)*grow, (double)measurement->workload->grow_most));
    return (size_t)fmax(round(size), option && option->minimum > 1 ? (double)option->minimum : 1.0);
}

/* Changes the size that workload->grow names until a sequential run takes about --seconds. */
static void grow_workload(struct measurement *measurement)
{
    struct lesson *lesson = measurement->lesson;
    const struct lesson_workload *workload = measurement->workload;
    const double seconds = lesson->options.seconds;
    if (seconds <= 0.0 || !workload->grow || *workload->grow == 0)
        return;
    lesson->grown = true;
    for (int step = 0; step < 6; step++) {
        struct sample first, second;
        progress_show(lesson, "%s: looking for a size that takes %s", workload->name,
                      lesson_time_text(seconds));
        run_once(measurement, &measurement->configurations[0], &first);
        double wall = first.wall;
        if (wall < seconds / 4.0) { /* a short run suffers from first touches: once more */
            run_once(measurement, &measurement->configurations[0], &second);
            wall = fmin(wall, second.wall);
        }
        if (fabs(wall - seconds) <= 0.1 * seconds)
            break;
        const double factor = fmin(fmax(seconds / fmax(wall, 1e-9), 0.01), 100.0);
        const size_t size =
            limited_size(measurement, (double)*workload->grow * as_size(measurement, factor));
        if (size == *workload->grow)
            break;
        *workload->grow = size;
        measurement->arrays = arrays_prepare(lesson, workload);
    }
}

/* ---- The configurations ---------------------------------------------------------------------- */

static bool wanted(const struct measurement *measurement, enum lesson_mode mode)
{
    const struct lesson_workload *workload = measurement->workload;
    const bool asked = workload->modes ? (workload->modes & 1u << mode) != 0
                                       : measurement->lesson->options.modes[mode];
    return asked && workload->run[mode];
}

static void add_configuration(struct measurement *measurement, enum lesson_mode mode, int workers,
                              enum lesson_transfer transfer)
{
    struct lesson *lesson = measurement->lesson;
    struct configuration *list =
        reallocarray(measurement->configurations, measurement->count + 1, sizeof *list);
    if (!list)
        lesson_die(lesson, "out of memory");
    measurement->configurations = list;
    list[measurement->count++] = (struct configuration){
        .mode = mode,
        .workers = workers,
        .transfer = transfer,
        .switch_interval = lesson->options.intervals[0],
        .matches = true,
        .samples = lesson_allocate(lesson, (size_t)lesson->options.repeats, sizeof(struct sample))};
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
                 workload->name, lesson_mode_names[mode], workers, workers == 1 ? "" : "s",
                 lesson_bytes_text(needed), lesson_bytes_text(available));
    return false;
}

static void add_process_configurations(struct measurement *measurement, int workers)
{
    enum lesson_transfer transfer = measurement->lesson->options.transfer;
    if (transfer == LESSON_DEFAULT_TRANSFER || measurement->workload->fixed_transfer)
        transfer = measurement->workload->transfer;
    if (transfer != LESSON_SHARED)
        add_configuration(measurement, LESSON_PROCESSES, workers, LESSON_COPY);
    if (transfer == LESSON_SHARED || transfer == LESSON_BOTH)
        add_configuration(measurement, LESSON_PROCESSES, workers, LESSON_SHARED);
}

static void add_gil_configurations(struct measurement *measurement, int workers)
{
    const struct options *options = &measurement->lesson->options;
    for (size_t i = 0; i < options->interval_count; i++) {
        add_configuration(measurement, LESSON_GIL, workers, LESSON_DEFAULT_TRANSFER);
        measurement->configurations[measurement->count - 1].switch_interval = options->intervals[i];
    }
}

/* Mode by mode, as the rows of the table shall stand. */
static void list_configurations(struct measurement *measurement)
{
    const struct options *options = &measurement->lesson->options;
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

static struct pool *create_pool(struct lesson *lesson, const struct lesson_workload *workload,
                                int workers)
{
    struct error error;
    struct pool_options options = {.workers = workers,
                                   .start_method = lesson->options.start_method,
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
        lesson_die(lesson, "a pool of %d worker%s: %s", workers, workers == 1 ? "" : "s",
                   error.message);
    return pool;
}

static struct gil *create_gil(struct lesson *lesson, double switch_interval)
{
    struct error error;
    struct gil *gil = gil_create(switch_interval, &error);
    if (!gil)
        lesson_die(lesson, "%s", error.message);
    return gil;
}

static void open_configurations(struct measurement *measurement)
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

static void close_configurations(struct measurement *measurement)
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

/* ---- Figures --------------------------------------------------------------------------------- */

/* "gil", or which one of several; "processes, copy" */
static void name_row(const struct measurement *measurement,
                     const struct configuration *configuration, char *name, size_t size)
{
    const char *mode = lesson_mode_names[configuration->mode];
    if (configuration->mode == LESSON_PROCESSES)
        snprintf(name, size, "%s, %s", mode, lesson_transfer_names[configuration->transfer]);
    else if (configuration->mode == LESSON_GIL && measurement->lesson->options.interval_count > 1)
        snprintf(name, size, "%s, %.4g ms", mode, 1e3 * configuration->switch_interval);
    else
        snprintf(name, size, "%s", mode);
}

/* What the runs that were recorded cost, against those beside them. */
static void summarise_recorded(struct lesson *lesson, const struct configuration *configuration,
                               struct lesson_figures *figures)
{
    const size_t repeats = (size_t)lesson->options.repeats;
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

static struct lesson_figures summarise(const struct measurement *measurement,
                                       const struct configuration *configuration)
{
    struct lesson *lesson = measurement->lesson;
    const size_t repeats = (size_t)lesson->options.repeats;
    const struct sample *samples = configuration->samples;
    double *walls = lesson_allocate(lesson, repeats, sizeof *walls);
    double *cpus = lesson_allocate(lesson, repeats, sizeof *cpus);
    double *roofs = lesson_allocate(lesson, repeats, sizeof *roofs);
    double *devices = lesson_allocate(lesson, repeats, sizeof *devices);
    double *idle = lesson_allocate(lesson, repeats, sizeof *idle);
    for (size_t i = 0; i < repeats; i++) {
        roofs[i] = samples[i].roof;
        walls[i] = samples[i].wall;
        cpus[i] = samples[i].cpu;
        devices[i] = samples[i].device;
        idle[i] = fmax(0.0, samples[i].wall - samples[i].device);
    }
    struct lesson_figures figures = {
        .mode = configuration->mode,
        .workers = configuration->workers,
        .transfer = configuration->transfer,
        .repeats = (int)repeats,
        .wall_median = median(walls, repeats),
        .cpu_median = median(cpus, repeats),
        .roof = median(roofs, repeats),
        .device = median(devices, repeats),
        .device_idle = median(idle, repeats),
        .matches = configuration->matches,
        .tasks = measurement->workload->tasks ? *measurement->workload->tasks : 1};
    figures.wall_min = walls[0];
    figures.wall_max = walls[repeats - 1];
    figures.cores_busy = figures.wall_median > 0.0 ? figures.cpu_median / figures.wall_median : 0.0;
    const struct sample *middle = samples; /* the run with the (lower) median wall time */
    while (middle->wall != walls[(repeats - 1) / 2])
        middle++;
    figures.phases = middle->phases;
    figures.pool = middle->pool;
    if (!measurement->workload->tasks && figures.pool.tasks > 0)
        figures.tasks = figures.pool.tasks;
    figures.gil = middle->gil;
    figures.pool_in_all = configuration->pool_in_all;
    if (configuration->mode == LESSON_GIL)
        figures.switch_interval = configuration->switch_interval;
    name_row(measurement, configuration, figures.name, sizeof figures.name);
    summarise_recorded(lesson, configuration, &figures);
    if (configuration->pool)
        figures.startup = pool_statistics(configuration->pool).startup;
    free(walls);
    free(cpus);
    free(roofs);
    free(devices);
    free(idle);
    return figures;
}

/* base: the wall time of the sequential runs beside the row's. */
static void set_speedup(struct lesson_figures *figures, double base)
{
    figures->speedup = figures->wall_median > 0.0 ? base / figures->wall_median : 0.0;
    figures->efficiency = figures->speedup / figures->workers;
}

static const struct lesson_results *keep_results(struct measurement *measurement)
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
        if (!figures->matches)
            lesson->failed = true;
    }
    memcpy(measured->run, measurement->workload->run, sizeof measured->run);
    *lesson->last_measured = measured;
    lesson->last_measured = &measured->next;
    return &measured->results;
}

/* ---- The measurement ------------------------------------------------------------------------- */

static void show_run(const struct measurement *measurement,
                     const struct configuration *configuration, int repeat)
{
    char run[32] = "warm-up";
    if (repeat >= 0)
        snprintf(run, sizeof run, "run %d of %d", repeat + 1, measurement->lesson->options.repeats);
    progress_show(measurement->lesson, "%s: %s, %s, %d worker%s", measurement->workload->name, run,
                  lesson_mode_names[configuration->mode], configuration->workers,
                  configuration->workers == 1 ? "" : "s");
}

/* The warm-up (repeat -1; sequential has had it) or one timed run of all configurations. */
static void run_each(struct measurement *measurement, int repeat)
{
    for (size_t i = repeat < 0 ? 1 : 0; i < measurement->count; i++) {
        struct configuration *configuration = &measurement->configurations[i];
        struct sample warm_up;
        show_run(measurement, configuration, repeat);
        if (repeat < 0)
            run_and_compare(measurement, configuration, &warm_up);
        else
            run_with_twins(measurement, configuration, repeat);
    }
}

void lesson_grow(struct lesson *lesson, const struct lesson_workload *workload)
{
    struct measurement measurement = {.lesson = lesson, .workload = workload};
    if (lesson->options.seconds <= 0.0)
        return;
    measurement.arrays = arrays_prepare(lesson, workload);
    add_configuration(&measurement, LESSON_SEQUENTIAL, 1, LESSON_DEFAULT_TRANSFER);
    grow_workload(&measurement);
    close_configurations(&measurement);
    progress_clear(lesson);
}

/* Everything before the first of the runs that are interleaved. */
static struct measurement begin_measurement(struct lesson *lesson,
                                            const struct lesson_workload *workload, bool alone)
{
    struct measurement measurement = {.lesson = lesson, .workload = workload};
    measurement.records =
        record_wanted(lesson) && (workload->recorded || (alone && !workload->quiet));
    struct sample warm_up;
    if (!workload->run[LESSON_SEQUENTIAL])
        lesson_die(lesson, "%s has no sequential version to compare with", workload->name);
    measurement.arrays = arrays_prepare(lesson, workload);
    output_prepare(lesson);
    machine_banner(lesson);
    lesson_flush(lesson);
    add_configuration(&measurement, LESSON_SEQUENTIAL, 1, LESSON_DEFAULT_TRANSFER);
    grow_workload(&measurement);
    run_once(&measurement, &measurement.configurations[0], &warm_up);
    arrays_keep_reference(lesson, measurement.arrays);

    list_configurations(&measurement);
    open_configurations(&measurement);
    return measurement;
}

static const struct lesson_results *end_measurement(struct measurement *measurement)
{
    const struct lesson_results *results = keep_results(measurement);
    close_configurations(measurement);
    arrays_restore(measurement->arrays);
    progress_clear(measurement->lesson);
    return results;
}

static void measure(struct lesson *lesson, const struct lesson_workload *workloads, size_t count,
                    bool alone, const struct lesson_results **results)
{
    struct measurement *measurements = lesson_allocate(lesson, count, sizeof *measurements);
    for (size_t i = 0; i < count; i++)
        measurements[i] = begin_measurement(lesson, &workloads[i], alone);
    /* Warm-up of all, then A B C, A B C, ...: a disturbance from outside hits all of them alike. */
    for (int repeat = -1; repeat < lesson->options.repeats; repeat++)
        for (size_t i = 0; i < count; i++)
            run_each(&measurements[i], repeat);
    for (size_t i = 0; i < count; i++)
        results[i] = end_measurement(&measurements[i]);
    free(measurements);
}

void lesson_measure_in_turns(struct lesson *lesson, const struct lesson_workload *workloads,
                             size_t count, const struct lesson_results **results)
{
    measure(lesson, workloads, count, false, results);
}

struct measured *measured_of(struct lesson *lesson, const struct lesson_results *results)
{
    struct measured *measured = lesson->measured;
    while (measured && &measured->results != results)
        measured = measured->next;
    return measured;
}

/* ---- --step: one row after the other ----------------------------------------------------------
 */

/* The row's runs in turn with sequential runs of its own, A B, A B: their ratio is as honest as in
 * one measurement of all. */
static void measure_row(struct measurement *measurement, struct configuration *configuration,
                        struct lesson_figures *row, struct lesson_figures *beside)
{
    struct lesson *lesson = measurement->lesson;
    struct configuration *sequential = &measurement->configurations[0];
    struct sample *own = sequential->samples, warm_up;
    sequential->samples =
        lesson_allocate(lesson, (size_t)lesson->options.repeats, sizeof *sequential->samples);
    show_run(measurement, configuration, -1);
    run_and_compare(measurement, configuration, &warm_up);
    for (int repeat = 0; repeat < lesson->options.repeats; repeat++) {
        show_run(measurement, sequential, repeat);
        run_with_twins(measurement, sequential, repeat);
        show_run(measurement, configuration, repeat);
        run_with_twins(measurement, configuration, repeat);
    }
    *beside = summarise(measurement, sequential);
    *row = summarise(measurement, configuration);
    free(sequential->samples);
    sequential->samples = own;
    configuration->base = beside->wall_median;
    set_speedup(row, configuration->base);
}

static const struct lesson_results *measure_in_steps(struct lesson *lesson,
                                                     const struct lesson_workload *workload)
{
    struct measurement measurement = begin_measurement(lesson, workload, true);
    struct lesson_figures row, beside;
    for (int repeat = 0; repeat < lesson->options.repeats; repeat++) {
        show_run(&measurement, &measurement.configurations[0], repeat);
        run_with_twins(&measurement, &measurement.configurations[0], repeat);
    }
    row = summarise(&measurement, &measurement.configurations[0]);
    step_sequential(lesson, workload, &row);
    for (size_t i = 1; i < measurement.count; i++) {
        struct configuration *configuration = &measurement.configurations[i];
        row =
            (struct lesson_figures){.mode = configuration->mode, .workers = configuration->workers};
        name_row(&measurement, configuration, row.name, sizeof row.name);
        step_ask(lesson, workload, &row);
        measure_row(&measurement, configuration, &row, &beside);
        step_compare(lesson, workload, &row, &beside);
    }
    if (measurement.count > 1)
        step_pause(lesson);
    return end_measurement(&measurement);
}

const struct lesson_results *lesson_measure(struct lesson *lesson,
                                            const struct lesson_workload *workload)
{
    const struct lesson_results *results;
    if (lesson->options.step && (!workload->quiet || workload->step))
        results = measure_in_steps(lesson, workload);
    else
        measure(lesson, workload, 1, true, &results);
    if (!workload->quiet) {
        measured_of(lesson, results)->quiet = false;
        report_table(lesson, workload, results);
        why_print(lesson, results);
        timeline_draw(lesson, workload->name, results);
        lesson_flush(lesson);
    }
    return results;
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

struct error lesson_try(struct lesson *lesson, enum lesson_mode mode, int workers,
                        lesson_function *function, void *work)
{
    struct lesson_run run = {
        .work = work, .mode = mode, .workers = workers, .chunksize = lesson->options.chunksize};
    struct pool_statistics of_run = {0};
    if (mode == LESSON_PROCESSES)
        run.pool = create_pool(lesson, NULL, workers);
    if (mode == LESSON_GIL)
        run.gil = create_gil(lesson, lesson->options.intervals[0]);
    if (mode == LESSON_THREADS || mode == LESSON_GIL)
        bind_team(lesson, workers, true);
    function(&run);
    if (mode == LESSON_THREADS || mode == LESSON_GIL)
        bind_team(lesson, workers, false);
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
