/* measurement.h - what the files of the measurement share; private to this room, but for
 * measure_steps.c of --step.
 *
 * A measurement takes one workload and runs it in several ways, its configurations, of which the
 * first is sequential. From top to bottom, each file uses those below it:
 *
 *   measure.c         all configurations in turns
 *   measurement.c     what a measurement begins and ends with
 *   grow.c            --seconds: the size of the work
 *   figures.c         samples to figures, and the results that are kept
 *   run.c             one run: samples; with record.c, recorded, and live.c, watched as it goes on
 *   configurations.c  the ways, their pools and locks
 *   difference.c      results beside the sequential ones
 *   arrays.c          inputs and results; scratch.c, a thread's working memory
 *   team.c, device.c  the threads that really ran; a device that computes beside the cores
 *   clock.c           the clocks, the quiet they need, threads on their cores
 */
#ifndef LESSON_MEASUREMENT_H
#define LESSON_MEASUREMENT_H

#include "common/lesson/measure/measure.h"

/* What one timed run showed. */
struct sample {
    double wall, cpu, roof;
    double device, device_idle;
    double recorded; /* wall of the run beside it that was recorded */
    struct pool_phases phases;
    struct pool_statistics pool; /* what the run added */
    struct gil_statistics gil;
};

/* One way to run the workload: one row of the table. */
struct configuration {
    enum lesson_mode mode;
    int workers;
    int threads;                   /* that really run; 0: not looked at yet */
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

/* ---- clock.c ------------------------------------------------- */

/* CLOCK_MONOTONIC, in seconds. */
double wall_clock(void);

/* CPU time of this thread, exact at any moment. */
double own_cpu(void);

/* CPU time of all others: the other threads of this process, the workers, and programs that tasks
 * have run. Right only while they rest: see settle. */
double others_cpu(struct pool *pool);

/* The CPU time that reading the clocks takes itself, which would be much of a very short run's. */
double clock_cost(void);

/* Waits until the others have twice been found to use no CPU time, 50 ms at most. Have they? */
bool settle(struct pool *pool);

/* How many threads a region with num_threads(workers) really has. */
int team_of(int workers);

/* Where there is a core for each thread, puts each of a team on its own while it is measured; or
 * lets them go. OMP_PROC_BIND goes before. */
void bind_team(const struct lesson *lesson, int workers, bool bind);

/* ---- configurations.c ------------------------------------------------------------------------ */

void add_configuration(struct measurement *measurement, enum lesson_mode mode, int workers,
                       enum lesson_transfer transfer);

/* Adds those that were asked for and that there is memory for, as the rows of the table shall
 * stand; makes their pools, locks and shared arrays; frees all. */
void list_configurations(struct measurement *measurement);
void open_configurations(struct measurement *measurement);
void close_configurations(struct measurement *measurement);

/* Die if that cannot be. workload: NULL for a pool without a workload's own settings. */
struct pool *create_pool(struct lesson *lesson, const struct lesson_workload *workload,
                         int workers);
struct gil *create_gil(struct lesson *lesson, double switch_interval);

/* ---- run.c ----------------------------------------------------------------------------------- */

/* Runs a configuration once; its results are in the arrays. Dies if it failed. */
void run_once(struct measurement *measurement, struct configuration *configuration,
              struct sample *sample);

/* ... and compares what it computed with the reference. */
void run_and_compare(struct measurement *measurement, struct configuration *configuration,
                     struct sample *sample);

/* ... as the sample of this repeat, with what is to be measured beside it: the roof, a recorded
 * run. */
void run_with_twins(struct measurement *measurement, struct configuration *configuration,
                    int repeat);

/* ---- grow.c ---------------------------------------------------------------------------------- */

/* Changes the size that workload->grow names until a sequential run takes about --seconds. */
void grow_workload(struct measurement *measurement);

/* ---- figures.c ------------------------------------------------------------------------------- */

/* "gil", or which one of several; "processes, copy" */
void name_row(const struct measurement *measurement, const struct configuration *configuration,
              char *name, size_t size);

/* All figures of the configuration's samples but speedup and efficiency, which set_speedup sets;
 * base: the wall time of the sequential runs beside the row's. */
struct lesson_figures summarise(const struct measurement *measurement,
                                const struct configuration *configuration);
void set_speedup(struct lesson_figures *figures, double base);

/* The figures of all configurations, which the lesson keeps. */
const struct lesson_results *keep_results(struct measurement *measurement);

/* ---- measurement.c --------------------------------------------------------------------------- */

/* Everything before the first timed run: arrays, size, reference, the configurations. alone: it
 * is not measured in turns with other workloads. */
struct measurement begin_measurement(struct lesson *lesson, const struct lesson_workload *workload,
                                     bool alone);

/* Keeps the results and frees everything else. */
const struct lesson_results *end_measurement(struct measurement *measurement);

/* On the line of progress: which run this is; repeat -1: the warm-up. */
void show_run(const struct measurement *measurement, const struct configuration *configuration,
              int repeat);

/* ---- arrays.c -------------------------------------------------------------------------------- */

/* The arrays of one workload: each pointer in the workload's struct, and where its bytes are. */
struct array {
    void *pointer;   /* address of the workload's pointer */
    void *data;      /* in ordinary memory */
    void *shared;    /* in a shared array, or NULL */
    void *reference; /* of a result: what the sequential run gave */
    size_t bytes;
    enum npy_type type; /* of a result: what it holds */
    bool result;
};

struct array_set {
    const void *work;
    struct array *arrays;
    size_t count;
    double needed, available; /* bytes, all copies */
    struct array_set *next;
};

/* Calls the workload's prepare with fresh arrays. */
struct array_set *arrays_prepare(struct lesson *lesson, const struct lesson_workload *workload);

/* Copies the inputs to shared arrays, for arrays_use. */
void arrays_share(struct lesson *lesson, struct array_set *set);
void arrays_unshare(struct array_set *set);

/* Points the workload to its arrays in ordinary or shared memory. */
void arrays_use(struct array_set *set, bool shared);

void *array_in_use(const struct array *array, bool shared);

/* Overwrites the results in use, so that a run that writes nothing is found out. */
void arrays_poison(struct array_set *set, bool shared);
#define POISON 0xA5 /* each byte */

/* The results in ordinary memory become the reference; put the reference back there. */
void arrays_keep_reference(struct lesson *lesson, struct array_set *set);
void arrays_restore(struct array_set *set);

/* ---- difference.c ---------------------------------------------------------------------------- */

/* How results differ from the reference. */
struct difference {
    size_t count, of;            /* elements that differ, of how many */
    size_t array, arrays, first; /* the first of them: in which result array, from 1; its index */
    char expected[32], got[32];  /* ... and its values */
    double largest;              /* of the differences, NAN being the largest */
};

/* Are the results in use equal to the reference, to the last bit or, if tolerance is not 0, as
 * numpy.isclose has it with rtol = atol = tolerance? */
bool arrays_match(const struct array_set *set, bool shared, double tolerance,
                  struct difference *difference);
void difference_text(char *text, size_t size, const struct difference *difference);

/* Dies if the workload's tolerance is none, or cannot be applied to its results. */
void arrays_check_tolerance(struct lesson *lesson, const struct array_set *set,
                            const struct lesson_workload *workload);

/* ---- record.c -------------------------------------------------------------------------------- */

/* Was anything asked for that needs recordings? */
bool record_wanted(const struct lesson *lesson);

/* From begin to end everybody records. */
void record_begin(struct lesson *lesson, int workers);
void record_end(struct lesson *lesson);

/* What was recorded last, from `begin` (a time of CLOCK_MONOTONIC, in seconds) on, for `wall`
 * seconds; record_free frees it. */
struct lesson_timeline *record_take(struct lesson *lesson, enum lesson_mode mode, int workers,
                                    double begin, double wall);

/* ---- live.c: a run that goes on, on a terminal -------------------------------------------------
 */

/* Around a run: under the line of progress_show it shows what each worker has done and how many
 * cores are busy, drawn by the main thread, at most ten times a second. expected: how long such a
 * run took, or about, or below 0. Short runs, and tasks so short that counting them would be felt,
 * are not looked at. */
void live_begin(struct lesson *lesson, const struct lesson_workload *workload,
                struct lesson_run *run, double expected);
void live_end(struct lesson *lesson, struct lesson_run *run);
struct live;
void live_task(struct live *live); /* this thread has done a task */

/* values[count] is sorted; count at least 1. (figures.c) */
double median(double *values, size_t count);

#endif
