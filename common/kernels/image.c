/* image.c - the notebook's image pipeline, stage by stage and fused.
 *
 * Why image_edges is fast:
 * - Less arithmetic. Blur and Sobel together are 5x5 filters, and both are built from sums and
 *   differences of neighbours. Let P be the image filtered with [1 3 3 1] along both axes; then,
 *   up to the factor 1/16, with the differences along the two diagonals of a 2x2 square of P
 *       u = P[y+1][x+1] - P[y][x]    v = P[y][x+1] - P[y+1][x]
 *   gx = u + v and gy = u - v, so gx^2 + gy^2 = 2 (u^2 + v^2): 15 operations for each pixel
 *   instead of 57. The mean cancels in u and v, and 1 / std is one common factor.
 * - Less memory traffic. Each pixel is read once for the mean and once for the filters; only six
 *   rows of a strip of columns are kept between, and they stay in the first-level cache.
 * - Whole vectors. Rows are worked on in blocks of LANES pixels. A rest is not done one by one:
 *   the last block starts earlier and does a few pixels again.
 */
#include "common/kernels/isa.h"
#include "common/kernels/kernels.h"
#include "common/kernels/statistics.h"
#include <math.h>
#include <string.h>

static int check_size(size_t height, size_t width, struct error *error)
{
    if (height < IMAGE_MIN_SIZE || width < IMAGE_MIN_SIZE)
        return error_set(error, ERROR_INVALID,
                         "an image of %zux%zu pixels has no edges: height and width must be at "
                         "least %d",
                         height, width, IMAGE_MIN_SIZE);
    return 0;
}

/* The reference: one stage after the other. */

static void normalise(float *restrict out, const float *restrict image, size_t pixels)
{
    double total = 0, squares = 0;
    for (size_t i = 0; i < pixels; i++)
        total += (double)image[i];
    const double mean = total / (double)pixels;
    for (size_t i = 0; i < pixels; i++)
        squares += ((double)image[i] - mean) * ((double)image[i] - mean);
    const double std = sqrt(squares / (double)pixels);
    for (size_t i = 0; i < pixels; i++)
        out[i] = (float)(((double)image[i] - mean) / (std + 1e-8));
}

/* out[height-2][width-2]: each pixel's 3x3 neighbourhood, weighted. */
static void correlate(float *restrict out, const float *restrict in, const float weight[3][3],
                      size_t height, size_t width)
{
    for (size_t y = 0; y + 2 < height; y++)
        for (size_t x = 0; x + 2 < width; x++) {
            float total = 0;
            for (size_t i = 0; i < 3; i++)
                for (size_t j = 0; j < 3; j++)
                    total += weight[i][j] * in[(y + i) * width + x + j];
            out[y * (width - 2) + x] = total;
        }
}

size_t ONCE(image_edges_naive_scratch)(size_t height, size_t width)
{
    if (height < IMAGE_MIN_SIZE || width < IMAGE_MIN_SIZE)
        return 0;
    return height * width + (height - 2) * (width - 2) + 2 * (height - 4) * (width - 4);
}

int ONCE(image_edges_naive)(float *edges, const float *image, float *scratch, size_t height,
                            size_t width, struct error *error)
{
    static const float gauss[3][3] = {{1 / 16.f, 2 / 16.f, 1 / 16.f},
                                      {2 / 16.f, 4 / 16.f, 2 / 16.f},
                                      {1 / 16.f, 2 / 16.f, 1 / 16.f}};
    static const float sobel_x[3][3] = {{-1, 0, 1}, {-2, 0, 2}, {-1, 0, 1}};
    static const float sobel_y[3][3] = {{-1, -2, -1}, {0, 0, 0}, {1, 2, 1}};

    if (check_size(height, width, error))
        return -1;
    const size_t pixels = (height - 4) * (width - 4);
    float *const normalised = scratch;
    float *const blurred = normalised + height * width;
    float *const gx = blurred + (height - 2) * (width - 2);
    float *const gy = gx + pixels;

    normalise(normalised, image, height * width);
    correlate(blurred, normalised, gauss, height, width);
    correlate(gx, blurred, sobel_x, height - 2, width - 2);
    correlate(gy, blurred, sobel_y, height - 2, width - 2);
    for (size_t i = 0; i < pixels; i++)
        edges[i] = sqrtf(gx[i] * gx[i] + gy[i] * gy[i]);
    return 0;
}

/* The fused filters. */

#define LANES      16  /* pixels to a block: one vector of AVX-512, two of AVX2 */
#define STRIP      512 /* columns of edges done together */
#define STRIP_ROWS (STRIP + LANES)

/* Where the block at `at` really starts, so that it ends within n columns. */
INLINED size_t block_start(size_t at, size_t n, size_t block)
{
    return at + block <= n ? at : n - block;
}

/* out[n]: [1 3 3 1] along a row image[n+3], of which the mean is taken away first. */
INLINED void filter_across(float *restrict out, const float *restrict image, float mean,
                           float scale, size_t n)
{
    for (size_t block = 0; block < n; block += LANES) {
        const size_t x = block_start(block, n, LANES);
        const float *const in = image + x;
#pragma omp simd
        for (size_t i = 0; i < LANES; i++)
            out[x + i] = scale * ((in[i] - mean) + (in[i + 3] - mean)) +
                         3 * scale * ((in[i + 1] - mean) + (in[i + 2] - mean));
    }
}

/* out[n]: [1 3 3 1] down the columns of four rows. */
INLINED void filter_down(float *restrict out, const float *restrict row0,
                         const float *restrict row1, const float *restrict row2,
                         const float *restrict row3, size_t n)
{
    for (size_t block = 0; block < n; block += LANES) {
        const size_t x = block_start(block, n, LANES);
#pragma omp simd
        for (size_t i = x; i < x + LANES; i++)
            out[i] = (row0[i] + row3[i]) + 3 * (row1[i] + row2[i]);
    }
}

/* edges[n] from two rows of P[n+1]. */
INLINED void magnitude(float *restrict edges, const float *restrict upper,
                       const float *restrict lower, size_t n)
{
    for (size_t block = 0; block < n; block += LANES) {
        const size_t x = block_start(block, n, LANES);
#pragma omp simd
        for (size_t i = x; i < x + LANES; i++) {
            const float u = lower[i + 1] - upper[i], v = upper[i + 1] - lower[i];
            edges[i] = sqrtf(u * u + v * v);
        }
    }
}

/* A strip of n columns of edges, at least LANES and at most STRIP, and all its rows. */
INLINED void strip_edges(float *restrict edges, const float *restrict image, float mean,
                         float scale, size_t height, size_t image_width, size_t edges_width,
                         size_t n)
{
    _Alignas(64) float across[4][STRIP_ROWS]; /* of the image's rows y-3 .. y; y is in y % 4 */
    _Alignas(64) float p[2][STRIP_ROWS];      /* rows of P, the newest in y % 2 */

    for (size_t y = 0; y < height; y++) {
        filter_across(across[y % 4], image + y * image_width, mean, scale, n + 1);
        if (y >= 3)
            filter_down(p[y % 2], across[(y - 3) % 4], across[(y - 2) % 4], across[(y - 1) % 4],
                        across[y % 4], n + 1);
        if (y >= 4)
            magnitude(edges + (y - 4) * edges_width, p[(y - 1) % 2], p[y % 2], n);
    }
}

/* An image too narrow for a block goes through a wider one, a band of rows at a time. */
#define BAND 32

INLINED void narrow_edges(float *restrict edges, const float *restrict image, float mean,
                          float scale, size_t height, size_t width)
{
    float wide[BAND][LANES + 4] = {0}, wide_edges[BAND - 4][LANES];
    const size_t columns = width - 4;

    for (size_t y = 0; y < height - 4; y += BAND - 4) {
        const size_t rows = height - y < BAND ? height - y : BAND;
        for (size_t i = 0; i < rows; i++)
            memcpy(wide[i], image + (y + i) * width, width * sizeof *image);
        strip_edges(wide_edges[0], wide[0], mean, scale, rows, LANES + 4, LANES, LANES);
        for (size_t i = 0; i < rows - 4; i++)
            memcpy(edges + (y + i) * columns, wide_edges[i], columns * sizeof *edges);
    }
}

/* Of an image that is large enough. */
INLINED void filter_image(float *edges, const float *image, double mean, double std, size_t height,
                          size_t width)
{
    const float pivot = (float)mean, scale = (float)(sqrt(2) / 16 / (std + 1e-8));
    const size_t columns = width - 4;
    if (columns < LANES) {
        narrow_edges(edges, image, pivot, scale, height, width);
        return;
    }
    /* Strips of equal width; the last one starts earlier, as the last block of a row does. */
    const size_t strips = (columns + STRIP - 1) / STRIP, n = (columns + strips - 1) / strips;
    for (size_t strip = 0; strip < strips; strip++) {
        const size_t x = block_start(strip * n, columns, n);
        strip_edges(edges + x, image + x, pivot, scale, height, width, columns, n);
    }
}

INLINED void fused_edges(float *edges, const float *image, size_t height, size_t width)
{
    const struct statistics all = image_statistics(image, height * width);
    filter_image(edges, image, all.mean, deviation(all), height, width);
}

int EACH_ISA(image_edges)(float *edges, const float *image, size_t height, size_t width,
                          struct error *error)
{
    if (check_size(height, width, error))
        return -1;
    fused_edges(edges, image, height, width);
    return 0;
}

int EACH_ISA(image_edges_batch)(float *edges, const float *images, size_t n, size_t height,
                                size_t width, struct error *error)
{
    if (check_size(height, width, error))
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
    if (check_size(height, width, error))
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
    if (check_size(height, width, error))
        return -1;
    filter_image(edges, image, mean, std, height, width);
    return 0;
}
