/* roof.h - what the machine can do at most: arithmetic, square roots, memory.
 *
 * A kernel can be no faster than its most wanted resource allows. These functions want one
 * resource each and next to nothing else, do a stated number of operations, and measure nothing:
 * whoever calls one divides that number by the time. They run with the instruction set that the
 * other fast kernels run with (kernels_isa), so the roof is that of the code, not of the processor.
 * Each returns or stores something that depends on all of its work, or the compiler would leave
 * the work out. The roof of kernels that read is read_all, in kernels.h.
 *
 * The idea is the roofline model: Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009.
 */
#ifndef KERNELS_ROOF_H
#define KERNELS_ROOF_H

#include <stddef.h>

/* Multiplies and adds in independent chains: 2 * lanes * rounds operations. `lanes` is one of
 * fma_chain_lanes[], each right for registers of one width: too few wait for each other, too many
 * do not fit into the registers. So the roof is the best of them. `factor` is the multiplier,
 * between -1 and 1, so that the chains stay finite; the result is the sum of the lanes. */
#define FMA_CHAINS       12
#define FMA_CHAIN_WIDTHS 3
extern const size_t fma_chain_lanes[FMA_CHAIN_WIDTHS];
float fma_chain(float factor, size_t lanes, size_t rounds);

/* roots[i] = sqrtf(x[i]): n square roots. Small arrays are kept in the cache, and then the square
 * roots are what takes the time. */
void square_roots(float *roots, const float *x, size_t n);

/* copy[i] = x[i]: reads 4 n bytes and writes 4 n, with ordinary stores, for which a processor first
 * reads what it is about to overwrite: 12 n bytes in all. (memcpy may do without that for large n,
 * but only one who writes and does not compute can.) The arrays do not overlap. */
void copy_all(float *copy, const float *x, size_t n);

#endif
