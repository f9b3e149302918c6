/* kernels.h - the numerical work of the chapters: pure functions, one core each.
 *
 * Outputs first, inputs next, sizes last. Where there is a fast version, the one that ends in
 * _naive is its readable reference: one step after the other, as the formula is written; a test
 * holds the two together. No kernel allocates, prints, forks or keeps state.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "common/error.h"
#include <stddef.h>
#include <stdint.h>

/* The instruction set the fast kernels run with on this machine: "x86-64-v4", "aarch64", ... */
const char *kernels_isa(void);

/* Sum of x[n], accumulated in double; by the fast version in an order that depends on n only. */
double sum_naive(const float *x, size_t n);
double sum(const float *x, size_t n);

/* Sum of the squares of x[n], accumulated in double, in which each square is exact; by the fast
 * version, as for sum, in an order that depends on n only. */
double sum_of_squares_naive(const float *x, size_t n);
double sum_of_squares(const float *x, size_t n);

/* The same in float, to be compared: squares and totals are rounded to 24 bits, so the result is
 * the value of a float. The naive version
 * has one accumulator: once it is large, a small square hardly changes it, or not at all. The
 * other has SUM_OF_SQUARES_FLOAT_LANES, which stay smaller, in an order that depends on n only. */
#define SUM_OF_SQUARES_FLOAT_LANES 128
double sum_of_squares_float_naive(const float *x, size_t n);
double sum_of_squares_float(const float *x, size_t n);

/* The same to the last bit or nearly: what the rounding of each addition takes away is added up as
 * well. Neumaier, Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, 1974. */
double sum_of_squares_exact(const float *x, size_t n);

/* Reads x[n] and does next to nothing with it: the sum of its 64-bit words, modulo 2^64 (what is
 * less than a word, as if zeros followed). The roof for all that reads so many bytes: measured with
 * the same bytes in the same place and as many workers, it says how fast they can be had. */
uint64_t read_all(const float *x, size_t n);

/* Sum of all elements of x . x^T for a square matrix x[order][order]: np.sum(np.dot(x, x.T)).
 * product[order][order] receives x . x^T in float32; it is the caller's. The fast version is a
 * BLAS call (cblas_sgemm), with as many threads as BLAS is set to; the sum is taken in double. */
double product_sum_naive(float *product, const float *x, size_t order);
double product_sum(float *product, const float *x, size_t order);

/* The image pipeline of the notebook's Part 3.
 *
 * edges[height-4][width-4] = |gradient| of the blurred, normalised image[height][width]:
 *   normalise  (image - mean) / (std + 1e-8)            std of the population, as NumPy's
 *   blur       3x3 Gauss [1 2 1; 2 4 2; 1 2 1] / 16     valid: the border is cut off
 *   Sobel      3x3, horizontal and vertical             valid
 *   magnitude  sqrt(gx^2 + gy^2)
 * A constant image has no edges (all 0); a NaN or an infinity among the pixels makes every edge a
 * NaN, as in NumPy. The squares of pixels beyond 1e18 do not fit into a float.
 * Returns 0, or -1 with ERROR_INVALID when height or width is below IMAGE_MIN_SIZE. */
#define IMAGE_MIN_SIZE 5

/* One pass per stage. scratch: image_edges_naive_scratch(height, width) floats, the caller's. */
size_t image_edges_naive_scratch(size_t height, size_t width);
int image_edges_naive(float *edges, const float *image, float *scratch, size_t height, size_t width,
                      struct error *error);

/* All stages in one pass over the image, a few rows at a time; agrees with the naive version to
 * 1e-5 even where the mean is large against the spread. Needs no scratch. The same image gives the
 * same bits wherever it lies in memory. */
int image_edges(float *edges, const float *image, size_t height, size_t width, struct error *error);

/* The same when the image's mean and standard deviation are known: the filters alone. */
int image_edges_given(float *edges, const float *image, double mean, double std, size_t height,
                      size_t width, struct error *error);

#endif
