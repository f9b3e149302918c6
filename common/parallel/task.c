/* task.c - a worker runs the tasks of a chunk that it has claimed.
 *
 * After each task it stores how many of the chunk are complete, so that a worker that takes the
 * chunk over goes on there. An error is written beside the last one and then made current by one
 * store: a worker that dies in between leaves a whole one. What a recording wants to know costs one
 * look at the clock for each task; where tasks are shorter than that is worth, for several at once.
 */
#include "common/parallel/task.h"
#include "common/parallel/base.h"
#include <pthread.h>
#include <unistd.h>

#define LIGHT       ((uint64_t)2000) /* ns: tasks that are shorter are recorded several in one go */
#define MOST_IN_ONE ((uint32_t)1 << 20)

/* ---- What a task may ask and say ------------------------------------------------------------ */

size_t pool_task_index(const struct pool_task *task)
{
    return task ? task->index : 0;
}

int pool_task_fail(struct pool_task *task, const char *format, ...)
{
    va_list arguments;
    if (!task) /* called by the program itself */
        return -1;
    va_start(arguments, format);
    error_format(task->message, sizeof task->message, format, arguments);
    va_end(arguments);
    return -1;
}

bool pool_task_overdue(const struct pool_task *task)
{
    return task && task->slot &&
           atomic_load_explicit(&task->slot->overdue, memory_order_relaxed) == task->started;
}

int pool_task_worker(const struct pool_task *task)
{
    return task && task->own ? task->worker : -1;
}

int pool_task_append(struct pool_task *task, const void *bytes, size_t count)
{
    if (!task || !task->writer.heap)
        return pool_task_fail(task,
                              "pool_task_append in a task of another call than pool_map_bytes");
    if (output_append(&task->writer, bytes, count) == 0)
        return 0;
    return pool_task_fail(task, "no shared memory for a result of %zu bytes",
                          task->writer.output.size + count);
}

void **pool_task_storage(struct pool_task *task)
{
    static _Thread_local void *storage; /* a worker runs all tasks in one thread */
    (void)task;
    return &storage;
}

void pool_task_add_cpu(struct pool_task *task, double seconds)
{
    if (task && task->own)
        counter_add(&task->own->outside_ns, (uint64_t)(1e9 * seconds));
}

void name_failure(struct pool_task *task, int returned)
{
    if (task->message[0] == '\0')
        snprintf(task->message, sizeof task->message, "returned %d", returned);
}

/* ---- Recording ------------------------------------------------------------------------------ */

static void record_tasks(struct recorder *recorder, size_t last_index)
{
    const uint64_t time = now_ns(), took = time - recorder->last;
    timeline_add(recorder->row, TIMELINE_TASK, recorder->last, time,
                 last_index + 1 - recorder->tasks, recorder->tasks);
    if (took < LIGHT && recorder->every < MOST_IN_ONE)
        recorder->every *= 2;
    else if (took > 8 * LIGHT && recorder->every > 1)
        recorder->every /= 2;
    recorder->last = time;
    recorder->tasks = 0;
}

/* Only now that the chunk is this worker's: one that comes too late for a job must not touch its
 * recording, which may be over, or freed. */
static void record_chunk_begin(struct recorder *recorder, const struct job *job, int number,
                               const struct worker_slot *slot)
{
    if (job->timeline && !recorder->row)
        recorder->row = timeline_worker_row(job->timeline, number, slot);
    if (recorder->row)
        recorder->begin = recorder->last = now_ns();
    recorder->tasks = 0;
}

static void record_task(struct recorder *recorder, size_t index)
{
    if (recorder->row && ++recorder->tasks >= recorder->every)
        record_tasks(recorder, index);
}

static void record_chunk_end(struct recorder *recorder, size_t last_index, size_t chunk,
                             size_t tasks)
{
    if (!recorder->row)
        return;
    if (recorder->tasks > 0)
        record_tasks(recorder, last_index);
    timeline_add(recorder->row, TIMELINE_CHUNK, recorder->begin, recorder->last, chunk, tasks);
}

/* ---- Running -------------------------------------------------------------------------------- */

static void note_error(struct job_slot *slot, const struct pool_task *task)
{
    const uint32_t current = atomic_load_explicit(&slot->current, memory_order_relaxed);
    if (current != 0 && slot->errors[current - 1].index <= task->index)
        return;
    const uint32_t other = current == 1 ? 2 : 1;
    slot->errors[other - 1].index = task->index;
    memcpy(slot->errors[other - 1].message, task->message, sizeof task->message);
    atomic_store_explicit(&slot->current, other, memory_order_release);
}

static const void *element(const struct pool_column *column, size_t i)
{
    const char *data = column->data;
    if (column->constant)
        return data;
    if (column->indices)
        return data + (size_t)column->indices[i] * column->size;
    return data + (column->offsets ? column->offsets[i] : i * column->size);
}

/* Is this a process that a task has made by fork? It is not to go on as a second worker. */
static volatile bool is_copy;

static void note_copy(void)
{
    is_copy = true;
}

int notice_copies(void)
{
    is_copy = false; /* this process may descend from a worker */
    return pthread_atfork(NULL, NULL, note_copy);
}

/* The parent looks at the clock of a task that has a limit. */
static void start_clock(struct worker_slot *slot, struct pool_task *task)
{
    task->slot = slot;
    task->started = now_ns();
    atomic_store_explicit(&slot->started, task->started, memory_order_release);
}

void run_chunk(struct board *board, int number, struct job *job, pool_function *function,
               size_t chunk, struct recorder *recorder)
{
    struct worker_slot *own = &board->slots[number];
    _Atomic uint32_t *completed = &job->chunks[chunk].completed;
    const size_t first = chunk_first(job, chunk), end = first + chunk_tasks(job, chunk);
    const bool time_limits = board->time_limits;
    const void *arguments[POOL_MAX_COLUMNS];
    struct pool_task task; /* its message is long, and nearly never used */
    task.index = 0;
    task.slot = NULL;
    task.own = own;
    task.worker = number;
    task.writer.heap = job->heap;
    task.message[0] = '\0';

    record_chunk_begin(recorder, job, number, own);
    for (size_t i = first + atomic_load_explicit(completed, memory_order_relaxed); i < end; i++) {
        for (size_t c = 0; c < job->column_count; c++)
            arguments[c] = element(&job->columns[c], i);
        char *result = job->results.data;
        if (result)
            result += job->results.offsets ? job->results.offsets[i] : i * job->results.size;
        task.index = job->first_index + i;
        if (time_limits)
            start_clock(own, &task);
        if (job->heap)
            task.writer = (struct output_writer){.heap = job->heap};
        const int failed = function(arguments, job->heap ? NULL : result, &task);
        if (is_copy)
            _exit(0); /* the task has forked, and returned twice */
        if (time_limits)
            atomic_store_explicit(&own->started, 0, memory_order_release);
        record_task(recorder, task.index);
        if (failed) {
            name_failure(&task, failed);
            note_error(&job->slots[number < job->slot_count ? number : 0], &task);
            atomic_store_explicit(&job->incomplete, 1, memory_order_relaxed);
            break;
        }
        if (job->heap && result)
            *(struct output *)(void *)result = task.writer.output;
        task.message[0] = '\0'; /* it may have thought better of failing */
        atomic_store_explicit(completed, (uint32_t)(i + 1 - first), memory_order_release);
    }
    record_chunk_end(recorder, task.index, chunk, end - first);
}
