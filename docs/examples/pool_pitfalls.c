/* pool_pitfalls - mistakes with a pool, each beside what is right */
#include "common/parallel/pool.h"
#include "common/parallel/shared_memory.h"

enum { N = 3 };

static void show(const char *what, const long *results)
{
    printf("%-28s %ld %ld %ld\n", what, results[0], results[1], results[2]);
}

/* ---- A task that was not registered -------------------------------------------------------- */

static int square_unregistered(const void *const *arguments, void *result, struct pool_task *task)
{
    const long *x = arguments[0];
    (void)task;
    *(long *)result = *x * *x;
    return 0;
}

static int square(const void *const *arguments, void *result, struct pool_task *task)
{
    return square_unregistered(arguments, result, task);
}
POOL_TASK(square); /* this line is the difference */

static void unregistered(struct pool *pool, const long *x, long *results)
{
    struct error error;
    if (pool_map(pool, square_unregistered, x, sizeof *x, results, sizeof *x, N, 0, &error) != 0)
        printf("wrong, unregistered          %s\n", error.message);
    if (pool_map(pool, square, x, sizeof *x, results, sizeof *x, N, 0, &error) == 0)
        show("right, registered", results);
}

/* ---- A global variable that is set after the start ----------------------------------------- */

static long scale = 1;

static int set_scale(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)result, (void)task;
    scale = *(const long *)arguments[0];
    return 0;
}
POOL_TASK(set_scale);

static int multiply(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(long *)result = scale * *(const long *)arguments[0];
    return 0;
}
POOL_TASK(multiply);

static void global_variable(struct pool *pool, const long *x, long *results)
{
    struct error error;
    scale = 10; /* here; the workers have a scale of their own */
    if (pool_map(pool, multiply, x, sizeof *x, results, sizeof *x, N, 0, &error) == 0)
        show("wrong, scale set here", results);

    const struct pool_options options = {.workers = 2,
                                         .initializer = set_scale, /* each worker is told */
                                         .initializer_argument = &scale,
                                         .initializer_size = sizeof scale};
    struct pool *told = pool_create(&options, &error);
    if (told && pool_map(told, multiply, x, sizeof *x, results, sizeof *x, N, 0, &error) == 0)
        show("right, by the initializer", results);
    pool_destroy(told);
}

/* ---- A pointer inside an argument ---------------------------------------------------------- */

static int read_through(const void *const *arguments, void *result, struct pool_task *task)
{
    const long *const *pointer = arguments[0];
    (void)task;
    *(long *)result = **pointer;
    return 0;
}
POOL_TASK(read_through);

static long table[N]; /* ordinary memory: a worker has a table of its own, still empty */

static void pointers(struct pool *pool, const long *x, long *results)
{
    struct error error;
    const long *into_table[N], *into_shared[N];
    long *shared = shared_memory_allocate(N, sizeof *shared, &error);
    for (int i = 0; shared && i < N; i++) {
        table[i] = shared[i] = x[i];
        into_table[i] = &table[i];
        into_shared[i] = &shared[i];
    }
    if (shared && pool_map(pool, read_through, into_table, sizeof *into_table, results, sizeof *x,
                           N, 0, &error) == 0)
        show("wrong, into ordinary memory", results);
    if (shared && pool_map(pool, read_through, into_shared, sizeof *into_shared, results, sizeof *x,
                           N, 0, &error) == 0)
        show("right, into shared memory", results);
    shared_memory_free(shared);
}

/* ---- A buffer that must outlive the call ---------------------------------------------------- */

struct job {
    struct pool_result *result;
    long squares[N]; /* written later: so it must not be a local variable of begin() */
};

static int begin(struct job *job, struct pool *pool, const long *x, struct error *error)
{
    job->result =
        pool_map_async(pool, square, x, sizeof *x, job->squares, sizeof *x, N, 0, NULL, error);
    return job->result ? 0 : -1;
}

static void buffers(struct pool *pool, const long *x)
{
    struct error error;
    struct job job;
    if (begin(&job, pool, x, &error) != 0)
        return;
    if (pool_result_get(job.result, -1, &error) == 0)
        show("right, a buffer that lives", job.squares);
    pool_result_free(job.result);
}

int main(void)
{
    const long x[N] = {1, 2, 3};
    const struct pool_options options = {.workers = 2};
    long results[N];
    struct error error;
    if (pool_startup(&error) != 0)
        return 1;
    struct pool *pool = pool_create(&options, &error);
    if (!pool)
        return 1;
    unregistered(pool, x, results);
    global_variable(pool, x, results);
    pointers(pool, x, results);
    buffers(pool, x);
    pool_destroy(pool);
    return 0;
}
