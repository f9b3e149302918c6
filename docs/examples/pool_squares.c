/* pool_squares - the squares of 0 .. 9, computed by the workers of a pool */
#include "common/parallel/pool.h"

static int square(const void *const *arguments, void *result, struct pool_task *task)
{
    const long *x = arguments[0];
    (void)task;
    *(long *)result = *x * *x;
    return 0;
}
POOL_TASK(square);

int main(void)
{
    const long numbers[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    long squares[10];
    struct error error;
    struct pool *pool = NULL;
    if (pool_startup(&error) != 0 || !(pool = pool_create(NULL, &error)) ||
        pool_map(pool, square, numbers, sizeof *numbers, squares, sizeof *squares, 10, 0, &error)) {
        fprintf(stderr, "pool_squares: %s\n", error.message);
        return 1;
    }
    for (int i = 0; i < 10; i++)
        printf("%ld%c", squares[i], i < 9 ? ' ' : '\n');
    pool_destroy(pool);
    return 0;
}
