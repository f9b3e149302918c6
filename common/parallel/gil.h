/* gil.h - a model of CPython's global interpreter lock.
 *
 * The rules are those of Python/ceval_gil.c, 3.2 and later. Who wants the lock waits for it, but
 * only one switch interval (5 ms unless told otherwise) at a time; when that time runs out and no
 * switch happened meanwhile, it asks the holder to drop the lock. The holder looks at that
 * request only at a checkpoint, which stands where an interpreter has one: at a loop's back edge.
 * There it drops the lock, wakes one waiter and waits until another thread has really taken it.
 * A release that nobody asked for (before I/O, or around a native kernel as NumPy does) does not
 * wait for that. There is no fairness and no priority. A critical section is not a model of this:
 * nobody can make its holder give way.
 *
 * So computing threads take turns of one interval each, and the total speed stays that of one
 * core; a thread that comes back from I/O waits up to an interval before it goes on.
 *
 * While a recording is on (timeline.h), each thread records when it waited for the lock and when it
 * held it: of one lock at a time.
 */
#ifndef PARALLEL_GIL_H
#define PARALLEL_GIL_H

#include "common/error.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define GIL_SWITCH_INTERVAL 0.005 /* seconds: sys.getswitchinterval() of a fresh Python */

struct gil_statistics {
    uint64_t acquired; /* times a thread took the lock */
    uint64_t switches; /* of these: times it was not the thread that held it last */
    uint64_t forced;   /* times a holder dropped it at a checkpoint, because another asked for it */
};

/* Its parts are private; they stand here because gil_checkpoint must be inlined. */
struct gil {
    _Alignas(64) atomic_bool drop_request; /* "eval breaker": written only when patience ends */
    _Alignas(64) pthread_mutex_t mutex;    /* guards locked, and the statistics */
    pthread_cond_t released;
    pthread_mutex_t switch_mutex; /* guards last_holder, which is written under both */
    pthread_cond_t switched;
    bool locked;
    const void *last_holder;
    struct timespec interval;
    struct gil_statistics statistics;
};

/* switch_interval in seconds, above 0. NULL with *error on failure. */
struct gil *gil_create(double switch_interval, struct error *error);

/* No thread may hold the lock or wait for it. NULL is allowed. */
void gil_destroy(struct gil *gil);

/* Take the lock, and give it back. A thread must not take it twice. */
void gil_acquire(struct gil *gil);
void gil_release(struct gil *gil);

/* What gil_checkpoint does when somebody asked for the lock. */
void gil_drop_and_retake(struct gil *gil);

/* Called by the thread that holds the lock, at every back edge of an interpreted loop: one load
 * and one branch unless another thread has asked for the lock. */
static inline void gil_checkpoint(struct gil *gil)
{
    if (__builtin_expect(atomic_load_explicit(&gil->drop_request, memory_order_relaxed), 0))
        gil_drop_and_retake(gil);
}

/* Counts since gil_create. Call it while no thread holds the lock. */
struct gil_statistics gil_statistics(const struct gil *gil);

#endif
