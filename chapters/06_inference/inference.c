/* 06_inference - a neural network for many images: one by one, in a pool, or all at once
 *
 * A small CNN makes ten numbers of each image of 28 x 28 pixels, image by image in all four ways,
 * where processes get the model with every image, or once; then all images as one batch, on one
 * core, and shared out among threads. A table has all four versions of the convolution (--conv),
 * and the claim that batches beat pools. The weights are random: nothing is recognised.
 *
 * Notebook: part 4.2, inference in parallel.
 * Usage: inference [--images N] [--conv naive|einsum|im2col|direct] [--workers 1,2]
 *
 * Watch for:
 *   - send and copied: 65 kB of weights with every image of 3 kB, or never again.
 *   - what a better convolution brings on one core, beside what all the cores bring.
 *
 * Try:
 *   1. --conv naive: from how many images on does a new pool pay? And with --conv direct?
 *   2. --images 2000 --transfer both: is it the copying of the weights?
 */
#include "common/data/random.h"
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"

struct model {
    int version;  /* enum cnn_version: how it convolves */
    size_t batch; /* images to a task */
    struct cnn_weights weights;
};

struct work {
    size_t images;
    struct model *sent;     /* the model, as it is sent with every task */
    float *pixels, *logits; /* [images][28][28], [images][10] */
};

/* This process's model, be it the program or a worker, and packed as the direct version needs it */
static struct model model = {.version = CNN_NAIVE, .batch = 1};
static struct cnn_packed packed;

enum { IMAGE = CNN_PIXELS, LOGITS = CNN_CLASSES };
enum { EACH_TIME, ONCE, BATCHED, WAYS }; /* ways to hand the images over */

/* logits[n][10] of images[n][28][28]. */
static void classify(float *logits, const float *images, size_t n)
{
    float *scratch = lesson_scratch(cnn_scratch(model.version, n) * sizeof *scratch);
    if (model.version == CNN_DIRECT)
        cnn_forward_packed(logits, &packed, images, n);
    else
        cnn_forward(logits, model.version, &model.weights, images, scratch, n);
}

/* One image at a time; or, for the table of BLAS threads, one batch of them. */
static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->images; i += model.batch) {
        classify(work->logits + i * LOGITS, work->pixels + i * IMAGE, model.batch);
        lesson_task_done(run, i / model.batch); /* for --timeline */
    }
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->images; i++) {
        classify(work->logits + i * LOGITS, work->pixels + i * IMAGE, 1);
        lesson_task_done(run, i);
    }
}

/* The network is native code, so the GIL is given back while it runs, as NumPy does. */
static void run_threads_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->images; i++) {
            gil_release(run->gil);
            classify(work->logits + i * LOGITS, work->pixels + i * IMAGE, 1);
            gil_acquire(run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

/* The notebook's way: the model is an argument, new to every task, which packs it if need be. */
static int model_and_image(const void *const *arguments, void *logits, struct pool_task *task)
{
    const struct model *sent = arguments[0];
    float *scratch = lesson_scratch(cnn_scratch(sent->version, 1) * sizeof *scratch);
    (void)task;
    cnn_forward(logits, sent->version, &sent->weights, arguments[1], scratch, 1);
    return 0;
}
POOL_TASK(model_and_image);

static void run_processes_model_each_time(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->sent, .size = sizeof *work->sent, .copied_each = true},
        {.data = work->pixels, .size = IMAGE * sizeof(float)},
    };
    const struct pool_results results = {.data = work->logits, .size = LOGITS * sizeof(float)};
    pool_starmap(run->pool, model_and_image, columns, 2, &results, work->images, run->chunksize,
                 &run->error);
}

/* Better: the pool's initializer, called once in each worker, keeps the model there. */
static int keep_model(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)result, (void)task;
    model = *(const struct model *)arguments[0];
    cnn_pack(&packed, &model.weights);
    return 0;
}
POOL_TASK(keep_model);

static int image_alone(const void *const *arguments, void *logits, struct pool_task *task)
{
    (void)task;
    classify(logits, arguments[0], model.batch);
    return 0;
}
POOL_TASK(image_alone);

static void run_processes_model_once(struct lesson_run *run)
{
    struct work *work = run->work;
    pool_map(run->pool, image_alone, work->pixels, model.batch * IMAGE * sizeof(float),
             work->logits, model.batch * LOGITS * sizeof(float), work->images / model.batch,
             run->chunksize, &run->error);
}

static void run_batched(struct lesson_run *run)
{
    struct work *work = run->work;
    classify(work->logits, work->pixels, work->images);
}

static void run_batched_threads(struct lesson_run *run)
{
    struct work *work = run->work;
    const size_t shares = (size_t)run->workers;
#pragma omp parallel for num_threads(run->workers)
    for (size_t share = 0; share < shares; share++) { /* one call for each thread */
        const size_t i = work->images * share / shares, end = work->images * (share + 1) / shares;
        classify(work->logits + i * LOGITS, work->pixels + i * IMAGE, end - i);
        lesson_task_done(run, share);
    }
}

/* Drawn in the notebook's order: conv1, conv2, fc, images. */
static void make_model_and_images(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    lesson_input(lesson, &work->sent, 1, sizeof *work->sent);
    lesson_input(lesson, &work->pixels, work->images, IMAGE * sizeof *work->pixels);
    lesson_result(lesson, &work->logits, NPY_FLOAT32, work->images, LOGITS);
    random_seed(&random, lesson_seed(lesson));
    random_normal_scaled(&random, (float *)&model.weights, CNN_WEIGHTS, 0.1f);
    random_normal_float(&random, work->pixels, work->images * IMAGE);
    *work->sent = model;
    cnn_pack(&packed, &model.weights);
}

static void compare(struct lesson *lesson, struct lesson_workload ways[WAYS], struct work *work)
{
    const struct lesson_results *results[WAYS];
    const size_t asked = work->images;
    lesson_heading(lesson, "Four ways to convolve, time for one image; does a batch beat a pool?");
    lesson_print(lesson, "%34s%20s%20s%25s\n%14s%10s%10s%10s%10s%10s%10s%12s%13s\n", "one by one",
                 "pool, model sent", "all in one call", "batch beats pool (once)", "conv    images",
                 "one core", "threads", "each", "once", "one core", "threads", "running", "new");
    for (model.version = 0; model.version < CNN_VERSIONS; model.version++) {
        work->images = model.version < CNN_IM2COL && asked > 20 ? 20 : asked; /* slow ones: few */
        ways[BATCHED].tolerance = model.version == CNN_IM2COL ? 1e-5 : 0;
        lesson_line(lesson, cnn_version_name(model.version), ways, WAYS, results);
        lesson_beats_pool(lesson, results[BATCHED], results[ONCE]);
    }
    lesson_print(
        lesson, "  each, once    the model goes to the workers with each image, or only once\n"
                "  batch beats   one core's batch against pool (once), running or with start-up\n");
}

int main(int argc, char **argv)
{
    int shown = CNN_DIRECT;
    struct work work = {.images = 100};
    const struct lesson_option options[] = {
        {"images", "N", "images to classify", LESSON_COUNT, &work.images, 1, 1 << 30},
        {"conv", "naive|einsum|im2col|direct", "how to convolve (default: direct)", LESSON_CHOICE,
         &shown, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {"06_inference", "A neural network", options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    lesson_uses_blas(lesson);
    const size_t asked = work.images;
    struct lesson_workload ways[WAYS] = {
        {.name = "model_each_time",
         .title = "one image at a time; processes get the model with every task",
         .run = {run_sequential, run_threads, run_threads_under_gil, run_processes_model_each_time},
         .grow = &work.images},
        {.name = "model_once",
         .title = "one image at a time; processes got the model when they were started",
         .run = {run_sequential, [LESSON_PROCESSES] = run_processes_model_once},
         .initializer = keep_model,
         .initializer_argument = &model,
         .initializer_size = sizeof model},
        {.name = "batched",
         .title = "all images in one call; threads: one call each, for a share of them",
         .run = {run_batched, run_batched_threads},
         .tolerance = shown == CNN_IM2COL ? 1e-5 : 0}, /* BLAS: another order in another size */
    };
    for (int way = 0; way < WAYS; way++) {
        ways[way].work = &work, ways[way].tasks = &work.images;
        ways[way].prepare = make_model_and_images;
    }
    lesson_grow(lesson, &ways[EACH_TIME]); /* --seconds: as many as suit the naive version */
    ways[EACH_TIME].grow = NULL;
    model.version = shown;
    for (int way = 0; way < WAYS; way++)
        if (way != ONCE || lesson_runs(lesson, LESSON_PROCESSES))
            lesson_measure(lesson, &ways[way]);
    const struct cnn_weights *w = &model.weights;
    const size_t n = work.images;
    lesson_save(lesson, "images.npy", NPY_FLOAT32, 4, (size_t[]){n, 1, 28, 28}, work.pixels);
    lesson_save(lesson, "conv1_w.npy", NPY_FLOAT32, 4, (size_t[]){16, 1, 3, 3}, w->conv1);
    lesson_save(lesson, "conv2_w.npy", NPY_FLOAT32, 4, (size_t[]){32, 16, 3, 3}, w->conv2);
    lesson_save(lesson, "fc_w.npy", NPY_FLOAT32, 2, (size_t[]){CNN_FEATURES, LOGITS}, w->fc);
    lesson_save(lesson, "logits.npy", NPY_FLOAT32, 2, (size_t[]){n, LOGITS}, work.logits);
    work.images = asked;
    compare(lesson, ways, &work);
    const size_t tasks = asked < 25 ? 1 : asked / 25;
    struct lesson_workload batches = ways[ONCE];
    model.version = CNN_IM2COL, model.batch = asked / tasks;
    work.images = tasks * model.batch;
    batches.name = "blas_threads";
    batches.title = "im2col, about 25 images to a task: worker processes x BLAS threads in each";
    batches.tasks = &tasks, batches.tolerance = 1e-5;
    lesson_blas_threads(lesson, &batches);
    work.images = n; /* what was saved, also for notebook.py */
    return lesson_end(lesson);
}
