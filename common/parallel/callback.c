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

/* The pool's copy, which is there as long as the callback runs: the program's own buffer may go
 * with its handle at any time. */
static void *results_for_callback(const struct pool_result *result)
{
    return result->results.data && result->job ? result->job->results.data : result->results.data;
}

static void call(struct pool_result *result)
{
    const struct pool_callbacks *callbacks = &result->callbacks;
    result_collect(result);
    if (result->error.code != ERROR_NONE && callbacks->failed)
        callbacks->failed(&result->error, callbacks->context);
    if (result->error.code == ERROR_NONE && callbacks->done)
        callbacks->done(results_for_callback(result), callbacks->context);
}

/* Called with the mutex held; releases it for a moment. */
static void after_call(struct pool *pool)
{
    struct pool_result *result = pool->calling;
    pool->calling = NULL;
    result_called(result);
    pthread_mutex_unlock(&pool->mutex);
    result_unreference(result);
    announce(pool); /* who waits for the result, or in pool_join */
    pthread_mutex_lock(&pool->mutex);
}

static void *call_back(void *argument);

/* Nobody joins it: it says itself when it has ended. With the mutex held, which it takes first, so
 * that it finds itself in the pool. */
static int start(struct pool *pool)
{
    pthread_t thread;
    const int failed = thread_start(&thread, call_back, pool);
    if (failed)
        return failed;
    pthread_detach(thread);
    atomic_store(&pool->callback_thread, thread);
    return 0;
}

/* A callback has ended its thread (pthread_exit): another one goes on. Where none can be started
 * this one does, on its way out. */
static void go_on_elsewhere(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    after_call(pool);
    const bool started = start(pool) == 0;
    pthread_mutex_unlock(&pool->mutex);
    if (!started)
        call_back(pool);
}

static void *call_back(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct pool_result *result = next_due(pool);
        if (result) {
            pool->calling = result;
            pthread_mutex_unlock(&pool->mutex);
            pthread_cleanup_push(go_on_elsewhere, pool);
            call(result);
            pthread_cleanup_pop(0);
            pthread_mutex_lock(&pool->mutex);
            after_call(pool);
        } else if (pool->callbacks_end) {
            break;
        } else {
            pthread_cond_wait(&pool->callback_condition, &pool->mutex);
        }
    }
    pool->callbacks_ended = true;
    pthread_cond_broadcast(&pool->collected);
    pthread_mutex_unlock(&pool->mutex);
    pool_unreference(pool);
    return NULL;
}

int callback_thread_start(struct pool *pool, struct error *error)
{
    if (atomic_load(&pool->callback_thread_runs))
        return 0;
    atomic_fetch_add(&pool->references, 1);
    errno = start(pool);
    if (errno != 0) {
        atomic_fetch_sub(&pool->references, 1);
        return error_set_errno(error, "cannot start the pool's callback thread");
    }
    atomic_store(&pool->callback_thread_runs, true);
    return 0;
}

void end_callback_thread(struct pool *pool)
{
    if (!atomic_load(&pool->callback_thread_runs))
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->callbacks_end = true;
    pthread_cond_signal(&pool->callback_condition);
    while (!in_callback(pool) && !pool->callbacks_ended)
        pthread_cond_wait(&pool->collected, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
