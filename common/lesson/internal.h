/* internal.h - what the files of common/lesson share; chapters use lesson.h.
 *
 * The files, in the order of a lesson's life and of the sections below:
 *
 *   to speak    message.c, text.c; terminal.c, live.c
 *   to begin    lesson.c, which begins and ends it; environment.c, machine.c; options.c with
 *               own_options.c and option_values.c (options.h)
 *   to measure  arrays.c, difference.c, scratch.c; measure.c and the files that measure.h names;
 *               record.c
 *   to explain  team.c, report.c, why.c, timeline.c; evidence.c (evidence.h)
 *   to write    output.c with json.c, json_values.c, csv.c, trace.c, series.c; page.c with
 *               source.c (page.h, source.h); charts.c and its kin, gnuplot.c, plot.c (charts.h)
 *   --step      step.c with answers.c (step.h)
 *   --python    python.c, beside.c and others (beside.h); child.c runs a program (child.h)
 *
 * On top of these stand what chapters measure and draw with besides lesson_measure: sweep.c,
 * variants.c, compare.c, ladder.c, device.c, diagram.c, tree.c, command.c.
 *
 * Whoever is called knows nothing of its caller, with three exceptions: the first text brings the
 * banner with it (message.c, machine.c), an answer to --step may end the lesson (step.c, lesson.c),
 * and charts*.c, as gnuplot*.c, are one thing in several files.
 */
#ifndef LESSON_INTERNAL_H
#define LESSON_INTERNAL_H

#include "common/lesson/beside.h"
#include "common/lesson/charts.h"
#include "common/lesson/lesson.h"
#include <limits.h>

#define MOST_INTERVALS 16 /* that one run may compare */

/* ---- message.c (and lesson_print, lesson_die, ... of lesson.h) ------------------------------- */

/* Ends the program when memory for the lesson's own small things is short. */
void *lesson_allocate(struct lesson *lesson, size_t count, size_t size);

/* One line on standard error, which is no failure. */
__attribute__((format(printf, 2, 3))) void lesson_note(struct lesson *lesson, const char *format,
                                                       ...);

/* What was to be done before the first output, now: an end, or inputs, come first. */
void before_output(struct lesson *lesson);

/* Flushes standard output; ends the program when it cannot be written. */
void lesson_flush(struct lesson *lesson);

/* At exit: output that was lost is an error. */
void check_standard_output(void);

/* Text that is broken into lines of at most 100 columns, the later ones indented. */
void report_paragraph(struct lesson *lesson, int indent, const char *text);
void report_paragraph_within(struct lesson *lesson, int columns, int indent, const char *text);

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

/* "" for one, else "s". */
const char *plural(double count);

/* values[count] is sorted; count at least 1. */
double median(double *values, size_t count);

/* ---- terminal.c ------------------------------------------------------------------------------ */

/* Rows and columns, at least 1; 24 and 80 if the terminal does not say, or if it is none. */
struct winsize;
struct winsize terminal_window(int fd);
int terminal_columns(int fd);

/* Is text UTF-8 where this program was started? */
bool terminal_is_utf8(void);

/* One line of standard input; one that is too long begins with "?". False at the end of input. */
bool read_line(char *line, int size);

/* ---- progress.c: lines in place, on a terminal's standard error --------------------------------
 */

/* A heading in place, unless something was drawn in the last tenth of a second; progress_clear
 * takes it away, and so does a signal that ends the program. */
__attribute__((format(printf, 2, 3))) void progress_show(struct lesson *lesson, const char *format,
                                                         ...);
void progress_clear(struct lesson *lesson);
const char *progress_heading(void);

/* Draws these lines in place of those that are there, cut to the window's width. */
#define PROGRESS_COLUMNS 160
#define PROGRESS_LINES   17
void progress_draw(char lines[][PROGRESS_COLUMNS], int count);

/* Is a tenth of a second over since the last drawing? */
bool progress_due(void);
double coarse_clock(void); /* CLOCK_MONOTONIC_COARSE, in seconds */

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

/* ---- environment.c --------------------------------------------------------------------------- */

/* OpenMP and OpenBLAS read some settings before main; this sets what is missing and executes the
 * program once again, so that they see it. Returns at once in that second life. */
void environment_prepare(char **argv);

/* What was decided about OpenBLAS, and about OpenMP's places, in words; "" if there was nothing to
 * decide. */
const char *environment_blas_note(void);
const char *environment_openmp_note(void);

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

/* ---- places.c ------------------------------------------------------------------------------ */

/* The path of a file of the project, "chapters/01_pool_map/notebook.py": in one of the directories
 * above the program, wherever the whole was moved to; else where it was compiled. */
int source_path(const char *file, char path[PATH_MAX], struct error *error);

/* The path of the program with this name, as a shell finds it; the caller frees it. NULL: there is
 * none. */
char *find_program(const char *name);

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
    char blas[64];      /* "OpenBLAS 0.3.21", or another that was put before it */
    const char *core;   /* OpenBLAS's kernels; "": it is another */
    int blas_threads;   /* machine_look_at_blas has seen them; 0: it does not say */
};

/* Before there are threads and processes: what FORKJOIN_ISA says, or else the best. Ends the
 * program if the machine cannot do it. */
void machine_choose_isa(struct lesson *lesson);

/* After pool_startup, because it enters an OpenMP region. */
void machine_inspect(struct machine *machine);

/* After the options, where tasks call BLAS: how many threads a product has, and is there address
 * space for its buffers? Ends the program if not. */
void machine_look_at_blas(struct lesson *lesson);

/* Prints the banner. */
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

/* What --plot draws on: by the end of the name, "-" being the terminal. */
enum plot_format { PLOT_TERMINAL, PLOT_SVG, PLOT_PNG, PLOT_PDF, PLOT_UNKNOWN };
enum plot_format plot_format(const char *path);

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
void arrays_free_all(struct lesson *lesson);

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

/* ---- clock.c, figures.c; the rest of the measurement is in measure.h ------------------------- */

/* CLOCK_MONOTONIC, in seconds. */
double wall_clock(void);

/* The results of one workload, kept for JSON, CSV and the report page. */
struct measured {
    struct lesson_results results;
    lesson_function *run[LESSON_MODES]; /* the workload's */
    struct lesson_figures *figures;
    char *name, *title; /* the workload's; title may be NULL */
    bool quiet;         /* it was not shown: its timeline is drawn at the end */
    char *size_name;    /* of a step of lesson_sweep: what was varied, and its size; else NULL */
    size_t size;
    struct measured *next;
};

/* What was kept with these results; NULL: they are none of the lesson's. */
struct measured *measured_of(struct lesson *lesson, const struct lesson_results *results);

/* ---- record.c -------------------------------------------------------------------------------- */

/* Who wants to know of the tasks of a run: lesson_run.watched. */
struct lesson_watch {
    bool recorded;     /* the recording */
    struct live *live; /* the live view, or NULL */
};

/* Was anything asked for that needs recordings? */
bool record_wanted(const struct lesson *lesson);

/* From begin to end everybody records. */
void record_begin(struct lesson *lesson, int workers);
void record_end(struct lesson *lesson);

/* What was recorded last, from `begin` (a time of CLOCK_MONOTONIC, in seconds) on, for `wall`
 * seconds; record_free frees it. */
struct lesson_timeline *record_take(struct lesson *lesson, enum lesson_mode mode, int workers,
                                    double begin, double wall);
void record_free(const struct lesson_timeline *timeline);

/* ---- team.c: the threads that were asked for and those that ran -------------------------------
 */

/* The threads or processes that did the row's work. */
int at_work(const struct lesson_figures *figures);

/* Did fewer threads run than were asked for? */
bool is_short_handed(const struct lesson_figures *figures);

/* The workers as tables show them: "4", or "4*" where fewer ran; and, below the table, a line for
 * each such number: "  * 4 workers   only 2 threads ran: OMP_THREAD_LIMIT allows no more". */
const char *team_text(const struct lesson_figures *figures);
void team_notes(struct lesson *lesson, const struct lesson_results *results);

/* What allowed a team of no more than so many threads: "OMP_THREAD_LIMIT allows no more". */
const char *team_limit_text(int threads);

/* ---- report.c, why.c ------------------------------------------------------------------------- */

void report_table(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_results *results);

/* Why this row came out as it did, as one sentence or two; the caller frees it. NULL: out of
 * memory. */
char *why_text(const struct lesson_figures *figures, const struct lesson_figures *sequential,
               int cores);

/* Was the lock given back for each task, as NumPy's kernels do? That lets tasks run side by side:
 * then what is true of threads is true of mode gil. */
bool gives_lock_back(const struct lesson_figures *figures);

void why_print(struct lesson *lesson, const struct lesson_results *results);

/* ---- timeline.c ------------------------------------------------------------------------------ */

/* What --timeline draws of a workload's recorded runs, if it was asked for. */
void timeline_draw(struct lesson *lesson, const char *name, const struct lesson_results *results);

/* ... and of all workloads that were measured quietly. */
void timeline_draw_quiet(struct lesson *lesson);

/* ---- output.c, json.c, csv.c, trace.c -------------------------------------------------------- */

/* Dies if the files that were asked for could not be written later. */
void output_check(struct lesson *lesson);
void output_prepare(struct lesson *lesson); /* makes the --save directory */
void output_write(struct lesson *lesson); /* all files, --plot, and what goes to standard output */

/* Everything that --json writes, as a document of the caller's. Dies when memory is short. */
struct json_t *output_document(struct lesson *lesson);
void output_json(struct lesson *lesson, FILE *stream);

/* What --csv writes. */
void output_csv(struct lesson *lesson, FILE *stream);

/* What --trace writes. */
void trace_write(struct lesson *lesson, FILE *stream);

/* ---- utf8.c ---------------------------------------------------------------------------------- */

/* The length of the UTF-8 character that begins here; 0: there is none, or it is a control. */
size_t utf8_character(const char *text);

/* So many characters. */
size_t utf8_length(const char *text);

/* ---- json_values.c --------------------------------------------------------------------------- */

/* Infinity and NAN, which are no numbers in JSON, become null. */
struct json_t *number_or_null(double value);

/* Text that may hold a path, with ? for what is not UTF-8. NULL: out of memory. */
struct json_t *text_value(const char *text);

/* ---- series.c: what a class can plot by itself ----------------------------------------------- */

/* These results are a step of a sweep: what was varied, and its size there. */
void series_note_size(struct lesson *lesson, const struct lesson_results *results,
                      const char *size_name, size_t size);

/* Takes an entry for "series" of --json, the caller's reference with it. */
void series_add(struct lesson *lesson, struct json_t *series);

/* The "series" of --json: what was added, and, of each workload that was shown with several
 * numbers of workers, one for each way. */
struct json_t *series_document(struct lesson *lesson);

/* ---- step.c: --step, what the room expects beside what is measured --------------------------- */

/* Reads --answers; dies of a wrong line, or if there is nobody to ask. */
void step_prepare(struct lesson *lesson);
void step_free(struct lesson *lesson);

/* Of one workload, one after the other: the sequential run is shown; a row, of which mode, workers
 * and name are known, is asked for; it is shown beside what was expected, and why, when it and the
 * sequential runs beside it are measured; the table will follow. */
void step_sequential(struct lesson *lesson, const struct lesson_workload *workload,
                     const struct lesson_figures *sequential);
void step_ask(struct lesson *lesson, const struct lesson_workload *workload,
              const struct lesson_figures *row);
void step_compare(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_figures *row, const struct lesson_figures *sequential);
void step_pause(struct lesson *lesson);

/* All predictions of the chapter, at its end; nothing without --step. */
void step_score(struct lesson *lesson);

/* ---- command.c ------------------------------------------------------------------------------- */

/* `text` with {}, {/}, {.} and {/.} replaced for the file; the caller frees it. NULL: no memory. */
char *command_word(const char *text, const char *file);

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
    const char **paths;  /* of the chapter's LESSON_PATHS option */
    char sizes[256];     /* the sizes that the command line gave: "--tasks 100, --size 5x5" */
    char *command_words; /* of lesson_command */
    size_t *command_at;

    /* How to speak */
    bool silent;   /* nothing on standard output but what --json - and --csv - ask for */
    bool colour;   /* standard output is a terminal */
    bool progress; /* standard error is one */
    void (*before_output)(struct lesson *lesson); /* NULL: it has been done */
    bool terms_told, phases_told;

    /* What is measured */
    struct array_set *sets;      /* of all workloads */
    struct array_set *preparing; /* while a workload's prepare runs */
    struct measured *measured, **last_measured;
    bool restless; /* idle threads kept computing, so CPU times have too much in them */
    bool grown;    /* a workload followed --seconds */
    bool failed;
    struct lesson_watch watch;
    struct timeline *recording; /* the buffers, NULL until there is a run to record, ... */
    int recorded_workers;       /* ... for so many */

    /* What is made of it */
    struct conclusion *conclusions, **last_conclusion;
    struct chart *charts; /* what is drawn; charts_complete adds the workloads' */
    bool charts_complete;
    struct json_t *series; /* of lesson_sweep */
    struct json_t *ladder; /* the rows of lesson_ladder */

    /* What could not be written for reasons that others will share */
    struct lost_output {
        const char *option;
        int reason;
    } lost[8];
    size_t lost_count;

    /* --step */
    struct step *step;                 /* or NULL */
    struct json_t *predictions;        /* asked for and answered, or NULL */
    bool ended_early;                  /* by an answer, through ... */
    int (*end)(struct lesson *lesson); /* lesson_end */

    /* Python */
    struct json_t *notebook; /* what notebook.py reported, or its error; NULL: it was not run */
    struct saved_array *saved, **last_saved;
    struct python_row *python_rows, **last_python; /* in the order of Pythons, workloads, modes */
    struct json_t *python_reports; /* an object for each Python, or its error; NULL: no --python */
};

#endif
