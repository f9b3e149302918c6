/* serve.h - a process that measures: what bench_ours and bench_onednn have in common.
 *
 * bench.py starts the process, pinned and with its number of threads, and asks on standard input;
 * between two questions the process sleeps. Each answer is one line of JSON.
 *
 *   about                                 what is measured with: compiler, libraries, ...
 *   begin SLOT NAME SIZE SIZE DIRECTORY   makes contender NAME ready
 *   sample SLOT CALLS                     seconds for CALLS calls, after a short warm-up
 *   end SLOT                              frees it
 *
 * What `begin` makes ready has its inputs in files of DIRECTORY; it tells the time for that and of
 * the first call, and how far the result was from the reference (float64, another file there).
 *
 * The loop around the calls is here, in C, and the clock stands outside of it: a call costs an
 * indirect jump, a nanosecond. A call that uses threads ends when the last of them is done, so its
 * time is the maximum over threads.
 */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TASK_BLOCKS 24

/* A contender made ready. */
struct task {
    const char *directory;
    size_t size[2]; /* of the case: height and width, or n and 0 */
    int threads;
    void *own;                   /* what begin made for call */
    size_t per;                  /* one call does the work of so many; begin sets another than 1 */
    const float *result;         /* of a call, and how many, to be compared with the first of the */
    const double *result_double; /* reference's; both NULL: there is nothing to compare */
    size_t results;
    const char *reference; /* file name; "reference" unless begin sets another */
    char note[160];        /* what the table should say of it */
    char failure[200];     /* why begin returned -1 */
    void *blocks[TASK_BLOCKS];
    size_t block_count;
};

struct contender {
    const char *name;
    int (*begin)(struct task *task);    /* 0, or -1 with task->failure */
    void (*call)(struct task *task);    /* what is timed */
    void (*arrange)(struct task *task); /* or NULL; brings the result into the reference's order */
    void (*end)(struct task *task);     /* or NULL; frees what is not of task_memory */
};

/* Memory that is freed with the task, zeroed, on a border of 64 bytes; large arrays begin on a huge
 * page and ask for them, as NumPy's do. NULL with task->failure. */
void *task_memory(struct task *task, size_t bytes);

/* A file of the task's directory, into task_memory: *bytes of them (bytes may be NULL). */
void *task_file(struct task *task, const char *name, size_t *bytes);

/* Writes task->failure and returns -1. */
__attribute__((format(printf, 2, 3))) int task_fail(struct task *task, const char *format, ...);

/* Answers until standard input ends. about: what is measured with, an object that is taken over.
 * The exit status. */
int serve(const struct contender *contenders, size_t count, int threads, json_t *about);

double seconds_now(void);

#endif
