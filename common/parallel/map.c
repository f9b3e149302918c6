#include "common/parallel/internal.h"
#include "common/parallel/shared_memory.h"
#include <stdlib.h>
#include <unistd.h>

size_t pool_default_chunksize(size_t tasks, int workers)
{
    const size_t parts = 4 * (size_t)workers;
    return tasks / parts + (tasks % parts != 0);
}

/* The bytes of n elements; false when they overflow, or offsets do not ascend. */
static bool column_bytes(const struct pool_column *column, size_t n, size_t *bytes)
{
    if (column->offsets) {
        for (size_t i = 0; i < n; i++)
            if (column->offsets[i] > column->offsets[i + 1])
                return false;
        *bytes = column->offsets[n];
        return true;
    }
    return !__builtin_mul_overflow(column->size, column->constant ? 1 : n, bytes);
}

static struct pool_column results_as_column(const struct pool_results *results)
{
    return (struct pool_column){
        .data = results->data, .size = results->size, .offsets = results->offsets};
}

static int check_map(struct pool *pool, pool_function *function, const struct pool_column *columns,
                     size_t column_count, const struct pool_results *results, size_t tasks,
                     struct error *error)
{
    size_t bytes;
    if (!pool)
        return error_set(error, ERROR_INVALID, "the pool is NULL");
    if (pool->owner != getpid())
        return error_set(error, ERROR_INVALID, "this pool belongs to another process");
    if (pool->broken)
        return error_set(error, ERROR_BROKEN, "%s", pool->why_broken);
    if (!function)
        return error_set(error, ERROR_INVALID, "the task function is NULL");
    if (check_registered(function, "the task function", error) != 0)
        return -1;
    if (column_count < 1 || column_count > POOL_MAX_COLUMNS)
        return error_set(error, ERROR_INVALID, "%zu columns of arguments: 1 to %d are possible",
                         column_count, POOL_MAX_COLUMNS);
    if (!columns)
        return error_set(error, ERROR_INVALID, "the columns of arguments are NULL");
    for (size_t c = 0; c < column_count; c++) {
        if (!column_bytes(&columns[c], tasks, &bytes))
            return error_set(error, ERROR_INVALID,
                             "%zu arguments of %zu bytes overflow, or their offsets descend", tasks,
                             columns[c].size);
        if (!columns[c].data && bytes > 0)
            return error_set(error, ERROR_INVALID, "column %zu of the arguments is NULL", c);
    }
    const struct pool_column as_column = results_as_column(results);
    if (!column_bytes(&as_column, tasks, &bytes))
        return error_set(error, ERROR_INVALID,
                         "%zu results of %zu bytes overflow, or their offsets descend", tasks,
                         results->size);
    if (!results->data && bytes > 0)
        return error_set(error, ERROR_INVALID, "the results are NULL");
    return 0;
}

/* One allocation holds the job: its description, its slots and chunks, then copies of all
 * columns, offsets and results that do not live in shared memory. `size` grows as parts are
 * placed; a sum that overflows stays at SIZE_MAX, which no allocation can serve. */
static size_t place_part(size_t *size, size_t bytes)
{
    const size_t at = *size;
    size_t padded, sum;
    if (__builtin_add_overflow(bytes, CACHE_LINES - 1, &padded) ||
        __builtin_add_overflow(at, padded / CACHE_LINES * CACHE_LINES, &sum))
        sum = SIZE_MAX;
    *size = sum;
    return at;
}

struct part { /* something that the workers must see */
    const void *data;
    size_t bytes, at;
    bool shared;
};

static struct part plan_part(size_t *size, const void *data, size_t bytes)
{
    struct part part = {.data = data, .bytes = data ? bytes : 0};
    part.shared = part.bytes == 0 || shared_memory_contains(data, bytes);
    if (!part.shared)
        part.at = place_part(size, bytes);
    return part;
}

struct plan {
    size_t size;
    size_t slots_at, chunks_at;
    struct part columns[POOL_MAX_COLUMNS + 1], offsets[POOL_MAX_COLUMNS + 1]; /* last: results */
};

static void plan_job(struct plan *plan, const struct pool *pool, const struct pool_column *columns,
                     size_t column_count, const struct pool_results *results, size_t tasks,
                     size_t chunk_count)
{
    *plan = (struct plan){0};
    place_part(&plan->size, sizeof(struct job));
    plan->slots_at =
        place_part(&plan->size, (size_t)pool->options.workers * sizeof(struct job_slot));
    size_t chunks_size;
    if (__builtin_mul_overflow(chunk_count, sizeof(struct chunk), &chunks_size))
        chunks_size = SIZE_MAX;
    plan->chunks_at = place_part(&plan->size, chunks_size);
    for (size_t c = 0; c <= column_count; c++) {
        const struct pool_column column =
            c < column_count ? columns[c] : results_as_column(results);
        size_t bytes = 0;
        column_bytes(&column, tasks, &bytes);
        plan->columns[c] = plan_part(&plan->size, column.data, bytes);
        plan->offsets[c] =
            plan_part(&plan->size, column.offsets, (tasks + 1) * sizeof *column.offsets);
    }
}

/* Where the workers find a part: where it is, or its copy in the job. */
static void *part_address(const struct part *part, char *job)
{
    return part->shared ? (void *)(uintptr_t)part->data : job + part->at;
}

static void *copy_in(struct pool *pool, const struct part *part, char *job)
{
    if (!part->shared) {
        memcpy(job + part->at, part->data, part->bytes);
        pool->statistics.bytes_copied += part->bytes;
    }
    return part_address(part, job);
}

static struct job *build_job(struct pool *pool, pool_function *function, const struct plan *plan,
                             const struct pool_column *columns, size_t column_count,
                             const struct pool_results *results, size_t tasks, size_t chunksize,
                             struct error *error)
{
    char *memory = arena_allocate(plan->size, false, error);
    if (!memory)
        return NULL;
    struct job *job = (struct job *)(void *)memory;
    memset(memory, 0, plan->chunks_at); /* the description and the slots */
    job->tasks = tasks;
    job->chunksize = chunksize;
    job->chunk_count = tasks / chunksize + (tasks % chunksize != 0);
    job->column_count = column_count;
    job->slots = (struct job_slot *)(void *)(memory + plan->slots_at);
    job->chunks = (struct chunk *)(void *)(memory + plan->chunks_at);
    memset(job->chunks, 0, job->chunk_count * sizeof *job->chunks);
    snprintf(job->function, NAME_LENGTH, "%s", pool_name(function));
    for (size_t c = 0; c < column_count; c++) {
        job->columns[c] = columns[c];
        job->columns[c].data = copy_in(pool, &plan->columns[c], memory);
        job->columns[c].offsets = copy_in(pool, &plan->offsets[c], memory);
    }
    job->results = *results;
    job->results.data = part_address(&plan->columns[column_count], memory);
    job->results.offsets = copy_in(pool, &plan->offsets[column_count], memory);
    return job;
}

void free_retired(struct pool *pool)
{
    for (int i = 0; i <= pool->options.workers; i++) {
        bool in_use = false;
        for (int w = 0; pool->retired[i] && w < pool->options.workers; w++)
            in_use = in_use || atomic_load(&pool->board->slots[w].job) == pool->retired[i];
        if (!in_use) {
            arena_free(pool->retired[i]);
            pool->retired[i] = NULL;
        }
    }
}

/* Takes a job off the board. A worker may still be looking at it, to find that there is nothing
 * left to claim, so it is freed later; each worker looks at one job at most, hence one place
 * more than there are workers is always enough. */
static void retire(struct pool *pool, struct job *job, int board_slot)
{
    atomic_store(&pool->board->jobs[board_slot], NULL);
    free_retired(pool);
    for (int i = 0; i <= pool->options.workers; i++)
        if (!pool->retired[i]) {
            pool->retired[i] = job;
            break;
        }
    free_retired(pool);
}

static bool all_done(struct pool *pool)
{
    struct submission *submission = pool->submission;
    const struct job *job = submission->job;
    while (submission->scanned < job->chunk_count) {
        struct chunk *chunk = &job->chunks[submission->scanned];
        const uint32_t owner = atomic_load_explicit(&chunk->owner, memory_order_acquire);
        if (!(owner & (CHUNK_DONE | CHUNK_LOST)))
            return false;
        submission->scanned++;
    }
    return true;
}

/* Tasks of chunk i that were completed; *whole: were all of them? */
static size_t completed_tasks(const struct job *job, size_t i, bool *whole)
{
    const size_t after = job->tasks - i * job->chunksize;
    const size_t count = after < job->chunksize ? after : job->chunksize;
    const bool done = atomic_load(&job->chunks[i].owner) & CHUNK_DONE;
    const size_t completed = done ? job->chunks[i].completed : 0;
    *whole = completed == count;
    return completed;
}

static void count_completed(struct pool *pool, struct submission *submission)
{
    const struct job *job = submission->job;
    for (size_t i = 0; i < job->chunk_count; i++) {
        bool whole;
        pool->statistics.tasks += completed_tasks(job, i, &whole);
        pool->statistics.chunks += whole;
        submission->any_failed = submission->any_failed || !whole;
    }
    pool->statistics.maps++;
}

/* The results of the tasks first .. end-1, and not a byte outside them: offsets need not begin
 * at 0, and what lies before belongs to nobody. */
static void copy_results(struct pool *pool, const struct job *job,
                         const struct pool_results *results, size_t first, size_t end)
{
    const size_t from = results->offsets ? results->offsets[first] : first * results->size;
    const size_t to = results->offsets ? results->offsets[end] : end * results->size;
    if (to == from)
        return;
    memcpy((char *)results->data + from, (char *)job->results.data + from, to - from);
    pool->statistics.bytes_copied += to - from;
}

/* Copies back what was computed: all of it, or, where tasks failed or were lost, only the
 * elements whose tasks were completed. */
static void copy_out(struct pool *pool, const struct submission *submission,
                     const struct part *part, const struct pool_results *results)
{
    const struct job *job = submission->job;
    if (part->shared)
        return;
    if (!submission->any_failed) {
        copy_results(pool, job, results, 0, job->tasks);
        return;
    }
    for (size_t i = 0; i < job->chunk_count; i++) {
        bool whole;
        const size_t first = i * job->chunksize;
        copy_results(pool, job, results, first, first + completed_tasks(job, i, &whole));
    }
}

static int report_failures(const struct pool *pool, const struct submission *submission,
                           struct error *error)
{
    const struct job *job = submission->job;
    const struct task_error *first = NULL;
    for (int w = 0; w < pool->options.workers; w++) {
        const uint32_t current = atomic_load(&job->slots[w].current);
        const struct task_error *candidate = &job->slots[w].errors[current ? current - 1 : 0];
        if (current && (!first || candidate->index < first->index))
            first = candidate;
    }
    if (submission->lost > 0) {
        const size_t task = submission->first_lost * job->chunksize;
        const size_t after =
            task + job->chunksize < job->tasks ? task + job->chunksize : job->tasks;
        error_set(error, ERROR_WORKER_LOST, "%s: tasks %zu to %zu of %zu are lost: %s",
                  job->function, task, after - 1, job->tasks, submission->lost_how);
        if (error) {
            error->task = task;
            error->worker = submission->lost_worker;
        }
        return -1;
    }
    if (submission->any_failed && first) {
        error_set(error, ERROR_TASK, "%s: task %zu: %s", job->function, first->index,
                  first->message);
        if (error)
            error->task = first->index;
        return -1;
    }
    return 0;
}

static void note_phases(struct pool *pool, const struct job *job, const double times[4])
{
    double busiest = 0;
    for (int w = 0; w < pool->options.workers; w++) {
        const double busy = 1e-9 * (double)atomic_load(&job->slots[w].busy_ns);
        busiest = busy > busiest ? busy : busiest;
    }
    const double waited = times[2] - times[1] - busiest;
    pool->statistics.last = (struct pool_phases){.send = times[1] - times[0],
                                                 .compute = busiest,
                                                 .receive = times[3] - times[2],
                                                 .wait = waited > 0 ? waited : 0};
}

int pool_starmap(struct pool *pool, pool_function *function, const struct pool_column *columns,
                 size_t column_count, const struct pool_results *results, size_t tasks,
                 size_t chunksize, struct error *error)
{
    static const struct pool_results no_results;
    struct submission submission = {0};
    struct plan plan;
    double times[4] = {now()};

    if (!results)
        results = &no_results;
    if (check_map(pool, function, columns, column_count, results, tasks, error) != 0)
        return -1;
    if (chunksize == 0)
        chunksize = pool_default_chunksize(tasks, pool->options.workers);
    if (chunksize > UINT32_MAX)
        chunksize = UINT32_MAX;
    pool->statistics.last = (struct pool_phases){0};
    if (tasks == 0)
        return 0;
    hear_helper(pool); /* who died since the last map is replaced before this one */
    if (pool->broken)
        return error_set(error, ERROR_BROKEN, "%s", pool->why_broken);

    plan_job(&plan, pool, columns, column_count, results, tasks,
             tasks / chunksize + (tasks % chunksize != 0));
    submission.job =
        build_job(pool, function, &plan, columns, column_count, results, tasks, chunksize, error);
    if (!submission.job)
        return -1;
    pool->submission = &submission;
    times[1] = now();
    atomic_store(&pool->board->jobs[submission.board_slot], submission.job);
    ring(pool, submission.job->chunk_count);

    wait_until(pool, all_done);
    pool->submission = NULL;
    times[2] = now();
    int status = 0;
    if (pool->broken && submission.scanned < submission.job->chunk_count) {
        status = error_set(error, ERROR_BROKEN, "%s", pool->why_broken);
    } else {
        count_completed(pool, &submission);
        copy_out(pool, &submission, &plan.columns[column_count], results);
        times[3] = now();
        note_phases(pool, submission.job, times);
        status = report_failures(pool, &submission, error);
    }
    retire(pool, submission.job, submission.board_slot);
    free(submission.attempts);
    return status;
}

int pool_map(struct pool *pool, pool_function *function, const void *arguments,
             size_t argument_size, void *results, size_t result_size, size_t tasks,
             size_t chunksize, struct error *error)
{
    const struct pool_column column = {.data = arguments, .size = argument_size};
    const struct pool_results all = {.data = results, .size = result_size};
    return pool_starmap(pool, function, &column, 1, &all, tasks, chunksize, error);
}
