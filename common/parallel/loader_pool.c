/* loader_pool.c - processes that load batches: each batch is one job of a pool, whose results go
 * into the slot. */
#include "common/parallel/loader_internal.h"

#define DEFAULT_RETRIES 3

int start_pool(struct loader *loader, struct error *error)
{
    struct pool_options own = loader->options.own;
    own.workers = loader->options.workers;
    own.background = true;
    if (own.retries == 0)
        own.retries = DEFAULT_RETRIES;
    loader->pool = loader->options.pool ? loader->options.pool : pool_create(&own, error);
    return loader->pool ? 0 : -1;
}

void submit_to_pool(struct loader *loader, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    const struct pool_results results = {.data = slot->data, .size = options->sample_size};
    loader->columns[0] = (struct pool_column){.data = slot->samples, .size = sizeof *slot->samples};
    const size_t first = first_column(loader), columns = first + options->column_count;
    if (is_stream(loader))
        loader->columns[1] = (struct pool_column){.data = slot->items, .size = options->item_size};
    for (size_t c = first; c < columns; c++)
        if (!loader->columns[c].constant && !loader->columns[c].copied_each)
            loader->columns[c].indices = slot->indices;
    slot->result = pool_starmap_async(loader->pool, options->load, loader->columns, columns,
                                      &results, slot->count, slot->chunksize, NULL, &slot->error);
    if (!slot->result) /* it is told when its turn comes */
        atomic_store(&slot->state, LOADED);
}

void collect_from_pool(struct loader *loader, struct slot *slot)
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

void withdraw_from_pool(struct loader *loader)
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

void stop_pool(struct loader *loader)
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
