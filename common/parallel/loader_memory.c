/* loader_memory.c - a loader's slots: for each a batch's data, indices and samples, in one
 * allocation, in shared memory where processes load. So memory is bounded, and known from the
 * start. */
#include "common/parallel/loader_internal.h"
#include "common/parallel/resources.h"
#include "common/parallel/shared_memory.h"
#include <stdlib.h>

#define ALIGNMENT 64

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
    size_t data, indices, samples, items, all;
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
        !round_up(options->batch_size, options->item_size, &items) ||
        __builtin_add_overflow(samples, items, &samples) ||
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
        loader->slots[i].items = at + indices + samples - items;
        loader->slots[i].data = copied ? loader->copies + i * data : at + indices + samples;
    }
    return 0;
}

static int make_lists(struct loader *loader, struct error *error)
{
    const struct loader_options *options = &loader->options;
    loader->threads = calloc((size_t)options->workers + 1, sizeof *loader->threads);
    if (options->shuffle)
        loader->shuffled = calloc(options->drawn + 1, sizeof *loader->shuffled);
    if (!loader->threads || (options->shuffle && !loader->shuffled))
        return error_set(error, ERROR_MEMORY, "no memory for a loader");
    return 0;
}

int loader_memory_make(struct loader *loader, struct error *error)
{
    return make_lists(loader, error) != 0 || make_slots(loader, error) != 0 ? -1 : 0;
}

void loader_memory_free(struct loader *loader)
{
    if (loader->memory_is_shared)
        shared_memory_free(loader->memory);
    else
        free(loader->memory);
    free(loader->copies);
    free(loader->shuffled);
    free(loader->threads);
    free(loader->slots);
}
