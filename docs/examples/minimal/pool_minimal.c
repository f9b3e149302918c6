#include "common/parallel/pool.h"
POOL_MAP_TASK(square, long, long) { *result = *argument * *argument; }
int main(void)
{
    long x[] = {1, 2, 3}, y[3];
    pool_startup(NULL);
    if (pool_map(pool_create(NULL, NULL), square, x, sizeof *x, y, sizeof *y, 3, 0, NULL) == 0)
        printf("%ld %ld %ld\n", y[0], y[1], y[2]);
}
