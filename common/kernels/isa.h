/* isa.h - private to the kernels: one source, several instruction sets, one of them in use.
 *
 * Meson compiles the files that have fast kernels once for each level of the architecture: `base`,
 * what each of its processors can do, and for x86-64 also `v3` (AVX2 and FMA: vectors of 8 floats)
 * and `v4` (AVX-512: 16). A kernel that is defined as
 *     double EACH_ISA(sum)(const float *x, size_t n)
 * becomes sum_base, sum_v3 and sum_v4. isa.c defines the `sum` that everybody calls, which passes
 * each call on to the level in use. Another fast kernel takes two things: EACH_ISA about its name,
 * and a line in FAST_KERNELS. Functions that it calls are static, best INLINED; what is public and
 * not fast, the naive references above all, is in a file that is compiled once.
 *
 * image.c and naive.c are compiled for a level `scalar` as well, without vector instructions. It is
 * never in use: image_edges_scalar and image_edges_naive_scalar are called by these names.
 */
#ifndef KERNELS_ISA_H
#define KERNELS_ISA_H

#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "common/kernels/roof.h"

/* KERNEL(result, name, parameters, arguments); the declarations for all others are in kernels.h and
 * cnn.h. */
#define FAST_KERNELS(KERNEL)                                                                       \
    KERNEL(double, sum, (const float *x, size_t n), (x, n))                                        \
    KERNEL(double, sum_of_squares, (const float *x, size_t n), (x, n))                             \
    KERNEL(double, sum_of_squares_float, (const float *x, size_t n), (x, n))                       \
    KERNEL(uint64_t, read_all, (const float *x, size_t n), (x, n))                                 \
    KERNEL(float, fma_chain, (float factor, size_t lanes, size_t rounds), (factor, lanes, rounds)) \
    KERNEL(void, square_roots, (float *restrict roots, const float *restrict x, size_t n),         \
           (roots, x, n))                                                                          \
    KERNEL(void, copy_all, (float *restrict copy, const float *restrict x, size_t n),              \
           (copy, x, n))                                                                           \
    KERNEL(int, image_edges,                                                                       \
           (float *edges, const float *image, size_t height, size_t width, struct error *error),   \
           (edges, image, height, width, error))                                                   \
    KERNEL(int, image_edges_given,                                                                 \
           (float *edges, const float *image, double mean, double std, size_t height,              \
            size_t width, struct error *error),                                                    \
           (edges, image, mean, std, height, width, error))                                        \
    KERNEL(int, image_edges_batch,                                                                 \
           (float *edges, const float *images, size_t n, size_t height, size_t width,              \
            struct error *error),                                                                  \
           (edges, images, n, height, width, error))                                               \
    KERNEL(int, image_edges_parallel,                                                              \
           (float *edges, const float *image, size_t height, size_t width, int threads,            \
            struct error *error),                                                                  \
           (edges, image, height, width, threads, error))                                          \
    KERNEL(void, clip_normalise, (float *out, const float *x, size_t n, int rounds),               \
           (out, x, n, rounds))                                                                    \
    KERNEL(void, augment,                                                                          \
           (float *out, const float *image, const uint64_t *words, size_t height, size_t width),   \
           (out, image, words, height, width))                                                     \
    KERNEL(void, cnn_forward_packed,                                                               \
           (float *logits, const struct cnn_packed *packed, const float *images, size_t n),        \
           (logits, packed, images, n))                                                            \
    KERNEL(void, cnn_conv2_packed,                                                                 \
           (float *features, const struct cnn_packed *packed, const float *pooled),                \
           (features, packed, pooled))                                                             \
    KERNEL(void, cnn_fully_connected,                                                              \
           (float *restrict logits, const float *restrict features,                                \
            const float(*restrict weights)[CNN_CLASSES], size_t n),                                \
           (logits, features, weights, n))

/* name_level, for the KERNELS_LEVEL that the file is compiled for */
#define EACH_ISA(name)         ISA_JOIN(name, KERNELS_LEVEL)
#define ISA_JOIN(name, level)  ISA_JOIN_(name, level)
#define ISA_JOIN_(name, level) name##_##level

#define INLINED static inline __attribute__((always_inline))

/* For `#pragma GCC unroll`: all turns of a short loop. But not under AddressSanitizer: with its
 * checks of each access the compiler would take minutes. */
#ifdef __SANITIZE_ADDRESS__
enum { ALL_TURNS = 1 };
#else
enum { ALL_TURNS = 16 };
#endif

/* So that a definition that does not fit its line in FAST_KERNELS is an error. */
#ifdef KERNELS_LEVEL
    /* NOLINTNEXTLINE(bugprone-macro-parentheses): parameters have theirs */
    #define ISA_DECLARE(result, name, parameters, arguments) result EACH_ISA(name) parameters;
FAST_KERNELS(ISA_DECLARE)
#endif

/* Asks for the cache lines of `bytes` bytes that lie `ahead` bytes further on. The processor
 * fetches ahead by itself, but stops at the end of each page, and the more instructions there are
 * to a cache line, the fewer lines it has asked for at a time. Where there is no memory a prefetch
 * does nothing. */
INLINED void prefetch(const void *at, unsigned long ahead, unsigned long bytes)
{
    const unsigned long from = (unsigned long)at + ahead;
    for (unsigned long line = 0; line < bytes; line += 64)
        __builtin_prefetch((const void *)(from + line));
}

/* The sum of lanes[n]: the upper half onto the lower, until one is left. Additions that wait for
 * nobody, always in this order. n is a power of 2, at most 128. */
INLINED double fold(double *lanes, size_t n)
{
#pragma GCC unroll ALL_TURNS
    for (size_t half = n / 2; half > 0; half /= 2)
        for (size_t lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return lanes[0];
}

INLINED float fold_floats(float *lanes, size_t n)
{
#pragma GCC unroll ALL_TURNS
    for (size_t half = n / 2; half > 0; half /= 2)
        for (size_t lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return lanes[0];
}

/* ---- layout.c -------------------------------------------------------------------------------- */

/* Is it at least IMAGE_MIN_SIZE each way? Else -1 with *error. */
int image_check_size(size_t height, size_t width, struct error *error);

#endif
