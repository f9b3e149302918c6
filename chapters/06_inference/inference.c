/* 06_inference - one image at a time, many at once, or in a pool: how to run a trained network
 *
 * A small CNN turns images of 28 x 28 pixels into ten numbers each. It runs image by image in all
 * four ways; with processes the model is sent along with every image, or once to each worker. Then
 * all images go in as one batch, on one core and shared out among threads. The network is there in
 * four versions, which differ only in how they convolve (--conv), and a last table has all of them:
 * the notebook says that "batched beats multiprocessing". Does it, and for which?
 *
 * The weights are random, as the notebook's: nothing is recognised, only computed.
 *
 * Notebook: part 4.2, inference in parallel.
 * Usage: inference [--images N] [--conv naive|einsum|im2col|direct] [--workers 1,2]
 *
 * Watch for:
 *   - send and copied: 65 kB of weights with every 3 kB image, or never again.
 *   - what a better convolution brings on one core, beside what all the cores bring.
 *   - the last column: it is about how the code is written more than about batches.
 *
 * Try:
 *   1. --conv naive, then --conv direct: from which of them on do processes not pay any more?
 *   2. --images 2000 --transfer both: is it the copying?
 *   3. --chunksize 1, then --chunksize 50.
 */
#include "common/data/random.h"
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"
#include <math.h>

struct model {
    int version; /* enum cnn_version: how it convolves */
    struct cnn_weights weights;
};

struct work {
    size_t images;
    struct model model;
    struct cnn_packed packed;         /* its weights as the direct version reads them */
    float *pixels, *logits;           /* [images][28][28], [images][10] */
    struct cnn_weights *weights;      /* the model's, to be sent with every task */
    size_t batches;                   /* for processes: of at most BATCH images */
    size_t *images_at, *batch_pixels; /* [batches + 1]: where each begins, in bytes */
    size_t *batch_logits;
};
enum { BATCH = 25, FEW = 20, IMAGE_BYTES = CNN_PIXELS * sizeof(float), LOGITS = CNN_CLASSES };

/* ---- The task ------------------------------------------------------------------------------ */

/* logits[n][10] of images[n][28][28], with the model loaded. */
static void classify(float *logits, const struct work *work, const float *images, size_t n)
{
    const enum cnn_version version = (enum cnn_version)work->model.version;
    if (version == CNN_DIRECT) {
        cnn_forward_packed(logits, &work->packed, images, n);
    } else {
        float *scratch = lesson_scratch(cnn_scratch(version, n) * sizeof *scratch);
        cnn_forward(logits, version, &work->model.weights, images, scratch, n);
    }
}

static void classify_image(struct work *work, size_t i)
{
    classify(work->logits + i * LOGITS, work, work->pixels + i * CNN_PIXELS, 1);
}

/* ---- One image at a time ------------------------------------------------------------------- */

static void images_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->images; i++)
        classify_image(work, i);
}

static void images_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->images; i++)
        classify_image(work, i);
}

/* The network is native code, so the GIL is given back while it runs, as NumPy does. */
static void images_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->images; i++) {
            gil_release(run->gil);
            classify_image(work, i);
            gil_acquire(run->gil);
        }
        gil_release(run->gil);
    }
}

/* The notebook's way: the weights are an argument of each task. A worker that meets them anew each
 * time must also pack them anew, if it wants them packed. */
static int image_task(const void *const *arguments, void *logits, struct pool_task *task)
{
    const enum cnn_version version = (enum cnn_version) * (const int *)arguments[2];
    float *scratch = lesson_scratch(cnn_scratch(version, 1) * sizeof *scratch);
    (void)task;
    cnn_forward(logits, version, arguments[1], arguments[0], scratch, 1);
    return 0;
}
POOL_TASK(image_task);

static void images_with_weights_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->pixels, .size = IMAGE_BYTES},
        {.data = work->weights, .size = sizeof *work->weights, .copied_each = true},
        {.data = &work->model.version, .size = sizeof work->model.version, .constant = true},
    };
    const struct pool_results results = {.data = work->logits, .size = LOGITS * sizeof(float)};
    pool_starmap(run->pool, image_task, columns, 3, &results, work->images, run->chunksize,
                 &run->error);
}

/* The better way: the pool's initializer, called once in each worker, keeps the model there. */
static struct work kept;

static int keep_model(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)result, (void)task;
    kept.model = *(const struct model *)arguments[0];
    cnn_pack(&kept.packed, &kept.model.weights);
    return 0;
}
POOL_TASK(keep_model);

static int image_alone_task(const void *const *arguments, void *logits, struct pool_task *task)
{
    (void)task;
    classify(logits, &kept, arguments[0], 1);
    return 0;
}
POOL_TASK(image_alone_task);

static void images_alone_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    pool_map(run->pool, image_alone_task, work->pixels, IMAGE_BYTES, work->logits,
             LOGITS * sizeof(float), work->images, run->chunksize, &run->error);
}

/* ---- All images at once -------------------------------------------------------------------- */

static void batch_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    classify(work->logits, work, work->pixels, work->images);
}

/* Each thread has one call to make, for its share of the images. */
static void batch_threads(struct lesson_run *run)
{
    struct work *work = run->work;
    const size_t shares = (size_t)run->workers;
#pragma omp parallel for num_threads(run->workers) schedule(static, 1)
    for (size_t share = 0; share < shares; share++) {
        const size_t first = work->images * share / shares;
        const size_t end = work->images * (share + 1) / shares;
        classify(work->logits + first * LOGITS, work, work->pixels + first * CNN_PIXELS,
                 end - first);
    }
}

/* Batches as tasks: for the table of BLAS threads. */
static void batches_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->images; i += BATCH)
        classify(work->logits + i * LOGITS, work, work->pixels + i * CNN_PIXELS,
                 work->images - i < BATCH ? work->images - i : BATCH);
}

static int batch_task(const void *const *arguments, void *logits, struct pool_task *task)
{
    const size_t images = *(const size_t *)arguments[1], first = pool_task_index(task) * BATCH;
    classify(logits, &kept, arguments[0], images - first < BATCH ? images - first : BATCH);
    return 0;
}
POOL_TASK(batch_task);

static void batches_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->pixels, .offsets = work->batch_pixels},
        {.data = &work->images, .size = sizeof work->images, .constant = true},
    };
    const struct pool_results results = {.data = work->logits, .offsets = work->batch_logits};
    pool_starmap(run->pool, batch_task, columns, 2, &results, work->batches, run->chunksize,
                 &run->error);
}

/* ---- The model and the images -------------------------------------------------------------- */

/* In the order in which the notebook draws them: conv1, conv2, fc, images. */
static void make_model_and_images(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    lesson_input(lesson, &work->pixels, work->images, IMAGE_BYTES);
    lesson_input(lesson, &work->weights, 1, sizeof *work->weights);
    lesson_result(lesson, &work->logits, work->images, LOGITS * sizeof *work->logits);
    random_seed(&random, lesson_seed(lesson));
    random_normal_scaled(&random, (float *)work->weights, sizeof *work->weights / sizeof(float),
                         0.1f);
    random_normal_float(&random, work->pixels, work->images * CNN_PIXELS);
    work->model.weights = *work->weights;
    cnn_pack(&work->packed, work->weights);

    work->batches = (work->images + BATCH - 1) / BATCH;
    lesson_input(lesson, &work->batch_pixels, work->batches + 1, sizeof *work->batch_pixels);
    lesson_input(lesson, &work->batch_logits, work->batches + 1, sizeof *work->batch_logits);
    for (size_t i = 1; i <= work->batches; i++) {
        const size_t end = i < work->batches ? i * BATCH : work->images;
        work->batch_pixels[i] = end * IMAGE_BYTES;
        work->batch_logits[i] = end * LOGITS * sizeof(float);
    }
}

/* ---- What is measured ---------------------------------------------------------------------- */

/* Ways to hand the images over. */
enum { WITH_WEIGHTS, ALONE, BATCHED, WAYS, BATCHES = WAYS };
static const struct lesson_workload ways[] = {
    {.name = "images_with_weights",
     .title = "one image at a time; a process gets the weights with every task",
     .run = {images_sequential, images_threads, images_under_gil, images_with_weights_processes}},
    {.name = "images_alone",
     .title = "one image at a time; a process was given the weights when it started",
     .run = {images_sequential, [LESSON_PROCESSES] = images_alone_processes}},
    {.name = "batched",
     .title = "all images in one call; each thread has one call for its share",
     .run = {batch_sequential, batch_threads}},
    {.name = "blas_threads", .run = {batches_sequential, [LESSON_PROCESSES] = batches_processes}},
};

static struct lesson_workload workload(struct work *work, int way)
{
    struct lesson_workload workload = ways[way];
    workload.work = work;
    workload.prepare = make_model_and_images;
    workload.tasks = way == BATCHES ? &work->batches : &work->images;
    if (way == ALONE || way == BATCHES) {
        workload.initializer = keep_model;
        workload.initializer_argument = &work->model;
        workload.initializer_size = sizeof work->model;
    }
    /* BLAS may add in another order in a product of another size, or with more threads. */
    if (work->model.version == CNN_IM2COL && way >= BATCHED)
        workload.tolerance = 1e-5;
    return workload;
}

static const char *per_image(const struct lesson_figures *row, size_t images)
{
    return row ? lesson_time_text(row->wall_median / (double)images) : "-";
}

/* The notebook's claim, put to each version: a batch on one core against the better pool. */
static void compare_versions(struct lesson *lesson, struct work *work)
{
    size_t count;
    const size_t images = work->images;
    const int *const all = lesson_workers(lesson, &count), workers[] = {all[count - 1], 0};
    lesson_heading(lesson, "All versions of the convolution: time for one image");
    lesson_print(lesson, "%-8s%7s%12s%12s%14s%12s%12s%14s  %s\n", "", "images", "one by one",
                 "threads", "with weights", "sent once", "batch", "in threads", "batch / pool");
    for (int version = 0; version < CNN_VERSIONS; version++) {
        work->model.version = version;
        work->images = version < CNN_IM2COL && images > FEW ? FEW : images; /* the slow ones */
        const struct lesson_results *results[WAYS];
        for (int way = 0; way < WAYS; way++) {
            char name[64];
            struct lesson_workload quiet = workload(work, way);
            snprintf(name, sizeof name, "%s, %s", quiet.name, cnn_version_name(version));
            quiet.name = name;
            quiet.run[LESSON_GIL] = NULL;
            quiet.workers = workers;
            quiet.quiet = true;
            results[way] = lesson_measure(lesson, &quiet);
        }
        const struct lesson_figures *const batch = results[BATCHED]->figures;
        const struct lesson_figures *pools[2];
        for (int way = WITH_WEIGHTS; way <= ALONE; way++)
            pools[way] = lesson_find(results[way], LESSON_PROCESSES, 0, 0);
        lesson_print(
            lesson, "%-8s%7zu%12s%12s%14s%12s%12s%14s", cnn_version_name(version), work->images,
            per_image(results[WITH_WEIGHTS]->figures, work->images),
            per_image(lesson_find(results[WITH_WEIGHTS], LESSON_THREADS, 0, 0), work->images),
            per_image(pools[WITH_WEIGHTS], work->images), per_image(pools[ALONE], work->images),
            per_image(batch, work->images),
            per_image(lesson_find(results[BATCHED], LESSON_THREADS, 0, 0), work->images));
        if (pools[ALONE]) {
            const double best = fmin(pools[WITH_WEIGHTS]->wall_median, pools[ALONE]->wall_median);
            const double speedup = best / batch->wall_median;
            lesson_print(lesson, "  %.2fx: %s\n", speedup, speedup > 1 ? "yes" : "no");
        } else {
            lesson_print(lesson, "  -\n");
        }
    }
    lesson_print(
        lesson,
        "  one by one, batch             on one core\n"
        "  threads, in threads           %d of them: an image at a time; a share of the batch "
        "each\n"
        "  with weights, sent once       %d processes, an image at a time, their start-up left "
        "out\n"
        "  batch / pool                  did the batch on one core beat the better pool?\n",
        workers[0], workers[0]);
    work->images = images;
}

static void blas_threads_times_workers(struct lesson *lesson, struct work *work)
{
    const int counts[] = {1, lesson_cores(lesson) > 1 ? lesson_cores(lesson) : 2, 0};
    work->model.version = CNN_IM2COL;
    struct lesson_workload batches = workload(work, BATCHES);
    batches.transfer = LESSON_SHARED;
    batches.workers = counts;
    batches.quiet = true;
    lesson_heading(lesson, "im2col in batches of 25: worker processes x BLAS threads in each");
    lesson_print(lesson, " workers  BLAS threads           wall   speedup  cores busy\n");
    double base = 0; /* one worker with one thread */
    for (int t = 0; counts[t] != 0; t++) {
        batches.threads_per_worker = counts[t];
        const struct lesson_results *results = lesson_measure(lesson, &batches);
        for (size_t i = 1; i < results->count; i++) {
            const struct lesson_figures *row = &results->figures[i];
            base = base > 0 ? base : row->wall_median;
            lesson_print(lesson, "%8d %13d %14s %8.2fx %11.2f\n", row->workers, counts[t],
                         lesson_time_text(row->wall_median), base / row->wall_median,
                         row->cores_busy);
        }
    }
}

int main(int argc, char **argv)
{
    static struct work work = {.images = 100, .model.version = CNN_DIRECT};
    const struct lesson_option options[] = {
        {"images", "N", "images to classify", LESSON_COUNT, &work.images, 1, 1 << 30},
        {"conv", "naive|einsum|im2col|direct", "version of the convolution (default: direct)",
         LESSON_CHOICE, &work.model.version, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {"06_inference", "A trained network, image by image",
                                           options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    lesson_isa(lesson, kernels_isa());
    static struct work as_asked; /* the sizes as asked for, whatever --seconds makes of them */
    as_asked = work;

    /* --seconds: as many images as suit the slowest version, whichever is shown */
    struct lesson_workload slowest = workload(&work, WITH_WEIGHTS);
    work.model.version = CNN_NAIVE;
    slowest.grow = &work.images;
    lesson_grow(lesson, &slowest);
    work.model.version = as_asked.model.version;

    for (int way = 0; way < WAYS; way++) {
        const struct lesson_workload shown = workload(&work, way);
        lesson_measure(lesson, &shown);
    }
    lesson_save(lesson, "conv1_w.npy", NPY_FLOAT32, 4, (size_t[]){16, 1, 3, 3},
                work.weights->conv1);
    lesson_save(lesson, "conv2_w.npy", NPY_FLOAT32, 4, (size_t[]){32, 16, 3, 3},
                work.weights->conv2);
    lesson_save(lesson, "fc_w.npy", NPY_FLOAT32, 2, (size_t[]){CNN_FEATURES, LOGITS},
                work.weights->fc);
    lesson_save(lesson, "images.npy", NPY_FLOAT32, 4, (size_t[]){work.images, 1, 28, 28},
                work.pixels);
    lesson_save(lesson, "logits.npy", NPY_FLOAT32, 2, (size_t[]){work.images, LOGITS}, work.logits);

    compare_versions(lesson, &as_asked);
    if (lesson_runs(lesson, LESSON_PROCESSES))
        blas_threads_times_workers(lesson, &as_asked);
    return lesson_end(lesson);
}
