/* internal.h - what the parts of the pool know of each other; not for use outside this room.
 *
 *   arena.c    the shared memory, mapped at one address in every process
 *   helper.c   the small process that forks all workers, reaps them and reports their deaths
 *   worker.c   what a worker process does
 *   pool.c     the parent's side: create, wait, mend what a death broke
 *   map.c      the parent's side of a map: build the job, publish it, collect its results
 *
 * All that two processes share is in struct board and struct job, in the arena. Every word there
 * has one writer at a time, or is changed by one atomic operation, and no lock exists: a process
 * that dies between two instructions leaves nothing that another would wait for.
 */
#ifndef PARALLEL_INTERNAL_H
#define PARALLEL_INTERNAL_H

#include "common/parallel/pool.h"
#include <stdatomic.h>
#include <time.h>

/* ---- arena.c ------------------------------------------------------------------------------- */

struct arena_place { /* how a fresh copy of the program finds the arena */
    int fd;
    void *base;
    size_t size;
};

int arena_map(struct error *error);
int arena_attach(const struct arena_place *of_parent);
const struct arena_place *arena_place(void); /* fd -1: not mapped */

/* Whole pages, for the process that called arena_map only; zeroed if asked for. */
void *arena_allocate(size_t bytes, bool zeroed, struct error *error);
void arena_free(void *memory);

/* ---- What parent and workers share --------------------------------------------------------- */

#define CACHE_LINES 128 /* two lines: neighbours are fetched in pairs */
#define JOB_SLOTS   16
#define NAME_LENGTH 128
#define SPIN        50e-6 /* seconds to look again before going to sleep, where a core is idle */

/* The state of a chunk: 0, the id of the worker that claimed it, that id | CHUNK_DONE, or
 * CHUNK_LOST. Ids are never used twice in a pool, so a claim can never be mistaken. */
#define CHUNK_DONE 0x80000000u
#define CHUNK_LOST 0x40000000u
#define MAX_ID     0x3fffffffu

struct chunk {
    _Atomic uint32_t owner;
    uint32_t completed; /* elements done; valid with CHUNK_DONE */
};

/* The lowest task error that the worker in one slot met in a job. It is written to the record
 * that is not current, then made current, so that death in between leaves the old one whole. */
struct task_error {
    size_t index;
    char message[sizeof((struct error *)0)->message];
};

struct job_slot {
    _Alignas(CACHE_LINES) _Atomic uint64_t busy_ns; /* time spent in this job's chunks */
    _Atomic uint32_t current;                       /* 0: no error; else errors[current - 1] */
    struct task_error errors[2];
};

struct job {
    char function[NAME_LENGTH];
    size_t tasks, chunksize, chunk_count, column_count;
    struct pool_column columns[POOL_MAX_COLUMNS]; /* all pointers lie in the arena */
    struct pool_results results;
    struct job_slot *slots;                    /* [workers] */
    struct chunk *chunks;                      /* [chunk_count] */
    _Alignas(CACHE_LINES) _Atomic size_t next; /* hint: where to try to claim */
};

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_FAILED };

struct worker_slot {
    _Alignas(CACHE_LINES) _Atomic uint32_t id; /* of the worker that has this slot now */
    _Atomic int state;                         /* enum worker_state */
    _Atomic int parked;                        /* asleep until the bell changes */
    _Atomic(struct job *) job;                 /* is looking at it: it must not be freed */
    _Atomic uint64_t chunks_done;
    char message[sizeof((struct error *)0)->message]; /* with WORKER_FAILED */
};

struct board {
    _Alignas(CACHE_LINES) _Atomic uint32_t bell; /* changes when there may be something to do */
    _Alignas(CACHE_LINES) _Atomic int parent_parked;
    _Alignas(CACHE_LINES) _Atomic(struct job *) jobs[JOB_SLOTS];
    int workers;
    int threads_per_worker;
    double spin; /* seconds; 0 where every core has a worker of its own to run */
    bool place;  /* there is a core for each worker: they start on different ones */
    char initializer[NAME_LENGTH];
    const void *initializer_argument;
    struct worker_slot slots[];
};

long futex(_Atomic uint32_t *word, int operation, uint32_t value);
double now(void); /* CLOCK_MONOTONIC, in seconds */
pool_function *pool_find(const char *name);
const char *pool_name(pool_function *function);

/* 0 if a worker would find this function, and no other, by its name. `what` it is goes into the
 * message. */
int check_registered(pool_function *function, const char *what, struct error *error);

/* ---- worker.c ------------------------------------------------------------------------------ */

/* What a new worker process is told. */
struct worker_start {
    struct board *board;
    int slot;
    uint32_t id;
    int life_fd;  /* hangs up when the parent is gone or wants the worker to end */
    int event_fd; /* wakes the parent */
};

/* Does not return: runs tasks until the life line hangs up. */
_Noreturn void worker_main(const struct worker_start *start);

/* In a fresh copy of the program: the start that its environment describes. False if none is
 * there; does not return if it is there and is wrong. */
bool worker_start_from_environment(struct worker_start *start);
int worker_start_to_environment(const struct worker_start *start);
#define WORKER_ENVIRONMENT "FORKJOIN_WORKER"

/* ---- helper.c ------------------------------------------------------------------------------ */

struct helper {
    pid_t pid;
    int socket; /* -1: gone */
};

/* Forks a helper from this process as it is. */
int helper_start(struct helper *helper, struct error *error);

/* Ends it and its workers, and waits for it. */
void helper_stop(struct helper *helper);

/* What the helper tells: a worker has been started, or could not be, or has died. */
struct helper_report {
    bool died;
    struct board *board; /* which worker: the pool's board, the slot, the id */
    int slot;
    uint32_t id;
    pid_t pid;
    int error_number; /* not started: why */
    int status;       /* died: as from wait */
    double cpu_seconds;
};

/* Asks the helper to start one worker, which gets copies of start's descriptors; `spawn`: as a
 * fresh copy of the program. A report follows. 1; 0 if the helper has reports to be received
 * first; -1 if it is gone. */
int helper_start_worker(struct helper *helper, const struct worker_start *start, bool spawn);

/* Asks the helper to kill -9 the worker in this slot, or all workers of the board (slot -1).
 * Answers as helper_start_worker. */
int helper_kill(struct helper *helper, struct board *board, int slot);

/* Takes one report if one is there: 1, 0 if none is waiting, -1 if the helper is gone. */
int helper_receive(struct helper *helper, struct helper_report *report);

/* Closes every descriptor from 3 on but these, in a new process. */
void close_other_descriptors(const int *keep, int count);

/* ---- The parent's side: pool.c, map.c ------------------------------------------------------- */

/* What the parent knows of one worker. */
struct worker_record {
    pid_t pid;   /* 0: none is running in this slot */
    uint32_t id; /* as the board's slot has it */
};

/* The parent's side of a job that has been published. */
struct submission {
    struct job *job;
    int board_slot;
    size_t scanned;          /* all chunks below are done or lost */
    size_t lost;             /* chunks given up */
    size_t first_lost;       /* the lowest of them */
    pid_t lost_worker;       /* who held it */
    char lost_how[128];      /* and how that worker died */
    unsigned char *attempts; /* [chunk_count], deaths so far; NULL until the first death */
    bool any_failed;         /* a chunk was not completed */
};

struct pool {
    struct pool_options options;
    struct board *board;
    void *initializer_copy;
    struct worker_record *workers;
    struct helper own_helper; /* start method fork */
    struct helper *helper;
    int life[2]; /* pipe: workers see the read end hang up when the write end is closed */
    int event_fd;
    uint32_t last_id;
    int alive;                   /* started, and not reported dead */
    int start_failed;            /* errno of a worker that could not be started, else 0 */
    int deaths_in_a_row;         /* without a chunk completed in between */
    uint64_t chunks_done_before; /* at the last death */
    bool closing, broken;
    char why_broken[128];
    struct submission *submission; /* the map that is running */
    struct job **retired; /* [workers + 1]: done, but a worker may still be looking at it */
    double cpu_of_dead;
    struct pool_statistics statistics;
    pid_t owner;
    struct pool *next;
};

/* Wakes up to this many sleeping workers, for a job that has just been put on the board. */
void ring(struct pool *pool, size_t workers);

/* Takes what the helper has to say: replaces dead workers, or breaks the pool. */
void hear_helper(struct pool *pool);

/* Until `reached`, or the pool is broken. */
typedef bool pool_condition(struct pool *pool);
void wait_until(struct pool *pool, pool_condition *reached);

/* Frees the retired jobs that no worker looks at any more. */
void free_retired(struct pool *pool);

#endif
