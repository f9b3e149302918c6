/* cnn_fully_connected.c - the last layer, for the versions that go layer by layer.
 *
 * So many additions are made in double, or the versions would differ by the order of them.
 */
#include "common/kernels/isa.h"

void EACH_ISA(cnn_fully_connected)(float *restrict logits, const float *restrict features,
                                   const float (*restrict weights)[CNN_CLASSES], size_t n)
{
    for (size_t image = 0; image < n; image++) {
        double totals[CNN_CLASSES] = {0};
        for (size_t f = 0; f < CNN_FEATURES; f++)
            for (size_t k = 0; k < CNN_CLASSES; k++)
                totals[k] += (double)features[image * CNN_FEATURES + f] * (double)weights[f][k];
        for (size_t k = 0; k < CNN_CLASSES; k++)
            logits[image * CNN_CLASSES + k] = (float)totals[k];
    }
}
