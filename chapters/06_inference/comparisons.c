/* comparisons.c - every way to convolve in every way to hand the images over; and what BLAS's own
 * threads do to worker processes. Not the lesson of the chapter: that is in inference.c.
 */
#include "inference.h"

/* ---- Four ways to convolve ----------------------------------------------------------------- */

#define FEW 20 /* images for the slow versions */

static const char head[] =
    "                        one by one    pool, model sent     all in one call  "
    "batch beats pool (once)\n"
    "conv    images  one core   threads      each      once  one core   threads     "
    "running          new\n";

void compare_versions(struct lesson *lesson, const struct work *work, size_t asked)
{
    static struct work varied; /* so large that it does not belong on the stack */
    struct lesson_workload ways[WAYS];
    const struct lesson_results *results[WAYS];
    varied = *work;
    lesson_heading(lesson, "Four ways to convolve, time for one image; does a batch beat a pool?");
    lesson_print(lesson, "%s", head);
    for (int version = 0; version < CNN_VERSIONS; version++) {
        const bool slow = version < CNN_IM2COL;
        varied.images = slow && asked > FEW ? FEW : asked;
        varied.network.model.version = version;
        describe(ways, &varied);
        lesson_line(lesson, cnn_version_name(version), ways, WAYS, results);
        lesson_beats_pool(lesson, results[BATCHED], results[ONCE]);
    }
    lesson_release(lesson, &varied);
    lesson_print(
        lesson, "  each, once    the model goes to the workers with each image, or only once\n"
                "  batch beats   one core's batch against pool (once), running or with start-up\n");
}

/* ---- Worker processes x BLAS threads ------------------------------------------------------- */

#define ABOUT 25 /* images to a task, so that BLAS has something to split */

struct batches {
    struct work work;
    size_t tasks, images; /* images to each */
};

static void run_batches(struct lesson_run *run)
{
    const struct batches *batches = run->work;
    const struct work *work = &batches->work;
    for (size_t i = 0; i < batches->tasks; i++) {
        const size_t first = i * batches->images;
        classify(work->logits + first * LOGITS, &work->network, work->pixels + first * IMAGE,
                 batches->images);
    }
}

static int batch_task(const void *const *arguments, void *logits, struct pool_task *task)
{
    (void)task;
    classify(logits, &kept, arguments[0], *(const size_t *)arguments[1]);
    return 0;
}
POOL_TASK(batch_task);

static void run_batches_processes(struct lesson_run *run)
{
    const struct batches *batches = run->work;
    const struct pool_column columns[] = {
        {.data = batches->work.pixels, .size = batches->images * IMAGE * sizeof(float)},
        {.data = &batches->images, .size = sizeof batches->images, .constant = true},
    };
    const struct pool_results results = {.data = batches->work.logits,
                                         .size = batches->images * LOGITS * sizeof(float)};
    pool_starmap(run->pool, batch_task, columns, 2, &results, batches->tasks, run->chunksize,
                 &run->error);
}

static void make_batches(struct lesson *lesson, void *context)
{
    struct batches *batches = context;
    make_model_and_images(lesson, &batches->work);
}

void compare_blas_threads(struct lesson *lesson, const struct work *work, size_t asked)
{
    static struct batches batches;
    batches.work = *work;
    batches.work.network.model.version = CNN_IM2COL;
    batches.tasks = asked < ABOUT ? 1 : asked / ABOUT;
    batches.images = asked / batches.tasks;
    batches.work.images = batches.tasks * batches.images;
    const struct lesson_workload workload = {
        .name = "blas_threads",
        .title = "im2col, about 25 images to a task: worker processes x BLAS threads in each",
        .work = &batches,
        .prepare = make_batches,
        .run = {run_batches, [LESSON_PROCESSES] = run_batches_processes},
        .tasks = &batches.tasks,
        .initializer = keep_model,
        .initializer_argument = &batches.work.network.model,
        .initializer_size = sizeof batches.work.network.model,
        .tolerance = 1e-5, /* BLAS may add in another order */
    };
    lesson_blas_threads(lesson, &workload);
}
