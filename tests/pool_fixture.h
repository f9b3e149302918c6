/* pool_fixture.h - what the tests of the process pool share: a ledger of all that a process has
 * and has started, the situations that tests run in, and tasks that do as they are told.
 *
 * Every test runs in a process of its own, which calls pool_startup by itself (set_up), and ends
 * with a look at the ledger (tear_down): nothing may be left behind, no process, descriptor,
 * thread, mapping or name in /dev/shm. Nothing here depends on speed: where a test needs
 * something to have happened, it waits until it has.
 */
#ifndef TESTS_POOL_FIXTURE_H
#define TESTS_POOL_FIXTURE_H

#include "common/parallel/pool.h"
#include "common/parallel/shared_memory.h"
#include "tests/sanitized.h"
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define HANG 40 /* seconds: only a test that hangs takes so long */

/* ---- The ledger ------------------------------------------------------------------------------ */

/* mappings: of files and shared memory. anonymous: the others, of which the C library keeps a few
 * (the stacks and heaps of threads that have ended) for the next thread. names: in /dev/shm, -1
 * where it cannot be had for this program alone. */
struct ledger {
    int descriptors, threads, mappings, anonymous, names;
};

extern struct ledger
    before;          /* as set_up left it; a test that leaves something on purpose adapts it */
extern pid_t helper; /* the process that pool_startup started */
extern bool helper_is_gone; /* a test has killed it */

struct ledger take_ledger(void);
void expect_as_before(void);
int count_entries(const char *directory);
size_t arena_bytes(void); /* the memory that is behind the arena now */

void set_up(void);
void tear_down(void);

/* Gives this program, before its tests, a /dev/shm of its own, so that its names can be counted. */
void own_shared_memory_names(void);

/* ---- Processes ------------------------------------------------------------------------------- */

#define MAX_FAMILY 128

pid_t parent_of(pid_t pid);

/* The processes that descend from `ancestor`, up to `room` of them. */
int descendants(pid_t ancestor, pid_t *found, int room);

/* Processes besides the helper (with helper_too: besides none) that descend from this one and
 * live. Orphans become its children and are reaped here. */
int count_processes(bool helper_too);
void expect_processes(int expected, bool helper_too);
void expect_no_process(bool helper_too);

/* Until no such process lives (one that nobody has reaped yet does not). */
void expect_death(pid_t pid);

/* Until SIGSTOP, sent before, has reached all its threads. */
void expect_stopped(pid_t pid);

pid_t helper_of(struct pool *pool);

/* The workers' pids, once all of them are known and none is the one in its place in `dead` (which
 * may be NULL). The pool has to bring that about by itself. */
void settled_pids(struct pool *pool, const pid_t *dead, pid_t *pids);

void pause_ms(int milliseconds);
double seconds(void); /* CLOCK_MONOTONIC */

/* ---- Victims: programs that need a start of their own, or die --------------------------------
 * A fresh copy of the test program, in a process group of its own, as `victim NAME METHOD`. */

struct running {
    pid_t pid;
    int output; /* what it writes to its standard output */
};

struct running start_victim(const char *name, int method);
int end_of_victim(struct running victim); /* waits for it: its status */

/* ---- Situations: each start method with 1, 2 and 8 workers (sanitizers: 1 and 2) -------------
 * With FORKJOIN_SHORT set three of them, 0 to 2, each start method and each number once. */

bool short_of_a_kind(void); /* FORKJOIN_SHORT: fewer of a kind */
int situations(void);
#define SITUATIONS  situations()
#define MAX_WORKERS 8

struct pool_options situation(int i);
struct pool *create_with(struct pool_options options);

/* A case of the suite with set_up and tear_down. */
TCase *add_case(Suite *suite, const char *name);

/* Runs the suite, each test in a process of its own. The exit status. */
int run_suite(Suite *suite);

/* ---- Tasks ----------------------------------------------------------------------------------- */

pool_function square; /* long -> long */
void check_squares(const long *results, size_t n);
void map_squares(struct pool *pool, size_t n, size_t chunksize);

enum death {
    BY_KILL,
    BY_FAULT,
    BY_ABORT,
    BY_EXIT,
    BY__EXIT,
    BY_STACK,
    BY_THREAD_EXIT,
    BY_MEMORY,       /* its address space is used up, and it does not look at malloc's result */
    BY_KILL_AT_EXIT, /* exit(0), and a handler of atexit kills it */
    DEATHS
};
extern const int death_signals[DEATHS]; /* 0: it exits */
void die(enum death death);

/* A scene is played by tasks and watched by the program: it lies in shared memory. */
#define SCENE_PARTS 4096
#define OUTER       7

struct scene {
    atomic_long entered;             /* tasks that have begun */
    atomic_long finished;            /* tasks that have come to their end */
    atomic_long open;                /* WAIT: parts below this number may go on */
    atomic_long signals;             /* SIGUSR1s that a stubborn task has seen */
    atomic_long nested[8];           /* pids of a worker's own workers; [OUTER]: its own */
    _Atomic pid_t program;           /* who is interrupted */
    atomic_long runs[SCENE_PARTS];   /* how often each part began */
    _Atomic pid_t pids[SCENE_PARTS]; /* and in which process, the last time */
};

enum act {
    SQUARE,    /* part * part */
    FAIL,      /* an error */
    DIE,       /* SIGKILL to itself, each time */
    DIE_ONCE,  /* ... the first time */
    WAIT,      /* until the scene is open, then SQUARE */
    WAIT_FAIL, /* until the scene is open, then FAIL */
    MEET,      /* until as many tasks as `open` says have begun, then SQUARE */
    STAY,      /* for ever */
    PID,       /* of the worker */
    INTERRUPT, /* SIGINT to the program, then STAY */
    HEED,      /* sleeps until it is overdue: 1, and +2 if a signal ended a sleep */
    HEED_READ, /* the same in read(2) */
    SPIN,      /* computes until it is overdue: 1 */
    STUBBORN,  /* STAY, and counts the signals */
};

/* The argument of `play`; the result is a long. `part` is the place in the scene. */
struct order {
    struct scene *scene;
    enum act act;
    long part;
};
pool_function play;

struct scene *make_scene(void);       /* closed; shared_memory_free */
void open_scene(struct scene *scene); /* for all */
void await_entered(const struct scene *scene, long tasks);
void await_run(const struct scene *scene, long part); /* until it has begun */

/* Orders for parts 0 to n-1, all with this act; results filled with UNTOUCHED. */
#define UNTOUCHED (-5L)
void prepare(struct scene *scene, struct order *orders, long *results, size_t n, enum act act);

/* ---- Expectations ---------------------------------------------------------------------------- */

/* status is -1, and the error is of this kind, with this in its message. */
void expect_failure(int status, const struct error *error, enum error_code code,
                    const char *part_of_message);

#endif
