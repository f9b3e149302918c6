/* python.h - --python: the chapter's notebook.py, run and compared; private to common/lesson.
 *
 * python.c finds a Python and runs the notebook in it (child.c), arguments.c makes its command
 * line, temporary.c a directory for its arrays, which saved.c compares with the chapter's. beside.c
 * does all that and keeps the rows, and beside_table.c shows them.
 */
#ifndef LESSON_PYTHON_H
#define LESSON_PYTHON_H

#include "common/lesson/explain/explain.h"

/* ---- python.c -------------------------------------------------------------------------------- */

/* A Python that can run the chapter's notebook.py. The caller frees it. */
struct python {
    char *path;
    char *help; /* what notebook.py --help printed */
};
void python_free(struct python *python);

/* The one that FORKJOIN_PYTHON names, or else the first that can: python3 in PATH, Debian's. Also
 * without NumPy, if the notebook can do without. */
int python_find(struct lesson *lesson, struct python *python, struct error *error);

/* The same for this program. */
int python_try(struct lesson *lesson, const char *program, struct python *python,
               struct error *error);

/* The paths of all python3.*t in PATH, whose threads share no lock, each name once. The caller
 * frees them and the array; a NULL ends it. */
char **python_free_threaded(struct lesson *lesson);

/* FORKJOIN_PYTHON_SECONDS, or else `seconds`. Ends the program if that is no number. */
double python_seconds(struct lesson *lesson, double seconds);

/* Runs notebook.py with options[count], for at most `limit` seconds. The report that it printed, a
 * new reference. NULL with *error: ERROR_TIMEOUT, ERROR_INVALID (it refused the options), or
 * anything else (it failed). If it reported, but ended with another status than 0, both. */
struct json_t *python_run(struct lesson *lesson, const struct python *python,
                          const char *const *options, size_t count, double limit,
                          struct error *error);

/* ---- arguments.c
 * --------------------------------------------------------------------------------- */

/* A command line's. {0} at first. */
#define MOST_WORDS 80
struct words {
    char *list[MOST_WORDS];
    size_t count;
};
__attribute__((format(printf, 3, 4))) void words_add(struct lesson *lesson, struct words *words,
                                                     const char *format, ...);
void words_free(struct words *words);

/* The chapter's options that the notebook has, by its --help, as they are now; and the seed,
 * --workers and --repeats, which is 1 if the command line does not say. */
void words_add_options(struct lesson *lesson, struct words *words, const char *help);

/* "notebook.py --tasks=100 --workers=2"; the caller frees it. */
char *words_text(struct lesson *lesson, const struct words *words);

/* The options that make the notebook's work smaller, "--tasks, --iterations", in a static buffer.
 */
const char *words_sizes(const struct lesson *lesson, const char *help);

/* ---- saved.c --------------------------------------------------------------------------------- */

/* What lesson_save was given, kept with --python to compare with. */
struct saved_array {
    char *file;
    struct npy_array array;
    struct saved_array *next;
};
void saved_keep(struct lesson *lesson, const char *file, enum npy_type type, int dimensions,
                const size_t *shape, const void *data);
void saved_free(struct lesson *lesson);

/* Is the file with this array's name in the directory the same array? Whole numbers exactly, others
 * as numpy.isclose(ours, theirs, rtol=1e-5, atol=1e-5). If not, -1 and the first difference in one
 * line. */
int saved_compare(const struct saved_array *ours, const char *directory, struct error *error);

/* ---- beside.c, beside_table.c: --python ------------------------------------------------------ */

/* One row of the same in Python. Times in seconds. */
struct python_row {
    char *python;          /* "Python 3.11.2", "Python 3.13.1t" */
    char *workload;        /* C's name of it, or else Python's own */
    char *name;            /* what the notebook calls it */
    enum lesson_mode mode; /* LESSON_GIL: threads of a Python with a GIL; LESSON_THREADS: without */
    int workers, repeats;
    size_t tasks;
    bool sample; /* only some of C's tasks, for they take long; c_speedup is per task */
    double wall, wall_min, wall_max; /* wall: median */
    double cores_busy;               /* NAN: unknown, as of processes */
    double startup, whole;
    double speedup;                 /* against Python's own sequential row */
    enum lesson_transfer transfer;  /* of processes: how the notebook passes its data */
    const struct lesson_figures *c; /* C's row of the same mode and workers, or NULL */
    double c_speedup;               /* how many times as fast that is; NAN if there is none */
    bool compared;                  /* was there a result of C's to compare with? */
    bool matches_sequential, matches_c, matches; /* matches: both */
    struct python_row *next;
};

/* Dies if what the environment says of Python is wrong. */
void beside_check(struct lesson *lesson);

/* With --python: runs the notebook in each Python, fills lesson->python_rows and python_reports,
 * and prints the tables. A line on standard error where that cannot be done. */
void beside_run(struct lesson *lesson);
void beside_free(struct lesson *lesson);

/* The rows from `first` on, which are those of one Python. */
void beside_table(struct lesson *lesson, const struct python_row *first, const char *command);

#endif
