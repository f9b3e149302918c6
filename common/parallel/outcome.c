/* outcome.c - what came of a job: is it done, what its tasks have given, which of several errors
 * counts.
 *
 * Each chunk's words say it: how many of its tasks were completed, and whether the rest was given
 * up and why. Nothing is kept twice. Of several errors the one with the lowest index is the
 * outcome, so that it does not depend on who came first. */
#include "common/parallel/internal.h"

/* ---- While workers are at it ---------------------------------------------------------------- */

bool job_is_done(const struct job *job, _Atomic size_t *position)
{
    if (atomic_load(&job->finished) == job->chunk_count)
        return true;
    if (!atomic_load(&job->uncertain))
        return false;
    size_t i = atomic_load_explicit(position, memory_order_relaxed);
    while (i < job->chunk_count &&
           atomic_load_explicit(&job->chunks[i].owner, memory_order_acquire) &
               (CHUNK_DONE | CHUNK_GIVEN_UP))
        i++;
    atomic_store_explicit(position, i, memory_order_relaxed);
    return i == job->chunk_count;
}

/* The results of the tasks first .. end-1, and not a byte outside them: offsets need not begin
 * at 0, and what lies before belongs to nobody. */
static uint64_t copy_results(const struct job *job, const struct pool_results *results,
                             size_t first, size_t end)
{
    const size_t from = results->offsets ? results->offsets[first] : first * results->size;
    const size_t to = results->offsets ? results->offsets[end] : end * results->size;
    if (to > from)
        memcpy((char *)results->data + from, (char *)job->results.data + from, to - from);
    return to - from;
}

uint64_t job_copy_results(const struct job *job, const struct pool_results *results)
{
    uint64_t copied = 0;
    size_t whole = 0; /* chunks in a row that were completed: they are copied in one piece */
    if (!results->data || results->data == job->results.data)
        return 0;
    if (!atomic_load(&job->incomplete))
        return copy_results(job, results, 0, job->tasks);
    for (size_t i = 0; i < job->chunk_count; i++) {
        const size_t first = chunk_first(job, i);
        const size_t completed = atomic_load(&job->chunks[i].completed);
        if (completed == chunk_tasks(job, i)) {
            whole++;
            continue;
        }
        copied += copy_results(job, results, chunk_first(job, i - whole), first + completed);
        whole = 0;
    }
    if (whole > 0)
        copied +=
            copy_results(job, results, chunk_first(job, job->chunk_count - whole), job->tasks);
    return copied;
}

enum pool_task_state job_task_state(const struct job *job, size_t task)
{
    const size_t i = task / job->chunksize, within = task - chunk_first(job, i);
    const size_t completed = atomic_load(&job->chunks[i].completed);
    const uint32_t owner = atomic_load(&job->chunks[i].owner);
    const bool given_up = !(owner & CHUNK_DONE);
    if (within < completed)
        return POOL_TASK_DONE;
    if (given_up && (owner & ~CHUNK_GIVEN_UP) == POOL_TASK_CANCELLED)
        return POOL_TASK_CANCELLED;
    if (within > completed)
        return POOL_TASK_NOT_RUN;
    return given_up ? (enum pool_task_state)(owner & ~CHUNK_GIVEN_UP) : POOL_TASK_FAILED;
}

const char *job_error_message(const struct job *job, size_t index)
{
    for (int w = 0; w < job->slot_count; w++) {
        const uint32_t current = atomic_load(&job->slots[w].current);
        if (current && job->slots[w].errors[current - 1].index == index)
            return job->slots[w].errors[current - 1].message;
    }
    return "it failed"; /* an older error of a chunk that was run again has kept its place */
}

uint64_t job_busy(const struct job *job)
{
    uint64_t busy = 0;
    for (int w = 0; w < job->slot_count; w++)
        busy += atomic_load(&job->slots[w].busy_ns);
    return busy;
}

double job_busiest(const struct job *job)
{
    uint64_t busiest = 0;
    for (int w = 0; w < job->slot_count; w++) {
        const uint64_t busy = atomic_load(&job->slots[w].busy_ns);
        busiest = busy > busiest ? busy : busiest;
    }
    return 1e-9 * (double)busiest;
}

/* ---- The verdict: with the mutex held ------------------------------------------------------- */

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

void judge(struct pool_result *result)
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
