/* omp_simd - one instruction for several elements; and a sum that depends on nobody's order */
#include <stdio.h>

enum { N = 1000 };

/* No turn needs another's result, so a vector instruction may do 4, 8 or 16 of them at once.
 * `restrict` is the promise that y and x do not overlap. */
static void scale_and_add(float *restrict y, const float *restrict x, float a)
{
#pragma omp simd
    for (int i = 0; i < N; i++)
        y[i] += a * x[i];
}

/* A sum is a chain: each addition waits for the one before. `reduction` allows one chain for each
 * lane of the vector. Whole numbers add up to the same in any order. */
static long sum_of_squares(const int *x)
{
    long sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < N; i++)
        sum += (long)x[i] * x[i];
    return sum;
}

/* Both: threads take large pieces, and vectors do each piece. */
static double mean(const float *x)
{
    double sum = 0;
#pragma omp parallel for simd num_threads(2) reduction(+ : sum)
    for (int i = 0; i < N; i++)
        sum += (double)x[i];
    return sum / N;
}

int main(void)
{
    static float x[N], y[N];
    static int numbers[N];
    for (int i = 0; i < N; i++) {
        x[i] = (float)i;
        y[i] = 1;
        numbers[i] = i;
    }
    scale_and_add(y, x, 2);
    printf("y[10] = %g, sum of squares = %ld, mean = %g\n", (double)y[10], sum_of_squares(numbers),
           mean(x));
    return 0;
}
