/* cnn_direct.c - the whole network for one image after the other, in registers and first-level
 * cache.
 *
 * Why it is fast:
 * - Vectors of output channels. An input value belongs to all output channels, each with a weight
 *   of its own. Packed so that the weights of LANES channels stand side by side, one vector
 *   instruction multiplies a value by all of them and adds: no shuffling, no borders, no rest.
 * - Results stay in registers. A tile, some channels of a piece of two rows, is begun with zeros,
 *   gets all its 9 or 144 additions, and only then is stored. A weight that was loaded serves
 *   every pixel of the tile, and so many pixels are independent chains of additions: none waits
 *   for the one before it.
 * - Nothing goes to memory in between. Two rows of a convolution are made, rectified and pooled to
 *   one; the 50 kB that conv1 writes for an image are never there at once. Image, pooled maps and
 *   weights of conv2 fit into the first two levels of the cache.
 * - Pooling four values takes three instructions for the maximum, one for 0 and four for the NaN
 *   that a maximum may lose: two comparisons see to all four of them.
 * - The fully connected layer has 46 kB of weights, and to read them is its whole cost. So they are
 *   packed without gaps, and read once for FC_IMAGES images.
 */
#include "common/kernels/cnn.h"
#include "common/kernels/isa.h"
#include <math.h>
#include <string.h>

enum {
    LANES = CNN_LANES,
    PADDED = CNN_SIDE + 2,
    SIDE1 = CNN_SIDE / 2, /* after the first pool */
    SIDE2 = SIDE1 - 2,    /* after conv2 */
    SIDE3 = SIDE2 / 2,    /* after the second pool */
    PLACES3 = SIDE3 * SIDE3,
    BLOCKS2 = CNN_CHANNELS2 / LANES,
};

/* A tile is two rows of so many pixels, and so many channels of each. Its sums fill the registers
 * and leave some for a weight and a value: with one more they would be written to memory and read
 * back in each round. In the fully connected layer each class of each of FC_IMAGES images has a
 * register of FC_LANES sums. */
#if defined __AVX512F__ /* 28, 24 and 20 of 32 registers of 16 floats */
enum { TILE1 = 14, TILE2 = 12, TILE_LANES = 16, FC_IMAGES = 2, FC_LANES = 16 };
#elif defined __AVX2__    /* 8, 12 and 10 of 16 registers of 8 */
enum { TILE1 = 4, TILE2 = 6, TILE_LANES = 8, FC_IMAGES = 1, FC_LANES = 8 };
#elif defined __aarch64__ /* 16, 16 and 20 of 32 registers of 4: with 24 some spilled */
enum { TILE1 = 4, TILE2 = 4, TILE_LANES = 8, FC_IMAGES = 2, FC_LANES = 4 };
#else                     /* 8, 8 and 10 of 16 registers of 4 */
enum { TILE1 = 2, TILE2 = 2, TILE_LANES = 8, FC_IMAGES = 1, FC_LANES = 4 };
#endif

/* One instruction. Where a is a NaN it is lost. */
INLINED float larger(float a, float b)
{
    return a > b ? a : b;
}

/* The largest of four and 0; NaN if there is one, as np.maximum would have it. */
INLINED float rectify_and_pool(float a, float b, float c, float d)
{
    const float largest = larger(larger(a, b), larger(c, d));
    return isunordered(a, b) | isunordered(c, d) ? NAN : larger(0, largest);
}

/* Convolution, relu and pool: pooled[pixels / 2], each of TILE_LANES floats, `stride` from one to
 * the next, from two rows of `pixels` places of a 3x3 convolution of in[4][width][channels]. A row
 * of the kernel with all its channels, 3 * channels taps, is contiguous in both. Where this is
 * inlined pixels and channels are constants, and each of the sums has a register. */
INLINED void convolve_tile(float *restrict pooled, size_t stride, const float *restrict in,
                           const float *restrict weights, size_t pixels, size_t channels,
                           size_t width)
{
    float sums[2][TILE1 > TILE2 ? TILE1 : TILE2][TILE_LANES] = {{{0}}};
    for (size_t i = 0; i < 3; i++)
        for (size_t tap = 0; tap < 3 * channels; tap++) {
            const float *const value = in + i * width * channels + tap;
            const float *const weight = weights + (i * 3 * channels + tap) * LANES;
#pragma GCC unroll ALL_TURNS
            for (size_t row = 0; row < 2; row++)
#pragma GCC unroll ALL_TURNS
                for (size_t p = 0; p < pixels; p++)
#pragma omp simd
                    for (size_t o = 0; o < TILE_LANES; o++)
                        sums[row][p][o] += value[(row * width + p) * channels] * weight[o];
        }
#pragma GCC unroll ALL_TURNS
    for (size_t p = 0; p < pixels / 2; p++)
#pragma omp simd
        for (size_t o = 0; o < TILE_LANES; o++)
            pooled[p * stride + o] = rectify_and_pool(sums[0][2 * p][o], sums[0][2 * p + 1][o],
                                                      sums[1][2 * p][o], sums[1][2 * p + 1][o]);
}

/* A row of pooled[places / 2], LANES channels each, from two rows of the convolution; a tile at a
 * time. */
INLINED void convolve_rows(float *restrict pooled, size_t stride, const float *restrict in,
                           const float *restrict weights, size_t places, size_t tile,
                           size_t channels, size_t width)
{
    for (size_t x = 0; x < places; x += tile)
        for (size_t lane = 0; lane < LANES; lane += TILE_LANES)
            convolve_tile(pooled + x / 2 * stride + lane, stride, in + x * channels, weights + lane,
                          tile, channels, width);
}

/* features[6][6][32] from pooled[14][14][16]. */
INLINED void convolve_second(float *restrict features, const struct cnn_packed *restrict packed,
                             const float *restrict pooled)
{
    for (size_t y = 0; y < SIDE3; y++)
        for (size_t block = 0; block < BLOCKS2; block++)
            convolve_rows(features + y * SIDE3 * CNN_CHANNELS2 + block * LANES, CNN_CHANNELS2,
                          pooled + 2 * y * SIDE1 * CNN_CHANNELS1, packed->conv2[block][0][0][0],
                          SIDE2, TILE2, CNN_CHANNELS1, SIDE1);
}

/* features[6][6][32] of an image. */
INLINED void convolve_image(float *restrict features, const struct cnn_packed *restrict packed,
                            const float *restrict image)
{
    _Alignas(64) float padded[PADDED][PADDED] = {{0}};
    _Alignas(64) float pooled[SIDE1][SIDE1][LANES];

    for (size_t y = 0; y < CNN_SIDE; y++)
        memcpy(&padded[y + 1][1], image + y * CNN_SIDE, CNN_SIDE * sizeof *image);
    for (size_t y = 0; y < SIDE1; y++)
        convolve_rows(pooled[y][0], LANES, padded[2 * y], packed->conv1[0][0][0], CNN_SIDE, TILE1,
                      1, PADDED);
    convolve_second(features, packed, pooled[0][0]);
}

void EACH_ISA(cnn_conv2_packed)(float *features, const struct cnn_packed *packed,
                                const float *pooled)
{
    convolve_second(features, packed, pooled);
}

/* logits[images][10] from features[images][1152]; feature f goes to lane f % FC_LANES, however
 * many images there are. */
INLINED void classify(float *restrict logits, float (*restrict features)[CNN_FEATURES],
                      const float (*restrict weights)[CNN_FEATURES], size_t images)
{
    float sums[FC_IMAGES][CNN_CLASSES][FC_LANES] = {{{0}}};
    for (size_t f = 0; f < CNN_FEATURES; f += FC_LANES)
#pragma GCC unroll ALL_TURNS
        for (size_t i = 0; i < images; i++)
#pragma GCC unroll ALL_TURNS
            for (size_t k = 0; k < CNN_CLASSES; k++)
#pragma omp simd
                for (size_t lane = 0; lane < FC_LANES; lane++)
                    sums[i][k][lane] += features[i][f + lane] * weights[k][f + lane];
    for (size_t i = 0; i < images; i++)
        for (size_t k = 0; k < CNN_CLASSES; k++)
            logits[i * CNN_CLASSES + k] = fold_floats(sums[i][k], FC_LANES);
}

void EACH_ISA(cnn_forward_packed)(float *logits, const struct cnn_packed *packed,
                                  const float *images, size_t n)
{
    _Alignas(64) float features[FC_IMAGES][CNN_FEATURES];
    for (size_t i = 0; i < n; i++) {
        convolve_image(features[i % FC_IMAGES], packed, images + i * CNN_PIXELS);
        const size_t waiting = i % FC_IMAGES + 1;
        if (waiting == FC_IMAGES) {
            classify(logits + (i + 1 - waiting) * CNN_CLASSES, features, packed->fc, FC_IMAGES);
        } else if (i + 1 == n) {
            for (size_t w = 0; w < waiting; w++)
                classify(logits + (n - waiting + w) * CNN_CLASSES, &features[w], packed->fc, 1);
        }
    }
}
