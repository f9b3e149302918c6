/* internal.h - what the files of the pool know of each other; not for use outside this room.
 *
 * From the bottom to the top; each file calls only files above it in this list, never below:
 *
 *   base.c       the clock, sleeping and waking, threads;  descriptors.c  those that pools have
 *   inherit.c    what a worker takes over from its program
 *   resources.c  what this process may use of the machine;  blas.c  whose BLAS it is
 *   arena.c      the shared memory, mapped at one address in every process
 *   output.c     results that grow while a task is at work
 *   timeline.c   recordings of who did what when;  gil.c  a model of Python's lock
 *   shared_array.c  arrays with a shape and a type, and with a name if they shall be found
 *   registry.c   the tasks, by name
 *   task.c       a worker runs the tasks of a chunk
 *   worker.c     what a worker process does;  spawn.c  how a fresh copy of the program becomes one
 *   helper.c     the small process that forks all workers, reaps them and reports their deaths
 *   startup.c    the program's own helper, from the first line of main to its end
 *   job.c        the description of a piece of work in shared memory;  outcome.c  what came of it
 *   wait.c       waking the workers, and waiting for them
 *   board.c      a pool's memory, and whether it may be used
 *   result.c     a job that has been submitted, until its results are in place
 *   callback.c   the thread that calls the program's callbacks
 *   watch.c      what each worker has done of a map, for somebody who looks on while he waits
 *   submit.c     map, starmap, apply;  imap.c  iterators: a window of jobs, one chunk each
 *   manager.c    the pool's own thread: deaths, replacements, time limits, the end
 *   pool.c       create, close, destroy, statistics
 *   loader.c     batches of samples, and loader_*.c, its parts: loader_internal.h
 *
 * What two processes share is in board.h. What only the program's own threads share is here, in
 * struct pool, and guarded by its mutex.
 */
#ifndef PARALLEL_INTERNAL_H
#define PARALLEL_INTERNAL_H

#include "common/parallel/arena.h"
#include "common/parallel/base.h"
#include "common/parallel/board.h"
#include "common/parallel/helper.h"
#include "common/parallel/output.h"
#include "common/parallel/pool.h"
#include "common/parallel/registry.h"
#include "common/parallel/task.h"
#include "common/parallel/timeline.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---- A pool, and a result: as the program has them ------------------------------------------ */

/* What the parent knows of one worker. */
struct worker_record {
    pid_t pid;         /* 0: none is running in this slot, or its start was not yet reported */
    uint32_t id;       /* of the worker that has the slot */
    bool wanted;       /* to be started ... */
    double not_before; /* ... at this time */
    uint64_t killed;   /* the task, by its start, for which it was killed; 0: none */
};

/* An iterator that has not come to its end: work that was accepted. */
struct open_iterator {
    _Atomic pthread_t thread; /* that has used it last */
    struct open_iterator *next;
};

#define SMALL_JOB    ((size_t)4096) /* bytes that hold it, with its arguments and results */
#define JOBS_IN_SLAB 64

struct pool {
    pthread_mutex_t mutex;
    struct pool_options options;
    struct board *board;
    void *initializer_copy;
    pid_t owner;           /* the process that has made it */
    int cores;             /* that this process may use */
    atomic_int references; /* the program's, one for each result, the callback thread's */

    pid_t helper;      /* the process that starts its workers; 0: gone */
    int helper_socket; /* -1: gone */
    int life[2];       /* pipe: workers see the read end hang up when the write end is closed */
    int event_fd;

    /* The manager's; others read them under the mutex. */
    pthread_t manager;
    bool manager_runs;
    struct worker_record *workers;
    uint32_t last_id;
    int alive;                   /* started, and not reported dead */
    bool started;                /* all workers were ready once */
    bool helper_busy;            /* it takes no request before its reports are heard */
    int deaths_in_a_row;         /* without work, and without a chunk completed in between */
    uint64_t chunks_done_before; /* at the last death ... */
    double last_death;           /* ... and its time */
    double kill_asked;           /* when all workers were to be killed; 0: not yet */
    bool kill_sent;

    /* The end. */
    bool closed, cancelled, terminated; /* cancelled: nor is what was accepted begun */
    atomic_bool interrupted;
    struct error end;  /* why the pool is ending; code 0: it is not */
    atomic_bool ended; /* no worker is left, and all results are settled */

    /* Work. */
    struct pool_result *unfinished, *last_unfinished; /* in the order of submission ... */
    struct pool_result *first_queued; /* ... and from here on without a slot on the board */
    int *free_slots, free_slot_count; /* of the board */
    struct open_iterator *iterators;  /* that have not come to their end */
    size_t watched;                   /* unfinished results with callbacks */
    struct job *retired;              /* jobs that a worker may still be looking at ... */
    int retired_count;
    char **slabs; /* [slab_count], pieces of the arena, for small jobs ... */
    size_t slab_count;
    struct job *spare; /* ... of which these are free */

    _Atomic pthread_t callback_thread;
    pthread_cond_t callback_condition;
    pthread_cond_t collected; /* a result is ready */
    atomic_bool callback_thread_runs;
    bool callbacks_end, callbacks_ended;
    struct pool_result *calling; /* whose callback is being called, or NULL */
    struct pool_result *callbacks, **last_callback;

    pool_watch_function *watch; /* called by the thread `watcher` while it waits, or NULL */
    void *watch_context;
    pthread_t watcher;
    size_t *watch_done; /* [2][workers]: in chunks that are finished, and in all */

    double cpu_of_dead;
    struct pool_statistics statistics;
};

enum result_state {
    RESULT_UNFINISHED,
    RESULT_SETTLED,    /* its outcome is known, and nobody works on it any more */
    RESULT_COLLECTING, /* a thread copies what it gave */
    RESULT_COLLECTED,  /* results are in place, and its callback is to be called, or is being called
                        */
    RESULT_READY,
};

/* A job that has been submitted. */
struct pool_result {
    struct pool *pool;
    struct job *job; /* NULL: there were no tasks */
    struct pool_results results;
    struct pool_callbacks callbacks;
    _Atomic int state;
    _Atomic size_t scanned;  /* all chunks below are done or given up */
    int board_slot;          /* -1: it waits for one, or had one */
    atomic_int references;   /* the program's handle, the callback thread's */
    bool cancelled;          /* what a dead worker held is not to be run again */
    bool ended;              /* the pool ended before the work did */
    unsigned char *attempts; /* [chunk_count], deaths so far; NULL until the first death */
    struct error lost;       /* of the lowest task that was lost or timed out; code 0: none */
    struct error error;      /* the outcome; code 0: success */
    uint64_t copied;         /* bytes of arguments and results */
    double times[4];         /* submitted, published, settled, ready */
    struct pool_result *next, *previous; /* in pool->unfinished */
    struct pool_result *next_callback;
};

/* ---- startup.c ------------------------------------------------------------------------------ */

/* May this process have pools? Where it is a worker that may, it is given a helper and an arena. */
int startup_check(struct error *error);
int startup_cores(void); /* that this process may use, as it started */

/* The pool's connection to its helper, and its pid. */
int connect_helper(struct pool *pool, struct error *error);

/* Ends the helper that the pool has to itself, if it has. */
void stop_own_helper(struct pool *pool);

/* A pool's connection to the helper has hung up: is the helper dead? Then it is reaped. */
bool helper_is_dead(struct pool *pool);

/* ---- job.c ---------------------------------------------------------------------------------- */

/* What somebody wants done. */
struct work {
    pool_function *function;
    const struct pool_column *columns;
    size_t column_count;
    struct pool_results results;
    struct heap *heap; /* where results that grow go; results are structs output; or NULL */
    bool keep_results; /* results.data is NULL: they stay in the job, for whoever wants them */
    size_t tasks, chunksize, first_index;
};

/* 0, or -1 with *error: does the work make sense, and can it be sent to a worker? */
int work_check(const struct work *work, struct error *error);

/* The job, with copies of what does not live in shared memory; *copied is increased by their
 * bytes. The caller owns it. NULL with *error. */
struct job *job_build(struct pool *pool, const struct work *work, uint64_t *copied,
                      struct error *error);

/* Frees a job that is off the board as soon as no worker looks at it any more. With the mutex
 * held. */
void job_retire(struct pool *pool, struct job *job);
void free_retired_jobs(struct pool *pool);

/* ---- outcome.c ------------------------------------------------------------------------------ */

/* Are all chunks done or given up? Usually the count tells; else looks at those from *position on,
 * and moves it on. */
bool job_is_done(const struct job *job, _Atomic size_t *position);

/* Copies what was completed to results, unless it is there already. Returns the bytes. */
uint64_t job_copy_results(const struct job *job, const struct pool_results *results);

enum pool_task_state job_task_state(const struct job *job, size_t task);
const char *job_error_message(const struct job *job, size_t index); /* of a failed task */
double job_busiest(const struct job *job); /* seconds of the worker that was busy longest */
uint64_t job_busy(const struct job *job);  /* of all workers, added up, in ns */

/* With the mutex held: the rest of this chunk will not be run, `why`. */
void give_up_chunk(struct pool_result *result, size_t chunk, enum pool_task_state how,
                   const struct error *why);

/* With the mutex held, of a job that is done: counts what was completed, and says what came of it.
 */
void judge(struct pool_result *result);

/* ---- wait.c --------------------------------------------------------------------------------- */

/* Waits until reached(context) or the deadline, a time of now(); spin: looks again and again for
 * a moment before it sleeps. */
typedef bool wait_condition(void *context);
bool wait_until(struct pool *pool, wait_condition *reached, void *context, double deadline,
                bool spin);

/* Work that a thread counted past and did not claim, because it died or is stopped, is found
 * again. With the mutex held. */
void find_skipped_chunks(struct pool *pool);

/* Wakes up to this many sleeping workers, for jobs that have been put on the board. With the mutex
 * held. */
void ring(struct pool *pool, size_t workers);

/* Wakes the threads of the program that wait. */
void announce(struct pool *pool);

/* Wakes the manager. A signal handler may call it. */
void manager_kick(const struct pool *pool);

/* ---- board.c -------------------------------------------------------------------------------- */

/* All of it but the board; the board. The caller owns the pool, with one reference. */
struct pool *allocate_pool(const struct pool_options *options, int cores, struct error *error);
int set_up_board(struct pool *pool, struct error *error);

/* Is this the thread that calls its callbacks? */
bool in_callback(const struct pool *pool);

/* Is this pool, or this process's share in it, usable? With *error if not. */
int pool_check(const struct pool *pool, struct error *error);
void pool_unreference(struct pool *pool);

/* With the mutex held: does the pool take work? */
int check_open(const struct pool *pool, bool even_closed, struct error *error);

/* ---- result.c ------------------------------------------------------------------------------- */

/* With the mutex held: a result that has a job is put into the list, and on the board where there
 * is room; settled: its outcome is known, and nobody works on it any more. */
void result_enter(struct pool_result *result);
void result_settle(struct pool_result *result);
size_t result_cancel(struct pool_result *result); /* as pool_result_cancel */

/* With the mutex held: settles what is done; publishes what waits; ends all, as the pool ends. */
void settle_finished(struct pool *pool);
void settle_all(struct pool *pool);

/* Puts the results of a settled result in place, or waits until another thread has. It is ready
 * then, but for one with a callback: result_called, when that has returned. */
void result_collect(struct pool_result *result);
void result_called(struct pool_result *result); /* with the mutex held */
void result_unreference(struct pool_result *result);
bool result_is_settled(struct pool_result *result);

bool wait_for_result(struct pool_result *result, double deadline);

/* ---- callback.c ----------------------------------------------------------------------------- */

/* With the mutex held. */
int callback_thread_start(struct pool *pool, struct error *error);

void end_callback_thread(struct pool *pool);

/* ---- submit.c, watch.c ---------------------------------------------------------------------- */

/* For imap: submits even when the pool is closed. NULL with *error. */
struct pool_result *submit_chunk(struct pool *pool, const struct work *work, struct error *error);

/* Waits until the result is ready; if this thread watches, it is told meanwhile. */
void wait_and_watch(struct pool_result *result);

/* ---- manager.c ------------------------------------------------------------------------------ */

int manager_start(struct pool *pool, struct error *error);

/* Sends for the workers that are wanted. Returns when to try again. With the mutex held. */
double start_missing_workers(struct pool *pool);

#endif
