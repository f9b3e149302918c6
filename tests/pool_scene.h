/* pool_scene.h - one scene for a test whose results come later: its orders, its results, and what
 * starts them. */
#ifndef TESTS_POOL_SCENE_H
#define TESTS_POOL_SCENE_H

#include "tests/pool_fixture.h"

extern struct scene *scene;
extern struct order orders[SCENE_PARTS];
extern long results[SCENE_PARTS];

void begin_scene(size_t parts, enum act act);
void end_scene(struct pool *pool); /* destroys the pool, too */

/* The first parts, as one map. callbacks may be NULL. */
struct pool_result *start_with(struct pool *pool, size_t parts, size_t chunksize,
                               const struct pool_callbacks *callbacks);

/* One of the orders, as an apply. */
struct pool_result *start_one(struct pool *pool, size_t part,
                              const struct pool_callbacks *callbacks);

/* How often each of these parts was begun. */
void expect_runs(size_t first, size_t end, long runs);

#endif
