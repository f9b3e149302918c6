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
 * - The fully connected layer takes FC_IMAGES images at once, so that its 74 kB of weights are
 *   read once for all of them.
 */
#include "common/kernels/cnn.h"
#include "common/kernels/isa.h"
#include <string.h>

enum {
    LANES = CNN_LANES,
    PADDED = CNN_SIDE + 2,
    SIDE1 = CNN_SIDE / 2, /* after the first pool */
    SIDE2 = SIDE1 - 2,    /* after conv2 */
    SIDE3 = SIDE2 / 2,    /* after the second pool */
    PLACES3 = SIDE3 * SIDE3,
    BLOCKS2 = CNN_CHANNELS2 / LANES,
    FC_IMAGES = 4, /* images that share a pass over the weights */
    FC_CHAINS = 4, /* sums for each of them that do not wait for each other */
};

/* A tile is two rows of so many pixels, and so many channels of each. Its sums fill the registers
 * and leave some for a weight and a value: with one more they would be written to memory and read
 * back in each round. */
#if defined __AVX512F__
enum { TILE1 = 14, TILE2 = 12, TILE_LANES = 16 }; /* 28 and 24 of 32 registers of 16 floats */
#elif defined __AVX2__
enum { TILE1 = 4, TILE2 = 6, TILE_LANES = 8 }; /* 8 and 12 of 16 registers of 8 */
#elif defined __aarch64__
enum { TILE1 = 4, TILE2 = 4, TILE_LANES = 8 }; /* 16 of 32 registers of 4: with 24 some spilled */
#else
enum { TILE1 = 2, TILE2 = 2, TILE_LANES = 8 }; /* 8 of 16 registers of 4 */
#endif

void ONCE(cnn_pack)(struct cnn_packed *packed, const struct cnn_weights *weights)
{
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++)
            for (size_t o = 0; o < LANES; o++) {
                packed->conv1[i][j][0][o] = weights->conv1[o][0][i][j];
                for (size_t block = 0; block < BLOCKS2; block++)
                    for (size_t c = 0; c < CNN_CHANNELS1; c++)
                        packed->conv2[block][i][j][c][o] =
                            weights->conv2[block * LANES + o][c][i][j];
            }
    memset(packed->fc, 0, sizeof packed->fc);
    for (size_t c = 0; c < CNN_CHANNELS2; c++)
        for (size_t place = 0; place < PLACES3; place++)
            memcpy(packed->fc[place * CNN_CHANNELS2 + c], weights->fc[c * PLACES3 + place],
                   sizeof weights->fc[0]);
}

/* As np.maximum: a NaN on either side stays. */
INLINED float maximum(float a, float b)
{
    return a > b || a != a ? a : b;
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
#pragma GCC unroll 2
            for (size_t row = 0; row < 2; row++)
#pragma GCC unroll 16
                for (size_t p = 0; p < pixels; p++)
#pragma omp simd
                    for (size_t o = 0; o < TILE_LANES; o++)
                        sums[row][p][o] += value[(row * width + p) * channels] * weight[o];
        }
#pragma GCC unroll 8
    for (size_t p = 0; p < pixels / 2; p++)
#pragma omp simd
        for (size_t o = 0; o < TILE_LANES; o++) {
            const float upper = maximum(sums[0][2 * p][o], sums[0][2 * p + 1][o]);
            const float lower = maximum(sums[1][2 * p][o], sums[1][2 * p + 1][o]);
            pooled[p * stride + o] = maximum(maximum(upper, lower), 0);
        }
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

/* logits[images][10] from features[images][1152]; feature f goes to chain f % FC_CHAINS, however
 * many images there are. */
INLINED void classify(float *restrict logits, float (*restrict features)[CNN_FEATURES],
                      const float (*restrict weights)[LANES], size_t images)
{
    _Alignas(64) float sums[FC_CHAINS][FC_IMAGES][LANES] = {{{0}}};
    for (size_t f = 0; f < CNN_FEATURES; f += FC_CHAINS)
#pragma GCC unroll 4
        for (size_t chain = 0; chain < FC_CHAINS; chain++)
#pragma GCC unroll 4
            for (size_t i = 0; i < images; i++)
#pragma omp simd
                for (size_t k = 0; k < LANES; k++)
                    sums[chain][i][k] += features[i][f + chain] * weights[f + chain][k];
    for (size_t i = 0; i < images; i++)
        for (size_t k = 0; k < CNN_CLASSES; k++)
            logits[i * CNN_CLASSES + k] =
                (sums[0][i][k] + sums[1][i][k]) + (sums[2][i][k] + sums[3][i][k]);
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
