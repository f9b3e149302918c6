/* roof.c - the fastest that any reduction of so many bytes can be: to read them.
 *
 * An addition of integers is one instruction to a load, and the sum keeps the compiler from leaving
 * the loads out. Two streams and prefetching help it as they help sum_of_squares.
 */
#include "common/kernels/roof.h"
#include "common/kernels/isa.h"
#include "common/kernels/kernels.h"
#include <math.h>
#include <string.h>

#define LANES 32 /* words: four vectors of AVX-512 */
#define FEW   8
#define PAGE  4096 /* bytes */

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
    const size_t whole = n / 2, half = whole / LANES / 2 * LANES;
    for (size_t i = 0; i < half; i += LANES) {
        prefetch(words + i, PAGE, LANES * sizeof *words);
        prefetch(words + half + i, PAGE, LANES * sizeof *words);
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

/* ---- The other roofs, see roof.h ------------------------------------------------------------ */

/* An FMA takes 4 cycles and 2 begin in each: 8 chains at least; 16 registers at most. */
#define CHAINS ((size_t)FMA_CHAINS)

/* Where this is inlined `width` is a constant, and each chain has a register of that many lanes. */
INLINED float chains(float factor, size_t width, size_t rounds)
{
    float sums[CHAINS][16];
    for (size_t chain = 0; chain < CHAINS; chain++)
        for (size_t lane = 0; lane < width; lane++)
            sums[chain][lane] = (float)(chain * width + lane);
    for (size_t round = 0; round < rounds; round++)
#pragma GCC unroll 12
        for (size_t chain = 0; chain < CHAINS; chain++)
#pragma omp simd
            for (size_t lane = 0; lane < width; lane++)
                sums[chain][lane] = sums[chain][lane] * factor + factor;
    float total = 0;
    for (size_t chain = 0; chain < CHAINS; chain++)
        for (size_t lane = 0; lane < width; lane++)
            total += sums[chain][lane];
    return total;
}

float EACH_ISA(fma_chain)(float factor, size_t lanes, size_t rounds)
{
    return lanes == CHAINS * 4   ? chains(factor, 4, rounds)
           : lanes == CHAINS * 8 ? chains(factor, 8, rounds)
                                 : chains(factor, 16, rounds);
}

void EACH_ISA(square_roots)(float *restrict roots, const float *restrict x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        roots[i] = sqrtf(x[i]);
}

/* In pieces, each after a prefetch of what follows: a plain loop would be turned into memcpy. What
 * is overwritten is fetched ahead as well: stores wait for their lines, and the few that can wait
 * at a time would leave the memory idle. */
void EACH_ISA(copy_all)(float *restrict copy, const float *restrict x, size_t n)
{
    const size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        prefetch(x + i, PAGE, LANES * sizeof *x);
        prefetch(copy + i, PAGE, LANES * sizeof *x);
#pragma omp simd
        for (size_t lane = 0; lane < LANES; lane++)
            copy[i + lane] = x[i + lane];
    }
    for (size_t i = whole; i < n; i++)
        copy[i] = x[i];
}
