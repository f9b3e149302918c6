/* roof.c - the fastest that any reduction of so many bytes can be: to read them.
 *
 * An addition of integers is one instruction to a load, and the sum keeps the compiler from leaving
 * the loads out. Two streams and prefetching help it as they help sum_of_squares.
 */
#include "common/kernels/isa.h"
#include "common/kernels/kernels.h"
#include <string.h>

#define LANES 32 /* words: four vectors of AVX-512 */
#define FEW   8

/* A word where floats are. */
typedef uint64_t word __attribute__((may_alias, aligned(4)));

INLINED void add_words(uint64_t *restrict lanes, const word *restrict words, size_t n)
{
#pragma omp simd
    for (size_t lane = 0; lane < n; lane++)
        lanes[lane] += words[lane];
}

uint64_t EACH_ISA(read_all)(const float *x, size_t n)
{
    const word *const words = (const word *)(const void *)x;
    uint64_t first[LANES] = {0}, second[LANES] = {0}, last = 0;
    const size_t whole = n / 2, half = whole / (2 * LANES) * LANES;
    for (size_t i = 0; i < half; i += LANES) {
        prefetch(words + i, LANES * sizeof *words);
        prefetch(words + half + i, LANES * sizeof *words);
        add_words(first, words + i, LANES);
        add_words(second, words + half + i, LANES);
    }
    size_t done = 2 * half;
    for (; whole - done >= FEW; done += FEW)
        add_words(first, words + done, FEW);
    add_words(second, words + done, whole - done);
    if (n % 2)
        memcpy(&last, x + n - 1, sizeof *x);
    for (size_t lane = 0; lane < LANES; lane++)
        last += first[lane] + second[lane];
    return last;
}
