/* test_loader.c - the data loader: every way to load gives the same batches, whatever happens.
 *
 * A script in shared memory says what becomes of each sample: the load function reads it, and
 * notes what it did. Arrangements are the ways to load: the caller, threads, and processes with
 * each start method. Programs that end with a loader open are victims, as in test_parallel.c.
 */
#include "common/parallel/loader.h"
#include "tests/pool_fixture.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY        60
#define EPOCHS      3
#define BATCH       7
#define ALL_SAMPLES ((size_t)EPOCHS * MANY)
#define SEED        99

static struct error error;

/* ---- Loading a sample ------------------------------------------------------------------------ */

struct script {
    atomic_long entered;           /* samples that somebody has begun to load */
    atomic_long open;              /* WAIT: may they go on? */
    enum act acts[MANY];           /* 0, SQUARE: nothing special; FAIL, DIE, DIE_ONCE, WAIT */
    atomic_long runs[MANY];        /* how often each was begun */
    _Atomic pid_t loaded_by[MANY]; /* the last process */
};

struct loaded {
    long raw, index, epoch, seed;
};

static int load(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct loader_sample *sample = arguments[0];
    struct script *script = (struct script *)(uintptr_t)arguments[2];
    const long i = sample->index;
    atomic_store(&script->loaded_by[i], getpid());
    const long run = atomic_fetch_add(&script->runs[i], 1) + 1;
    atomic_fetch_add(&script->entered, 1);
    switch (script->acts[i]) {
    case FAIL:
        return pool_task_fail(task, "number %ld is bad", i);
    case DIE:
        die(BY_KILL);
        break;
    case DIE_ONCE:
        if (run == 1)
            die(BY_KILL);
        break;
    case WAIT:
        while (!atomic_load(&script->open))
            pause_ms(1);
        break;
    default:
        break;
    }
    *(struct loaded *)result =
        (struct loaded){*(const long *)arguments[1], i, (long)sample->epoch, (long)sample->seed};
    return 0;
}
POOL_TASK(load);

static int unregistered(const void *const *arguments, void *result, struct pool_task *task)
{
    return load(arguments, result, task);
}

/* ---- What is loaded -------------------------------------------------------------------------- */

struct data {
    struct script *script;
    long *raw; /* [MANY], the square of the index; in shared memory or not */
    bool shared;
    struct pool_column columns[2];
    int64_t order[ALL_SAMPLES]; /* a permutation of 0 .. samples-1 for each epoch */
};

/* 7 and MANY have no common divisor; neither have 11, 13, as long as samples is no multiple. */
static int64_t place_of(size_t i, size_t epoch, size_t samples)
{
    static const size_t steps[] = {7, 11, 13};
    while (samples > 1 && samples % steps[epoch % 3] == 0)
        epoch++;
    return samples ? (int64_t)((i * steps[epoch % 3] + epoch) % samples) : 0;
}

static struct data *make_data(size_t samples, bool shared)
{
    struct data *data = calloc(1, sizeof *data);
    ck_assert_ptr_nonnull(data);
    data->script = shared_memory_allocate(1, sizeof *data->script, &error);
    data->shared = shared;
    data->raw = shared ? shared_memory_allocate(MANY, sizeof *data->raw, &error)
                       : calloc(MANY, sizeof *data->raw);
    ck_assert(data->script && data->raw);
    for (long i = 0; i < MANY; i++)
        data->raw[i] = i * i;
    for (size_t epoch = 0; epoch < EPOCHS; epoch++)
        for (size_t i = 0; i < samples; i++)
            data->order[epoch * samples + i] = place_of(i, epoch, samples);
    data->columns[0] = (struct pool_column){.data = data->raw, .size = sizeof *data->raw};
    data->columns[1] =
        (struct pool_column){.data = data->script, .size = sizeof *data->script, .constant = true};
    return data;
}

static void free_data(struct data *data)
{
    shared_memory_free(data->script);
    if (data->shared)
        shared_memory_free(data->raw);
    else
        free(data->raw);
    free(data);
}

/* ---- Arrangements ---------------------------------------------------------------------------- */

#define THREADS      4 /* arrangements: the caller, and so many threads */
#define ARRANGEMENTS (THREADS + SITUATIONS)

static struct loader_options arrangement(int i, const struct data *data, size_t samples)
{
    static const int threads[THREADS] = {0, 1, 2, 8};
    struct loader_options options = {.load = load,
                                     .columns = data->columns,
                                     .column_count = 2,
                                     .samples = samples,
                                     .sample_size = sizeof(struct loaded),
                                     .batch_size = BATCH,
                                     .epochs = EPOCHS,
                                     .order = data->order,
                                     .seed = SEED};
    if (i < THREADS) {
        options.workers = threads[i];
    } else {
        options.kind = LOADER_PROCESSES;
        options.own = situation(i - THREADS);
        options.workers = options.own.workers;
    }
    return options;
}

static struct loader *create(const struct loader_options *options)
{
    struct loader *loader = loader_create(options, &error);
    ck_assert_msg(loader != NULL, "loader_create: %s", error.message);
    return loader;
}

static size_t batches_of(const struct loader_options *options)
{
    const size_t whole = options->samples / options->batch_size;
    return whole + (!options->drop_last && options->samples % options->batch_size != 0);
}

/* The batch is what it should be, in one assertion: Check writes a mark for each. */
static void check_batch(const struct loader_options *options, const struct loader_batch *batch)
{
    const struct loaded *loaded = batch->data;
    const size_t first = batch->number * options->batch_size, left = options->samples - first;
    size_t wrong = 0, last = 0;
    ck_assert_uint_eq(batch->count, left < options->batch_size ? left : options->batch_size);
    for (size_t i = 0; i < batch->count; i++) {
        const long index = options->order
                               ? options->order[batch->epoch * options->samples + first + i]
                               : (long)(first + i);
        if (batch->indices[i] == index && loaded[i].index == index &&
            loaded[i].raw == index * index && loaded[i].epoch == (long)batch->epoch &&
            loaded[i].seed == SEED)
            continue;
        wrong++;
        last = i;
    }
    ck_assert_msg(
        wrong == 0,
        "batch %zu of epoch %zu: %zu samples are wrong, the last is sample %ld, loaded as "
        "%ld of epoch %ld, %ld, seed %ld",
        batch->number, batch->epoch, wrong, (long)batch->indices[last], loaded[last].index,
        loaded[last].epoch, loaded[last].raw, loaded[last].seed);
    ck_assert_uint_eq((uintptr_t)batch->data % 64, 0);
}

/* Takes the batches from `from` to before `to`, counted through all epochs, in order. */
static void take_batches(struct loader *loader, const struct loader_options *options, size_t from,
                         size_t to)
{
    struct loader_batch batch;
    for (size_t i = from; i < to; i++) {
        ck_assert_msg(loader_next(loader, &batch, -1, &error) == 1, "%s", error.message);
        ck_assert_uint_eq(batch.epoch * batches_of(options) + batch.number, i);
        check_batch(options, &batch);
        ck_assert_int_eq(loader_return(loader, &batch, &error), 0);
    }
}

static void take_all(struct loader *loader, const struct loader_options *options)
{
    struct loader_batch batch;
    const size_t epochs = options->epochs ? options->epochs : 1;
    take_batches(loader, options, 0, batches_of(options) * epochs);
    for (int again = 0; again < 2; again++)
        ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 0);
}

/* ---- The same batches, whoever loads --------------------------------------------------------- */

START_TEST(every_arrangement_gives_the_same)
{
    for (int variant = 0; variant < 8; variant++) {
        const size_t samples = variant & 4 ? 42 : 37; /* 42: all batches are full */
        struct data *data = make_data(samples, variant & 1);
        struct loader_options options = arrangement(_i, data, samples);
        options.copied = !(variant & 1);
        options.drop_last = variant & 2;
        struct loader *loader = create(&options);
        ck_assert_uint_eq(loader_batches(loader), batches_of(&options));
        take_all(loader, &options);
        const struct loader_statistics statistics = loader_statistics(loader);
        ck_assert_uint_eq(statistics.batches, EPOCHS * batches_of(&options));
        ck_assert_uint_eq(statistics.failed, 0);
        ck_assert_uint_eq(statistics.samples,
                          EPOCHS * (variant & 2 ? samples - samples % BATCH : samples));
        ck_assert(statistics.loading >= 0 && statistics.waited >= statistics.first_waited);
        const bool copies = _i >= THREADS && !(variant & 1);
        ck_assert_uint_eq(statistics.bytes_copied,
                          copies ? statistics.samples * (sizeof(long) + sizeof(struct loaded)) : 0);
        loader_destroy(loader);
        free_data(data);
    }
}
END_TEST

START_TEST(chunks_and_prefetch)
{
    static const size_t chunksizes[] = {1, 2, BATCH - 1, BATCH, 1000};
    struct data *data = make_data(MANY, true);
    for (size_t i = 0; i < 5; i++)
        for (size_t prefetch = 1; prefetch < 6; prefetch += 2) {
            struct loader_options options = arrangement(_i, data, MANY);
            options.chunksize = chunksizes[i];
            options.prefetch = prefetch;
            options.lend = i;
            struct loader *loader = create(&options);
            take_all(loader, &options);
            loader_destroy(loader);
        }
    free_data(data);
}
END_TEST

START_TEST(sizes)
{
    static const size_t sizes[][2] = {{0, 1}, {0, 5}, {1, 1},   {1, 5},  {2, 1},
                                      {5, 5}, {5, 6}, {5, 100}, {13, 1}, {13, 4}};
    struct data *data = make_data(MANY, false);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int drop_last = 0; drop_last < 2; drop_last++) {
            struct loader_options options = arrangement(_i, data, sizes[i][0]);
            options.order = NULL;
            options.batch_size = sizes[i][1];
            options.drop_last = drop_last;
            options.epochs = i % 3; /* 0: one */
            options.restart_workers = batches_of(&options) == 0;
            struct loader *loader = create(&options);
            take_all(loader, &options);
            ck_assert_int_eq(loader_rewind(loader, &error), 0);
            take_all(loader, &options);
            loader_destroy(loader);
        }
    free_data(data);
}
END_TEST

START_TEST(no_columns_and_slots_in_shared_memory)
{
    struct data *data = make_data(MANY, false);
    struct loader_options options = arrangement(_i, data, MANY);
    struct loader_batch batch;
    struct loader *loader = create(&options); /* the columns are copied, the results are not */
    take_all(loader, &options);
    ck_assert_uint_eq(loader_statistics(loader).bytes_copied,
                      _i < THREADS ? 0 : sizeof(long) * ALL_SAMPLES);
    ck_assert_int_eq(loader_rewind(loader, &error), 0);
    ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 1);
    ck_assert_int_eq(shared_memory_contains(batch.data, batch.count * sizeof(struct loaded)),
                     _i >= THREADS);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* ---- The order ------------------------------------------------------------------------------- */

struct shuffled {
    size_t calls;
    bool wrong;
};

static void shuffle(int64_t *order, size_t samples, size_t epoch, void *context)
{
    struct shuffled *shuffled = context;
    ck_assert_uint_eq(shuffled->calls++, epoch);
    for (size_t i = 0; i < samples; i++)
        order[i] = place_of(i, epoch, samples);
    if (shuffled->wrong && epoch == 1)
        order[BATCH] = (int64_t)samples; /* in its second batch */
}

START_TEST(each_epoch_is_a_permutation)
{
    struct data *data = make_data(MANY, true);
    struct shuffled shuffled = {0};
    int64_t first[EPOCHS];
    struct loader_options options = arrangement(_i, data, MANY);
    options.order = NULL;
    options.shuffle = shuffle;
    options.shuffle_context = &shuffled;
    struct loader *loader = create(&options);
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        bool seen[MANY] = {false};
        size_t samples = 0;
        while (samples < MANY) {
            struct loader_batch batch;
            ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 1);
            ck_assert_uint_eq(batch.epoch, epoch);
            if (samples == 0)
                first[epoch] = batch.indices[1];
            for (size_t i = 0; i < batch.count; i++)
                seen[batch.indices[i]] = true;
            samples += batch.count;
            loader_return(loader, &batch, &error);
        }
        for (int i = 0; i < MANY; i++)
            ck_assert(seen[i]);
    }
    ck_assert_int_ne(first[0], first[1]);
    ck_assert_uint_eq(shuffled.calls, EPOCHS);
    shuffled.calls = 0; /* a second pass asks again */
    ck_assert_int_eq(loader_rewind(loader, &error), 0);
    options.order = data->order; /* the same: for the check */
    take_all(loader, &options);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* Drawn with replacement: each sample of an epoch twice, one of them always, and one of them for
 * all of the last batch. Each is loaded as often as it is named. */
static void name_samples_twice(struct data *data, long *named)
{
    for (size_t i = 0; i < MANY; i++) {
        data->order[i] /= 2;
        data->order[MANY + i] = 5;
        if (i >= (size_t)MANY / BATCH * BATCH)
            data->order[(size_t)2 * MANY + i] = 9;
    }
    for (size_t i = 0; i < ALL_SAMPLES; i++)
        named[data->order[i]]++;
}

START_TEST(an_order_may_name_a_sample_more_than_once)
{
    for (int variant = 0; variant < 4; variant++) {
        struct data *data = make_data(MANY, variant & 1);
        struct loader_options options = arrangement(_i, data, MANY);
        long named[MANY] = {0};
        name_samples_twice(data, named);
        options.copied = !(variant & 1);
        options.chunksize = variant & 2 ? 1 : BATCH;
        struct loader *loader = create(&options);
        take_all(loader, &options);
        for (int i = 0; i < MANY; i++)
            ck_assert_msg(atomic_load(&data->script->runs[i]) == named[i],
                          "sample %d was loaded %ld times instead of %ld", i,
                          atomic_load(&data->script->runs[i]), named[i]);
        loader_destroy(loader);
        free_data(data);
    }
}
END_TEST

START_TEST(a_wrong_index_fails_its_batch)
{
    struct data *data = make_data(MANY, true);
    struct shuffled shuffled = {.wrong = true};
    struct loader_options options = arrangement(_i, data, MANY);
    const size_t bad = batches_of(&options) + 1;
    options.shuffle = shuffle;
    options.shuffle_context = &shuffled;
    options.order = NULL;
    struct loader *loader = create(&options);
    struct loader_batch batch;
    options.order = data->order;
    take_batches(loader, &options, 0, bad);
    ck_assert_int_eq(loader_next(loader, &batch, -1, &error), -1);
    ck_assert_int_eq(error.code, ERROR_INVALID);
    ck_assert_uint_eq(batch.epoch, 1);
    ck_assert_uint_eq(batch.number, 1);
    ck_assert_ptr_null(batch.data);
    ck_assert_msg(strstr(error.message, "batch 1 of epoch 1, sample 60") != NULL, "%s",
                  error.message);
    take_batches(loader, &options, bad + 1, EPOCHS * batches_of(&options));
    ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 0);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* ---- Errors ---------------------------------------------------------------------------------- */

/* Sample 7 fails, in each epoch; in another batch two do, of which the first place counts. */
START_TEST(an_error_comes_at_its_batch)
{
    struct data *data = make_data(MANY, _i % 2);
    struct loader_options options = arrangement(_i, data, MANY);
    options.order = NULL;
    options.chunksize = _i % 3; /* 0, or several chunks to a batch */
    data->script->acts[7] = FAIL;
    data->script->acts[24] = FAIL;
    data->script->acts[27] = FAIL; /* both in batch 3, samples 21 to 27 */
    struct loader *loader = create(&options);
    const size_t batches = batches_of(&options);
    for (size_t epoch = 0; epoch < EPOCHS; epoch++)
        for (size_t number = 0; number < batches; number++) {
            struct loader_batch batch;
            if (number != 1 && number != 3) {
                take_batches(loader, &options, epoch * batches + number,
                             epoch * batches + number + 1);
                continue;
            }
            ck_assert_int_eq(loader_next(loader, &batch, -1, &error), -1);
            ck_assert_int_eq(error.code, ERROR_TASK);
            ck_assert_uint_eq(error.task, number == 1 ? 7 : 24);
            char expected[128];
            snprintf(expected, sizeof expected,
                     "load: batch %zu of epoch %zu, sample %d: number %d is bad", number, epoch,
                     number == 1 ? 7 : 24, number == 1 ? 7 : 24);
            ck_assert_str_eq(error.message, expected);
            ck_assert_uint_eq(batch.number, number);
            ck_assert_uint_eq(batch.epoch, epoch);
            ck_assert_ptr_null(batch.data);
            ck_assert_int_eq(loader_return(loader, &batch, &error), -1);
        }
    ck_assert_uint_eq(loader_statistics(loader).failed, (uint64_t)2 * EPOCHS);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

static void expect_refused(const struct loader_options *options, enum error_code code,
                           const char *part)
{
    struct loader *loader = loader_create(options, &error);
    ck_assert_ptr_null(loader);
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.message, part) != NULL, "%s", error.message);
    ck_assert_ptr_null(loader_create(options, NULL));
}

START_TEST(bad_options)
{
    struct data *data = make_data(MANY, true);
    const struct loader_options good = arrangement(_i, data, MANY);
    struct loader_options options = good;
    struct gil *gil = gil_create(GIL_SWITCH_INTERVAL, &error);
    options.load = NULL;
    expect_refused(&options, ERROR_INVALID, "NULL");
    options = good;
    options.batch_size = 0;
    expect_refused(&options, ERROR_INVALID, "batch_size 0");
    options = good;
    options.sample_size = 0;
    expect_refused(&options, ERROR_INVALID, "sample_size 0");
    options.sample_size = SIZE_MAX / 2;
    expect_refused(&options, ERROR_INVALID, "overflow");
    options.sample_size = (size_t)1 << 40; /* of terabytes nothing is touched */
    expect_refused(&options, ERROR_MEMORY, "");
    options = good;
    options.workers = -1;
    expect_refused(&options, ERROR_INVALID, "workers");
    options.workers = POOL_MAX_WORKERS + 1;
    expect_refused(&options, ERROR_INVALID, "workers");
    options = good;
    options.samples = SIZE_MAX / 4;
    options.order = NULL;
    expect_refused(&options, ERROR_INVALID, "overflow");
    options.samples = options.batch_size = (size_t)1 << 59;
    options.column_count = 0;
    options.epochs = options.sample_size = 1;
    options.copied = true;
    expect_refused(&options, ERROR_INVALID, "overflow");
    options = good;
    options.epochs = SIZE_MAX / 4;
    options.order = NULL;
    expect_refused(&options, ERROR_INVALID, "overflow");
    options = good;
    options.column_count = POOL_MAX_COLUMNS;
    expect_refused(&options, ERROR_INVALID, "columns");
    options = good;
    options.columns = NULL;
    expect_refused(&options, ERROR_INVALID, "columns");
    options = good;
    options.shuffle = shuffle;
    expect_refused(&options, ERROR_INVALID, "order");
    options = good;
    data->order[MANY + 3] = MANY;
    expect_refused(&options, ERROR_INVALID, "place 63 of the order");
    data->order[MANY + 3] = -1;
    expect_refused(&options, ERROR_INVALID, "place 63 of the order");
    options.order = NULL;
    data->columns[0].indices = data->order;
    expect_refused(&options, ERROR_INVALID, "indices");
    data->columns[0].indices = NULL;
    data->columns[0].data = NULL;
    expect_refused(&options, ERROR_INVALID, "NULL");
    if (_i >= THREADS) {
        data->columns[0].data = data->raw;
        options.load = unregistered;
        expect_refused(&options, ERROR_UNREGISTERED, "POOL_TASK");
        options.load = load;
        options.gil = gil;
        expect_refused(&options, ERROR_INVALID, "GIL");
    }
    gil_destroy(gil);
    free_data(data);
}
END_TEST

/* ---- The end --------------------------------------------------------------------------------- */

START_TEST(destroy_in_the_midst)
{
    static const size_t taken[] = {0, 1, 4, 11};
    for (size_t i = 0; i < 4; i++)
        for (int lent = 0; lent < 2; lent++) {
            struct data *data = make_data(MANY, i % 2);
            struct loader_options options = arrangement(_i, data, MANY);
            struct loader_batch batch;
            options.copied = i % 2 == 0;
            struct loader *loader = create(&options);
            take_batches(loader, &options, 0, taken[i]);
            if (lent)
                ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 1);
            loader_destroy(loader);
            free_data(data);
        }
    loader_destroy(NULL);
}
END_TEST

/* Workers of the loader's own that would never come to an end are killed. */
START_TEST(destroy_while_samples_hang)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(THREADS + _i, data, MANY);
    for (int i = 0; i < MANY; i++)
        data->script->acts[i] = WAIT;
    struct loader *loader = create(&options);
    while (atomic_load(&data->script->entered) == 0)
        pause_ms(1);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* ---- Slots ----------------------------------------------------------------------------------- */

START_TEST(all_slots_on_loan)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    struct loader_batch batches[64], more;
    options.batch_size = 1;
    options.prefetch = 1;
    options.lend = 2;
    struct loader *loader = create(&options);
    const size_t slots = loader_statistics(loader).slots;
    ck_assert_uint_eq(slots, (size_t)options.workers + 2);
    for (size_t i = 0; i < slots; i++) {
        ck_assert_int_eq(loader_next(loader, &batches[i], -1, &error), 1);
        ck_assert_uint_eq(batches[i].number, i);
    }
    for (int again = 0; again < 3; again++) {
        ck_assert_int_eq(loader_next(loader, &more, -1, &error), -1);
        ck_assert_int_eq(error.code, ERROR_INVALID);
        ck_assert_msg(strstr(error.message, "on loan") != NULL, "%s", error.message);
        ck_assert_uint_eq(more.slot, SIZE_MAX);
    }
    ck_assert_int_eq(loader_rewind(loader, &error), -1);
    ck_assert_int_eq(error.code, ERROR_INVALID);
    for (size_t i = 0; i < slots; i++) /* they are still what they were */
        check_batch(&options, &batches[i]);
    for (size_t i = slots; i-- > 0;) { /* the other way round */
        ck_assert_int_eq(loader_return(loader, &batches[i], &error), 0);
        ck_assert_int_eq(loader_return(loader, &batches[i], &error), -1);
        ck_assert_int_eq(error.code, ERROR_INVALID);
    }
    take_batches(loader, &options, slots, ALL_SAMPLES);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* A program that takes nothing: the workers load what fits into the slots, and no more. */
START_TEST(a_slow_program_bounds_the_memory)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    options.batch_size = 2;
    struct loader *loader = create(&options);
    const long slots = (long)loader_statistics(loader).slots;
    ck_assert_int_le(slots, 2 * options.workers + 1);
    for (int i = 0; i < 100 && atomic_load(&data->script->entered) < 2 * slots; i++)
        pause_ms(5);
    pause_ms(20);
    ck_assert_int_le(atomic_load(&data->script->entered), 2 * slots);
    for (int i = 0; i < 10; i++) {
        take_batches(loader, &options, (size_t)i, (size_t)i + 1);
        pause_ms(2);
    }
    ck_assert_int_le(atomic_load(&data->script->entered), 2 * (slots + 10));
    take_batches(loader, &options, 10, ALL_SAMPLES / 2);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* The first sample hangs: the others are loaded as far as there are slots, the order is kept, and
 * who does not want to wait is told so. */
START_TEST(a_slow_worker_keeps_the_order)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    struct loader_batch batch;
    if (options.workers > 0) {
        options.epochs = 1; /* it would hang in each */
        options.chunksize = BATCH;
        data->script->acts[data->order[0]] = WAIT;
        struct loader *loader = create(&options);
        const long slots = (long)loader_statistics(loader).slots;
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(loader_next(loader, &batch, 0.02 * again, &error), -1);
            ck_assert_int_eq(error.code, ERROR_TIMEOUT);
            ck_assert_uint_eq(batch.slot, SIZE_MAX);
        }
        for (int i = 0; i < 50; i++)
            pause_ms(1);
        ck_assert_int_le(atomic_load(&data->script->entered), slots * BATCH);
        if (options.workers > 1) /* nobody waits for the one that hangs */
            while (atomic_load(&data->script->entered) <
                   (slots * BATCH < MANY ? slots * BATCH : MANY) - BATCH + 1)
                pause_ms(1);
        atomic_store(&data->script->open, 1);
        take_all(loader, &options);
        loader_destroy(loader);
    }
    free_data(data);
}
END_TEST

START_TEST(first_come_first_lent)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    options.first_come = true;
    options.epochs = 2;
    const size_t batches = batches_of(&options);
    const bool one_hangs = options.workers > 1;
    if (one_hangs) {
        options.chunksize = BATCH;
        data->script->acts[data->order[0]] = WAIT;
    }
    struct loader *loader = create(&options);
    for (size_t epoch = 0; epoch < 2; epoch++) {
        bool seen[MANY] = {false};
        for (size_t i = 0; i < batches; i++) {
            struct loader_batch batch;
            if (one_hangs && epoch == 0 && i == batches - 1) { /* none of the next epoch comes */
                ck_assert_int_eq(loader_next(loader, &batch, 0.02, &error), -1);
                ck_assert_int_eq(error.code, ERROR_TIMEOUT);
                atomic_store(&data->script->open, 1);
            }
            ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 1);
            ck_assert_uint_eq(batch.epoch, epoch);
            ck_assert(!seen[batch.number]);
            seen[batch.number] = true;
            check_batch(&options, &batch);
            if (one_hangs && epoch == 0 && i == batches - 1)
                ck_assert_uint_eq(batch.number, 0);
            loader_return(loader, &batch, &error);
        }
    }
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* ---- Again ----------------------------------------------------------------------------------- */

START_TEST(rewind_at_any_time)
{
    static const size_t taken[] = {0, 1, 5, 20};
    for (int restart = 0; restart < 2; restart++) {
        struct data *data = make_data(MANY, true);
        struct loader_options options = arrangement(_i, data, MANY);
        options.restart_workers = restart;
        struct loader *loader = create(&options);
        for (size_t i = 0; i < 4; i++) {
            take_batches(loader, &options, 0, taken[i]);
            ck_assert_int_eq(loader_rewind(loader, &error), 0);
        }
        take_all(loader, &options);
        ck_assert_int_eq(loader_rewind(loader, &error), 0);
        take_all(loader, &options);
        loader_destroy(loader);
        free_data(data);
    }
}
END_TEST

static int load_slowly(const void *const *arguments, void *result, struct pool_task *task)
{
    pause_ms(1);
    pool_task_add_cpu(task, 0.0); /* which counts nothing here, but is allowed */
    return load(arguments, result, task);
}

/* What threads had not begun when the loader went back is loaded by nobody, above all not into a
 * slot that has got another batch meanwhile. */
START_TEST(rewind_with_parts_to_load)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    options.load = load_slowly;
    options.chunksize = 1;
    options.prefetch = 4;
    struct loader *loader = create(&options);
    for (size_t pass = 0; pass < 12; pass++) {
        take_batches(loader, &options, 0, pass % 4);
        ck_assert_int_eq(loader_rewind(loader, &error), 0);
    }
    take_batches(loader, &options, 0, 6);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* With one worker each epoch has one pid: always the same, or, restarted, each time another. */
START_TEST(persistent_and_restarted_workers)
{
    for (int restart = 0; restart < 2; restart++) {
        struct data *data = make_data(MANY, true);
        struct loader_options options = arrangement(THREADS + _i, data, MANY);
        pid_t pids[EPOCHS];
        options.workers = 1;
        options.restart_workers = restart;
        struct loader *loader = create(&options);
        const size_t batches = batches_of(&options);
        for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
            take_batches(loader, &options, epoch * batches, (epoch + 1) * batches);
            pids[epoch] = atomic_load(&data->script->loaded_by[0]);
        }
        for (size_t epoch = 1; epoch < EPOCHS; epoch++)
            ck_assert_int_eq(pids[epoch] != pids[epoch - 1], restart);
        ck_assert_uint_eq((size_t)atomic_load(&data->script->entered), ALL_SAMPLES);
        loader_destroy(loader);
        free_data(data);
    }
}
END_TEST

/* ---- Deaths ---------------------------------------------------------------------------------- */

static int moody(const void *const *arguments, void *result, struct pool_task *task)
{
    const atomic_bool *bad = arguments[0];
    (void)result;
    return *bad ? pool_task_fail(task, "not today") : 0;
}
POOL_TASK(moody);

/* An epoch's workers that cannot be started are tried again, by whatever comes next. */
START_TEST(workers_that_do_not_start)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(THREADS + _i, data, MANY);
    struct loader_batch batch;
    atomic_bool *bad = shared_memory_allocate(1, sizeof *bad, &error);
    ck_assert_ptr_nonnull(bad);
    options.restart_workers = true;
    options.own.initializer = moody;
    options.own.initializer_argument = bad;
    options.own.initializer_size = sizeof *bad;
    struct loader *loader = create(&options);
    for (int rewind = 0; rewind < 2; rewind++) {
        take_batches(loader, &options, 0, batches_of(&options));
        *bad = true;
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(loader_next(loader, &batch, -1, &error), -1);
            ck_assert_uint_eq(batch.slot, SIZE_MAX);
        }
        if (rewind)
            ck_assert_int_eq(loader_rewind(loader, &error), -1);
        *bad = false;
        if (!rewind)
            take_batches(loader, &options, batches_of(&options), EPOCHS * batches_of(&options));
        ck_assert_int_eq(loader_rewind(loader, &error), 0);
    }
    take_all(loader, &options);
    loader_destroy(loader);
    shared_memory_free(bad);
    free_data(data);
}
END_TEST

START_TEST(the_batch_of_a_killed_worker_is_loaded_again)
{
    struct data *data = make_data(MANY, _i % 2);
    struct loader_options options = arrangement(THREADS + _i, data, MANY);
    options.copied = _i % 2 == 0;
    data->script->acts[3] = data->script->acts[30] = data->script->acts[59] = DIE_ONCE;
    struct loader *loader = create(&options);
    take_all(loader, &options);
    ck_assert_int_eq(atomic_load(&data->script->runs[3]), EPOCHS + 1);
    ck_assert_uint_eq(loader_statistics(loader).failed, 0);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

START_TEST(a_worker_killed_from_outside)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(THREADS + _i, data, MANY);
    data->script->acts[20] = WAIT;
    struct loader *loader = create(&options);
    struct loader_batch batch;
    while (atomic_load(&data->script->runs[20]) == 0) { /* those that come before it */
        if (loader_next(loader, &batch, 0.01, &error) == 1)
            loader_return(loader, &batch, &error);
    }
    ck_assert_int_eq(kill(atomic_load(&data->script->loaded_by[20]), SIGKILL), 0);
    while (atomic_load(&data->script->runs[20]) < 2)
        pause_ms(1);
    atomic_store(&data->script->open, 1);
    int more;
    while ((more = loader_next(loader, &batch, -1, &error)) == 1) {
        check_batch(&options, &batch);
        loader_return(loader, &batch, &error);
    }
    ck_assert_int_eq(more, 0);
    ck_assert_uint_eq(loader_statistics(loader).samples, ALL_SAMPLES);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* A sample that kills every worker is given up, and the rest is loaded. */
START_TEST(a_deadly_sample)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(THREADS + _i, data, MANY);
    struct loader_batch batch;
    options.order = NULL;
    options.epochs = 1;
    options.own.retries = 1;
    data->script->acts[16] = DIE;
    struct loader *loader = create(&options);
    take_batches(loader, &options, 0, 2);
    ck_assert_int_eq(loader_next(loader, &batch, -1, &error), -1);
    ck_assert_int_eq(error.code, ERROR_WORKER_LOST);
    ck_assert_uint_eq(error.task, 16);
    ck_assert_int_gt(error.worker, 0);
    ck_assert_msg(strstr(error.message, "batch 2 of epoch 0, sample 16") != NULL, "%s",
                  error.message);
    take_batches(loader, &options, 3, batches_of(&options));
    ck_assert_int_eq(atomic_load(&data->script->runs[16]), 2);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* ---- A pool that is there already ------------------------------------------------------------ */

START_TEST(two_loaders_on_one_pool)
{
    struct pool *pool = create_with(situation(_i));
    struct data *first = make_data(MANY, true), *second = make_data(37, false);
    struct loader_options one = arrangement(THREADS + _i, first, MANY);
    struct loader_options two = arrangement(THREADS + _i, second, 37);
    one.pool = two.pool = pool;
    two.copied = true;
    struct loader *a = create(&one), *b = create(&two);
    const size_t in_a = EPOCHS * batches_of(&one), in_b = EPOCHS * batches_of(&two);
    for (size_t i = 0; i < in_a || i < in_b; i++) {
        if (i < in_a)
            take_batches(a, &one, i, i + 1);
        if (i < in_b)
            take_batches(b, &two, i, i + 1);
        if (i % 4 == 0)
            map_squares(pool, 20, 0); /* the pool has other work, too */
    }
    loader_destroy(a);
    ck_assert_int_eq(loader_rewind(b, &error), 0);
    loader_destroy(b);
    map_squares(pool, 100, 0); /* and outlives them */
    one.restart_workers = true;
    expect_refused(&one, ERROR_INVALID, "restarted");
    pool_destroy(pool);
    free_data(first);
    free_data(second);
}
END_TEST

START_TEST(two_loaders_with_threads)
{
    struct data *data = make_data(MANY, false);
    struct loader_options options = arrangement(2, data, MANY);
    struct loader *a = create(&options), *b = create(&options);
    for (size_t i = 0; i < EPOCHS * batches_of(&options); i++) {
        take_batches(a, &options, i, i + 1);
        take_batches(b, &options, i, i + 1);
    }
    loader_destroy(b);
    loader_destroy(a);
    free_data(data);
}
END_TEST

/* By turns, and then only from the second, in which a worker dies. */
START_TEST(two_loaders_with_processes_of_their_own)
{
    struct data *first = make_data(MANY, true), *second = make_data(37, false);
    struct loader_options one = arrangement(THREADS + _i, first, MANY);
    struct loader_options two = arrangement(THREADS + _i, second, 37);
    two.copied = true;
    two.own.start_method = (enum pool_start_method)((one.own.start_method + 1) % 3);
    two.workers = one.workers == 2 ? 1 : 2;
    struct loader *a = create(&one), *b = create(&two);
    const size_t in_b = EPOCHS * batches_of(&two);
    for (size_t i = 0; i < 8; i++) {
        take_batches(a, &one, i, i + 1);
        take_batches(b, &two, i, i + 1);
        const pid_t by_a = atomic_load(&first->script->loaded_by[first->order[i * BATCH]]);
        const pid_t by_b = atomic_load(&second->script->loaded_by[second->order[i]]);
        ck_assert_int_ne(by_a, by_b);
    }
    loader_destroy(a);
    take_batches(b, &two, 8, 10);
    const pid_t dead = atomic_load(&second->script->loaded_by[second->order[0]]);
    ck_assert_int_eq(kill(dead, SIGKILL), 0);
    expect_death(dead);
    take_batches(b, &two, 10, in_b);
    ck_assert_int_eq(loader_rewind(b, &error), 0);
    take_all(b, &two);
    for (int i = 0; i < 37; i++)
        ck_assert_int_ne(atomic_load(&second->script->loaded_by[i]), dead);
    ck_assert_uint_eq(loader_statistics(b).failed, 0);
    loader_destroy(b);
    free_data(first);
    free_data(second);
}
END_TEST

/* The pool ends under the loader: each batch says so, and there is an end. */
START_TEST(the_pool_ends)
{
    struct pool *pool = create_with(situation(_i));
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(THREADS + _i, data, MANY);
    struct loader_batch batch;
    size_t failed = 0;
    int more;
    options.pool = pool;
    struct loader *loader = create(&options);
    take_batches(loader, &options, 0, 2);
    pool_terminate(pool);
    while ((more = loader_next(loader, &batch, -1, &error)) != 0)
        if (more == -1) {
            failed++;
            ck_assert_int_eq(error.code, ERROR_CLOSED);
        } else {
            loader_return(loader, &batch, &error);
        }
    ck_assert_uint_gt(failed, 0);
    ck_assert_uint_eq(loader_statistics(loader).failed, failed);
    loader_destroy(loader);
    pool_destroy(pool);
    free_data(data);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------------- */

START_TEST(threads_under_a_gil)
{
    struct gil *gil = gil_create(GIL_SWITCH_INTERVAL, &error);
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    options.gil = gil;
    struct loader *loader = create(&options);
    take_all(loader, &options);
    ck_assert_uint_ge(gil_statistics(gil).acquired, ALL_SAMPLES);
    ck_assert_int_eq(loader_rewind(loader, &error), 0);
    take_batches(loader, &options, 0, 3);
    loader_destroy(loader);
    gil_acquire(gil); /* nobody has kept it */
    gil_release(gil);
    gil_destroy(gil);
    free_data(data);
}
END_TEST

/* Many short passes, with the program as fast as it can, and now and then slower. */
START_TEST(many_passes)
{
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    options.batch_size = 1 + (size_t)_i % 3;
    struct loader *loader = create(&options);
    for (int pass = 0; pass < (SANITIZED ? 10 : 60); pass++) {
        const size_t all = EPOCHS * batches_of(&options);
        const size_t taken = pass % 3 == 0 ? all : all / (size_t)(1 + pass % 7);
        for (size_t i = 0; i < taken; i += 10) {
            take_batches(loader, &options, i, i + 10 < taken ? i + 10 : taken);
            if (pass % 10 == 9)
                pause_ms(1);
        }
        ck_assert_int_eq(loader_rewind(loader, &error), 0);
    }
    loader_destroy(loader);
    free_data(data);
}
END_TEST

/* ---- Programs that end with a loader open ---------------------------------------------------- */

#define WAYS        6 /* the caller, threads, threads under a GIL, and each start method */
#define FIRST_HANGS 20

/* The sample's index; from the 20th on it hangs, and says so. Columns: where; whether. */
static int load_or_hang(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct loader_sample *sample = arguments[0];
    atomic_long *hanging = *(atomic_long *const *)arguments[1];
    (void)task;
    if (*(const bool *)arguments[2] && sample->index >= FIRST_HANGS) {
        atomic_fetch_add(hanging, 1);
        pause_ms(-1);
    }
    *(long *)result = sample->index;
    return 0;
}
POOL_TASK(load_or_hang);

/* NAME WAY: takes a batch, keeps another, and ends with others on their way: some that never come,
 * or large ones. The loader is never destroyed. */
static int victim_main(const char *name, int way)
{
    static struct loader *loader; /* it and what it reads are there to the end */
    static atomic_long *hanging;
    static bool hangs;
    struct loader_batch batch;
    if (pool_startup(&error) != 0)
        return 30;
    hangs = strcmp(name, "hangs") == 0;
    hanging = shared_memory_allocate(1, sizeof *hanging, &error);
    const struct pool_column columns[] = {
        {.data = &hanging, .size = sizeof hanging, .constant = true},
        {.data = &hangs, .size = sizeof hangs, .constant = true},
    };
    const struct loader_options options = {
        .load = load_or_hang,
        .columns = columns,
        .column_count = 2,
        .samples = 800000,
        .sample_size = sizeof(long),
        .batch_size = hangs ? FIRST_HANGS / 2 : 40000,
        .kind = way < 3 ? LOADER_THREADS : LOADER_PROCESSES,
        .workers = way == 0 ? 0 : 2,
        .own = {.start_method = (enum pool_start_method)(way < 3 ? 0 : way - 3)},
        .gil = way == 2 ? gil_create(GIL_SWITCH_INTERVAL, &error) : NULL};
    loader = hanging ? loader_create(&options, &error) : NULL;
    if (!loader)
        return 31;
    for (size_t number = 0; number < 2; number++) {
        if (loader_next(loader, &batch, -1, &error) != 1)
            return 10;
        const long *loaded = batch.data;
        for (size_t i = 0; i < batch.count; i++)
            if (loaded[i] != (long)(number * options.batch_size + i))
                return 11;
        if (number == 0 && loader_return(loader, &batch, &error) != 0)
            return 12;
    }
    while (hangs && way > 0 && atomic_load(hanging) == 0)
        pause_ms(1);
    return 3;
}

static void expect_end(const char *name, int way)
{
    const int status = end_of_victim(start_victim(name, way));
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "status 0x%x", (unsigned)status);
    expect_no_process(false);
}

START_TEST(a_program_ends_after_its_first_batches_whatever_hangs)
{
    expect_end("hangs", _i);
}
END_TEST

START_TEST(a_program_ends_with_large_batches_on_their_way)
{
    expect_end("large", _i);
}
END_TEST

/* ---- Samplers, batches and streams of one's own ---------------------------------------------- */

/* More places than samples, some named twice, some never. */
START_TEST(a_sampler_of_ones_own)
{
    enum { DRAWN = 25, SAMPLES = 10 };
    struct data *data = make_data(SAMPLES, false);
    int64_t order[2 * DRAWN];
    for (int i = 0; i < 2 * DRAWN; i++)
        order[i] = i * i % SAMPLES;
    struct loader_options options = arrangement(_i, data, SAMPLES);
    options.order = order;
    options.drawn = DRAWN;
    options.epochs = 2;
    struct loader *loader = create(&options);
    struct loader_batch batch;
    size_t place = 0;
    ck_assert_uint_eq(loader_batches(loader), (DRAWN - 1) / BATCH + 1);
    while (loader_next(loader, &batch, -1, &error) == 1) {
        const struct loaded *loaded = batch.data;
        ck_assert_uint_eq(batch.epoch, place / DRAWN);
        for (size_t i = 0; i < batch.count; i++, place++) {
            ck_assert_int_eq(loaded[i].index, order[place]);
            ck_assert_int_eq(loaded[i].raw, order[place] * order[place]);
        }
        ck_assert_int_eq(loader_return(loader, &batch, &error), 0);
    }
    ck_assert_uint_eq(place, (size_t)2 * DRAWN);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

START_TEST(batches_of_ones_own)
{
    static const size_t ends[] = {1, 4, 5, 16, 20};
    enum { BATCHES = sizeof ends / sizeof *ends };
    struct data *data = make_data(MANY, true);
    struct loader_options options = arrangement(_i, data, MANY);
    options.batch_ends = ends;
    options.batch_count = BATCHES;
    options.batch_size = 0; /* it is not read */
    struct loader *loader = create(&options);
    struct loader_batch batch;
    for (size_t b = 0; b < (size_t)EPOCHS * BATCHES; b++) {
        ck_assert_msg(loader_next(loader, &batch, -1, &error) == 1, "%s", error.message);
        const size_t first = b % BATCHES > 0 ? ends[b % BATCHES - 1] : 0;
        const struct loaded *loaded = batch.data;
        ck_assert_uint_eq(batch.number, b % BATCHES);
        ck_assert_uint_eq(batch.count, ends[b % BATCHES] - first);
        for (size_t i = 0; i < batch.count; i++)
            ck_assert_int_eq(loaded[i].index, data->order[b / BATCHES * MANY + first + i]);
        ck_assert_int_eq(loader_return(loader, &batch, &error), 0);
    }
    ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 0);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

struct stream {
    long next, end, fails_at;
    pthread_t thread; /* that may ask */
};

static int next_item(void *context, void *item)
{
    struct stream *stream = context;
    ck_assert(pthread_equal(stream->thread, pthread_self()));
    if (stream->next == stream->fails_at)
        return -1;
    if (stream->next == stream->end)
        return 0;
    *(long *)item = stream->next * stream->next; /* as load finds it in an array's element */
    stream->next++;
    return 1;
}

static struct loader_options streaming(int i, const struct data *data, struct stream *stream)
{
    struct loader_options options = arrangement(i, data, 0);
    options.columns = data->columns + 1; /* the script, which is constant */
    options.column_count = 1;
    options.epochs = 0;
    options.order = NULL;
    options.stream = next_item;
    options.stream_context = stream;
    options.item_size = sizeof(long);
    return options;
}

/* Takes batches until there are no more: samples 0, 1, 2, ... in order. How many. */
static long take_stream(struct loader *loader)
{
    struct loader_batch batch;
    long samples = 0;
    int status;
    while ((status = loader_next(loader, &batch, -1, &error)) == 1) {
        const struct loaded *loaded = batch.data;
        for (size_t i = 0; i < batch.count; i++, samples++) {
            ck_assert_int_eq(batch.indices[i], samples);
            ck_assert_int_eq(loaded[i].index, samples);
            ck_assert_int_eq(loaded[i].raw, samples * samples);
            ck_assert_int_eq(loaded[i].seed, SEED);
        }
        ck_assert_int_eq(loader_return(loader, &batch, &error), 0);
    }
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 0);
    return samples;
}

START_TEST(a_stream_gives_the_same_whoever_loads)
{
    static const long lengths[] = {0, 1, BATCH - 1, BATCH, BATCH + 1, 5L * BATCH, MANY};
    struct data *data = make_data(0, false);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int drop = 0; drop < 2; drop++) {
            struct stream stream = {.end = lengths[i], .fails_at = -1, .thread = pthread_self()};
            struct loader_options options = streaming(_i, data, &stream);
            options.drop_last = drop;
            struct loader *loader = create(&options);
            const long expected = drop ? lengths[i] / BATCH * BATCH : lengths[i];
            ck_assert_int_eq(take_stream(loader), expected);
            ck_assert_uint_eq(loader_batches(loader), (size_t)(expected + BATCH - 1) / BATCH);
            ck_assert_int_eq(loader_rewind(loader, &error), -1);
            loader_destroy(loader);
        }
    free_data(data);
}
END_TEST

/* A worker dies with a batch: its items are loaded again, and none is taken twice. */
START_TEST(a_stream_goes_on_after_a_workers_death)
{
    struct data *data = make_data(0, false);
    struct stream stream = {.end = MANY, .fails_at = -1, .thread = pthread_self()};
    struct loader_options options = streaming(THREADS + _i, data, &stream);
    data->script->acts[10] = data->script->acts[40] = DIE_ONCE;
    struct loader *loader = create(&options);
    ck_assert_int_eq(take_stream(loader), MANY);
    ck_assert_int_eq(atomic_load(&data->script->runs[10]), 2);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

START_TEST(a_stream_that_fails)
{
    struct data *data = make_data(0, false);
    struct stream stream = {.end = MANY, .fails_at = 2 * BATCH + 3, .thread = pthread_self()};
    struct loader_options options = streaming(_i, data, &stream);
    struct loader *loader = create(&options);
    struct loader_batch batch;
    for (int b = 0; b < 2; b++) {
        ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 1);
        ck_assert_uint_eq(batch.count, BATCH);
        ck_assert_int_eq(loader_return(loader, &batch, &error), 0);
    }
    expect_failure(loader_next(loader, &batch, -1, &error), &error, ERROR_TASK, "stream failed");
    ck_assert_int_eq(loader_next(loader, &batch, -1, &error), 0);
    loader_destroy(loader);
    free_data(data);
}
END_TEST

START_TEST(wrong_samplers_batches_and_streams)
{
    static const size_t empty[] = {3, 3}, descending[] = {3, 2}, far[] = {3, MANY + 1};
    struct data *data = make_data(MANY, false);
    struct stream stream = {.thread = pthread_self()};
    const struct loader_options plain = arrangement(0, data, MANY);
    struct loader_options options[8];
    for (int i = 0; i < 8; i++)
        options[i] = i < 5 ? plain : streaming(0, data, &stream);
    options[0].batch_ends = empty;
    options[1].batch_ends = descending;
    options[2].batch_ends = far;
    for (int i = 0; i < 4; i++)
        options[i].batch_count = 2; /* [3]: without ends */
    options[4].drawn = MANY + 1;
    options[4].order = NULL;
    options[5].item_size = 0;
    options[6].samples = 3;
    options[7].columns = data->columns; /* not constant */
    for (int i = 0; i < 8; i++) {
        ck_assert_msg(!loader_create(&options[i], &error), "options %d", i);
        ck_assert_msg(error.code == ERROR_INVALID, "options %d: %s", i, error.message);
    }
    ck_assert_ptr_null(loader_create(NULL, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID);
    free_data(data);
}
END_TEST

/* An existing pool has its workers, whatever the loader says. */
START_TEST(a_pool_without_a_number_of_workers)
{
    struct data *data = make_data(MANY, false);
    struct pool *pool = create_with(situation(_i));
    struct loader_options options = arrangement(0, data, MANY);
    options.pool = pool;
    options.workers = 0;
    struct loader *loader = create(&options);
    take_all(loader, &options);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_ne(atomic_load(&data->script->loaded_by[i]), getpid());
    loader_destroy(loader);
    pool_destroy(pool);
    free_data(data);
}
END_TEST

int main(int argc, char **argv)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    if (argc == 3)
        return victim_main(argv[1], atoi(argv[2]));
    own_shared_memory_names();
    Suite *suite = suite_create("loader");

    TCase *batches = add_case(suite, "batches");
    tcase_add_loop_test(batches, every_arrangement_gives_the_same, 0, ARRANGEMENTS);
    tcase_add_loop_test(batches, chunks_and_prefetch, 0, ARRANGEMENTS);
    tcase_add_loop_test(batches, sizes, 0, ARRANGEMENTS);
    tcase_add_loop_test(batches, no_columns_and_slots_in_shared_memory, 0, ARRANGEMENTS);
    tcase_add_loop_test(batches, each_epoch_is_a_permutation, 0, ARRANGEMENTS);
    tcase_add_loop_test(batches, an_order_may_name_a_sample_more_than_once, 0, ARRANGEMENTS);
    tcase_add_loop_test(batches, rewind_at_any_time, 0, ARRANGEMENTS);
    tcase_add_loop_test(batches, many_passes, 0, ARRANGEMENTS);

    TCase *errors = add_case(suite, "errors");
    tcase_add_loop_test(errors, a_wrong_index_fails_its_batch, 0, ARRANGEMENTS);
    tcase_add_loop_test(errors, an_error_comes_at_its_batch, 0, ARRANGEMENTS);
    tcase_add_loop_test(errors, bad_options, 0, ARRANGEMENTS);
    tcase_add_loop_test(errors, destroy_in_the_midst, 0, ARRANGEMENTS);
    tcase_add_loop_test(errors, destroy_while_samples_hang, 0, SITUATIONS);

    TCase *own = add_case(suite, "of one's own");
    tcase_add_loop_test(own, a_sampler_of_ones_own, 0, ARRANGEMENTS);
    tcase_add_loop_test(own, batches_of_ones_own, 0, ARRANGEMENTS);
    tcase_add_loop_test(own, a_stream_gives_the_same_whoever_loads, 0, ARRANGEMENTS);
    tcase_add_loop_test(own, a_stream_goes_on_after_a_workers_death, 0, SITUATIONS);
    tcase_add_loop_test(own, a_stream_that_fails, 0, ARRANGEMENTS);
    tcase_add_test(own, wrong_samplers_batches_and_streams);
    tcase_add_loop_test(own, a_pool_without_a_number_of_workers, 0, SITUATIONS);

    TCase *slots = add_case(suite, "slots");
    tcase_add_loop_test(slots, all_slots_on_loan, 0, ARRANGEMENTS);
    tcase_add_loop_test(slots, a_slow_program_bounds_the_memory, 0, ARRANGEMENTS);
    tcase_add_loop_test(slots, a_slow_worker_keeps_the_order, 0, ARRANGEMENTS);
    tcase_add_loop_test(slots, first_come_first_lent, 0, ARRANGEMENTS);

    TCase *processes = add_case(suite, "processes");
    tcase_add_loop_test(processes, persistent_and_restarted_workers, 0, SITUATIONS);
    tcase_add_loop_test(processes, workers_that_do_not_start, 0, SITUATIONS);
    tcase_add_loop_test(processes, the_batch_of_a_killed_worker_is_loaded_again, 0, SITUATIONS);
    tcase_add_loop_test(processes, a_worker_killed_from_outside, 0, SITUATIONS);
    tcase_add_loop_test(processes, a_deadly_sample, 0, SITUATIONS);
    tcase_add_loop_test(processes, two_loaders_on_one_pool, 0, SITUATIONS);
    tcase_add_loop_test(processes, two_loaders_with_processes_of_their_own, 0, SITUATIONS);
    tcase_add_loop_test(processes, the_pool_ends, 0, SITUATIONS);

    TCase *threads = add_case(suite, "threads");
    tcase_add_test(threads, two_loaders_with_threads);
    tcase_add_loop_test(threads, threads_under_a_gil, 0, THREADS);
    tcase_add_loop_test(threads, rewind_with_parts_to_load, 0, THREADS);

    TCase *programs = add_case(suite, "programs");
    tcase_add_loop_test(programs, a_program_ends_after_its_first_batches_whatever_hangs, 0, WAYS);
    tcase_add_loop_test(programs, a_program_ends_with_large_batches_on_their_way, 0, WAYS);

    return run_suite(suite);
}
