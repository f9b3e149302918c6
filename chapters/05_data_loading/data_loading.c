/* 05_data_loading - batches of samples: loaded side by side, then loaded ahead
 *
 * Samples are preprocessed (normalised, then five times clipped and normalised again) in random
 * order, a batch at a time. First the notebook's loader: a parallel map for each batch. Then what
 * loaders are for: a device, such as a GPU, trains with a batch while the cores prepare the next.
 *
 * Notebook: section 4.1, loading data in parallel.
 * Usage: data_loading [--samples N] [--batch-size N] [--train-ms MS] [--augment] [--help]
 *
 * Watch for:
 *   - a map for each batch starts and ends so often that it may not pay at all.
 *   - a loader hides loading, even where the map did not make it any faster.
 *   - copied batches: this program copies each of them itself, and meanwhile the device is idle.
 *
 * Try:
 *   1. --train-ms 0, 0.1, 1, 10: how much is there to hide, and how much is won by it?
 *   2. --augment: moves, mirrors and noise at random, and still the same bytes in every mode.
 */
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"
#include "common/parallel/loader.h"

/* What a worker must know of all samples */
struct recipe {
    size_t size; /* height and width of one */
    bool augment;
};

struct work {
    size_t samples, size, batch_size, epochs, prefetch;
    bool drop_last, augment, training;
    double train_ms;
    uint64_t seed;
    size_t pixels;                /* of a sample */
    size_t kept;                  /* samples in the batches of an epoch */
    size_t tasks;                 /* ... and of all epochs */
    struct recipe *recipe;        /* [1] */
    float *x;                     /* [samples][size][size] */
    int64_t *order;               /* [epochs][samples] */
    struct loader_sample *chosen; /* [epochs][kept]: the order, less what is dropped */
    float *batches;               /* [epochs][kept][size][size] */
    double *sums;                 /* [epochs][kept]: training's result, one number for a sample */
};

/* ---- The task: load one sample ------------------------------------------------------------- */

static void preprocess(float *result, const float *x, const struct recipe *recipe,
                       const struct loader_sample *sample)
{
    const size_t size = recipe->size, words = augment_words(size, size);
    if (recipe->augment) { /* the numbers belong to (seed, epoch, index), whoever draws them */
        uint64_t *bits = lesson_scratch(words * sizeof *bits);
        random_philox(bits, words, (uint64_t[]){sample->seed, sample->epoch},
                      (uint64_t[]){0, (uint64_t)sample->index, 0, 0});
        augment(result, x, bits, size, size);
        x = result;
    }
    clip_normalise(result, x, size * size, 5); /* five times, as the notebook does */
}

/* For a worker process: which sample, its pixels, the recipe */
static int load_sample(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    preprocess(result, arguments[1], arguments[2], arguments[0]);
    return 0;
}
POOL_TASK(load_sample);

/* ---- The notebook's loader: a parallel map for each batch ---------------------------------- */

struct batch {
    size_t place;           /* of its first sample, counted over all epochs */
    size_t count;           /* its samples */
    const int64_t *indices; /* [count] */
};

/* Goes on to the next batch, from {0} to the first. False: there is none left. */
static bool next_batch(const struct work *work, struct batch *batch)
{
    batch->place += batch->count;
    const size_t epoch = batch->place / work->kept, first = batch->place % work->kept;
    const size_t left = work->kept - first;
    batch->count = left < work->batch_size ? left : work->batch_size;
    batch->indices = work->order + epoch * work->samples + first;
    return batch->place < work->tasks;
}

static void load_into_batch(const struct work *work, const struct batch *batch, size_t i)
{
    const size_t place = batch->place + i;
    preprocess(work->batches + place * work->pixels,
               work->x + (size_t)batch->indices[i] * work->pixels, work->recipe,
               work->chosen + place);
}

static void map_sequential(struct lesson_run *run)
{
    for (struct batch batch = {0}; next_batch(run->work, &batch);) {
        lesson_tasks_begin(run); /* for --timeline */
        for (size_t i = 0; i < batch.count; i++) {
            load_into_batch(run->work, &batch, i);
            lesson_task_done(run, batch.place + i);
        }
    }
}

static void map_threads(struct lesson_run *run)
{
    for (struct batch batch = {0}; next_batch(run->work, &batch);) {
        lesson_tasks_begin(run);
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
        for (size_t i = 0; i < batch.count; i++) {
            load_into_batch(run->work, &batch, i);
            lesson_task_done(run, batch.place + i);
        }
    }
}

/* nowait: at a barrier a thread would wait for others with the GIL in its hands, and they for it.
 */
static void map_threads_under_gil(struct lesson_run *run)
{
    for (struct batch batch = {0}; next_batch(run->work, &batch);) {
        lesson_tasks_begin(run);
#pragma omp parallel num_threads(run->workers)
        {
            gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
            for (size_t i = 0; i < batch.count; i++) {
                gil_release(run->gil); /* as NumPy does while it computes */
                load_into_batch(run->work, &batch, i);
                lesson_task_done(run, batch.place + i);
                gil_acquire(run->gil);
            }
            gil_release(run->gil);
        }
    }
}

static void map_processes(struct lesson_run *run)
{
    const struct work *work = run->work;
    const size_t size = work->pixels * sizeof *work->x;
    for (struct batch batch = {0}; !run->error.code && next_batch(work, &batch);) {
        const struct pool_column columns[] = {
            {.data = work->chosen + batch.place, .size = sizeof *work->chosen},
            {.data = work->x, .size = size, .indices = batch.indices},
            {.data = work->recipe, .size = sizeof *work->recipe, .constant = true},
        };
        const struct pool_results results = {.data = work->batches + batch.place * work->pixels,
                                             .size = size};
        pool_starmap(run->pool, load_sample, columns, 3, &results, batch.count, run->chunksize,
                     &run->error);
    }
}

/* ---- A loader whose workers go on while somebody trains ------------------------------------ */

/* The device: its result is computed here, a small sum for each sample, and it takes --train-ms.
 * (Of half the pixels, for the sum of all is 0: they are normalised.) */
static void train(struct lesson_run *run, const struct loader_batch *batch)
{
    const struct work *work = run->work;
    double *sums = work->sums + batch->epoch * work->kept + batch->number * work->batch_size;
    lesson_device_start(run);
    for (size_t i = 0; i < batch->count; i++)
        sums[i] = sum((const float *)batch->data + i * work->pixels, (work->pixels + 1) / 2);
    lesson_device_wait(run, work->train_ms / 1000); /* since the start */
}

/* The loader's workers prepare the next batches while this thread trains with one. They are
 * processes of the pool, if there is one, else threads, under the GIL, if there is one. With 0
 * workers this thread loads each batch itself, when it asks for it. */
static void train_while_loading(struct lesson_run *run, int workers)
{
    const struct work *work = run->work;
    const struct pool_column columns[] = {
        /* behind the sample, which the loader adds */
        {.data = work->x, .size = work->pixels * sizeof *work->x},
        {.data = work->recipe, .size = sizeof *work->recipe, .constant = true},
    };
    const struct loader_options options = {
        .load = load_sample,
        .columns = columns,
        .column_count = 2,
        .samples = work->samples,
        .sample_size = work->pixels * sizeof *work->x,
        .batch_size = work->batch_size,
        .epochs = work->epochs,
        .drop_last = work->drop_last,
        .order = work->order,
        .seed = work->seed,
        .prefetch = work->prefetch,
        .workers = workers,
        .gil = run->gil,
        .pool = run->pool,
        .copied = run->transfer == LESSON_COPY,
        .chunksize = run->chunksize,
    };
    struct loader_batch batch;
    struct loader *loader = loader_create(&options, &run->error); /* from here on they load */
    while (loader && loader_next(loader, &batch, -1, &run->error) == 1) {
        train(run, &batch);
        loader_return(loader, &batch, &run->error);
    }
    loader_destroy(loader);
}

static void load_then_train(struct lesson_run *run)
{
    train_while_loading(run, 0);
}

static void train_while_others_load(struct lesson_run *run)
{
    train_while_loading(run, run->workers);
}

/* ---- What is measured ---------------------------------------------------------------------- */

/* From the seed: the samples, then one permutation for each epoch. */
static void make_data(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    work->pixels = work->size * work->size;
    work->kept = work->samples - (work->drop_last ? work->samples % work->batch_size : 0);
    work->tasks = work->epochs * work->kept;
    lesson_input(lesson, &work->recipe, 1, sizeof *work->recipe);
    lesson_input(lesson, &work->x, work->samples, work->pixels * sizeof *work->x);
    lesson_input(lesson, &work->order, work->epochs * work->samples, sizeof *work->order);
    lesson_input(lesson, &work->chosen, work->tasks, sizeof *work->chosen);
    if (work->training)
        lesson_result(lesson, &work->sums, NPY_FLOAT64, work->tasks, 1);
    else
        lesson_result(lesson, &work->batches, NPY_FLOAT32, work->tasks, work->pixels);
    *work->recipe = (struct recipe){work->size, work->augment};
    work->seed = lesson_seed(lesson);
    random_seed(&random, lesson_seed(lesson));
    random_normal_float(&random, work->x, work->samples * work->pixels);
    for (size_t epoch = 0; epoch < work->epochs; epoch++)
        random_permutation(&random, work->order + epoch * work->samples, work->samples);
    for (struct batch batch = {0}; next_batch(work, &batch);)
        for (size_t i = 0; i < batch.count; i++)
            work->chosen[batch.place + i] = (struct loader_sample){
                work->seed, (batch.place + i) / work->kept, batch.indices[i]};
}

static void measure_maps(struct lesson *lesson, struct work *work)
{
    const struct lesson_workload map = {
        .name = "map",
        .title = "the notebook's loader: a parallel map for each batch, and nobody who uses it",
        .work = work,
        .prepare = make_data,
        .run = {map_sequential, map_threads, map_threads_under_gil, map_processes},
        .tasks = &work->tasks,
        .grow = &work->epochs,
        .transfer = LESSON_BOTH,
    };
    lesson_measure(lesson, &map);
    const size_t samples = work->samples, epochs = work->epochs, size = work->size;
    lesson_save(lesson, "samples.npy", NPY_FLOAT32, 3, (size_t[]){samples, size, size}, work->x);
    lesson_save(lesson, "order.npy", NPY_INT64, 2, (size_t[]){epochs, samples}, work->order);
    lesson_save(lesson, "batches.npy", NPY_FLOAT32, 4, (size_t[]){epochs, work->kept, size, size},
                work->batches);
}

static void measure_loader(struct lesson *lesson, struct work *training)
{
    const struct lesson_workload loader = {
        .name = "loader",
        .title = "training with each batch: load, then train; or a loader that goes on",
        .work = training,
        .prepare = make_data,
        .run = {load_then_train, train_while_others_load, train_while_others_load,
                train_while_others_load}, /* the run's gil and pool tell which others */
        .tasks = &training->tasks,
        .transfer = LESSON_BOTH,
        .background = true,
        .quiet = true,
        .recorded = true,
        .step = true,
    };
    lesson_heading(lesson, loader.title);
    lesson_overlap(lesson, lesson_measure(lesson, &loader));
}

int main(int argc, char **argv)
{
    struct work work = {
        .samples = 500, .size = 64, .batch_size = 32, .epochs = 1, .prefetch = 2, .train_ms = 0.25};
    size_t train_epochs = 8;
    const struct lesson_option options[] = {
        {"samples", "N", "samples", LESSON_COUNT, &work.samples, 1, 1 << 30},
        {"size", "N", "height and width of each", LESSON_COUNT, &work.size, 1, 1 << 15},
        {"batch-size", "N", "samples to a batch", LESSON_COUNT, &work.batch_size, 1, 1 << 30},
        {"epochs", "N", "times that all are loaded", LESSON_COUNT, &work.epochs, 1, 1 << 20},
        {"train-epochs", "N", "epochs of training", LESSON_COUNT, &train_epochs, 1, 1024},
        {"train-ms", "MS", "the device needs for a batch", LESSON_REAL, &work.train_ms, 0, 10000},
        {"prefetch", "N", "batches ahead, per worker", LESSON_COUNT, &work.prefetch, 1, 1024},
        {"drop-last", NULL, "leave out a last batch that is not full", LESSON_FLAG, &work.drop_last,
         0, 0},
        {"augment", NULL, "move, mirror, add noise", LESSON_FLAG, &work.augment, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {
        .name = "05_data_loading", .title = "Loading data for training", .options = options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    if (work.batch_size > work.samples)
        lesson_usage(lesson, "--batch-size %zu: more than all --samples", work.batch_size);
    struct work training = work;
    training.training = true;
    training.epochs = train_epochs;
    measure_maps(lesson, &work);
    measure_loader(lesson, &training);
    return lesson_end(lesson);
}
