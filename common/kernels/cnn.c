/* cnn.c - the network layer by layer, for all images of a block: naive, einsum, im2col.
 *
 * The three have everything in common but the convolution. For the direct version, which does not
 * go layer by layer, see cnn_direct.c.
 *
 * Why im2col is faster than the loops: it copies each pixel up to nine times, into a matrix with a
 * column for each place of the kernel, and so makes the convolution a product of two matrices,
 *     out[channel][place] = weights[channel][tap] . patches[tap][place],
 * for which BLAS has the best loops there are: blocks in registers, vector instructions, several
 * threads if it is told so. It pays for that with memory: nine times the input is written and read
 * again, and here, with as few as 9 or 144 taps, that is not little against the arithmetic.
 */
#include "common/kernels/cnn.h"
#include <cblas.h>
#include <string.h>

enum {
    BLOCK = 8, /* images worked on together: few enough for their patches to stay in the cache */
    PADDED = CNN_SIDE + 2,
    SIDE1 = CNN_SIDE / 2, /* after the first pool */
    SIDE2 = SIDE1 - 2,    /* after the second convolution */
    TAPS1 = 9,
    TAPS2 = CNN_CHANNELS1 * 9,
};

/* Where a block's arrays lie in the scratch, in floats for each image. A convolution reads
 * `pooled` (the first one `padded`) and writes `maps`; the pool reads `maps` and writes `pooled`.
 */
enum {
    PADDED_FLOATS = PADDED * PADDED + 12, /* a multiple of 16, so that all begin on a cache line */
    MAPS_FLOATS = CNN_CHANNELS1 * CNN_PIXELS,
    POOLED_FLOATS = CNN_CHANNELS1 * SIDE1 * SIDE1,
    PATCHES_FLOATS = TAPS2 * SIDE2 * SIDE2,
};

/* ---- What all have in common ----------------------------------------------------------------- */

static const char *const names[CNN_VERSIONS] = {"naive", "einsum", "im2col", "direct"};

const char *cnn_version_name(enum cnn_version version)
{
    return names[version];
}

size_t cnn_scratch(enum cnn_version version, size_t n)
{
    const size_t images = n < BLOCK ? n : BLOCK;
    switch (version) {
    case CNN_IM2COL:
        return images * (PADDED_FLOATS + MAPS_FLOATS + POOLED_FLOATS + PATCHES_FLOATS);
    case CNN_DIRECT:
        return sizeof(struct cnn_packed) / sizeof(float);
    default:
        return images * (PADDED_FLOATS + MAPS_FLOATS + POOLED_FLOATS);
    }
}

/* As np.maximum: a NaN on either side stays. */
static inline float maximum(float a, float b)
{
    return a > b || a != a ? a : b;
}

/* padded[n][30][30]: each image with a border of zeros. */
static void pad(float *padded, const float *images, size_t n)
{
    memset(padded, 0, n * PADDED * PADDED * sizeof *padded);
    for (size_t image = 0; image < n; image++)
        for (size_t y = 0; y < CNN_SIDE; y++)
            memcpy(padded + (image * PADDED + y + 1) * PADDED + 1,
                   images + (image * CNN_SIDE + y) * CNN_SIDE, CNN_SIDE * sizeof *images);
}

static void relu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = maximum(x[i], 0);
}

/* out[planes][side/2][side/2]: the largest of each 2x2 of x[planes][side][side]. */
static void maxpool(float *restrict out, const float *restrict x, size_t planes, size_t side)
{
    for (size_t row = 0; row < planes * side / 2; row++) {
        const float *const upper = x + 2 * row * side, *const lower = upper + side;
        for (size_t i = 0; i < side / 2; i++)
            out[row * (side / 2) + i] = maximum(maximum(upper[2 * i], upper[2 * i + 1]),
                                                maximum(lower[2 * i], lower[2 * i + 1]));
    }
}

/* ---- Naive ----------------------------------------------------------------------------------- */

/* out[n][channels_out][side-2][side-2] from x[n][channels_in][side][side] and
 * w[channels_out][channels_in][3][3]. */
static void convolve_naive(float *restrict out, const float *restrict x, const float *restrict w,
                           size_t n, size_t channels_out, size_t channels_in, size_t side)
{
    for (size_t image = 0; image < n; image++)
        for (size_t o = 0; o < channels_out; o++)
            for (size_t row = 0; row < side - 2; row++)
                for (size_t column = 0; column < side - 2; column++) {
                    float total = 0;
                    for (size_t c = 0; c < channels_in; c++)
                        for (size_t i = 0; i < 3; i++)
                            for (size_t j = 0; j < 3; j++)
                                total += x[((image * channels_in + c) * side + row + i) * side +
                                           column + j] *
                                         w[((o * channels_in + c) * 3 + i) * 3 + j];
                    out[((image * channels_out + o) * (side - 2) + row) * (side - 2) + column] =
                        total;
                }
}

/* ---- Einsum ---------------------------------------------------------------------------------- */

/* An axis of the sum: how long it is, and how far apart neighbours along it lie in each array, in
 * floats; 0: the array does not have this axis. */
struct axis {
    size_t length, out, patches, weights;
};

/* out[n,o,h,w] = sum over c,i,j of patches[n,c,i,j,h,w] * weights[o,c,i,j]: what
 * np.einsum('ncijhw,ocij->nohw') does when it is not told to optimize. It knows nothing of
 * convolutions: seven loops over whatever strides it is given, in the order of the letters. axes:
 * n, o, h, w, then c, i, j. */
static void __attribute__((noinline))
einsum(float *restrict out, const float *restrict patches, const float *restrict weights,
       const struct axis axes[7], size_t depth)
{
    const struct axis *const axis = &axes[depth];
    if (depth < 4) { /* an axis of the output */
        for (size_t i = 0; i < axis->length; i++)
            einsum(out + i * axis->out, patches + i * axis->patches, weights + i * axis->weights,
                   axes, depth + 1);
        return;
    }
    const struct axis c = axes[4], i = axes[5], j = axes[6]; /* axes that are summed over */
    float total = 0;
    for (size_t ic = 0; ic < c.length; ic++)
        for (size_t ii = 0; ii < i.length; ii++)
            for (size_t ij = 0; ij < j.length; ij++)
                total += patches[ic * c.patches + ii * i.patches + ij * j.patches] *
                         weights[ic * c.weights + ii * i.weights + ij * j.weights];
    *out = total;
}

/* The patches are x itself, seen through np.lib.stride_tricks.as_strided: a step down in the patch
 * or in the image is the same step in memory. */
static void convolve_einsum(float *restrict out, const float *restrict x, const float *restrict w,
                            size_t n, size_t channels_out, size_t channels_in, size_t side)
{
    const size_t valid = side - 2, place = valid * valid, plane = side * side;
    const struct axis axes[7] = {
        {n, channels_out * place, channels_in * plane, 0},
        {channels_out, place, 0, channels_in * 9},
        {valid, valid, side, 0},
        {valid, 1, 1, 0},
        {channels_in, 0, plane, 9},
        {3, 0, side, 3},
        {3, 0, 1, 1},
    };
    einsum(out, x, w, axes, 0);
}

typedef void convolve(float *restrict out, const float *restrict x, const float *restrict w,
                      size_t n, size_t channels_out, size_t channels_in, size_t side);

static void forward_loops(float *logits, convolve *convolve, const struct cnn_weights *weights,
                          const float *images, float *scratch, size_t n)
{
    float *const padded = scratch, *const maps = padded + n * PADDED_FLOATS;
    float *const pooled = maps + n * MAPS_FLOATS;
    pad(padded, images, n);
    convolve(maps, padded, weights->conv1[0][0][0], n, CNN_CHANNELS1, 1, PADDED);
    relu(maps, n * MAPS_FLOATS);
    maxpool(pooled, maps, n * CNN_CHANNELS1, CNN_SIDE);
    convolve(maps, pooled, weights->conv2[0][0][0], n, CNN_CHANNELS2, CNN_CHANNELS1, SIDE1);
    relu(maps, n * CNN_CHANNELS2 * SIDE2 * SIDE2);
    maxpool(pooled, maps, n * CNN_CHANNELS2, SIDE2);
    cnn_fully_connected(logits, pooled, weights->fc, n);
}

/* ---- Im2col ---------------------------------------------------------------------------------- */

/* patches[channels*9][n][side-2][side-2] from x[channels][n][side][side]: a row for each tap, the
 * images side by side in it. */
static void im2col(float *restrict patches, const float *restrict x, size_t n, size_t channels,
                   size_t side)
{
    const size_t valid = side - 2;
    for (size_t tap = 0; tap < channels * 9; tap++)
        for (size_t image = 0; image < n; image++) {
            const float *const from =
                x + ((tap / 9 * n + image) * side + tap % 9 / 3) * side + tap % 3;
            float *const to = patches + (tap * n + image) * valid * valid;
            for (size_t row = 0; row < valid; row++)
                memcpy(to + row * valid, from + row * side, valid * sizeof *to);
        }
}

/* out[rows][columns] = a[rows][inner] . b[inner][columns] */
static void product(float *out, const float *a, const float *b, size_t rows, size_t columns,
                    size_t inner)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)columns,
                (blasint)inner, 1.0f, a, (blasint)inner, b, (blasint)columns, 0.0f, out,
                (blasint)columns);
}

/* Channel first, then image: so that one product convolves all images. */
static void forward_im2col(float *logits, const struct cnn_weights *weights, const float *images,
                           float *scratch, size_t n)
{
    float *const padded = scratch, *const maps = padded + n * PADDED_FLOATS;
    float *const pooled = maps + n * MAPS_FLOATS, *const patches = pooled + n * POOLED_FLOATS;
    pad(padded, images, n);
    im2col(patches, padded, n, 1, PADDED);
    product(maps, weights->conv1[0][0][0], patches, CNN_CHANNELS1, n * CNN_PIXELS, TAPS1);
    relu(maps, n * MAPS_FLOATS);
    maxpool(pooled, maps, n * CNN_CHANNELS1, CNN_SIDE);
    im2col(patches, pooled, n, CNN_CHANNELS1, SIDE1);
    product(maps, weights->conv2[0][0][0], patches, CNN_CHANNELS2, n * SIDE2 * SIDE2, TAPS2);
    relu(maps, n * CNN_CHANNELS2 * SIDE2 * SIDE2);
    maxpool(pooled, maps, n * CNN_CHANNELS2, SIDE2);
    const size_t place = CNN_FEATURES / CNN_CHANNELS2;
    for (size_t c = 0; c < CNN_CHANNELS2; c++) /* image first again */
        for (size_t image = 0; image < n; image++)
            memcpy(maps + (image * CNN_CHANNELS2 + c) * place, pooled + (c * n + image) * place,
                   place * sizeof *maps);
    cnn_fully_connected(logits, maps, weights->fc, n);
}

/* ---- All of them ----------------------------------------------------------------------------- */

void cnn_forward(float *logits, enum cnn_version version, const struct cnn_weights *weights,
                 const float *images, float *scratch, size_t n)
{
    if (version == CNN_DIRECT) {
        struct cnn_packed *const packed = (struct cnn_packed *)(void *)scratch;
        cnn_pack(packed, weights);
        cnn_forward_packed(logits, packed, images, n);
        return;
    }
    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t count = n - at < BLOCK ? n - at : BLOCK;
        float *const out = logits + at * CNN_CLASSES;
        const float *const in = images + at * CNN_PIXELS;
        if (version == CNN_IM2COL)
            forward_im2col(out, weights, in, scratch, count);
        else
            forward_loops(out, version == CNN_NAIVE ? convolve_naive : convolve_einsum, weights, in,
                          scratch, count);
    }
}
