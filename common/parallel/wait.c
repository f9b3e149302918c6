/* wait.c - the two ways of waking: the bell for workers, the news for the program's threads.
 *
 * Both are words in shared memory that somebody sleeps on (futex). Who waits says so first, looks
 * again, and then sleeps; who has something to tell changes the word first and then looks for
 * sleepers: so nothing is missed, and nobody makes a system call for one who is awake. The manager
 * sleeps in poll, and is woken by its event descriptor. */
#include "common/parallel/internal.h"
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <unistd.h>

#define LOOK_AGAIN 0.1 /* seconds after which somebody who waits looks for skipped chunks */

/* A worker that spins hears the bell for certain, even if it is just about to sleep. */
static size_t count_on_spinning(struct board *board, size_t most)
{
    size_t count = 0;
    for (int i = 0; i < board->spin_places && count < most; i++) {
        uint32_t id = atomic_load(&board->spinners[i]);
        count += id != 0 && atomic_compare_exchange_strong(&board->spinners[i], &id, 0);
    }
    return count;
}

void ring(struct pool *pool, size_t workers)
{
    struct board *board = pool->board;
    size_t parked = 0;
    atomic_fetch_add(&board->bell, 1);
    workers -= count_on_spinning(board, workers);
    for (int i = 0; i < pool->options.workers && parked < workers; i++)
        parked += (size_t)atomic_load(&board->slots[i].parked);
    if (parked == 0)
        return;
    futex(&board->bell, FUTEX_WAKE, (uint32_t)parked, INFINITY);
    pool->statistics.wakeups++;
}

void announce(struct pool *pool)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&pool->board->listeners) == 0)
        return;
    atomic_fetch_add(&pool->board->news, 1);
    futex(&pool->board->news, FUTEX_WAKE, INT32_MAX, INFINITY);
}

void manager_kick(const struct pool *pool)
{
    const uint64_t one = 1;
    while (write(pool->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void find_skipped_chunks(struct pool *pool)
{
    for (struct pool_result *result = pool->unfinished; result != pool->first_queued;
         result = result->next) {
        struct job *job = result->job;
        size_t i = atomic_load(&result->scanned);
        while (i < job->chunk_count && atomic_load(&job->chunks[i].owner) != 0)
            i++;
        if (i == job->chunk_count)
            continue;
        if (atomic_load(&job->next) >= job->chunk_count)
            atomic_store(&job->next, i);
        ring(pool, SIZE_MAX); /* the worker that was counted on may be stopped */
    }
}

static bool spin_until(wait_condition *reached, void *context, double deadline)
{
    const double end = fmin(now() + SPIN, deadline);
    do
        for (int i = 0; i < 64; i++) {
            if (reached(context))
                return true;
            cpu_relax();
        }
    while (now() < end);
    return false;
}

bool wait_until(struct pool *pool, wait_condition *reached, void *context, double deadline,
                bool spin)
{
    struct board *board = pool->board;
    if (spin)
        atomic_store_explicit(&board->waiting_on, sched_getcpu(), memory_order_relaxed);
    if (reached(context) || (spin && spin_until(reached, context, deadline)))
        return true;
    for (;;) {
        atomic_fetch_add(&board->listeners, 1);
        const uint32_t heard = atomic_load(&board->news);
        const bool before = reached(context);
        const double left = deadline - now();
        if (!before && left > 0)
            futex(&board->news, FUTEX_WAIT, heard, fmin(left, LOOK_AGAIN));
        atomic_fetch_sub(&board->listeners, 1);
        if (before || reached(context))
            return true;
        if (now() >= deadline)
            return false;
        pthread_mutex_lock(&pool->mutex);
        find_skipped_chunks(pool);
        pthread_mutex_unlock(&pool->mutex);
    }
}
