/* internal.h - what the parts of the pool know of each other; not for use outside this room.
 *
 *   arena.c     the shared memory, mapped at one address in every process
 *   shared_array.c  arrays with a shape and a type, and with a name if they shall be found
 *   helper.c    the small process that forks all workers, reaps them and reports their deaths
 *   worker.c    what a worker process does
 *   job.c       the description of a piece of work in shared memory: build it, read its outcome
 *   submit.c    map, apply and their results: publish a job, wait for it, collect what it gave
 *   watch.c     what each worker has done of a map, for somebody who looks on while he waits
 *   imap.c      iterators: a window of jobs, one chunk each
 *   manager.c   the pool's own thread: deaths, replacements, time limits, the end
 *   callback.c  the thread that calls the program's callbacks
 *   timeline.c  recordings of who did what when
 *   loader.c    batches of samples, each a job whose results go into a slot
 *   pool.c      create, close, destroy, statistics
 *
 * All that two processes share is in struct board and struct job, in the arena. Every word there
 * has one writer at a time, or is changed by one atomic operation, and no lock exists: a process
 * that dies between two instructions leaves nothing that another would wait for. What only the
 * program's own threads share is in struct pool and guarded by its mutex.
 */
#ifndef PARALLEL_INTERNAL_H
#define PARALLEL_INTERNAL_H

#include "common/parallel/pool.h"
#include "common/parallel/timeline.h"
#include <pthread.h>
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

/* A worker that has pools of its own has an arena beside that of the program, and so on: all that
 * are mapped here, the innermost, arena_place, last. */
#define MOST_ARENAS (POOL_MAX_NESTING + 1)
const struct arena_place *arena_places(int *count);

/* Whole pages, for the process that called arena_map only; zeroed if asked for. */
void *arena_allocate(size_t bytes, bool zeroed, struct error *error);
void arena_free(void *memory);

/* From now on other programs may hold locks on this memory (F_OFD_SETLK, a read lock through a
 * descriptor that they opened). Freed with such a lock on it, it is not used again before that is
 * gone. */
void arena_mark_published(const void *memory);

/* ---- What parent and workers share --------------------------------------------------------- */

#define CACHE_LINES 128 /* two lines: neighbours are fetched in pairs */
#define NAME_LENGTH 128
#define SPIN        50e-6 /* seconds to look again before going to sleep, where a core is idle */

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

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_FAILED, WORKER_RETIRED };

struct worker_slot {
    _Alignas(CACHE_LINES) _Atomic int state; /* enum worker_state, of the worker that has it now */
    _Atomic int parked;                      /* asleep until the bell changes */
    _Atomic(struct job *) job;               /* is looking at it: it must not be freed */
    _Atomic uint64_t chunks_done;
    _Atomic uint64_t wakeups;    /* of the parent */
    _Atomic uint64_t started;    /* with time limits: when the current task began, in ns; 0: none */
    _Atomic uint64_t overdue;    /* the parent's: the task that began then has had its time */
    _Atomic uint64_t outside_ns; /* pool_task_add_cpu */
    char message[sizeof((struct error *)0)->message]; /* with WORKER_FAILED */
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
    bool place; /* there is a core for each worker: they start on different ones */
    char initializer[NAME_LENGTH];
    const void *initializer_argument;
    _Atomic(struct job *) *jobs; /* [job_slots] */
    struct worker_slot slots[];
};

/* timeout in seconds, INFINITY: none. */
long futex(_Atomic uint32_t *word, int operation, uint32_t value, double timeout);
double now(void); /* CLOCK_MONOTONIC, in seconds */
uint64_t now_ns(void);

/* Within a loop that waits for a word to change: lets the core's other thread go first. */
static inline void cpu_relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}
pool_function *pool_find(const char *name);
const char *pool_name(pool_function *function);

/* 0 if a worker would find this function, and no other, by its name. `what` it is goes into the
 * message. */
int check_registered(pool_function *function, const char *what, struct error *error);

/* A task's view of the call it is in. */
struct pool_task {
    size_t index;
    const struct worker_slot *slot; /* with time limits, else NULL */
    struct worker_slot *own;        /* where pool_task_add_cpu counts; NULL: not in a worker */
    uint64_t started;
    char message[sizeof((struct error *)0)->message];
};

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

/* Is this process a worker, and how many levels of pools may it have? Elsewhere, all there are. */
bool is_worker(void);
int nesting_allowed(void);
#define WORKER_ENVIRONMENT "FORKJOIN_WORKER"

/* ---- helper.c ------------------------------------------------------------------------------ */

#define PATIENCE                                                                                   \
    2.0 /* seconds that a helper has to end; then it is stopped or stuck, and killed               \
         */

/* Forks a helper from this process as it is: its pid, and *connection, the first socket to it,
 * with whose hang-up it ends. -1 with *error. */
pid_t helper_start(int *connection, struct error *error);

/* Asks for one more connection, over another: -1 with *error. What was started over a connection
 * is reported over it, and killed when it hangs up. */
int helper_connect(int first, struct error *error);

/* What the helper tells: a worker has been started, or could not be, or has died. */
struct helper_report {
    bool died;
    int slot; /* which worker */
    uint32_t id;
    pid_t pid;
    int error_number; /* not started: why */
    int status;       /* died: as from wait */
    double cpu_seconds;
};

/* Asks the helper to start one worker, which gets copies of start's descriptors; `spawn`: as a
 * fresh copy of the program. A report follows. 1; 0 if the helper has reports to be received
 * first; -1 if it is gone. */
int helper_start_worker(int socket, const struct worker_start *start, bool spawn);

/* Asks the helper to send a signal to the worker in this slot, or to all of them (slot -1).
 * Answers as helper_start_worker. */
int helper_signal(int socket, int slot, int number);

/* Takes one report if one is there: 1, 0 if none is waiting, -1 if the helper is gone. */
int helper_receive(int socket, struct helper_report *report);

/* Closes every descriptor from 3 on but these, in a new process; arenas: and but theirs. */
void close_other_descriptors(int keep1, int keep2, bool arenas);

/* ---- job.c --------------------------------------------------------------------------------- */

/* What somebody wants done. */
struct work {
    pool_function *function;
    const struct pool_column *columns;
    size_t column_count;
    struct pool_results results;
    bool keep_results; /* results.data is NULL: they stay in the job, for whoever wants them */
    size_t tasks, chunksize, first_index;
};

/* 0, or -1 with *error: can this be sent to a worker; does the work make sense? */
int check_task_function(pool_function *function, struct error *error);
int work_check(const struct work *work, struct error *error);

/* The job, with copies of what does not live in shared memory; *copied is increased by their
 * bytes. The caller owns it. NULL with *error. */
struct job *job_build(struct pool *pool, const struct work *work, uint64_t *copied,
                      struct error *error);

/* Frees a job that is off the board as soon as no worker looks at it any more. With the mutex
 * held. */
void job_retire(struct pool *pool, struct job *job);
void free_retired_jobs(struct pool *pool);

/* Copies what was completed to results, unless it is there already. Returns the bytes. */
uint64_t job_copy_results(const struct job *job, const struct pool_results *results);

/* Are all chunks done or given up? Usually the count tells; else looks at those from *position on,
 * and moves it on. */
bool job_is_done(const struct job *job, _Atomic size_t *position);

/* The tasks of chunk i: the first, and how many. */
size_t chunk_first(const struct job *job, size_t i);
size_t chunk_tasks(const struct job *job, size_t i);

enum pool_task_state job_task_state(const struct job *job, size_t task);
const char *job_error_message(const struct job *job, size_t index); /* of a failed task */
double job_busiest(const struct job *job); /* seconds of the worker that was busy longest */
uint64_t job_busy(const struct job *job);  /* of all workers, added up, in ns */

/* ---- submit.c ------------------------------------------------------------------------------ */

enum result_state {
    RESULT_UNFINISHED,
    RESULT_SETTLED,    /* its outcome is known, and nobody works on it any more */
    RESULT_COLLECTING, /* a thread copies what it gave */
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

/* With the mutex held: does the pool take work? */
int check_open(const struct pool *pool, bool even_closed, struct error *error);

/* With the mutex held: has the calling thread an iterator that has not come to its end? */
bool has_unfinished_iterator(const struct pool *pool);

/* For imap: submits even when the pool is closed. NULL with *error. */
struct pool_result *submit_chunk(struct pool *pool, const struct work *work, struct error *error);

/* With the mutex held: settles what is done; publishes what waits; ends all, as the pool ends. */
void settle_finished(struct pool *pool);
void settle_all(struct pool *pool);

/* With the mutex held: a worker died that held this chunk of the result. */
void give_up_chunk(struct pool_result *result, size_t chunk, enum pool_task_state how,
                   const struct error *why);

/* Makes a settled result ready, or waits until another thread has. */
void result_collect(struct pool_result *result);
void result_unreference(struct pool_result *result);
bool result_is_settled(struct pool_result *result);

/* Waits until reached(context) or the deadline, a time of now(); spin: looks again and again for
 * a moment before it sleeps. */
typedef bool wait_condition(void *context);
bool wait_until(struct pool *pool, wait_condition *reached, void *context, double deadline,
                bool spin);
double deadline_after(double timeout); /* INFINITY for a time-out below 0 */

/* Work that a thread counted past and did not claim, because it died or is stopped, is found
 * again. With the mutex held. */
void find_skipped_chunks(struct pool *pool);

/* Wakes up to this many sleeping workers, for jobs that have been put on the board. With the mutex
 * held. */
void ring(struct pool *pool, size_t workers);

/* Wakes the threads of the program that wait. */
void announce(struct pool *pool);

bool wait_for_result(struct pool_result *result, double deadline);

/* ---- watch.c ----------------------------------------------------------------------------------
 */

/* Waits until the result is ready; if this thread watches, it is told meanwhile. */
void wait_and_watch(struct pool_result *result);

/* ---- manager.c, callback.c ------------------------------------------------------------------ */

/* With all signals blocked. 0 or an errno. */
int thread_start(pthread_t *thread, void *(*function)(void *), void *argument);

int manager_start(struct pool *pool, struct error *error);

/* Sends for the workers that are wanted. Returns when to try again. With the mutex held. */
double start_missing_workers(struct pool *pool);
void manager_kick(const struct pool *pool); /* may be called by a signal handler */

/* With the mutex held. */
int callback_thread_start(struct pool *pool, struct error *error);
void callback_due(struct pool_result *result);

/* ---- pool.c --------------------------------------------------------------------------------- */

/* What the parent knows of one worker. */
struct worker_record {
    pid_t pid;         /* 0: none is running in this slot, or its start was not yet reported */
    uint32_t id;       /* of the worker that has the slot */
    bool wanted;       /* to be started ... */
    double not_before; /* ... at this time */
    uint64_t killed;   /* the task, by its start, for which it was killed; 0: none */
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
    int start_failed;            /* errno of a first worker that could not be started, else 0 */
    bool started;                /* all workers were ready once */
    bool helper_busy;            /* it takes no request before its reports are heard */
    int deaths_in_a_row;         /* without work, and without a chunk completed in between */
    uint64_t chunks_done_before; /* at the last death ... */
    double last_death;           /* ... and its time */
    double kill_asked;           /* when all workers were to be killed; 0: not yet */
    bool kill_sent;

    /* The end. */
    bool closed, terminated;
    atomic_bool interrupted;
    struct error end;  /* why the pool is ending; code 0: it is not */
    atomic_bool ended; /* no worker is left, and all results are settled */

    /* Work. */
    struct pool_result *unfinished, *last_unfinished; /* in the order of submission ... */
    struct pool_result *first_queued; /* ... and from here on without a slot on the board */
    int *free_slots, free_slot_count; /* of the board */
    struct pool_iterator *iterators;  /* that have not come to their end */
    size_t watched;                   /* unfinished results with callbacks */
    struct job *retired;              /* jobs that a worker may still be looking at ... */
    int retired_count;
    char **slabs; /* [slab_count], pieces of the arena, for small jobs ... */
    size_t slab_count;
    struct job *spare; /* ... of which these are free */

    pthread_t callback_thread;
    pthread_cond_t callback_condition;
    pthread_cond_t collected; /* a result is ready */
    bool callback_thread_runs, callbacks_end, callback_running;
    struct pool_result *callbacks, **last_callback;

    pool_watch_function *watch; /* called by the thread `watcher` while it waits, or NULL */
    void *watch_context;
    pthread_t watcher;
    size_t *watch_done; /* [2][workers]: in chunks that are finished, and in all */

    double cpu_of_dead;
    struct pool_statistics statistics;
};

/* Is this pool, or this process's share in it, usable? With *error if not. */
int pool_check(const struct pool *pool, struct error *error);
void pool_unreference(struct pool *pool);

/* In a new worker: the helper of the program is not its own. */
void forget_program(void);

/* Ends the helper that the pool has to itself, if it has. */
void stop_own_helper(struct pool *pool);

/* A pool's connection to the helper has hung up: is the helper dead? Then it is reaped. */
bool helper_is_dead(struct pool *pool);

#endif
