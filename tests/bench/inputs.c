/* inputs.c - see inputs.h. */
#include "tests/bench/inputs.h"
#include "common/data/random.h"
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED         42
#define PRODUCT_ROWS 20 /* of a large product are checked */

static void *memory(size_t bytes)
{
    void *const block = calloc(bytes + 1, 1);
    if (!block) {
        fprintf(stderr, "bench_ours: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return block;
}

static int write_array(const char *directory, const char *name, const void *values, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *const file = fopen(path, "wb");
    const bool written = file && fwrite(values, 1, bytes, file) == bytes;
    if ((file && fclose(file)) || !written) {
        perror(path);
        return -1;
    }
    return 0;
}

/* ---- image -------------------------------------------------------------------------------------
 */

static void correlate(double *out, const double *in, const double weight[3][3], size_t height,
                      size_t width)
{
    for (size_t y = 0; y + 2 < height; y++)
        for (size_t x = 0; x + 2 < width; x++) {
            double total = 0;
            for (size_t i = 0; i < 3; i++)
                for (size_t j = 0; j < 3; j++)
                    total += weight[i][j] * in[(y + i) * width + x + j];
            out[y * (width - 2) + x] = total;
        }
}

static int write_image(const size_t size[2], const char *directory, struct random_state *state)
{
    static const double gauss[3][3] = {{1, 2, 1}, {2, 4, 2}, {1, 2, 1}};
    static const double sobel_x[3][3] = {{-1, 0, 1}, {-2, 0, 2}, {-1, 0, 1}};
    static const double sobel_y[3][3] = {{-1, -2, -1}, {0, 0, 0}, {1, 2, 1}};
    const size_t height = size[0], width = size[1], pixels = height * width;
    const size_t edges = (height - 4) * (width - 4);
    float *const x = memory(pixels * sizeof *x);
    double *const image = memory(pixels * sizeof *image), *const blurred =
                                                              memory(pixels * sizeof *image);
    double *const gx = memory(edges * sizeof *gx);
    double mean = 0, squares = 0;

    random_normal_float(state, x, pixels);
    for (size_t i = 0; i < pixels; i++)
        mean += (double)x[i] / (double)pixels;
    for (size_t i = 0; i < pixels; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    for (size_t i = 0; i < pixels; i++)
        image[i] = ((double)x[i] - mean) / (sqrt(squares / (double)pixels) + 1e-8) / 16;
    correlate(blurred, image, gauss, height, width);
    correlate(gx, blurred, sobel_x, height - 2, width - 2);
    correlate(image, blurred, sobel_y, height - 2, width - 2);
    for (size_t i = 0; i < edges; i++)
        gx[i] = sqrt(gx[i] * gx[i] + image[i] * image[i]);

    const int status = write_array(directory, "x", x, pixels * sizeof *x) |
                       write_array(directory, "reference", gx, edges * sizeof *gx);
    free(x), free(image), free(blurred), free(gx);
    return status;
}

/* ---- cnn and conv2 -----------------------------------------------------------------------------
 */

/* out[outs][side][side] with relu, from in[ins][side + 2][side + 2]. */
static void convolve(double *out, const double *in, const float *weights, size_t outs, size_t ins,
                     size_t side)
{
    const size_t wide = side + 2;
    for (size_t o = 0; o < outs; o++)
        for (size_t y = 0; y < side; y++)
            for (size_t x = 0; x < side; x++) {
                double sum = 0;
                for (size_t c = 0; c < ins; c++)
                    for (size_t i = 0; i < 3; i++)
                        for (size_t j = 0; j < 3; j++)
                            sum += (double)weights[((o * ins + c) * 3 + i) * 3 + j] *
                                   in[(c * wide + y + i) * wide + x + j];
                out[(o * side + y) * side + x] = sum > 0 ? sum : 0;
            }
}

/* out[channels][side / 2][side / 2] */
static void pool(double *out, const double *in, size_t channels, size_t side)
{
    for (size_t y = 0; y < channels * side / 2; y++)
        for (size_t x = 0; x < side / 2; x++) {
            const double *const square = in + 2 * y * side + 2 * x;
            out[y * side / 2 + x] =
                fmax(fmax(square[0], square[1]), fmax(square[side], square[side + 1]));
        }
}

static void classify_image(double *logits, const struct cnn_weights *weights, const float *image)
{
    double padded[30 * 30] = {0}, conv1[16 * 28 * 28], pooled1[16 * 14 * 14];
    double conv2[32 * 12 * 12], features[CNN_FEATURES];
    for (size_t y = 0; y < 28; y++)
        for (size_t x = 0; x < 28; x++)
            padded[(y + 1) * 30 + x + 1] = (double)image[y * 28 + x];
    convolve(conv1, padded, (const float *)weights->conv1, 16, 1, 28);
    pool(pooled1, conv1, 16, 28);
    convolve(conv2, pooled1, (const float *)weights->conv2, 32, 16, 12);
    pool(features, conv2, 32, 12);
    for (size_t k = 0; k < CNN_CLASSES; k++) {
        logits[k] = 0;
        for (size_t f = 0; f < CNN_FEATURES; f++)
            logits[k] += features[f] * (double)weights->fc[f][k];
    }
}

static struct cnn_weights *draw_weights(struct random_state *state)
{
    struct cnn_weights *const weights = memory(sizeof *weights);
    random_normal_scaled(state, (float *)(void *)weights, sizeof *weights / sizeof(float), 0.1f);
    return weights;
}

static int write_cnn(const size_t size[2], const char *directory, struct random_state *state)
{
    const size_t n = size[0];
    struct cnn_weights *const weights = draw_weights(state);
    float *const images = memory(n * CNN_PIXELS * sizeof *images);
    double *const logits = memory(n * CNN_CLASSES * sizeof *logits);
    random_normal_float(state, images, n * CNN_PIXELS);
    for (size_t i = 0; i < n; i++)
        classify_image(logits + i * CNN_CLASSES, weights, images + i * CNN_PIXELS);
    const int status =
        write_array(directory, "weights", weights, sizeof *weights) |
        write_array(directory, "x", images, n * CNN_PIXELS * sizeof *images) |
        write_array(directory, "reference", logits, n * CNN_CLASSES * sizeof *logits);
    free(weights), free(images), free(logits);
    return status;
}

static int write_conv2(const size_t size[2], const char *directory, struct random_state *state)
{
    (void)size;
    struct cnn_weights *const weights = draw_weights(state);
    float x[16 * 14 * 14];
    double in[16 * 14 * 14], conv2[32 * 12 * 12], pooled[32 * 6 * 6];
    random_normal_float(state, x, sizeof x / sizeof *x);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        in[i] = (double)(x[i] = fabsf(x[i])); /* as after relu */
    convolve(conv2, in, (const float *)weights->conv2, 32, 16, 12);
    pool(pooled, conv2, 32, 12);
    const int status = write_array(directory, "weights", weights, sizeof *weights) |
                       write_array(directory, "x", x, sizeof x) |
                       write_array(directory, "reference", conv2, sizeof conv2) |
                       write_array(directory, "pooled", pooled, sizeof pooled);
    free(weights);
    return status;
}

/* ---- squares, product, randn -------------------------------------------------------------------
 */

static int write_squares(const size_t size[2], const char *directory, struct random_state *state)
{
    float *const x = memory(size[0] * sizeof *x);
    random_normal_float(state, x, size[0]);
    const double total = sum_of_squares_exact(x, size[0]);
    const int status = write_array(directory, "x", x, size[0] * sizeof *x) |
                       write_array(directory, "reference", &total, sizeof total);
    free(x);
    return status;
}

static int write_product(const size_t size[2], const char *directory, struct random_state *state)
{
    const size_t order = size[0], rows = order < 500 ? order : PRODUCT_ROWS;
    float *const x = memory(order * order * sizeof *x), *const y =
                                                            memory(order * order * sizeof *y);
    double *const reference = memory(rows * order * sizeof *reference);
    random_normal_float(state, x, order * order);
    random_normal_float(state, y, order * order);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < order; k++)
            for (size_t j = 0; j < order; j++)
                reference[i * order + j] += (double)x[i * order + k] * (double)y[k * order + j];
    const int status =
        write_array(directory, "x", x, order * order * sizeof *x) |
        write_array(directory, "y", y, order * order * sizeof *y) |
        write_array(directory, "reference", reference, rows * order * sizeof *reference);
    free(x), free(y), free(reference);
    return status;
}

static int write_randn(const size_t size[2], const char *directory, struct random_state *state)
{
    double *const values = memory(size[0] * sizeof *values);
    random_normal(state, values, size[0]);
    const int status = write_array(directory, "reference", values, size[0] * sizeof *values);
    free(values);
    return status;
}

int inputs_write(const char *name, const size_t size[2], const char *directory)
{
    static const struct {
        const char *name;
        int (*write)(const size_t size[2], const char *directory, struct random_state *state);
    } kinds[] = {{"image", write_image},     {"cnn", write_cnn},         {"conv2", write_conv2},
                 {"squares", write_squares}, {"product", write_product}, {"randn", write_randn}};
    struct random_state state;
    random_seed(&state, SEED);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].write(size, directory, &state);
    fprintf(stderr, "bench_ours: there is no kind of case %s\n", name);
    return -1;
}
