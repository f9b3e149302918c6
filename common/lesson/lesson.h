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
#include "common/parallel/timeline.h"
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

/* Options that cannot be given together: none of these with one of those. Names, with blanks
 * between them. */
struct lesson_exclusion {
    const char *these, *those;
};

struct lesson_chapter {
    const char *name;  /* "01_pool_map" */
    const char *title; /* one line for --help and the banner */
    const struct lesson_option *options;
    const struct lesson_exclusion *exclusive; /* ends with an empty entry; or NULL */
    const char *together;                     /* options that need one another, or NULL */
    bool blas; /* its tasks call BLAS: does it keep to one thread, and find address space? */
};

/* The first statement of main. Chooses the instruction set of the kernels that FORKJOIN_ISA names,
 * in workers as well, starts the pool's helper process (before the program has threads of its own)
 * and reads the command line. Never returns NULL. */
struct lesson *lesson_begin(int argc, char **argv, const struct lesson_chapter *chapter);

/* The last statement: `return lesson_end(lesson)`. With --python it runs the chapter's notebook.py,
 * with the sizes as they are then in the chapter's options, and compares its arrays with those that
 * lesson_save was given. Writes --json and --csv, frees everything. 0 if every mode of every
 * workload gave the sequential result and nothing failed, else 1. */
int lesson_end(struct lesson *lesson);

/* What the common options say. */
enum lesson_mode { LESSON_SEQUENTIAL, LESSON_THREADS, LESSON_GIL, LESSON_PROCESSES, LESSON_MODES };
enum lesson_transfer { LESSON_DEFAULT_TRANSFER, LESSON_COPY, LESSON_SHARED, LESSON_BOTH };

uint32_t lesson_seed(const struct lesson *lesson);
const int *lesson_workers(const struct lesson *lesson, size_t *count);
int lesson_cores(const struct lesson *lesson); /* that this process may use */
bool lesson_runs(const struct lesson *lesson, enum lesson_mode mode); /* was it asked for? */
bool lesson_python(const struct lesson *lesson); /* will lesson_end run notebook.py as well? */

/* Was the chapter's option with this value on the command line? */
bool lesson_given(const struct lesson *lesson, const void *value);
bool lesson_any_given(const struct lesson *lesson, const char *names); /* with blanks between */

/* ---- Inputs and results ---------------------------------------------------------------------- */

/* Allocate one array of a workload, zeroed, aligned to 64 bytes, and put its address into *pointer:
 * an input of count x size bytes (`lesson_input(lesson, &work->data, n, sizeof *work->data)`), or a
 * result of count x width elements of this type (`lesson_result(lesson, &work->logits, NPY_FLOAT32,
 * n, 10)`), so that results can be compared, and differences be told. Only inside a workload's
 * prepare. The lesson owns the array until lesson_end or the next prepare with the
 * same `work`, moves inputs and results into shared memory and back for --transfer, and compares
 * the results of all modes. Ends the program when it does not fit into memory. */
void lesson_input(struct lesson *lesson, void *pointer, size_t count, size_t size);
void lesson_result(struct lesson *lesson, void *pointer, enum npy_type type, size_t count,
                   size_t width);

/* Frees the arrays of a work that is not needed any more, before lesson_end does. */
void lesson_release(struct lesson *lesson, const void *work);

/* An output of --option could not be written: says so in one line on standard error. The program
 * goes on, so that others are written, and will end with status 1. A reason that is not the file's
 * own, a full disk say, is told once for each option. */
void lesson_output_failed(struct lesson *lesson, const char *option, const struct error *error);

/* Ends the program as if an array of so many bytes did not fit: for a workload that is prepared
 * late, before anything is printed. */
void lesson_require(struct lesson *lesson, double bytes);

/* Working memory of the calling thread, at least `bytes`, aligned to 64 bytes, in the program or in
 * a worker: the same from call to call as long as it is large enough, freed when the thread ends.
 * Where there is none it ends the process with one line on standard error. */
void *lesson_scratch(size_t bytes);

/* ---- A device that computes beside the cores, as a GPU does ---------------------------------- */

struct lesson_run;
struct lesson_watch;
void lesson_tell_task(struct lesson_watch *watch, size_t i); /* for lesson_task_done */

/* From start to wait the device of this run computes, `seconds` long or until wait is called,
 * whatever comes later; wait sleeps until then, so meanwhile the cores are free for others. What a
 * run's time has in it besides the device's is time in which the device had nothing to do. */
void lesson_device_start(struct lesson_run *run);
void lesson_device_wait(struct lesson_run *run, double seconds);

/* ---- Measuring ------------------------------------------------------------------------------- */

/* What a mode's function is given. */
struct lesson_run {
    void *work; /* the workload's */
    enum lesson_mode mode;
    int workers;       /* 1 when sequential */
    int threads;       /* how many of them OpenMP really gave, in modes threads and gil; a function
                        * whose threads are not OpenMP's says it here */
    struct pool *pool; /* in mode processes, else NULL */
    struct gil *gil;   /* in mode gil, else NULL */
    size_t chunksize;  /* --chunksize, for pool_map */
    enum lesson_transfer transfer; /* in mode processes: LESSON_COPY or LESSON_SHARED */
    bool roof;          /* do the least that can be done with the same memory: see the workload's */
    struct error error; /* pool_map's; anything but ERROR_NONE ends the program */
    double device;      /* seconds that the run's device has computed */
    double device_since;
    struct lesson_watch *watched; /* who wants to know of each task; NULL: nobody */
};

typedef void lesson_function(struct lesson_run *run);

/* At the end of each turn of a chapter's own loop over tasks: this thread has just finished task i,
 * which it began when it had finished the one before, or when the run began. Nearly free where
 * nobody wants to know, but a call: not in loops of a few instructions, which then count as one
 * piece of work. Pools tell of their tasks by themselves. */
static inline void lesson_task_done(const struct lesson_run *run, size_t i)
{
    if (__builtin_expect(run->watched != NULL, 0))
        lesson_tell_task(run->watched, i);
}

/* In a run that has several such loops, one after the other: before each. Tasks that are done from
 * here on began here at the earliest. */
void lesson_tasks_begin(const struct lesson_run *run);

struct lesson_workload {
    const char *name;  /* in JSON and CSV: "heavy_computation" */
    const char *title; /* over the table: "heavy_computation(x) for 100 numbers" or NULL */
    void *work;
    lesson_function *run[LESSON_MODES]; /* NULL: the workload does not have this mode */

    /* Makes the inputs (lesson_input, lesson_result), from the seed, for the sizes as they are.
     * NULL: there are none, or those that another workload with the same `work` had before. */
    void (*prepare)(struct lesson *lesson, void *work);
    const size_t *tasks; /* how many tasks one run does; NULL: as many as it gives to the pool */
    size_t *grow;        /* the size that --seconds enlarges; time is about proportional to it, */
    int grow_power;      /*   or, if not 0, to this power of it */
    size_t grow_most;    /* how far at most, unless it is more already; 0: any */

    enum lesson_transfer transfer; /* if the command line does not say: LESSON_COPY if 0 */

    pool_function *initializer; /* of the pool, see pool.h */
    const void *initializer_argument;
    size_t initializer_size;

    /* Each run has another beside it, with run->roof set and the same memory and workers, that does
     * the least that can be done there: it only reads, say. Its results do not count. */
    bool roof;

    /* Memory that a run takes for each worker besides the arrays. Counts of workers for which that
     * would be more than half of what is available are left out, with a line of output. */
    size_t bytes_per_worker;

    /* For comparisons that a chapter makes itself: */
    unsigned modes;         /* only these, 1u << LESSON_THREADS | ...; 0: those asked for */
    const int *workers;     /* only these counts, ended by 0; NULL: those asked for */
    bool fixed_transfer;    /* `transfer` stands, whatever the command line says */
    int threads_per_worker; /* OpenMP and BLAS threads in each worker; 0 means 1 */
    bool background; /* workers work ahead while the program does something else: see pool.h */
    bool quiet;      /* no table, no Why; JSON and CSV have it, and so has the caller */
    bool recorded;   /* quiet, but --timeline and --trace show it as they show those that are not */
    bool step;       /* --step asks for it, although it is quiet */
    double tolerance; /* 0: results must be equal to the last bit. Else they are floats or doubles
                         (others are refused), and may differ by rtol = atol = this, as
                         numpy.isclose has it: for sums whose order changes */
};

/* What one worker did from begin to end, in seconds since the run began. Two events of a row are
 * apart, or one lies inside the other. */
struct lesson_event {
    double begin, end;
    int row; /* of the worker */
    enum timeline_kind kind;
    size_t index; /* of the (first) task or chunk; of a copy: bytes */
    size_t tasks; /* how many, from index on, or in the chunk; of others 0 */
};

/* One run, recorded: a row for each thread or worker process. What no event covers was idle; a task
 * computes, except while it waits for the GIL. */
struct lesson_timeline {
    double wall; /* of this run */
    int rows;
    char (*names)[32]; /* [rows]: "thread 0", "worker 1, pid 4711" */
    size_t count;
    const struct lesson_event *events; /* in the order of row, begin */
    size_t lost;                       /* events for which a buffer had no room */
    bool whole;  /* the tasks were too small to be recorded one by one: each row has one
                    TIMELINE_TASK,  or, in mode gil, none; then it computes while it holds the GIL */
    double cost; /* recorded wall / wall - 1: the median of the pairs */
};

/* One row of the table. Times in seconds. */
struct lesson_figures {
    enum lesson_mode mode;
    int workers; /* as asked for */
    int threads; /* of them: that really ran; fewer than workers in modes threads and gil where a
                  * limit of OpenMP forbids more */
    enum lesson_transfer transfer; /* LESSON_COPY or LESSON_SHARED, in mode processes */
    double switch_interval;        /* in mode gil */
    char name[40]; /* as the table has it: "gil", "gil, 0.5 ms" if there are several intervals */
    int repeats;
    double wall_min, wall_median, wall_max;
    double cpu_median;
    double cores_busy;  /* CPU / wall */
    double speedup;     /* sequential wall / wall, medians */
    double efficiency;  /* speedup / threads */
    bool matches;       /* the sequential result, to the last bit or within the tolerance */
    double startup;     /* of the pool; apart from wall */
    double device;      /* of lesson_device_wait: seconds that it computed, */
    double device_idle; /*   and the rest of the wall time; medians */
    size_t tasks;       /* of the workload */
    double roof;        /* of a workload with a roof: its wall, of processes its compute; median */

    /* Of the repeat with the median wall time: */
    struct pool_phases phases;   /* of all its maps, added up */
    struct pool_statistics pool; /* what it added; last and startup are 0 */
    struct gil_statistics gil;

    struct pool_statistics pool_in_all; /* the same for all repeats and the warm-up together */

    const struct lesson_timeline *timeline; /* of a run of its own; NULL: none was asked for */
    double recorded_wall; /* median of the recorded runs, one beside each timed run; or 0 */
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

/* The same for several workloads, each with a `work` of its own, in turns: one run of each, then
 * the next run of each, ..., so that a disturbance hits all of them alike and their times can be
 * compared. Nothing is printed, as if each were quiet. results[i] receives those of workloads[i].
 */
void lesson_measure_in_turns(struct lesson *lesson, const struct lesson_workload *workloads,
                             size_t count, const struct lesson_results **results);

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
 * way pays. In JSON and CSV the workload is called "NAME, SIZE_NAME N", and JSON has all of it
 * under "series"; --plot draws it. *size is as before. */
void lesson_sweep(struct lesson *lesson, const struct lesson_workload *workload,
                  const char *size_name, size_t *size, size_t first, size_t last);

/* Measures the workload quietly in mode processes, with 1 worker and with one for each core, each
 * with 1 BLAS thread and with as many as there are cores, and prints walls and speedups under the
 * workload's title. Nothing if processes were not asked for. The arrays are shared. */
void lesson_blas_threads(struct lesson *lesson, const struct lesson_workload *workload);

/* One of several ways to do the same work, by name; NULL: by its modes. */
struct lesson_variant {
    const char *name;
    const struct lesson_results *results; /* NULL: it was not measured */
};

/* For work that reads `bytes` of memory once: a table of the ways, for each number of workers, with
 * what was copied, how long that and the computing took, how fast the memory was read, and, where
 * a roof was measured, how fast it can be. The first way has the sequential row. */
void lesson_compare(struct lesson *lesson, const char *title, const struct lesson_variant *ways,
                    size_t count, size_t bytes);

/* Prints what it brings to prepare a device's work ahead, while the device computes, for a workload
 * measured `quiet`: sequential prepares, then waits for the device, and prepares the next. Hidden
 * is 1 - exposed / loading: exposed is the time in which the row's device was idle, and loading
 * that of the sequential row, which hides nothing. */
void lesson_overlap(struct lesson *lesson, const struct lesson_results *results);

/* Calls function once, untimed, with a pool or a GIL (of the first --switch-interval) as its mode
 * needs. */
void lesson_once(struct lesson *lesson, enum lesson_mode mode, int workers,
                 lesson_function *function, void *work);

/* The same; an error is no reason to end the program, but what it returns. */
struct error lesson_try(struct lesson *lesson, enum lesson_mode mode, int workers,
                        lesson_function *function, void *work);

/* ---- The same in Python ---------------------------------------------------------------------- */

struct json_t; /* Jansson's */

/* Runs the chapter's notebook.py with these options, ended by NULL, and the seed, in a process of
 * its own, for at most `limit` seconds. Returns the report that it printed, --json's, which belongs
 * to the lesson until the next call; JSON has it under "notebook". NULL with *error, and the
 * program can go on without: there is no Python with NumPy, or no notebook.py; it failed, took too
 * long, or printed no JSON.
 *
 * Python is what the environment variable FORKJOIN_PYTHON names, or else the first that can import
 * NumPy: python3 in PATH, /usr/bin/python3. The notebook is chapters/NAME/notebook.py in one of the
 * directories above the program, or else where it was compiled. FORKJOIN_PYTHON_SECONDS goes before
 * limit. lesson_notebook_check, before anything is computed, refuses one that is no number. */
void lesson_notebook_check(struct lesson *lesson);
const struct json_t *lesson_notebook(struct lesson *lesson, const char *const *options,
                                     double limit, struct error *error);

/* The number at a path of keys and indices such as "runs.0.wall_s.median"; NAN if there is none. */
double lesson_notebook_number(const struct json_t *report, const char *path);

/* ---- Output ---------------------------------------------------------------------------------- */

/* Text on standard output, unless --quiet or --json - say otherwise. */
__attribute__((format(printf, 2, 3))) void lesson_print(struct lesson *lesson, const char *format,
                                                        ...);
void lesson_heading(struct lesson *lesson, const char *text);

/* The same, broken into lines of at most 100 columns, and a line's end after it. */
__attribute__((format(printf, 2, 3))) void lesson_paragraph(struct lesson *lesson,
                                                            const char *format, ...);

/* Seconds as "3.21 ms", bytes as "6.4 MB", into a small ring of static buffers. */
const char *lesson_time_text(double seconds);
const char *lesson_bytes_text(double bytes);

/* A piece of work, made faster step by step. */
struct lesson_rung {
    const char *name; /* at most 22 characters */
    const char *step; /* what kind of step led here from the rung `below`: "algorithm" */
    const char *news; /* what is new here, at most 33 characters */
    double seconds;   /* of one task */
    int below;        /* the index of an earlier rung; below 0: none, this is where it starts */
};

/* Prints a row for each rung: the time of a task, the rung's own factor, which is how many times as
 * fast as the one below it, and the product of all factors so far. Then, for the fastest of the
 * rungs at the top (threads and processes may both stand on the same rung), the share of each step;
 * and whether the steps came in the notebook's order: `order` names them, the largest factor first,
 * and is ended by NULL. JSON has the rows under "ladder"; --plot draws them. */
void lesson_ladder(struct lesson *lesson, const char *title, const char *task,
                   const struct lesson_rung *rungs, int count, const char *const *order);

/* A picture of height x width grey values, for --plot and --report: its darkest black, its
 * brightest white. Nothing if no charts were asked for. */
void lesson_chart_picture(struct lesson *lesson, const char *title, const float *pixels,
                          size_t height, size_t width);

/* Who ran a task, where, and what the program's counter was there after it. */
struct lesson_visit {
    pid_t process, thread;
    int core;
    long counter;
};

/* Draws a box for each thread that ran tasks, in the order of their first: threads of this process
 * on one common memory, other processes beside this one, each with its own. counter: this
 * process's. */
void lesson_draw_visits(struct lesson *lesson, const struct lesson_visit *visits, size_t count,
                        long counter);

/* Writes an array to --save DIR as `file`; nothing without --save. With --python the notebook must
 * save the same array under this name. */
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
