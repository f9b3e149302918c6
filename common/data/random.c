/* random.c - NumPy's random numbers (random.h, which names the sources). The order of operations is
 * NumPy's, since the last bit depends on it; what may differ is how many words are made at a time.
 */
#include "common/data/random.h"
#include <math.h>

enum { N = 624, M = 397 }; /* words of state; distance of the recurrence's other term */

void random_seed(struct random_state *state, uint32_t seed)
{
    for (uint32_t i = 0; i < N; i++) {
        state->key[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
    state->position = N;
    state->has_gauss = 0;
    state->gauss = 0.0;
}

/* One step of the recurrence: the top bit of `word` and the low bits of the next one, twisted. */
static inline uint32_t twist(uint32_t word, uint32_t next, uint32_t other)
{
    const uint32_t y = (word & 0x80000000u) | (next & 0x7fffffffu);
    return other ^ (y >> 1) ^ (-(y & 1u) & 0x9908b0dfu);
}

/* All N words anew. The index i + M wraps; two loops instead of a modulo let both vectorise. */
static void refill(struct random_state *state)
{
    uint32_t *const key = state->key;
    for (int i = 0; i < N - M; i++)
        key[i] = twist(key[i], key[i + 1], key[i + M]);
    for (int i = N - M; i < N - 1; i++)
        key[i] = twist(key[i], key[i + 1], key[i + M - N]);
    key[N - 1] = twist(key[N - 1], key[0], key[M - 1]);
    state->position = 0;
}

static inline uint32_t next_uint32(struct random_state *state)
{
    if (state->position == N)
        refill(state);
    uint32_t y = state->key[state->position++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static inline double next_double(struct random_state *state)
{
    const uint32_t high = next_uint32(state) >> 5; /* 27 bits, drawn before the 26 low ones */
    const uint32_t low = next_uint32(state) >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

uint32_t random_uint32(struct random_state *state)
{
    return next_uint32(state);
}

double random_double(struct random_state *state)
{
    return next_double(state);
}

/* A point inside the unit circle gives two deviates; NumPy hands out the one of y first. */
static inline void next_pair(struct random_state *state, double *first, double *second)
{
    double x, y, square;
    do {
        x = 2.0 * next_double(state) - 1.0;
        y = 2.0 * next_double(state) - 1.0;
        square = x * x + y * y;
    } while (square >= 1.0 || square == 0.0);
    const double factor = sqrt(-2.0 * log(square) / square);
    *first = factor * y;
    *second = factor * x;
}

static inline double next_normal(struct random_state *state)
{
    if (state->has_gauss) {
        const double cached = state->gauss;
        state->has_gauss = 0;
        state->gauss = 0.0;
        return cached;
    }
    double first;
    next_pair(state, &first, &state->gauss);
    state->has_gauss = 1;
    return first;
}

/* The cache matters at the two ends only: it is emptied first, then whole pairs, and of a last
 * odd pair one half waits for the next call. */
void random_normal(struct random_state *state, double *values, size_t n)
{
    size_t i = 0;
    if (n > 0 && state->has_gauss)
        values[i++] = next_normal(state);
    for (; n - i >= 2; i += 2)
        next_pair(state, &values[i], &values[i + 1]);
    if (i < n)
        values[i] = next_normal(state);
}

void random_normal_float(struct random_state *state, float *values, size_t n)
{
    size_t i = 0;
    if (n > 0 && state->has_gauss)
        values[i++] = (float)next_normal(state);
    for (; n - i >= 2; i += 2) {
        double first, second;
        next_pair(state, &first, &second);
        values[i] = (float)first;
        values[i + 1] = (float)second;
    }
    if (i < n)
        values[i] = (float)next_normal(state);
}

void random_normal_scaled(struct random_state *state, float *values, size_t n, float scale)
{
    random_normal_float(state, values, n);
    for (size_t i = 0; i < n; i++)
        values[i] *= scale;
}

/* A number in 0..max: the low bits of a draw, drawn again while it is too large. Only a range
 * beyond 32 bits costs two words a draw. */
static uint64_t next_at_most(struct random_state *state, uint64_t max)
{
    const uint64_t mask = UINT64_MAX >> __builtin_clzll(max | 1);
    uint64_t value;
    do {
        value = next_uint32(state);
        if (max > UINT32_MAX)
            value = value << 32 | next_uint32(state);
        value &= mask;
    } while (value > max);
    return value;
}

/* Fisher and Yates's shuffle of 0 .. n-1, from the end as NumPy goes. */
void random_permutation(struct random_state *state, int64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (int64_t)i;
    for (size_t i = n; i-- > 1;) {
        const size_t j = next_at_most(state, i);
        const int64_t swap = values[i];
        values[i] = values[j];
        values[j] = swap;
    }
}

/* ---- Philox ---------------------------------------------------------------------------------- */

__extension__ typedef unsigned __int128 uint128; /* ISO C has none */

static inline uint64_t multiply(uint64_t a, uint64_t b, uint64_t *high)
{
    const uint128 product = (uint128)a * b;
    *high = (uint64_t)(product >> 64);
    return (uint64_t)product;
}

/* Ten rounds: two products, mixed with the key, which takes a step each time. */
static inline void philox_block(uint64_t block[4], const uint64_t key[2], const uint64_t counter[4])
{
    uint64_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    uint64_t key0 = key[0], key1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t high0, high2;
        const uint64_t low0 = multiply(0xd2e7470ee14c6c93u, x0, &high0);
        const uint64_t low2 = multiply(0xca5a826395121157u, x2, &high2);
        x0 = high2 ^ x1 ^ key0;
        x1 = low2;
        x2 = high0 ^ x3 ^ key1;
        x3 = low0;
        key0 += 0x9e3779b97f4a7c15u; /* the golden ratio */
        key1 += 0xbb67ae8584caa73bu; /* sqrt(3) - 1 */
    }
    block[0] = x0;
    block[1] = x1;
    block[2] = x2;
    block[3] = x3;
}

/* NumPy steps before it draws: the first block is that of counter + 1. */
void random_philox(uint64_t *words, size_t n, const uint64_t key[2], const uint64_t counter[4])
{
    uint64_t at[4] = {counter[0], counter[1], counter[2], counter[3]}, block[4];
    for (size_t i = 0; i < n; i += 4) {
        for (int word = 0; word < 4 && ++at[word] == 0; word++) /* carry */
            ;
        philox_block(block, key, at);
        for (size_t j = i; j < n && j < i + 4; j++)
            words[j] = block[j - i];
    }
}
