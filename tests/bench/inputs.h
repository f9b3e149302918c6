/* inputs.h - the inputs of the cases, the same for all contenders, and what must come out.
 *
 * Each case has a directory of raw arrays, native byte order: x, y, weights (float32), and the
 * reference, computed in float64 by loops as the formula is written.
 *
 *   image   height width   x[height][width]; reference[height-4][width-4]
 *   cnn     images 0       x[images][28][28], weights (struct cnn_weights); reference[images][10]
 *   conv2   0 0            x[16][14][14], weights; reference[32][12][12] with relu,
 *                          pooled[32][6][6] with relu and pool
 *   squares n 0            x[n]; reference[1], the sum of the squares
 *   product order 0        x[order][order], y[order][order]; reference: the first rows of the
 * product randn   n 0            reference[n]: ours, which NumPy's must equal
 */
#ifndef BENCH_INPUTS_H
#define BENCH_INPUTS_H

#include <stddef.h>

/* 0, or -1 after a line on standard error. */
int inputs_write(const char *name, const size_t size[2], const char *directory);

#endif
