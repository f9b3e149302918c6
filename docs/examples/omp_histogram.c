/* omp_histogram - several threads add to the same counters: three ways that are right */
#include <stdio.h>
#include <string.h>

enum { N = 100000, BINS = 4 };

/* One thread at a time in the section: right, and almost sequential. */
static void count_critical(long *bins, const unsigned char *x)
{
#pragma omp parallel for num_threads(4)
    for (int i = 0; i < N; i++) {
#pragma omp critical
        bins[x[i] % BINS]++;
    }
}

/* One indivisible addition: cheaper, but the counter travels from core to core. */
static void count_atomic(long *bins, const unsigned char *x)
{
#pragma omp parallel for num_threads(4)
    for (int i = 0; i < N; i++) {
#pragma omp atomic
        bins[x[i] % BINS]++;
    }
}

/* Each thread counts in bins of its own; they are added up once, at the end. */
static void count_reduction(long *bins, const unsigned char *x)
{
#pragma omp parallel for num_threads(4) reduction(+ : bins[:BINS])
    for (int i = 0; i < N; i++)
        bins[x[i] % BINS]++;
}

static void show(const char *name, void count(long *bins, const unsigned char *x))
{
    static unsigned char x[N];
    long bins[BINS];
    for (int i = 0; i < N; i++)
        x[i] = (unsigned char)(i % 10);
    memset(bins, 0, sizeof bins);
    count(bins, x);
    printf("%-10s", name);
    for (int b = 0; b < BINS; b++)
        printf(" %6ld", bins[b]);
    printf("\n");
}

int main(void)
{
    show("critical", count_critical);
    show("atomic", count_atomic);
    show("reduction", count_reduction);
    return 0;
}
