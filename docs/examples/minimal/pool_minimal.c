#include "common/parallel/pool.h"
POOL_MAP_TASK(square, long, long) { *result = *argument * *argument; }
int main(void)
{
    long x[] = {1, 2, 3}, y[3];
    struct pool *pool = pool_startup(NULL) == 0 ? pool_create(NULL, NULL) : NULL;
    if (pool_map(pool, square, x, sizeof *x, y, sizeof *y, 3, 0, NULL) == 0)
        printf("%ld %ld %ld\n", y[0], y[1], y[2]);
    pool_destroy(pool);
}
