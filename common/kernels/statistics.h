/* statistics.h - private to the kernels: mean and standard deviation in one pass.
 *
 * Sums of squares lose everything when the mean is large, so the squares are those of the
 * distance to a pivot near the mean: the mean of all values so far. A chunk is summed in float,
 * which is exact enough for so few additions to each lane, and chunks are joined in double by the
 * formula of Chan, Golub and LeVeque (1979). Functions marked EACH_ISA may call these.
 */
#ifndef KERNELS_STATISTICS_H
#define KERNELS_STATISTICS_H

#include "common/kernels/isa.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#define STATISTICS_LANES 64
#define STATISTICS_CHUNK 2048
#define STATISTICS_AHEAD 4096              /* bytes */
#define STATISTICS_BLOCK ((size_t)1 << 18) /* that does not look at the values before it */

struct statistics {
    double n, mean, squares; /* squares: sum of (x - mean)^2 */
};

struct lane_sums {
    float distance[STATISTICS_LANES], square[STATISTICS_LANES];
};

INLINED void add_to_lanes(struct lane_sums *restrict sums, const float *restrict x, float pivot)
{
#pragma omp simd
    for (size_t lane = 0; lane < STATISTICS_LANES; lane++) {
        const float distance = x[lane] - pivot;
        sums->distance[lane] += distance;
        sums->square[lane] += distance * distance;
    }
}

/* In double, the upper half onto the lower until one is left: additions that wait for nobody. */
INLINED double lanes_total(const float *lanes)
{
    double totals[STATISTICS_LANES / 2];
#pragma omp simd
    for (size_t lane = 0; lane < STATISTICS_LANES / 2; lane++)
        totals[lane] = (double)lanes[lane] + (double)lanes[lane + STATISTICS_LANES / 2];
    return fold(totals, STATISTICS_LANES / 2);
}

/* Of x[n], n at least 1. */
INLINED struct statistics chunk_statistics(const float *x, size_t n, float pivot)
{
    struct lane_sums sums = {0};
    const size_t whole = n - n % STATISTICS_LANES;
    for (size_t i = 0; i < whole; i += STATISTICS_LANES) {
        prefetch(x + i, STATISTICS_AHEAD, STATISTICS_LANES * sizeof *x);
        add_to_lanes(&sums, x + i, pivot);
    }

    if (whole < n) { /* the rest, filled up with pixels whose distance is 0 */
        float rest[STATISTICS_LANES];
        for (size_t lane = 0; lane < STATISTICS_LANES; lane++)
            rest[lane] = pivot;
        memcpy(rest, x + whole, (n - whole) * sizeof *rest);
        add_to_lanes(&sums, rest, pivot);
    }

    const double distance = lanes_total(sums.distance), square = lanes_total(sums.square);
    return (struct statistics){.n = (double)n,
                               .mean = (double)pivot + distance / (double)n,
                               .squares = square - distance * distance / (double)n};
}

/* The population's standard deviation. Rounding may leave a little less than nothing; a NaN stays
 * one. */
INLINED double deviation(struct statistics all)
{
    return all.squares < 0 ? 0 : sqrt(all.squares / all.n);
}

/* Of all values before and the next ones together. */
INLINED struct statistics join_statistics(struct statistics all, struct statistics next)
{
    const double step = next.mean - all.mean, joined = all.n + next.n;
    all.squares += next.squares + step * step * all.n * next.n / joined;
    all.mean += step * next.n / joined;
    all.n = joined;
    return all;
}

/* Of x[n], n at least 1 and at most STATISTICS_BLOCK. */
INLINED struct statistics block_statistics(const float *x, size_t n)
{
    const size_t first = n < STATISTICS_CHUNK ? n : STATISTICS_CHUNK;
    struct statistics all = chunk_statistics(x, first, x[0]);
    all = chunk_statistics(x, first, (float)all.mean); /* again, from a better pivot */
    for (size_t at = first; at < n; at += STATISTICS_CHUNK)
        all = join_statistics(
            all, chunk_statistics(x + at, n - at < STATISTICS_CHUNK ? n - at : STATISTICS_CHUNK,
                                  (float)all.mean));
    return all;
}

/* Of the block that begins at `at`. */
INLINED struct statistics block_at(const float *x, size_t n, size_t at)
{
    return block_statistics(x + at, n - at < STATISTICS_BLOCK ? n - at : STATISTICS_BLOCK);
}

/* Of x[n], n at least 1. Blocks could as well be done side by side, and joined in this order. */
INLINED struct statistics image_statistics(const float *x, size_t n)
{
    struct statistics all = block_at(x, n, 0);
    for (size_t at = STATISTICS_BLOCK; at < n; at += STATISTICS_BLOCK)
        all = join_statistics(all, block_at(x, n, at));
    return all;
}

#endif
