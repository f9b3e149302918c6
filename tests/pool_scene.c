#include "tests/pool_scene.h"

struct scene *scene;
struct order orders[SCENE_PARTS];
long results[SCENE_PARTS];
static struct error error;

void begin_scene(size_t parts, enum act act)
{
    scene = make_scene();
    prepare(scene, orders, results, parts, act);
}

void end_scene(struct pool *pool)
{
    pool_destroy(pool);
    shared_memory_free(scene);
}

struct pool_result *start_with(struct pool *pool, size_t parts, size_t chunksize,
                               const struct pool_callbacks *callbacks)
{
    struct pool_result *result =
        pool_map_async(pool, play, orders, sizeof *orders, results, sizeof *results, parts,
                       chunksize, callbacks, &error);
    ck_assert_msg(result != NULL, "%s", error.message);
    return result;
}

struct pool_result *start_one(struct pool *pool, size_t part,
                              const struct pool_callbacks *callbacks)
{
    struct pool_result *result =
        pool_apply_async(pool, play, &orders[part], sizeof *orders, &results[part], sizeof *results,
                         callbacks, &error);
    ck_assert_msg(result != NULL, "%s", error.message);
    return result;
}

void expect_runs(size_t first, size_t end, long runs)
{
    for (size_t i = first; i < end; i++)
        ck_assert_msg(atomic_load(&scene->runs[i]) == runs, "task %zu was run %ld times", i,
                      atomic_load(&scene->runs[i]));
}
