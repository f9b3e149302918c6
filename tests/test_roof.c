/* test_roof.c - the roofs do the work that they are divided by, and the entries that a bench needs
 * do what the whole kernels do. */
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "common/kernels/roof.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 200

/* Without a round: the chains' first values, 0 .. lanes-1. After many: 1, where x = x/2 + 1/2. */
START_TEST(fma_chains_run_all_rounds)
{
    for (size_t i = 0; i < FMA_CHAIN_WIDTHS; i++) {
        const size_t lanes = fma_chain_lanes[i];
        const float first = (float)((lanes - 1) * lanes) / 2, lanes_float = (float)lanes;
        ck_assert_float_eq(fma_chain(0.5f, lanes, 0), first);
        ck_assert_float_eq_tol(fma_chain(0.5f, lanes, 1), first / 2 + lanes_float / 2, 1e-2f);
        ck_assert_float_eq_tol(fma_chain(0.5f, lanes, 3), first / 8 + lanes_float * 7 / 8, 1e-2f);
        ck_assert_float_eq(fma_chain(0.5f, lanes, 1000), lanes_float);
    }
}
END_TEST

START_TEST(copies_and_roots_of_any_size)
{
    float x[MOST + 1], copy[MOST + 2], roots[MOST + 2];
    for (size_t i = 0; i <= MOST; i++)
        x[i] = (float)(i * i);
    for (size_t offset = 0; offset < 2; offset++)
        for (size_t n = 0; n + offset <= MOST; n++) {
            for (size_t i = 0; i < MOST + 2; i++)
                copy[i] = roots[i] = -1;
            copy_all(copy + 1, x + offset, n);
            square_roots(roots + 1, x + offset, n);
            for (size_t i = 0; i < n; i++) {
                ck_assert_float_eq(copy[i + 1], x[i + offset]);
                ck_assert_float_eq(roots[i + 1], (float)(i + offset));
            }
            ck_assert_float_eq(copy[0] + copy[n + 1] + roots[0] + roots[n + 1], -4);
        }
}
END_TEST

START_TEST(edges_with_given_statistics)
{
    enum { HEIGHT = 37, WIDTH = 61, PIXELS = HEIGHT * WIDTH, EDGES = (HEIGHT - 4) * (WIDTH - 4) };
    static float image[PIXELS], whole[EDGES], given[EDGES];
    double total = 0, squares = 0;
    for (size_t i = 0; i < PIXELS; i++) {
        image[i] = (float)(i * 7919 % 251);
        total += (double)image[i];
    }
    const double mean = total / PIXELS;
    for (size_t i = 0; i < PIXELS; i++)
        squares += ((double)image[i] - mean) * ((double)image[i] - mean);
    const double std = sqrt(squares / PIXELS);
    ck_assert_int_eq(image_edges(whole, image, HEIGHT, WIDTH, NULL), 0);
    ck_assert_int_eq(image_edges_given(given, image, mean, std, HEIGHT, WIDTH, NULL), 0);
    for (size_t i = 0; i < EDGES; i++)
        ck_assert_float_eq_tol(whole[i], given[i], 1e-5f);
    struct error error = {0};
    ck_assert_int_eq(image_edges_given(given, image, mean, std, 4, WIDTH, &error), -1);
    ck_assert_int_eq(error.code, ERROR_INVALID);
}
END_TEST

/* As the formula is written, in double. */
static double conv2_feature(const struct cnn_weights *weights, float pooled[14][14][16],
                            size_t channel, size_t y, size_t x)
{
    double largest = 0;
    for (size_t row = 2 * y; row < 2 * y + 2; row++)
        for (size_t column = 2 * x; column < 2 * x + 2; column++) {
            double sum = 0;
            for (size_t c = 0; c < CNN_CHANNELS1; c++)
                for (size_t i = 0; i < 3; i++)
                    for (size_t j = 0; j < 3; j++)
                        sum += (double)weights->conv2[channel][c][i][j] *
                               (double)pooled[row + i][column + j][c];
            largest = sum > largest ? sum : largest;
        }
    return largest;
}

START_TEST(second_convolution_alone)
{
    static struct cnn_weights weights;
    static struct cnn_packed packed;
    static float pooled[14][14][16], features[6][6][32];
    float *const weight = (float *)(void *)&weights, *const value = (float *)(void *)&pooled;
    for (size_t i = 0; i < sizeof weights / sizeof(float); i++)
        weight[i] = (float)(i * 7919 % 101) / 50 - 1;
    for (size_t i = 0; i < sizeof pooled / sizeof(float); i++)
        value[i] = (float)(i * 104729 % 97) / 97;
    cnn_pack(&packed, &weights);
    cnn_conv2_packed(features[0][0], &packed, pooled[0][0]);
    for (size_t y = 0; y < 6; y++)
        for (size_t x = 0; x < 6; x++)
            for (size_t channel = 0; channel < CNN_CHANNELS2; channel++)
                ck_assert_double_eq_tol((double)features[y][x][channel],
                                        conv2_feature(&weights, pooled, channel, y, x), 1e-4);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("roof");
    TCase *const roof = tcase_create("roof");
    tcase_add_test(roof, fma_chains_run_all_rounds);
    tcase_add_test(roof, copies_and_roots_of_any_size);
    tcase_add_test(roof, edges_with_given_statistics);
    tcase_add_test(roof, second_convolution_alone);
    suite_add_tcase(suite, roof);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
