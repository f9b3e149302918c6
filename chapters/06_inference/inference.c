/* 06_inference - a neural network for many images: one by one, in a pool, or all at once
 *
 * A small CNN makes ten numbers, logits, of each image of 28 x 28 pixels: image by image in all
 * four ways, where processes get the model with every image, or once; then all images as one batch,
 * on one core, and shared out among threads. comparisons.c does the same with each version of the
 * convolution (--conv), to see whether a batch beats a pool. The weights are random: nothing is
 * recognised.
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
#include "inference.h"
#include "common/data/random.h"
#include "common/kernels/kernels.h"

/* ---- The task: ten logits of each of n images ---------------------------------------------- */

/* struct work, in inference.h, has the images' pixels, their logits, and a network: its model, the
 * version of the convolution and all weights, and these packed as the direct version needs them.
 * IMAGE and LOGITS are the floats of an image and of its result. */

/* Puts the weights into the order in which the direct version reads them, once for all images. */
void make_ready(struct network *network)
{
    cnn_pack(&network->packed, &network->model.weights);
}

void classify(float *logits, const struct network *network, const float *images, size_t n)
{
    const struct model *model = &network->model;
    float *scratch = lesson_scratch(cnn_scratch(model->version, n) * sizeof *scratch);
    if (model->version == CNN_DIRECT)
        cnn_forward_packed(logits, &network->packed, images, n);
    else
        cnn_forward(logits, model->version, &model->weights, images, scratch, n);
}

/* ---- One image at a time, in four ways ----------------------------------------------------- */

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->images; i++) {
        classify(work->logits + i * LOGITS, &work->network, work->pixels + i * IMAGE, 1);
        lesson_task_done(run, i); /* for --timeline */
    }
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->images; i++) {
        classify(work->logits + i * LOGITS, &work->network, work->pixels + i * IMAGE, 1);
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
            classify(work->logits + i * LOGITS, &work->network, work->pixels + i * IMAGE, 1);
            gil_acquire(run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

/* Processes, the notebook's way: the model is an argument, new to every task (copied_each), so that
 * cnn_forward must put the weights in order each time. */
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

/* Better: the pool's initializer, called once in each worker, keeps the model there, in a variable
 * that each process has for itself. (comparisons.c uses it, too.) */
struct network kept;

int keep_model(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)result, (void)task;
    kept.model = *(const struct model *)arguments[0];
    make_ready(&kept);
    return 0;
}
POOL_TASK(keep_model);

static int image_alone(const void *const *arguments, void *logits, struct pool_task *task)
{
    (void)task;
    classify(logits, &kept, arguments[0], 1);
    return 0;
}
POOL_TASK(image_alone);

static void run_processes_model_once(struct lesson_run *run)
{
    struct work *work = run->work;
    pool_map(run->pool, image_alone, work->pixels, IMAGE * sizeof(float), work->logits,
             LOGITS * sizeof(float), work->images, run->chunksize, &run->error);
}

/* ---- All images in one call ---------------------------------------------------------------- */

static void run_batched(struct lesson_run *run)
{
    struct work *work = run->work;
    classify(work->logits, &work->network, work->pixels, work->images);
}

/* One call for each thread */
static void run_batched_threads(struct lesson_run *run)
{
    struct work *work = run->work;
    const size_t shares = (size_t)run->workers;
#pragma omp parallel for num_threads(run->workers)
    for (size_t share = 0; share < shares; share++) {
        const size_t first = work->images * share / shares;
        const size_t end = work->images * (share + 1) / shares;
        classify(work->logits + first * LOGITS, &work->network, work->pixels + first * IMAGE,
                 end - first);
        lesson_task_done(run, share);
    }
}

/* ---- What is measured ---------------------------------------------------------------------- */

/* The random numbers in the notebook's order: conv1, conv2, fc, images. */
void make_model_and_images(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    lesson_input(lesson, &work->sent, 1, sizeof *work->sent);
    lesson_input(lesson, &work->pixels, work->images, IMAGE * sizeof *work->pixels);
    lesson_result(lesson, &work->logits, NPY_FLOAT32, work->images, LOGITS);
    random_seed(&random, lesson_seed(lesson));
    random_normal_scaled(&random, (float *)&work->network.model.weights, CNN_WEIGHTS, 0.1f);
    random_normal_float(&random, work->pixels, work->images * IMAGE);
    make_ready(&work->network);
    *work->sent = work->network.model;
}

void describe(struct lesson_workload ways[WAYS], struct work *work)
{
    const struct lesson_workload any = {
        .work = work, .prepare = make_model_and_images, .tasks = &work->images};
    for (int way = 0; way < WAYS; way++)
        ways[way] = any;

    ways[EACH_TIME].name = "model_each_time";
    ways[EACH_TIME].title = "one image at a time; processes get the model with every task";
    ways[EACH_TIME].run[LESSON_SEQUENTIAL] = run_sequential;
    ways[EACH_TIME].run[LESSON_THREADS] = run_threads;
    ways[EACH_TIME].run[LESSON_GIL] = run_threads_under_gil;
    ways[EACH_TIME].run[LESSON_PROCESSES] = run_processes_model_each_time;

    ways[ONCE].name = "model_once";
    ways[ONCE].title = "one image at a time; processes got the model when they were started";
    ways[ONCE].run[LESSON_SEQUENTIAL] = run_sequential;
    ways[ONCE].run[LESSON_PROCESSES] = run_processes_model_once;
    ways[ONCE].initializer = keep_model;
    ways[ONCE].initializer_argument = &work->network.model;
    ways[ONCE].initializer_size = sizeof work->network.model;

    ways[BATCHED].name = "batched";
    ways[BATCHED].title = "all images in one call; threads: one call each, for a share of them";
    ways[BATCHED].run[LESSON_SEQUENTIAL] = run_batched;
    ways[BATCHED].run[LESSON_THREADS] = run_batched_threads;
    if (work->network.model.version == CNN_IM2COL)
        ways[BATCHED].tolerance = 1e-5; /* BLAS may add in another order in another size */
}

static void save(struct lesson *lesson, const struct work *work)
{
    const struct cnn_weights *weights = &work->network.model.weights;
    const size_t n = work->images;
    lesson_save(lesson, "images.npy", NPY_FLOAT32, 4, (size_t[]){n, 1, 28, 28}, work->pixels);
    lesson_save(lesson, "conv1_w.npy", NPY_FLOAT32, 4, (size_t[]){16, 1, 3, 3}, weights->conv1);
    lesson_save(lesson, "conv2_w.npy", NPY_FLOAT32, 4, (size_t[]){32, 16, 3, 3}, weights->conv2);
    lesson_save(lesson, "fc_w.npy", NPY_FLOAT32, 2, (size_t[]){CNN_FEATURES, LOGITS}, weights->fc);
    lesson_save(lesson, "logits.npy", NPY_FLOAT32, 2, (size_t[]){n, LOGITS}, work->logits);
}

/* --seconds: as many images as suit the naive version, so that each version gets as many. */
static void grow(struct lesson *lesson, struct work *work)
{
    const int shown = work->network.model.version;
    struct lesson_workload ways[WAYS];
    work->network.model.version = CNN_NAIVE;
    describe(ways, work);
    ways[EACH_TIME].grow = &work->images;
    lesson_grow(lesson, &ways[EACH_TIME]);
    work->network.model.version = shown;
}

int main(int argc, char **argv)
{
    static struct work work = {.images = 100, .network.model.version = CNN_DIRECT};
    const struct lesson_option options[] = {
        {"images", "N", "images to classify", LESSON_COUNT, &work.images, 1, 1 << 30},
        {"conv", "naive|einsum|im2col|direct", "how to convolve (default: direct)", LESSON_CHOICE,
         &work.network.model.version, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {
        .name = "06_inference", .title = "A neural network", .options = options, .blas = true};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    const size_t asked = work.images; /* before --seconds makes them more */
    struct lesson_workload ways[WAYS];
    grow(lesson, &work);
    describe(ways, &work);
    for (int way = 0; way < WAYS; way++)
        if (way != ONCE || lesson_runs(lesson, LESSON_PROCESSES))
            lesson_measure(lesson, &ways[way]);
    save(lesson, &work);
    lesson_release(lesson, &work); /* the comparisons have arrays of their own */

    compare_versions(lesson, &work, asked);
    compare_blas_threads(lesson, &work, asked);
    return lesson_end(lesson);
}
