/* timing - the same work with two clocks, and ten times in a row */
#include <stdio.h>
#include <time.h>

enum { THREADS = 2, RUNS = 10 };

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void work(void)
{
#pragma omp parallel for num_threads(THREADS) schedule(static)
    for (int thread = 0; thread < THREADS; thread++)
        for (int i = 0; i < 10 * 1000 * 1000; i++)
            __asm__ volatile(""); /* a turn that the compiler must not take away */
}

/* clock() adds the computing time of all threads up: it is not the time that you wait. */
static void compare_clocks(void)
{
    const clock_t cpu = clock();
    const double wall = seconds_of(CLOCK_MONOTONIC);
    work();
    printf("clock() says %.1f ms, the clock on the wall %.1f ms\n",
           1e3 * (double)(clock() - cpu) / CLOCKS_PER_SEC,
           1e3 * (seconds_of(CLOCK_MONOTONIC) - wall));
}

int main(void)
{
    printf("ten runs, in ms:");
    for (int run = 0; run < RUNS; run++) {
        const double start = seconds_of(CLOCK_MONOTONIC);
        work();
        printf(" %.1f", 1e3 * (seconds_of(CLOCK_MONOTONIC) - start));
    }
    printf("\n");
    compare_clocks();
    return 0;
}
