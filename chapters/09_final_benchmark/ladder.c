/* ladder.c - measures the rungs of rungs.c, and Python's loops, and says what each step brought.
 *
 * The rungs run in turns, so that whatever disturbs the machine disturbs all of them, and each has
 * images of its own. Of its runs the fastest counts, for what disturbs can only make it slower.
 * Python's loops run in a process of their own.
 */
#include "chapters/09_final_benchmark/final_benchmark.h"
#include <math.h>

/* ---- Measuring ----------------------------------------------------------------------------- */

static void draw_images(struct lesson *lesson, void *context)
{
    struct set *set = context;
    struct random_state random;
    lesson_input(lesson, &set->pixels, set->images, set->pixel_bytes);
    lesson_result(lesson, &set->edges, NPY_FLOAT32, set->images, set->edge_bytes / sizeof(float));
    random_seed(&random, lesson_seed(lesson));
    random_normal_float(&random, set->pixels, set->images * set->size[0] * set->size[1]);
}

/* Of all workers, the last count in --workers. */
static int workers_of(const struct lesson *lesson)
{
    size_t count;
    const int *workers = lesson_workers(lesson, &count);
    return workers[count - 1];
}

static void measure_versions(struct lesson *lesson, struct set sets[VERSIONS],
                             const struct lesson_results *results[VERSIONS])
{
    static const char *const names[] = {"ladder, naive", "ladder, algorithm", "ladder, vectorised",
                                        "ladder, batch"};
    const int workers[] = {workers_of(lesson), 0};
    struct lesson_workload workloads[VERSIONS];
    for (enum version v = NAIVE; v < VERSIONS; v++) {
        workloads[v] = (struct lesson_workload){
            .name = names[v],
            .work = &sets[v],
            .prepare = draw_images,
            .tasks = &sets[v].images,
            .transfer = LESSON_SHARED,
            .workers = workers,
        };
        memcpy(workloads[v].run, rungs[v], sizeof workloads[v].run);
    }
    lesson_measure_in_turns(lesson, workloads, VERSIONS, results);
}

/* ---- The rungs ----------------------------------------------------------------------------- */

/* Edges of a and b differ by at most this much, relative to 1 + their size; 0: in no bit. */
static void require_same(struct lesson *lesson, const struct set *a, const struct set *b,
                         double allowed)
{
    for (size_t i = 0; i < a->images * a->edge_bytes / sizeof(float); i++) {
        const double expected = (double)a->edges[i], difference = (double)b->edges[i] - expected;
        if (!(fabs(difference) <= allowed * (1 + fabs(expected)))) {
            lesson_fail(lesson, "ladder: edge %zu is %.9g on one rung and %.9g on the next", i,
                        expected, (double)b->edges[i]);
            return;
        }
    }
}

/* The sums of the edges in Python must be those of naive C. */
static void compare_with_python(struct lesson *lesson, const struct json_t *report,
                                const struct set *set, size_t images)
{
    const size_t n = set->edge_bytes / sizeof(float);
    for (size_t i = 0; i < images; i++) {
        char path[64];
        double sum = 0;
        for (size_t j = 0; j < n; j++)
            sum += (double)set->edges[i * n + j];
        snprintf(path, sizeof path, "edges_sum.%zu", i);
        const double theirs = lesson_notebook_number(report, path);
        if (!(fabs(sum - theirs) <= 1e-5 * (1 + sum)))
            lesson_fail(lesson, "ladder: the edges of image %zu add up to %.9g, in Python to %.9g",
                        i, sum, theirs);
    }
}

/* Seconds for an image in the notebook's loops; NAN, and a line that says why, if Python cannot be
 * had. It may be fifty times as slow as where this was written. */
static double measure_python(struct lesson *lesson, const struct set *set, size_t images)
{
    char count[24], size[48];
    const double pixels = (double)(images * set->size[0]) * (double)set->size[1];
    struct error error;
    snprintf(count, sizeof count, "%zu", images);
    snprintf(size, sizeof size, "%zux%zu", set->size[0], set->size[1]);
    const char *const options[] = {"--loops-only", "--images", count, "--python-images",
                                   count,          "--size",   size,  NULL};
    const struct json_t *report = lesson_notebook(lesson, options, 60 + 1e-3 * pixels, &error);
    const double seconds = lesson_notebook_number(report, "python_s_per_image");
    if (!report)
        lesson_paragraph(lesson, "\nThe ladder begins with C: %s.", error.message);
    else if (!(seconds > 0))
        lesson_paragraph(lesson, "\nThe ladder begins with C: notebook.py reported no time.");
    else
        compare_with_python(lesson, report, set, images);
    return seconds;
}

/* The row with this mode; of processes, if --transfer asked for both, that with shared memory. */
static const struct lesson_figures *row_of(const struct lesson_results *results,
                                           enum lesson_mode mode)
{
    const struct lesson_figures *shared = lesson_find(results, mode, 0, LESSON_SHARED);
    return shared ? shared : lesson_find(results, mode, 0, LESSON_DEFAULT_TRANSFER);
}

/* Seconds for an image in that row, in its fastest run; NAN if there is none. */
static double seconds_of(const struct lesson_results *results, enum lesson_mode mode)
{
    const struct lesson_figures *row = row_of(results, mode);
    return row ? row->wall_min / (double)row->tasks : NAN;
}

static void compare_hand_overs(struct lesson *lesson, const struct lesson_results *single,
                               const struct lesson_results *batches)
{
    static const char *const names[] = {"one core", "threads", NULL, "processes"};
    lesson_heading(lesson,
                   "Where a batch pays: images handed over singly, or a batch to each worker");
    lesson_print(lesson, "%-23s %15s %15s %11s\n", "time per image", "singly", "in a batch",
                 "own factor");
    for (enum lesson_mode mode = LESSON_SEQUENTIAL; mode < LESSON_MODES; mode++) {
        const double before = seconds_of(single, mode), after = seconds_of(batches, mode);
        if (before > 0)
            lesson_print(lesson, "%-23s %15s %15s %10.2fx\n", names[mode], lesson_time_text(before),
                         lesson_time_text(after), before / after);
    }
}

struct ladder {
    struct lesson_rung rungs[VERSIONS + 3];
    int count;
    char names[LESSON_MODES][24], python_news[64];
};

static void add_python(struct lesson *lesson, struct ladder *ladder, const struct set *set,
                       size_t images)
{
    const double seconds = images > 0 ? measure_python(lesson, set, images) : NAN;
    snprintf(ladder->python_news, sizeof ladder->python_news, "the notebook's, %zu image%s, once",
             images, images == 1 ? "" : "s");
    if (seconds > 0)
        ladder->rungs[ladder->count++] =
            (struct lesson_rung){"Python loops", NULL, ladder->python_news, seconds, -1};
}

static void add_versions(struct ladder *ladder, const struct lesson_results *const *results)
{
    static const struct lesson_rung versions[VERSIONS] = {
        {"naive C", "compile", "the notebook's loops, compiled", 0, 0},
        {"better algorithm", "algorithm", "sums and differences in one pass", 0, 0},
        {"vectorised", "vectorise", "vector instructions", 0, 0},
        {"batched", "batch", "all images in one call", 0, 0},
    };
    for (enum version v = NAIVE; v < VERSIONS; v++, ladder->count++) {
        struct lesson_rung *rung = &ladder->rungs[ladder->count];
        *rung = versions[v];
        rung->seconds = seconds_of(results[v], LESSON_SEQUENTIAL);
        rung->below = ladder->count - 1;
    }
}

/* Both stand on the batch. */
static void add_parallel(struct ladder *ladder, const struct lesson_results *batches)
{
    const int batched = ladder->count - 1;
    for (enum lesson_mode mode = LESSON_THREADS; mode < LESSON_MODES; mode++) {
        const struct lesson_figures *row = row_of(batches, mode);
        if (!row)
            continue;
        snprintf(ladder->names[mode], sizeof *ladder->names, "%s, %d",
                 mode == LESSON_THREADS ? "threads" : "processes", row->workers);
        ladder->rungs[ladder->count++] = (struct lesson_rung){
            ladder->names[mode], "parallel",
            mode == LESSON_THREADS           ? "a share of the batch for each"
            : row->transfer == LESSON_SHARED ? "a share for each, shared memory"
                                             : "a share for each, copied",
            seconds_of(batches, mode), batched};
    }
}

void climb_ladder(struct lesson *lesson, size_t images, const size_t size[2], size_t python_images)
{
    static const char *const order[] = {"algorithm", "vectorise", "batch", "parallel", NULL};
    struct set sets[VERSIONS];
    const struct lesson_results *results[VERSIONS];
    struct ladder ladder = {.count = 0};
    char title[128];
    for (enum version v = NAIVE; v < VERSIONS; v++)
        sets[v] = (struct set){.images = images,
                               .size = {size[0], size[1]},
                               .pixel_bytes = size[0] * size[1] * sizeof(float),
                               .edge_bytes = (size[0] - 4) * (size[1] - 4) * sizeof(float)};
    measure_versions(lesson, sets, results);
    require_same(lesson, &sets[NAIVE], &sets[ALGORITHM], 1e-5);
    require_same(lesson, &sets[NAIVE], &sets[VECTORS], 1e-5);
    require_same(lesson, &sets[VECTORS], &sets[BATCH], 0);

    add_python(lesson, &ladder, &sets[NAIVE], python_images < images ? python_images : images);
    add_versions(&ladder, results);
    add_parallel(&ladder, results[BATCH]);
    snprintf(title, sizeof title, "The ladder: edges of %zu image%s, %zux%zu pixels, step by step",
             images, images == 1 ? "" : "s", size[0], size[1]);
    lesson_ladder(lesson, title, "image", ladder.rungs, ladder.count, order);
    compare_hand_overs(lesson, results[VECTORS], results[BATCH]);
}
