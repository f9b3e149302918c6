/* omp_first - a team of threads shares out the turns of a loop */
#include <omp.h>
#include <stdio.h>

enum { N = 8 };

/* Each turn writes an element of its own, so it does not matter who does which turn, and when. */
static void square_all(long *squares, const long *x)
{
#pragma omp parallel for num_threads(4)
    for (int i = 0; i < N; i++)
        squares[i] = x[i] * x[i];
}

/* Variables declared inside the region belong to each thread; those declared outside are shared. */
static void who_does_what(int *owner)
{
#pragma omp parallel num_threads(4)
    {
        const int me = omp_get_thread_num(); /* 0 to 3 */
#pragma omp for schedule(static)
        for (int i = 0; i < N; i++)
            owner[i] = me;
    }
}

int main(void)
{
    const long x[N] = {0, 1, 2, 3, 4, 5, 6, 7};
    long squares[N];
    int owner[N];
    square_all(squares, x);
    who_does_what(owner);
    for (int i = 0; i < N; i++)
        printf("%ld squared is %ld, a turn of thread %d\n", x[i], squares[i], owner[i]);
    return 0;
}
