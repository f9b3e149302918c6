/* inputs.c - the inputs of the three scenarios, dealt out in parts, and the arrays of --save.
 *
 * The notebook draws one stream of random numbers: the images, then A and B, then the weights, then
 * the network's images. So each scenario keeps the generator as it was after its own numbers, and
 * the next one goes on from there, however often it is prepared.
 */
#include "chapters/09_final_benchmark/final_benchmark.h"

#define LADDER_PIXELS ((size_t)1 << 22)
#define LADDER_COPIES 4 /* each version has images of its own */

size_t ladder_images(const struct work *images)
{
    const size_t pixels = images->kind.size[0] * images->kind.size[1];
    const size_t most = pixels < LADDER_PIXELS ? LADDER_PIXELS / pixels : 1;
    return images->items < most ? images->items : most;
}

/* Of an array there are its own, that in shared memory, and of a result the one to compare with. */
double bytes_needed(const struct work *images, const struct work *product,
                    const struct work *network)
{
    const double order = (double)product->items;
    const double image =
        5.0 * sizeof(float) * (double)images->kind.size[0] * (double)images->kind.size[1];
    return image * ((double)images->items + LADDER_COPIES * (double)ladder_images(images)) +
           7.0 * sizeof(double) * order * order +
           (double)network->items * sizeof(float) * (2.0 * CNN_PIXELS + 3.0 * CNN_CLASSES);
}

/* Memory for the items, `in` numbers of this type each, and their results, `out` numbers each;
 * parts as equal as can be. */
static void deal(struct lesson *lesson, struct work *work, size_t parts, size_t in, size_t out,
                 enum npy_type type)
{
    const size_t size = npy_size(type);
    work->parts = parts < work->items ? parts : work->items;
    lesson_input(lesson, &work->in, work->items * in, size);
    lesson_result(lesson, &work->out, type, work->items, out);
    lesson_input(lesson, &work->constant, work->constant_size, 1);
    lesson_input(lesson, &work->count, work->parts, sizeof *work->count);
    lesson_input(lesson, &work->in_at, work->parts + 1, sizeof *work->in_at);
    lesson_input(lesson, &work->out_at, work->parts + 1, sizeof *work->out_at);
    for (size_t i = 0, dealt = 0; i < work->parts; i++) {
        work->count[i] = work->items / work->parts + (i < work->items % work->parts ? 1 : 0);
        dealt += work->count[i];
        work->in_at[i + 1] = dealt * in * size;
        work->out_at[i + 1] = dealt * out * size;
    }
    if (work->previous)
        work->next = work->previous->next;
    else
        random_seed(&work->next, lesson_seed(lesson));
}

/* The most of --workers: a part for each of them. */
static size_t most_workers(const struct lesson *lesson)
{
    size_t count, most = 1;
    const int *workers = lesson_workers(lesson, &count);
    for (size_t i = 0; i < count; i++)
        most = (size_t)workers[i] > most ? (size_t)workers[i] : most;
    return most;
}

void make_images(struct lesson *lesson, void *context)
{
    struct work *work = context;
    const size_t *size = work->kind.size;
    deal(lesson, work, work->items, size[0] * size[1], (size[0] - 4) * (size[1] - 4), NPY_FLOAT32);
    random_normal_float(&work->next, (void *)work->in, work->items * size[0] * size[1]);
}

void make_matrices(struct lesson *lesson, void *context)
{
    struct work *work = context;
    const size_t order = work->items;
    work->kind.size[0] = work->kind.size[1] = order;
    work->constant_size = order * order * sizeof(double);
    deal(lesson, work, most_workers(lesson), order, order, NPY_FLOAT64);
    random_normal(&work->next, (void *)work->in, order * order);
    random_normal(&work->next, work->constant, order * order);
}

void make_network(struct lesson *lesson, void *context)
{
    struct work *work = context;
    work->constant_size = sizeof(struct cnn_packed);
    deal(lesson, work, most_workers(lesson), CNN_PIXELS, CNN_CLASSES, NPY_FLOAT32);
    lesson_input(lesson, &work->weights, 1, sizeof *work->weights);
    random_normal_scaled(&work->next, (void *)work->weights, sizeof *work->weights / sizeof(float),
                         0.1F);
    cnn_pack(work->constant, work->weights);
    random_normal_float(&work->next, (void *)work->in, work->items * CNN_PIXELS);
}

void save(struct lesson *lesson, const struct work *images, const struct work *product,
          const struct work *network)
{
    const struct cnn_weights *weights = network->weights;
    const size_t height = images->kind.size[0], width = images->kind.size[1];
    const struct {
        const char *file;
        enum npy_type type;
        const void *data;
        size_t shape[4]; /* up to the first 0 */
    } arrays[] = {
        {"images.npy", NPY_FLOAT32, images->in, {images->items, height, width}},
        {"edges.npy", NPY_FLOAT32, images->out, {images->items, height - 4, width - 4}},
        {"matmul_a.npy", NPY_FLOAT64, product->in, {product->items, product->items}},
        {"matmul_b.npy", NPY_FLOAT64, product->constant, {product->items, product->items}},
        {"matmul_c.npy", NPY_FLOAT64, product->out, {product->items, product->items}},
        {"conv1_w.npy", NPY_FLOAT32, weights->conv1, {CNN_CHANNELS1, 1, 3, 3}},
        {"conv2_w.npy", NPY_FLOAT32, weights->conv2, {CNN_CHANNELS2, CNN_CHANNELS1, 3, 3}},
        {"fc_w.npy", NPY_FLOAT32, weights->fc, {CNN_FEATURES, CNN_CLASSES}},
        {"cnn_images.npy", NPY_FLOAT32, network->in, {network->items, 1, CNN_SIDE, CNN_SIDE}},
        {"logits.npy", NPY_FLOAT32, network->out, {network->items, CNN_CLASSES}},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        int dimensions = 0;
        while (dimensions < 4 && arrays[i].shape[dimensions] > 0)
            dimensions++;
        lesson_save(lesson, arrays[i].file, arrays[i].type, dimensions, arrays[i].shape,
                    arrays[i].data);
    }
}
