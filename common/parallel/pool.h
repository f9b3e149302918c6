/* pool.h - Python's multiprocessing.Pool in C.
 *
 * A pool is a set of worker processes that run tasks: pool_map calls one function on every
 * element of an array, pool_starmap on every row of several columns. As in Python the elements
 * are dealt in chunks, results come back in order, and the call returns when all are there.
 *
 * Processes. pool_startup, the first line of main, forks a small helper before the program has
 * threads of its own; all workers are forked from it later (start method "forkserver"), because a
 * child forked from a process that has used OpenMP or BLAS threads may hang in its own first
 * parallel region. "fork" makes such a helper from the program as it is when the pool is created,
 * so its workers inherit the program's data (no other thread may be inside BLAS then, or hold a
 * lock that tasks need); "spawn" starts a fresh copy of the program for each.
 *
 * Chunks. A map is described once, in shared memory. Workers claim chunks by themselves: one
 * compare-and-swap both claims a chunk and records who holds it, and a second store says it is
 * done. No lock is shared between processes, so a worker that is killed at any instant leaves
 * nothing locked, and exactly the chunk it held is known to be lost: it is run again by another
 * worker, or reported, never waited for.
 *
 * Copied or shared. Arguments and results in ordinary memory are copied to shared memory before
 * the map and back after it, which is counted (bytes_copied, send, receive); those that live in
 * shared arrays (shared_memory.h) travel as addresses.
 *
 * Threads. Any thread may use any pool, several may use one. Each pool has a manager thread, which
 * never forks and mostly sleeps: it has dead workers replaced and time limits kept.
 *
 * Limits. Errors are 0 or -1 with *error filled. A time-out is in seconds: 0 only looks, below 0
 * waits for ever.
 */
#ifndef PARALLEL_POOL_H
#define PARALLEL_POOL_H

#include "common/error.h"
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;
struct pool_task; /* the call a task function is in */

enum pool_start_method { POOL_FORKSERVER, POOL_FORK, POOL_SPAWN };

/* "forkserver", "fork", "spawn". */
const char *pool_start_method_name(enum pool_start_method method);

/* A task: reads its arguments (one pointer for each column; pool_map has one column), writes
 * *result, returns 0, or an error: `return pool_task_fail(task, "why")`. It may run in any worker
 * process, in any order, and again after a worker's death, so it must depend on nothing but its
 * arguments and on what the initializer set. */
typedef int pool_function(const void *const *arguments, void *result, struct pool_task *task);

/* Another process finds a task by its name, as Python's pickle finds a function; POOL_TASK(f)
 * after the definition of f enters it in the program's list. (A macro, because only it can see
 * the name; it makes a small function that runs before main.) */
#define POOL_TASK(function)                                                                        \
    __attribute__((constructor)) static void pool_register_##function(void)                        \
    {                                                                                              \
        static struct pool_registered registered;                                                  \
        pool_register(&registered, #function, function);                                           \
    }                                                                                              \
    struct pool_registered /* so that a semicolon may follow */

/* NOLINTBEGIN(bugprone-macro-parentheses): types have none */

/* The shortest form of a task, for pool_map: POOL_MAP_TASK(square, long, long) { *result =
 * *argument * *argument; } defines and registers it. It reads *argument, of the first type, and
 * writes *result, of the second; it cannot fail. */
#define POOL_MAP_TASK(function, argument_type, result_type)                                        \
    static void function##_each(const argument_type *argument, result_type *result);               \
    static int function(const void *const *arguments, void *result, struct pool_task *task)        \
    {                                                                                              \
        (void)task;                                                                                \
        function##_each(arguments[0], result);                                                     \
        return 0;                                                                                  \
    }                                                                                              \
    POOL_TASK(function);                                                                           \
    static void function##_each(const argument_type *argument, result_type *result)
/* NOLINTEND(bugprone-macro-parentheses) */

struct pool_registered {
    const char *name;
    pool_function *function;
    struct pool_registered *next;
};
void pool_register(struct pool_registered *registered, const char *name, pool_function *function);

/* Within a task: the index of the element; how to report an error (returns non-zero); and has the
 * task exceeded the pool's soft time limit, so that it should come to an end? A program that calls
 * a task function itself may give it NULL as `task`. */
size_t pool_task_index(const struct pool_task *task);
__attribute__((format(printf, 2, 3), warn_unused_result)) int pool_task_fail(struct pool_task *task,
                                                                             const char *format,
                                                                             ...);
bool pool_task_overdue(const struct pool_task *task);

/* The number of the worker that the task runs in, from 0 to pool_workers - 1; one that replaces
 * another has its number. -1: no worker of a pool runs it. And a place for what the worker wants to
 * keep from task to task, such as what the initializer has made; NULL at first, also in a
 * replacement. The worker's own: nobody frees what it points to. */
int pool_task_worker(const struct pool_task *task);
void **pool_task_storage(struct pool_task *task);

/* A task that has started another program and waited for it: so much CPU time that took, which then
 * counts as the worker's. (In the program itself, a loader's thread for example, it does nothing.)
 */
void pool_task_add_cpu(struct pool_task *task, double seconds);

/* The first line of main: maps the shared memory and starts the helper. No thread may have been
 * created, no OpenMP region entered and no BLAS function called before. In a process that was
 * started as a worker ("spawn") it does not return. A second call does nothing; in a forked copy of
 * the program it is an error (ERROR_INVALID). */
int pool_startup(struct error *error);

/* Is this process such a fresh copy, about to become a worker in pool_startup? */
bool pool_is_spawned_worker(void);

struct pool_options {
    int workers; /* up to POOL_MAX_WORKERS; 0: as many as this process may use cores */
    enum pool_start_method start_method; /* POOL_FORKSERVER unless said */
    pool_function *initializer;          /* called once in each new worker, or NULL: arguments[0] */
    const void *initializer_argument; /*   is a copy of these initializer_size bytes; a failure */
    size_t initializer_size;          /*   makes pool_create fail */
    double initializer_time_limit;    /*   in seconds: one that takes longer has failed; 0: none */
    int threads_per_worker;           /* OpenMP and BLAS threads in each worker; 0 means 1 */
    int retries; /* how often a chunk is run again when its worker died; 0: it is reported lost */
    long maxtasksperchild; /* chunks after which a worker makes room for a fresh one; 0: no limit */

    /* Workers give way (SCHED_BATCH): one that is woken does not take the core from the thread that
     * woke it, which goes on until it waits for something. For work that is done ahead; where
     * somebody waits for the work, it comes a little later. */
    bool background;

    /* For one task, in seconds from its start; 0: none. Soft: pool_task_overdue becomes true, and
     * a SIGUSR1 ends a system call that the task may be in. Hard: its worker is killed, the task's
     * error is ERROR_TIMEOUT, and it is not run again. */
    double soft_time_limit, hard_time_limit;

    /* How many levels of pools there may be below this one: 0, and its workers cannot have pools
     * (Python's daemonic processes); at most POOL_MAX_NESTING. */
    int nesting;

    /* Tasks read the program's standard input, and share its position. Else they find its end at
     * once, as in Python. */
    bool keep_stdin;

    /* While pool_create waits for its workers it looks at this, which a signal handler may set to
     * anything but 0: then it ends with ERROR_INTERRUPTED. NULL: nothing. Later: pool_interrupt. */
    const volatile sig_atomic_t *interrupted;
};

#define POOL_MAX_WORKERS 1024
#define POOL_MAX_NESTING 4

/* Starts the workers and waits until each has said that it is ready. What the program has written
 * to stdout is flushed before, so that it comes before what tasks write. Workers take over what the
 * program is at this moment: user, groups and capabilities, limits, nice value, processors, umask,
 * and the signals that it ignores. Options NULL: all as if 0. NULL with *error:
 * ERROR_INVALID, ERROR_UNREGISTERED (the initializer), ERROR_TASK (the initializer failed),
 * ERROR_TIMEOUT (it took too long), ERROR_INTERRUPTED, ERROR_SYSTEM (a worker cannot be started, or
 * not with what the program may do and no more), ERROR_MEMORY, ERROR_BROKEN (workers die while
 * starting; or the helper that pool_startup started is dead: for the rest of the program only
 * "fork" is left). */
struct pool *pool_create(const struct pool_options *options, struct error *error);

/* Terminates the pool, waits until the last worker is gone, and frees it: what Python does at the
 * end of a `with` block. Results that were not ready end with ERROR_CLOSED. NULL is allowed. */
void pool_destroy(struct pool *pool);

/* No more work is accepted (ERROR_CLOSED); what was, will be done. An iterator may come to its end,
 * and is work that was accepted until it has, or is freed. */
void pool_close(struct pool *pool);

/* The same, and what no worker has begun is withdrawn (ERROR_CANCELLED): concurrent.futures'
 * shutdown(cancel_futures=True). Iterators take nothing more from their sources and end with
 * ERROR_CLOSED. */
void pool_close_and_cancel(struct pool *pool);

/* Kills the workers at once; what is not done ends with ERROR_CLOSED. */
void pool_terminate(struct pool *pool);

/* The same, but the error is ERROR_INTERRUPTED, and a signal handler may call it: Ctrl-C. */
void pool_interrupt(struct pool *pool);

/* After pool_close or pool_terminate: waits until all work is done and the workers are gone.
 * ERROR_INVALID: neither was called, this is a callback of the pool, or this thread has an
 * iterator that has not come to its end (nobody else could bring it there); ERROR_TIMEOUT. */
int pool_join(struct pool *pool, double timeout, struct error *error);

/* ---- Map: the call returns when all is done -------------------------------------------------- */

/* One column of arguments: element i is at data + i * size; or, with .constant, all tasks get
 * the same `size` bytes at data, which are copied once; or, with .copied_each, the same bytes,
 * but each task a copy of its own, as pickle makes one for each (in shared memory: none); or, with
 * .indices (one for each task, at least 0), element i is at data + indices[i] * size: some of many,
 * in any order, of which only those are copied; or, with
 * .offsets (tasks + 1 of them, ascending, in bytes), element i is the bytes from data + offsets[i]
 * to data + offsets[i + 1], for elements of unequal size. Results likewise, but for .indices. */
struct pool_column {
    const void *data;
    size_t size;
    bool constant, copied_each; /* at most one of these four */
    const size_t *offsets;
    const int64_t *indices;
};
struct pool_results {
    void *data;
    size_t size;
    const size_t *offsets;
};

#define POOL_MAX_COLUMNS 8

/* results[i] = function(arguments[i]) for i in 0 .. tasks-1.
 *
 * chunksize: tasks to a chunk; 0: Python's rule, ceil(tasks / (4 * workers)); more than there are
 * tasks: one chunk.
 * tasks 0 is allowed and sends nothing. A task that fails ends its chunk, as in Python; all other
 * chunks are run, and of several errors the one with the lowest index is returned: ERROR_TASK;
 * ERROR_WORKER_LOST: its worker died more often than the pool's retries allow; ERROR_TIMEOUT: the
 * hard time limit. All other results are valid; elements whose task was not completed keep their
 * bytes. No task was run: ERROR_INVALID; ERROR_UNREGISTERED: the function was not named by
 * POOL_TASK; ERROR_MEMORY; ERROR_CLOSED. ERROR_BROKEN: the helper is gone, or workers die as fast
 * as they are started (without work; with work, a chunk's retries are the bound). Results may lie
 * where the arguments lie: they are written when all tasks are done (copied), or each after its
 * task has read its own argument (shared arrays). */
int pool_map(struct pool *pool, pool_function *function, const void *arguments,
             size_t argument_size, void *results, size_t result_size, size_t tasks,
             size_t chunksize, struct error *error);

/* results[i] = function(columns[0][i], columns[1][i], ...). */
int pool_starmap(struct pool *pool, pool_function *function, const struct pool_column *columns,
                 size_t column_count, const struct pool_results *results, size_t tasks,
                 size_t chunksize, struct error *error);

/* Results whose size only the task knows. It is given NULL for its result, and appends bytes, as
 * often as it likes: 0, or -1 if there is no memory, which the task should then return. The program
 * has them in one piece when all is done, from malloc: the caller frees each results[i].data, NULL
 * where there are none. Of a task that was not completed there are none. Otherwise as pool_map.
 * ERROR_MEMORY also if there is no room for them here: what fits is there. */
struct pool_bytes {
    void *data;
    size_t size;
};
int pool_map_bytes(struct pool *pool, pool_function *function, const void *arguments,
                   size_t argument_size, struct pool_bytes *results, size_t tasks, size_t chunksize,
                   struct error *error);
int pool_task_append(struct pool_task *task, const void *bytes, size_t count);

/* One task: *result = function(argument). */
int pool_apply(struct pool *pool, pool_function *function, const void *argument,
               size_t argument_size, void *result, size_t result_size, struct error *error);

/* Python's rule for chunksize 0. */
size_t pool_default_chunksize(size_t tasks, int workers);

/* ---- Async: the call returns at once, with a handle (Python's AsyncResult) ------------------- */

struct pool_result;

/* What to call when the work is done: done, or failed with the error that pool_result_get would
 * give. Either may be NULL. They are called one after the other, in a thread of the pool's own,
 * with all signals blocked, with the results in place; they may use the pool, and wait: that
 * delays other callbacks, and nothing else. What `done` is given is the pool's copy of the results,
 * or the results themselves if they lie in shared memory, valid until it returns. The result is
 * ready when its callback has returned, as in Python; but in a callback all results are ready that
 * are in place, its own, too. */
struct pool_callbacks {
    void (*done)(void *results, void *context);
    void (*failed)(const struct error *error, void *context);
    void *context;
};

/* As pool_map and pool_starmap. A small job takes 4 kB of shared memory, which the pool keeps for
 * others until it is freed. Arguments are copied, or in shared arrays must stay as they are
 * until the work is done. `results` is written when the work is done and somebody asks for it
 * (ready, wait, get, callback), so it must live until then, or until pool_result_free.
 * callbacks: NULL, or what to call, copied; without tasks they are called too. NULL with *error. */
struct pool_result *pool_map_async(struct pool *pool, pool_function *function,
                                   const void *arguments, size_t argument_size, void *results,
                                   size_t result_size, size_t tasks, size_t chunksize,
                                   const struct pool_callbacks *callbacks, struct error *error);
struct pool_result *pool_starmap_async(struct pool *pool, pool_function *function,
                                       const struct pool_column *columns, size_t column_count,
                                       const struct pool_results *results, size_t tasks,
                                       size_t chunksize, const struct pool_callbacks *callbacks,
                                       struct error *error);
struct pool_result *pool_apply_async(struct pool *pool, pool_function *function,
                                     const void *argument, size_t argument_size, void *result,
                                     size_t result_size, const struct pool_callbacks *callbacks,
                                     struct error *error);

/* Is the work done, whatever came of it, and has its callback returned? Then the results are in
 * place. */
bool pool_result_ready(struct pool_result *result);

/* 1: done without error, 0: with one; -1: not ready yet (ERROR_INVALID). */
int pool_result_successful(struct pool_result *result, struct error *error);

/* wait: 0 when ready, whatever came of it, else -1 (ERROR_TIMEOUT). get: what pool_map would
 * have returned, or ERROR_TIMEOUT. A time-out ends the waiting, not the work. */
int pool_result_wait(struct pool_result *result, double timeout, struct error *error);
int pool_result_get(struct pool_result *result, double timeout, struct error *error);

/* Waits until any of these is ready: its place in the list, the lowest if there are several
 * (Python's concurrent.futures.wait and as_completed). NULLs are passed over, so whoever sets what
 * he has had to NULL gets all, one after the other. They may be of several pools, of this process.
 * -1: ERROR_TIMEOUT; ERROR_INVALID, there is none. */
ptrdiff_t pool_result_wait_any(struct pool_result *const *results, size_t count, double timeout,
                               struct error *error);

/* Withdraws all chunks that no worker has begun. How many tasks that was; the result's error is
 * then ERROR_CANCELLED, unless it has another with a lower index. */
size_t pool_result_cancel(struct pool_result *result);

/* Of a result that is ready: what became of the task with this index? */
enum pool_task_state {
    POOL_TASK_DONE,
    POOL_TASK_FAILED,    /* it returned an error */
    POOL_TASK_NOT_RUN,   /* another task of its chunk failed, was lost or timed out before */
    POOL_TASK_LOST,      /* its worker died, more often than the retries allow */
    POOL_TASK_TIMED_OUT, /* its worker was killed for the hard time limit */
    POOL_TASK_CANCELLED, /* by pool_result_cancel, or because the pool ended before */
};
enum pool_task_state pool_result_task_state(struct pool_result *result, size_t index);

/* Every handle is to be freed once (a forked copy of the program can do nothing else with it), at
 * any time, even after pool_destroy. Before the work is done: the work goes on and its callbacks
 * are called, but copied results go nowhere, and `done` gets NULL for them. NULL is allowed. */
void pool_result_free(struct pool_result *result);

/* ---- Imap: one result after the other -------------------------------------------------------- */

struct pool_iterator;

/* Where arguments come from: writes the next one to *argument and returns 1; 0: there are no more;
 * below 0: error, the iteration ends with ERROR_TASK. It is called in the thread that calls
 * pool_imap and pool_iterator_next, never more than is needed to keep the buffer full. */
typedef int pool_source(void *context, void *argument);

/* A source that gives the elements of an array: pool_from_array, with a struct pool_array. */
struct pool_array {
    const void *data;
    size_t size, count; /* bytes of an element; elements */
    size_t next;        /* 0 */
};
pool_source pool_from_array;

/* imap: results in the order of the arguments; imap_unordered: as they are done.
 * chunksize: 0 means 1, and more than there are arguments is one chunk, as of a map. buffersize: so
 * many chunks at most have been taken from the source and have not yet been asked for; 0: four for
 * each worker. NULL with *error. */
struct pool_iterator *pool_imap(struct pool *pool, pool_function *function, pool_source *source,
                                void *context, size_t argument_size, size_t result_size,
                                size_t chunksize, size_t buffersize, struct error *error);
struct pool_iterator *pool_imap_unordered(struct pool *pool, pool_function *function,
                                          pool_source *source, void *context, size_t argument_size,
                                          size_t result_size, size_t chunksize, size_t buffersize,
                                          struct error *error);

/* 1: the next result is in *result, *index (unless NULL) says whose it is. 0: there are no more.
 * -1: this element has no result, *index and error->task say which; ERROR_TASK, ERROR_WORKER_LOST,
 * ERROR_TIMEOUT (hard time limit), ERROR_NOT_RUN (another task of its chunk failed before): the
 * next call goes on with the next element. Each element is answered exactly once. Also -1, with
 * *index SIZE_MAX: ERROR_TIMEOUT, `timeout` is over and nothing was taken; ERROR_BROKEN,
 * ERROR_CLOSED, ERROR_INTERRUPTED, ERROR_MEMORY or an error of the source, after what was taken
 * before: this is said once, and from then on there is no more (0). */
int pool_iterator_next(struct pool_iterator *iterator, void *result, size_t *index, double timeout,
                       struct error *error);

/* At any time, before or after pool_destroy; chunks not begun are withdrawn. NULL is allowed. One
 * thread at a time uses an iterator. */
void pool_iterator_free(struct pool_iterator *iterator);

/* ---- Watching ----------------------------------------------------------------------------------
 */

/* done[w]: tasks that worker w has completed in the map that this thread is in. */
typedef void pool_watch_function(void *context, const size_t *done, int workers, bool ended);

/* From now on, while the calling thread waits for a map, starmap or apply of this pool, it calls
 * `watch` ten times a second, and once when the work is done (ended). Workers do nothing for it.
 * NULL: no more. -1 with ERROR_MEMORY. */
int pool_watch(struct pool *pool, pool_watch_function *watch, void *context, struct error *error);

/* ---- What there is to know ------------------------------------------------------------------- */

/* Where the time of the last map went, in seconds of wall time: copying arguments in, computing
 * (the busiest worker's time inside tasks), copying results out, and the rest, in which somebody
 * waited for somebody. */
struct pool_phases {
    double send, compute, receive, wait;
};

struct pool_statistics {
    uint64_t maps;           /* completed calls: map, apply, one chunk of imap */
    uint64_t tasks, chunks;  /* completed */
    uint64_t bytes_copied;   /* arguments and results, both ways */
    uint64_t wakeups;        /* system calls that woke a sleeping worker or the program */
    uint64_t restarts;       /* workers started in place of dead ones */
    uint64_t retired;        /* workers that reached maxtasksperchild and were replaced */
    uint64_t chunks_retried; /* chunks run again after their worker's death */
    uint64_t chunks_lost;    /* chunks given up for their worker's death */
    uint64_t timeouts;       /* tasks ended by the hard time limit */
    uint64_t cancelled;      /* tasks withdrawn */
    double startup;          /* seconds that pool_create took */
    struct pool_phases last; /* of the last map */
    struct pool_phases all;  /* of all maps, added up; those that overlapped count twice */
    char last_death[128];    /* "worker 1234 was killed by signal 9 (Killed)", "" if none died */
};

/* Of the work that has been waited for. */
struct pool_statistics pool_statistics(struct pool *pool);

int pool_workers(const struct pool *pool);
enum pool_start_method pool_start_method(const struct pool *pool);

/* The workers' process ids into pids[pool_workers(pool)], 0 for one that is being replaced. */
void pool_pids(struct pool *pool, pid_t *pids);

/* CPU time of all workers so far, dead ones and what pool_task_add_cpu said included, in seconds.
 */
double pool_cpu_seconds(struct pool *pool);

#endif
