/* kernels_numbers.c - runs a kernel on a .npy file, for kernels_oracle.py to compare.
 *
 * Usage: kernels_numbers (KERNEL INPUT OUTPUT)...
 *
 * INPUT is float32. KERNEL is edges or edges_naive (of a height x width image; OUTPUT is float32),
 * sum or sum_naive (of all elements; float64), product_sum or product_sum_naive (of a square
 * matrix; float64), or cnn_naive, cnn_einsum, cnn_im2col or cnn_direct (of the weights of the
 * network and then images, in one row; float32).
 */
#include "common/data/npy.h"
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include <stdlib.h>

static struct error error;

static int write_edges(const char *path, const struct npy_array *input, int naive)
{
    const size_t height = input->shape[0], width = input->shape[1];
    float *const edges = calloc(height * width + 1, sizeof *edges);
    float *const scratch = calloc(image_edges_naive_scratch(height, width) + 1, sizeof *scratch);
    int status = -1;
    if (!edges || !scratch) {
        error_set(&error, ERROR_MEMORY, "no memory for an image of %zux%zu", height, width);
        goto cleanup;
    }
    status = naive ? image_edges_naive(edges, input->data, scratch, height, width, &error)
                   : image_edges(edges, input->data, height, width, &error);
    if (status == 0)
        status = npy_write(path, NPY_FLOAT32, 2, (size_t[]){height - 4, width - 4}, edges, &error);
cleanup:
    free(scratch);
    free(edges);
    return status;
}

static int write_product_sum(const char *path, const struct npy_array *input, int naive)
{
    const size_t order = input->shape[0];
    float *const product = calloc(order * order + 1, sizeof *product);
    if (!product)
        return error_set(&error, ERROR_MEMORY, "no memory for a matrix of order %zu", order);
    const double total = naive ? product_sum_naive(product, input->data, order)
                               : product_sum(product, input->data, order);
    free(product);
    return npy_write(path, NPY_FLOAT64, 0, NULL, &total, &error);
}

static int write_sum(const char *path, const struct npy_array *input, int naive)
{
    size_t n = 1;
    for (int i = 0; i < input->dimensions; i++)
        n *= input->shape[i];
    const double total = naive ? sum_naive(input->data, n) : sum(input->data, n);
    return npy_write(path, NPY_FLOAT64, 0, NULL, &total, &error);
}

static int write_logits(const char *path, const struct npy_array *input, const char *version_name)
{
    const struct cnn_weights *const weights = input->data;
    const size_t n = (input->shape[0] - CNN_WEIGHTS) / CNN_PIXELS;
    enum cnn_version version = 0;
    while (version < CNN_VERSIONS && strcmp(version_name, cnn_version_name(version)) != 0)
        version++;
    if (version == CNN_VERSIONS)
        return error_set(&error, ERROR_INVALID, "there is no version %s", version_name);
    float *const logits = calloc(n * CNN_CLASSES + 1, sizeof *logits);
    float *const scratch = aligned_alloc(64, cnn_scratch(version, n) * sizeof *scratch + 64);
    int status = -1;
    if (!logits || !scratch) {
        error_set(&error, ERROR_MEMORY, "no memory for %zu images", n);
        goto cleanup;
    }
    cnn_forward(logits, version, weights, (const float *)(weights + 1), scratch, n);
    status = npy_write(path, NPY_FLOAT32, 2, (size_t[]){n, CNN_CLASSES}, logits, &error);
cleanup:
    free(scratch);
    free(logits);
    return status;
}

static int run(const char *kernel, const char *from, const char *to)
{
    struct npy_array input;
    if (npy_read(from, &input, &error))
        return -1;
    const int naive = strstr(kernel, "_naive") != NULL, square = input.dimensions == 2;
    int status;
    if (input.type != NPY_FLOAT32)
        status = error_set(&error, ERROR_INVALID, "%s is not float32", from);
    else if (strncmp(kernel, "edges", 5) == 0 && square)
        status = write_edges(to, &input, naive);
    else if (strncmp(kernel, "product_sum", 11) == 0 && square && input.shape[0] == input.shape[1])
        status = write_product_sum(to, &input, naive);
    else if (strncmp(kernel, "sum", 3) == 0)
        status = write_sum(to, &input, naive);
    else if (strncmp(kernel, "cnn_", 4) == 0 && input.dimensions == 1 &&
             input.shape[0] >= CNN_WEIGHTS)
        status = write_logits(to, &input, kernel + 4);
    else
        status = error_set(&error, ERROR_INVALID, "%s cannot be run on %s", kernel, from);
    free(input.data);
    return status;
}

int main(int count, char **arguments)
{
    if (count < 4 || count % 3 != 1) {
        fprintf(stderr, "usage: kernels_numbers (KERNEL INPUT OUTPUT)...\n");
        return 2;
    }
    for (int i = 1; i < count; i += 3)
        if (run(arguments[i], arguments[i + 1], arguments[i + 2])) {
            fprintf(stderr, "kernels_numbers: %s\n", error.message);
            return 1;
        }
    return 0;
}
