/* registry.h - the program's tasks, by name (POOL_TASK in pool.h): another process finds them so.
 */
#ifndef PARALLEL_REGISTRY_H
#define PARALLEL_REGISTRY_H

#include "common/parallel/pool.h"

pool_function *pool_find(const char *name); /* NULL: no task has this name */
const char *pool_name(pool_function *function);

/* 0 if a worker would find this function, and no other, by its name. `what` it is goes into the
 * message. */
int check_registered(pool_function *function, const char *what, struct error *error);

int check_task_function(pool_function *function, struct error *error);

#endif
