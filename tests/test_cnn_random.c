/* test_cnn_random.c - the versions of the network, and its parts, on 1000 random batches each.
 *
 * random_shapes.h tells what the arrays and the numbers in them are; all instruction sets of the
 * machine get the same ones. Each version is held to 1e-5 of float64, relative to the largest pixel
 * where that is more than a logit: about a large mean large sums cancel.
 */
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "tests/random_shapes.h"
#include "tests/sanitized.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIALS    (SLOW ? 200 : 1000)
#define TOLERANCE 1e-5

enum {
    SIDE1 = 14,
    SIDE3 = 6,
    MOST_SIDE = 30,
    POOLED = SIDE1 * SIDE1 * CNN_CHANNELS1,
};

/* So many trials, and another series of seeds for each test. */
#define EACH_TRIAL(series)                                                                         \
    for (uint64_t seed = (series) * (uint64_t)TRIALS, end = seed + TRIALS; seed < end; seed++)

/* ---- The reference, in double ---------------------------------------------------------------- */

/* pooled[out][places][places]: convolution, relu and pool of x[in][side][side], which has its
 * padding. */
static void convolve_and_pool(double *pooled, const double *x, const float *w, size_t out,
                              size_t in, size_t side)
{
    const size_t rows = side - 2, places = rows / 2;
    for (size_t o = 0; o < out; o++) {
        double sums[MOST_SIDE][MOST_SIDE] = {{0}};
        for (size_t tap = 0; tap < in * 9; tap++) {
            const double *const from =
                x + (tap / 9 * side + tap % 9 / 3) * side + tap % 3; /* [channel][row][column] */
            for (size_t y = 0; y < rows; y++)
                for (size_t at = 0; at < rows; at++)
                    sums[y][at] += (double)w[o * in * 9 + tap] * from[y * side + at];
        }
        for (size_t y = 0; y < places; y++)
            for (size_t at = 0; at < places; at++)
                pooled[(o * places + y) * places + at] =
                    fmax(0, fmax(fmax(sums[2 * y][2 * at], sums[2 * y][2 * at + 1]),
                                 fmax(sums[2 * y + 1][2 * at], sums[2 * y + 1][2 * at + 1])));
    }
}

static void forward_in_double(double *logits, const struct cnn_weights *weights, const float *image)
{
    static double padded[MOST_SIDE][MOST_SIDE], pooled[POOLED], features[CNN_FEATURES];
    for (size_t y = 0; y < CNN_SIDE; y++)
        for (size_t x = 0; x < CNN_SIDE; x++)
            padded[y + 1][x + 1] = (double)image[y * CNN_SIDE + x];
    convolve_and_pool(pooled, padded[0], weights->conv1[0][0][0], CNN_CHANNELS1, 1, MOST_SIDE);
    convolve_and_pool(features, pooled, weights->conv2[0][0][0], CNN_CHANNELS2, CNN_CHANNELS1,
                      SIDE1);
    for (size_t k = 0; k < CNN_CLASSES; k++) {
        logits[k] = 0;
        for (size_t f = 0; f < CNN_FEATURES; f++)
            logits[k] += features[f] * (double)weights->fc[f][k];
    }
}

/* ---- Inputs and checks ----------------------------------------------------------------------- */

/* Each layer's with a deviation of its own, between half and twice the notebook's 0.1. The result
 * is by how much that makes logits larger. */
static double fill_weights(struct cnn_weights *weights)
{
    float *const layers[] = {weights->conv1[0][0][0], weights->conv2[0][0][0], weights->fc[0],
                             weights->fc[0] + (size_t)CNN_FEATURES * CNN_CLASSES};
    double larger = 1;
    for (size_t layer = 0; layer < 3; layer++) {
        const double factor = pow(2, 2 * trial_uniform() - 1);
        for (float *weight = layers[layer]; weight < layers[layer + 1]; weight++)
            *weight = (float)(0.1 * factor * trial_normal());
        larger *= factor;
    }
    return larger;
}

static struct cnn_weights *new_weights(double *larger)
{
    struct cnn_weights *const weights = (struct cnn_weights *)(void *)trial_floats(CNN_WEIGHTS);
    *larger = fill_weights(weights);
    return weights;
}

static struct cnn_packed *new_packed(const struct cnn_weights *weights)
{
    struct cnn_packed *const packed =
        (struct cnn_packed *)(void *)trial_aligned_floats(sizeof *packed / sizeof(float));
    cnn_pack(packed, weights);
    return packed;
}

static double largest_of(const float *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fabs((double)x[i]) > largest ? fabs((double)x[i]) : largest;
    return largest;
}

/* ... and NaN again for the next one. */
static void check_all(const char *kernel, float *got, const double *expected, size_t n,
                      double scale)
{
    for (size_t i = 0; i < n; i++)
        trial_check(kernel, i, (double)got[i], expected[i],
                    TOLERANCE * (scale + fabs(expected[i])));
    trial_check_guards(kernel);
    memset(got, 0xff, n * sizeof *got);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

/* cnn_forward_packed with all instruction sets; the others with one that is drawn: but for their
 * last layer the naive ones have only one, and the direct one is cnn_pack and cnn_forward_packed.
 */
START_TEST(forward)
{
    EACH_TRIAL(101)
    {
        double larger;
        trial_begin(seed);
        const size_t n = seed % 25 ? trial_below(3) : 3 + trial_below(10), count = n * CNN_CLASSES;
        trial_shape("%zu images", n);
        struct cnn_weights *const weights = new_weights(&larger);
        struct cnn_packed *const packed = new_packed(weights);
        float *const images = trial_floats(n * CNN_PIXELS), *const logits = trial_floats(count);
        double *const expected = trial_doubles(count);
        trial_fill(images, n * CNN_PIXELS);
        for (size_t i = 0; i < n; i++)
            forward_in_double(expected + i * CNN_CLASSES, weights, images + i * CNN_PIXELS);
        const double scale = larger * largest_of(images, n * CNN_PIXELS);

        size_t levels = 0;
        while (kernels_isa_name(levels))
            levels++;
        const size_t drawn = trial_below(levels);
        for (size_t level = 0; trial_use_isa(level); level++) {
            for (enum cnn_version version = 0; version < CNN_VERSIONS && level == drawn;
                 version++) {
                float *const scratch = trial_aligned_floats(cnn_scratch(version, n));
                cnn_forward(logits, version, weights, images, scratch, n);
                check_all(cnn_version_name(version), logits, expected, count, scale);
            }
            cnn_forward_packed(logits, packed, images, n);
            check_all("cnn_forward_packed", logits, expected, count, scale);
        }
        trial_end();
    }
}
END_TEST

/* Channels last in both; in the reference they come first. */
START_TEST(second_convolution)
{
    EACH_TRIAL(102)
    {
        static double x[POOLED], features[CNN_FEATURES];
        double larger;
        trial_begin(seed);
        struct cnn_weights *const weights = new_weights(&larger);
        struct cnn_packed *const packed = new_packed(weights);
        float *const pooled = trial_floats(POOLED), *const out = trial_floats(CNN_FEATURES);
        double *const expected = trial_doubles(CNN_FEATURES);
        trial_fill(pooled, POOLED);
        for (size_t i = 0; i < POOLED; i++)
            x[i % CNN_CHANNELS1 * SIDE1 * SIDE1 + i / CNN_CHANNELS1] = (double)pooled[i];
        convolve_and_pool(features, x, weights->conv2[0][0][0], CNN_CHANNELS2, CNN_CHANNELS1,
                          SIDE1);
        for (size_t i = 0; i < CNN_FEATURES; i++)
            expected[i] = features[i % CNN_CHANNELS2 * SIDE3 * SIDE3 + i / CNN_CHANNELS2];
        const double scale = larger * largest_of(pooled, POOLED);
        for (size_t level = 0; trial_use_isa(level); level++) {
            cnn_conv2_packed(out, packed, pooled);
            check_all("cnn_conv2_packed", out, expected, CNN_FEATURES, scale);
        }
        trial_end();
    }
}
END_TEST

/* Sums in double: what is left is the rounding of the result. */
START_TEST(fully_connected)
{
    EACH_TRIAL(103)
    {
        trial_begin(seed);
        const size_t n = trial_below(5), count = n * CNN_CLASSES;
        trial_shape("%zu images", n);
        float *const features = trial_floats(n * CNN_FEATURES), *const out = trial_floats(count);
        float *const weights = trial_floats((size_t)CNN_FEATURES * CNN_CLASSES);
        double *const expected = trial_doubles(count), *const magnitude = trial_doubles(count);
        trial_fill(features, n * CNN_FEATURES);
        trial_fill(weights, (size_t)CNN_FEATURES * CNN_CLASSES);
        for (size_t i = 0; i < count; i++) {
            expected[i] = magnitude[i] = 0;
            for (size_t f = 0; f < CNN_FEATURES; f++) {
                const double term = (double)features[i / CNN_CLASSES * CNN_FEATURES + f] *
                                    (double)weights[f * CNN_CLASSES + i % CNN_CLASSES];
                expected[i] += term;
                magnitude[i] += fabs(term);
            }
        }
        for (size_t level = 0; trial_use_isa(level); level++) {
            cnn_fully_connected(out, features, (const float(*)[CNN_CLASSES])weights, n);
            for (size_t i = 0; i < count; i++)
                trial_check("cnn_fully_connected", i, (double)out[i], expected[i],
                            1e-7 * fabs(expected[i]) + 1e-12 * magnitude[i]);
            trial_check_guards("cnn_fully_connected");
        }
        trial_end();
    }
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("random batches");
    TCase *const network = tcase_create("network");
    tcase_set_timeout(network, 300);
    tcase_add_test(network, forward);
    tcase_add_test(network, second_convolution);
    tcase_add_test(network, fully_connected);
    suite_add_tcase(suite, network);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
