/* test_kernels_random.c - each fast kernel against its reference on 1000 random shapes.
 *
 * Sizes are multiples of nothing in particular; random_shapes.h tells what the arrays and the
 * numbers in them are. All instruction sets of the machine get the same ones. The reference is
 * float64, and the naive version is held to it as well, so the two agree with each other. How far a
 * result may be off is what the kernel's header says; where it says nothing, what rounding allows.
 */
#include "common/data/random.h"
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "common/kernels/roof.h"
#include "tests/kernels_fixture.h"
#include "tests/random_shapes.h"
#include "tests/sanitized.h"
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIALS    (SLOW ? 200 : 1000)
#define TOLERANCE 1e-5

/* So many trials, and another series of seeds for each test. */
#define EACH_TRIAL(series)                                                                         \
    for (uint64_t seed = (series) * (uint64_t)TRIALS, end = seed + TRIALS; seed < end; seed++)

/* Mean and standard deviation in more than double precision, where there is more. */
static void statistics_of(const float *x, size_t n, double *mean, double *std)
{
    long double total = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        total += (long double)x[i];
    total /= (long double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((long double)x[i] - total) * ((long double)x[i] - total);
    *mean = (double)total;
    *std = (double)sqrtl(squares / (long double)n);
}

/* ---- The image pipeline ---------------------------------------------------------------------- */

/* As one 5x5 filter for each direction: shares no step with any kernel. */
static void edges_in_double(double *edges, const float *image, double mean, double std,
                            size_t height, size_t width)
{
    static const double smooth[5] = {1, 4, 6, 4, 1}, slope[5] = {-1, -2, 0, 2, 1};
    const double scale = 1 / (16 * (std + 1e-8));
    for (size_t y = 0; y + 4 < height; y++)
        for (size_t x = 0; x + 4 < width; x++) {
            double gx = 0, gy = 0;
            for (size_t i = 0; i < 5; i++)
                for (size_t j = 0; j < 5; j++) {
                    const double value = (double)image[(y + i) * width + x + j] - mean;
                    gx += smooth[i] * slope[j] * value;
                    gy += slope[i] * smooth[j] * value;
                }
            edges[y * (width - 4) + x] = scale * sqrt(gx * gx + gy * gy);
        }
}

/* Mostly small: borders and rests are what goes wrong. Some are wider than a strip of columns, a
 * few larger than a block of statistics. */
static void random_size(size_t *height, size_t *width)
{
    const size_t kind = trial_below(200);
    *height = IMAGE_MIN_SIZE + trial_below(kind < 170 ? 30 : kind < 190 ? 12 : 150);
    *width = IMAGE_MIN_SIZE + trial_below(kind < 170 ? 60 : kind < 190 ? 1200 : 250);
    if (kind == 199) {
        *height += 350;
        *width += 750;
    }
    trial_shape("%zux%zu", *height, *width);
}

START_TEST(edges)
{
    EACH_TRIAL(1)
    {
        size_t height, width;
        double mean, std;
        trial_begin(seed);
        random_size(&height, &width);
        const size_t pixels = height * width, n = (height - 4) * (width - 4);
        float *const image = trial_floats(pixels), *const out = trial_floats(n);
        float *const scratch = trial_floats(image_edges_naive_scratch(height, width));
        double *const expected = trial_doubles(n);
        trial_fill(image, pixels);
        statistics_of(image, pixels, &mean, &std);
        edges_in_double(expected, image, mean, std, height, width);

        image_edges_naive(out, image, scratch, height, width, NULL);
        trial_check_all("image_edges_naive", out, expected, n, TOLERANCE);
        image_edges_naive_scalar(out, image, scratch, height, width, NULL);
        trial_check_all("image_edges_naive_scalar", out, expected, n, TOLERANCE);
        image_edges_scalar(out, image, height, width, NULL);
        trial_check_all("image_edges_scalar", out, expected, n, TOLERANCE);
        for (size_t level = 0; trial_use_isa(level); level++) {
            image_edges(out, image, height, width, NULL);
            trial_check_all("image_edges", out, expected, n, TOLERANCE);
            image_edges_given(out, image, mean, std, height, width, NULL);
            trial_check_all("image_edges_given", out, expected, n, TOLERANCE);
        }
        trial_end();
    }
}
END_TEST

/* A deviation of another image: the edges follow it. */
START_TEST(edges_given)
{
    EACH_TRIAL(2)
    {
        size_t height, width;
        double mean, std;
        trial_begin(seed);
        random_size(&height, &width);
        const size_t pixels = height * width, n = (height - 4) * (width - 4);
        float *const image = trial_floats(pixels), *const out = trial_floats(n);
        double *const expected = trial_doubles(n);
        trial_fill(image, pixels);
        statistics_of(image, pixels, &mean, &std);
        mean += std * (trial_uniform() - 0.5);
        std *= 1 + trial_uniform();
        edges_in_double(expected, image, mean, std, height, width);
        for (size_t level = 0; trial_use_isa(level); level++) {
            image_edges_given(out, image, mean, std, height, width, NULL);
            trial_check_all("image_edges_given", out, expected, n, TOLERANCE);
        }
        trial_end();
    }
}
END_TEST

/* Each image of a batch by itself, and to the last bit what image_edges makes of it. */
START_TEST(edges_of_batches)
{
    EACH_TRIAL(3)
    {
        size_t height, width;
        double mean, std;
        trial_begin(seed);
        random_size(&height, &width);
        const size_t count = height * width > 20000 ? 1 : trial_below(6);
        trial_shape(" times %zu", count);
        const size_t pixels = height * width, n = (height - 4) * (width - 4);
        float *const images = trial_floats(count * pixels), *const out = trial_floats(count * n);
        float *const alone = trial_floats(n);
        double *const expected = trial_doubles(count * n);
        for (size_t i = 0; i < count; i++) {
            trial_fill(images + i * pixels, pixels);
            statistics_of(images + i * pixels, pixels, &mean, &std);
            edges_in_double(expected + i * n, images + i * pixels, mean, std, height, width);
        }
        for (size_t level = 0; trial_use_isa(level); level++) {
            image_edges_batch(out, images, count, height, width, NULL);
            for (size_t i = 0; i < count; i++) {
                image_edges(alone, images + i * pixels, height, width, NULL);
                trial_check_that(memcmp(alone, out + i * n, n * sizeof *out) == 0,
                                 "image_edges_batch", "other bits than image_edges");
            }
            trial_check_all("image_edges_batch", out, expected, count * n, TOLERANCE);
        }
        trial_end();
    }
}
END_TEST

/* To the last bit what image_edges gives, which is held to double above. Every tenth is large
 * enough for several threads. (The test's process is a child, so the runner has no threads.) */
START_TEST(edges_over_threads)
{
    EACH_TRIAL(4)
    {
        size_t height, width;
        trial_begin(seed);
        random_size(&height, &width);
        const int threads = 1 + (int)trial_below(8);
        if (seed % 10 == 0) {
            height += 200 + trial_below(100);
            width += 300 + trial_below(300);
        }
        trial_shape(" (now %zux%zu) by %d threads", height, width, threads);
        const size_t pixels = height * width, n = (height - 4) * (width - 4);
        float *const image = trial_floats(pixels), *const out = trial_floats(n);
        float *const expected = trial_floats(n);
        trial_fill(image, pixels);
        for (size_t level = 0; trial_use_isa(level); level++) {
            image_edges(expected, image, height, width, NULL);
            image_edges_parallel(out, image, height, width, threads, NULL);
            trial_check_that(memcmp(out, expected, n * sizeof *out) == 0, "image_edges_parallel",
                             "other bits than image_edges");
            trial_check_guards("image_edges_parallel");
            memset(out, 0xff, n * sizeof *out);
        }
        trial_end();
    }
}
END_TEST

/* ---- Samples --------------------------------------------------------------------------------- */

static void normalise(double *out, size_t n)
{
    long double total = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        total += (long double)out[i];
    total /= (long double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((long double)out[i] - total) * ((long double)out[i] - total);
    const long double std = sqrtl(squares / (long double)n) + 1e-8L;
    for (size_t i = 0; i < n; i++)
        out[i] = (double)(((long double)out[i] - total) / std);
}

static void clip_normalise_in_double(double *out, const float *x, size_t n, int rounds)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (double)x[i];
    normalise(out, n);
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < n; i++)
            out[i] = fmin(fmax(out[i], -3), 3);
        normalise(out, n);
    }
}

/* Into another array, and in place. */
START_TEST(samples)
{
    EACH_TRIAL(5)
    {
        trial_begin(seed);
        const size_t n = trial_below(seed % 4 ? 300 : 9000);
        const int rounds = (int)trial_below(6);
        trial_shape("%zu values, %d rounds", n, rounds);
        float *const x = trial_floats(n), *const out = trial_floats(n),
                     *const same = trial_floats(n);
        double *const expected = trial_doubles(n);
        trial_fill(x, n);
        clip_normalise_in_double(expected, x, n, rounds);
        clip_normalise_naive(out, x, n, rounds);
        trial_check_all("clip_normalise_naive", out, expected, n, TOLERANCE);
        for (size_t level = 0; trial_use_isa(level); level++) {
            memcpy(same, x, n * sizeof *x);
            clip_normalise(same, same, n, rounds);
            clip_normalise(out, x, n, rounds);
            trial_check_that(memcmp(same, out, n * sizeof *out) == 0, "clip_normalise",
                             "other bits in place");
            trial_check_all("clip_normalise", out, expected, n, TOLERANCE);
        }
        trial_end();
    }
}
END_TEST

START_TEST(augmenting)
{
    EACH_TRIAL(6)
    {
        trial_begin(seed);
        const size_t height = 1 + trial_below(70), width = 1 + trial_below(70), n = height * width;
        const size_t count = augment_words(height, width);
        trial_shape("%zux%zu", height, width);
        float *const image = trial_floats(n), *const out = trial_floats(n);
        uint64_t *const words = (uint64_t *)(void *)trial_doubles(count);
        double *const expected = trial_doubles(n);
        trial_fill(image, n);
        for (size_t i = 0; i < count; i++)
            words[i] = trial_word();
        for (size_t i = 0; i < n; i++)
            expected[i] = augmented(image, words, (ptrdiff_t)height, (ptrdiff_t)width,
                                    (ptrdiff_t)(i / width), (ptrdiff_t)(i % width));
        for (size_t level = 0; trial_use_isa(level); level++) {
            augment(out, image, words, height, width);
            trial_check_all("augment", out, expected, n, 1e-6);
        }
        trial_end();
    }
}
END_TEST

/* ---- Sums and what else passes over an array ------------------------------------------------- */

/* The most that rounding can take from a sum, of so many additions one after the other. */
static double rounding(size_t additions, long double magnitude, double epsilon)
{
    return (double)(additions + 1) * epsilon * (double)magnitude;
}

START_TEST(sums)
{
    EACH_TRIAL(7)
    {
        trial_begin(seed);
        const size_t n = trial_below(seed % 4 ? 600 : 20000);
        trial_shape("%zu values", n);
        float *const x = trial_floats(n);
        long double total = 0, magnitude = 0, squares = 0;
        uint64_t words = 0;
        trial_fill(x, n);
        for (size_t i = 0; i < n; i++) {
            uint64_t word = 0;
            memcpy(&word, x + i, sizeof *x);
            words += i % 2 ? word << 32 : word;
            total += (long double)x[i];
            magnitude += fabsl((long double)x[i]);
            squares += (long double)x[i] * (long double)x[i];
        }
        const double exact = (double)squares;
        trial_check("sum_naive", 0, sum_naive(x, n), (double)total,
                    rounding(n, magnitude, DBL_EPSILON));
        trial_check("sum_of_squares_naive", 0, sum_of_squares_naive(x, n), exact,
                    rounding(n, squares, DBL_EPSILON));
        trial_check("sum_of_squares_exact", 0, sum_of_squares_exact(x, n), exact,
                    4 * DBL_EPSILON * exact);
        trial_check("sum_of_squares_float_naive", 0, sum_of_squares_float_naive(x, n), exact,
                    rounding(n, squares, FLT_EPSILON));
        /* The fast ones have at least 16 sums side by side, which are then added up. */
        for (size_t level = 0; trial_use_isa(level); level++) {
            trial_check("sum", 0, sum(x, n), (double)total,
                        rounding(n / 16 + 8, magnitude, DBL_EPSILON));
            trial_check("sum_of_squares", 0, sum_of_squares(x, n), exact,
                        rounding(n / 16 + 8, squares, DBL_EPSILON));
            trial_check("sum_of_squares_float", 0, sum_of_squares_float(x, n), exact,
                        rounding(n / SUM_OF_SQUARES_FLOAT_LANES + 8, squares, FLT_EPSILON));
            trial_check_that(read_all(x, n) == words, "read_all", "another sum of words");
        }
        trial_end();
    }
}
END_TEST

START_TEST(copies_and_square_roots)
{
    EACH_TRIAL(8)
    {
        trial_begin(seed);
        const size_t n = trial_below(seed % 8 ? 300 : 5000);
        trial_shape("%zu values", n);
        float *const x = trial_floats(n), *const out = trial_floats(n);
        double *const same = trial_doubles(n), *const roots = trial_doubles(n);
        trial_fill(x, n);
        for (size_t i = 0; i < n; i++) {
            x[i] = fabsf(x[i]);
            same[i] = (double)x[i];
            roots[i] = (double)sqrtf(x[i]);
        }
        for (size_t level = 0; trial_use_isa(level); level++) {
            copy_all(out, x, n);
            trial_check_all("copy_all", out, same, n, 0);
            square_roots(out, x, n);
            trial_check_all("square_roots", out, roots, n, 0);
        }
        trial_end();
    }
}
END_TEST

/* ---- Products -------------------------------------------------------------------------------- */

/* Float32 by BLAS: each element relative to what was added up to it, and so their sum. */
START_TEST(product_sums)
{
    EACH_TRIAL(9)
    {
        trial_begin(seed);
        const size_t order = trial_below(seed % 20 ? 25 : 90), n = order * order;
        trial_shape("order %zu", order);
        float *const x = trial_floats(n), *const fast = trial_floats(n);
        float *const naive = trial_floats(n);
        long double total = 0, magnitude = 0;
        trial_fill(x, n);
        for (size_t i = 0; i < order; i++) { /* of a column: the square of its sum */
            long double column = 0, of_column = 0;
            for (size_t row = 0; row < order; row++) {
                column += (long double)x[row * order + i];
                of_column += fabsl((long double)x[row * order + i]);
            }
            total += column * column;
            magnitude += of_column * of_column;
        }
        trial_check("product_sum_naive", 0, product_sum_naive(naive, x, order), (double)total,
                    TOLERANCE * (double)magnitude);
        for (size_t level = 0; trial_use_isa(level); level++) {
            trial_check("product_sum", 0, product_sum(fast, x, order), (double)total,
                        TOLERANCE * (double)magnitude);
            for (size_t i = 0; i < n; i++) { /* the diagonal has the squares of the rows' lengths */
                const double row = (double)naive[i / order * order + i / order];
                const double column = (double)naive[i % order * order + i % order];
                trial_check("product_sum", i, (double)fast[i], (double)naive[i],
                            TOLERANCE * sqrt(row * column));
            }
            trial_check_guards("product_sum");
        }
        trial_end();
    }
}
END_TEST

static void fill_doubles(double *x, size_t n)
{
    const double mean = pow(10, 6 * trial_uniform() - 1), deviation = pow(10, trial_uniform());
    for (size_t i = 0; i < n; i++)
        x[i] = mean + deviation * trial_normal();
}

START_TEST(products)
{
    EACH_TRIAL(10)
    {
        trial_begin(seed);
        const size_t rows = trial_below(40), inner = trial_below(40), columns = trial_below(40);
        trial_shape("%zux%zux%zu", rows, inner, columns);
        double *const a = trial_doubles(rows * inner), *const b = trial_doubles(inner * columns);
        double *const fast = trial_doubles(rows * columns);
        double *const naive = trial_doubles(rows * columns);
        fill_doubles(a, rows * inner);
        fill_doubles(b, inner * columns);
        product(fast, a, b, rows, inner, columns);
        product_naive(naive, a, b, rows, inner, columns);
        for (size_t i = 0; i < rows * columns; i++) {
            long double expected = 0, magnitude = 0;
            for (size_t k = 0; k < inner; k++) {
                const long double term = (long double)a[i / columns * inner + k] *
                                         (long double)b[k * columns + i % columns];
                expected += term;
                magnitude += fabsl(term);
            }
            const double allowed = rounding(inner, magnitude, DBL_EPSILON);
            trial_check("product_naive", i, naive[i], (double)expected, allowed);
            trial_check("product", i, fast[i], (double)expected, allowed);
        }
        trial_end();
    }
}
END_TEST

/* ---- Random numbers -------------------------------------------------------------------------- */

/* The polar method as it is written in books, one pair after the other; NumPy hands out the second
 * half of a pair first. */
static double next_normal(struct random_state *state)
{
    if (state->has_gauss) {
        state->has_gauss = 0;
        return state->gauss;
    }
    double x, y, square;
    do {
        x = 2 * random_double(state) - 1;
        y = 2 * random_double(state) - 1;
        square = x * x + y * y;
    } while (square >= 1 || square == 0);
    state->gauss = sqrt(-2 * log(square) / square) * x;
    state->has_gauss = 1;
    return sqrt(-2 * log(square) / square) * y;
}

/* Any number of them after any number, in double, rounded to float and scaled. */
START_TEST(random_normals)
{
    EACH_TRIAL(11)
    {
        struct random_state state, of_double, of_float, of_scaled;
        trial_begin(seed);
        const size_t before = trial_below(1400), n = trial_below(seed % 10 ? 100 : 3000);
        trial_shape("%zu after %zu", n, before);
        double *const values = trial_doubles(n), *const first = trial_doubles(before);
        float *const rounded = trial_floats(n), *const scaled = trial_floats(n);
        random_seed(&state, (uint32_t)trial_word());
        random_normal(&state, first, before);
        of_double = of_float = of_scaled = state;
        random_normal(&of_double, values, n);
        random_normal_float(&of_float, rounded, n);
        random_normal_scaled(&of_scaled, scaled, n, 0.1f);
        trial_check_guards("random_normal");
        for (size_t i = 0; i < n; i++) {
            const double expected = next_normal(&state);
            trial_check("random_normal", i, values[i], expected, 1e-13 * (1 + fabs(expected)));
            trial_check_that(rounded[i] == (float)values[i], "random_normal_float",
                             "other bits than random_normal rounded");
            trial_check_that(scaled[i] == 0.1f * (float)values[i], "random_normal_scaled",
                             "other bits than random_normal rounded and scaled");
        }
        const uint32_t next = random_uint32(&state);
        trial_check_that(
            random_uint32(&of_double) == next && random_uint32(&of_float) == next &&
                random_uint32(&of_scaled) == next && of_double.has_gauss == state.has_gauss &&
                of_float.has_gauss == state.has_gauss && of_scaled.has_gauss == state.has_gauss,
            "random_normal", "another number of words was drawn");
        trial_end();
    }
}
END_TEST

/* The words of a counter, in blocks of four: all of them at once, and each block by itself. */
START_TEST(random_words)
{
    EACH_TRIAL(12)
    {
        trial_begin(seed);
        const size_t n = trial_below(500);
        trial_shape("%zu words", n);
        uint64_t *const words = (uint64_t *)(void *)trial_doubles(n);
        const uint64_t key[2] = {trial_word(), trial_word()};
        uint64_t counter[4] = {trial_word() | (seed % 2 ? 0 : ~(uint64_t)63), trial_word(), 0, 0};
        random_philox(words, n, key, counter);
        trial_check_guards("random_philox");
        for (size_t i = 0; i < n; i += 4) {
            uint64_t block[4];
            random_philox(block, 4, key, counter);
            trial_check_that(memcmp(block, words + i, (n - i < 4 ? n - i : 4) * sizeof *block) == 0,
                             "random_philox", "another block by itself");
            if (++counter[0] == 0)
                ++counter[1];
        }
        trial_end();
    }
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("random shapes");
    TCase *const kernels = tcase_create("kernels");
    tcase_set_timeout(kernels, 300);
    tcase_add_test(kernels, edges);
    tcase_add_test(kernels, edges_given);
    tcase_add_test(kernels, edges_of_batches);
    tcase_add_test(kernels, edges_over_threads);
    tcase_add_test(kernels, samples);
    tcase_add_test(kernels, augmenting);
    tcase_add_test(kernels, sums);
    tcase_add_test(kernels, copies_and_square_roots);
    tcase_add_test(kernels, product_sums);
    tcase_add_test(kernels, products);
    tcase_add_test(kernels, random_normals);
    tcase_add_test(kernels, random_words);
    suite_add_tcase(suite, kernels);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
