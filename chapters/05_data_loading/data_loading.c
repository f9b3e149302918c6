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
 *   - copied batches: the program itself copies, while the device waits for it.
 *
 * Try:
 *   1. --train-ms 0, 0.1, 1, 10: how much is there to hide, and how much is won by it?
 *   2. --augment: moves, mirrors and noise at random, and still the same bytes in every mode.
 */
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"
#include "common/parallel/loader.h"
#include "common/parallel/shared_memory.h"

struct work {
    struct loader_options of; /* samples, batch_size, epochs and so on */
    size_t size, train_epochs;
    double train_ms;
    bool augment, training;
    size_t pixels, kept, tasks;   /* of a sample; samples in an epoch's batches, in all */
    size_t *recipe;               /* [2]: the size; 1 to augment, or 0 */
    float *x;                     /* [samples][size][size] */
    int64_t *order;               /* [epochs][samples] */
    struct loader_sample *chosen; /* [epochs][kept]: the order, less what is dropped */
    float *batches;               /* [epochs][kept][size][size] */
    double *sums;                 /* [epochs][kept]: training's result, one number for a sample */
};

/* ---- The task: load one sample ------------------------------------------------------------- */

static int load_sample(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct loader_sample *sample = arguments[0];
    const float *x = arguments[1];
    const size_t *recipe = arguments[2], size = recipe[0], words = augment_words(size, size);
    (void)task;
    if (recipe[1]) { /* the numbers belong to (seed, epoch, index), whoever draws them */
        uint64_t *bits = lesson_scratch(words * sizeof *bits);
        random_philox(bits, words, (uint64_t[]){sample->seed, sample->epoch},
                      (uint64_t[]){0, (uint64_t)sample->index, 0, 0});
        augment(result, x, bits, size, size);
        x = result;
    }
    clip_normalise(result, x, size * size, 5);
    return 0;
}
POOL_TASK(load_sample);

/* ---- The notebook's loader: a parallel map for each batch ---------------------------------- */

struct batch {
    size_t place, count;
    const int64_t *indices; /* of its samples */
};

static bool next_batch(const struct work *work, struct batch *batch)
{
    batch->place += batch->count;
    const size_t first = batch->place % work->kept, left = work->kept - first;
    batch->count = left < work->of.batch_size ? left : work->of.batch_size;
    batch->indices = work->order + batch->place / work->kept * work->of.samples + first;
    return batch->place < work->tasks;
}

static void load(const struct lesson_run *run, const struct batch *batch, size_t i)
{
    const struct work *work = run->work;
    const float *x = work->x + (size_t)batch->indices[i] * work->pixels;
    load_sample((const void *[]){work->chosen + batch->place + i, x, work->recipe},
                work->batches + (batch->place + i) * work->pixels, NULL);
    lesson_task_done(run, batch->place + i); /* for --timeline */
}

static void map_sequential(struct lesson_run *run, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        load(run, batch, i);
}

static void map_threads(struct lesson_run *run, const struct batch *batch)
{
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < batch->count; i++)
        load(run, batch, i);
}

static void map_threads_under_gil(struct lesson_run *run, const struct batch *batch)
{
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < batch->count; i++) {
            gil_release(run->gil); /* for the native kernel */
            load(run, batch, i);
            gil_acquire(run->gil);
        }
        gil_release(run->gil);
    }
}

static void map_processes(struct lesson_run *run, const struct batch *batch)
{
    const struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->chosen + batch->place, .size = sizeof *work->chosen},
        {.data = work->x, .size = work->of.sample_size, .indices = batch->indices},
        {.data = work->recipe, .size = 2 * sizeof *work->recipe, .constant = true},
    };
    const struct pool_results results = {.data = work->batches + batch->place * work->pixels,
                                         .size = work->of.sample_size};
    pool_starmap(run->pool, load_sample, columns, 3, &results, batch->count, run->chunksize,
                 &run->error);
}

static void map_each_batch(struct lesson_run *run)
{
    static void (*const map[])(struct lesson_run *, const struct batch *) = {
        map_sequential, map_threads, map_threads_under_gil, map_processes};
    for (struct batch batch = {0}; !run->error.code && next_batch(run->work, &batch);) {
        lesson_tasks_begin(run);
        map[run->mode](run, &batch);
    }
}

/* ---- A loader whose workers go on while somebody trains ------------------------------------ */

static void train(struct lesson_run *run, const struct loader_batch *batch)
{
    const struct work *work = run->work;
    double *sums = work->sums + batch->epoch * work->kept + batch->number * work->of.batch_size;
    lesson_device_start(run);
    for (size_t i = 0; i < batch->count; i++) /* of half a sample: normalised, the whole gives 0 */
        sums[i] = sum((const float *)batch->data + i * work->pixels, (work->pixels + 1) / 2);
    lesson_device_wait(run, work->train_ms / 1000);
}

static void train_each_batch(struct lesson_run *run)
{
    const struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->x, .size = work->of.sample_size},
        {.data = work->recipe, .size = 2 * sizeof *work->recipe, .constant = true},
    };
    struct loader_options options = work->of;
    options.columns = columns;
    options.order = work->order;
    options.workers = run->mode == LESSON_SEQUENTIAL ? 0 : run->workers; /* 0: this thread loads */
    options.gil = run->gil;
    options.pool = run->pool;
    options.copied = !shared_memory_contains(work->x, sizeof *work->x);
    options.chunksize = run->chunksize;
    struct loader_batch batch;
    struct loader *loader = loader_create(&options, &run->error);
    while (loader && loader_next(loader, &batch, -1, &run->error) == 1) {
        train(run, &batch);
        loader_return(loader, &batch, &run->error);
    }
    loader_destroy(loader);
}

/* From the seed: the samples, then one permutation for each epoch. */
static void make_data(struct lesson *lesson, void *context)
{
    struct work *work = context;
    const size_t samples = work->of.samples, pixels = work->pixels = work->size * work->size;
    struct random_state random;
    work->of.sample_size = pixels * sizeof *work->x;
    work->kept = samples - (work->of.drop_last ? samples % work->of.batch_size : 0);
    work->tasks = work->of.epochs * work->kept;
    lesson_input(lesson, &work->recipe, 2, sizeof *work->recipe);
    lesson_input(lesson, &work->x, samples, work->of.sample_size);
    lesson_input(lesson, &work->order, work->of.epochs * samples, sizeof *work->order);
    lesson_input(lesson, &work->chosen, work->tasks, sizeof *work->chosen);
    if (work->training)
        lesson_result(lesson, &work->sums, NPY_FLOAT64, work->tasks, 1);
    else
        lesson_result(lesson, &work->batches, NPY_FLOAT32, work->tasks, pixels);
    memcpy(work->recipe, (size_t[]){work->size, work->augment}, 2 * sizeof *work->recipe);
    random_seed(&random, lesson_seed(lesson));
    random_normal_float(&random, work->x, samples * pixels);
    for (size_t e = 0; e < work->of.epochs; e++)
        random_permutation(&random, work->order + e * samples, samples);
    for (size_t i = 0, kept = work->kept; i < work->tasks; i++)
        work->chosen[i] = (struct loader_sample){work->of.seed, i / kept,
                                                 work->order[i / kept * samples + i % kept]};
}

int main(int argc, char **argv)
{
    struct work work = {.size = 64, .train_epochs = 8, .train_ms = 0.25};
    work.of = (struct loader_options){load_sample,      .column_count = 2, .samples = 500,
                                      .batch_size = 32, .epochs = 1,       .prefetch = 2};
    const struct lesson_option options[] = {
        {"samples", "N", "samples", LESSON_COUNT, &work.of.samples, 1, 1 << 30},
        {"size", "N", "height and width of each", LESSON_COUNT, &work.size, 1, 1 << 15},
        {"batch-size", "N", "samples to a batch", LESSON_COUNT, &work.of.batch_size, 1, 1 << 30},
        {"epochs", "N", "times that all are loaded", LESSON_COUNT, &work.of.epochs, 1, 1 << 20},
        {"train-epochs", "N", "epochs of training", LESSON_COUNT, &work.train_epochs, 1, 1024},
        {"train-ms", "MS", "the device needs for a batch", LESSON_REAL, &work.train_ms, 0, 10000},
        {"prefetch", "N", "batches ahead, per worker", LESSON_COUNT, &work.of.prefetch, 1, 1024},
        {"drop-last", NULL, "no batch that is not full", LESSON_FLAG, &work.of.drop_last, 0, 0},
        {"augment", NULL, "move, mirror, add noise", LESSON_FLAG, &work.augment, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {"05_data_loading", "Loading data for training", options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    if (work.of.batch_size > work.of.samples)
        lesson_usage(lesson, "--batch-size %zu: more than all --samples", work.of.batch_size);
    work.of.seed = lesson_seed(lesson);
    const struct lesson_workload map = {
        .name = "map",
        .title = "the notebook's loader: a parallel map for each batch, and nobody who uses it",
        .work = &work,
        .prepare = make_data,
        .run = {map_each_batch, map_each_batch, map_each_batch, map_each_batch},
        .tasks = &work.tasks,
        .grow = &work.of.epochs,
        .transfer = LESSON_BOTH,
    };
    lesson_measure(lesson, &map);
    const size_t e = work.of.epochs, n = work.of.samples, k = work.kept, s = work.size;
    lesson_save(lesson, "samples.npy", NPY_FLOAT32, 3, (size_t[]){n, s, s}, work.x);
    lesson_save(lesson, "order.npy", NPY_INT64, 2, (size_t[]){e, n}, work.order);
    lesson_save(lesson, "batches.npy", NPY_FLOAT32, 4, (size_t[]){e, k, s, s}, work.batches);
    struct work training = work;
    training.training = true;
    training.of.epochs = work.train_epochs;
    struct lesson_workload train = map;
    train.name = "loader";
    train.work = &training;
    train.tasks = &training.tasks;
    train.grow = NULL;
    train.background = train.quiet = train.recorded = train.step = true;
    for (int mode = 0; mode < LESSON_MODES; mode++)
        train.run[mode] = train_each_batch;
    lesson_heading(lesson, "training with each batch: load, then train; or a loader that goes on");
    lesson_overlap(lesson, lesson_measure(lesson, &train));
    return lesson_end(lesson);
}
