/* kernels.h - the numerical work of the chapters: pure functions, one core each.
 *
 * Outputs first, inputs next, sizes last. Where there is a fast version, the one that ends in
 * _naive is its readable reference: one step after the other, as the formula is written; a test
 * holds the two together. No kernel allocates, prints, forks or keeps state.
 *
 * The fast versions exist once for each instruction set that the compiler knows for the
 * architecture; from the start of a program on, the best that the machine can do is in use. How
 * they come about is told in isa.h.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "common/error.h"
#include <stddef.h>
#include <stdint.h>

/* The instruction set in use: "x86-64", "x86-64-v3" (AVX2, FMA), "x86-64-v4" (AVX-512); elsewhere
 * there is one, "aarch64" for example. */
const char *kernels_isa(void);

/* Those that the machine can do, from the lowest (0) on; NULL past the last. */
const char *kernels_isa_name(size_t level);

/* Chooses one of them by its name, or in short: "v3"; "baseline" is the lowest. Returns 0, or -1
 * with ERROR_INVALID and a message that lists them. To be called before there are threads;
 * processes that share a computation must make the same choice. With another instruction set a
 * result may differ in its last bits: FMA rounds once where two instructions round twice. */
int kernels_use_isa(const char *name, struct error *error);

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

/* Matrix product in double, np.dot(a, b): product[rows][columns] from a[rows][inner] and
 * b[inner][columns], one row after the other. The fast version is a BLAS call (cblas_dgemm), with
 * as many threads as BLAS is set to; how it adds, and so the last bits, may depend on how many
 * these are and on rows. */
void product_naive(double *product, const double *a, const double *b, size_t rows, size_t inner,
                   size_t columns);
void product(double *product, const double *a, const double *b, size_t rows, size_t inner,
             size_t columns);

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

/* The same when the image's mean and standard deviation are known: the filters alone. A deviation
 * of 0 says that all pixels are equal. */
int image_edges_given(float *edges, const float *image, double mean, double std, size_t height,
                      size_t width, struct error *error);

/* The same for a batch: edges[n][height-4][width-4] of images[n][height][width] in one call, the
 * same bits for each image. */
int image_edges_batch(float *edges, const float *images, size_t n, size_t height, size_t width,
                      struct error *error);

/* The same for one large image, by up to so many OpenMP threads (fewer for a small image); the same
 * bits whatever their number. */
int image_edges_parallel(float *edges, const float *image, size_t height, size_t width, int threads,
                         struct error *error);

/* image_edges_naive and image_edges once more, compiled without vector instructions: what the
 * better algorithm brings by itself. (image_edges_naive has vector instructions wherever the
 * compiler found a place for them.) */
int image_edges_naive_scalar(float *edges, const float *image, float *scratch, size_t height,
                             size_t width, struct error *error);
int image_edges_scalar(float *edges, const float *image, size_t height, size_t width,
                       struct error *error);

/* The preprocessing of the notebook's section 4.1, for one sample of n values.
 *
 * out[n] = x[n], normalised, and then `rounds` times clipped and normalised again:
 *   normalise  (x - mean) / (std + 1e-8)     std of the population, as NumPy's
 *   clip       to -3 .. 3
 * A constant sample becomes all 0; a NaN or an infinity makes every value a NaN, as in NumPy. The
 * squares of values beyond 1e18 do not fit into a float. out may be x; n may be 0. */
void clip_normalise_naive(float *out, const float *x, size_t n, int rounds);

/* Each clip, the normalising before it and the sums for the one after it in one pass, with vector
 * instructions; agrees with the naive version to 1e-5. The same values give the same bits wherever
 * they lie in memory. */
void clip_normalise(float *out, const float *x, size_t n, int rounds);

/* A sample made a little different, at random: moved by up to 1/16 of its height and width (what
 * comes in from outside is 0), mirrored or not, and noise of standard deviation 0.1 added.
 *
 * words[augment_words(height, width)] are random bits: [0] decides about moving and mirroring, each
 * further one is a pixel's noise: the sum of its four 16-bit parts, which is nearly normal.
 * out[height][width] must not overlap image[height][width]. */
size_t augment_words(size_t height, size_t width);
void augment(float *out, const float *image, const uint64_t *words, size_t height, size_t width);

#endif
