/* watch.c - what each worker has done of a map, for somebody who looks on while he waits. The words
 * in the chunks say it already, so workers do nothing for it. */
#include "common/parallel/internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WATCH_INTERVAL 0.1 /* seconds */

int pool_watch(struct pool *pool, pool_watch_function *watch, void *context, struct error *error)
{
    if (watch && !pool->watch_done) {
        pool->watch_done = calloc(2 * (size_t)pool->options.workers, sizeof *pool->watch_done);
        if (!pool->watch_done)
            return error_set(error, ERROR_MEMORY, "no memory to watch a pool");
    }
    pool->watch = watch;
    pool->watch_context = context;
    pool->watcher = pthread_self();
    return 0;
}

/* Whose id is in a chunk. What is not found was a worker that has been replaced, and is counted as
 * if it were another. With the mutex held. */
static int worker_of(const struct pool *pool, uint32_t id)
{
    const int workers = pool->options.workers;
    const int first = (int)(id % (uint32_t)workers);
    for (int i = 0; i < workers; i++)
        if (pool->workers[(first + i) % workers].id == id)
            return (first + i) % workers;
    return first;
}

/* Counts the tasks that each worker has done: shown. Chunks that are finished once and for all are
 * not looked at again: they are in `settled`, up to the one that is returned. */
static size_t count_done(const struct pool_result *result, size_t from, size_t *settled,
                         size_t *shown)
{
    struct pool *pool = result->pool;
    struct job *job = result->job;
    const size_t workers = (size_t)pool->options.workers;
    bool all_finished = true;
    size_t next = atomic_load(&job->next);
    if (next > job->chunk_count || atomic_load(&result->state) == RESULT_READY)
        next = job->chunk_count;
    pthread_mutex_lock(&pool->mutex);
    memcpy(shown, settled, workers * sizeof *shown);
    for (size_t i = from; i < next; i++) {
        const uint32_t owner = atomic_load(&job->chunks[i].owner), id = owner & MAX_ID;
        const uint32_t completed = atomic_load(&job->chunks[i].completed);
        all_finished &= (owner & (CHUNK_DONE | CHUNK_GIVEN_UP)) != 0;
        if (all_finished)
            from = i + 1;
        if (owner == 0 || owner & CHUNK_GIVEN_UP)
            continue;
        const int worker = worker_of(pool, id);
        shown[worker] += completed;
        if (all_finished)
            settled[worker] += completed;
    }
    pthread_mutex_unlock(&pool->mutex);
    return from;
}

void wait_and_watch(struct pool_result *result)
{
    struct pool *pool = result->pool;
    if (!pool->watch || !result->job || !pthread_equal(pool->watcher, pthread_self())) {
        wait_for_result(result, INFINITY);
        return;
    }
    const int workers = pool->options.workers;
    size_t *settled = pool->watch_done, *shown = settled + workers, from = 0;
    memset(settled, 0, (size_t)workers * sizeof *settled);
    while (!wait_for_result(result, now() + WATCH_INTERVAL)) {
        from = count_done(result, from, settled, shown);
        pool->watch(pool->watch_context, shown, workers, false);
    }
    count_done(result, from, settled, shown);
    pool->watch(pool->watch_context, shown, workers, true);
}
