/* reduce.c - sums.
 *
 * A plain loop adds to one variable, and each addition waits three or four cycles for the one
 * before it. `sum` keeps LANES partial sums that wait for nobody: a few vector registers' worth,
 * so memory is the limit. Element i always goes to lane i % LANES, wherever the array lies in
 * memory, so the result depends on nothing but the values.
 */
#include "common/kernels/isa.h"
#include "common/kernels/kernels.h"
#include <math.h>
#include <string.h>

#define LANES 32UL

INLINED void add_to_lanes(double *restrict lanes, const float *restrict x)
{
#pragma omp simd
    for (size_t lane = 0; lane < LANES; lane++)
        lanes[lane] += (double)x[lane];
}

double EACH_ISA(sum)(const float *x, size_t n)
{
    double lanes[LANES] = {0};
    const size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        add_to_lanes(lanes, x + i);

    /* The rest goes through the same lanes, filled up with zeros. */
    if (whole < n) {
        float rest[LANES] = {0};
        memcpy(rest, x + whole, (n - whole) * sizeof *rest);
        add_to_lanes(lanes, rest);
    }

    return fold(lanes, LANES);
}

/* Two streams, each with the lanes of `sum`, so that more of the memory is asked for at a time: two
 * pages side by side, while the next two are fetched, in this array or in the next, of which
 * nothing is known here. The rest is halved, and what cannot be goes a few at a time. */
#define PAGE 1024UL /* floats */
#define FEW  16UL

INLINED void add_squares(double *restrict lanes, const float *restrict x, size_t n)
{
#pragma omp simd
    for (size_t lane = 0; lane < n; lane++)
        lanes[lane] += (double)x[lane] * (double)x[lane];
}

INLINED void add_two_streams(double *restrict first, double *restrict second,
                             const float *restrict x, size_t half)
{
    prefetch(x, 4 * PAGE * sizeof *x, 512); /* so that the processor begins to fetch those pages */
    prefetch(x + half, 4 * PAGE * sizeof *x, 512);
    for (size_t i = 0; i < half; i += LANES) {
        prefetch(x + i, 2 * PAGE * sizeof *x, LANES * sizeof *x);
        prefetch(x + half + i, 2 * PAGE * sizeof *x, LANES * sizeof *x);
        add_squares(first, x + i, LANES);
        add_squares(second, x + half + i, LANES);
    }
}

double EACH_ISA(sum_of_squares)(const float *x, size_t n)
{
    double first[LANES] = {0}, second[LANES] = {0};
    size_t done = 0;
    while (n - done >= 2 * LANES) {
        const size_t half = n - done >= 2 * PAGE ? PAGE : (n - done) / LANES / 2 * LANES;
        add_two_streams(first, second, x + done, half);
        done += 2 * half;
    }
    for (; n - done >= FEW; done += FEW)
        add_squares(first, x + done, FEW);
    if (done < n) { /* filled up with zeros */
        float last[FEW] = {0};
        memcpy(last, x + done, (n - done) * sizeof *last);
        add_squares(first, last, FEW);
    }
    for (size_t lane = 0; lane < LANES; lane++)
        first[lane] += second[lane];
    return fold(first, LANES);
}

#define FLOAT_LANES SUM_OF_SQUARES_FLOAT_LANES

INLINED void add_float_squares(float *restrict lanes, const float *restrict x)
{
#pragma omp simd
    for (size_t lane = 0; lane < FLOAT_LANES; lane++)
        lanes[lane] += x[lane] * x[lane];
}

double EACH_ISA(sum_of_squares_float)(const float *x, size_t n)
{
    float lanes[FLOAT_LANES] = {0};
    const size_t whole = n - n % FLOAT_LANES;
    for (size_t i = 0; i < whole; i += FLOAT_LANES)
        add_float_squares(lanes, x + i);
    if (whole < n) {
        float rest[FLOAT_LANES] = {0};
        memcpy(rest, x + whole, (n - whole) * sizeof *rest);
        add_float_squares(lanes, rest);
    }
    return (double)fold_floats(lanes, FLOAT_LANES);
}
