/* loader_sample.c - loading samples in this process: by its threads, or by the thread that asks for
 * a batch. */
#include "common/parallel/loader_internal.h"

static int load_sample(const struct loader *loader, const struct slot *slot, size_t i,
                       struct pool_task *task)
{
    const struct loader_options *options = &loader->options;
    const size_t index = (size_t)slot->indices[i];
    const void *arguments[POOL_MAX_COLUMNS] = {
        &slot->samples[i], is_stream(loader) ? slot->items + i * options->item_size : NULL};
    for (size_t c = 0; c < options->column_count; c++) {
        const struct pool_column *column = &options->columns[c];
        const bool same = column->constant || column->copied_each;
        arguments[first_column(loader) + c] =
            (const char *)column->data + (same ? 0 : index * column->size);
    }
    *task = (struct pool_task){.index = i};
    return options->load(arguments, slot->data + i * options->sample_size, task);
}

void load_samples(const struct loader *loader, const struct slot *slot, size_t first, size_t end,
                  struct error *error)
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
