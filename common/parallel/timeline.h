/* timeline.h - who did what when: a recording of one run, thread by thread and worker by worker.
 *
 * A recording has rows, a fixed buffer of events for each thread of this process or worker process
 * that did something. Only its own thread or worker writes to a row, and nobody waits for anybody:
 * an event costs one look at the clock and one store of 32 bytes. What finds its buffer full is
 * counted and dropped. All of it lies in the shared memory of the pools, so that workers of every
 * start method write there.
 *
 * Who records what: the pool and the loader, the chunks and tasks of their workers, and what they
 * copy; the GIL, who waited for it and who held it; the program, its own loops over tasks
 * (timeline_task_done). While no recording is on, each of these is one load and one branch.
 *
 * Within a row two events are apart, or one lies inside the other: where a thread holds the GIL
 * when a task ends, what it held is recorded in two pieces, one of each task. The GIL_HELD of two
 * threads never overlap.
 */
#ifndef PARALLEL_TIMELINE_H
#define PARALLEL_TIMELINE_H

#include "common/error.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum timeline_kind {
    TIMELINE_TASK,     /* computed a task, or several in one go */
    TIMELINE_CHUNK,    /* of a pool: had a chunk of tasks; its tasks lie inside */
    TIMELINE_COPY_IN,  /* arguments were copied to the workers: the parent's row */
    TIMELINE_COPY_OUT, /* results were copied back: the parent's row */
    TIMELINE_GIL_WAIT, /* waited for the GIL, perhaps in the midst of a task */
    TIMELINE_GIL_HELD, /* held it; in pieces that end where a task ends */
    TIMELINE_KINDS
};

struct timeline_event {
    uint64_t begin, end; /* of CLOCK_MONOTONIC, in ns */
    uint64_t index;      /* of the first task, or of the chunk; of a copy: bytes */
    uint32_t kind;       /* enum timeline_kind */
    uint32_t tasks;      /* how many, from index on, or in the chunk; of others 0 */
};

struct timeline;

/* Room for a thread or worker each, `workers` of them and as many others, with so many events each
 * (0: as many as 32 MB hold, at most 128 K). pool_startup comes first. NULL with *error. */
struct timeline *timeline_create(int workers, size_t events, struct error *error);

/* Not while it records, nor before the pools that worked meanwhile have finished their work. */
void timeline_free(struct timeline *timeline);

/* Forgets what was recorded before and records from now on, in this process and in the workers that
 * get work from it; the calling thread has row 0. One recording at a time; workers make none.
 * Begin and end while no task runs. */
void timeline_start(struct timeline *timeline);
void timeline_stop(void);

enum timeline_who { TIMELINE_NOBODY, TIMELINE_THREAD, TIMELINE_WORKER };

struct timeline_row_view {
    enum timeline_who who;
    int number; /* of a thread in its OpenMP team (-1: it is in none), of the worker in its pool */
    pid_t pid;
    const struct timeline_event *events;
    size_t count, lost;
};

/* After timeline_stop: who has this row (0 .. rows - 1), and what it did, in no order. */
int timeline_rows(const struct timeline *timeline);
struct timeline_row_view timeline_row_view(const struct timeline *timeline, int row);

/* Events of threads, and chunks of workers, for which there was no row. */
size_t timeline_lost(const struct timeline *timeline);

/* ---- Recording, in a thread of the program --------------------------------------------------- */

extern _Atomic(struct timeline *) timeline_recording; /* private: NULL while none is on */

static inline bool timeline_is_on(void)
{
    return __builtin_expect(atomic_load_explicit(&timeline_recording, memory_order_relaxed) != NULL,
                            0);
}

uint64_t timeline_clock(void); /* now, in ns */

/* The calling thread has just finished these tasks; they began when it finished those before, or
 * when timeline_task_begin said so; the first after timeline_start or timeline_tasks_begin began
 * there, or when the thread then got the GIL. */
void timeline_task_done(size_t index, size_t tasks);
void timeline_task_begin(void);

/* No task that is done from here on, by whatever thread, began before: before the second of several
 * loops in one run. */
void timeline_tasks_begin(void);

/* Anything else that the thread did, which must not overlap in part with what it recorded. */
void timeline_span(enum timeline_kind kind, uint64_t begin, uint64_t end, size_t index,
                   size_t tasks);

/* For gil.c. Taken now, waited for since `waited` (0: not at all). Dropped, at a moment while the
 * thread still held it. */
void timeline_gil_taken(uint64_t waited);
void timeline_gil_dropped(uint64_t dropped);

/* ---- Recording, in a worker ------------------------------------------------------------------ */

struct timeline_row;

/* The recording that jobs from this process belong to, for their workers; NULL: none. */
struct timeline *timeline_of_jobs(void);

/* The row of the worker in this slot of its pool; `own`: an address in shared memory that only the
 * worker in this slot has, whichever worker that is. NULL, and lost by one: no row is left. Not
 * before it has a chunk to do: from then on until the chunk is done the recording is not freed. */
struct timeline_row *timeline_worker_row(struct timeline *timeline, int slot, const void *own);
void timeline_add(struct timeline_row *row, enum timeline_kind kind, uint64_t begin, uint64_t end,
                  size_t index, size_t tasks);

/* In a new process, which may be a copy of a program that records: what it does is not recorded. */
void timeline_forget(void);

#endif
