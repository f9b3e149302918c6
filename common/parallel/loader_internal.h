/* loader_internal.h - what the parts of the loader know of each other; not for use outside this
 * room.
 *
 *   loader_options.c  what the program asked for: checked, and what 0 stands for
 *   loader_memory.c   the slots and what they hold
 *   loader_sample.c   loading samples in this process
 *   loader_threads.c  threads that load;  loader_pool.c  processes that load
 *   loader.c          which batch goes into which slot, and from there to the program
 *
 * A slot goes round: FREE, LOADING (given to the workers), LOADED (or failed), LENT, FREE. The
 * program's thread moves it, but for the step from LOADING to LOADED, which is the workers': of
 * threads, the last one that has loaded a part of it stores it; of processes, it is the pool's
 * result that is settled.
 */
#ifndef PARALLEL_LOADER_INTERNAL_H
#define PARALLEL_LOADER_INTERNAL_H

#include "common/parallel/internal.h"
#include "common/parallel/loader.h"

enum slot_state { FREE, LOADING, LOADED, LENT };

struct slot {
    _Atomic int state;
    _Atomic size_t number;   /* of the batch, through all epochs */
    size_t count, chunksize; /* samples, of which a worker takes so many at a time */
    char *data;
    int64_t *indices;
    struct loader_sample *samples;
    char *items;        /* of a stream: [count][item_size] */
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

static inline bool with_threads(const struct loader *loader)
{
    return loader->options.workers > 0 && loader->options.kind == LOADER_THREADS;
}

static inline bool is_stream(const struct loader *loader)
{
    return loader->options.stream != NULL;
}

/* Of `load`: the first of the program's columns. Before it are the sample and a stream's item. */
static inline size_t first_column(const struct loader *loader)
{
    return is_stream(loader) ? 2 : 1;
}

static inline bool with_processes(const struct loader *loader)
{
    return loader->options.workers > 0 && loader->options.kind == LOADER_PROCESSES;
}

/* A program that models no GIL has none. */
static inline void gil_take(struct gil *gil)
{
    if (gil)
        gil_acquire(gil);
}

static inline void gil_give(struct gil *gil)
{
    if (gil)
        gil_release(gil);
}

/* ---- loader_options.c ----------------------------------------------------------------------- */

/* 0, or -1 with *error. */
int loader_check(const struct loader_options *options, struct error *error);

/* Fills in what 0 stands for. */
void loader_defaults(struct loader_options *options);

/* ---- loader_memory.c ------------------------------------------------------------------------ */

/* The slots and lists of a loader whose options are set. What was made is freed by
 * loader_memory_free, also after an error. */
int loader_memory_make(struct loader *loader, struct error *error);
void loader_memory_free(struct loader *loader);

/* ---- loader_sample.c ------------------------------------------------------------------------ */

/* Samples first .. end-1 of a slot, until one fails, as in a pool's chunk, or nobody wants them any
 * more. With the GIL held, which is given back around each. */
void load_samples(const struct loader *loader, const struct slot *slot, size_t first, size_t end,
                  struct error *error);

/* ---- loader_threads.c ----------------------------------------------------------------------- */

int start_threads(struct loader *loader, struct error *error);
void stop_threads(struct loader *loader);

/* The slot is described; from here on its parts can be claimed. wake_one: so that somebody does. */
void submit_to_threads(struct loader *loader, struct slot *slot);
void wake_one(struct loader *loader);

/* Until reached(context), or the deadline, a time of now(). */
void wait_for_threads(struct loader *loader, wait_condition *reached, void *context,
                      double deadline);

/* ---- loader_pool.c -------------------------------------------------------------------------- */

int start_pool(struct loader *loader, struct error *error);
void stop_pool(struct loader *loader);
void submit_to_pool(struct loader *loader, struct slot *slot);

/* What the workers' results have cost and come to: of a slot that is settled. */
void collect_from_pool(struct loader *loader, struct slot *slot);

/* Nothing of what was given to the pool is written any more. */
void withdraw_from_pool(struct loader *loader);

#endif
