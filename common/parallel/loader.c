/* loader.c - which batch goes into which slot, and from there to the program. The slots' states and
 * the other parts of the loader: loader_internal.h. */
#include "common/parallel/loader_internal.h"
#include "common/parallel/resources.h"
#include <math.h>
#include <stdlib.h>

#define NO_WORKERS SIZE_MAX /* epoch_of_workers */

/* ---- Batches to the workers ----------------------------------------------------------------- */

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
        options->shuffle(loader->shuffled, options->drawn, epoch, options->shuffle_context);
        loader->shuffled_for = epoch;
    }
    return options->shuffle ? loader->shuffled
           : options->order ? options->order + epoch * options->drawn
                            : NULL;
}

/* The places of the epoch's order that make this batch of it. */
static size_t places_of(const struct loader_options *options, size_t number, size_t *count)
{
    if (options->batch_ends) {
        const size_t first = number > 0 ? options->batch_ends[number - 1] : 0;
        *count = options->batch_ends[number] - first;
        return first;
    }
    const size_t first = number * options->batch_size, left = options->drawn - first;
    *count = left < options->batch_size ? left : options->batch_size;
    return first;
}

/* The next items of the stream. What they are is in the slot, how many there were, too. */
static void take_items(struct loader *loader, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    int more = 1;
    for (slot->count = 0; slot->count < options->batch_size; slot->count++) {
        const size_t i = slot->count;
        more = options->stream(options->stream_context, slot->items + i * options->item_size);
        if (more <= 0)
            break;
        slot->indices[i] = (int64_t)(loader->submitted * options->batch_size + i);
        slot->samples[i] = (struct loader_sample){.seed = options->seed, .index = slot->indices[i]};
    }
    if (more > 0)
        return;
    if (more < 0) {
        error_set(&slot->error, ERROR_TASK, "the stream failed after %zu samples",
                  loader->submitted * options->batch_size + slot->count);
        slot->error.task = SIZE_MAX;
    }
    const bool left_out = options->drop_last || slot->count == 0;
    loader->total = loader->submitted + (more < 0 || !left_out);
}

static void take_samples(struct loader *loader, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    const size_t epoch = loader->submitted / loader->batches;
    const size_t first = places_of(options, loader->submitted % loader->batches, &slot->count);
    const int64_t *order = order_of(loader, epoch);
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
}

/* Which samples. False, with the slot's error, if one of them cannot be. */
static bool describe_batch(struct loader *loader, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    slot->busy_ns = 0;
    slot->error.code = ERROR_NONE;
    if (is_stream(loader))
        take_items(loader, slot);
    else
        take_samples(loader, slot);
    slot->chunksize = options->chunksize;
    if (options->chunksize == 0)
        slot->chunksize = loader->submitted == loader->taken ? loader->share : options->batch_size;
    slot->parts = slot->count > 0 ? (slot->count - 1) / slot->chunksize + 1 : 0;
    return slot->error.code == ERROR_NONE;
}

static void submit(struct loader *loader, struct slot *slot)
{
    atomic_store(&slot->number, loader->submitted);
    const bool right = describe_batch(loader, slot);
    if (loader->submitted == loader->total) /* the stream has come to its end, with nothing left */
        return;
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

/* ---- Batches from the workers --------------------------------------------------------------- */

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

/* The slot with the next batch, or NULL when the time is over. */
static struct slot *await_next(struct loader *loader, double timeout)
{
    struct wish wish = {.loader = loader};
    if (next_is_loaded(&wish))
        return wish.slot;
    fill_slots(loader);
    const double deadline = deadline_after(timeout);
    if (with_threads(loader))
        wait_for_threads(loader, next_is_loaded, &wish, deadline);
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
    if (is_stream(loader) && loader->taken == loader->submitted &&
        loader->lent < loader->slot_count && renew_workers(loader, error) == 0)
        fill_slots(loader); /* only so it is known whether there is more */
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

/* ---- Create and destroy --------------------------------------------------------------------- */

struct loader *loader_create(const struct loader_options *options, struct error *error)
{
    if (!options) {
        error_set(error, ERROR_INVALID, "a loader without options: they say what to load");
        return NULL;
    }
    struct loader_options all = *options;
    loader_defaults(&all);
    if (loader_check(&all, error) != 0)
        return NULL;
    struct loader *loader = calloc(1, sizeof *loader);
    if (!loader || pthread_mutex_init(&loader->mutex, NULL) != 0) {
        free(loader);
        error_set(error, ERROR_MEMORY, "no memory for a loader");
        return NULL;
    }
    loader->options = all;
    for (size_t c = 0; c < all.column_count; c++)
        loader->columns[first_column(loader) + c] = all.columns[c];
    loader->options.columns = loader->columns + first_column(loader);
    loader->batches = all.stream       ? SIZE_MAX
                      : all.batch_ends ? all.batch_count
                                       : all.drawn / all.batch_size +
                                             (!all.drop_last && all.drawn % all.batch_size != 0);
    loader->total = all.stream ? SIZE_MAX : loader->batches * all.epochs;
    loader->share = all.workers > 0 ? (all.batch_size - 1) / (size_t)all.workers + 1 : 1;
    loader->shuffled_for = SIZE_MAX;
    loader->spin = all.workers < resources_cores();
    if (loader_memory_make(loader, error) != 0 ||
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
    if (is_stream(loader))
        return error_set(error, ERROR_INVALID, "a stream cannot begin again");
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
    loader_memory_free(loader);
    pthread_mutex_destroy(&loader->mutex);
    free(loader);
}

size_t loader_batches(const struct loader *loader)
{
    return !is_stream(loader) ? loader->batches : loader->total < SIZE_MAX ? loader->total : 0;
}

struct loader_statistics loader_statistics(const struct loader *loader)
{
    return loader->statistics;
}
