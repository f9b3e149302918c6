/* rungs.c - edges in many images, one improvement after the other.
 *
 * Read it from top to bottom: each function is a rung of the ladder, or two. naive and
 * better_algorithm are compiled without vector instructions, so that a step changes one thing only.
 */
#include "chapters/09_final_benchmark/final_benchmark.h"

static float *edges_of(const struct set *set, size_t i)
{
    return set->edges + i * set->edge_bytes / sizeof(float);
}

static const float *pixels_of(const struct set *set, size_t i)
{
    return set->pixels + i * set->pixel_bytes / sizeof(float);
}

/* ---- On one core --------------------------------------------------------------------------- */

static void naive(struct lesson_run *run)
{
    const struct set *set = run->work;
    const size_t *size = set->size;
    float *scratch = lesson_scratch(image_edges_naive_scratch(size[0], size[1]) * sizeof *scratch);
    for (size_t i = 0; i < set->images; i++)
        image_edges_naive_scalar(edges_of(set, i), pixels_of(set, i), scratch, size[0], size[1],
                                 NULL);
}

static void better_algorithm(struct lesson_run *run)
{
    const struct set *set = run->work;
    for (size_t i = 0; i < set->images; i++)
        image_edges_scalar(edges_of(set, i), pixels_of(set, i), set->size[0], set->size[1], NULL);
}

static void vectorised(struct lesson_run *run)
{
    const struct set *set = run->work;
    for (size_t i = 0; i < set->images; i++)
        image_edges(edges_of(set, i), pixels_of(set, i), set->size[0], set->size[1], NULL);
}

static void batch(struct lesson_run *run)
{
    const struct set *set = run->work;
    image_edges_batch(set->edges, set->pixels, set->images, set->size[0], set->size[1], NULL);
}

/* ---- On all cores: handed over one image at a time, or a batch to each worker ---------------- */

static void threads_one_by_one(struct lesson_run *run)
{
    const struct set *set = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(dynamic, 1)
    for (size_t i = 0; i < set->images; i++)
        image_edges(edges_of(set, i), pixels_of(set, i), set->size[0], set->size[1], NULL);
}

static void threads_batch(struct lesson_run *run)
{
    const struct set *set = run->work;
    const size_t shares = (size_t)run->workers;
#pragma omp parallel for num_threads(run->workers) schedule(static, 1)
    for (size_t share = 0; share < shares; share++) {
        const size_t first = set->images * share / shares;
        const size_t next = set->images * (share + 1) / shares;
        image_edges_batch(edges_of(set, first), pixels_of(set, first), next - first, set->size[0],
                          set->size[1], NULL);
    }
}

static int edges_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const size_t *size = arguments[1];
    (void)task;
    image_edges(result, arguments[0], size[0], size[1], NULL);
    return 0;
}
POOL_TASK(edges_task);

static void map_edges(struct lesson_run *run, size_t chunksize)
{
    const struct set *set = run->work;
    const struct pool_column columns[] = {
        {.data = set->pixels, .size = set->pixel_bytes},
        {.data = set->size, .size = sizeof set->size, .constant = true},
    };
    const struct pool_results results = {.data = set->edges, .size = set->edge_bytes};
    pool_starmap(run->pool, edges_task, columns, 2, &results, set->images, chunksize, &run->error);
}

static void processes_one_by_one(struct lesson_run *run)
{
    map_edges(run, 1);
}

static void processes_batch(struct lesson_run *run)
{
    const struct set *set = run->work;
    map_edges(run, (set->images + (size_t)run->workers - 1) / (size_t)run->workers);
}

lesson_function *const rungs[VERSIONS][LESSON_MODES] = {
    [NAIVE] = {naive},
    [ALGORITHM] = {better_algorithm},
    [VECTORS] = {vectorised, threads_one_by_one, NULL, processes_one_by_one},
    [BATCH] = {batch, threads_batch, NULL, processes_batch},
};
