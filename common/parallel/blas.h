/* blas.h - whose BLAS this program was started with, and how many threads it uses.
 *
 * The programs are linked against OpenBLAS, but who starts one may put another BLAS before it
 * (LD_PRELOAD), and OpenBLAS comes built on threads of its own or on OpenMP's. How a BLAS adds
 * depends on how many threads share a product, so where results shall be equal to the last bit
 * every process has to say how many, here and nowhere else.
 */
#ifndef PARALLEL_BLAS_H
#define PARALLEL_BLAS_H

#include <stdbool.h>
#include <stddef.h>

/* From now on a product that the calling thread asks for is shared out among so many threads. One
 * that is asked for within an OpenMP region stays with the thread that asks.
 * OpenBLAS on OpenMP takes at each product what omp_set_num_threads said last, whatever it was told
 * itself (0.3.29), so there that is said as well; a region with num_threads(n) does not mind.
 * Another BLAS may have no such function: environment.c of the lesson starts it with one thread. */
void blas_set_threads(int threads);

/* How many it says that it uses; worth asking after a product, not before. 0: it does not say. */
int blas_threads(void);

/* "OpenBLAS 0.3.21", "BLIS 0.9.0", "ATLAS", "reference BLAS", ..., or the name of the file that it
 * was loaded from. */
void blas_name(char *name, size_t size);

bool blas_is_openblas(void);

#endif
