/* options.h - the command line.
 *
 *   options.c        the options of all chapters, and argp
 *   own_options.c    the chapter's own
 *   option_values.c  values, and how a wrong one is refused
 *   parse.c          numbers and names from text
 */
#ifndef LESSON_OPTIONS_H
#define LESSON_OPTIONS_H

#include "common/lesson/host/host.h"

#define MOST_INTERVALS 16 /* that one run may compare */

/* ---- parse.c
 * -------------------------------------------------------------------------------------- */

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

/* The largest of --workers. */
int options_most_workers(const struct options *options);

/* What --plot draws on: by the end of the name, "-" being the terminal. */
enum plot_format { PLOT_TERMINAL, PLOT_SVG, PLOT_PNG, PLOT_PDF, PLOT_UNKNOWN };
enum plot_format plot_format(const char *path);

/* The chapter's option whose value is at this address, or NULL. */
const struct lesson_option *options_find(const struct lesson *lesson, const void *value);

#endif
