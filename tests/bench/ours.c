/* ours.c - our kernels, the roofs and OpenBLAS, as contenders. See serve.h for what it answers.
 *
 * Usage: bench_ours THREADS                          serves
 *        bench_ours KIND SIZE SIZE DIRECTORY         writes a case's inputs there, see inputs.h
 *
 * Environment: FORKJOIN_ISA, the instruction set of the kernels and roofs, instead of the best
 *
 * Over threads everything goes in the manner of the chapters: equal parts, one for each thread.
 */
#include "common/data/random.h"
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "common/kernels/roof.h"
#include "tests/bench/inputs.h"
#include "tests/bench/serve.h"
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Inputs, outputs and sizes of any case; each contender uses some of it. */
struct work {
    float *x, *y, *out, *scratch;
    double *out_double;
    struct cnn_weights *weights;
    struct cnn_packed *packed;
    size_t n, parts, lanes;
    double mean, std;
    double total; /* of sums; and where the roofs leave what they compute */
};

/* The part of n that is the thread's: as many as the others have, or one more. */
static size_t part_begin(size_t n, int part, int parts)
{
    return n / (size_t)parts * (size_t)part +
           ((size_t)part < n % (size_t)parts ? (size_t)part : n % (size_t)parts);
}

static struct work *work_of(const struct task *task)
{
    return task->own;
}

static struct work *new_work(struct task *task)
{
    return task->own = task_memory(task, sizeof(struct work));
}

/* ---- image -------------------------------------------------------------------------------------
 */

static int image_begin(struct task *task)
{
    const size_t pixels = task->size[0] * task->size[1];
    const size_t edges = (task->size[0] - 4) * (task->size[1] - 4);
    struct work *const work = new_work(task);
    if (!work || !(work->x = task_file(task, "x", NULL)) ||
        !(work->out = task_memory(task, edges * sizeof(float))))
        return -1;
    double squares = 0;
    work->mean = sum(work->x, pixels) / (double)pixels;
    for (size_t i = 0; i < pixels; i++)
        squares += ((double)work->x[i] - work->mean) * ((double)work->x[i] - work->mean);
    work->std = sqrt(squares / (double)pixels);
    task->result = work->out;
    task->results = edges;
    return 0;
}

static int image_naive_begin(struct task *task)
{
    const size_t floats = image_edges_naive_scratch(task->size[0], task->size[1]);
    if (image_begin(task))
        return -1;
    work_of(task)->scratch = task_memory(task, floats * sizeof(float));
    return work_of(task)->scratch ? 0 : -1;
}

static void image_call(struct task *task)
{
    const struct work *const work = task->own;
    image_edges_parallel(work->out, work->x, task->size[0], task->size[1], task->threads, NULL);
}

/* Over threads: a band of rows of the result for each; the image's bands overlap by four rows. */
static void image_given_call(struct task *task)
{
    const struct work *const work = task->own;
    const size_t height = task->size[0], width = task->size[1];
    const int threads = task->threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        const size_t from = part_begin(height - 4, part, threads);
        const size_t rows = part_begin(height - 4, part + 1, threads) - from;
        if (rows > 0)
            image_edges_given(work->out + from * (width - 4), work->x + from * width, work->mean,
                              work->std, rows + 4, width, NULL);
    }
}

static void image_naive_call(struct task *task)
{
    const struct work *const work = task->own;
    image_edges_naive(work->out, work->x, work->scratch, task->size[0], task->size[1], NULL);
}

/* ---- cnn ---------------------------------------------------------------------------------------
 */

static int cnn_begin(struct task *task)
{
    struct work *const work = new_work(task);
    if (!work || !(work->weights = task_file(task, "weights", NULL)) ||
        !(work->x = task_file(task, "x", NULL)) ||
        !(work->packed = task_memory(task, sizeof *work->packed)) ||
        !(work->out = task_memory(task, task->size[0] * CNN_CLASSES * sizeof(float))))
        return -1;
    cnn_pack(work->packed, work->weights);
    task->result = work->out;
    task->results = task->size[0] * CNN_CLASSES;
    return 0;
}

/* With scratch for each thread's part. */
static int cnn_version_begin(struct task *task, enum cnn_version version, int threads)
{
    if (cnn_begin(task))
        return -1;
    struct work *const work = task->own;
    const size_t part = (task->size[0] + (size_t)threads - 1) / (size_t)threads;
    work->n = (cnn_scratch(version, part) + 15) / 16 * 16;
    work->scratch = task_memory(task, work->n * (size_t)threads * sizeof(float) + 64);
    return work->scratch ? 0 : -1;
}

static int cnn_direct_begin(struct task *task)
{
    return cnn_version_begin(task, CNN_DIRECT, task->threads);
}

static int cnn_im2col_begin(struct task *task)
{
    snprintf(task->note, sizeof task->note, "threads are BLAS's");
    return cnn_version_begin(task, CNN_IM2COL, 1);
}

static int cnn_naive_begin(struct task *task)
{
    return cnn_version_begin(task, CNN_NAIVE, 1);
}

static void cnn_direct_call(struct task *task)
{
    const struct work *const work = task->own;
    const int threads = task->threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        const size_t from = part_begin(task->size[0], part, threads);
        const size_t to = part_begin(task->size[0], part + 1, threads);
        cnn_forward(work->out + from * CNN_CLASSES, CNN_DIRECT, work->weights,
                    work->x + from * CNN_PIXELS, work->scratch + (size_t)part * work->n, to - from);
    }
}

static void cnn_packed_call(struct task *task)
{
    const struct work *const work = task->own;
    const int threads = task->threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        const size_t from = part_begin(task->size[0], part, threads);
        const size_t to = part_begin(task->size[0], part + 1, threads);
        cnn_forward_packed(work->out + from * CNN_CLASSES, work->packed,
                           work->x + from * CNN_PIXELS, to - from);
    }
}

static void cnn_im2col_call(struct task *task)
{
    const struct work *const work = task->own;
    cnn_forward(work->out, CNN_IM2COL, work->weights, work->x, work->scratch, task->size[0]);
}

static void cnn_naive_call(struct task *task)
{
    const struct work *const work = task->own;
    cnn_forward(work->out, CNN_NAIVE, work->weights, work->x, work->scratch, task->size[0]);
}

/* The input is brought to channels last beforehand, as it lies within the network; so is oneDNN's.
 */
static int conv2_begin(struct task *task)
{
    struct work *const work = new_work(task);
    const struct cnn_weights *const weights = task_file(task, "weights", NULL);
    const float *const in = task_file(task, "x", NULL);
    if (!work || !weights || !in || !(work->packed = task_memory(task, sizeof *work->packed)) ||
        !(work->x = task_memory(task, sizeof(float) * 14 * 14 * CNN_CHANNELS1)) ||
        !(work->out = task_memory(task, sizeof(float) * CNN_FEATURES)) ||
        !(work->y = task_memory(task, sizeof(float) * CNN_FEATURES)))
        return -1;
    cnn_pack(work->packed, weights);
    for (size_t place = 0; place < (size_t)14 * 14; place++)
        for (size_t c = 0; c < CNN_CHANNELS1; c++)
            work->x[place * CNN_CHANNELS1 + c] = in[c * 14 * 14 + place];
    snprintf(task->note, sizeof task->note, "with relu and 2x2 pool");
    task->reference = "pooled";
    task->result = work->y;
    task->results = CNN_FEATURES;
    return 0;
}

static void conv2_call(struct task *task)
{
    const struct work *const work = task->own;
    cnn_conv2_packed(work->out, work->packed, work->x);
}

static void conv2_arrange(struct task *task)
{
    struct work *const work = task->own;
    for (size_t place = 0; place < (size_t)6 * 6; place++)
        for (size_t c = 0; c < CNN_CHANNELS2; c++)
            work->y[c * 6 * 6 + place] = work->out[place * CNN_CHANNELS2 + c];
}

/* ---- squares -----------------------------------------------------------------------------------
 */

static int squares_begin(struct task *task)
{
    struct work *const work = new_work(task);
    if (!work || !(work->x = task_file(task, "x", NULL)))
        return -1;
    task->result_double = &work->total;
    task->results = 1;
    return 0;
}

static void squares_over_threads(struct task *task, double (*squares)(const float *, size_t))
{
    struct work *const work = task->own;
    const int threads = task->threads;
    double total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        const size_t from = part_begin(task->size[0], part, threads);
        total += squares(work->x + from, part_begin(task->size[0], part + 1, threads) - from);
    }
    work->total = total;
}

static void squares_call(struct task *task)
{
    squares_over_threads(task, sum_of_squares);
}

static void squares_float_call(struct task *task)
{
    squares_over_threads(task, sum_of_squares_float);
}

static void squares_naive_call(struct task *task)
{
    work_of(task)->total = sum_of_squares_naive(work_of(task)->x, task->size[0]);
}

static void sdot_call(struct task *task)
{
    struct work *const work = task->own;
    const blasint n = (blasint)task->size[0];
    work->total = (double)cblas_sdot(n, work->x, 1, work->x, 1);
}

static void snrm2_call(struct task *task)
{
    struct work *const work = task->own;
    const double norm = (double)cblas_snrm2((blasint)task->size[0], work->x, 1);
    work->total = norm * norm;
}

/* ---- product -----------------------------------------------------------------------------------
 */

static int product_begin(struct task *task)
{
    struct work *const work = new_work(task);
    const size_t order = task->size[0];
    if (!work || !(work->x = task_file(task, "x", NULL)) ||
        !(work->y = task_file(task, "y", NULL)) ||
        !(work->out = task_memory(task, order * order * sizeof(float))))
        return -1;
    task->result = work->out;
    task->results = order * order;
    return 0;
}

/* As the formula is written. */
static void product_naive_call(struct task *task)
{
    const struct work *const work = task->own;
    const size_t order = task->size[0];
    for (size_t i = 0; i < order; i++)
        for (size_t j = 0; j < order; j++) {
            float dot = 0;
            for (size_t k = 0; k < order; k++)
                dot += work->x[i * order + k] * work->y[k * order + j];
            work->out[i * order + j] = dot;
        }
}

static void sgemm_call(struct task *task)
{
    const struct work *const work = task->own;
    const blasint n = (blasint)task->size[0];
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0f, work->x, n, work->y, n, 0,
                work->out, n);
}

/* ---- randn -------------------------------------------------------------------------------------
 */

static int randn_begin(struct task *task)
{
    struct work *const work = new_work(task);
    if (!work || !(work->out_double = task_memory(task, task->size[0] * sizeof(double))))
        return -1;
    task->result_double = work->out_double;
    task->results = task->size[0];
    return 0;
}

static int randn_float_begin(struct task *task)
{
    struct work *const work = new_work(task);
    if (!work || !(work->out = task_memory(task, task->size[0] * sizeof(float))))
        return -1;
    task->result = work->out;
    task->results = task->size[0];
    return 0;
}

/* Seeding takes 624 steps, nothing beside a million numbers; NumPy's contender does it too. */
static void randn_call(struct task *task)
{
    struct random_state state;
    random_seed(&state, 42);
    random_normal(&state, work_of(task)->out_double, task->size[0]);
}

static void randn_float_call(struct task *task)
{
    struct random_state state;
    random_seed(&state, 42);
    random_normal_float(&state, work_of(task)->out, task->size[0]);
}

/* ---- Roofs -------------------------------------------------------------------------------------
 */

#define ROOTS 4096 /* 32 kB with the results: the first-level cache */

/* SIZE[0]: floating-point operations. Which width is the best is tried here. */
static int roof_fma_begin(struct task *task)
{
    struct work *const work = new_work(task);
    double best = INFINITY;
    if (!work)
        return -1;
    for (size_t attempt = 0; attempt < (size_t)20 * FMA_CHAIN_WIDTHS; attempt++) {
        const size_t lanes = fma_chain_lanes[attempt % FMA_CHAIN_WIDTHS];
        const double start = seconds_now();
        work->total += (double)fma_chain(0.5f, lanes, 2000000 / lanes);
        const double seconds = seconds_now() - start;
        if (seconds < best) {
            best = seconds;
            work->lanes = lanes;
        }
    }
    /* A call takes some microseconds at least, so that its beginning and end are nothing in it. */
    const size_t round = 2 * work->lanes * (size_t)task->threads;
    task->per = task->size[0] > 50000000 ? 1 : 50000000 / (task->size[0] + 1) + 1;
    work->n = (task->size[0] * task->per + round - 1) / round;
    snprintf(task->note, sizeof task->note, "%zu chains side by side", work->lanes);
    return 0;
}

static void roof_fma_call(struct task *task)
{
    struct work *const work = task->own;
    const int threads = task->threads;
    double total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total) if (threads > 1)
    for (int part = 0; part < threads; part++)
        total += (double)fma_chain(0.5f, work->lanes, work->n);
    work->total = total;
}

/* SIZE[0]: square roots. */
static int roof_roots_begin(struct task *task)
{
    struct work *const work = new_work(task);
    if (!work || !(work->x = task_memory(task, ROOTS * sizeof(float))) ||
        !(work->out = task_memory(task, ROOTS * sizeof(float))))
        return -1;
    for (size_t i = 0; i < ROOTS; i++)
        work->x[i] = (float)i;
    snprintf(task->note, sizeof task->note, "in the first-level cache");
    return 0;
}

static void roof_roots_call(struct task *task)
{
    const struct work *const work = task->own;
    const int threads = task->threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        float mine[ROOTS];
        float *const roots = threads > 1 ? mine : work->out;
        size_t left =
            part_begin(task->size[0], part + 1, threads) - part_begin(task->size[0], part, threads);
        for (; left > ROOTS; left -= ROOTS)
            square_roots(roots, work->x, ROOTS);
        square_roots(roots, work->x, left);
        if (part == 0)
            work->out[0] = roots[left / 2];
    }
}

/* SIZE[0]: floats. */
static int roof_memory_begin(struct task *task)
{
    struct work *const work = new_work(task);
    if (!work || !(work->x = task_memory(task, task->size[0] * sizeof(float))) ||
        !(work->out = task_memory(task, task->size[0] * sizeof(float))))
        return -1;
    for (size_t i = 0; i < task->size[0]; i++)
        work->x[i] = work->out[i] = (float)i;
    return 0;
}

static void roof_copy_call(struct task *task)
{
    const struct work *const work = task->own;
    const int threads = task->threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        const size_t from = part_begin(task->size[0], part, threads);
        copy_all(work->out + from, work->x + from,
                 part_begin(task->size[0], part + 1, threads) - from);
    }
}

static void roof_read_call(struct task *task)
{
    struct work *const work = task->own;
    const int threads = task->threads;
    uint64_t total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        const size_t from = part_begin(task->size[0], part, threads);
        total += read_all(work->x + from, part_begin(task->size[0], part + 1, threads) - from);
    }
    work->total = (double)total;
}

/* SIZE[0]: normal numbers. No unit of the machine is what they wait for; but any program that makes
 * the same numbers must draw the same words, of which a part of 1 - pi/4 is thrown away, and take a
 * logarithm, a square root and a division for each pair. The words are drawn as often, their values
 * do not matter; the square is that of the circle's middle radius. */
static int roof_randn_begin(struct task *task)
{
    return new_work(task) ? 0 : -1;
}

static void roof_randn_call(struct task *task)
{
    struct work *const work = task->own;
    const size_t pairs = task->size[0] / 2;
    const size_t words = (size_t)((double)pairs * 4 * 4 / M_PI);
    struct random_state state;
    uint32_t bits = 0;
    double total = 0;
    random_seed(&state, 42);
    for (size_t i = 0; i < words; i++)
        bits ^= random_uint32(&state);
    for (size_t i = 0; i < pairs; i++) {
        const double square = ((double)i + 0.5) / (double)pairs;
        total += sqrt(-2 * log(square) / square);
    }
    work->total = total + bits;
}

/* Two passes, as the image pipeline needs them: mean and deviation are there before the filters. */
static void roof_read_copy_call(struct task *task)
{
    roof_read_call(task);
    roof_copy_call(task);
}

/* ---- All of them -------------------------------------------------------------------------------
 */

static const struct contender contenders[] = {
    {"image_edges", image_begin, image_call, NULL, NULL},
    {"image_edges_given", image_begin, image_given_call, NULL, NULL},
    {"image_edges_naive", image_naive_begin, image_naive_call, NULL, NULL},
    {"cnn_direct", cnn_direct_begin, cnn_direct_call, NULL, NULL},
    {"cnn_packed", cnn_begin, cnn_packed_call, NULL, NULL},
    {"cnn_im2col", cnn_im2col_begin, cnn_im2col_call, NULL, NULL},
    {"cnn_naive", cnn_naive_begin, cnn_naive_call, NULL, NULL},
    {"conv2", conv2_begin, conv2_call, conv2_arrange, NULL},
    {"sum_of_squares", squares_begin, squares_call, NULL, NULL},
    {"sum_of_squares_float", squares_begin, squares_float_call, NULL, NULL},
    {"sum_of_squares_naive", squares_begin, squares_naive_call, NULL, NULL},
    {"sdot", squares_begin, sdot_call, NULL, NULL},
    {"snrm2", squares_begin, snrm2_call, NULL, NULL},
    {"product_naive", product_begin, product_naive_call, NULL, NULL},
    {"sgemm", product_begin, sgemm_call, NULL, NULL},
    {"random_normal", randn_begin, randn_call, NULL, NULL},
    {"random_normal_float", randn_float_begin, randn_float_call, NULL, NULL},
    {"roof_fma", roof_fma_begin, roof_fma_call, NULL, NULL},
    {"roof_roots", roof_roots_begin, roof_roots_call, NULL, NULL},
    {"roof_copy", roof_memory_begin, roof_copy_call, NULL, NULL},
    {"roof_read_copy", roof_memory_begin, roof_read_copy_call, NULL, NULL},
    {"roof_read", roof_memory_begin, roof_read_call, NULL, NULL},
    {"roof_randn", roof_randn_begin, roof_randn_call, NULL, NULL},
};

int main(int argc, char **argv)
{
    struct error error;
    const char *const isa = getenv("FORKJOIN_ISA");
    if (isa && *isa && kernels_use_isa(isa, &error)) {
        fprintf(stderr, "bench_ours: FORKJOIN_ISA: %s\n", error.message);
        return 2;
    }
    if (argc == 5) {
        const size_t size[2] = {strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10)};
        return inputs_write(argv[1], size, argv[4]) ? 1 : 0;
    }
    const int threads = argc == 2 ? atoi(argv[1]) : 0;
    if (threads < 1) {
        fputs("usage: bench_ours THREADS | bench_ours KIND SIZE SIZE DIRECTORY\n", stderr);
        return 2;
    }
#if defined __clang__
    const char *const compiler = "clang " __clang_version__;
#else
    const char *const compiler = "gcc " __VERSION__;
#endif
    return serve(contenders, COUNT(contenders), threads,
                 json_pack("{s:s, s:s, s:s, s:s}", "compiler", compiler, "isa", kernels_isa(),
                           "blas", openblas_get_config(), "blas_core", openblas_get_corename()));
}
