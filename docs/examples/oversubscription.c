/* oversubscription - a worker for each core, each with more and more threads of its own */
#include "common/parallel/pool.h"
#include "common/parallel/resources.h"
#include <omp.h>
#include <stdlib.h>

enum { REGIONS = 100, TURNS = 20000 };

/* Many short parallel regions, each with a barrier at its end, as a BLAS has them. The work is the
 * same, however many threads share it. */
static int many_regions(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments, (void)task;
    long count = 0;
    for (int region = 0; region < REGIONS; region++) {
#pragma omp parallel for reduction(+ : count)
        for (int i = 0; i < TURNS; i++) {
            count++;
            __asm__ volatile("" : "+r"(count)); /* keep the loop */
        }
    }
    *(long *)result = count;
    return 0;
}
POOL_TASK(many_regions);

static int measure(int workers, int threads, struct error *error)
{
    const struct pool_options options = {.workers = workers, .threads_per_worker = threads};
    struct pool *pool = pool_create(&options, error);
    long *results = calloc((size_t)workers, sizeof *results);
    int status = -1;
    if (pool && results) {
        const double start = omp_get_wtime();
        status = pool_map(pool, many_regions, results, sizeof *results, results, sizeof *results,
                          (size_t)workers, 1, error);
        printf("%7d %18d %8.1f ms\n", workers, threads, (omp_get_wtime() - start) * 1e3);
    }
    free(results);
    pool_destroy(pool);
    return status;
}

int main(void)
{
    struct error error = {0};
    int status = pool_startup(&error);
    const int cores = resources_cores();
    printf("workers  threads in each        wall\n");
    for (int threads = 1; threads <= 4 && status == 0; threads *= 2)
        status = measure(cores, threads, &error);
    if (status != 0)
        fprintf(stderr, "oversubscription: %s\n", error.message);
    return status != 0;
}
