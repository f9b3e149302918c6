/* registry.c - the list that POOL_TASK makes. A worker of a fresh copy of the program has other
 * addresses, so a job carries a task's name, and each process looks it up in its own list. The list
 * is made by constructors, before main, so nothing guards it; a plug-in that is loaded later adds
 * to it before it submits work. */
#include "common/parallel/registry.h"
#include "common/parallel/board.h"
#include <string.h>

static struct pool_registered *registered_functions;

void pool_register(struct pool_registered *registered, const char *name, pool_function *function)
{
    *registered =
        (struct pool_registered){.name = name, .function = function, .next = registered_functions};
    registered_functions = registered;
}

pool_function *pool_find(const char *name)
{
    for (const struct pool_registered *r = registered_functions; r; r = r->next)
        if (strcmp(r->name, name) == 0)
            return r->function;
    return NULL;
}

const char *pool_name(pool_function *function)
{
    for (const struct pool_registered *r = registered_functions; r; r = r->next)
        if (r->function == function)
            return r->name;
    return NULL;
}

int check_registered(pool_function *function, const char *what, struct error *error)
{
    const char *name = pool_name(function);
    if (!name)
        return error_set(error, ERROR_UNREGISTERED,
                         "%s was not registered with POOL_TASK: no other process could find it by "
                         "name",
                         what);
    if (strlen(name) >= NAME_LENGTH)
        return error_set(error, ERROR_INVALID, "%s: the name %.40s... is too long", what, name);
    if (pool_find(name) != function) /* static functions of two files, for example */
        return error_set(error, ERROR_INVALID, "%s: two functions are registered as %s", what,
                         name);
    return 0;
}

int check_task_function(pool_function *function, struct error *error)
{
    if (!function)
        return error_set(error, ERROR_INVALID, "the task function is NULL");
    return check_registered(function, "the task function", error);
}
