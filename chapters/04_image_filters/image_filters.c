/* 04_image_filters - edges in many pictures: independent tasks, heavy enough to share out
 *
 * Each picture is normalised, blurred (3x3 Gauss) and searched for edges (Sobel) by itself, typical
 * work for a pool. Two kernels do it: a naive one, one pass over the picture for each step, and a
 * fused one, one pass for all, with vector instructions. Pictures are random, or your own.
 *
 * Notebook: part 3, image processing in parallel.
 * Usage: image_filters [--images N] [--size HxW] [--workers 1,2]
 *        image_filters --input FILE-OR-FOLDER... [--output DIR]
 *
 * Watch for:
 *   - what the fused kernel alone brings, on one core, against what more cores bring.
 *   - the fused kernel leaves so little work per picture that starting, copying and waking up
 *     weigh more: a pool that paid for the naive kernel may not pay any more.
 *   - threads under the GIL scale: a native kernel gives the lock back, as NumPy's do.
 *
 * Try:
 *   1. --transfer both: what does it cost to copy the pictures?
 *   2. --size 32, then --size 1024: how much work must one picture be?
 *   3. --input with a folder of photographs and --output edges, and look at them.
 */
#include "chapters/04_image_filters/pictures.h"
#include "common/data/file.h"
#include "common/data/random.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"
#include <stdlib.h>

struct work {
    size_t images, size[2];       /* random pictures: how many, height and width */
    struct picture_set set;       /* pictures from files, if there are any */
    bool fused;                   /* which kernel */
    size_t *height, *width;       /* [images] */
    size_t *pixels_at, *edges_at; /* [images + 1]: where each begins, in bytes as a pool counts */
    float *pixels, *edges;        /* all pictures, and all edges, one after the other */
};

/* ---- The task ------------------------------------------------------------------------------ */

static void filter(float *edges, const float *pixels, size_t height, size_t width, bool fused)
{
    if (fused) {
        image_edges(edges, pixels, height, width, NULL);
    } else {
        const size_t needed = image_edges_naive_scratch(height, width);
        float *scratch = lesson_scratch(needed * sizeof *scratch);
        image_edges_naive(edges, pixels, scratch, height, width, NULL);
    }
}

static void filter_image(struct work *work, size_t i)
{
    filter(work->edges + work->edges_at[i] / sizeof(float),
           work->pixels + work->pixels_at[i] / sizeof(float), work->height[i], work->width[i],
           work->fused);
}

/* ---- Four ways to run it ------------------------------------------------------------------- */

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->images; i++) {
        filter_image(work, i);
        lesson_task_done(run, i); /* for --timeline */
    }
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->images; i++) {
        filter_image(work, i);
        lesson_task_done(run, i);
    }
}

/* The kernels are native code, so the GIL is given back while they run, as NumPy does. */
static void run_threads_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->images; i++) {
            gil_release(run->gil);
            filter_image(work, i);
            gil_acquire(run->gil);
            lesson_task_done(run, i);
        }
        gil_release(run->gil);
    }
}

static int filter_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const size_t *height = arguments[1], *width = arguments[2];
    const bool *fused = arguments[3];
    (void)task;
    filter(result, arguments[0], *height, *width, *fused);
    return 0;
}
POOL_TASK(filter_task);

static void run_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->pixels, .offsets = work->pixels_at}, /* pictures may differ in size */
        {.data = work->height, .size = sizeof *work->height},
        {.data = work->width, .size = sizeof *work->width},
        {.data = &work->fused, .size = sizeof work->fused, .constant = true},
    };
    const struct pool_results results = {.data = work->edges, .offsets = work->edges_at};
    pool_starmap(run->pool, filter_task, columns, 4, &results, work->images, run->chunksize,
                 &run->error);
}

/* ---- The pictures -------------------------------------------------------------------------- */

/* Edges have 4 rows and 4 columns less: blur and Sobel need a neighbour on each side. */
static void make_pictures(struct lesson *lesson, void *context)
{
    struct work *work = context;
    struct random_state random;
    lesson_input(lesson, &work->height, work->images, sizeof *work->height);
    lesson_input(lesson, &work->width, work->images, sizeof *work->width);
    lesson_input(lesson, &work->pixels_at, work->images + 1, sizeof *work->pixels_at);
    lesson_input(lesson, &work->edges_at, work->images + 1, sizeof *work->edges_at);
    work->pixels_at[0] = work->edges_at[0] = 0;
    for (size_t i = 0; i < work->images; i++) {
        const size_t h = work->set.count ? work->set.pictures[i].height : work->size[0];
        const size_t w = work->set.count ? work->set.pictures[i].width : work->size[1];
        work->height[i] = h;
        work->width[i] = w;
        work->pixels_at[i + 1] = work->pixels_at[i] + h * w * sizeof(float);
        work->edges_at[i + 1] = work->edges_at[i] + (h - 4) * (w - 4) * sizeof(float);
    }
    lesson_input(lesson, &work->pixels, work->pixels_at[work->images], 1);
    lesson_result(lesson, &work->edges, NPY_FLOAT32, work->edges_at[work->images] / sizeof(float),
                  1);
    random_seed(&random, lesson_seed(lesson));
    if (work->set.count == 0)
        random_normal_float(&random, work->pixels, work->images * work->size[0] * work->size[1]);
    for (size_t i = 0; i < work->set.count; i++)
        memcpy(work->pixels + work->pixels_at[i] / sizeof(float), work->set.pictures[i].pixels,
               work->pixels_at[i + 1] - work->pixels_at[i]);
}

/* Pictures of one size as two arrays, of several sizes as two arrays each. */
static void save(struct lesson *lesson, const struct work *work)
{
    bool alike = true;
    char name[64];
    for (size_t i = 1; i < work->images; i++)
        alike = alike && work->height[i] == work->height[0] && work->width[i] == work->width[0];
    for (size_t i = 0; i < (alike ? 1 : work->images); i++) {
        const size_t n = alike ? work->images : 1, h = work->height[i], w = work->width[i];
        snprintf(name, sizeof name, alike ? "images.npy" : "images_%04zu.npy", i);
        lesson_save(lesson, name, NPY_FLOAT32, 3, (size_t[]){n, h, w},
                    work->pixels + work->pixels_at[i] / sizeof(float));
        snprintf(name, sizeof name, alike ? "edges.npy" : "edges_%04zu.npy", i);
        lesson_save(lesson, name, NPY_FLOAT32, 3, (size_t[]){n, h - 4, w - 4},
                    work->edges + work->edges_at[i] / sizeof(float));
    }
}

int main(int argc, char **argv)
{
    struct work work = {.images = 50, .size = {128, 128}};
    struct lesson_paths input = {0};
    const char *output = NULL;
    const struct lesson_option options[] = {
        {"images", "N", "random pictures", LESSON_COUNT, &work.images, 1, 1 << 24},
        {"size", "HxW", "height and width of --images", LESSON_SHAPE, work.size, IMAGE_MIN_SIZE,
         1 << 16},
        {"input", "PATH...", "PNG and JPEG files and folders", LESSON_PATHS, &input, 0, 0},
        {"output", "DIR", "write the edges of --input there", LESSON_PATH, &output, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {.name = "04_image_filters",
                                           .title = "Many pictures: normalise, blur, find edges",
                                           .options = options};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    struct error error;
    if (output && input.count == 0)
        lesson_usage(lesson, "--output needs --input");
    if (input.count > 0 && (lesson_given(lesson, &work.images) || lesson_given(lesson, work.size)))
        lesson_usage(lesson, "--images and --size are for random pictures, not for --input");
    if (input.count > 0) {
        pictures_read(lesson, &work.set, &input);
        work.images = work.set.count;
        work.size[0] = work.size[1] = 0; /* each has its own */
    }
    if (output && file_make_directory(output, &error) != 0)
        lesson_die(lesson, "--output: %s", error.message);

    struct lesson_workload filters = {
        .name = "naive",
        .title = "the naive kernel: one pass for each step",
        .work = &work,
        .prepare = make_pictures,
        .run = {run_sequential, run_threads, run_threads_under_gil, run_processes},
        .tasks = &work.images,
        .grow = input.count > 0 ? NULL : &work.images,
        .transfer = LESSON_SHARED,
    };
    lesson_measure(lesson, &filters);
    filters.grow = NULL; /* the same pictures */
    filters.name = "fused";
    filters.title = "the fused kernel: all steps in one pass, with vector instructions";
    work.fused = true;
    lesson_measure(lesson, &filters);
    save(lesson, &work);
    lesson_chart_picture(lesson, "the first picture", work.pixels, work.height[0], work.width[0]);
    lesson_chart_picture(lesson, "its edges", work.edges, work.height[0] - 4, work.width[0] - 4);
    if (output)
        pictures_write_edges(lesson, &work.set, work.edges, work.edges_at, output);
    picture_set_free(&work.set);
    return lesson_end(lesson);
}
