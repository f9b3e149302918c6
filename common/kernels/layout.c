/* layout.c - what the kernels' inputs must be like: sizes, and how weights are packed. Compiled
 * once.
 */
#include "common/kernels/isa.h"

int image_check_size(size_t height, size_t width, struct error *error)
{
    if (height < IMAGE_MIN_SIZE || width < IMAGE_MIN_SIZE)
        return error_set(error, ERROR_INVALID,
                         "an image of %zux%zu pixels has no edges: height and width must be at "
                         "least %d",
                         height, width, IMAGE_MIN_SIZE);
    return 0;
}

size_t image_edges_naive_scratch(size_t height, size_t width)
{
    if (height < IMAGE_MIN_SIZE || width < IMAGE_MIN_SIZE)
        return 0;
    return height * width + (height - 2) * (width - 2) + 2 * (height - 4) * (width - 4);
}

size_t augment_words(size_t height, size_t width)
{
    return 1 + height * width;
}

#define PLACES ((size_t)CNN_FEATURES / CNN_CHANNELS2)

/* As the direct convolution reads them: the weights of a block of channels side by side. */
void cnn_pack(struct cnn_packed *packed, const struct cnn_weights *weights)
{
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++)
            for (size_t o = 0; o < CNN_LANES; o++) {
                packed->conv1[i][j][0][o] = weights->conv1[o][0][i][j];
                for (size_t block = 0; block < CNN_CHANNELS2 / CNN_LANES; block++)
                    for (size_t c = 0; c < CNN_CHANNELS1; c++)
                        packed->conv2[block][i][j][c][o] =
                            weights->conv2[block * CNN_LANES + o][c][i][j];
            }
    for (size_t k = 0; k < CNN_CLASSES; k++)
        for (size_t place = 0; place < PLACES; place++)
            for (size_t c = 0; c < CNN_CHANNELS2; c++)
                packed->fc[k][place * CNN_CHANNELS2 + c] = weights->fc[c * PLACES + place][k];
}

/* Of fma_chain: the widths of roof.h in floats. */
const size_t fma_chain_lanes[FMA_CHAIN_WIDTHS] = {(size_t)FMA_CHAINS * 4, (size_t)FMA_CHAINS * 8,
                                                  (size_t)FMA_CHAINS * 16};
