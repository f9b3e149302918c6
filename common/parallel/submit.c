/* submit.c - map, starmap, apply and their async forms: checked, described (job.c), published
 * (result.c). A call that waits needs no memory for its result, which lives on its stack. */
#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include <stdlib.h>

size_t pool_default_chunksize(size_t tasks, int workers)
{
    const size_t share = 4 * (size_t)(workers > 0 ? workers : 1);
    return tasks / share + (tasks % share != 0);
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
        result_enter(result);
    else if (status == 0)
        result_settle(result);
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

/* ---- Map, starmap, apply -------------------------------------------------------------------- */

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

static void collect_bytes(const struct heap *heap, const struct output *outputs,
                          struct pool_bytes *results, size_t tasks, struct error *error,
                          int *status)
{
    size_t unchecked = 0;
    bool room = true;
    for (size_t i = 0; i < tasks; i++) {
        unchecked += outputs[i].size;
        if (unchecked >> 20) { /* with each MB it is asked how much memory is free */
            room = unchecked < resources_memory();
            unchecked = 0;
        }
        results[i].data = room ? output_collect(heap, &outputs[i]) : NULL;
        results[i].size = outputs[i].size;
        if (results[i].data || outputs[i].size == 0)
            continue;
        results[i].size = 0;
        if (*status == 0)
            *status = error_set(error, ERROR_MEMORY, "no memory for a result of %zu bytes",
                                outputs[i].size);
    }
}

int pool_map_bytes(struct pool *pool, pool_function *function, const void *arguments,
                   size_t argument_size, struct pool_bytes *results, size_t tasks, size_t chunksize,
                   struct error *error)
{
    const struct pool_column column = {.data = arguments, .size = argument_size};
    if (!results && tasks > 0)
        return error_set(error, ERROR_INVALID, "the results are NULL");
    for (size_t i = 0; i < tasks; i++)
        results[i] = (struct pool_bytes){NULL, 0};
    if (pool_check(pool, error) != 0)
        return -1;
    struct output *outputs = calloc(tasks > 0 ? tasks : 1, sizeof *outputs);
    if (!outputs)
        return error_set(error, ERROR_MEMORY, "no memory for %zu results", tasks);
    const struct pool_results all = {.data = outputs, .size = sizeof *outputs};
    struct work work = starmap_work(function, &column, 1, &all, tasks, chunksize);
    work.heap = heap_create(error);
    int status = work.heap ? run(pool, &work, error) : -1;
    if (work.heap)
        collect_bytes(work.heap, outputs, results, tasks, error, &status);
    heap_free(work.heap);
    free(outputs);
    return status;
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
