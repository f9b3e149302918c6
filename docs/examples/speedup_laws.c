/* speedup_laws - Amdahl, Gustafson and Karp-Flatt as functions, and a table of each */
#include <stdio.h>

/* f: the part of the work that must be done by one worker after the other, 0 to 1. */
static double amdahl(double f, int workers)
{
    return 1 / (f + (1 - f) / workers);
}

/* f: the part of the parallel program's time that it spends in its sequential part. */
static double gustafson(double f, int workers)
{
    return workers - f * (workers - 1);
}

/* The sequential part that would explain a speedup that was measured. */
static double karp_flatt(double speedup, int workers)
{
    return (1 / speedup - 1.0 / workers) / (1 - 1.0 / workers);
}

int main(void)
{
    const int workers[] = {2, 4, 8, 16, 64};
    const double measured[] = {1.9, 3.5, 6.0, 9.2, 12.0};
    printf("workers  Amdahl f=0.05  Gustafson f=0.05   measured  Karp-Flatt e\n");
    for (int i = 0; i < 5; i++)
        printf("%7d %14.2f %17.2f %10.2f %13.3f\n", workers[i], amdahl(0.05, workers[i]),
               gustafson(0.05, workers[i]), measured[i], karp_flatt(measured[i], workers[i]));
    return 0;
}
