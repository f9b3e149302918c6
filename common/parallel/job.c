/* job.c - a piece of work as the workers read it: checked, then described in one allocation.
 *
 * Its description and its chunks come first, then copies of all columns, offsets and results that
 * do not live in shared memory, then its slots. What several workers write lies on cache lines of
 * its own; a job of one chunk is for one worker, and as close together as can be. Small jobs may be
 * many, and one page of the arena each would make its list of extents long: they are cut from
 * slabs, and kept for the next ones until the pool is freed. A job that is off the board is freed
 * when no worker looks at it. */
#include "common/parallel/internal.h"
#include "common/parallel/shared_memory.h"
#include <stdlib.h>
#include <unistd.h>

/* ---- What is to be done --------------------------------------------------------------------- */

/* The bytes from the first element that there is to the last one that is asked for. */
static bool indexed_bytes(const struct pool_column *column, size_t n, size_t *bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (column->indices[i] < 0)
            return false;
        if ((size_t)column->indices[i] >= count)
            count = (size_t)column->indices[i] + 1;
    }
    return !__builtin_mul_overflow(column->size, count, bytes);
}

/* The bytes of a column of n elements. False where the sizes overflow, the offsets descend or an
 * index is below 0. */
static bool column_bytes(const struct pool_column *column, size_t n, size_t *bytes)
{
    if (column->offsets) {
        for (size_t i = 0; i < n; i++)
            if (column->offsets[i] > column->offsets[i + 1])
                return false;
        *bytes = column->offsets[n];
        return true;
    }
    if (column->indices)
        return indexed_bytes(column, n, bytes);
    /* what is copied for each task is checked as if it were */
    return !__builtin_mul_overflow(column->size, column->constant ? 1 : n, bytes);
}

static struct pool_column results_as_column(const struct pool_results *results)
{
    return (struct pool_column){
        .data = results->data, .size = results->size, .offsets = results->offsets};
}

int work_check(const struct work *work, struct error *error)
{
    size_t bytes;
    if (check_task_function(work->function, error) != 0)
        return -1;
    if (work->column_count < 1 || work->column_count > POOL_MAX_COLUMNS)
        return error_set(error, ERROR_INVALID, "%zu columns of arguments: 1 to %d are possible",
                         work->column_count, POOL_MAX_COLUMNS);
    if (!work->columns)
        return error_set(error, ERROR_INVALID, "the columns of arguments are NULL");
    for (size_t c = 0; c < work->column_count; c++) {
        if (!column_bytes(&work->columns[c], work->tasks, &bytes))
            return error_set(error, ERROR_INVALID,
                             "%zu arguments of %zu bytes overflow, their offsets descend, or an "
                             "index is below 0",
                             work->tasks, work->columns[c].size);
        if (!work->columns[c].data && bytes > 0)
            return error_set(error, ERROR_INVALID, "column %zu of the arguments is NULL", c);
        if (work->columns[c].constant + work->columns[c].copied_each +
                (work->columns[c].offsets != NULL) + (work->columns[c].indices != NULL) >
            1)
            return error_set(error, ERROR_INVALID,
                             "column %zu of the arguments has more than one of constant, "
                             "copied_each, offsets and indices",
                             c);
    }
    const struct pool_column results = results_as_column(&work->results);
    if (!column_bytes(&results, work->tasks, &bytes))
        return error_set(error, ERROR_INVALID,
                         "%zu results of %zu bytes overflow, or their offsets descend", work->tasks,
                         results.size);
    if (!results.data && bytes > 0 && !work->keep_results)
        return error_set(error, ERROR_INVALID, "the results are NULL");
    return 0;
}

/* ---- Memory for jobs ------------------------------------------------------------------------ */

/* With the mutex held. */
static int add_slab(struct pool *pool, struct error *error)
{
    char **slabs = realloc(pool->slabs, (pool->slab_count + 1) * sizeof *slabs);
    if (!slabs)
        return error_set(error, ERROR_MEMORY, "no memory for a list of jobs");
    pool->slabs = slabs;
    char *slab = arena_allocate(JOBS_IN_SLAB * SMALL_JOB, false, error);
    if (!slab)
        return -1;
    slabs[pool->slab_count++] = slab;
    for (size_t i = JOBS_IN_SLAB; i-- > 0;) {
        struct job *job = (struct job *)(void *)(slab + i * SMALL_JOB);
        job->retired = pool->spare;
        pool->spare = job;
    }
    return 0;
}

static void *job_memory(struct pool *pool, size_t size, struct error *error)
{
    struct job *job = NULL;
    if (size > SMALL_JOB)
        return arena_allocate(size, false, error);
    pthread_mutex_lock(&pool->mutex);
    if (!pool->spare)
        add_slab(pool, error);
    job = pool->spare;
    if (job)
        pool->spare = job->retired;
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

static void job_free(struct pool *pool, struct job *job)
{
    if (job->size <= SMALL_JOB) {
        job->retired = pool->spare;
        pool->spare = job;
    } else {
        arena_free(job);
    }
}

static bool job_is_looked_at(const struct pool *pool, const struct job *job)
{
    for (int w = 0; w < pool->options.workers; w++)
        if (atomic_load(&pool->board->slots[w].job) == job)
            return true;
    return false;
}

void free_retired_jobs(struct pool *pool)
{
    if (pool->owner != getpid()) /* the lists run through memory that is the program's */
        return;
    for (struct job **link = &pool->retired; *link;) {
        struct job *job = *link;
        if (job_is_looked_at(pool, job)) {
            link = &job->retired;
        } else {
            *link = job->retired;
            pool->retired_count--;
            job_free(pool, job);
        }
    }
}

/* Small ones in batches, for to look whether a worker looks disturbs the worker. */
void job_retire(struct pool *pool, struct job *job)
{
    if (!job || pool->owner != getpid())
        return;
    job->retired = pool->retired;
    pool->retired = job;
    if (++pool->retired_count >= JOBS_IN_SLAB / 2 || job->size > SMALL_JOB)
        free_retired_jobs(pool);
}

/* ---- The plan ------------------------------------------------------------------------------- */

struct part { /* something that the workers must see */
    const void *data;
    size_t bytes, times, at; /* `times` copies of so many bytes */
    const int64_t *indices;  /* copy i is of the bytes with this index; NULL: all of the same */
    bool shared;
};

struct plan {
    size_t size, alignment, chunk_count, slot_count;
    size_t slots_at, chunks_at;
    struct part columns[POOL_MAX_COLUMNS + 1], places[POOL_MAX_COLUMNS + 1]; /* last: results */
};

/* The size grows as parts are placed; a sum that overflows stays at SIZE_MAX, which no allocation
 * can serve. */
static size_t place_part(struct plan *plan, size_t alignment, size_t bytes)
{
    size_t at, sum;
    if (__builtin_add_overflow(plan->size, alignment - 1, &at) ||
        __builtin_add_overflow(at / alignment * alignment, bytes, &sum)) {
        plan->size = SIZE_MAX;
        return 0;
    }
    plan->size = sum;
    return at / alignment * alignment;
}

static size_t place_parts(struct plan *plan, size_t alignment, size_t count, size_t bytes)
{
    size_t all;
    return place_part(plan, alignment, __builtin_mul_overflow(count, bytes, &all) ? SIZE_MAX : all);
}

static struct part plan_part(struct plan *plan, const void *data, size_t bytes, size_t times)
{
    struct part part = {.data = data, .bytes = bytes, .times = times};
    part.shared = part.bytes == 0 || (data && shared_memory_contains(data, bytes));
    if (!part.shared)
        part.at = place_parts(plan, plan->alignment, times, bytes);
    return part;
}

/* `bytes` from the first element to the last. Where they lie in shared memory the workers pick
 * theirs, else those that are asked for are put side by side. */
static struct part plan_column(struct plan *plan, const struct pool_column *column, size_t bytes,
                               size_t tasks)
{
    if (column->copied_each)
        return plan_part(plan, column->data, column->size, tasks);
    if (!column->indices || bytes == 0 || shared_memory_contains(column->data, bytes))
        return plan_part(plan, column->data, bytes, 1);
    struct part part = plan_part(plan, column->data, column->size, tasks);
    part.indices = column->indices;
    return part;
}

/* The offsets of a column, or the indices if the workers need them. */
static struct part plan_places(struct plan *plan, const struct pool_column *column, bool gathered,
                               size_t tasks)
{
    if (column->indices && !gathered)
        return plan_part(plan, column->indices, tasks * sizeof *column->indices, 1);
    return plan_part(plan, column->offsets,
                     column->offsets ? (tasks + 1) * sizeof *column->offsets : 0, 1);
}

static void plan_job(struct plan *plan, const struct pool *pool, const struct work *work)
{
    const bool one = work->tasks <= work->chunksize;
    plan->size = one ? offsetof(struct job, incomplete) + sizeof(int) : sizeof(struct job);
    plan->alignment = one ? _Alignof(max_align_t) : CACHE_LINES;
    plan->chunk_count = work->tasks / work->chunksize + (work->tasks % work->chunksize != 0);
    plan->slot_count = one ? 1 : (size_t)pool->options.workers;
    plan->chunks_at = place_parts(plan, plan->alignment, plan->chunk_count, sizeof(struct chunk));
    for (size_t c = 0; c <= work->column_count; c++) {
        const struct pool_column column =
            c < work->column_count ? work->columns[c] : results_as_column(&work->results);
        size_t bytes = 0;
        column_bytes(&column, work->tasks, &bytes);
        plan->columns[c] = plan_column(plan, &column, bytes, work->tasks);
        plan->places[c] = plan_places(plan, &column, plan->columns[c].indices != NULL, work->tasks);
    }
    plan->slots_at = place_parts(plan, plan->alignment, plan->slot_count, sizeof(struct job_slot));
}

/* Where the workers find a part: where it is, or its copy in the job. */
static void *part_address(const struct part *part, char *job)
{
    return part->shared ? (void *)(uintptr_t)part->data : job + part->at;
}

static void *copy_in(const struct part *part, char *job, uint64_t *copied)
{
    for (size_t i = 0; i < part->times && !part->shared; i++) {
        const size_t index = part->indices ? (size_t)part->indices[i] : 0;
        memcpy(job + part->at + i * part->bytes, (const char *)part->data + index * part->bytes,
               part->bytes);
        *copied += part->bytes;
    }
    return part_address(part, job);
}

struct job *job_build(struct pool *pool, const struct work *work, uint64_t *copied,
                      struct error *error)
{
    struct plan plan;
    plan_job(&plan, pool, work);
    char *memory = job_memory(pool, plan.size, error);
    if (!memory)
        return NULL;
    struct job *job = (struct job *)(void *)memory;
    memset(memory, 0, plan.chunks_at + plan.chunk_count * sizeof(struct chunk));
    memset(memory + plan.slots_at, 0, plan.slot_count * sizeof(struct job_slot));
    job->size = plan.size;
    job->tasks = work->tasks;
    job->chunksize = work->chunksize;
    job->chunk_count = plan.chunk_count;
    job->column_count = work->column_count;
    job->first_index = work->first_index;
    job->heap = work->heap;
    job->timeline = timeline_of_jobs();
    job->slots = (struct job_slot *)(void *)(memory + plan.slots_at);
    job->slot_count = (int)plan.slot_count;
    job->chunks = (struct chunk *)(void *)(memory + plan.chunks_at);
    snprintf(job->function, NAME_LENGTH, "%s", pool_name(work->function));
    for (size_t c = 0; c < work->column_count; c++) {
        job->columns[c] = work->columns[c];
        job->columns[c].data = copy_in(&plan.columns[c], memory, copied);
        if (plan.columns[c].shared) /* then there is one for all tasks */
            job->columns[c].constant |= job->columns[c].copied_each;
        void *places = copy_in(&plan.places[c], memory, copied);
        job->columns[c].offsets = work->columns[c].offsets ? places : NULL;
        job->columns[c].indices =
            work->columns[c].indices && !plan.columns[c].indices ? places : NULL;
    }
    job->results = work->results;
    job->results.data = part_address(&plan.columns[work->column_count], memory);
    job->results.offsets = copy_in(&plan.places[work->column_count], memory, copied);
    return job;
}
