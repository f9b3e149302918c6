/* result.c - a job from the moment it is submitted until its results are in place (Python's
 * AsyncResult).
 *
 * It waits in a list for a place on the board, is published there, is settled when all its chunks
 * are done or given up, and is collected, which copies the results, by whoever asks first. It is
 * kept while somebody has a reference: the program's handle, the list, the thread that calls
 * callbacks. */
#include "common/parallel/internal.h"
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static bool has_callback(const struct pool_result *result)
{
    return result->callbacks.done || result->callbacks.failed;
}

/* ---- On the board, and off it: with the mutex held ------------------------------------------ */

static void publish(struct pool_result *result)
{
    struct pool *pool = result->pool;
    result->board_slot = pool->free_slots[--pool->free_slot_count];
    result->times[1] = now();
    atomic_store(&pool->board->jobs[result->board_slot], result->job);
    ring(pool, result->job->chunk_count);
}

/* The manager hears of the next job that is done if somebody needs it who does not wait himself. */
static void let_manager_listen(struct pool *pool)
{
    if (pool->watched > 0 || pool->first_queued || pool->closed)
        atomic_store(&pool->board->manager_listens, 1);
}

static void publish_queued(struct pool *pool)
{
    while (pool->first_queued && pool->free_slot_count > 0) {
        struct pool_result *result = pool->first_queued;
        pool->first_queued = result->next;
        publish(result);
    }
    let_manager_listen(pool);
}

static void leave(struct pool_result *result)
{
    struct pool *pool = result->pool;
    *(result->previous ? &result->previous->next : &pool->unfinished) = result->next;
    *(result->next ? &result->next->previous : &pool->last_unfinished) = result->previous;
    if (pool->first_queued == result)
        pool->first_queued = result->next;
    if (result->board_slot >= 0) {
        atomic_store(&pool->board->jobs[result->board_slot], NULL);
        pool->free_slots[pool->free_slot_count++] = result->board_slot;
        result->board_slot = -1;
    }
}

/* ---- References ----------------------------------------------------------------------------- */

static void free_result(struct pool_result *result)
{
    struct pool *pool = result->pool;
    if (result->job)
        job_retire(pool, result->job);
    free(result->attempts);
    free(result);
}

/* The pool itself is in use by the caller, so this reference to it is not the last. */
static void unreference_locked(struct pool_result *result)
{
    struct pool *pool = result->pool;
    if (atomic_fetch_sub(&result->references, 1) > 1)
        return;
    free_result(result);
    atomic_fetch_sub(&pool->references, 1);
}

void result_unreference(struct pool_result *result)
{
    struct pool *pool = result->pool;
    if (atomic_fetch_sub(&result->references, 1) > 1)
        return;
    pthread_mutex_lock(&pool->mutex);
    free_result(result);
    pthread_mutex_unlock(&pool->mutex);
    pool_unreference(pool);
}

/* ---- Settled: with the mutex held ----------------------------------------------------------- */

/* For the thread that calls callbacks. */
static void callback_due(struct pool_result *result)
{
    struct pool *pool = result->pool;
    result->next_callback = NULL;
    *pool->last_callback = result;
    pool->last_callback = &result->next_callback;
    pthread_cond_signal(&pool->callback_condition);
}

/* The list's reference goes to the callback thread, or away. */
void result_settle(struct pool_result *result)
{
    struct pool *pool = result->pool;
    const bool watched = has_callback(result);
    if (result->job) {
        leave(result);
        judge(result);
        pool->watched -= watched;
        publish_queued(pool);
    }
    if (result->ended)
        result->error = pool->end;
    result->times[2] = now();
    if (result->times[1] == 0) /* it was never on the board */
        result->times[1] = result->times[2];
    atomic_store(&result->state, RESULT_SETTLED);
    if (watched)
        callback_due(result);
    else
        unreference_locked(result);
    announce(pool);
}

void settle_finished(struct pool *pool)
{
    struct pool_result *next;
    let_manager_listen(pool); /* before it looks: what is done later is heard */
    for (struct pool_result *result = pool->unfinished; result && result != pool->first_queued;
         result = next) {
        next = result->next;
        if (job_is_done(result->job, &result->scanned))
            result_settle(result);
    }
    let_manager_listen(pool);
}

void settle_all(struct pool *pool)
{
    while (pool->unfinished) {
        struct pool_result *result = pool->unfinished;
        struct job *job =
            result->job; /* NOLINT(clang-analyzer-unix.Malloc): the list has a reference */
        bool cut = false;
        for (size_t i = 0; i < job->chunk_count; i++)
            if (!(atomic_load(&job->chunks[i].owner) & (CHUNK_DONE | CHUNK_GIVEN_UP))) {
                give_up_chunk(result, i, POOL_TASK_CANCELLED, NULL);
                cut = true;
            }
        pool->first_queued = NULL; /* nothing is published any more */
        result->ended = cut;
        result_settle(result);
    }
}

bool result_is_settled(struct pool_result *result)
{
    if (atomic_load_explicit(&result->state, memory_order_acquire) != RESULT_UNFINISHED)
        return true;
    if (!job_is_done(result->job, &result->scanned))
        return false;
    struct pool *pool = result->pool;
    pthread_mutex_lock(&pool->mutex);
    if (atomic_load(&result->state) == RESULT_UNFINISHED)
        result_settle(result); /* who asks has a reference, so it is not the last that goes */
    pthread_mutex_unlock(&pool->mutex);
    return true;
}

void result_enter(struct pool_result *result)
{
    struct pool *pool = result->pool;
    result->previous = pool->last_unfinished;
    *(pool->last_unfinished ? &pool->last_unfinished->next : &pool->unfinished) = result;
    pool->last_unfinished = result;
    pool->watched += has_callback(result);
    let_manager_listen(pool); /* before it is published, since it may be done at once */
    if (!pool->first_queued)
        pool->first_queued = result;
    publish_queued(pool);
    if (pool->first_queued) /* results that nobody has asked for yet may hold all slots */
        settle_finished(pool);
    if (pool->board->time_limits && pool->unfinished == result)
        manager_kick(pool); /* it slept without looking at the clock */
}

/* ---- Results in place ----------------------------------------------------------------------- */

static struct pool_phases phases_of(const struct pool_result *result)
{
    const double *times = result->times;
    struct pool_phases phases = {.send = times[1] - times[0],
                                 .compute = job_busiest(result->job),
                                 .receive = times[3] - times[2]};
    phases.wait = times[2] - times[1] - phases.compute;
    if (phases.wait < 0)
        phases.wait = 0;
    return phases;
}

static void add_phases(struct pool_phases *sum, const struct pool_phases *phases)
{
    sum->send += phases->send;
    sum->compute += phases->compute;
    sum->receive += phases->receive;
    sum->wait += phases->wait;
}

/* With the mutex held. Is it for this thread to collect? If another one does, waits for it. */
static bool claim_collecting(struct pool_result *result)
{
    while (atomic_load(&result->state) == RESULT_COLLECTING)
        pthread_cond_wait(&result->pool->collected, &result->pool->mutex);
    if (atomic_load(&result->state) >= RESULT_COLLECTED)
        return false;
    atomic_store(&result->state, RESULT_COLLECTING);
    return true;
}

static void copy_back(struct pool_result *result)
{
    const uint64_t begin = timeline_is_on() ? now_ns() : 0;
    const uint64_t copied = job_copy_results(result->job, &result->results);
    result->copied += copied;
    if (begin)
        timeline_span(TIMELINE_COPY_OUT, begin, now_ns(), copied, 0);
}

void result_collect(struct pool_result *result)
{
    struct pool *pool = result->pool;
    pthread_mutex_lock(&pool->mutex);
    const bool mine = claim_collecting(result);
    pthread_mutex_unlock(&pool->mutex);
    if (!mine)
        return;
    if (result->job)
        copy_back(result);
    result->times[3] = now();
    pthread_mutex_lock(&pool->mutex);
    pool->statistics.bytes_copied += result->copied;
    pool->statistics.last = result->job ? phases_of(result) : (struct pool_phases){0};
    add_phases(&pool->statistics.all, &pool->statistics.last);
    atomic_store(&result->state, has_callback(result) ? RESULT_COLLECTED : RESULT_READY);
    pthread_cond_broadcast(&pool->collected);
    pthread_mutex_unlock(&pool->mutex);
}

void result_called(struct pool_result *result)
{
    atomic_store(&result->state, RESULT_READY);
    pthread_cond_broadcast(&result->pool->collected);
}

static bool is_ready(void *context)
{
    struct pool_result *result = context;
    if (atomic_load_explicit(&result->state, memory_order_acquire) == RESULT_READY)
        return true;
    if (!result_is_settled(result))
        return false;
    /* Its callback comes first, as in Python; but who waits in a callback would wait for himself.
     */
    if (has_callback(result) && /* NOLINT(clang-analyzer-unix.Malloc): as said there, not freed */
        !in_callback(result->pool))
        return false;
    result_collect(result); /* NOLINT(clang-analyzer-unix.Malloc) */
    return true;
}

/* While a worker runs the only chunks there are, a core is idle. */
static bool may_spin(const struct pool_result *result)
{
    const size_t chunks = result->job ? result->job->chunk_count : 0;
    const size_t workers = (size_t)result->pool->options.workers;
    return (chunks < workers ? chunks : workers) < (size_t)result->pool->cores;
}

bool wait_for_result(struct pool_result *result, double deadline)
{
    return is_ready(result) ||
           wait_until(result->pool, is_ready, result, deadline, may_spin(result));
}

/* ---- What the program may ask --------------------------------------------------------------- */

bool pool_result_ready(struct pool_result *result)
{
    return is_ready(result);
}

int pool_result_successful(struct pool_result *result, struct error *error)
{
    if (!is_ready(result))
        return error_set(error, ERROR_INVALID, "the result is not ready");
    return result->error.code == ERROR_NONE;
}

int pool_result_wait(struct pool_result *result, double timeout, struct error *error)
{
    if (wait_for_result(result, deadline_after(timeout)))
        return 0;
    return error_set(error, ERROR_TIMEOUT, "not ready after %g s", timeout);
}

int pool_result_get(struct pool_result *result, double timeout, struct error *error)
{
    if (pool_result_wait(result, timeout, error) != 0)
        return -1;
    if (result->error.code == ERROR_NONE)
        return 0;
    if (error)
        *error = result->error;
    return -1;
}

/* Of the first that is not NULL on; a wait_condition. */
struct any {
    struct pool_result *const *results;
    size_t count, found;
};

static bool any_is_ready(void *context)
{
    struct any *any = context;
    for (any->found = 0; any->found < any->count; any->found++)
        if (any->results[any->found] && is_ready(any->results[any->found]))
            return true;
    return false;
}

/* Is there one, and are all of one pool, whose news are heard? */
static struct pool *only_pool(const struct any *any, bool *empty)
{
    struct pool *pool = NULL;
    bool several = false;
    for (size_t i = 0; i < any->count; i++) {
        if (!any->results[i])
            continue;
        several = several || (pool && pool != any->results[i]->pool);
        pool = any->results[i]->pool;
    }
    *empty = !pool;
    return several ? NULL : pool;
}

static void look_for_skipped(const struct any *any)
{
    for (size_t i = 0; i < any->count; i++) {
        if (!any->results[i])
            continue;
        struct pool *pool = any->results[i]->pool;
        pthread_mutex_lock(&pool->mutex);
        find_skipped_chunks(pool);
        pthread_mutex_unlock(&pool->mutex);
    }
}

ptrdiff_t pool_result_wait_any(struct pool_result *const *results, size_t count, double timeout,
                               struct error *error)
{
    struct any any = {.results = results, .count = count};
    const double deadline = deadline_after(timeout);
    bool empty, ready;
    struct pool *pool = only_pool(&any, &empty);
    if (empty)
        return error_set(error, ERROR_INVALID, "there is no result to wait for");
    if (pool) {
        ready = wait_until(pool, any_is_ready, &any, deadline, false);
    } else {
        for (int tries = 1; !(ready = any_is_ready(&any)) && now() < deadline; tries++) {
            poll(NULL, 0, 1);
            if (tries % 100 == 0)
                look_for_skipped(&any);
        }
    }
    if (ready)
        return (ptrdiff_t)any.found;
    return error_set(error, ERROR_TIMEOUT, "none is ready after %g s", timeout);
}

size_t result_cancel(struct pool_result *result)
{
    struct job *job = result->job;
    size_t cancelled = 0;
    if (atomic_load(&result->state) == RESULT_UNFINISHED) {
        result->cancelled = true;
        atomic_store(&job->uncertain, 1);
        atomic_store(&job->incomplete, 1);
        for (size_t i = atomic_load(&result->scanned); i < job->chunk_count; i++) {
            uint32_t nobody = 0;
            if (atomic_compare_exchange_strong(&job->chunks[i].owner, &nobody,
                                               CHUNK_GIVEN_UP | POOL_TASK_CANCELLED))
                cancelled += chunk_tasks(job, i) - atomic_load(&job->chunks[i].completed);
        }
        if (job_is_done(job, &result->scanned))
            result_settle(result);
    }
    return cancelled;
}

size_t pool_result_cancel(struct pool_result *result)
{
    struct pool *pool = result->pool;
    pthread_mutex_lock(&pool->mutex);
    const size_t cancelled = result_cancel(result);
    if (pool->closed)
        manager_kick(pool); /* this may have been the last of its work */
    pthread_mutex_unlock(&pool->mutex);
    return cancelled;
}

enum pool_task_state pool_result_task_state(struct pool_result *result, size_t index)
{
    const struct job *job = result->job;
    return job && index < job->tasks ? job_task_state(job, index) : POOL_TASK_NOT_RUN;
}

void pool_result_free(struct pool_result *result)
{
    if (!result || result->pool->owner != getpid()) /* in a copy a lock may be held for ever */
        return;
    pthread_mutex_lock(&result->pool->mutex);
    const bool unwanted = atomic_load(&result->state) < RESULT_COLLECTING;
    while (atomic_load(&result->state) == RESULT_COLLECTING) /* into the program's memory */
        pthread_cond_wait(&result->pool->collected, &result->pool->mutex);
    if (unwanted)
        result->results.data = NULL;
    pthread_mutex_unlock(&result->pool->mutex);
    result_unreference(result);
}
