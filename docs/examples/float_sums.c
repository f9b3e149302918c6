/* float_sums - the squares of ten million floats, added up in four ways */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Each addition rounds to 24 bits. A small square hardly changes a large sum. */
static double sum_float(const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return (double)sum;
}

/* Sixteen sums instead of one: each is smaller, so each rounding is. */
static double sum_float_lanes(const float *x, size_t n)
{
    float lanes[16] = {0}, sum = 0;
    for (size_t i = 0; i + 16 <= n; i += 16)
        for (size_t lane = 0; lane < 16; lane++)
            lanes[lane] += x[i + lane] * x[i + lane];
    for (size_t lane = 0; lane < 16; lane++)
        sum += lanes[lane];
    return (double)sum;
}

/* As np.sum: halves, down to a few elements. The errors grow with log n instead of n. */
static float sum_pairwise(const float *x, size_t n)
{
    float sum = 0;
    if (n > 128)
        return sum_pairwise(x, n / 2) + sum_pairwise(x + n / 2, n - n / 2);
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

/* float data, a double accumulator: 53 bits for the sum. */
static double sum_double(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

int main(void)
{
    const size_t n = 10000000; /* a multiple of 16 */
    float *x = malloc(n * sizeof *x);
    if (!x)
        return 1;
    unsigned random = 42;
    long double exact = 0;
    for (size_t i = 0; i < n; i++) {
        random = random * 1664525u + 1013904223u; /* any numbers between -2 and 2 will do */
        x[i] = (float)random / 1073741824.0f - 2;
        exact += (long double)x[i] * (long double)x[i];
    }
    const struct {
        const char *name;
        double sum;
    } ways[] = {{"float", sum_float(x, n)},
                {"float, 16 lanes", sum_float_lanes(x, n)},
                {"float, pairwise", (double)sum_pairwise(x, n)},
                {"double", sum_double(x, n)}};
    for (int i = 0; i < 4; i++)
        printf("%-16s %16.4f   relative error %8.1e\n", ways[i].name, ways[i].sum,
               (double)fabsl((ways[i].sum - exact) / exact));
    free(x);
    return 0;
}
