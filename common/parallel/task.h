/* task.h - a task's view of the call it is in, and a worker's of the chunk. */
#ifndef PARALLEL_TASK_H
#define PARALLEL_TASK_H

#include "common/parallel/board.h"
#include "common/parallel/output.h"
#include "common/parallel/timeline.h"

/* What pool_task_ functions look at. */
struct pool_task {
    size_t index;
    const struct worker_slot *slot; /* with time limits, else NULL */
    struct worker_slot *own;        /* where pool_task_add_cpu counts; NULL: not in a worker */
    int worker;                     /* its number; without meaning where own is NULL */
    struct output_writer writer;    /* pool_task_append's */
    uint64_t started;
    char message[sizeof((struct error *)0)->message];
};

/* What a worker records of its tasks (timeline.h). */
struct recorder {
    struct timeline_row *row; /* NULL: nothing */
    uint64_t begin, last;     /* of the chunk, of what was recorded last */
    uint32_t tasks;           /* since then */
    uint32_t every;           /* so many tasks make an event */
};

/* Runs the tasks of one chunk that the worker in slot `number` of the board has claimed, until one
 * fails: as in Python that ends its chunk. A worker that died may have done some of them; the chunk
 * goes on where it ended. */
void run_chunk(struct board *board, int number, struct job *job, pool_function *function,
               size_t chunk, struct recorder *recorder);

/* In a new worker: from now on a process that a task makes by fork ends with the task, and does not
 * go on as a second worker. 0 or an errno. */
int notice_copies(void);

/* A task, or an initializer, returned this and may have said why; else this is the error's text. */
void name_failure(struct pool_task *task, int returned);

#endif
