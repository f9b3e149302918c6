/* imap.c - iterators. One is a window of jobs of one chunk each: when the results of one have all
 * been asked for, the source is asked for another chunk. So the source may be endless, and memory
 * is bounded. */
#include "common/parallel/internal.h"
#include <stdlib.h>

struct entry {
    struct pool_result *result;
    size_t first, count; /* tasks */
    size_t position;     /* the next one to be answered */
};

struct pool_iterator {
    struct pool *pool;
    pool_function *function;
    pool_source *source;
    void *context;
    size_t argument_size, result_size, chunksize, buffersize;
    bool ordered;
    struct entry *entries; /* [buffersize]; a ring if ordered, else in any order */
    size_t head, count;
    struct entry *current;     /* whose results are being answered, or NULL */
    char *arguments;           /* of one chunk ... */
    size_t room;               /* ... as far as there is memory for them */
    size_t taken;              /* from the source */
    bool exhausted;            /* nothing more will be taken */
    bool over;                 /* nothing more is answered: it was said why */
    struct error end;          /* why the iteration ends early; code 0: it does not */
    struct open_iterator open; /* in the pool's list, until it is exhausted */
};

int pool_from_array(void *context, void *argument)
{
    struct pool_array *array = context;
    if (array->next >= array->count)
        return 0;
    memcpy(argument, (const char *)array->data + array->next * array->size, array->size);
    array->next++;
    return 1;
}

static struct entry *entry_at(const struct pool_iterator *iterator, size_t i)
{
    return &iterator->entries[(iterator->head + i) % iterator->buffersize];
}

static int enter_pool(struct pool_iterator *iterator, struct error *error)
{
    struct pool *pool = iterator->pool;
    pthread_mutex_lock(&pool->mutex);
    const int status = check_open(pool, false, error);
    if (status == 0) {
        atomic_fetch_add(&pool->references, 1);
        iterator->open.next = pool->iterators;
        pool->iterators = &iterator->open;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

/* It takes nothing more from its source. A closed pool may be waiting for that. */
static void leave_pool(struct pool_iterator *iterator)
{
    struct pool *pool = iterator->pool;
    iterator->exhausted = true;
    pthread_mutex_lock(&pool->mutex);
    struct open_iterator **link = &pool->iterators;
    while (*link && *link != &iterator->open)
        link = &(*link)->next;
    if (*link)
        *link = iterator->open.next;
    if (pool->closed && !atomic_load(&pool->ended))
        manager_kick(pool);
    pthread_mutex_unlock(&pool->mutex);
}

/* For one more argument. A chunk may be meant to be larger than what the source has. */
static bool make_room(struct pool_iterator *iterator, size_t count)
{
    const size_t room = iterator->room > 0 ? 2 * iterator->room : 16;
    size_t bytes;
    if (count < iterator->room)
        return true;
    char *more = __builtin_mul_overflow(room, iterator->argument_size, &bytes)
                     ? NULL
                     : realloc(iterator->arguments, bytes > 0 ? bytes : 1);
    if (more) {
        iterator->arguments = more;
        iterator->room = room;
        return true;
    }
    error_set(&iterator->end, ERROR_MEMORY, "imap: no memory for a chunk of %zu arguments", room);
    iterator->exhausted = true;
    return false;
}

/* One chunk from the source. Returns how many arguments that is. */
static size_t take_chunk(struct pool_iterator *iterator)
{
    size_t count = 0;
    while (count < iterator->chunksize) {
        if (!make_room(iterator, count))
            break;
        const int more = iterator->source(iterator->context,
                                          iterator->arguments + count * iterator->argument_size);
        if (more < 0)
            error_set(&iterator->end, ERROR_TASK, "the source of the arguments failed after %zu",
                      iterator->taken + count);
        iterator->exhausted = more <= 0;
        if (more <= 0)
            break;
        count++;
    }
    return count;
}

static void fill_window(struct pool_iterator *iterator)
{
    const bool more = !iterator->exhausted;
    while (!iterator->exhausted && iterator->count < iterator->buffersize) {
        const size_t count = take_chunk(iterator);
        const struct pool_column column = {.data = iterator->arguments,
                                           .size = iterator->argument_size};
        const struct work work = {.function = iterator->function,
                                  .columns = &column,
                                  .column_count = 1,
                                  .results = {.size = iterator->result_size},
                                  .keep_results = true,
                                  .tasks = count,
                                  .chunksize = count,
                                  .first_index = iterator->taken};
        struct error error;
        if (count == 0)
            break;
        struct pool_result *result = submit_chunk(iterator->pool, &work, &error);
        if (!result) {
            iterator->end = error;
            iterator->exhausted = true;
            break;
        }
        *entry_at(iterator, iterator->count++) =
            (struct entry){.result = result, .first = iterator->taken, .count = count};
        iterator->taken += count;
    }
    if (more && iterator->exhausted)
        leave_pool(iterator);
}

/* Results stay in the job until they are asked for. */
static void drop_current(struct pool_iterator *iterator)
{
    struct entry *entry = iterator->current;
    pthread_mutex_lock(&iterator->pool->mutex);
    iterator->pool->statistics.bytes_copied += entry->count * iterator->result_size;
    pthread_mutex_unlock(&iterator->pool->mutex);
    pool_result_free(entry->result);
    iterator->count--;
    if (iterator->ordered)
        iterator->head = (iterator->head + 1) % iterator->buffersize;
    else
        *entry = *entry_at(iterator, iterator->count);
    iterator->current = NULL;
}

/* A wait_condition: is there an entry to answer from? */
static bool find_current(void *context)
{
    struct pool_iterator *iterator = context;
    const size_t candidates = iterator->ordered ? 1 : iterator->count;
    size_t withdrawn = 0;
    for (size_t i = 0; i < candidates; i++) {
        struct entry *entry = entry_at(iterator, i);
        if (!pool_result_ready(entry->result))
            continue;
        iterator->current = entry;
        if (job_task_state(entry->result->job, 0) != POOL_TASK_CANCELLED)
            return true;
        withdrawn++; /* what had begun comes before */
    }
    if (withdrawn == candidates && candidates > 0)
        return true;
    iterator->current = NULL;
    return false;
}

static int answer(struct pool_iterator *iterator, void *result, size_t *index, struct error *error)
{
    struct entry *entry = iterator->current;
    const struct job *job = entry->result->job;
    const size_t task = entry->position++;
    const enum pool_task_state state = job_task_state(job, task);
    if (state == POOL_TASK_CANCELLED) { /* the pool has come to its end */
        if (check_open(iterator->pool, true, &iterator->end) == 0)
            error_set(&iterator->end, ERROR_CLOSED, "the pool was closed");
        iterator->over = true;
        leave_pool(iterator);
        if (error)
            *error = iterator->end;
        return -1;
    }
    *index = entry->first + task;
    if (state == POOL_TASK_DONE) {
        if (iterator->result_size > 0)
            memcpy(result, (const char *)job->results.data + task * iterator->result_size,
                   iterator->result_size);
        return 1;
    }
    if (state == POOL_TASK_NOT_RUN)
        error_set(error, ERROR_NOT_RUN, "%s: task %zu was not run, since task %zu was not done",
                  job->function, *index, entry->result->error.task);
    else if (error)
        *error = entry->result->error;
    if (error)
        error->task = *index;
    return -1;
}

int pool_iterator_next(struct pool_iterator *iterator, void *result, size_t *index, double timeout,
                       struct error *error)
{
    size_t ignored;
    struct pool *pool = iterator->pool;
    if (!index)
        index = &ignored;
    *index = SIZE_MAX;
    atomic_store(&iterator->open.thread, pthread_self());
    if (iterator->over)
        return 0;
    if (iterator->current && iterator->current->position == iterator->current->count)
        drop_current(iterator);
    fill_window(iterator);
    if (iterator->count == 0 && iterator->end.code == ERROR_NONE)
        return 0;
    if (iterator->count == 0) {
        iterator->over = true;
        if (error)
            *error = iterator->end;
        return -1;
    }
    if (!iterator->current && !wait_until(pool, find_current, iterator, deadline_after(timeout),
                                          pool->options.workers < pool->cores))
        return error_set(error, ERROR_TIMEOUT, "no result after %g s", timeout);
    return answer(iterator, result, index, error);
}

void pool_iterator_free(struct pool_iterator *iterator)
{
    if (!iterator)
        return;
    leave_pool(iterator);
    for (size_t i = 0; i < iterator->count; i++) {
        pool_result_cancel(entry_at(iterator, i)->result);
        pool_result_free(entry_at(iterator, i)->result);
    }
    pool_unreference(iterator->pool);
    free(iterator->entries);
    free(iterator->arguments);
    free(iterator);
}

static struct pool_iterator *create(struct pool_iterator options, struct error *error)
{
    struct pool *pool = options.pool;
    if (pool_check(pool, error) != 0 || check_task_function(options.function, error) != 0)
        return NULL;
    if (!options.source) {
        error_set(error, ERROR_INVALID, "imap: the source is NULL");
        return NULL;
    }
    if (options.chunksize == 0)
        options.chunksize = 1;
    if (options.chunksize > UINT32_MAX) /* as of a map */
        options.chunksize = UINT32_MAX;
    if (options.buffersize == 0)
        options.buffersize = 4 * (size_t)pool->options.workers;
    struct pool_iterator *iterator = malloc(sizeof *iterator);
    options.entries = calloc(options.buffersize, sizeof *options.entries);
    if (!iterator || !options.entries) {
        error_set(error, ERROR_MEMORY, "imap: no memory for %zu chunks", options.buffersize);
        goto failed;
    }
    *iterator = options;
    atomic_store(&iterator->open.thread, pthread_self());
    if (enter_pool(iterator, error) != 0)
        goto failed;
    fill_window(iterator);
    return iterator;
failed:
    free(options.entries);
    free(iterator);
    return NULL;
}

struct pool_iterator *pool_imap(struct pool *pool, pool_function *function, pool_source *source,
                                void *context, size_t argument_size, size_t result_size,
                                size_t chunksize, size_t buffersize, struct error *error)
{
    const struct pool_iterator options = {.pool = pool,
                                          .function = function,
                                          .source = source,
                                          .context = context,
                                          .argument_size = argument_size,
                                          .result_size = result_size,
                                          .chunksize = chunksize,
                                          .buffersize = buffersize,
                                          .ordered = true};
    return create(options, error);
}

struct pool_iterator *pool_imap_unordered(struct pool *pool, pool_function *function,
                                          pool_source *source, void *context, size_t argument_size,
                                          size_t result_size, size_t chunksize, size_t buffersize,
                                          struct error *error)
{
    struct pool_iterator *iterator = pool_imap(pool, function, source, context, argument_size,
                                               result_size, chunksize, buffersize, error);
    if (iterator)
        iterator->ordered = false; /* nothing has been asked for yet, so the ring begins at 0 */
    return iterator;
}
