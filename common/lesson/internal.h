/* internal.h - what the files of common/lesson share; chapters use lesson.h.
 *
 * A lesson runs through five stations, a file each: the environment the libraries want
 * (environment.c), the command line (options.c), the machine (machine.c), the measurement
 * (measure.c, on the arrays of arrays.c), the report (report.c, why.c, output.c; charts.h).
 * python.c stands beside them, and child.c under it.
 */
#ifndef LESSON_INTERNAL_H
#define LESSON_INTERNAL_H

#include "common/lesson/charts.h"
#include "common/lesson/lesson.h"
#include <sched.h>

#define MOST_INTERVALS 16 /* that one run may compare */

/* ---- text.c: numbers from text, strictly, and back ------------------------------------------- */

/* Each takes all of `text` or nothing: 0, or -1 and the value untouched. No blanks, no "+", no
 * other base. */
int parse_integer(const char *text, int64_t minimum, int64_t maximum, int64_t *value);
int parse_real(const char *text, double minimum, double maximum, double *value);
/* "4x6" to {4, 6}; one number stands for all `sides` of them (at most 3). */
int parse_shape(const char *text, int64_t minimum, int64_t maximum, size_t *shape, int sides);

/* The index of the word `text` in "yes|no|maybe", or -1. */
int parse_choice(const char *text, const char *words);

/* The index of `text` in names[count], or -1. */
int parse_name(const char *text, const char *const *names, int count);

/* "2,1,2" to {2, 1}: order kept, each value once, at most POOL_MAX_WORKERS of them. */
int parse_workers(const char *text, int *workers, size_t *count);

/* "0.0005,0.005" to seconds, likewise. */
int parse_intervals(const char *text, double intervals[MOST_INTERVALS], size_t *count);
#define LEAST_INTERVAL   1e-6
#define LONGEST_INTERVAL 60.0

/* "threads,gil" or "all" to modes[LESSON_MODES]. */
int parse_modes(const char *text, bool *modes);

extern const char *const lesson_mode_names[LESSON_MODES];
extern const char *const lesson_transfer_names[LESSON_BOTH + 1];

/* "12.3 [12.1 - 13.0] ms": three times in the unit of the first. */
const char *lesson_range_text(double middle, double minimum, double maximum);

/* values[count] is sorted; count at least 1. */
double median(double *values, size_t count);

/* ---- environment.c --------------------------------------------------------------------------- */

/* OpenMP and OpenBLAS read some settings before main; this sets what is missing and executes the
 * program once again, so that they see it. Returns at once in that second life. */
void environment_prepare(char **argv);

/* What was decided about OpenBLAS, in words; "" if there was nothing to decide. */
const char *environment_blas_note(void);

/* The features of a processor that decide about OpenBLAS kernels. */
struct cpu_features {
    bool avx2_fma, avx512; /* avx512: f, dq, bw, vl and cd */
};
struct cpu_features cpu_features(void);

/* The attempt-th best OPENBLAS_CORETYPE (from 0) for a processor with these features on which
 * OpenBLAS chose the kernels `core`; NULL when there is none: `core` is not one of the generic
 * ones, or all better ones were tried. */
const char *blas_candidate(const char *core, struct cpu_features features, int attempt);

/* Do sgemm and dgemm give right products? */
bool blas_is_right(void);

/* ---- machine.c ------------------------------------------------------------------------------- */

struct machine {
    char cpu[128];
    int cores;                  /* that this process may use */
    int machine_cores;          /* hardware threads of the machine */
    double quota;               /* the cgroup's, in cores; INFINITY if there is none */
    const char *isa, *best_isa; /* the kernels' in use, and the best that the machine can do */
    bool isa_chosen;            /* by FORKJOIN_ISA */
    char compiler[64];
    int openmp;         /* _OPENMP, 0 if the program was compiled without */
    int openmp_threads; /* a team of 2 really got this many */
    char blas[64];      /* "OpenBLAS 0.3.21" */
};

/* Before there are threads and processes: what FORKJOIN_ISA says, or else the best. Ends the
 * program if the machine cannot do it. */
void machine_choose_isa(struct lesson *lesson);

/* After pool_startup, because it enters an OpenMP region. */
void machine_inspect(struct machine *machine);

/* Prints the banner if it is due. */
void machine_banner(struct lesson *lesson);

/* ---- options.c ------------------------------------------------------------------------------- */

enum worker_rule { WORKERS_BY_CORES, WORKERS_BY_OMP_NUM_THREADS, WORKERS_BY_OPTION };

struct options {
    bool modes[LESSON_MODES];
    int *workers;
    size_t worker_count;
    enum worker_rule worker_rule;
    int repeats;
    double seconds; /* 0: the sizes are taken as they are */
    uint32_t seed;
    int schedule; /* omp_sched_t; 0: not said */
    int schedule_chunk;
    size_t chunksize;
    enum pool_start_method start_method;
    enum lesson_transfer transfer;
    double intervals[MOST_INTERVALS]; /* of the GIL */
    size_t interval_count;
    const char *save, *json, *csv;
    const char *trace, *plot, *report, *answers;
    bool timeline, step, python;
    bool quiet, no_progress, repeats_given;
    uint64_t given; /* bit i: the chapter's option i was on the command line */
};

/* Ends the program on a bad command line. */
void options_parse(struct lesson *lesson, int argc, char **argv);
void options_free(struct lesson *lesson);

/* The chapter's option whose value is at this address, or NULL. */
const struct lesson_option *options_find(const struct lesson *lesson, const void *value);

/* ---- arrays.c -------------------------------------------------------------------------------- */

/* The arrays of one workload: each pointer in the workload's struct, and where its bytes are. */
struct array {
    void *pointer;   /* address of the workload's pointer */
    void *data;      /* in ordinary memory */
    void *shared;    /* in a shared array, or NULL */
    void *reference; /* of a result: what the sequential run gave */
    size_t bytes;
    size_t size; /* of an element */
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
void arrays_free_all(struct lesson *lesson);

/* Copies the inputs to shared arrays, for arrays_use. */
void arrays_share(struct lesson *lesson, struct array_set *set);
void arrays_unshare(struct array_set *set);

/* Points the workload to its arrays in ordinary or shared memory. */
void arrays_use(struct array_set *set, bool shared);

/* Overwrites the results in use, so that a run that writes nothing is found out. */
void arrays_poison(struct array_set *set, bool shared);

/* The results in ordinary memory become the reference; are the results in use equal to it; put
 * the reference back into ordinary memory. */
void arrays_keep_reference(struct lesson *lesson, struct array_set *set);
bool arrays_match(const struct array_set *set, bool shared, double tolerance);
void arrays_restore(struct array_set *set);

/* ---- report.c, why.c, output.c --------------------------------------------------------------- */

/* The results of one workload, kept for JSON and CSV. */
struct measured {
    struct lesson_results results;
    struct lesson_figures *figures;
    char *name, *title; /* the workload's; title may be NULL */
    bool quiet;         /* it was not shown */
    char *size_name;    /* of a step of lesson_sweep: what was varied, and its size; else NULL */
    size_t size;
    struct measured *next;
};

/* What was kept with these results; NULL: they are none of the lesson's. */
struct measured *measured_of(struct lesson *lesson, const struct lesson_results *results);

void report_table(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_results *results);

/* Text that is broken into lines of at most 100 columns, the later ones indented. */
void report_paragraph(struct lesson *lesson, int indent, const char *text);

/* One line in place on a terminal's standard error; progress_clear takes it away. */
__attribute__((format(printf, 2, 3))) void progress_show(struct lesson *lesson, const char *format,
                                                         ...);
void progress_clear(struct lesson *lesson);

/* Why this row came out as it did, as one sentence or two; the caller frees it. NULL: out of
 * memory. */
char *why_text(const struct lesson_figures *figures, const struct lesson_figures *sequential,
               int cores);
void why_print(struct lesson *lesson, const struct lesson_results *results);

/* Dies if the files that were asked for could not be written later. */
void output_check(struct lesson *lesson);
void output_prepare(struct lesson *lesson); /* makes the --save directory */
void output_write(struct lesson *lesson);

/* Everything that --json writes, as a document of the caller's. Dies when memory is short. */
struct json_t *output_document(struct lesson *lesson);

/* ---- series.c: what a class can plot by itself ------------------------------------------------
 */

/* These results are a step of a sweep: what was varied, and its size there. */
void series_note_size(struct lesson *lesson, const struct lesson_results *results,
                      const char *size_name, size_t size);

/* Takes an entry for "series" of --json, the caller's reference with it. */
void series_add(struct lesson *lesson, struct json_t *series);

/* The "series" of --json: what was added, and, of each workload that was shown with several
 * numbers of workers, one for each way. */
struct json_t *series_document(struct lesson *lesson);

/* ---- command.c ------------------------------------------------------------------------------- */

/* `text` with {}, {/}, {.} and {/.} replaced for the file; the caller frees it. NULL: no memory. */
char *command_word(const char *text, const char *file);

/* The path of the program with this name, as a shell finds it; the caller frees it. NULL: there is
 * none. */
char *find_program(const char *name);

/* ---- lesson.c -------------------------------------------------------------------------------- */

/* What lesson_conclude was told. */
struct conclusion {
    char *name, *text;
    struct conclusion *next;
};

struct lesson {
    const struct lesson_chapter *chapter;
    struct options options;
    struct machine machine;
    bool restless;          /* idle threads kept computing, so CPU times have too much in them */
    struct array_set *sets; /* of all workloads */
    struct array_set *preparing; /* while a workload's prepare runs */
    struct measured *measured, **last_measured;
    struct conclusion *conclusions, **last_conclusion;
    char *command_words; /* of lesson_command */
    size_t *command_at;
    const char **paths; /* of the chapter's LESSON_PATHS option */
    char sizes[256];    /* the sizes that the command line gave: "--tasks 100, --size 5x5" */
    bool failed;
    bool silent;     /* nothing on standard output but what --json - and --csv - ask for */
    bool colour;     /* standard output is a terminal */
    bool progress;   /* standard error is one */
    bool banner_due; /* until the first output or the first inputs are made, whatever comes first */
    bool terms_told, phases_told;
    struct chart *charts; /* what is drawn; charts_complete adds the workloads' */
    bool charts_complete;
    struct json_t *series;   /* of lesson_sweep */
    struct json_t *ladder;   /* the rows of lesson_ladder */
    struct json_t *notebook; /* what notebook.py reported, or its error; NULL: it was not run */
};

/* Ends the program when memory for the lesson's own small things is short. */
void *lesson_allocate(struct lesson *lesson, size_t count, size_t size);

/* Flushes standard output; ends the program when it cannot be written. */
void lesson_flush(struct lesson *lesson);

#endif
