/* callback.c - the thread that calls the program's callbacks. They have a thread of their own, so
 * that one that waits for the pool does not keep the manager from mending it. It is started with
 * the first work that has a callback. */
#include "common/parallel/internal.h"

static struct pool_result *next_due(struct pool *pool)
{
    struct pool_result *result = pool->callbacks;
    if (!result)
        return NULL;
    pool->callbacks = result->next_callback;
    if (!pool->callbacks)
        pool->last_callback = &pool->callbacks;
    return result;
}

static void call(struct pool_result *result)
{
    const struct pool_callbacks *callbacks = &result->callbacks;
    result_collect(result);
    if (result->error.code != ERROR_NONE && callbacks->failed)
        callbacks->failed(&result->error, callbacks->context);
    if (result->error.code == ERROR_NONE && callbacks->done)
        callbacks->done(result->results.data, callbacks->context);
}

static void *call_back(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct pool_result *result = next_due(pool);
        if (result) {
            pool->callback_running = true;
            pthread_mutex_unlock(&pool->mutex);
            call(result);
            result_unreference(result);
            pthread_mutex_lock(&pool->mutex);
            pool->callback_running = false;
            announce(pool); /* pool_join may wait for it */
        } else if (pool->callbacks_end) {
            break;
        } else {
            pthread_cond_wait(&pool->callback_condition, &pool->mutex);
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    pool_unreference(pool);
    return NULL;
}

int callback_thread_start(struct pool *pool, struct error *error)
{
    if (pool->callback_thread_runs)
        return 0;
    atomic_fetch_add(&pool->references, 1);
    errno = thread_start(&pool->callback_thread, call_back, pool);
    if (errno != 0) {
        atomic_fetch_sub(&pool->references, 1);
        return error_set_errno(error, "cannot start the pool's callback thread");
    }
    pool->callback_thread_runs = true;
    return 0;
}

bool in_callback(const struct pool *pool)
{
    return pool->callback_thread_runs && pthread_equal(pthread_self(), pool->callback_thread);
}

void end_callback_thread(struct pool *pool)
{
    if (!pool->callback_thread_runs)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->callbacks_end = true;
    pthread_cond_signal(&pool->callback_condition);
    pthread_mutex_unlock(&pool->mutex);
    if (in_callback(pool))
        pthread_detach(pool->callback_thread); /* the pool's memory stays until it ends */
    else
        pthread_join(pool->callback_thread, NULL);
}
