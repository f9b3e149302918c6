/* omp_schedule - who gets which turns, when turn i takes i times as long as turn 1 */
#include <omp.h>
#include <stdio.h>
#include <unistd.h>

enum { TURNS = 24, THREADS = 2 };

/* Heavier and heavier. */
static void turn(int i)
{
    usleep((useconds_t)(100 * i));
}

static void run_static(int *owner)
{
#pragma omp parallel for num_threads(THREADS) schedule(static)
    for (int i = 0; i < TURNS; i++) {
        turn(i);
        owner[i] = omp_get_thread_num();
    }
}

static void run_cyclic(int *owner)
{
#pragma omp parallel for num_threads(THREADS) schedule(static, 1)
    for (int i = 0; i < TURNS; i++) {
        turn(i);
        owner[i] = omp_get_thread_num();
    }
}

static void run_dynamic(int *owner)
{
#pragma omp parallel for num_threads(THREADS) schedule(dynamic, 1)
    for (int i = 0; i < TURNS; i++) {
        turn(i);
        owner[i] = omp_get_thread_num();
    }
}

static void run_guided(int *owner)
{
#pragma omp parallel for num_threads(THREADS) schedule(guided)
    for (int i = 0; i < TURNS; i++) {
        turn(i);
        owner[i] = omp_get_thread_num();
    }
}

static void show(const char *name, void run(int *owner))
{
    int owner[TURNS];
    const double start = omp_get_wtime();
    run(owner);
    const double seconds = omp_get_wtime() - start;
    printf("%-10s ", name);
    for (int i = 0; i < TURNS; i++)
        putchar('0' + owner[i]);
    printf("  %4.1f ms\n", seconds * 1e3);
}

int main(void)
{
    printf("schedule   thread of each turn        wall\n");
    show("static", run_static);
    show("static,1", run_cyclic);
    show("dynamic,1", run_dynamic);
    show("guided", run_guided);
    return 0;
}
