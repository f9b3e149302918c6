/* random.h - NumPy's legacy random numbers (np.random.seed, randn, permutation), bit for bit; and
 * its Philox, whose numbers need no order.
 *
 * The generator is MT19937 seeded with Knuth's linear congruential fill; normal deviates come
 * from the polar method, two at a time, the second of a pair cached, in the order NumPy's legacy
 * RandomState returns them. So an experiment written with np.random.seed(42) has the same inputs
 * here. Source of the algorithms: Matsumoto and Nishimura, "Mersenne Twister" (1998); Marsaglia's
 * polar method; numpy/random/mtrand.pyx and src/legacy/legacy-distributions.c.
 *
 * Compiled without floating-point contraction: one fused multiply-add would change last bits.
 */
#ifndef DATA_RANDOM_H
#define DATA_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_state {
    uint32_t key[624];
    int position; /* next word of key; 624: all used */
    int has_gauss;
    double gauss; /* the cached second value of a pair */
};

/* np.random.seed(seed). */
void random_seed(struct random_state *state, uint32_t seed);

/* The next 32 bits. */
uint32_t random_uint32(struct random_state *state);

/* np.random.random_sample(): uniform in [0, 1), 53 bits. */
double random_double(struct random_state *state);

/* np.random.randn(n): n standard normal values; _float rounds each, as .astype(np.float32). */
void random_normal(struct random_state *state, double *values, size_t n);
void random_normal_float(struct random_state *state, float *values, size_t n);

/* np.random.randn(n).astype(np.float32) * scale: each rounded to float32, then multiplied in
 * float32 (which is also what NumPy makes of a scale like 0.1). */
void random_normal_scaled(struct random_state *state, float *values, size_t n, float scale);

/* np.random.permutation(n): the numbers 0 .. n-1 in random order. */
void random_permutation(struct random_state *state, int64_t *values, size_t n);

/* np.random.Philox(key=key, counter=counter).random_raw(n): random bits from a counter instead of
 * a state. Any word of the stream can be had without those before it, so what is drawn for
 * (seed, epoch, sample) as key and counter is the same whoever draws it, in whatever order. The
 * lowest word of the counter, counter[0], counts blocks of four words.
 * Philox4x64-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
 * (2011); numpy/random/src/philox. */
void random_philox(uint64_t *words, size_t n, const uint64_t key[2], const uint64_t counter[4]);

#endif
