/* lesson.h - what every chapter's main talks to: options, measurement, verification, report.
 *
 * A chapter states its options and its workloads; the lesson does what is the same in all of
 * them. lesson_begin reads the command line; a banner comes before the first output, but after the
 * first inputs were made, so that a wrong command line prints nothing. lesson_measure runs a
 * workload in every mode that was asked for, compares each mode's results with the sequential ones
 * to the last bit, and prints the table and why it came out so. lesson_end writes the files that
 * were asked for and gives main its exit status.
 *
 * Measuring: one clock (CLOCK_MONOTONIC) for all modes; one warm-up, then `repeats` timed runs,
 * the modes interleaved (A B C, A B C, ...) so that a disturbance hits all of them alike; each
 * thread on a core of its own where there are enough; median, minimum and maximum; CPU time of this
 * process and of its workers beside it.
 *
 * Errors: these functions print one line on standard error and end the program, with status 2
 * for a wrong command line and 1 for everything else; no worker and no half-written file is left.
 */
#ifndef LESSON_LESSON_H
#define LESSON_LESSON_H

#include "common/data/npy.h"
#include "common/error.h"
#include "common/parallel/gil.h"
#include "common/parallel/pool.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lesson;

/* ---- The command line ------------------------------------------------------------------------ */

enum lesson_option_kind {
    LESSON_COUNT,   /* size_t: a whole number from minimum to maximum (0: no maximum but memory) */
    LESSON_INTEGER, /* int64_t: any whole number from minimum to maximum; both 0: any */
    LESSON_REAL,    /* double: a number from minimum to maximum */
    LESSON_SHAPE,   /* size_t[2]: HxW, or N for NxN; each side at least minimum */
    LESSON_SHAPE3,  /* size_t[3]: DxHxW, or N for NxNxN, likewise */
    LESSON_CHOICE,  /* int: which of the words in argument, "yes|no"; below 0: none was given */
    LESSON_TEXT,    /* const char *: any text that is not empty */
    LESSON_PATH,    /* const char *: a file or directory */
    LESSON_PATHS,   /* struct lesson_paths: PATH..., the option repeated or followed by several */
    LESSON_FLAG,    /* bool */
};

struct lesson_paths {
    size_t count;
    const char *const *paths; /* owned by the lesson */
};

/* One option of a chapter's own, --name ARGUMENT; value points to the variable, which holds the
 * default. The list ends with an empty entry. */
struct lesson_option {
    const char *name, *argument, *help;
    enum lesson_option_kind kind;
    void *value;
    int64_t minimum, maximum;
};

struct lesson_chapter {
    const char *name;  /* "01_pool_map" */
    const char *title; /* one line for --help and the banner */
    const struct lesson_option *options;
};

/* The first statement of main. Starts the pool's helper process (before the program has threads of
 * its own) and reads the command line. Never returns NULL. */
struct lesson *lesson_begin(int argc, char **argv, const struct lesson_chapter *chapter);

/* The last statement: `return lesson_end(lesson)`. Writes --json and --csv, frees everything.
 * 0 if every mode of every workload gave the sequential result and nothing failed, else 1. */
int lesson_end(struct lesson *lesson);

/* What the common options say. */
enum lesson_mode { LESSON_SEQUENTIAL, LESSON_THREADS, LESSON_GIL, LESSON_PROCESSES, LESSON_MODES };
enum lesson_transfer { LESSON_DEFAULT_TRANSFER, LESSON_COPY, LESSON_SHARED, LESSON_BOTH };

uint32_t lesson_seed(const struct lesson *lesson);
const int *lesson_workers(const struct lesson *lesson, size_t *count);
int lesson_cores(const struct lesson *lesson); /* that this process may use */
bool lesson_runs(const struct lesson *lesson, enum lesson_mode mode); /* was it asked for? */

/* For the banner: the instruction set of the chapter's kernels, kernels_isa(), if it uses any.
 * Without it the banner names what the processor has. */
void lesson_isa(struct lesson *lesson, const char *isa);

/* Was the chapter's option with this value on the command line? */
bool lesson_given(const struct lesson *lesson, const void *value);

/* ---- Inputs and results ---------------------------------------------------------------------- */

/* Allocate one array of a workload, count x size bytes, zeroed, aligned to 64 bytes, and put its
 * address into *pointer (`lesson_input(lesson, &work->data, n, sizeof *work->data)`). Only inside
 * a workload's prepare. The lesson owns the array until lesson_end or the next prepare with the
 * same `work`, moves inputs and results into shared memory and back for --transfer, and compares
 * the results of all modes. Ends the program when it does not fit into memory. */
void lesson_input(struct lesson *lesson, void *pointer, size_t count, size_t size);
void lesson_result(struct lesson *lesson, void *pointer, size_t count, size_t size);

/* Working memory of the calling thread, at least `bytes`, aligned to 64 bytes, in the program or in
 * a worker: the same from call to call as long as it is large enough, freed when the thread ends.
 * Where there is none it ends the process with one line on standard error. */
void *lesson_scratch(size_t bytes);

/* ---- Measuring ------------------------------------------------------------------------------- */

/* What a mode's function is given. */
struct lesson_run {
    void *work;         /* the workload's */
    int workers;        /* 1 when sequential */
    struct pool *pool;  /* in mode processes, else NULL */
    struct gil *gil;    /* in mode gil, else NULL */
    size_t chunksize;   /* --chunksize, for pool_map */
    struct error error; /* pool_map's; anything but ERROR_NONE ends the program */
};

typedef void lesson_function(struct lesson_run *run);

struct lesson_workload {
    const char *name;  /* in JSON and CSV: "heavy_computation" */
    const char *title; /* over the table: "heavy_computation(x) for 100 numbers" or NULL */
    void *work;
    lesson_function *run[LESSON_MODES]; /* NULL: the workload does not have this mode */

    /* Makes the inputs (lesson_input, lesson_result), from the seed, for the sizes as they are. */
    void (*prepare)(struct lesson *lesson, void *work);
    const size_t *tasks; /* how many tasks one run does */
    size_t *grow;        /* the size that --seconds enlarges; time is about proportional to it */

    enum lesson_transfer transfer; /* if the command line does not say: LESSON_COPY if 0 */

    pool_function *initializer; /* of the pool, see pool.h */
    const void *initializer_argument;
    size_t initializer_size;

    /* For comparisons that a chapter makes itself: */
    unsigned modes;         /* only these, 1u << LESSON_THREADS | ...; 0: those asked for */
    const int *workers;     /* only these counts, ended by 0; NULL: those asked for */
    int threads_per_worker; /* OpenMP and BLAS threads in each worker; 0 means 1 */
    bool quiet;             /* no table, no Why; JSON and CSV have it, and so has the caller */
    double tolerance; /* 0: results must be equal to the last bit. Else they are floats or doubles
                         (elements of 4 or 8 bytes), and may differ by rtol = atol = this, as
                         numpy.isclose has it: for sums whose order changes */
};

/* One row of the table. Times in seconds. */
struct lesson_figures {
    enum lesson_mode mode;
    int workers;
    enum lesson_transfer transfer; /* LESSON_COPY or LESSON_SHARED, in mode processes */
    double switch_interval;        /* in mode gil */
    char name[40]; /* as the table has it: "gil", "gil, 0.5 ms" if there are several intervals */
    int repeats;
    double wall_min, wall_median, wall_max;
    double cpu_median;
    double cores_busy; /* CPU / wall */
    double speedup;    /* sequential wall / wall, medians */
    double efficiency; /* speedup / workers */
    bool matches;      /* the sequential result, to the last bit */
    double startup;    /* of the pool; apart from wall */
    size_t tasks;      /* of the workload */

    /* Of the repeat with the median wall time: */
    struct pool_phases phases;   /* of all its maps, added up */
    struct pool_statistics pool; /* what it added; last and startup are 0 */
    struct gil_statistics gil;

    struct pool_statistics pool_in_all; /* the same for all repeats and the warm-up together */
};

struct lesson_results {
    size_t count;
    const struct lesson_figures *figures; /* figures[0] is sequential */
};

/* Runs the workload in each mode and worker count. Sequential is always run: it is the base of
 * every speedup and the result that the others must give. Afterwards the workload's arrays hold
 * the sequential inputs and results. The results belong to the lesson, until lesson_end. */
const struct lesson_results *lesson_measure(struct lesson *lesson,
                                            const struct lesson_workload *workload);

/* Only what --seconds asks for: lets *workload->grow become such that the sequential run takes that
 * long, as far as memory allows. lesson_measure does it by itself for a workload with grow set;
 * this is for several workloads that shall have the size that suits one of them. */
void lesson_grow(struct lesson *lesson, const struct lesson_workload *workload);

/* The first row with this mode, workers and transfer (0: any); NULL if there is none. */
const struct lesson_figures *lesson_find(const struct lesson_results *results,
                                         enum lesson_mode mode, int workers,
                                         enum lesson_transfer transfer);

/* One line of a table of the chapter's own, for one variant of what it measures: measures the
 * workloads quietly, as threads and as processes as far as they were asked for, with the last of
 * --workers, and prints, without an end: the variant and the number of tasks in 14 characters, then
 * in 10 each what one task took, for each workload in the modes sequential, threads and processes
 * that it has; sequential only if the workload before has another function for it. results[count]
 * is filled in. In JSON and CSV a workload is called "VARIANT, NAME". */
void lesson_line(struct lesson *lesson, const char *variant,
                 const struct lesson_workload *workloads, size_t count,
                 const struct lesson_results **results);

/* Ends the line: how many times as fast `one` is, sequentially, as the processes of `other`, and
 * whether that is faster, "1.20x yes"; with their pool running already, and with its start-up. "-"
 * where processes were not asked for. */
void lesson_beats_pool(struct lesson *lesson, const struct lesson_results *one,
                       const struct lesson_results *other);

/* Measures the workload quietly with *size = first, 2 first, ... up to last, as threads and as
 * processes, with the last of --workers; prints the speedups, and from which work per task on each
 * way pays. In JSON and CSV the workload is called "NAME, SIZE_NAME N". *size is as before. */
void lesson_sweep(struct lesson *lesson, const struct lesson_workload *workload,
                  const char *size_name, size_t *size, size_t first, size_t last);

/* Measures the workload quietly in mode processes, with 1 worker and with one for each core, each
 * with 1 BLAS thread and with as many as there are cores, and prints walls and speedups under the
 * workload's title. Nothing if processes were not asked for. The arrays are shared unless the
 * command line says otherwise. */
void lesson_blas_threads(struct lesson *lesson, const struct lesson_workload *workload);

/* Calls function once, untimed, with a pool or a GIL (of the first --switch-interval) as its mode
 * needs. */
void lesson_once(struct lesson *lesson, enum lesson_mode mode, int workers,
                 lesson_function *function, void *work);

/* ---- Output ---------------------------------------------------------------------------------- */

/* Text on standard output, unless --quiet or --json - say otherwise. */
__attribute__((format(printf, 2, 3))) void lesson_print(struct lesson *lesson, const char *format,
                                                        ...);
void lesson_heading(struct lesson *lesson, const char *text);

/* Seconds as "3.21 ms", bytes as "6.4 MB", into a small ring of static buffers. */
const char *lesson_time_text(double seconds);
const char *lesson_bytes_text(double bytes);

/* Who ran a task, where, and what the program's counter was there after it. */
struct lesson_trace {
    pid_t process, thread;
    int core;
    long counter;
};

/* Draws a box for each thread that ran tasks, in the order of their first: threads of this process
 * on one common memory, other processes beside this one, each with its own. counter: this
 * process's. */
void lesson_draw_traces(struct lesson *lesson, const struct lesson_trace *traces, size_t count,
                        long counter);

/* Writes an array to --save DIR as `file`; nothing without --save. */
void lesson_save(struct lesson *lesson, const char *file, enum npy_type type, int dimensions,
                 const size_t *shape, const void *data);

/* One line on standard error; the program goes on, and lesson_end returns 1. */
__attribute__((format(printf, 2, 3))) void lesson_fail(struct lesson *lesson, const char *format,
                                                       ...);

/* One line on standard error; the program ends, with status 2 (usage) or 1 (anything else). */
__attribute__((format(printf, 2, 3), noreturn)) void lesson_usage(struct lesson *lesson,
                                                                  const char *format, ...);
__attribute__((format(printf, 2, 3), noreturn)) void lesson_die(struct lesson *lesson,
                                                                const char *format, ...);

#endif
