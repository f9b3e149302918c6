/* instruction_sets - the same kernels with each instruction set that this machine has */
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { IMAGES = 8, SIDE = 128, SMALL = 4096, LARGE = 10 * 1000 * 1000, TURNS = 40, LEVELS = 4 };

static struct cnn_weights weights;
static struct cnn_packed packed;
static float *x, *y; /* [LARGE], [SIDE * SIDE] */
static double total; /* so that a result is used */

static void network(void)
{
    cnn_forward_packed(y, &packed, x, IMAGES);
}

static void clipping(void)
{
    clip_normalise(y, x, SMALL, 5);
}

static void edges(void)
{
    image_edges(y, x, SIDE, SIDE, NULL);
}

static void small_sum(void)
{
    total += sum_of_squares(x, SMALL);
}

static void large_sum(void)
{
    total += sum_of_squares(x, LARGE);
}

static const struct {
    const char *name;
    void (*run)(void);
    int calls; /* in one measurement */
} kernels[] = {
    {"CNN, direct, 8 images", network, 20},   {"clip and normalise, 4096 values", clipping, 100},
    {"blur and edges, 128 x 128", edges, 50}, {"sum of squares, 16 kB", small_sum, 1000},
    {"sum of squares, 40 MB", large_sum, 1},
};

static double microseconds_of_a_call(size_t kernel)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < kernels[kernel].calls; i++)
        kernels[kernel].run();
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (1e6 * (double)(end.tv_sec - begin.tv_sec) +
            1e-3 * (double)(end.tv_nsec - begin.tv_nsec)) /
           kernels[kernel].calls;
}

int main(void)
{
    size_t levels = 0;
    printf("fastest of %d, us for a call  ", TURNS);
    for (; levels < LEVELS && kernels_isa_name(levels); levels++)
        printf(" %12s", kernels_isa_name(levels));
    printf("   last / first\n");
    x = malloc(LARGE * sizeof *x);
    y = malloc((size_t)SIDE * SIDE * sizeof *y);
    if (!x || !y)
        return EXIT_FAILURE;
    for (int i = 0; i < LARGE; i++)
        x[i] = (float)(i % 1000) / 500 - 1;
    cnn_pack(&packed, &weights);
    for (size_t kernel = 0; kernel < sizeof kernels / sizeof *kernels; kernel++) {
        double fastest[LEVELS] = {0};
        printf("%-31s", kernels[kernel].name);
        for (int turn = 0; turn < TURNS; turn++) /* the levels in turns */
            for (size_t level = 0; level < levels; level++) {
                if (kernels_use_isa(kernels_isa_name(level), NULL) != 0)
                    return EXIT_FAILURE;
                const double time = microseconds_of_a_call(kernel);
                fastest[level] = turn == 0 || time < fastest[level] ? time : fastest[level];
            }
        for (size_t level = 0; level < levels; level++)
            printf(" %12.2f", fastest[level]);
        printf("  %5.1f times\n", fastest[0] / fastest[levels - 1]);
    }
    free(x);
    free(y);
    return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
