/* final_benchmark.h - what the files of this chapter share.
 *
 * A scenario is a list of items that do not need each other, and something that all of them need;
 * the items are dealt out in parts, a part to a task.
 *
 *                item               part                   all need       result of an item
 *   images       an image           one image              -              its edges
 *   product      a row of A         a band of rows         matrix B       a row of A . B
 *   inference    a 28 x 28 image    a batch of images      the weights    10 logits
 */
#ifndef FINAL_BENCHMARK_H
#define FINAL_BENCHMARK_H

#include "common/data/random.h"
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "common/lesson/lesson.h"

struct kind {
    enum { IMAGES, PRODUCT, INFERENCE } scenario;
    size_t size[2]; /* height and width of the images; columns of A and of B */
};

struct work {
    struct kind kind;
    size_t items, parts;    /* how many: in all, and in how many parts */
    size_t *count;          /* [parts]: items in each */
    size_t *in_at, *out_at; /* [parts + 1]: where its input and its result begin, in bytes */
    char *in, *out;         /* of all items, one after the other */
    void *constant;         /* what all need; constant_size bytes */
    size_t constant_size;
    struct cnn_weights *weights; /* of the network, as the notebook has them */
    const struct work *previous; /* the scenario whose random numbers come before */
    struct random_state next;    /* the state of the generator after this one's */
};

/* inputs.c: how much memory all of this takes, at most; a workload's prepare for each scenario; and
 * --save. */
double bytes_needed(const struct work *images, const struct work *product,
                    const struct work *network);
void make_images(struct lesson *lesson, void *context);
void make_matrices(struct lesson *lesson, void *context);
void make_network(struct lesson *lesson, void *context);
void save(struct lesson *lesson, const struct work *images, const struct work *product,
          const struct work *network);

/* rungs.c: the same edges in four versions on one core, and the last two also on all cores. */
struct set {
    size_t images, size[2];
    size_t pixel_bytes, edge_bytes; /* of an image */
    float *pixels, *edges;          /* [images][...] */
};
enum version { NAIVE, ALGORITHM, VECTORS, BATCH, VERSIONS };
extern lesson_function *const rungs[VERSIONS][LESSON_MODES];

/* How many of the images climb the ladder: all, up to four million pixels. */
size_t ladder_images(const struct work *images);

/* ladder.c: measures the edges of `images` images on every rung, and prints what each step brought.
 * The first python_images of them go through the Python loops of notebook.py; 0: no Python. */
void climb_ladder(struct lesson *lesson, size_t images, const size_t size[2], size_t python_images);

#endif
