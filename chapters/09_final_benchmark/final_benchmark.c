/* 09_final_benchmark - three workloads in all four ways, then a ladder from Python to all cores
 *
 * The notebook ends with three scenarios: image preprocessing, a large matrix product in BLAS, and
 * inference with a small network. Each is a list of items that do not need each other, dealt out in
 * parts, so the same four functions run all of them, but that threads leave the product to BLAS's
 * own. Then the images climb a ladder (ladder.c, rungs.c):
 * Python loops, the same loops in C, a better algorithm, vector instructions, a batch, threads,
 * processes. Each rung shows what it brought by itself, and what all brought together.
 *
 * Notebook: part 6, final_benchmark, and the summary.
 *
 * Usage: final_benchmark [--images N] [--size HxW] [--order N] [--cnn-images N] [--python-images N]
 *
 * Watch for:
 *   - the product: BLAS has threads of its own. What is left for processes to win, and what does
 *     it cost to send them the matrices?
 *   - the ladder: which step was the largest, which the smallest? The notebook's order is
 *     algorithm, vectorise, batch, parallel. Was it that here?
 *
 * Try:
 *   1. --size 16, then --size 1024: which rungs gain, which lose?
 *   2. --order 200: is a product that small worth sharing?
 *   3. --python-images 10: is one image enough to time Python's loops?
 */
#include "chapters/09_final_benchmark/final_benchmark.h"
#include "common/parallel/blas.h"

/* ---- The task: items in, results out ------------------------------------------------------- */

/* struct work, in final_benchmark.h, has items (images, or rows of a matrix) in parts, a part to a
 * task: in_at and out_at say where a part begins, in bytes. constant is what all parts need:
 * nothing, the second matrix, or the weights. */

static void compute(void *out, const void *in, const void *constant, size_t items,
                    const struct kind *kind)
{
    switch (kind->scenario) {
    case IMAGES:
        image_edges_batch(out, in, items, kind->size[0], kind->size[1], NULL);
        break;
    case PRODUCT:
        product(out, in, constant, items, kind->size[0], kind->size[1]);
        break;
    case INFERENCE:
        cnn_forward_packed(out, constant, in, items);
        break;
    }
}

static void compute_part(const struct work *work, size_t i)
{
    compute(work->out + work->out_at[i], work->in + work->in_at[i], work->constant, work->count[i],
            &work->kind);
}

/* ---- Four ways to run it ------------------------------------------------------------------- */

/* All items in one call: the best that one core can do. What parts cost counts against the others.
 */
static void run_sequential(struct lesson_run *run)
{
    const struct work *work = run->work;
    compute(work->out, work->in, work->constant, work->items, &work->kind);
}

static void run_threads(struct lesson_run *run)
{
    const struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->parts; i++) {
        compute_part(work, i);
        lesson_task_done(run, i); /* for --timeline */
    }
}

/* The product's threads: BLAS shares out one call among threads of its own. */
static void run_blas_threads(struct lesson_run *run)
{
    blas_set_threads(run->workers);
    run_sequential(run);
    run->threads = blas_threads() > 0 ? blas_threads() : run->workers;
    blas_set_threads(1);
}

/* The kernels are native code, so the GIL is given back while they run, as NumPy does. */
static void run_threads_under_gil(struct lesson_run *run)
{
    const struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->parts; i++) {
            gil_release(run->gil);
            compute_part(work, i);
            gil_acquire(run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

static int part_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const size_t *count = arguments[1];
    (void)task;
    compute(result, arguments[0], arguments[2], *count, arguments[3]);
    return 0;
}
POOL_TASK(part_task);

static void run_processes(struct lesson_run *run)
{
    const struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->in, .offsets = work->in_at},
        {.data = work->count, .size = sizeof *work->count},
        {.data = work->constant, .size = work->constant_size, .constant = true},
        {.data = &work->kind, .size = sizeof work->kind, .constant = true},
    };
    const struct pool_results results = {.data = work->out, .offsets = work->out_at};
    pool_starmap(run->pool, part_task, columns, 4, &results, work->parts, run->chunksize,
                 &run->error);
}

/* ---- The scenarios ------------------------------------------------------------------------- */

static void measure(struct lesson *lesson, const char *name, const char *title, struct work *work,
                    void (*prepare)(struct lesson *lesson, void *work))
{
    const bool is_product = work->kind.scenario == PRODUCT;
    const struct lesson_workload workload = {
        .name = name,
        .title = title,
        .work = work,
        .prepare = prepare,
        .run = {run_sequential, is_product ? run_blas_threads : run_threads, run_threads_under_gil,
                run_processes},
        .tasks = &work->parts,
        .grow = &work->items,
        .grow_power = is_product ? 3 : 1,
        .transfer = is_product ? LESSON_BOTH : LESSON_SHARED,
        .tolerance = is_product ? 1e-9 : 0, /* how BLAS adds depends on its threads */
    };
    lesson_measure(lesson, &workload);
}

int main(int argc, char **argv)
{
    struct work images = {.kind = {IMAGES, {128, 128}}, .items = 50};
    struct work product = {.kind = {.scenario = PRODUCT}, .items = 2000, .previous = &images};
    struct work network = {.kind = {.scenario = INFERENCE}, .items = 100, .previous = &product};
    size_t python_images = 1;
    const struct lesson_option options[] = {
        {"images", "N", "images to find the edges of", LESSON_COUNT, &images.items, 1, 1 << 24},
        {"size", "HxW", "height and width of --images", LESSON_SHAPE, images.kind.size,
         IMAGE_MIN_SIZE, 1 << 16},
        {"order", "N", "rows and columns of the matrices", LESSON_COUNT, &product.items, 1,
         1 << 14},
        {"cnn-images", "N", "images for the network", LESSON_COUNT, &network.items, 1, 1 << 24},
        {"python-images", "N", "images for the Python loops on the ladder, 0 for none",
         LESSON_COUNT, &python_images, 0, 1 << 24},
        {0}};
    const struct lesson_chapter chapter = {
        .name = "09_final_benchmark",
        .title = "Three workloads in four ways, and a ladder of improvements",
        .options = options,
        .blas = true};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    if (python_images > 0)
        lesson_notebook_check(lesson);
    const size_t on_the_ladder = ladder_images(&images); /* before --seconds makes them more */
    lesson_require(lesson, bytes_needed(&images, &product, &network));

    measure(lesson, "images", "1. Image preprocessing: edges of many images, a task is an image",
            &images, make_images);
    measure(lesson, "product",
            "2. Matrix product: threads are BLAS's own in one call; else a task is a band of rows",
            &product, make_matrices);
    measure(lesson, "inference", "3. CNN inference: logits of many images, a task is a batch",
            &network, make_network);
    save(lesson, &images, &product, &network);
    climb_ladder(lesson, on_the_ladder, images.kind.size, python_images);
    return lesson_end(lesson);
}
