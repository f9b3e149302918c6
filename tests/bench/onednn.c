/* onednn.c - the convolutions and the whole network by oneDNN 2, as contenders. See serve.h.
 *
 * Usage: bench_onednn THREADS       (and OMP_NUM_THREADS as many)
 *
 * oneDNN chooses the layout of weights and of everything between its primitives where it is told
 * "any"; weights are brought into it beforehand, which counts as set-up, and so are the input of
 * conv2 alone. The input of the network is the images as they are: if the first convolution wants
 * them otherwise, bringing them there is part of each call. relu is fused into the convolutions.
 */
#include "common/kernels/cnn.h"
#include "tests/bench/serve.h"
#include <dnnl.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define STEPS    8
#define MEMORIES 24
#define ARGS     4

enum layout { ANY, PLAIN };

struct step {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[ARGS];
    int arg_count;
};

struct network {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct step steps[STEPS];
    size_t step_count;
    dnnl_memory_t memories[MEMORIES];
    size_t memory_count;
    dnnl_memory_t last; /* the result, and where it is in plain layout */
    float *plain;
    size_t plain_count;
    dnnl_memory_desc_t plain_desc;
};

/* One way to handle errors in a chain of calls: the first that fails is named, then all is freed.
 */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        const dnnl_status_t status_ = (call);                                                      \
        if (status_ != dnnl_success)                                                               \
            return task_fail(task, "oneDNN says status %d", (int)status_);                         \
    } while (0)

static int new_memory(struct task *task, struct network *network, dnnl_memory_t *memory,
                      const dnnl_memory_desc_t *desc, void *at)
{
    if (!at && !(at = task_memory(task, dnnl_memory_desc_get_size(desc))))
        return -1;
    if (network->memory_count == MEMORIES)
        return task_fail(task, "too many arrays");
    TRY(dnnl_memory_create(memory, desc, network->engine, at));
    network->memories[network->memory_count++] = *memory;
    return 0;
}

/* Brings `from` into the layout `to`, now. */
static int reorder_now(struct task *task, const struct network *network, dnnl_memory_t from,
                       dnnl_memory_t to)
{
    const dnnl_memory_desc_t *from_desc = NULL, *to_desc = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t primitive = NULL;
    TRY(dnnl_memory_get_memory_desc(from, &from_desc));
    TRY(dnnl_memory_get_memory_desc(to, &to_desc));
    TRY(dnnl_reorder_primitive_desc_create(&desc, from_desc, network->engine, to_desc,
                                           network->engine, NULL));
    TRY(dnnl_primitive_create(&primitive, desc));
    dnnl_primitive_desc_destroy(desc);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    const dnnl_status_t status = dnnl_primitive_execute(primitive, network->stream, 2, args);
    dnnl_stream_wait(network->stream);
    dnnl_primitive_destroy(primitive);
    TRY(status);
    return 0;
}

static int add_step(struct task *task, struct network *network, dnnl_primitive_desc_t desc,
                    const dnnl_exec_arg_t *args, int arg_count)
{
    if (network->step_count == STEPS || arg_count > ARGS)
        return task_fail(task, "too many steps");
    struct step *const step = &network->steps[network->step_count];
    TRY(dnnl_primitive_create(&step->primitive, desc));
    memcpy(step->args, args, (size_t)arg_count * sizeof *args);
    step->arg_count = arg_count;
    network->step_count++;
    return 0;
}

/* *memory as a primitive wants it, `wanted`: itself if it is so already. Otherwise a copy, brought
 * there now (once), or by a step of each call. */
static int bring(struct task *task, struct network *network, dnnl_memory_t *memory,
                 const dnnl_memory_desc_t *wanted, bool once)
{
    const dnnl_memory_desc_t *have = NULL;
    dnnl_memory_t copy = NULL;
    TRY(dnnl_memory_get_memory_desc(*memory, &have));
    if (dnnl_memory_desc_equal(have, wanted))
        return 0;
    if (new_memory(task, network, &copy, wanted, NULL))
        return -1;
    if (once) {
        if (reorder_now(task, network, *memory, copy))
            return -1;
    } else {
        dnnl_primitive_desc_t desc = NULL;
        TRY(dnnl_reorder_primitive_desc_create(&desc, have, network->engine, wanted,
                                               network->engine, NULL));
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, *memory}, {DNNL_ARG_TO, copy}};
        const int status = add_step(task, network, desc, args, COUNT(args));
        dnnl_primitive_desc_destroy(desc);
        if (status)
            return -1;
    }
    *memory = copy;
    return 0;
}

static int plain_memory(struct task *task, struct network *network, dnnl_memory_t *memory,
                        int dimensions, const dnnl_dims_t shape, dnnl_format_tag_t tag, void *at)
{
    dnnl_memory_desc_t desc;
    TRY(dnnl_memory_desc_init_by_tag(&desc, dimensions, shape, dnnl_f32, tag));
    return new_memory(task, network, memory, &desc, at);
}

/* What oneDNN calls the code that it chose goes to the note. */
static void note_implementation(struct task *task, dnnl_primitive_desc_t desc)
{
    const char *name = "";
    if (dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name) ==
        dnnl_success) {
        const size_t used = strlen(task->note);
        snprintf(task->note + used, sizeof task->note - used, "%s%s", used ? ", " : "", name);
    }
}

/* 3x3 convolution with relu: *memory, which is [n][ins][side][side], becomes the result. */
static int add_convolution(struct task *task, struct network *network, dnnl_memory_t *memory,
                           float *weights, const dnnl_dim_t shape[4], int padding,
                           enum layout layout, dnnl_alg_kind_t algorithm, bool input_once)
{
    const dnnl_dim_t n = shape[0], outs = shape[1], ins = shape[2], side = shape[3];
    const dnnl_dim_t out_side = side + 2 * (dnnl_dim_t)padding - 2;
    const dnnl_dims_t in_shape = {n, ins, side, side}, weight_shape = {outs, ins, 3, 3};
    const dnnl_dims_t out_shape = {n, outs, out_side, out_side};
    const dnnl_dims_t strides = {1, 1}, paddings = {padding, padding};
    const dnnl_format_tag_t tag = layout == ANY ? dnnl_format_tag_any : dnnl_nchw;
    dnnl_memory_desc_t in_desc, weight_desc, out_desc;
    dnnl_convolution_desc_t convolution;
    dnnl_primitive_attr_t attributes;
    dnnl_post_ops_t post;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t weight = NULL, out = NULL;

    TRY(dnnl_memory_desc_init_by_tag(&in_desc, 4, in_shape, dnnl_f32, tag));
    TRY(dnnl_memory_desc_init_by_tag(&weight_desc, 4, weight_shape, dnnl_f32, dnnl_format_tag_any));
    TRY(dnnl_memory_desc_init_by_tag(&out_desc, 4, out_shape, dnnl_f32, tag));
    TRY(dnnl_convolution_forward_desc_init(&convolution, dnnl_forward_inference, algorithm,
                                           &in_desc, &weight_desc, NULL, &out_desc, strides,
                                           paddings, paddings));
    TRY(dnnl_post_ops_create(&post));
    TRY(dnnl_post_ops_append_eltwise(post, 1, dnnl_eltwise_relu, 0, 0));
    TRY(dnnl_primitive_attr_create(&attributes));
    TRY(dnnl_primitive_attr_set_post_ops(attributes, post));
    const dnnl_status_t status =
        dnnl_primitive_desc_create(&desc, &convolution, attributes, network->engine, NULL);
    dnnl_post_ops_destroy(post);
    dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success)
        return task_fail(task, "oneDNN does not offer this here (status %d)", (int)status);
    note_implementation(task, desc);

    if (plain_memory(task, network, &weight, 4, weight_shape, dnnl_oihw, weights) ||
        bring(task, network, &weight, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0),
              true) ||
        bring(task, network, memory, dnnl_primitive_desc_query_md(desc, dnnl_query_src_md, 0),
              input_once) ||
        new_memory(task, network, &out, dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0),
                   NULL))
        return -1;
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, *memory}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, out}};
    *memory = out;
    const int added = add_step(task, network, desc, args, COUNT(args));
    dnnl_primitive_desc_destroy(desc);
    return added;
}

/* 2x2 maximum of [n][channels][side][side], in the layout that it has. */
static int add_pool(struct task *task, struct network *network, dnnl_memory_t *memory, dnnl_dim_t n,
                    dnnl_dim_t channels, dnnl_dim_t side)
{
    const dnnl_dims_t out_shape = {n, channels, side / 2, side / 2}, two = {2, 2}, none = {0, 0};
    const dnnl_memory_desc_t *in_desc = NULL;
    dnnl_memory_desc_t out_desc;
    dnnl_pooling_desc_t pooling;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t out = NULL;
    TRY(dnnl_memory_get_memory_desc(*memory, &in_desc));
    TRY(dnnl_memory_desc_init_by_tag(&out_desc, 4, out_shape, dnnl_f32, dnnl_format_tag_any));
    TRY(dnnl_pooling_forward_desc_init(&pooling, dnnl_forward_inference, dnnl_pooling_max, in_desc,
                                       &out_desc, two, two, none, none));
    TRY(dnnl_primitive_desc_create(&desc, &pooling, NULL, network->engine, NULL));
    if (new_memory(task, network, &out, dnnl_primitive_desc_query_md(desc, dnnl_query_dst_md, 0),
                   NULL))
        return -1;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, *memory}, {DNNL_ARG_DST, out}};
    *memory = out;
    const int added = add_step(task, network, desc, args, COUNT(args));
    dnnl_primitive_desc_destroy(desc);
    return added;
}

/* [n][10] from [n][32][6][6] in the layout that it has; the notebook's weights are [1152][10]. */
static int add_classes(struct task *task, struct network *network, dnnl_memory_t *memory, float *fc,
                       dnnl_dim_t n)
{
    const dnnl_dims_t weight_shape = {CNN_CLASSES, CNN_CHANNELS2, 6, 6};
    const dnnl_dim_t classes = CNN_CLASSES, plane = (dnnl_dim_t)6 * 6;
    const dnnl_dims_t weight_strides = {1, plane * classes, 6 * classes, classes};
    const dnnl_dims_t out_shape = {n, CNN_CLASSES};
    const dnnl_memory_desc_t *in_desc = NULL;
    dnnl_memory_desc_t given_desc, weight_desc, out_desc;
    dnnl_inner_product_desc_t product;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_memory_t weight = NULL, out = NULL;
    TRY(dnnl_memory_get_memory_desc(*memory, &in_desc));
    TRY(dnnl_memory_desc_init_by_strides(&given_desc, 4, weight_shape, dnnl_f32, weight_strides));
    TRY(dnnl_memory_desc_init_by_tag(&weight_desc, 4, weight_shape, dnnl_f32, dnnl_format_tag_any));
    TRY(dnnl_memory_desc_init_by_tag(&out_desc, 2, out_shape, dnnl_f32, dnnl_ab));
    TRY(dnnl_inner_product_forward_desc_init(&product, dnnl_forward_inference, in_desc,
                                             &weight_desc, NULL, &out_desc));
    TRY(dnnl_primitive_desc_create(&desc, &product, NULL, network->engine, NULL));
    if (new_memory(task, network, &weight, &given_desc, fc) ||
        bring(task, network, &weight, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0),
              true) ||
        new_memory(task, network, &out, &out_desc, NULL))
        return -1;
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, *memory}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, out}};
    *memory = out;
    const int added = add_step(task, network, desc, args, COUNT(args));
    dnnl_primitive_desc_destroy(desc);
    return added;
}

static struct network *new_network(struct task *task)
{
    struct network *const network = task->own = task_memory(task, sizeof *network);
    if (!network)
        return NULL;
    if (dnnl_engine_create(&network->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&network->stream, network->engine, dnnl_stream_default_flags) !=
            dnnl_success) {
        task_fail(task, "oneDNN has no engine for this processor");
        return NULL;
    }
    return network;
}

/* Where `arrange` puts the result, in plain layout. */
static int plain_result(struct task *task, struct network *network, dnnl_memory_t last,
                        const dnnl_dims_t shape, int dimensions)
{
    network->last = last;
    network->plain_count = 1;
    for (int i = 0; i < dimensions; i++)
        network->plain_count *= (size_t)shape[i];
    TRY(dnnl_memory_desc_init_by_tag(&network->plain_desc, dimensions, shape, dnnl_f32,
                                     dimensions == 4 ? dnnl_nchw : dnnl_ab));
    network->plain = task_memory(task, network->plain_count * sizeof(float));
    task->result = network->plain;
    task->results = network->plain_count;
    return network->plain ? 0 : -1;
}

static void arrange(struct task *task)
{
    struct network *const network = task->own;
    dnnl_memory_t plain = NULL;
    if (network->plain &&
        new_memory(task, network, &plain, &network->plain_desc, network->plain) == 0)
        reorder_now(task, network, network->last, plain);
}

static int net_begin(struct task *task, enum layout layout)
{
    struct network *const network = new_network(task);
    struct cnn_weights *const weights = task_file(task, "weights", NULL);
    float *const images = task_file(task, "x", NULL);
    const dnnl_dim_t n = (dnnl_dim_t)task->size[0];
    const dnnl_dims_t in_shape = {n, 1, CNN_SIDE, CNN_SIDE}, out_shape = {n, CNN_CLASSES};
    const dnnl_dim_t conv1[] = {n, CNN_CHANNELS1, 1, CNN_SIDE};
    const dnnl_dim_t conv2[] = {n, CNN_CHANNELS2, CNN_CHANNELS1, CNN_SIDE / 2};
    dnnl_memory_t memory = NULL;
    if (!network || !weights || !images ||
        plain_memory(task, network, &memory, 4, in_shape, dnnl_nchw, images) ||
        add_convolution(task, network, &memory, (float *)weights->conv1, conv1, 1, layout,
                        dnnl_convolution_direct, false) ||
        add_pool(task, network, &memory, n, CNN_CHANNELS1, CNN_SIDE) ||
        add_convolution(task, network, &memory, (float *)weights->conv2, conv2, 0, layout,
                        dnnl_convolution_direct, false) ||
        add_pool(task, network, &memory, n, CNN_CHANNELS2, 12) ||
        add_classes(task, network, &memory, (float *)weights->fc, n))
        return -1;
    return plain_result(task, network, memory, out_shape, 2);
}

static int net_any_begin(struct task *task)
{
    return net_begin(task, ANY);
}

static int net_plain_begin(struct task *task)
{
    return net_begin(task, PLAIN);
}

/* The two convolutions of the network and nothing else; each has its input as it wants it. */
static int convolutions_begin(struct task *task)
{
    struct network *const network = new_network(task);
    struct cnn_weights *const weights = task_file(task, "weights", NULL);
    float *const images = task_file(task, "x", NULL);
    const dnnl_dim_t n = (dnnl_dim_t)task->size[0];
    const dnnl_dims_t in1 = {n, 1, CNN_SIDE, CNN_SIDE};
    const dnnl_dims_t in2 = {n, CNN_CHANNELS1, CNN_SIDE / 2, CNN_SIDE / 2};
    const dnnl_dim_t conv1[] = {n, CNN_CHANNELS1, 1, CNN_SIDE};
    const dnnl_dim_t conv2[] = {n, CNN_CHANNELS2, CNN_CHANNELS1, CNN_SIDE / 2};
    dnnl_memory_t first = NULL, second = NULL;
    if (!network || !weights || !images ||
        plain_memory(task, network, &first, 4, in1, dnnl_nchw, images) ||
        add_convolution(task, network, &first, (float *)weights->conv1, conv1, 1, ANY,
                        dnnl_convolution_direct, true) ||
        plain_memory(task, network, &second, 4, in2, dnnl_nchw, NULL))
        return -1;
    return add_convolution(task, network, &second, (float *)weights->conv2, conv2, 0, ANY,
                           dnnl_convolution_direct, true);
}

static int conv2_begin(struct task *task, enum layout layout, dnnl_alg_kind_t algorithm)
{
    struct network *const network = new_network(task);
    struct cnn_weights *const weights = task_file(task, "weights", NULL);
    float *const in = task_file(task, "x", NULL);
    const dnnl_dims_t in_shape = {1, CNN_CHANNELS1, 14, 14}, out_shape = {1, CNN_CHANNELS2, 12, 12};
    const dnnl_dim_t shape[] = {1, CNN_CHANNELS2, CNN_CHANNELS1, 14};
    dnnl_memory_t memory = NULL;
    if (!network || !weights || !in ||
        plain_memory(task, network, &memory, 4, in_shape, dnnl_nchw, in) ||
        add_convolution(task, network, &memory, (float *)weights->conv2, shape, 0, layout,
                        algorithm, true))
        return -1;
    return plain_result(task, network, memory, out_shape, 4);
}

static int conv2_any_begin(struct task *task)
{
    return conv2_begin(task, ANY, dnnl_convolution_direct);
}

static int conv2_plain_begin(struct task *task)
{
    return conv2_begin(task, PLAIN, dnnl_convolution_direct);
}

static int conv2_winograd_begin(struct task *task)
{
    return conv2_begin(task, ANY, dnnl_convolution_winograd);
}

static void call(struct task *task)
{
    const struct network *const network = task->own;
    for (size_t i = 0; i < network->step_count; i++)
        dnnl_primitive_execute(network->steps[i].primitive, network->stream,
                               network->steps[i].arg_count, network->steps[i].args);
    dnnl_stream_wait(network->stream);
}

static void end(struct task *task)
{
    struct network *const network = task->own;
    for (size_t i = 0; i < network->step_count; i++)
        dnnl_primitive_destroy(network->steps[i].primitive);
    for (size_t i = 0; i < network->memory_count; i++)
        dnnl_memory_destroy(network->memories[i]);
    dnnl_stream_destroy(network->stream);
    dnnl_engine_destroy(network->engine);
}

static const struct contender contenders[] = {
    {"net", net_any_begin, call, arrange, end},
    {"net_nchw", net_plain_begin, call, arrange, end},
    {"convolutions", convolutions_begin, call, NULL, end},
    {"conv2", conv2_any_begin, call, arrange, end},
    {"conv2_nchw", conv2_plain_begin, call, arrange, end},
    {"conv2_winograd", conv2_winograd_begin, call, arrange, end},
};

int main(int argc, char **argv)
{
    const int threads = argc == 2 ? atoi(argv[1]) : 0;
    if (threads < 1) {
        fputs("usage: bench_onednn THREADS\n", stderr);
        return 2;
    }
    char text[40];
    const dnnl_version_t *const version = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", version->major, version->minor, version->patch);
    return serve(contenders, COUNT(contenders), threads, json_pack("{s:s}", "version", text));
}
