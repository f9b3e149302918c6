/* image.c - the notebook's image pipeline, stage by stage and fused.
 *
 * Why image_edges is fast:
 * - Less arithmetic. Blur and Sobel together are 5x5 filters, and both are built from sums and
 *   differences of neighbours. Let P be the image filtered with [1 3 3 1] along both axes; then,
 *   up to the factor 1/16, with the differences along the two diagonals of a 2x2 square of P
 *       u = P[y+1][x+1] - P[y][x]    v = P[y][x+1] - P[y+1][x]
 *   gx = u + v and gy = u - v, so gx^2 + gy^2 = 2 (u^2 + v^2): 15 operations for each pixel
 *   instead of 57. The mean cancels in u and v, and 1 / std is one common factor.
 * - Nothing is kept in memory. A block, LANES columns, is walked down, and what a row needs of the
 *   rows above it stays in registers. Only pixels are read, and only edges written, once each.
 *   What is left is close to what the square roots alone take.
 * - The memory is never idle. A walk down takes a cache line from each row, which no processor
 *   guesses; so lines are asked for by prefetches, also those that are about to be overwritten. A
 *   band of rows at a time: the next block finds the lines that two blocks share.
 * - Whole vectors. A rest of columns is not done one by one: the last block starts earlier and does
 *   a few columns again.
 */
#include "common/kernels/isa.h"
#include "common/kernels/kernels.h"
#include "common/kernels/statistics.h"
#include <math.h>
#include <string.h>

/* The fused filters. */

/* Pixels to a block: a vector of them in one register. */
#if defined __AVX512F__
    #define LANES 16
#elif defined __AVX2__
    #define LANES 8
#else
    #define LANES 4
#endif

#define BAND  24  /* rows of edges to a walk down: so many cache lines have room side by side */
#define AHEAD 256 /* bytes; the block that is so far on comes four or more walks later */

/* Where the block at `at` really starts, so that it ends within n columns. */
INLINED size_t block_start(size_t at, size_t n)
{
    return at + LANES <= n ? at : n - LANES;
}

/* Normalising, and the factor that is left of the filters. */
struct normal {
    float mean, scale, shift; /* shift: mean * scale */
};

/* Of a pixel and of a difference between two sums of pixels; together they make it
 * (x - mean) * scale. An FMA does both at once, and rounds once: with two roundings the mean must
 * be subtracted first, or a large one would leave nothing but rounding. So the FMA is asked for: to
 * make one of x * scale - shift is left to the compiler, and without optimization it makes none. */
#if defined __FP_FAST_FMAF || defined __FMA__ || defined __ARM_FEATURE_FMA
INLINED float normal_pixel(float x, struct normal normal)
{
    return __builtin_fmaf(x, normal.scale, -normal.shift);
}

INLINED float normal_difference(float difference, struct normal normal)
{
    (void)normal;
    return difference;
}
#else
INLINED float normal_pixel(float x, struct normal normal)
{
    return x - normal.mean;
}

INLINED float normal_difference(float difference, struct normal normal)
{
    return difference * normal.scale;
}
#endif

INLINED float binomial(float a, float b, float c, float d)
{
    return (a + d) + 3 * (b + c);
}

INLINED void normal_pixels(float *restrict out, const float *restrict in, struct normal normal)
{
#pragma omp simd
    for (size_t i = 0; i < LANES; i++)
        out[i] = normal_pixel(in[i], normal);
}

/* The row in[LANES+4], filtered across: LANES places from the first on, and from the second on.
 * So most places are computed twice, which is less than to write them to memory and to read them
 * again one further right. (In one loop GCC would take an FMA's result over from turn to turn, and
 * do one pixel after the other.) */
INLINED void filter_across(float *restrict first, float *restrict second, const float *restrict in,
                           struct normal normal)
{
    float a[LANES], b[LANES], c[LANES], d[LANES], e[LANES];
    normal_pixels(a, in, normal);
    normal_pixels(b, in + 1, normal);
    normal_pixels(c, in + 2, normal);
    normal_pixels(d, in + 3, normal);
    normal_pixels(e, in + 4, normal);
#pragma omp simd
    for (size_t i = 0; i < LANES; i++) {
        first[i] = binomial(a[i], b[i], c[i], d[i]);
        second[i] = binomial(b[i], c[i], d[i], e[i]);
    }
}

/* A row of P from the last four rows, filtered down; then the oldest of them is forgotten. */
INLINED void filter_down(float *restrict p, float (*restrict rows)[LANES])
{
#pragma omp simd
    for (size_t i = 0; i < LANES; i++) {
        p[i] = binomial(rows[0][i], rows[1][i], rows[2][i], rows[3][i]);
        rows[0][i] = rows[1][i];
        rows[1][i] = rows[2][i];
        rows[2][i] = rows[3][i];
    }
}

/* A block of columns, so many rows of edges down. */
INLINED void block_edges(float *restrict edges, const float *restrict image, struct normal normal,
                         size_t rows, size_t image_width, size_t edges_width)
{
    float first[4][LANES], second[4][LANES]; /* filtered across, the newest row last */
    float upper[2][LANES], lower[2][LANES];  /* rows of P: [0] goes with first, [1] with second */

    for (size_t y = 0; y < 4; y++)
        filter_across(first[y], second[y], image + y * image_width, normal);
    filter_down(upper[0], first);
    filter_down(upper[1], second);
    for (size_t y = 0; y < rows; y++) {
        const float *const in = image + (y + 4) * image_width;
        float *const out = edges + y * edges_width;
        prefetch(in, AHEAD, 64);
        prefetch(out, AHEAD, 64);
        filter_across(first[3], second[3], in, normal);
        filter_down(lower[0], first);
        filter_down(lower[1], second);
#pragma omp simd
        for (size_t i = 0; i < LANES; i++) {
            const float u = normal_difference(lower[1][i] - upper[0][i], normal);
            const float v = normal_difference(upper[1][i] - lower[0][i], normal);
            out[i] = sqrtf(u * u + v * v);
            upper[0][i] = lower[0][i];
            upper[1][i] = lower[1][i];
        }
    }
}

/* At least LANES columns of edges: a band of rows, block by block, then the next band. */
INLINED void wide_edges(float *restrict edges, const float *restrict image, struct normal normal,
                        size_t rows, size_t columns, size_t image_width)
{
    for (size_t y = 0; y < rows; y += BAND)
        for (size_t block = 0; block < columns; block += LANES) {
            const size_t x = block_start(block, columns);
            block_edges(edges + y * columns + x, image + y * image_width + x, normal,
                        rows - y < BAND ? rows - y : BAND, image_width, columns);
        }
}

/* An image too narrow for a block goes through a wider one, a band of rows at a time. */
INLINED void narrow_edges(float *restrict edges, const float *restrict image, struct normal normal,
                          size_t rows, size_t columns)
{
    const size_t width = columns + 4;
    float wide[BAND + 4][LANES + 4] = {{0}}, wide_edges[BAND][LANES];

    for (size_t y = 0; y < rows; y += BAND) {
        const size_t n = rows - y < BAND ? rows - y : BAND;
        for (size_t i = 0; i < n + 4; i++)
            memcpy(wide[i], image + (y + i) * width, width * sizeof *image);
        block_edges(wide_edges[0], wide[0], normal, n, LANES + 4, LANES);
        for (size_t i = 0; i < n; i++)
            memcpy(edges + (y + i) * columns, wide_edges[i], columns * sizeof *edges);
    }
}

/* Of an image that is large enough. */
INLINED void filter_image(float *edges, const float *image, double mean, double std, size_t height,
                          size_t width)
{
    /* Where all pixels are equal there are no edges; x * scale might not even be finite. */
    const double scale = std == 0 ? 0 : sqrt(2) / 16 / (std + 1e-8);
    const struct normal normal = {(float)mean, (float)scale, (float)(mean * scale)};
    if (width - 4 < LANES)
        narrow_edges(edges, image, normal, height - 4, width - 4);
    else
        wide_edges(edges, image, normal, height - 4, width - 4, width);
}

INLINED void fused_edges(float *edges, const float *image, size_t height, size_t width)
{
    const struct statistics all = image_statistics(image, height * width);
    filter_image(edges, image, all.mean, deviation(all), height, width);
}

int EACH_ISA(image_edges)(float *edges, const float *image, size_t height, size_t width,
                          struct error *error)
{
    if (image_check_size(height, width, error))
        return -1;
    fused_edges(edges, image, height, width);
    return 0;
}

int EACH_ISA(image_edges_batch)(float *edges, const float *images, size_t n, size_t height,
                                size_t width, struct error *error)
{
    if (image_check_size(height, width, error))
        return -1;
    for (size_t i = 0; i < n; i++)
        fused_edges(edges + i * (height - 4) * (width - 4), images + i * height * width, height,
                    width);
    return 0;
}

/* Blocks of the image side by side for mean and deviation, joined in their order; then a band of
 * rows of edges for each thread. Threads that are there for less than BAND_PIXELS cost more than
 * they bring. Both loops are dealt out alike from call to call, so a thread finds its part in its
 * cache. */
#define BAND_PIXELS ((size_t)1 << 16)

int EACH_ISA(image_edges_parallel)(float *edges, const float *image, size_t height, size_t width,
                                   int threads, struct error *error)
{
    if (image_check_size(height, width, error))
        return -1;
    const size_t pixels = height * width, most = pixels / BAND_PIXELS + 1;
    const int team = threads < 1 ? 1 : (size_t)threads < most ? threads : (int)most;
    const size_t rows = height - 4, columns = width - 4, bands = (size_t)team;
    struct statistics all = {0};
#pragma omp parallel num_threads(team) if (team > 1)
    {
#pragma omp for schedule(static, 1) ordered
        for (size_t at = 0; at < pixels; at += STATISTICS_BLOCK) {
            const struct statistics block = block_at(image, pixels, at);
#pragma omp ordered
            all = at == 0 ? block : join_statistics(all, block);
        }
#pragma omp for schedule(static, 1)
        for (size_t band = 0; band < bands; band++) {
            const size_t first = rows * band / bands, next = rows * (band + 1) / bands;
            if (first < next)
                filter_image(edges + first * columns, image + first * width, all.mean,
                             deviation(all), next - first + 4, width);
        }
    }
    return 0;
}

int EACH_ISA(image_edges_given)(float *edges, const float *image, double mean, double std,
                                size_t height, size_t width, struct error *error)
{
    if (image_check_size(height, width, error))
        return -1;
    filter_image(edges, image, mean, std, height, width);
    return 0;
}
