/* A slot goes round: FREE, LOADING (given to the workers), LOADED (or failed), LENT, FREE. The
 * program's thread moves it, but for the step from LOADING to LOADED, which is the workers': of
 * threads, the last one that has loaded a part of it stores it; of processes, it is the pool's
 * result that is settled. */
#include "common/parallel/loader.h"
#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include "common/parallel/shared_memory.h"
#include <linux/futex.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>

#define DEFAULT_PREFETCH 2
#define DEFAULT_RETRIES  3
#define ALIGNMENT        64
#define NO_WORKERS       SIZE_MAX /* epoch_of_workers */

enum slot_state { FREE, LOADING, LOADED, LENT };

struct slot {
    _Atomic int state;
    _Atomic size_t number;   /* of the batch, through all epochs */
    size_t count, chunksize; /* samples, of which a worker takes so many at a time */
    char *data;
    int64_t *indices;
    struct loader_sample *samples;
    struct error error; /* .task: the place in the batch */
    _Atomic uint64_t busy_ns;

    size_t parts;                           /* threads: chunks */
    _Atomic int64_t unclaimed, uncompleted; /* of these; below 0: claimed in vain */
    struct pool_result *result;             /* processes */
};

struct loader {
    struct loader_options options;
    struct pool_column columns[POOL_MAX_COLUMNS]; /* [0] is the samples */
    size_t batches, total;                        /* in an epoch, in all */
    size_t submitted, taken, lent;                /* batches: given to the workers, ... */
    size_t share;                                 /* of a batch, for each worker: samples */
    size_t epoch_of_workers;
    int64_t *shuffled; /* what shuffle wrote, for the epoch ... */
    size_t shuffled_for;

    struct slot *slots;
    size_t slot_count;
    char *memory, *copies; /* the slots' arrays; their data, if copied */
    size_t refill;         /* so many slots are free before the workers are told */
    bool memory_is_shared;

    struct pool *pool; /* processes */

    pthread_t *threads; /* threads */
    int thread_count;
    _Atomic uint32_t bell; /* changes when there may be something to load */
    _Atomic int idle;      /* threads that sleep until then */
    _Atomic uint32_t news; /* changes when a batch is loaded ... */
    _Atomic int listening; /* ... if the program sleeps until then */
    atomic_bool stop;
    pthread_mutex_t mutex; /* guards the slots' errors while they are loaded */
    bool spin;             /* there is a core for the program beside the workers' */

    struct loader_statistics statistics;
};

static bool with_threads(const struct loader *loader)
{
    return loader->options.workers > 0 && loader->options.kind == LOADER_THREADS;
}

static bool with_processes(const struct loader *loader)
{
    return loader->options.workers > 0 && loader->options.kind == LOADER_PROCESSES;
}

/* ---- Loading samples in this process --------------------------------------------------------- */

static void gil_take(struct gil *gil)
{
    if (gil)
        gil_acquire(gil);
}

static void gil_give(struct gil *gil)
{
    if (gil)
        gil_release(gil);
}

static int load_sample(const struct loader *loader, const struct slot *slot, size_t i,
                       struct pool_task *task)
{
    const struct loader_options *options = &loader->options;
    const size_t index = (size_t)slot->indices[i];
    const void *arguments[POOL_MAX_COLUMNS] = {&slot->samples[i]};
    for (size_t c = 0; c < options->column_count; c++) {
        const struct pool_column *column = &options->columns[c];
        const bool same = column->constant || column->copied_each;
        arguments[1 + c] = (const char *)column->data + (same ? 0 : index * column->size);
    }
    *task = (struct pool_task){.index = i};
    return options->load(arguments, slot->data + i * options->sample_size, task);
}

/* Samples first .. end-1, until one fails, as in a pool's chunk, or nobody wants them any more.
 * With the GIL held, which is given back around each. */
static void load_samples(const struct loader *loader, const struct slot *slot, size_t first,
                         size_t end, struct error *error)
{
    struct pool_task task;
    error->code = ERROR_NONE;
    if (timeline_is_on())
        timeline_task_begin();
    for (size_t i = first; i < end && !atomic_load(&loader->stop); i++) {
        gil_give(loader->options.gil);
        const int failed = load_sample(loader, slot, i, &task);
        gil_take(loader->options.gil);
        if (timeline_is_on())
            timeline_task_done((size_t)slot->indices[i], 1);
        if (!failed)
            continue;
        if (task.message[0] == '\0')
            snprintf(task.message, sizeof task.message, "returned %d", failed);
        error_set(error, ERROR_TASK, "%s", task.message);
        error->task = i;
        return;
    }
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* There is no queue and no lock: a thread looks through the slots for the batch that comes first
 * of those that have parts nobody has taken, and takes one by one atomic subtraction. What it finds
 * may be out of date, but the part it gets is not: whether there was one, and which, is in the one
 * number that it counts down, and a slot is described before this rises above 0 again. */
static struct slot *find_work(const struct loader *loader)
{
    struct slot *found = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        const size_t number = atomic_load_explicit(&slot->number, memory_order_relaxed);
        if (atomic_load_explicit(&slot->unclaimed, memory_order_relaxed) > 0 && number < least) {
            found = slot;
            least = number;
        }
    }
    return found;
}

/* Sleeping threads are woken one at a time, by the program and then by each other: to wake a
 * thread takes longer than all else that the program does here. */
static void wake_one(struct loader *loader)
{
    if (atomic_load(&loader->idle) > 0)
        futex(&loader->bell, FUTEX_WAKE, 1, INFINITY);
}

static void note_error(struct loader *loader, struct slot *slot, const struct error *error)
{
    pthread_mutex_lock(&loader->mutex);
    if (slot->error.code == ERROR_NONE || error->task < slot->error.task)
        slot->error = *error;
    pthread_mutex_unlock(&loader->mutex);
}

static void load_part(struct loader *loader, struct slot *slot, size_t part)
{
    struct error error;
    const size_t first = part * slot->chunksize, left = slot->count - first;
    gil_take(loader->options.gil);
    const uint64_t begin = now_ns();
    load_samples(loader, slot, first, first + (left < slot->chunksize ? left : slot->chunksize),
                 &error);
    atomic_fetch_add_explicit(&slot->busy_ns, now_ns() - begin, memory_order_relaxed);
    gil_give(loader->options.gil);
    if (error.code != ERROR_NONE)
        note_error(loader, slot, &error);
    if (atomic_fetch_sub(&slot->uncompleted, 1) > 1)
        return;
    atomic_store(&slot->state, LOADED);
    if (atomic_load(&loader->listening)) {
        atomic_fetch_add(&loader->news, 1);
        futex(&loader->news, FUTEX_WAKE, 1, INFINITY);
    }
}

static void *load_batches(void *argument)
{
    struct loader *loader = argument;
    /* A batch thread that is woken does not take the core from the one that woke it: the program
     * goes on, to where it waits for something else. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    for (;;) {
        const uint32_t heard = atomic_load(&loader->bell);
        if (atomic_load(&loader->stop)) /* after the bell, or who rings in between is not heard */
            break;
        struct slot *slot = find_work(loader);
        if (!slot) {
            atomic_fetch_add(&loader->idle, 1);
            futex(&loader->bell, FUTEX_WAIT, heard, INFINITY); /* at once if it has changed */
            atomic_fetch_sub(&loader->idle, 1);
            continue;
        }
        const int64_t left = atomic_fetch_sub(&slot->unclaimed, 1);
        if (left <= 0)
            continue;
        if (find_work(loader))
            wake_one(loader);
        load_part(loader, slot, slot->parts - (size_t)left);
    }
    return NULL;
}

static void stop_threads(struct loader *loader)
{
    atomic_store(&loader->stop, true);
    atomic_fetch_add(&loader->bell, 1);
    futex(&loader->bell, FUTEX_WAKE, INT32_MAX, INFINITY);
    for (int i = 0; i < loader->thread_count; i++)
        pthread_join(loader->threads[i], NULL);
    loader->thread_count = 0;
    atomic_store(&loader->stop, false);
}

static int start_threads(struct loader *loader, struct error *error)
{
    for (; loader->thread_count < loader->options.workers; loader->thread_count++) {
        errno = thread_start(&loader->threads[loader->thread_count], load_batches, loader);
        if (errno == 0)
            continue;
        error_set_errno(error, "cannot start %d threads", loader->options.workers);
        stop_threads(loader);
        return -1;
    }
    return 0;
}

static void submit_to_threads(struct loader *loader, struct slot *slot)
{
    atomic_store(&slot->uncompleted, (int64_t)slot->parts);
    atomic_store(&slot->unclaimed, (int64_t)slot->parts); /* from here on it can be claimed */
    atomic_fetch_add(&loader->bell, 1);
}

/* ---- Processes ------------------------------------------------------------------------------- */

static int start_pool(struct loader *loader, struct error *error)
{
    struct pool_options own = loader->options.own;
    own.workers = loader->options.workers;
    own.background = true;
    if (own.retries == 0)
        own.retries = DEFAULT_RETRIES;
    loader->pool = loader->options.pool ? loader->options.pool : pool_create(&own, error);
    return loader->pool ? 0 : -1;
}

static void submit_to_pool(struct loader *loader, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    const struct pool_results results = {.data = slot->data, .size = options->sample_size};
    loader->columns[0] = (struct pool_column){.data = slot->samples, .size = sizeof *slot->samples};
    for (size_t c = 1; c <= options->column_count; c++)
        if (!loader->columns[c].constant && !loader->columns[c].copied_each)
            loader->columns[c].indices = slot->indices;
    slot->result =
        pool_starmap_async(loader->pool, options->load, loader->columns, 1 + options->column_count,
                           &results, slot->count, slot->chunksize, NULL, &slot->error);
    if (!slot->result) /* it is told when its turn comes */
        atomic_store(&slot->state, LOADED);
}

/* What the workers' results have cost and come to. */
static void collect_from_pool(struct loader *loader, struct slot *slot)
{
    const struct job *job = slot->result->job;
    if (pool_result_get(slot->result, -1, &slot->error) != 0 && slot->error.code == ERROR_TASK &&
        job) {
        const size_t place = slot->error.task;
        error_set(&slot->error, ERROR_TASK, "%s", job_error_message(job, place));
        slot->error.task = place;
    }
    slot->busy_ns = job ? job_busy(job) : 0;
    loader->statistics.bytes_copied += slot->result->copied;
    pool_result_free(slot->result);
    slot->result = NULL;
}

/* Nothing of what was given to the pool is written any more. */
static void withdraw_from_pool(struct loader *loader)
{
    for (size_t i = 0; i < loader->slot_count; i++)
        if (loader->slots[i].result)
            pool_result_cancel(loader->slots[i].result);
    for (size_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        if (slot->result)
            pool_result_wait(slot->result, -1, NULL);
        pool_result_free(slot->result);
        slot->result = NULL;
    }
}

static void stop_pool(struct loader *loader)
{
    if (loader->pool && !loader->options.pool) {
        pool_terminate(loader->pool); /* what it was at is wanted no more */
        withdraw_from_pool(loader);
        pool_destroy(loader->pool);
    } else {
        withdraw_from_pool(loader);
    }
    loader->pool = NULL;
}

/* ---- Batches to the workers ------------------------------------------------------------------ */

static int start_workers(struct loader *loader, struct error *error)
{
    if (with_threads(loader))
        return start_threads(loader, error);
    return with_processes(loader) ? start_pool(loader, error) : 0;
}

static void stop_workers(struct loader *loader)
{
    if (with_threads(loader))
        stop_threads(loader);
    else if (with_processes(loader))
        stop_pool(loader);
}

static const int64_t *order_of(struct loader *loader, size_t epoch)
{
    const struct loader_options *options = &loader->options;
    if (options->shuffle && loader->shuffled_for != epoch) {
        options->shuffle(loader->shuffled, options->samples, epoch, options->shuffle_context);
        loader->shuffled_for = epoch;
    }
    return options->shuffle ? loader->shuffled
           : options->order ? options->order + epoch * options->samples
                            : NULL;
}

/* Which samples. False, with the slot's error, if one of them cannot be. */
static bool describe_batch(struct loader *loader, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    const size_t epoch = loader->submitted / loader->batches;
    const size_t first = loader->submitted % loader->batches * options->batch_size;
    const int64_t *order = order_of(loader, epoch);
    slot->count = options->samples - first < options->batch_size ? options->samples - first
                                                                 : options->batch_size;
    slot->chunksize = options->chunksize;
    if (options->chunksize == 0)
        slot->chunksize = loader->submitted == loader->taken ? loader->share : options->batch_size;
    slot->parts = (slot->count - 1) / slot->chunksize + 1;
    slot->busy_ns = 0;
    slot->error.code = ERROR_NONE;
    for (size_t i = 0; i < slot->count; i++) {
        const int64_t index = order ? order[first + i] : (int64_t)(first + i);
        slot->indices[i] = index;
        slot->samples[i] =
            (struct loader_sample){.seed = options->seed, .epoch = epoch, .index = index};
        if ((index < 0 || (uint64_t)index >= options->samples) && slot->error.code == ERROR_NONE) {
            error_set(&slot->error, ERROR_INVALID, "there are only %zu samples", options->samples);
            slot->error.task = i;
        }
    }
    return slot->error.code == ERROR_NONE;
}

static void submit(struct loader *loader, struct slot *slot)
{
    atomic_store(&slot->number, loader->submitted);
    const bool right = describe_batch(loader, slot);
    loader->submitted++;
    atomic_store(&slot->state, right ? LOADING : LOADED);
    if (right && with_threads(loader))
        submit_to_threads(loader, slot);
    else if (right && with_processes(loader))
        submit_to_pool(loader, slot);
}

/* Gives free slots to the workers. */
static void fill_slots(struct loader *loader)
{
    for (size_t i = 0; i < loader->slot_count && loader->submitted < loader->total; i++) {
        if (loader->options.restart_workers &&
            loader->submitted / loader->batches != loader->epoch_of_workers)
            break;
        if (loader->options.workers == 0 && loader->submitted > loader->taken)
            break; /* the caller loads no more than it asks for */
        if (atomic_load(&loader->slots[i].state) == FREE)
            submit(loader, &loader->slots[i]);
    }
    if (with_threads(loader))
        wake_one(loader);
}

/* Workers where there are none, since they were stopped and could not be started again; and for
 * those that live for one epoch the next epoch's, when its first batch is asked for. */
static int renew_workers(struct loader *loader, struct error *error)
{
    const size_t epoch = loader->taken / loader->batches;
    if (loader->epoch_of_workers != NO_WORKERS &&
        (!loader->options.restart_workers || epoch == loader->epoch_of_workers))
        return 0;
    stop_workers(loader);
    loader->epoch_of_workers = NO_WORKERS;
    if (start_workers(loader, error) != 0)
        return -1;
    loader->epoch_of_workers = epoch;
    return 0;
}

/* ---- Batches from the workers ---------------------------------------------------------------- */

static bool is_loaded(struct slot *slot)
{
    const int state = atomic_load_explicit(&slot->state, memory_order_acquire);
    return state == LOADED || (state == LOADING && slot->result && result_is_settled(slot->result));
}

struct wish { /* for the next batch */
    struct loader *loader;
    struct slot *slot; /* that has it; NULL: not found yet */
};

/* A wait_condition: is the next batch there, or, if the first to come is wanted, one of this
 * epoch's? */
static bool next_is_loaded(void *context)
{
    struct wish *wish = context;
    const struct loader *loader = wish->loader;
    const size_t epoch = loader->taken / loader->batches;
    for (size_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        const int state = atomic_load_explicit(&slot->state, memory_order_relaxed);
        if (state != LOADING && state != LOADED)
            continue;
        if ((loader->options.first_come ? slot->number / loader->batches == epoch
                                        : slot->number == loader->taken) &&
            is_loaded(slot)) {
            wish->slot = slot;
            return true;
        }
    }
    return false;
}

static void wait_for_threads(struct wish *wish, double deadline)
{
    struct loader *loader = wish->loader;
    const double spin_end = loader->spin ? fmin(now() + SPIN, deadline) : 0;
    while (now() < spin_end) {
        if (next_is_loaded(wish))
            return;
        cpu_relax();
    }
    atomic_store(&loader->listening, 1); /* before it looks: what is loaded later is heard */
    atomic_thread_fence(memory_order_seq_cst);
    for (;;) {
        const uint32_t heard = atomic_load(&loader->news);
        const double left = deadline - now();
        if (next_is_loaded(wish) || left <= 0)
            break;
        futex(&loader->news, FUTEX_WAIT, heard, left);
    }
    atomic_store(&loader->listening, 0);
}

/* The slot with the next batch, or NULL when the time is over. */
static struct slot *await_next(struct loader *loader, double timeout)
{
    struct wish wish = {.loader = loader};
    if (next_is_loaded(&wish))
        return wish.slot;
    fill_slots(loader);
    const double deadline = deadline_after(timeout);
    if (with_threads(loader))
        wait_for_threads(&wish, deadline);
    else
        wait_until(loader->pool, next_is_loaded, &wish, deadline, loader->spin);
    return wish.slot;
}

/* Without workers. */
static struct slot *load_next(struct loader *loader)
{
    struct wish wish = {.loader = loader};
    fill_slots(loader);
    if (next_is_loaded(&wish)) /* it was found to be wrong */
        return wish.slot;
    for (size_t i = 0; i < loader->slot_count; i++)
        if (atomic_load(&loader->slots[i].state) == LOADING)
            wish.slot = &loader->slots[i];
    if (!wish.slot)
        return NULL;
    const uint64_t begin = now_ns();
    gil_take(loader->options.gil);
    load_samples(loader, wish.slot, 0, wish.slot->count, &wish.slot->error);
    gil_give(loader->options.gil);
    wish.slot->busy_ns = now_ns() - begin;
    return wish.slot;
}

/* "load: batch 3 of epoch 0, sample 117: why"; or, if it is of no single sample, without it. */
static void tell(const struct loader *loader, const struct slot *slot, struct error *error)
{
    const char *name = pool_name(loader->options.load);
    const struct error *what = &slot->error;
    char sample[48] = "";
    bool of_sample = what->code == ERROR_TASK || what->code == ERROR_INVALID ||
                     what->code == ERROR_WORKER_LOST || what->code == ERROR_TIMEOUT;
    of_sample = of_sample && what->task < slot->count;
    const int64_t index = of_sample ? slot->indices[what->task] : 0;
    if (of_sample)
        snprintf(sample, sizeof sample, ", sample %lld", (long long)index);
    if (!error)
        return;
    error_set(error, what->code, "%s: batch %zu of epoch %zu%s: %s", name ? name : "loader",
              slot->number % loader->batches, slot->number / loader->batches, sample,
              what->message);
    error->system_errno = what->system_errno;
    error->worker = what->worker;
    error->task = of_sample ? (size_t)index : what->task;
}

/* The batch leaves the workers. */
static int take(struct loader *loader, struct slot *slot, struct loader_batch *batch,
                struct error *error)
{
    if (slot->result)
        collect_from_pool(loader, slot);
    const bool right = slot->error.code == ERROR_NONE;
    *batch = (struct loader_batch){.data = right ? slot->data : NULL,
                                   .count = slot->count,
                                   .indices = slot->indices,
                                   .epoch = slot->number / loader->batches,
                                   .number = slot->number % loader->batches,
                                   .slot = (size_t)(slot - loader->slots)};
    loader->taken++;
    loader->statistics.loading += 1e-9 * (double)slot->busy_ns;
    if (!right) {
        loader->statistics.failed++;
        tell(loader, slot, error);
        atomic_store(&slot->state, FREE);
        return -1;
    }
    loader->statistics.batches++;
    loader->statistics.samples += slot->count;
    loader->lent++;
    atomic_store(&slot->state, LENT);
    return 1;
}

static int next(struct loader *loader, struct loader_batch *batch, double timeout,
                struct error *error)
{
    *batch = (struct loader_batch){.slot = SIZE_MAX};
    if (loader->taken == loader->total)
        return 0;
    if (loader->lent == loader->slot_count)
        return error_set(error, ERROR_INVALID,
                         "all %zu slots are on loan: no batch can come before one is returned",
                         loader->slot_count);
    if (renew_workers(loader, error) != 0)
        return -1;
    struct slot *slot =
        loader->options.workers == 0 ? load_next(loader) : await_next(loader, timeout);
    if (!slot)
        return error_set(error, ERROR_TIMEOUT, "no batch after %g s", timeout);
    gil_take(loader->options.gil);
    const int status = take(loader, slot, batch, error);
    gil_give(loader->options.gil);
    return status;
}

int loader_next(struct loader *loader, struct loader_batch *batch, double timeout,
                struct error *error)
{
    const double begin = now();
    const bool first = loader->statistics.batches + loader->statistics.failed == 0;
    const int status = next(loader, batch, timeout, error);
    const double waited = now() - begin;
    loader->statistics.waited += waited;
    if (first)
        loader->statistics.first_waited += waited;
    return status;
}

int loader_return(struct loader *loader, const struct loader_batch *batch, struct error *error)
{
    if (batch->slot >= loader->slot_count ||
        atomic_load(&loader->slots[batch->slot].state) != LENT ||
        loader->slots[batch->slot].data != batch->data)
        return error_set(error, ERROR_INVALID, "this batch is not on loan");
    atomic_store(&loader->slots[batch->slot].state, FREE);
    loader->lent--;
    /* To wake a worker takes longer than all else here: for several slots at once, while the
     * workers still have, or have done, as many again. */
    const size_t ahead = loader->submitted - loader->taken;
    if (loader->options.workers > 0 && loader->slot_count - loader->lent - ahead >= loader->refill)
        fill_slots(loader);
    return 0;
}

/* ---- Create and destroy ---------------------------------------------------------------------- */

static int check_columns(const struct loader_options *options, struct error *error)
{
    if (options->column_count >= POOL_MAX_COLUMNS || (options->column_count && !options->columns))
        return error_set(error, ERROR_INVALID, "%zu columns for a loader: 0 to %d are possible",
                         options->column_count, POOL_MAX_COLUMNS - 1);
    for (size_t c = 0; c < options->column_count; c++) {
        const struct pool_column *column = &options->columns[c];
        size_t bytes;
        if (column->offsets || column->indices)
            return error_set(error, ERROR_INVALID,
                             "column %zu of a loader has offsets or indices of its own", c);
        if (!column->data && column->size > 0 && options->samples > 0)
            return error_set(error, ERROR_INVALID, "column %zu of a loader is NULL", c);
        if (__builtin_mul_overflow(options->samples, column->size, &bytes))
            return error_set(error, ERROR_INVALID, "%zu samples of %zu bytes overflow",
                             options->samples, column->size);
    }
    return 0;
}

static int check_workers(const struct loader_options *options, struct error *error)
{
    if (options->workers < 0 || options->workers > POOL_MAX_WORKERS)
        return error_set(error, ERROR_INVALID, "a loader with %d workers: 0 to %d are possible",
                         options->workers, POOL_MAX_WORKERS);
    if (options->kind != LOADER_THREADS && options->kind != LOADER_PROCESSES)
        return error_set(error, ERROR_INVALID, "workers of kind %d are not known",
                         (int)options->kind);
    if (options->workers == 0)
        return 0;
    if (options->kind == LOADER_THREADS)
        return 0;
    if (options->gil)
        return error_set(error, ERROR_INVALID, "processes do not share a GIL");
    if (options->pool && options->restart_workers)
        return error_set(error, ERROR_INVALID, "the workers of an existing pool are not restarted");
    return check_task_function(options->load, error);
}

/* Where an order comes as an array it is looked through at once. */
static int check_order(const struct loader_options *options, struct error *error)
{
    size_t places;
    if (__builtin_mul_overflow(options->samples, options->epochs, &places) ||
        places > PTRDIFF_MAX / sizeof *options->order)
        return error_set(error, ERROR_INVALID, "%zu samples in %zu epochs overflow",
                         options->samples, options->epochs);
    if (options->order && options->shuffle)
        return error_set(error, ERROR_INVALID, "a loader has either an order or a shuffle");
    for (size_t i = 0; options->order && i < places; i++)
        if (options->order[i] < 0 || (uint64_t)options->order[i] >= options->samples)
            return error_set(error, ERROR_INVALID,
                             "place %zu of the order is %lld, but there are %zu samples", i,
                             (long long)options->order[i], options->samples);
    return 0;
}

static int check_options(const struct loader_options *options, struct error *error)
{
    if (!options->load)
        return error_set(error, ERROR_INVALID, "the load function is NULL");
    if (options->batch_size == 0)
        return error_set(error, ERROR_INVALID, "batch_size 0: a batch has at least 1 sample");
    if (options->sample_size == 0)
        return error_set(error, ERROR_INVALID, "sample_size 0: a sample has at least 1 byte");
    if (check_columns(options, error) != 0 || check_workers(options, error) != 0)
        return -1;
    return check_order(options, error);
}

/* Fills in what 0 stands for. */
static void set_defaults(struct loader_options *options)
{
    if (options->epochs == 0)
        options->epochs = 1;
    if (options->prefetch == 0)
        options->prefetch = DEFAULT_PREFETCH;
    if (options->lend == 0)
        options->lend = 1;
    if (options->pool) {
        options->kind = LOADER_PROCESSES;
        if (options->workers > 0)
            options->workers = pool_workers(options->pool);
    }
    if (options->batch_size > options->samples && options->samples > 0 && !options->drop_last)
        options->batch_size = options->samples;
}

/* Memory that the workers see: whole cache lines, so that no two slots share one. */
static bool round_up(size_t count, size_t size, size_t *bytes)
{
    if (__builtin_mul_overflow(count, size, bytes) ||
        __builtin_add_overflow(*bytes, ALIGNMENT - 1, bytes))
        return false;
    *bytes -= *bytes % ALIGNMENT;
    return true;
}

static char *allocate(size_t count, size_t size, bool shared, struct error *error)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        error_set(error, ERROR_INVALID, "%zu slots of %zu bytes overflow", count, size);
        return NULL;
    }
    if (shared)
        return shared_memory_allocate(count, size, error);
    char *memory = bytes <= resources_memory() ? aligned_alloc(ALIGNMENT, bytes) : NULL;
    if (!memory)
        error_set(error, ERROR_MEMORY, "no memory for %zu batches of %zu bytes", count, size);
    return memory;
}

static int make_slots(struct loader *loader, struct error *error)
{
    const struct loader_options *options = &loader->options;
    const bool processes = with_processes(loader), copied = processes && options->copied;
    size_t data, indices, samples, all;
    if (__builtin_mul_overflow(options->prefetch, (size_t)options->workers, &all) ||
        __builtin_add_overflow(all, options->lend, &all))
        all = SIZE_MAX;
    const size_t count = all < loader->total ? all : loader->total;
    loader->statistics.slots = count;
    if (count == 0)
        return 0;
    if (!round_up(options->batch_size, options->sample_size, &data) ||
        !round_up(options->batch_size, sizeof(int64_t), &indices) ||
        !round_up(options->batch_size, sizeof(struct loader_sample), &samples) ||
        __builtin_add_overflow(indices, samples, &all) ||
        __builtin_add_overflow(all, copied ? 0 : data, &all))
        return error_set(error, ERROR_INVALID, "batches of %zu samples of %zu bytes overflow",
                         options->batch_size, options->sample_size);
    loader->slots = calloc(count, sizeof *loader->slots);
    if (!loader->slots)
        return error_set(error, ERROR_MEMORY, "no memory for %zu slots", count);
    loader->slot_count = count;
    loader->memory_is_shared = processes;
    loader->memory = allocate(count, all, processes, error);
    if (copied && loader->memory)
        loader->copies = allocate(count, data, false, error);
    if (!loader->memory || (copied && !loader->copies))
        return -1;
    for (size_t i = 0; i < count; i++) {
        char *at = loader->memory + i * all;
        loader->slots[i].indices = (int64_t *)(void *)at;
        loader->slots[i].samples = (struct loader_sample *)(void *)(at + indices);
        loader->slots[i].data = copied ? loader->copies + i * data : at + indices + samples;
    }
    return 0;
}

static int make_lists(struct loader *loader, struct error *error)
{
    const struct loader_options *options = &loader->options;
    loader->threads = calloc((size_t)options->workers + 1, sizeof *loader->threads);
    if (options->shuffle)
        loader->shuffled = calloc(options->samples + 1, sizeof *loader->shuffled);
    if (!loader->threads || (options->shuffle && !loader->shuffled))
        return error_set(error, ERROR_MEMORY, "no memory for a loader");
    return 0;
}

struct loader *loader_create(const struct loader_options *options, struct error *error)
{
    struct loader_options all = *options;
    set_defaults(&all);
    if (check_options(&all, error) != 0)
        return NULL;
    struct loader *loader = calloc(1, sizeof *loader);
    if (!loader || pthread_mutex_init(&loader->mutex, NULL) != 0) {
        free(loader);
        error_set(error, ERROR_MEMORY, "no memory for a loader");
        return NULL;
    }
    loader->options = all;
    for (size_t c = 0; c < all.column_count; c++)
        loader->columns[1 + c] = all.columns[c];
    loader->options.columns = loader->columns + 1;
    loader->batches =
        all.samples / all.batch_size + (!all.drop_last && all.samples % all.batch_size != 0);
    loader->total = loader->batches * all.epochs;
    loader->share = all.workers > 0 ? (all.batch_size - 1) / (size_t)all.workers + 1 : 1;
    loader->shuffled_for = SIZE_MAX;
    loader->spin = all.workers < resources_cores();
    if (make_lists(loader, error) != 0 || make_slots(loader, error) != 0 ||
        (loader->total > 0 && start_workers(loader, error) != 0)) {
        loader_destroy(loader);
        return NULL;
    }
    const size_t ahead = loader->slot_count > all.lend ? loader->slot_count - all.lend : 1;
    loader->refill = ahead - ahead / 2;
    if (all.workers > 0)
        fill_slots(loader);
    return loader;
}

/* What the workers have, or have done, and nobody has taken. */
static void drop_all(struct loader *loader)
{
    if (with_threads(loader)) {
        stop_threads(loader);
        loader->epoch_of_workers = NO_WORKERS;
    } else {
        withdraw_from_pool(loader);
    }
    for (size_t i = 0; i < loader->slot_count; i++) {
        atomic_store(&loader->slots[i].unclaimed, 0);
        atomic_store(&loader->slots[i].state, FREE);
    }
}

int loader_rewind(struct loader *loader, struct error *error)
{
    if (loader->lent > 0)
        return error_set(error, ERROR_INVALID, "%zu batches are on loan", loader->lent);
    if (loader->total == 0)
        return 0;
    drop_all(loader);
    loader->submitted = loader->taken = 0;
    loader->shuffled_for = SIZE_MAX;
    if (renew_workers(loader, error) != 0)
        return -1;
    if (loader->options.workers > 0)
        fill_slots(loader);
    return 0;
}

void loader_destroy(struct loader *loader)
{
    if (!loader)
        return;
    stop_workers(loader);
    if (loader->memory_is_shared)
        shared_memory_free(loader->memory);
    else
        free(loader->memory);
    pthread_mutex_destroy(&loader->mutex);
    free(loader->copies);
    free(loader->shuffled);
    free(loader->threads);
    free(loader->slots);
    free(loader);
}

size_t loader_batches(const struct loader *loader)
{
    return loader->batches;
}

struct loader_statistics loader_statistics(const struct loader *loader)
{
    return loader->statistics;
}
