/* inference.h - what the files of this chapter share: the lesson is in inference.c, and tables
 * beside it in comparisons.c.
 */
#ifndef INFERENCE_H
#define INFERENCE_H

#include "common/kernels/cnn.h"
#include "common/lesson/lesson.h"

struct model {
    int version; /* enum cnn_version: how it convolves */
    struct cnn_weights weights;
};

/* A model, ready for use: packed as the direct version needs it */
struct network {
    struct model model;
    struct cnn_packed packed;
};

struct work {
    size_t images;
    struct network network;
    struct model *sent;     /* [1]: the model, as it is sent with every task */
    float *pixels, *logits; /* [images][28][28], [images][10] */
};

enum { IMAGE = CNN_PIXELS, LOGITS = CNN_CLASSES };
enum { EACH_TIME, ONCE, BATCHED, WAYS }; /* ways to hand the images over */

void make_ready(struct network *network);

/* logits[n][10] of images[n][28][28]. */
void classify(float *logits, const struct network *network, const float *images, size_t n);

/* The pool's initializer, and what it keeps in a worker */
int keep_model(const void *const *arguments, void *result, struct pool_task *task);
extern struct network kept;

/* A workload's prepare, and the three ways as workloads */
void make_model_and_images(struct lesson *lesson, void *context);
void describe(struct lesson_workload ways[WAYS], struct work *work);

/* comparisons.c: a line for each version of the convolution; and im2col with BLAS threads in worker
 * processes. Both take the images that were asked for, and leave the work as it was. */
void compare_versions(struct lesson *lesson, const struct work *work, size_t asked);
void compare_blas_threads(struct lesson *lesson, const struct work *work, size_t asked);

#endif
