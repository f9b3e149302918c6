/* gil.c - Python's lock: who holds it gives it back when another thread has waited for an interval
 * and asks; and then waits until one has taken it, or the holder would nearly always be first
 * again. */
#include "common/parallel/gil.h"
#include "common/parallel/timeline.h"
#include <stdlib.h>

/* A thread is known by the address of a variable of its own. */
static _Thread_local char self;

struct gil *gil_create(double switch_interval, struct error *error)
{
    pthread_condattr_t monotonic;
    if (!(switch_interval > 0 && switch_interval <= 3600)) {
        error_set(error, ERROR_INVALID, "GIL switch interval %g s: must be above 0, at most 3600",
                  switch_interval);
        return NULL;
    }
    struct gil *gil = aligned_alloc(_Alignof(struct gil), sizeof *gil);
    if (!gil) {
        error_set(error, ERROR_MEMORY, "no memory for a GIL");
        return NULL;
    }
    *gil = (struct gil){0};
    gil->interval.tv_sec = (time_t)switch_interval;
    gil->interval.tv_nsec = (long)((switch_interval - (double)gil->interval.tv_sec) * 1e9);
    /* glibc has nothing to allocate for these; where one fails there is no memory. */
    if (pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_mutex_init(&gil->mutex, NULL) != 0 ||
        pthread_mutex_init(&gil->switch_mutex, NULL) != 0 ||
        pthread_cond_init(&gil->released, &monotonic) != 0 ||
        pthread_cond_init(&gil->switched, &monotonic) != 0) {
        error_set(error, ERROR_MEMORY, "no memory for the locks of a GIL");
        free(gil);
        return NULL;
    }
    pthread_condattr_destroy(&monotonic);
    return gil;
}

void gil_destroy(struct gil *gil)
{
    if (!gil)
        return;
    pthread_cond_destroy(&gil->switched);
    pthread_cond_destroy(&gil->released);
    pthread_mutex_destroy(&gil->switch_mutex);
    pthread_mutex_destroy(&gil->mutex);
    free(gil);
}

/* Waits for a release, at most one interval. Did the time run out? */
static bool wait_one_interval(struct gil *gil)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += gil->interval.tv_sec;
    deadline.tv_nsec += gil->interval.tv_nsec;
    if (deadline.tv_nsec >= 1000000000L) {
        deadline.tv_nsec -= 1000000000L;
        deadline.tv_sec++;
    }
    return pthread_cond_timedwait(&gil->released, &gil->mutex, &deadline) == ETIMEDOUT;
}

/* take_gil of ceval_gil.c. */
void gil_acquire(struct gil *gil)
{
    uint64_t waited = 0; /* since when; 0: it was free, or nobody records it */
    pthread_mutex_lock(&gil->mutex);
    if (gil->locked && timeline_is_on())
        waited = timeline_clock();
    while (gil->locked) {
        const uint64_t seen = gil->statistics.switches;
        if (wait_one_interval(gil) && gil->locked && gil->statistics.switches == seen)
            atomic_store_explicit(&gil->drop_request, true, memory_order_relaxed);
    }
    /* From here on this thread holds the lock. Under switch_mutex, because the thread that was
     * made to drop it may be waiting to see exactly this. */
    pthread_mutex_lock(&gil->switch_mutex);
    gil->locked = true;
    gil->statistics.acquired++;
    if (gil->last_holder != &self) {
        gil->last_holder = &self;
        gil->statistics.switches++;
    }
    pthread_cond_signal(&gil->switched);
    pthread_mutex_unlock(&gil->switch_mutex);
    atomic_store_explicit(&gil->drop_request, false, memory_order_relaxed);
    pthread_mutex_unlock(&gil->mutex);
    if (timeline_is_on())
        timeline_gil_taken(waited);
}

/* drop_gil of ceval_gil.c. */
static void drop(struct gil *gil, bool at_checkpoint)
{
    const uint64_t dropped = timeline_is_on() ? timeline_clock() : 0; /* while it is still held */
    pthread_mutex_lock(&gil->mutex);
    const bool asked = atomic_load_explicit(&gil->drop_request, memory_order_relaxed);
    gil->locked = false;
    gil->statistics.forced += at_checkpoint;
    pthread_cond_signal(&gil->released);
    pthread_mutex_unlock(&gil->mutex);

    if (dropped)
        timeline_gil_dropped(dropped);
    if (asked) {
        /* Without this wait the same thread would nearly always take the lock back before the
         * waiter has even woken up. */
        pthread_mutex_lock(&gil->switch_mutex);
        while (gil->last_holder == &self)
            pthread_cond_wait(&gil->switched, &gil->switch_mutex);
        pthread_mutex_unlock(&gil->switch_mutex);
        if (dropped)
            timeline_span(TIMELINE_GIL_WAIT, dropped, timeline_clock(), 0, 0);
    }
}

void gil_release(struct gil *gil)
{
    drop(gil, false);
}

void gil_drop_and_retake(struct gil *gil)
{
    drop(gil, true);
    gil_acquire(gil);
}

struct gil_statistics gil_statistics(const struct gil *gil)
{
    return gil->statistics;
}
