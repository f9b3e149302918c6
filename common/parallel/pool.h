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
 * so its workers inherit the program's data; "spawn" starts a fresh copy of the program for each.
 *
 * Chunks. A map is described once, in shared memory. Workers claim chunks by themselves: one
 * compare-and-swap both claims a chunk and records who holds it, and a second store says it is
 * done. No lock is shared between processes, so a worker that is killed at any instant leaves
 * nothing locked, and exactly the chunk it held is known to be lost: it is run again by another
 * worker, or reported, never waited for.
 *
 * Copied or shared. Arguments and results in ordinary memory are copied to shared memory before
 * the map and back after it, which is counted (bytes_copied, send, receive); those that live in
 * shared arrays (shared_array.h) travel as addresses.
 *
 * One thread uses all pools: one helper reports the deaths in any of them, and who waits in one
 * pool mends the others too (those of start method fork have a helper each). All functions: 0 or -1
 * with *error filled.
 */
#ifndef PARALLEL_POOL_H
#define PARALLEL_POOL_H

#include "common/error.h"
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

struct pool_registered {
    const char *name;
    pool_function *function;
    struct pool_registered *next;
};
void pool_register(struct pool_registered *registered, const char *name, pool_function *function);

/* Within a task: the index of the element, and how to report an error (returns non-zero). */
size_t pool_task_index(const struct pool_task *task);
__attribute__((format(printf, 2, 3))) int pool_task_fail(struct pool_task *task, const char *format,
                                                         ...);

/* The first line of main: maps the shared memory and starts the helper. No thread may have been
 * created, no OpenMP region entered and no BLAS function called before. In a process that was
 * started as a worker ("spawn") it does not return. A second call does nothing. */
int pool_startup(struct error *error);

/* Is this process such a fresh copy, about to become a worker in pool_startup? */
bool pool_is_spawned_worker(void);

struct pool_options {
    int workers;                         /* 1 to POOL_MAX_WORKERS */
    enum pool_start_method start_method; /* POOL_FORKSERVER unless said */
    pool_function *initializer;          /* called once in each new worker, or NULL: arguments[0] */
    const void *initializer_argument; /*   is a copy of these initializer_size bytes; a failure */
    size_t initializer_size;          /*   makes pool_create fail */
    int threads_per_worker;           /* OpenMP and BLAS threads in each worker; 0 means 1 */
    int retries; /* how often a chunk is run again when its worker died; 0: it is reported lost */
};

#define POOL_MAX_WORKERS 1024

/* Starts the workers and waits until each has said that it is ready. NULL with *error:
 * ERROR_INVALID, ERROR_UNREGISTERED (the initializer), ERROR_TASK (the initializer failed),
 * ERROR_SYSTEM, ERROR_MEMORY, ERROR_BROKEN (workers die while starting). */
struct pool *pool_create(const struct pool_options *options, struct error *error);

/* Ends the workers and waits until the last of them is gone. NULL is allowed. */
void pool_destroy(struct pool *pool);

/* One column of arguments: element i is at data + i * size; or, with .constant, all tasks get
 * the same `size` bytes at data; or, with .offsets (tasks + 1 of them, ascending, in bytes),
 * element i is the bytes from data + offsets[i] to data + offsets[i + 1], for elements of
 * unequal size. Results likewise. */
struct pool_column {
    const void *data;
    size_t size;
    bool constant;
    const size_t *offsets;
};
struct pool_results {
    void *data;
    size_t size;
    const size_t *offsets;
};

#define POOL_MAX_COLUMNS 8

/* results[i] = function(arguments[i]) for i in 0 .. tasks-1.
 *
 * chunksize: tasks to a chunk; 0: Python's rule, ceil(tasks / (4 * workers)).
 * tasks 0 is allowed and sends nothing. A task that fails ends its chunk, as in Python; all other
 * chunks are run, and the error of the lowest index is returned (ERROR_TASK). ERROR_WORKER_LOST:
 * a worker died more often than the pool's retries allow; all other results are valid.
 * ERROR_UNREGISTERED: the function was not named by POOL_TASK. ERROR_BROKEN: the helper is gone,
 * or workers die as fast as they are started. Elements whose task did not run keep their bytes. */
int pool_map(struct pool *pool, pool_function *function, const void *arguments,
             size_t argument_size, void *results, size_t result_size, size_t tasks,
             size_t chunksize, struct error *error);

/* results[i] = function(columns[0][i], columns[1][i], ...). */
int pool_starmap(struct pool *pool, pool_function *function, const struct pool_column *columns,
                 size_t column_count, const struct pool_results *results, size_t tasks,
                 size_t chunksize, struct error *error);

/* Python's rule for chunksize 0. */
size_t pool_default_chunksize(size_t tasks, int workers);

/* Where the time of the last map went, in seconds of wall time: copying arguments in, computing
 * (the busiest worker's time inside tasks), copying results out, and the rest, in which somebody
 * waited for somebody. */
struct pool_phases {
    double send, compute, receive, wait;
};

struct pool_statistics {
    uint64_t maps, tasks, chunks; /* completed */
    uint64_t bytes_copied;        /* arguments and results, both ways */
    uint64_t wakeups;             /* system calls that woke a sleeping worker or the parent */
    uint64_t restarts;            /* workers started in place of dead ones */
    uint64_t chunks_retried;      /* chunks run again after their worker's death */
    uint64_t chunks_lost;         /* chunks given up */
    double startup;               /* seconds that pool_create took */
    struct pool_phases last;
    char last_death[128]; /* "worker 1234 was killed by signal 9 (Killed)", "" if none died */
};

struct pool_statistics pool_statistics(const struct pool *pool);

int pool_workers(const struct pool *pool);
enum pool_start_method pool_start_method(const struct pool *pool);

/* The workers' process ids into pids[pool_workers(pool)], 0 for one that is being replaced. */
void pool_pids(const struct pool *pool, pid_t *pids);

/* CPU time of all workers so far, dead ones included, in seconds. */
double pool_cpu_seconds(const struct pool *pool);

#endif
