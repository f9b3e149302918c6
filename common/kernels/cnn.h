/* cnn.h - the notebook's small convolutional network (section 4.2), four times.
 *
 *   image    1 x 28 x 28
 *   conv1    1 -> 16 channels, 3x3, padded by 1   16 x 28 x 28
 *   relu, 2x2 maxpool                             16 x 14 x 14
 *   conv2    16 -> 32 channels, 3x3, not padded   32 x 12 x 12
 *   relu, 2x2 maxpool                             32 x  6 x  6
 *   fc       all 1152 of them to 10 classes       10 logits
 *
 * The four versions compute the same logits and differ in how they convolve. A test holds them
 * together within 1e-5. 1.58 million floating-point operations an image, in all of them.
 *
 * Any number of images in one call: a batch. An image's logits do not depend on the batch that it
 * is in, to the last bit, except in CNN_IM2COL, where BLAS may add in another order when a product
 * has another size. NaN and infinity in an image spread as in NumPy: a NaN makes all of its logits
 * NaN, and no other image's. Images and logits may lie anywhere; nothing is allocated.
 */
#ifndef KERNELS_CNN_H
#define KERNELS_CNN_H

#include <stddef.h>

enum {
    CNN_SIDE = 28,
    CNN_CHANNELS1 = 16,
    CNN_CHANNELS2 = 32,
    CNN_FEATURES = CNN_CHANNELS2 * 6 * 6,
    CNN_CLASSES = 10,
    CNN_PIXELS = CNN_SIDE * CNN_SIDE,
};

/* The notebook's arrays, in C order, one after the other: they can be drawn or read as one array of
 * CNN_WEIGHTS floats. */
struct cnn_weights {
    float conv1[CNN_CHANNELS1][1][3][3]; /* [channel out][channel in][row][column] */
    float conv2[CNN_CHANNELS2][CNN_CHANNELS1][3][3];
    float fc[CNN_FEATURES][CNN_CLASSES]; /* features: [channel][row][column] */
};
enum { CNN_WEIGHTS = sizeof(struct cnn_weights) / sizeof(float) };

enum cnn_version {
    CNN_NAIVE,  /* seven nested loops, as the formula is written: the reference */
    CNN_EINSUM, /* loops over patches given by strides, as np.einsum without optimize goes */
    CNN_IM2COL, /* the patches as a matrix, and one product by BLAS (as many threads as it is set
                   to) */
    CNN_DIRECT, /* the loops in another order, in registers, with weights packed for them */
    CNN_VERSIONS
};

/* "naive", "einsum", "im2col", "direct". */
const char *cnn_version_name(enum cnn_version version);

/* Floats of working memory that a call with n images needs. It grows with n up to a limit: large
 * batches are worked on in blocks. */
size_t cnn_scratch(enum cnn_version version, size_t n);

/* logits[n][10] from images[n][1][28][28]. scratch: cnn_scratch(version, n) floats, the caller's,
 * aligned to 64 bytes. CNN_DIRECT packs the weights there in each call; see below. */
void cnn_forward(float *logits, enum cnn_version version, const struct cnn_weights *weights,
                 const float *images, float *scratch, size_t n);

/* The weights in the order in which the direct version reads them, 16 output channels side by
 * side. Aligned to 64 bytes. */
enum { CNN_LANES = 16 };
struct cnn_packed {
    _Alignas(64) float conv1[3][3][1][CNN_LANES]; /* [row][column][channel in][channel out] */
    float conv2[CNN_CHANNELS2 / CNN_LANES][3][3][CNN_CHANNELS1][CNN_LANES];
    float fc[CNN_CLASSES][CNN_FEATURES]; /* features: [row][column][channel] */
};
void cnn_pack(struct cnn_packed *packed, const struct cnn_weights *weights);

/* cnn_forward's CNN_DIRECT with weights packed beforehand; the same logits. */
void cnn_forward_packed(float *logits, const struct cnn_packed *packed, const float *images,
                        size_t n);

/* Its second convolution alone, with relu and pool, to be measured by itself: features[6][6][32]
 * from pooled[14][14][16], channels last in both. */
void cnn_conv2_packed(float *features, const struct cnn_packed *packed, const float *pooled);

/* The last layer by itself: logits[n][10] = features[n][1152] . weights[1152][10], the sums in
 * double. All versions but the direct one end with it. */
void cnn_fully_connected(float *restrict logits, const float *restrict features,
                         const float (*restrict weights)[CNN_CLASSES], size_t n);

#endif
