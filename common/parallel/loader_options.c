/* loader_options.c - what the program asked a loader for: checked, and what 0 stands for. */
#include "common/parallel/loader_internal.h"

#define DEFAULT_PREFETCH 2

static int check_columns(const struct loader_options *options, struct error *error)
{
    const size_t most = POOL_MAX_COLUMNS - (options->stream ? 2 : 1);
    if (options->column_count > most || (options->column_count && !options->columns))
        return error_set(error, ERROR_INVALID, "%zu columns for a loader: 0 to %zu are possible",
                         options->column_count, most);
    for (size_t c = 0; c < options->column_count; c++) {
        const struct pool_column *column = &options->columns[c];
        size_t bytes;
        if (column->offsets || column->indices)
            return error_set(error, ERROR_INVALID,
                             "column %zu of a loader has offsets or indices of its own", c);
        if (options->stream && !column->constant && !column->copied_each)
            return error_set(error, ERROR_INVALID,
                             "column %zu of a stream's loader is not constant", c);
        if (!column->data && column->size > 0 && (options->samples > 0 || options->stream))
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
    if (__builtin_mul_overflow(options->drawn, options->epochs, &places) ||
        places > PTRDIFF_MAX / sizeof *options->order)
        return error_set(error, ERROR_INVALID, "%zu samples in %zu epochs overflow", options->drawn,
                         options->epochs);
    if (options->drawn > options->samples && !options->order && !options->shuffle)
        return error_set(error, ERROR_INVALID,
                         "%zu places in an epoch without an order, but there are %zu samples",
                         options->drawn, options->samples);
    if (options->order && options->shuffle)
        return error_set(error, ERROR_INVALID, "a loader has either an order or a shuffle");
    for (size_t i = 0; options->order && i < places; i++)
        if (options->order[i] < 0 || (uint64_t)options->order[i] >= options->samples)
            return error_set(error, ERROR_INVALID,
                             "place %zu of the order is %lld, but there are %zu samples", i,
                             (long long)options->order[i], options->samples);
    return 0;
}

static int check_batches(const struct loader_options *options, struct error *error)
{
    if ((options->batch_ends != NULL) != (options->batch_count > 0))
        return error_set(error, ERROR_INVALID, "batch_ends and batch_count belong together");
    for (size_t b = 0; b < options->batch_count; b++) {
        if (options->batch_ends[b] <= (b > 0 ? options->batch_ends[b - 1] : 0))
            return error_set(error, ERROR_INVALID, "batch %zu has no place in the order", b);
        if (options->batch_ends[b] > options->drawn)
            return error_set(error, ERROR_INVALID,
                             "batch %zu ends at %zu, but an epoch has %zu places", b,
                             options->batch_ends[b], options->drawn);
    }
    return 0;
}

static int check_stream(const struct loader_options *options, struct error *error)
{
    if (options->order || options->shuffle || options->batch_ends || options->samples > 0 ||
        options->drawn > 0 || options->epochs > 1)
        return error_set(error, ERROR_INVALID,
                         "a stream has one epoch, and no samples, order or batches of its own");
    if (options->item_size == 0)
        return error_set(error, ERROR_INVALID, "item_size 0: a stream's item has at least 1 byte");
    return 0;
}

int loader_check(const struct loader_options *options, struct error *error)
{
    if (!options->load)
        return error_set(error, ERROR_INVALID, "the load function is NULL");
    if (options->batch_size == 0)
        return error_set(error, ERROR_INVALID, "batch_size 0: a batch has at least 1 sample");
    if (options->sample_size == 0)
        return error_set(error, ERROR_INVALID, "sample_size 0: a sample has at least 1 byte");
    if (check_columns(options, error) != 0 || check_workers(options, error) != 0)
        return -1;
    if (options->stream)
        return check_stream(options, error);
    return check_batches(options, error) != 0 ? -1 : check_order(options, error);
}

void loader_defaults(struct loader_options *options)
{
    if (options->epochs == 0)
        options->epochs = 1;
    if (options->drawn == 0)
        options->drawn = options->samples;
    size_t largest = 0;
    for (size_t b = 0; options->batch_ends && b < options->batch_count; b++) {
        const size_t first = b > 0 ? options->batch_ends[b - 1] : 0;
        if (options->batch_ends[b] > first && options->batch_ends[b] - first > largest)
            largest = options->batch_ends[b] - first;
    }
    if (largest > 0)
        options->batch_size = largest;
    if (options->prefetch == 0)
        options->prefetch = DEFAULT_PREFETCH;
    if (options->lend == 0)
        options->lend = 1;
    if (options->pool) {
        options->kind = LOADER_PROCESSES;
        options->workers = pool_workers(options->pool);
    }
    if (options->batch_size > options->drawn && options->drawn > 0 && !options->drop_last)
        options->batch_size = options->drawn;
}
