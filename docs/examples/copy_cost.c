/* copy_cost - what it costs to send a task its data, or only their address */
#include "common/parallel/pool.h"
#include "common/parallel/shared_memory.h"
#include <stdlib.h>

enum { TASKS = 64 };
static const size_t sizes[] = {1000, 100000, 1000000};

/* A task that looks at one byte of what it got, so that sending is all that costs. */
static int first_byte(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(char *)result = *(const char *)arguments[0];
    return 0;
}
POOL_TASK(first_byte);

/* The seconds of one map over TASKS arguments, best of five, and the bytes that were copied. */
static double time_of_map(struct pool *pool, const char *data, size_t size, uint64_t *copied,
                          struct error *error)
{
    char results[TASKS];
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        const uint64_t before = pool_statistics(pool).bytes_copied;
        if (pool_map(pool, first_byte, data, size, results, 1, TASKS, 0, error) != 0)
            return -1;
        const struct pool_statistics now = pool_statistics(pool);
        const struct pool_phases *t = &now.last;
        const double seconds = t->send + t->compute + t->receive + t->wait;
        best = seconds < best ? seconds : best;
        *copied = now.bytes_copied - before;
    }
    return best;
}

static int compare(struct pool *pool, size_t size, struct error *error)
{
    uint64_t sent_ordinary = 0, sent_shared = 0;
    char *ordinary = calloc(TASKS, size), *shared = shared_memory_allocate(TASKS, size, error);
    int status = -1;
    if (ordinary && shared) {
        memset(ordinary, 1, TASKS * size); /* touched, so that the pages are there */
        memset(shared, 1, TASKS * size);
        const double copy = time_of_map(pool, ordinary, size, &sent_ordinary, error);
        const double address = time_of_map(pool, shared, size, &sent_shared, error);
        if (copy > 0 && address > 0) {
            printf("%14zu %14.1f %14.1f %16.1f %13llu\n", size, copy * 1e6, address * 1e6,
                   (double)sent_ordinary / 1e6, (unsigned long long)sent_shared);
            status = 0;
        }
    }
    free(ordinary);
    shared_memory_free(shared);
    return status;
}

int main(void)
{
    struct error error = {0};
    struct pool *pool = NULL;
    int status = 1;
    if (pool_startup(&error) == 0 && (pool = pool_create(NULL, &error))) {
        printf("bytes per task    copied [us]    shared [us]    MB, if copied  B, if shared\n");
        status = 0;
        for (int i = 0; i < 3 && status == 0; i++)
            status = compare(pool, sizes[i], &error) != 0;
    }
    if (status != 0)
        fprintf(stderr, "copy_cost: %s\n", error.message);
    pool_destroy(pool);
    return status;
}
