/* naive.c - the references: each as its formula says it, one step after the other, compiled once
 * and for no instruction set in particular. The fast versions are held against them.
 *
 * The image pipeline is compiled once more without vector instructions (KERNELS_SCALAR), as
 * image_edges_naive_scalar.
 */
#include "common/kernels/isa.h"
#include <math.h>

#ifdef KERNELS_SCALAR
    #define REFERENCE(name) EACH_ISA(name)
#else
    #define REFERENCE(name) name
#endif

/* ---- Images ---------------------------------------------------------------------------------- */

static void normalise(float *out, const float *x, size_t n)
{
    double total = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)x[i];
    const double mean = total / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    const double std = sqrt(squares / (double)n);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(((double)x[i] - mean) / (std + 1e-8));
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

int REFERENCE(image_edges_naive)(float *edges, const float *image, float *scratch, size_t height,
                                 size_t width, struct error *error)
{
    static const float gauss[3][3] = {{1 / 16.f, 2 / 16.f, 1 / 16.f},
                                      {2 / 16.f, 4 / 16.f, 2 / 16.f},
                                      {1 / 16.f, 2 / 16.f, 1 / 16.f}};
    static const float sobel_x[3][3] = {{-1, 0, 1}, {-2, 0, 2}, {-1, 0, 1}};
    static const float sobel_y[3][3] = {{-1, -2, -1}, {0, 0, 0}, {1, 2, 1}};

    if (image_check_size(height, width, error))
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

#ifndef KERNELS_SCALAR

/* ---- Samples --------------------------------------------------------------------------------- */

void clip_normalise_naive(float *out, const float *x, size_t n, int rounds)
{
    normalise(out, x, n);
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < n; i++)
            out[i] = out[i] > 3 ? 3 : out[i] < -3 ? -3 : out[i]; /* a NaN stays one */
        normalise(out, out, n);
    }
}

/* ---- Sums ------------------------------------------------------------------------------------ */

double sum_naive(const float *x, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += x[i];
    return total;
}

double sum_of_squares_naive(const float *x, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)x[i] * (double)x[i];
    return total;
}

/* C does not let the compiler change the order of additions in float, so this stays the chain of
 * single additions that it is. */
double sum_of_squares_float_naive(const float *x, size_t n)
{
    float total = 0;
    for (size_t i = 0; i < n; i++)
        total += x[i] * x[i];
    return (double)total;
}

/* (total - next) + square is what the addition lost where the total was the larger of the two. */
double sum_of_squares_exact(const float *x, size_t n)
{
    double total = 0, lost = 0;
    for (size_t i = 0; i < n; i++) {
        const double square = (double)x[i] * (double)x[i], next = total + square;
        lost += fabs(total) >= fabs(square) ? (total - next) + square : (square - next) + total;
        total = next;
    }
    return isfinite(lost) ? total + lost : total; /* infinity - infinity is lost for nothing */
}

/* ---- Products -------------------------------------------------------------------------------- */

double product_sum_naive(float *product, const float *x, size_t order)
{
    for (size_t i = 0; i < order; i++)
        for (size_t j = 0; j < order; j++) {
            double dot = 0;
            for (size_t k = 0; k < order; k++)
                dot += (double)x[i * order + k] * (double)x[j * order + k];
            product[i * order + j] = (float)dot;
        }
    return sum_naive(product, order * order);
}

void product_naive(double *restrict product, const double *a, const double *b, size_t rows,
                   size_t inner, size_t columns)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            double dot = 0;
            for (size_t k = 0; k < inner; k++)
                dot += a[i * inner + k] * b[k * columns + j];
            product[i * columns + j] = dot;
        }
}

#endif
