/* random_shapes.h - trials: a kernel on arrays of random size, place and content.
 *
 * What belongs to a trial follows from its seed, which is fixed. A failure names the kernel, the
 * instruction set, the seed and the shape, and ends the test.
 *
 * Arrays begin 0 to 16 elements after a border of 64 bytes. Before them lie NaNs; behind them NaNs
 * too, or the end of the heap block, which AddressSanitizer watches. A kernel that reads them gives
 * a NaN, one that writes them is found by trial_check_guards.
 */
#ifndef TESTS_RANDOM_SHAPES_H
#define TESTS_RANDOM_SHAPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins a trial with its seed; ends it: all guards are looked at, all arrays freed. */
void trial_begin(uint64_t seed);
void trial_end(void);

/* What a failure shall say of the trial. */
__attribute__((format(printf, 1, 2))) void trial_shape(const char *format, ...);

/* Random numbers: a word; 0 .. n-1; (0, 1); nearly normal ones. */
uint64_t trial_word(void);
size_t trial_below(size_t n);
double trial_uniform(void);
double trial_normal(void);

/* Arrays of n elements, all NaN; _aligned ones begin on the border, where a kernel asks for it. */
float *trial_floats(size_t n);
float *trial_aligned_floats(size_t n);
double *trial_doubles(size_t n);

/* Values of one of a few kinds, with a mean of up to 1e5, a random sign, and some deviation. */
void trial_fill(float *x, size_t n);

/* The level-th of the machine's instruction sets, from 0 on; false past the last. */
bool trial_use_isa(size_t level);

/* The checks: of one number; of n, each within `tolerance` of 1 + its size, and of the guards, and
 * makes the n NaN again for the next kernel; of anything; of the guards alone. */
void trial_check(const char *kernel, size_t at, double got, double expected, double allowed);
void trial_check_all(const char *kernel, float *got, const double *expected, size_t n,
                     double tolerance);
void trial_check_that(bool condition, const char *kernel, const char *what);
void trial_check_guards(const char *kernel);

#endif
