#include "common/parallel/internal.h"
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>

#define LOOK_AGAIN 0.1 /* seconds after which somebody who waits looks for skipped chunks */

size_t pool_default_chunksize(size_t tasks, int workers)
{
    const size_t share = 4 * (size_t)(workers > 0 ? workers : 1);
    return tasks / share + (tasks % share != 0);
}

/* ---- Waking and waiting --------------------------------------------------------------------- */

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

double deadline_after(double timeout)
{
    return timeout >= 0 ? now() + timeout : INFINITY;
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

/* ---- On the board, and off it: with the mutex held ------------------------------------------- */

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

static void enter(struct pool_result *result)
{
    struct pool *pool = result->pool;
    result->previous = pool->last_unfinished;
    *(pool->last_unfinished ? &pool->last_unfinished->next : &pool->unfinished) = result;
    pool->last_unfinished = result;
    pool->watched += result->callbacks.done || result->callbacks.failed;
    let_manager_listen(pool); /* before it is published, since it may be done at once */
    if (!pool->first_queued)
        pool->first_queued = result;
    publish_queued(pool);
    if (pool->first_queued) /* results that nobody has asked for yet may hold all slots */
        settle_finished(pool);
    if (pool->board->time_limits && pool->unfinished == result)
        manager_kick(pool); /* it slept without looking at the clock */
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

/* ---- What came of it: with the mutex held ---------------------------------------------------- */

/* "" or " (and tasks 13 to 15 with it)": the rest of the chunk that begins after this task. */
static const char *rest_of_chunk(const struct job *job, size_t chunk, size_t task, char text[64])
{
    const size_t next = task + 1, end = chunk_first(job, chunk) + chunk_tasks(job, chunk);
    text[0] = '\0';
    if (next + 1 == end)
        snprintf(text, 64, " (and task %zu with it)", job->first_index + next);
    else if (next < end)
        snprintf(text, 64, " (and tasks %zu to %zu with it)", job->first_index + next,
                 job->first_index + end - 1);
    return text;
}

void give_up_chunk(struct pool_result *result, size_t chunk, enum pool_task_state how,
                   const struct error *why)
{
    struct job *job = result->job;
    struct pool *pool = result->pool;
    const size_t task = chunk_first(job, chunk) + atomic_load(&job->chunks[chunk].completed);
    char rest[64];
    atomic_store(&job->incomplete, 1);
    atomic_store(&job->chunks[chunk].owner, CHUNK_GIVEN_UP | (uint32_t)how);
    if (how == POOL_TASK_LOST)
        pool->statistics.chunks_lost++;
    else if (how == POOL_TASK_TIMED_OUT)
        pool->statistics.timeouts++;
    if (how == POOL_TASK_CANCELLED ||
        (result->lost.code != ERROR_NONE && result->lost.task <= task))
        return;
    rest_of_chunk(job, chunk, task, rest);
    if (how == POOL_TASK_LOST)
        error_set(&result->lost, ERROR_WORKER_LOST, "%s: task %zu is lost%s: %s", job->function,
                  job->first_index + task, rest, why->message);
    else
        error_set(&result->lost, ERROR_TIMEOUT,
                  "%s: task %zu exceeded the hard time limit of %g s%s: %s", job->function,
                  job->first_index + task, pool->options.hard_time_limit, rest, why->message);
    result->lost.task = task;
    result->lost.worker = why->worker;
}

static void set_task_error(struct pool_result *result, size_t task)
{
    const struct job *job = result->job;
    const size_t index = job->first_index + task;
    const char *message = job_error_message(job, index);
    error_set(&result->error, ERROR_TASK, "%s: task %zu: %s", job->function, index, message);
}

/* Counts what was completed. Of several errors the one with the lowest index counts. */
static void judge(struct pool_result *result)
{
    struct pool_statistics *statistics = &result->pool->statistics;
    const struct job *job = result->job;
    size_t failed = SIZE_MAX, cancelled = SIZE_MAX, cancelled_tasks = 0;
    const size_t lost = result->lost.code != ERROR_NONE ? result->lost.task : SIZE_MAX;
    statistics->maps++;
    if (!atomic_load(&job->incomplete)) {
        statistics->tasks += job->tasks;
        statistics->chunks += job->chunk_count;
        return;
    }
    for (size_t i = 0; i < job->chunk_count; i++) {
        const size_t completed = atomic_load(&job->chunks[i].completed);
        const size_t open = chunk_tasks(job, i) - completed;
        statistics->tasks += completed;
        statistics->chunks += open == 0;
        if (open == 0)
            continue;
        const size_t task = chunk_first(job, i) + completed;
        const enum pool_task_state state = job_task_state(job, task);
        if (state == POOL_TASK_FAILED && failed == SIZE_MAX)
            failed = task;
        if (state == POOL_TASK_CANCELLED && cancelled == SIZE_MAX)
            cancelled = task;
        cancelled_tasks += state == POOL_TASK_CANCELLED ? open : 0;
    }
    statistics->cancelled += cancelled_tasks;
    const size_t lowest = failed < lost ? (failed < cancelled ? failed : cancelled)
                                        : (lost < cancelled ? lost : cancelled);
    if (lowest == SIZE_MAX)
        return;
    if (lowest == failed)
        set_task_error(result, failed);
    else if (lowest == lost)
        result->error = result->lost;
    else
        error_set(&result->error, ERROR_CANCELLED, "%s: %zu of %zu tasks were cancelled",
                  job->function, cancelled_tasks, job->tasks);
    result->error.task = job->first_index + lowest;
}

static void unreference_locked(struct pool_result *result);

/* The list's reference goes to the callback thread, or away. */
static void settle(struct pool_result *result)
{
    struct pool *pool = result->pool;
    const bool watched = result->callbacks.done || result->callbacks.failed;
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
            settle(result);
    }
    let_manager_listen(pool);
}

void settle_all(struct pool *pool)
{
    while (pool->unfinished) {
        struct pool_result *result = pool->unfinished;
        struct job *job = result->job;
        bool cut = false;
        for (size_t i = 0; i < job->chunk_count; i++)
            if (!(atomic_load(&job->chunks[i].owner) & (CHUNK_DONE | CHUNK_GIVEN_UP))) {
                give_up_chunk(result, i, POOL_TASK_CANCELLED, NULL);
                cut = true;
            }
        pool->first_queued = NULL; /* nothing is published any more */
        result->ended = cut;
        settle(result);
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
        settle(result); /* who asks has a reference, so it is not the last that goes */
    pthread_mutex_unlock(&pool->mutex);
    return true;
}

/* ---- Results in place ------------------------------------------------------------------------ */

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
    if (atomic_load(&result->state) == RESULT_READY)
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
    atomic_store(&result->state, RESULT_READY);
    pthread_cond_broadcast(&pool->collected);
    pthread_mutex_unlock(&pool->mutex);
}

static bool is_ready(void *context)
{
    struct pool_result *result = context;
    if (atomic_load_explicit(&result->state, memory_order_acquire) == RESULT_READY)
        return true;
    if (!result_is_settled(result))
        return false;
    result_collect(result); /* NOLINT(clang-analyzer-unix.Malloc): as said there, it is not freed */
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

/* ---- Submitting ------------------------------------------------------------------------------ */

int check_open(const struct pool *pool, bool even_closed, struct error *error)
{
    if (pool->end.code != ERROR_NONE) {
        if (error)
            *error = pool->end;
        return -1;
    }
    if (atomic_load(&pool->interrupted))
        return error_set(error, ERROR_INTERRUPTED, "the pool was interrupted");
    if (pool->terminated || (pool->closed && !even_closed))
        return error_set(error, ERROR_CLOSED, "the pool was closed");
    return 0;
}

/* A result without tasks is ready at once. */
static int submit(struct pool *pool, struct work work, struct pool_result *result, bool even_closed,
                  struct error *error)
{
    result->times[0] = now();
    if (pool_check(pool, error) != 0 || work_check(&work, error) != 0)
        return -1;
    if (work.chunksize == 0)
        work.chunksize = pool_default_chunksize(work.tasks, pool->options.workers);
    if (work.chunksize > UINT32_MAX)
        work.chunksize = UINT32_MAX;
    result->pool = pool;
    result->results = work.results;
    result->board_slot = -1;
    result->references = 2; /* who submits it, and the list of the unfinished */
    if (work.tasks > 0) {
        const uint64_t begin = timeline_is_on() ? now_ns() : 0;
        result->job = job_build(pool, &work, &result->copied, error);
        if (!result->job)
            return -1;
        if (begin)
            timeline_span(TIMELINE_COPY_IN, begin, now_ns(), result->copied, 0);
    }
    pthread_mutex_lock(&pool->mutex);
    int status = check_open(pool, even_closed, error);
    if (status == 0 && (result->callbacks.done || result->callbacks.failed))
        status = callback_thread_start(pool, error);
    if (status == 0 && result->job)
        enter(result);
    else if (status == 0)
        settle(result);
    else
        job_retire(pool, result->job);
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

/* Submits, waits and collects. The result lives here, so nothing is allocated for it. */
static int run(struct pool *pool, const struct work *work, struct error *error)
{
    struct pool_result result = {0};
    if (submit(pool, *work, &result, false, error) != 0)
        return -1;
    wait_and_watch(&result);
    if (result.job) {
        pthread_mutex_lock(&pool->mutex);
        job_retire(pool, result.job);
        pthread_mutex_unlock(&pool->mutex);
    }
    free(result.attempts);
    if (result.error.code == ERROR_NONE)
        return 0;
    if (error)
        *error = result.error;
    return -1;
}

static struct pool_result *submit_async(struct pool *pool, const struct work *work,
                                        const struct pool_callbacks *callbacks, bool even_closed,
                                        struct error *error)
{
    if (pool_check(pool, error) != 0)
        return NULL;
    struct pool_result *result = calloc(1, sizeof *result);
    if (!result) {
        error_set(error, ERROR_MEMORY, "no memory for a result");
        return NULL;
    }
    if (callbacks)
        result->callbacks = *callbacks;
    atomic_fetch_add(&pool->references, 1);
    if (submit(pool, *work, result, even_closed, error) == 0)
        return result; /* NOLINT(clang-analyzer-unix.Malloc): it has a reference of its own */
    atomic_fetch_sub(&pool->references, 1);
    free(result);
    return NULL;
}

struct pool_result *submit_chunk(struct pool *pool, const struct work *work, struct error *error)
{
    return submit_async(pool, work, NULL, true, error);
}

/* ---- Map, starmap, apply --------------------------------------------------------------------- */

static const struct pool_results no_results;

static struct work starmap_work(pool_function *function, const struct pool_column *columns,
                                size_t column_count, const struct pool_results *results,
                                size_t tasks, size_t chunksize)
{
    return (struct work){.function = function,
                         .columns = columns,
                         .column_count = column_count,
                         .results = results ? *results : no_results,
                         .tasks = tasks,
                         .chunksize = chunksize};
}

int pool_starmap(struct pool *pool, pool_function *function, const struct pool_column *columns,
                 size_t column_count, const struct pool_results *results, size_t tasks,
                 size_t chunksize, struct error *error)
{
    const struct work work =
        starmap_work(function, columns, column_count, results, tasks, chunksize);
    return run(pool, &work, error);
}

struct pool_result *pool_starmap_async(struct pool *pool, pool_function *function,
                                       const struct pool_column *columns, size_t column_count,
                                       const struct pool_results *results, size_t tasks,
                                       size_t chunksize, const struct pool_callbacks *callbacks,
                                       struct error *error)
{
    const struct work work =
        starmap_work(function, columns, column_count, results, tasks, chunksize);
    return submit_async(pool, &work, callbacks, false, error);
}

int pool_map(struct pool *pool, pool_function *function, const void *arguments,
             size_t argument_size, void *results, size_t result_size, size_t tasks,
             size_t chunksize, struct error *error)
{
    const struct pool_column column = {.data = arguments, .size = argument_size};
    const struct pool_results all = {.data = results, .size = result_size};
    return pool_starmap(pool, function, &column, 1, &all, tasks, chunksize, error);
}

struct pool_result *pool_map_async(struct pool *pool, pool_function *function,
                                   const void *arguments, size_t argument_size, void *results,
                                   size_t result_size, size_t tasks, size_t chunksize,
                                   const struct pool_callbacks *callbacks, struct error *error)
{
    const struct pool_column column = {.data = arguments, .size = argument_size};
    const struct pool_results all = {.data = results, .size = result_size};
    return pool_starmap_async(pool, function, &column, 1, &all, tasks, chunksize, callbacks, error);
}

int pool_apply(struct pool *pool, pool_function *function, const void *argument,
               size_t argument_size, void *result, size_t result_size, struct error *error)
{
    return pool_map(pool, function, argument, argument_size, result, result_size, 1, 1, error);
}

struct pool_result *pool_apply_async(struct pool *pool, pool_function *function,
                                     const void *argument, size_t argument_size, void *result,
                                     size_t result_size, const struct pool_callbacks *callbacks,
                                     struct error *error)
{
    return pool_map_async(pool, function, argument, argument_size, result, result_size, 1, 1,
                          callbacks, error);
}

/* ---- Results --------------------------------------------------------------------------------- */

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

size_t pool_result_cancel(struct pool_result *result)
{
    struct pool *pool = result->pool;
    struct job *job = result->job;
    size_t cancelled = 0;
    pthread_mutex_lock(&pool->mutex);
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
            settle(result);
    }
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
    if (!result)
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
