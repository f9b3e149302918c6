/* shared_array - tasks that work on an array in place; and the same array under a name */
#include "common/parallel/shared_array.h"
#include "common/parallel/pool.h"
#include <unistd.h>

enum { IMAGES = 1000, PIXELS = 28 * 28 };

/* An argument is an image: its address in shared memory, which is the same in every process. */
static int brightness(const void *const *arguments, void *result, struct pool_task *task)
{
    const float *pixels = arguments[0];
    double sum = 0;
    (void)task;
    for (int i = 0; i < PIXELS; i++)
        sum += (double)pixels[i];
    *(double *)result = sum / PIXELS;
    return 0;
}
POOL_TASK(brightness);

static int in_place(struct pool *pool, const struct shared_array *images, struct error *error)
{
    float *pixels = images->data; /* C order: [1000][28][28] */
    double results[IMAGES];
    for (int image = 0; image < IMAGES; image++)
        for (int p = 0; p < PIXELS; p++)
            pixels[image * PIXELS + p] = (float)image;
    if (pool_map(pool, brightness, pixels, PIXELS * sizeof *pixels, results, sizeof *results,
                 IMAGES, 0, error) != 0)
        return -1;
    printf("brightness of the last image: %g\n", results[IMAGES - 1]);
    printf("copied: %llu bytes, all of them results\n",
           (unsigned long long)pool_statistics(pool).bytes_copied);
    return 0;
}

/* Another program of the same user would call shared_array_open; here it is this one. */
static int by_name(struct shared_array *images, struct error *error)
{
    char name[64];
    snprintf(name, sizeof name, "images-%d", (int)getpid());
    if (shared_array_publish(images, name, error) != 0)
        return -1;
    struct shared_array *found = shared_array_open(name, true, error); /* true: only to read */
    if (!found)
        return -1;
    printf("found by name: %s, %zu x %zu x %zu\n", found->dtype, found->shape[0], found->shape[1],
           found->shape[2]);
    shared_array_close(found);
    return 0;
}

int main(void)
{
    const size_t shape[] = {IMAGES, 28, 28};
    struct error error = {0};
    struct pool *pool = NULL;
    struct shared_array *images = NULL;
    int status = 1;
    if (pool_startup(&error) == 0 && (pool = pool_create(NULL, &error)) &&
        (images = shared_array_create("<f4", 3, shape, &error)) &&
        in_place(pool, images, &error) == 0 && by_name(images, &error) == 0)
        status = 0;
    if (status != 0)
        fprintf(stderr, "shared_array: %s\n", error.message);
    shared_array_close(images); /* takes the name away, too */
    pool_destroy(pool);
    return status;
}
