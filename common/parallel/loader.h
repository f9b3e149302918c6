/* loader.h - batches of samples, loaded by workers while the program works on those before.
 *
 * What PyTorch's DataLoader does, in C. The program says how one sample is loaded and in which
 * order they come; the loader puts them into batches, and the program takes one after the other:
 *
 *     while ((more = loader_next(loader, &batch, -1, &error)) == 1) {
 *         ... batch.data ...
 *         loader_return(loader, &batch, &error);
 *     }
 *
 * Slots. Each batch is loaded into a slot. There are prefetch x workers of them and those that
 * the program may hold, so memory is bounded, however slow or fast it is. loader_next lends a slot
 * and copies nothing, loader_return gives it back to be filled again. Loading goes on over the
 * border of epochs, so only the very first batch is waited for, if the workers are fast enough.
 *
 * Workers. Nobody (the caller loads, when it asks), threads (also under a GIL), or the processes of
 * a pool, whose results go straight into slots in shared memory. Each takes whatever is next when
 * it is free, so a slow sample holds up one worker, not every second batch. Batches come in order,
 * or as they are ready.
 *
 * The same, whoever loads. A load function is given the sample's index, the epoch and the seed: a
 * counter-based generator (random_philox) with these as key gives the same numbers in any worker.
 * So 0, 1 and k workers give the same bytes.
 */
#ifndef PARALLEL_LOADER_H
#define PARALLEL_LOADER_H

#include "common/parallel/gil.h"
#include "common/parallel/pool.h"

struct loader;

/* What the load function gets as arguments[0]: which sample, and all that its randomness may depend
 * on. */
struct loader_sample {
    uint64_t seed, epoch; /* as in the options; from 0 */
    int64_t index;        /* 0 to samples - 1 */
};

enum loader_kind { LOADER_THREADS, LOADER_PROCESSES };

/* Writes the order of an epoch, a permutation of 0 .. samples-1 as a rule, to order[samples],
 * or order[drawn] if that is given.
 * Called once for each epoch, one after the other, by the thread that calls the loader. */
typedef void loader_shuffle(int64_t *order, size_t samples, size_t epoch, void *context);

/* What is 0 is as said. The arrays that are pointed to, but not `columns` itself, must live as long
 * as the loader. */
struct loader_options {
    /* How one sample is loaded: `load` reads the sample's element of each column (arguments[1] and
     * so on; or, with .constant, what is the same for all), and writes sample_size bytes to result.
     * For processes it is registered with POOL_TASK, and columns in ordinary memory are copied, of
     * each batch its samples' elements. No .offsets, no .indices; at most POOL_MAX_COLUMNS - 1. */
    pool_function *load;
    const struct pool_column *columns;
    size_t column_count, samples, sample_size;

    /* Which batches, for how many epochs (0: one). A last batch of less than batch_size samples is
     * left out with drop_last. order: [epochs][drawn], or NULL; shuffle: makes it, or NULL; with
     * neither: 0, 1, 2, ... in each epoch. */
    size_t batch_size, epochs;
    bool drop_last;
    const int64_t *order;
    loader_shuffle *shuffle;
    void *shuffle_context;
    uint64_t seed; /* for loader_sample */

    /* A sampler of one's own: an epoch has so many places (0: as many as there are samples), and
     * its order may name a sample several times, or never. */
    size_t drawn;

    /* Batches of one's own: batch b of each epoch has the places batch_ends[b - 1] (0 for the
     * first) to batch_ends[b] - 1 of the order; ascending, each batch has at least one. batch_size
     * is not read. */
    const size_t *batch_ends;
    size_t batch_count;

    /* Or a data set that is a stream: `stream` writes the next item of item_size bytes and returns
     * 1; 0: the end; below 0: an error, which its batch gets, and the end. It is called by the
     * thread that calls the loader, in order, so whoever loads gets the same items. `load` has the
     * item as arguments[1], the columns, which must be constant, behind it. One epoch; no order,
     * shuffle, samples, batch_ends or rewinding. */
    pool_source *stream;
    void *stream_context;
    size_t item_size;

    /* Who loads: so many workers of this kind; 0: the caller of loader_next. pool: the processes of
     * an existing one, as many as it has, whatever `kind` and `workers` are; it must live longer.
     * NULL: the loader makes one, as `own` says (its .workers is not read, .background is true, and
     * .retries 0 stands for 3), and destroys it. gil: for threads; they hold it except while they
     * load a sample, as Python's threads around NumPy, and loader_next takes it for a moment, as
     * Python would for the code around a batch. */
    enum loader_kind kind;
    int workers;
    struct pool *pool;
    struct pool_options own;
    struct gil *gil;
    bool restart_workers; /* new ones in each epoch, and no loading over its border: PyTorch's way,
                             unless told persistent_workers. Not with `pool` */

    size_t prefetch;  /* batches in advance for each worker; 0: 2 */
    size_t lend;      /* further ones, which the program may hold; 0: 1 */
    size_t chunksize; /* samples that a worker takes at a time; 0: a batch, but if the program has
                         none before it, an even share of it, so that all workers hurry */
    bool first_come;  /* batches of an epoch as they are ready, not in order */
    bool copied;      /* processes: slots in ordinary memory, into which results are copied */
};

/* A batch on loan. */
struct loader_batch {
    void *data;             /* [count][sample_size], aligned to 64 bytes; the program may write */
    size_t count;           /* samples */
    const int64_t *indices; /* [count] */
    size_t epoch, number;   /* the number within the epoch, from 0 */
    size_t slot;            /* the loader's */
};

/* NULL with *error: ERROR_INVALID (batch_size 0, workers below 0, an order that leaves 0 ..
 * samples-1, sizes that overflow, ...), ERROR_MEMORY, ERROR_UNREGISTERED, ERROR_SYSTEM, or what
 * pool_create says. samples 0 is allowed and gives no batch. Loading begins at once. */
struct loader *loader_create(const struct loader_options *options, struct error *error);

/* 1: the next batch is lent in *batch. 0: there are no more. -1: a batch that could not be loaded:
 * *error and *batch (all but data, which is NULL) say which; the next call goes on with the next
 * one, and nothing is to be returned. ERROR_TASK: the load function failed for the sample
 * error->task, the lowest place in the batch if several did; ERROR_WORKER_LOST, ERROR_TIMEOUT (the
 * pool's hard time limit), ERROR_BROKEN, ERROR_CLOSED, ...: as the pool says; ERROR_INVALID: an
 * index that shuffle wrote. Also -1, with batch->slot SIZE_MAX and nothing taken: ERROR_TIMEOUT,
 * `timeout` (as in pool.h) is over; ERROR_INVALID, the program holds all slots, so nothing could
 * ever come: return one first; or what loader_create says, if new workers could not be started,
 * which the next call tries again. Without workers there is no time-out. */
int loader_next(struct loader *loader, struct loader_batch *batch, double timeout,
                struct error *error);

/* Gives a batch back. Its slot is filled again when half of them are to be filled, or loader_next
 * would have to wait. ERROR_INVALID: it is not on loan. */
int loader_return(struct loader *loader, const struct loader_batch *batch, struct error *error);

/* Begins again with epoch 0, with the same workers; what was loaded and not taken is dropped.
 * ERROR_INVALID: a batch is on loan, or it is a stream; or workers could not be started, as of
 * loader_next. */
int loader_rewind(struct loader *loader, struct error *error);

/* At any time. Batches on loan are gone with it. Threads come to the end of the sample they are at;
 * processes of a pool that is not the loader's own to that of what they took at a time, a batch as
 * a rule. NULL is allowed. */
void loader_destroy(struct loader *loader);

size_t loader_batches(const struct loader *loader); /* in one epoch; of a stream 0, until its end */

/* Since loader_create; of the batches that were taken. */
struct loader_statistics {
    uint64_t batches, samples; /* lent */
    uint64_t failed;           /* batches */
    uint64_t bytes_copied;     /* to processes and back */
    double loading;            /* seconds in the load function, of all workers added up */
    double waited;             /* seconds that the program spent in loader_next */
    double first_waited;       /* of these, for the first batch, which nothing can hide */
    size_t slots;
};
struct loader_statistics loader_statistics(const struct loader *loader);

/* One thread at a time uses a loader. */

#endif
