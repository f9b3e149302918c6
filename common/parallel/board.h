/* board.h - what a program and its workers share: the board of a pool, and its jobs.
 *
 * All of it lies in the arena. Every word has one writer at a time, or is changed by one atomic
 * operation, and no lock exists: a process that dies between two instructions leaves nothing that
 * another would wait for.
 */
#ifndef PARALLEL_BOARD_H
#define PARALLEL_BOARD_H

#include "common/error.h"
#include "common/parallel/inherit.h"
#include "common/parallel/pool.h"
#include <stdatomic.h>

#define CACHE_LINES 128 /* two lines: neighbours are fetched in pairs */
#define NAME_LENGTH 128

/* The state of a chunk: 0, the id of the worker that claimed it, that id | CHUNK_DONE, or
 * CHUNK_GIVEN_UP | an enum pool_task_state. Ids are never used twice in a pool, so a claim can
 * never be mistaken. */
#define CHUNK_DONE     0x80000000u
#define CHUNK_GIVEN_UP 0x40000000u
#define MAX_ID         0x3fffffffu

struct chunk {
    _Atomic uint32_t owner;
    _Atomic uint32_t completed; /* tasks done, from the chunk's first one on */
};

/* The lowest task error that the worker in one slot met in a job. It is written to the record
 * that is not current, then made current, so that death in between leaves the old one whole. */
struct task_error {
    size_t index;
    char message[sizeof((struct error *)0)->message];
};

struct job_slot {
    _Atomic uint64_t busy_ns; /* time spent in this job's chunks */
    _Atomic size_t run;       /* the first of the chunks that its worker took last, to try */
    _Atomic uint32_t current; /* 0: no error; else errors[current - 1] */
    struct task_error errors[2];
};

/* In the order in which a worker needs it: a small job is read in a few cache lines. */
struct job {
    _Alignas(CACHE_LINES) size_t tasks, chunksize, chunk_count, column_count;
    size_t first_index;     /* what pool_task_index says of the first task */
    struct chunk *chunks;   /* [chunk_count] */
    struct job_slot *slots; /* [slot_count]: one for each worker; one chunk needs only one */
    int slot_count;
    struct heap *heap;         /* for results that grow, which are structs output then; or NULL */
    struct timeline *timeline; /* where workers record what they do of it, or NULL */
    struct pool_results results;
    struct pool_column columns[POOL_MAX_COLUMNS]; /* all pointers lie in the arena */
    char function[NAME_LENGTH];
    size_t size;                               /* bytes of all this: the parent's */
    struct job *retired;                       /* the next one in a list of the parent's */
    _Alignas(CACHE_LINES) _Atomic size_t next; /* hint: where to try to claim */
    _Atomic size_t finished;                   /* chunks done, as far as counted ... */
    _Atomic int uncertain;  /* ... and some may not be: a worker died, or chunks were withdrawn */
    _Atomic int incomplete; /* a task of it failed, was lost or withdrawn */
};

/* FAILED: the initializer failed. UNABLE: something that a worker needs could not be had. */
enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_FAILED, WORKER_UNABLE, WORKER_RETIRED };

struct worker_slot {
    _Alignas(CACHE_LINES) _Atomic int state; /* enum worker_state, of the worker that has it now */
    _Atomic int parked;                      /* asleep until the bell changes */
    _Atomic(struct job *) job;               /* is looking at it: it must not be freed */
    _Atomic uint64_t chunks_done;
    _Atomic uint64_t wakeups;    /* of the parent */
    _Atomic uint64_t started;    /* with time limits: when the current task began, in ns; 0: none */
    _Atomic uint64_t overdue;    /* the parent's: the task that began then has had its time */
    _Atomic uint64_t outside_ns; /* pool_task_add_cpu */
    _Atomic uint64_t initializing; /* when the initializer began, in ns; 0: it does not run */
    int error_number;              /* with WORKER_UNABLE: an errno or 0 */
    char message[sizeof((struct error *)0)->message]; /* with WORKER_FAILED, WORKER_UNABLE */
};

#define MOST_SPINNING 24

struct board {
    /* Changed by the parent for every job, read by workers that look for work. */
    _Alignas(CACHE_LINES) _Atomic uint32_t bell; /* changes when there may be something to do */
    _Atomic int waiting_on; /* the processor of the thread of the parent that waited last */
    /* So many workers may look for work without sleeping: there is a core for them beside the
     * parent's. Their ids, or 0. */
    int spin_places;
    _Atomic uint32_t spinners[MOST_SPINNING];

    _Alignas(CACHE_LINES) _Atomic uint32_t news; /* changes when there may be something done */
    _Atomic int listeners;                       /* threads of the parent that sleep until then */
    _Atomic int manager_listens; /* the manager wants to hear of the next job that is done */

    _Alignas(CACHE_LINES) int workers;
    int job_slots;
    int threads_per_worker;
    int nesting;
    long maxtasksperchild;
    bool time_limits;
    bool background;
    bool keep_descriptors; /* workers have the program's, as they were when they were forked */
    bool keep_stdin;       /* tasks read the program's standard input */
    bool place;            /* there is a core for each worker: they start on different ones */
    char initializer[NAME_LENGTH];
    const void *initializer_argument;
    struct inherited inherited;  /* from the program, as it was when it made the pool */
    _Atomic(struct job *) *jobs; /* [job_slots] */
    struct worker_slot slots[];
};

/* The tasks of chunk i: the first, and how many. */
static inline size_t chunk_first(const struct job *job, size_t i)
{
    return i * job->chunksize;
}

static inline size_t chunk_tasks(const struct job *job, size_t i)
{
    const size_t after = job->tasks - i * job->chunksize;
    return after < job->chunksize ? after : job->chunksize;
}

/* Of a counter with one writer, so that loading and storing is enough. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

#endif
