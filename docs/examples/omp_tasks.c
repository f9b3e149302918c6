/* omp_tasks - work whose shape is not a loop: a list that is sorted by halves */
#include <stdio.h>
#include <string.h>

enum { N = 20000, SMALL = 1000 };

static void merge(int *x, int *scratch, int middle, int n)
{
    int left = 0, right = middle;
    for (int i = 0; i < n; i++)
        scratch[i] = right == n || (left < middle && x[left] <= x[right]) ? x[left++] : x[right++];
    memcpy(x, scratch, (size_t)n * sizeof *x);
}

/* Each half is a task that any thread of the team may take. Below SMALL a task would cost more
 * than it brings: `if` makes it an ordinary call. taskwait: both halves must be sorted. */
static void sort(int *x, int *scratch, int n)
{
    if (n < 2)
        return;
    const int middle = n / 2;
#pragma omp task if (n > SMALL)
    sort(x, scratch, middle);
#pragma omp task if (n > SMALL)
    sort(x + middle, scratch + middle, n - middle);
#pragma omp taskwait
    merge(x, scratch, middle, n);
}

/* One thread starts the sort; the others of the team wait for tasks. */
static void sort_in_parallel(int *x, int *scratch, int n)
{
#pragma omp parallel num_threads(2)
#pragma omp single
    sort(x, scratch, n);
}

int main(void)
{
    static int x[N], scratch[N];
    for (int i = 0; i < N; i++)
        x[i] = (int)((long)i * 7919 % N); /* every number below N once: 7919 is prime */
    sort_in_parallel(x, scratch, N);
    int wrong = 0;
    for (int i = 0; i < N; i++)
        wrong += x[i] != i;
    printf("%d numbers sorted, %d in the wrong place\n", N, wrong);
    return wrong != 0;
}
