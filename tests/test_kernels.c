/* test_kernels.c - the fast kernels against the naive ones and against double precision, with each
 * instruction set that the machine can do. */
#include "common/kernels/kernels.h"
#include "tests/kernels_fixture.h"
#include "tests/sanitized.h"
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define TOLERANCE 1e-5
#define COUNT(a)  (sizeof(a) / sizeof *(a))

/* Inputs. */

static uint64_t random_state = 42;

static double uniform(void) /* in (0, 1) */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(random_state >> 12) + 0.5) / 0x1p52;
}

/* Nearly: a sum of four has the mean and variance, and takes no logarithm for each of millions. */
static double normal(void)
{
    return sqrt(3) * (uniform() + uniform() + uniform() + uniform() - 2);
}

enum kind {
    NORMAL,
    BYTES,     /* 0 .. 255, as pictures have */
    MEAN_1000, /* a large mean and a spread of 1: cancellation */
    MEAN_1E5,  /*   this much of float's precision is gone before the kernel begins */
    MEAN_MINUS_1E6,
    TINY,          /* std far below the 1e-8 that is added to it */
    LARGE,         /* squares near the end of float's range */
    FIRST_OUTLIER, /* misleads a pivot taken from the first pixel */
    STEP,          /* misleads a pivot taken from the first rows */
    RAMP,
    KINDS
};

static float pixel(enum kind kind, size_t i, size_t n)
{
    switch (kind) {
    case NORMAL:
        return (float)normal();
    case BYTES:
        return (float)floor(256 * uniform());
    case MEAN_1000:
        return (float)(1000 + normal());
    case MEAN_1E5:
        return (float)(1e5 + normal());
    case MEAN_MINUS_1E6:
        return (float)(-1e6 + normal());
    case TINY:
        return (float)(1e-20 * normal());
    case LARGE:
        return (float)(1e17 * normal());
    case FIRST_OUTLIER:
        return (float)(i == 0 ? 1e5 : normal());
    case STEP:
        return (float)((i < n / 5 ? 1e4 : 0) + normal());
    default:
        return (float)i / 7;
    }
}

/* n floats that end exactly at a page which must not be touched, or begin right after one. */
struct fenced {
    float *data;
    void *mapping;
    size_t bytes;
};

static struct fenced fenced_create(size_t n, bool at_the_end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (n * sizeof(float) + page - 1) / page * page;
    struct fenced fenced = {.bytes = inner + 2 * page};
    fenced.mapping = mmap(NULL, fenced.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(fenced.mapping, MAP_FAILED);
    char *const begin = (char *)fenced.mapping + page;
    if (inner > 0)
        ck_assert_int_eq(mprotect(begin, inner, PROT_READ | PROT_WRITE), 0);
    fenced.data = (float *)(void *)(at_the_end ? begin + inner - n * sizeof(float) : begin);
    return fenced;
}

static void fenced_destroy(struct fenced *fenced)
{
    ck_assert_int_eq(munmap(fenced->mapping, fenced->bytes), 0);
}

static void *allocate(size_t n, size_t size)
{
    void *const memory = calloc(n ? n : 1, size);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* The image pipeline. */

/* In double, as one 5x5 filter for each direction: shares no step with either kernel. */
static void edges_in_double(double *edges, const float *image, size_t height, size_t width)
{
    static const double smooth[5] = {1, 4, 6, 4, 1}, slope[5] = {-1, -2, 0, 2, 1};
    const size_t pixels = height * width;
    long double total = 0, squares = 0;
    for (size_t i = 0; i < pixels; i++)
        total += (long double)image[i];
    const long double mean = total / pixels;
    for (size_t i = 0; i < pixels; i++)
        squares += (image[i] - mean) * (image[i] - mean);
    const double scale = 1 / (16 * (sqrt((double)(squares / pixels)) + 1e-8));

    for (size_t y = 0; y + 4 < height; y++)
        for (size_t x = 0; x + 4 < width; x++) {
            double gx = 0, gy = 0;
            for (size_t i = 0; i < 5; i++)
                for (size_t j = 0; j < 5; j++) {
                    const double value = (double)image[(y + i) * width + x + j] - (double)mean;
                    gx += smooth[i] * slope[j] * value;
                    gy += slope[i] * smooth[j] * value;
                }
            edges[y * (width - 4) + x] = scale * sqrt(gx * gx + gy * gy);
        }
}

/* Check writes a mark to a file at each assertion, so there is one assertion to an image. */
static void check_close(const float *edges, const double *expected, size_t height, size_t width,
                        enum kind kind, const char *which)
{
    const size_t n = (height - 4) * (width - 4);
    size_t i = 0;
    while (i < n && fabs((double)edges[i] - expected[i]) <= TOLERANCE * (1 + fabs(expected[i])))
        i++;
    if (i < n)
        ck_abort_msg("%s, %zux%zu, kind %d, edge (%zu, %zu): %.9g instead of %.9g", which, height,
                     width, kind, i / (width - 4), i % (width - 4), (double)edges[i], expected[i]);
}

/* Every size of a range; with FORKJOIN_SHORT every fifth. */
static size_t step(void)
{
    return getenv("FORKJOIN_SHORT") ? 5 : 1;
}

/* All kernels against the reference, inputs and outputs between fences. */
static void check_image(size_t height, size_t width, enum kind kind)
{
    const size_t pixels = height * width, n = (height - 4) * (width - 4);
    double *const expected = allocate(n, sizeof *expected);

    for (int at_the_end = 0; at_the_end < 2; at_the_end++) {
        struct fenced image = fenced_create(pixels, at_the_end);
        struct fenced edges = fenced_create(n, at_the_end);
        struct fenced scratch = fenced_create(image_edges_naive_scratch(height, width), at_the_end);
        for (size_t i = 0; i < pixels; i++)
            image.data[i] = pixel(kind, i, pixels);
        edges_in_double(expected, image.data, height, width);

        for (size_t i = 0; i < n; i++)
            edges.data[i] = -1;
        ck_assert_int_eq(image_edges(edges.data, image.data, height, width, NULL), 0);
        check_close(edges.data, expected, height, width, kind, "fused");
        for (size_t i = 0; i < n; i++)
            edges.data[i] = -1;
        ck_assert_int_eq(
            image_edges_naive(edges.data, image.data, scratch.data, height, width, NULL), 0);
        check_close(edges.data, expected, height, width, kind, "naive");
        for (size_t i = 0; i < n; i++)
            edges.data[i] = -1;
        ck_assert_int_eq(image_edges_scalar(edges.data, image.data, height, width, NULL), 0);
        check_close(edges.data, expected, height, width, kind, "fused, scalar");
        for (size_t i = 0; i < n; i++)
            edges.data[i] = -1;
        ck_assert_int_eq(
            image_edges_naive_scalar(edges.data, image.data, scratch.data, height, width, NULL), 0);
        check_close(edges.data, expected, height, width, kind, "naive, scalar");

        fenced_destroy(&scratch);
        fenced_destroy(&edges);
        fenced_destroy(&image);
    }
    free(expected);
}

START_TEST(edges_of_small_images)
{
    for (size_t height = 5; height <= 12; height += step())
        for (size_t width = 5; width <= 40; width++)
            check_image(height, width, (enum kind)_i);
}
END_TEST

START_TEST(edges_of_squares_16_to_40)
{
    for (size_t height = 16; height <= 40; height += step())
        for (size_t width = 16; width <= 40; width++)
            check_image(height, width, (enum kind)_i);
}
END_TEST

START_TEST(edges_of_images_of_many_shapes)
{
    static const size_t sizes[][2] = {{5, 6},    {6, 5},     {7, 1000}, {1000, 7},  {128, 128},
                                      {5, 3000}, {3000, 5},  {31, 8},   {32, 8},    {33, 8},
                                      {61, 19},  {2000, 20}, {64, 64},  {243, 337}, {480, 640}};
    for (size_t i = 0; i < COUNT(sizes) - (SLOW ? 2 : 0); i++)
        check_image(sizes[i][0], sizes[i][1], (enum kind)_i);
}
END_TEST

START_TEST(edges_around_the_borders_of_strips)
{
    for (size_t width = 511; width <= 533; width += step())
        check_image(9, width, (enum kind)_i);
    for (size_t width = 1023; width <= 1046; width += step())
        check_image(7, width, (enum kind)_i);
    check_image(6, 1540, (enum kind)_i);
    check_image(6, 1541, (enum kind)_i);
}
END_TEST

START_TEST(edges_of_a_large_image)
{
    const size_t part = SLOW ? 4 : 1; /* which sees no more in a larger one */
    check_image(1080 / part, 1920 / part, NORMAL);
    check_image(1080 / part, 1920 / part, STEP);
}
END_TEST

/* The chunks of the statistics: 2048 pixels, lanes of 64. */
START_TEST(edges_around_the_borders_of_chunks)
{
    static const size_t sizes[][2] = {{32, 64}, {8, 256},   {23, 89},  {7, 293}, {64, 64},
                                      {8, 512}, {17, 241},  {29, 211}, {5, 410}, {43, 143},
                                      {16, 65}, {127, 129}, {13, 315}};
    for (size_t i = 0; i < COUNT(sizes); i++)
        check_image(sizes[i][0], sizes[i][1], (enum kind)_i);
}
END_TEST

START_TEST(a_constant_image_has_no_edges)
{
    static const float values[] = {0, 1, 255, -3.7f, 0.1f, 1e5f, 123456.789f, 1e-30f, -1e18f};
    static const size_t sizes[][2] = {{5, 5}, {12, 9}, {37, 41}, {128, 128}, {9, 1100}};
    for (size_t i = 0; i < COUNT(values); i++)
        for (size_t j = 0; j < COUNT(sizes); j++) {
            const size_t height = sizes[j][0], width = sizes[j][1], n = (height - 4) * (width - 4);
            float *const image = allocate(height * width, sizeof *image);
            float *const edges = allocate(n, sizeof *edges);
            for (size_t k = 0; k < height * width; k++)
                image[k] = values[i];
            for (size_t k = 0; k < n; k++)
                edges[k] = -1;
            ck_assert_int_eq(image_edges(edges, image, height, width, NULL), 0);
            for (size_t k = 0; k < n; k++)
                if (edges[k] != 0)
                    ck_abort_msg("%zux%zu of %g: edge %zu is %g", height, width, (double)values[i],
                                 k, (double)edges[k]);
            free(edges);
            free(image);
        }
}
END_TEST

/* The first element that is no NaN; n if there is none. */
static size_t first_number(const float *x, size_t n)
{
    size_t i = 0;
    while (i < n && isnan(x[i]))
        i++;
    return i;
}

/* One of them makes the mean what it is itself, and with it every edge, as in NumPy. */
START_TEST(nan_and_infinity_spread)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const size_t sizes[][2] = {{5, 5}, {20, 31}, {70, 70}};
    const float value = values[_i];
    for (size_t j = 0; j < COUNT(sizes); j++) {
        const size_t height = sizes[j][0], width = sizes[j][1], pixels = height * width;
        float *const image = allocate(pixels, sizeof *image);
        float *const edges = allocate(pixels, sizeof *edges);
        float *const scratch = allocate(image_edges_naive_scratch(height, width), sizeof *scratch);
        const size_t places[] = {0, 1, pixels / 2, pixels - 1};
        for (size_t k = 0; k < COUNT(places); k++) {
            for (size_t i = 0; i < pixels; i++)
                image[i] = (float)normal();
            image[places[k]] = value;
            ck_assert_int_eq(image_edges(edges, image, height, width, NULL), 0);
            const size_t fused = first_number(edges, (height - 4) * (width - 4));
            ck_assert_int_eq(image_edges_naive(edges, image, scratch, height, width, NULL), 0);
            const size_t naive = first_number(edges, (height - 4) * (width - 4));
            ck_assert_msg(fused == (height - 4) * (width - 4) && naive == fused,
                          "%zux%zu, %g at %zu: an edge is a number: fused %zu, naive %zu", height,
                          width, (double)value, places[k], fused, naive);
        }
        free(scratch);
        free(edges);
        free(image);
    }
}
END_TEST

START_TEST(an_image_below_5x5_is_refused)
{
    static const struct {
        size_t height, width;
        const char *name;
    } sizes[] = {{4, 5, "4x5"}, {5, 4, "5x4"}, {1, 1, "1x1"},       {0, 0, "0x0"},
                 {0, 9, "0x9"}, {9, 0, "9x0"}, {3, 1000, "3x1000"}, {1000, 4, "1000x4"}};
    float image[4000] = {0}, edges[4] = {7, 7, 7, 7}, scratch[1];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const size_t height = sizes[i].height, width = sizes[i].width;
        struct error error = {0};
        ck_assert_int_eq(image_edges(edges, image, height, width, &error), -1);
        ck_assert_int_eq(error.code, ERROR_INVALID);
        ck_assert_msg(strstr(error.message, sizes[i].name) != NULL, "%s", error.message);
        ck_assert_msg(strstr(error.message, "at least 5") != NULL, "%s", error.message);
        ck_assert_int_eq(image_edges(edges, image, height, width, NULL), -1);

        error = (struct error){0};
        ck_assert_int_eq(image_edges_naive(edges, image, scratch, height, width, &error), -1);
        ck_assert_int_eq(error.code, ERROR_INVALID);
        ck_assert_msg(strstr(error.message, sizes[i].name) != NULL, "%s", error.message);
        ck_assert_int_eq(image_edges_scalar(edges, image, height, width, &error), -1);
        ck_assert_int_eq(image_edges_naive_scalar(edges, image, scratch, height, width, NULL), -1);
        error = (struct error){0};
        ck_assert_int_eq(image_edges_batch(edges, image, 1, height, width, &error), -1);
        ck_assert_int_eq(error.code, ERROR_INVALID);
        ck_assert_int_eq(image_edges_batch(edges, image, 0, height, width, NULL), -1);
        ck_assert_int_eq(image_edges_parallel(edges, image, height, width, 2, NULL), -1);
        ck_assert_uint_eq(image_edges_naive_scratch(height, width), 0);
        for (size_t j = 0; j < COUNT(edges); j++)
            ck_assert_float_eq(edges[j], 7);
    }
}
END_TEST

/* Shared and private buffers, threads and processes: all must give the same bits. */
START_TEST(edges_do_not_depend_on_the_address)
{
    static const size_t sizes[][2] = {{5, 5}, {9, 13}, {33, 21}, {64, 64}, {128, 128}, {6, 530}};
    for (size_t j = 0; j < COUNT(sizes); j++) {
        const size_t height = sizes[j][0], width = sizes[j][1], pixels = height * width;
        const size_t n = (height - 4) * (width - 4);
        float *const image = aligned_alloc(64, (pixels + 32) * sizeof(float) / 64 * 64);
        float *const edges = aligned_alloc(64, (n + 32) * sizeof(float) / 64 * 64);
        float *const first = allocate(n, sizeof *first), *const original = allocate(pixels, 4);
        ck_assert_ptr_nonnull(image);
        ck_assert_ptr_nonnull(edges);
        for (size_t i = 0; i < pixels; i++)
            original[i] = (float)normal();
        for (size_t in = 0; in < 16; in++)
            for (size_t out = 0; out < 16; out++) {
                memcpy(image + in, original, pixels * sizeof *image);
                ck_assert_int_eq(image_edges(edges + out, image + in, height, width, NULL), 0);
                if (in == 0 && out == 0)
                    memcpy(first, edges, n * sizeof *first);
                ck_assert_msg(memcmp(first, edges + out, n * sizeof *first) == 0,
                              "%zux%zu differs at offsets %zu and %zu", height, width, in, out);
            }
        free(original);
        free(first);
        free(edges);
        free(image);
    }
}
END_TEST

/* To the last bit, whichever place an image has in its batch. */
START_TEST(a_batch_gives_the_edges_of_each_image)
{
    static const size_t sizes[][2] = {{5, 5}, {9, 13}, {33, 21}, {64, 64}, {7, 1050}};
    for (size_t j = 0; j < COUNT(sizes); j++)
        for (size_t count = 0; count <= 7; count += count < 2 ? 1 : 5) {
            const size_t height = sizes[j][0], width = sizes[j][1], pixels = height * width;
            const size_t n = (height - 4) * (width - 4);
            struct fenced images = fenced_create(count * pixels, count % 2);
            struct fenced batch = fenced_create(count * n, count % 2);
            float *const alone = allocate(n, sizeof *alone);
            for (size_t i = 0; i < count * pixels; i++)
                images.data[i] = (float)normal();
            ck_assert_int_eq(image_edges_batch(batch.data, images.data, count, height, width, NULL),
                             0);
            for (size_t i = 0; i < count; i++) {
                ck_assert_int_eq(image_edges(alone, images.data + i * pixels, height, width, NULL),
                                 0);
                ck_assert_msg(memcmp(alone, batch.data + i * n, n * sizeof *alone) == 0,
                              "%zux%zu: image %zu of %zu differs", height, width, i, count);
            }
            free(alone);
            fenced_destroy(&batch);
            fenced_destroy(&images);
        }
}
END_TEST

/* To the last bit, however many threads there are, in one block of statistics or several. */
START_TEST(threads_give_the_edges_of_one)
{
    static const size_t sizes[][2] = {{5, 5},     {5, 70000}, {70000, 5},  {9, 20000},
                                      {300, 900}, {513, 511}, {600, 1000}, {1031, 1033}};
    for (size_t j = 0; j < COUNT(sizes) - (SLOW ? 3 : 0); j++) {
        const size_t height = sizes[j][0], width = sizes[j][1];
        const size_t n = (height - 4) * (width - 4);
        struct fenced image = fenced_create(height * width, j % 2);
        struct fenced edges = fenced_create(n, j % 2);
        float *const expected = allocate(n, sizeof *expected);
        for (size_t i = 0; i < height * width; i++)
            image.data[i] = (float)(1e3 * (double)(j % 3) + normal());
        ck_assert_int_eq(image_edges(expected, image.data, height, width, NULL), 0);
        for (int threads = -1; threads <= 8; threads++) {
            memset(edges.data, 0xff, n * sizeof *expected);
            ck_assert_int_eq(
                image_edges_parallel(edges.data, image.data, height, width, threads, NULL), 0);
            ck_assert_msg(memcmp(edges.data, expected, n * sizeof *expected) == 0,
                          "%zux%zu differs with %d threads", height, width, threads);
        }
        free(expected);
        fenced_destroy(&edges);
        fenced_destroy(&image);
    }
}
END_TEST

/* Sums. */

START_TEST(sum_agrees_with_long_double)
{
    static const size_t sizes[] = {63,   64,   65,   100,  127,   128,    129,    1000,
                                   4095, 4096, 4097, 8000, 99991, 100000, 1000003};
    for (size_t n = 0; n <= 80 + COUNT(sizes); n++) {
        const size_t count = n <= 80 ? n : sizes[n - 81];
        struct fenced x = fenced_create(count, n % 2);
        long double total = 0, magnitude = 0;
        for (size_t i = 0; i < count; i++) {
            x.data[i] = pixel(n % 3 ? NORMAL : MEAN_1E5, i, count);
            total += (long double)x.data[i];
            magnitude += fabsl((long double)x.data[i]);
        }
        const double allowed =
            1e-14 * (double)count * (double)magnitude / (double)(count ? count : 1);
        ck_assert_double_le(fabs((double)(sum(x.data, count) - total)), 10 * allowed);
        ck_assert_double_le(fabs((double)(sum_naive(x.data, count) - total)), 100 * allowed);
        fenced_destroy(&x);
    }
}
END_TEST

/* A sum in float stops at 2^24 when 1 is added each time. */
START_TEST(sum_of_many_is_exact)
{
    const size_t n = 20000003;
    float *const x = allocate(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = 1;
    ck_assert_double_eq(sum(x, n), (double)n);
    ck_assert_double_eq(sum_naive(x, n), (double)n);

    long double total = 0;
    for (size_t i = 0; i < 10000000; i++) {
        x[i] = (float)uniform();
        total += (long double)x[i];
    }
    ck_assert_double_le(fabs((double)(sum(x, 10000000) / total - 1)), 1e-13);
    ck_assert_double_le(fabs((double)(sum_naive(x, 10000000) / total - 1)), 1e-10);
    free(x);
}
END_TEST

START_TEST(sum_does_not_depend_on_the_address)
{
    static const size_t sizes[] = {1, 15, 31, 33, 1000, 4099};
    float original[4099];
    _Alignas(64) float x[4099 + 16];
    for (size_t i = 0; i < COUNT(original); i++)
        original[i] = (float)(normal() * exp(10 * normal()));
    for (size_t j = 0; j < COUNT(sizes); j++) {
        double first = 0;
        for (size_t offset = 0; offset < 16; offset++) {
            memcpy(x + offset, original, sizes[j] * sizeof *x);
            const double total = sum(x + offset, sizes[j]);
            if (offset == 0)
                first = total;
            ck_assert_msg(total == first, "sum of %zu differs at offset %zu", sizes[j], offset);
        }
    }
}
END_TEST

/* Squares. (For the last digits long double is no judge: kernels_oracle.py has math.fsum.) */

START_TEST(sum_of_squares_agrees_with_long_double)
{
    static const size_t sizes[] = {191,  192,  193,  255,   256,   257,    1000,
                                   4095, 4096, 4097, 10000, 99991, 100000, 1000003};
    for (size_t n = 0; n <= 140 + COUNT(sizes); n++) {
        const size_t count = n <= 140 ? n : sizes[n - 141];
        struct fenced x = fenced_create(count, n % 2);
        long double total = 0;
        for (size_t i = 0; i < count; i++) {
            x.data[i] = pixel(n % 3 ? NORMAL : MEAN_1E5, i, count);
            total += (long double)x.data[i] * (long double)x.data[i];
        }
        const double scale = count ? 1 / (double)total : 1;
        const double fast = fabs((double)(sum_of_squares(x.data, count) - total)) * scale;
        const double naive = fabs((double)(sum_of_squares_naive(x.data, count) - total)) * scale;
        const double exact = fabs((double)(sum_of_squares_exact(x.data, count) - total)) * scale;
        const double lanes = fabs((double)(sum_of_squares_float(x.data, count) - total)) * scale;
        const double one =
            fabs((double)(sum_of_squares_float_naive(x.data, count) - total)) * scale;
        ck_assert_msg(fast < 1e-13 && naive < 1e-12 && exact < 1e-14 && lanes < 1e-5 && one < 0.02,
                      "%zu squares: off by %g (fast), %g (naive), %g (exact), %g (float lanes), "
                      "%g (one float)",
                      count, fast, naive, exact, lanes, one);
        fenced_destroy(&x);
    }
}
END_TEST

/* What one accumulator cannot hold: 1 beside 2^54 in double, beside 2^24 in float. */
START_TEST(sum_of_squares_says_how_totals_are_rounded)
{
    const size_t n = 20000000;
    float *const x = allocate(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = i % 2 ? 1 : -1;
    ck_assert_double_eq(sum_of_squares(x, n), 2e7);
    ck_assert_double_eq(sum_of_squares_naive(x, n), 2e7);
    ck_assert_double_eq(sum_of_squares_exact(x, n), 2e7);
    ck_assert_double_eq(sum_of_squares_float(x, n), 2e7);
    ck_assert_double_eq(sum_of_squares_float_naive(x, n), 0x1p24);
    x[0] = 0x1p27f;
    ck_assert_double_eq(sum_of_squares_naive(x, 1001), 0x1p54);
    ck_assert_double_eq(sum_of_squares_exact(x, 1001), 0x1p54 + 1000);
    x[0] = 1;
    x[1000] = 0x1p27f;
    ck_assert_double_eq(sum_of_squares_exact(x, 1001), 0x1p54 + 1000);
    free(x);
}
END_TEST

START_TEST(sum_of_squares_of_special_values)
{
    static double (*const kernels[])(const float *, size_t) = {
        sum_of_squares, sum_of_squares_naive, sum_of_squares_exact, sum_of_squares_float,
        sum_of_squares_float_naive};
    float x[300];
    const double twos = 4 * 300;
    for (size_t k = 0; k < COUNT(kernels); k++)
        for (size_t place = 0; place < COUNT(x); place++) {
            for (size_t i = 0; i < COUNT(x); i++)
                x[i] = 2;
            x[place] = NAN;
            ck_assert_msg(isnan(kernels[k](x, COUNT(x))), "kernel %zu: NaN at %zu", k, place);
            x[place] = -INFINITY;
            ck_assert_msg(kernels[k](x, COUNT(x)) == (double)INFINITY,
                          "kernel %zu: infinity at %zu", k, place);
            x[place] = 3;
            ck_assert_msg(kernels[k](x, COUNT(x)) == twos + 5, "kernel %zu: 3 at %zu", k, place);
        }
    ck_assert_double_eq(sum_of_squares((const float[]){0x1p-149f}, 1), 0x1p-298);
    ck_assert_double_eq(sum_of_squares((const float[]){3e38f, 3e38f}, 2),
                        2 * (double)3e38f * (double)3e38f);
}
END_TEST

/* Also the words that are read, against one after the other. */
START_TEST(squares_and_words_do_not_depend_on_the_address)
{
    static float original[4099];
    _Alignas(64) static float x[4099 + 16];
    for (size_t i = 0; i < COUNT(original); i++)
        original[i] = (float)(normal() * exp(10 * normal()));
    for (size_t n = 0; n <= COUNT(original); n += n < 300 ? 1 : 211) {
        uint64_t words = 0, word;
        for (size_t i = 0; i < n; i += 2) {
            word = 0;
            memcpy(&word, original + i, (n - i < 2 ? 1 : 2) * sizeof *x);
            words += word;
        }
        const double squares = sum_of_squares(original, n),
                     floats = sum_of_squares_float(original, n);
        for (size_t offset = 0; offset < 16; offset++) {
            memcpy(x + offset, original, n * sizeof *x);
            ck_assert_msg(sum_of_squares(x + offset, n) == squares &&
                              sum_of_squares_float(x + offset, n) == floats &&
                              read_all(x + offset, n) == words,
                          "%zu floats, offset %zu", n, offset);
        }
    }
}
END_TEST

START_TEST(nothing_but_the_floats_is_read)
{
    for (size_t n = 0; n < 300; n++)
        for (int at_the_end = 0; at_the_end < 2; at_the_end++) {
            struct fenced x = fenced_create(n, at_the_end);
            for (size_t i = 0; i < n; i++)
                x.data[i] = 1;
            if (sum_of_squares(x.data, n) != (double)n ||
                sum_of_squares_float(x.data, n) != (double)n)
                ck_abort_msg("%zu ones", n);
            read_all(x.data, n);
            fenced_destroy(&x);
        }
}
END_TEST

START_TEST(sum_of_special_values)
{
    float x[70];
    for (size_t place = 0; place < COUNT(x); place++) {
        for (size_t i = 0; i < COUNT(x); i++)
            x[i] = 1;
        x[place] = NAN;
        ck_assert_double_nan(sum(x, COUNT(x)));
        x[place] = INFINITY;
        ck_assert_double_infinite(sum(x, COUNT(x)));
        x[(place + 1) % COUNT(x)] = -INFINITY;
        ck_assert_double_nan(sum(x, COUNT(x)));
    }
    ck_assert_double_eq(sum(NULL, 0), 0);
    ck_assert_double_eq(sum_naive(NULL, 0), 0);
}
END_TEST

/* Also against the formula: the sum of all elements of x . x^T is the sum of the squared column
 * sums of x. */
START_TEST(product_sum_agrees)
{
    static const size_t orders[] = {0, 1, 2, 3, 7, 16, 33, 200};
    for (size_t i = 0; i < COUNT(orders); i++) {
        const size_t n = orders[i];
        struct fenced x = fenced_create(n * n, true), fast = fenced_create(n * n, true);
        struct fenced naive = fenced_create(n * n, true);
        for (size_t j = 0; j < n * n; j++)
            x.data[j] = (float)normal();
        double expected = 0;
        for (size_t column = 0; column < n; column++) {
            double total = 0;
            for (size_t row = 0; row < n; row++)
                total += (double)x.data[row * n + column];
            expected += total * total;
        }
        const double allowed = TOLERANCE * (1 + expected);
        const double naive_sum = product_sum_naive(naive.data, x.data, n);
        const double fast_sum = product_sum(fast.data, x.data, n);
        ck_assert_double_eq_tol(naive_sum, expected, allowed);
        ck_assert_double_eq_tol(fast_sum, expected, allowed);
        for (size_t j = 0; j < n * n; j++)
            if (!(fabsf(fast.data[j] - naive.data[j]) <= 1e-5f * (10 + fabsf(naive.data[j]))))
                ck_abort_msg("order %zu, element %zu: %g instead of %g", n, j, (double)fast.data[j],
                             (double)naive.data[j]);
        ck_assert_double_eq(product_sum(fast.data, x.data, n), fast_sum);
        fenced_destroy(&naive);
        fenced_destroy(&fast);
        fenced_destroy(&x);
    }
}
END_TEST

/* Rectangular ones too, and rows that are computed alone. */
START_TEST(product_agrees)
{
    static const size_t shapes[][3] = {{0, 3, 4}, {3, 0, 4},  {3, 4, 0},    {1, 1, 1},   {1, 7, 5},
                                       {7, 1, 5}, {16, 9, 1}, {33, 65, 31}, {64, 64, 64}};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        const size_t rows = shapes[i][0], inner = shapes[i][1], columns = shapes[i][2];
        double *const a = allocate(rows * inner, sizeof *a), *const b =
                                                                 allocate(inner * columns, 8);
        double *const fast = allocate(rows * columns, 8), *const naive =
                                                              allocate(rows * columns, 8);
        double *const row = allocate(columns, sizeof *row);
        for (size_t j = 0; j < rows * inner; j++)
            a[j] = normal();
        for (size_t j = 0; j < inner * columns; j++)
            b[j] = normal();
        for (size_t j = 0; j < rows * columns; j++)
            fast[j] = naive[j] = NAN;
        product(fast, a, b, rows, inner, columns);
        product_naive(naive, a, b, rows, inner, columns);
        for (size_t j = 0; j < rows * columns; j++) {
            const size_t at = j / columns; /* its row, alone */
            if (j % columns == 0)
                product(row, a + at * inner, b, 1, inner, columns);
            if (!(fabs(fast[j] - naive[j]) <= 1e-11 && fabs(row[j % columns] - naive[j]) <= 1e-11))
                ck_abort_msg("%zux%zux%zu, element %zu: %g, row alone %g instead of %g", rows,
                             inner, columns, j, fast[j], row[j % columns], naive[j]);
        }
        free(row);
        free(naive);
        free(fast);
        free(b);
        free(a);
    }
}
END_TEST

START_TEST(instruction_sets_have_names)
{
    const char *const begun_with = kernels_isa(), *isa;
    struct error error;
    size_t levels = 0;
    for (; (isa = kernels_isa_name(levels)); levels++) {
        ck_assert_int_eq(kernels_use_isa(isa, NULL), 0);
        ck_assert_str_eq(kernels_isa(), isa);
        if (strncmp(isa, "x86-64-", 7) == 0) {
            ck_assert_int_eq(kernels_use_isa("baseline", NULL), 0);
            ck_assert_int_eq(kernels_use_isa(isa + 7, NULL), 0);
            ck_assert_str_eq(kernels_isa(), isa);
        }
    }
    ck_assert_uint_ge(levels, 1);
    ck_assert_ptr_null(kernels_isa_name(SIZE_MAX));
    ck_assert_int_eq(kernels_use_isa("baseline", NULL), 0);
    ck_assert_str_eq(kernels_isa(), kernels_isa_name(0));
    static const char *const unknown[] = {"",   "v",       "v1",        "v33",
                                          "V3", "x86-64-", "x86-64-v9", "avx2"};
    for (size_t i = 0; i < COUNT(unknown); i++) {
        ck_assert_int_eq(kernels_use_isa(unknown[i], &error), -1);
        ck_assert_int_eq(error.code, ERROR_INVALID);
        for (size_t level = 0; level < levels; level++)
            ck_assert_ptr_nonnull(strstr(error.message, kernels_isa_name(level)));
        ck_assert_str_eq(kernels_isa(), kernels_isa_name(0)); /* as before */
    }
    ck_assert_int_eq(kernels_use_isa(begun_with, NULL), 0);
}
END_TEST

/* Preprocessing of samples. */

static void fill(float *x, size_t n, enum kind kind)
{
    for (size_t i = 0; i < n; i++)
        x[i] = pixel(kind, i, n);
}

static void check_sample(size_t n, enum kind kind, int rounds)
{
    struct fenced x = fenced_create(n, true), fast = fenced_create(n, true);
    struct fenced naive = fenced_create(n, true);
    fill(x.data, n, kind);
    clip_normalise_naive(naive.data, x.data, n, rounds);
    clip_normalise(fast.data, x.data, n, rounds);
    /* Beside an outlier the others are nearly equal; each round makes their differences, and what
     * float has rounded away of them, larger. */
    const float tolerance = (float)TOLERANCE * (kind == FIRST_OUTLIER ? 10 : 1);
    size_t wrong = 0;
    while (wrong < n && fabsf(fast.data[wrong] - naive.data[wrong]) <=
                            tolerance * (1 + fabsf(naive.data[wrong])))
        wrong++;
    ck_assert_msg(wrong == n, "%zu values of kind %d, %d rounds: [%zu] is %g instead of %g", n,
                  (int)kind, rounds, wrong, wrong < n ? (double)fast.data[wrong] : 0.0,
                  wrong < n ? (double)naive.data[wrong] : 0.0);
    fenced_destroy(&naive);
    fenced_destroy(&fast);
    fenced_destroy(&x);
}

START_TEST(samples_of_all_sizes)
{
    static const size_t larger[] = {255,  256,  257,  2047, 2048, 2049,  2111,
                                    2112, 4095, 4096, 4097, 9973, 65536, 200001};
    for (size_t n = 0; n <= 200; n++)
        check_sample(n, (enum kind)_i, 5);
    for (size_t i = 0; i < COUNT(larger); i++)
        check_sample(larger[i], (enum kind)_i, 5);
    for (int rounds = 0; rounds < 5; rounds++)
        check_sample(4096, (enum kind)_i, rounds);
}
END_TEST

START_TEST(a_constant_sample_becomes_zero)
{
    static const float values[] = {0, 1, 255, -3.7f, 0.1f, 1e5f, 123456.789f, 1e-30f, -1e18f};
    static const size_t sizes[] = {1, 2, 63, 64, 65, 2048, 2049, 4096, 10000};
    float *const x = allocate(10000, sizeof *x);
    for (size_t i = 0; i < COUNT(values); i++)
        for (size_t j = 0; j < COUNT(sizes); j++) {
            size_t zeros = 0;
            for (size_t k = 0; k < sizes[j]; k++)
                x[k] = values[i];
            clip_normalise(x, x, sizes[j], 5);
            while (zeros < sizes[j] && x[zeros] == 0)
                zeros++;
            ck_assert_msg(zeros == sizes[j], "%zu of %g: [%zu] is %g", sizes[j], (double)values[i],
                          zeros, zeros < sizes[j] ? (double)x[zeros] : 0.0);
        }
    free(x);
}
END_TEST

START_TEST(nan_and_infinity_spread_over_the_sample)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const size_t sizes[] = {1, 64, 70, 4096, 5000};
    float *const x = allocate(5000, sizeof *x), *const out = allocate(5000, sizeof *out);
    for (size_t j = 0; j < COUNT(sizes); j++)
        for (size_t where = 0; where < 2; where++) {
            fill(x, sizes[j], NORMAL);
            x[where ? sizes[j] - 1 : 0] = values[_i];
            clip_normalise(out, x, sizes[j], 5);
            ck_assert_uint_eq(first_number(out, sizes[j]), sizes[j]);
            clip_normalise_naive(out, x, sizes[j], 5);
            ck_assert_uint_eq(first_number(out, sizes[j]), sizes[j]);
        }
    free(out);
    free(x);
}
END_TEST

START_TEST(samples_do_not_depend_on_the_address)
{
    static const size_t sizes[] = {1, 15, 64, 100, 2049, 4096, 5001};
    float *const x = allocate(5100, sizeof *x), *const out = allocate(5100, sizeof *out);
    float *const first = allocate(5100, sizeof *first), *const same = allocate(5100, sizeof *same);
    for (size_t j = 0; j < COUNT(sizes); j++) {
        const size_t n = sizes[j];
        fill(same, n, NORMAL);
        clip_normalise(first, same, n, 5);
        for (size_t shift = 0; shift < 17; shift++) {
            memcpy(x + shift, same, n * sizeof *x);
            clip_normalise(out + 16 - shift, x + shift, n, 5);
            ck_assert_int_eq(memcmp(out + 16 - shift, first, n * sizeof *out), 0);
            clip_normalise(x + shift, x + shift, n, 5); /* in place */
            ck_assert_int_eq(memcmp(x + shift, first, n * sizeof *x), 0);
        }
    }
    free(same);
    free(first);
    free(out);
    free(x);
}
END_TEST

START_TEST(augmented_samples)
{
    static const size_t sizes[][2] = {{1, 1},   {1, 40},  {40, 1}, {7, 5},
                                      {16, 17}, {33, 64}, {64, 64}};
    for (size_t j = 0; j < COUNT(sizes); j++)
        for (int repeat = 0; repeat < 20; repeat++) {
            const size_t height = sizes[j][0], width = sizes[j][1], n = height * width;
            struct fenced image = fenced_create(n, repeat % 2), out = fenced_create(n, repeat % 3);
            uint64_t *const words = allocate(augment_words(height, width), sizeof *words);
            fill(image.data, n, NORMAL);
            for (size_t i = 0; i < augment_words(height, width); i++)
                words[i] = (uint64_t)(uniform() * 0x1p32) << 32 | (uint64_t)(uniform() * 0x1p32);
            augment(out.data, image.data, words, height, width);
            size_t wrong = 0;
            while (wrong < n &&
                   fabs((double)out.data[wrong] -
                        augmented(image.data, words, (ptrdiff_t)height, (ptrdiff_t)width,
                                  (ptrdiff_t)(wrong / width), (ptrdiff_t)(wrong % width))) <= 1e-6)
                wrong++;
            ck_assert_msg(wrong == n, "%zux%zu: pixel %zu", height, width, wrong);
            free(words);
            fenced_destroy(&out);
            fenced_destroy(&image);
        }
}
END_TEST

static Suite *kernels_suite(const char *isa)
{
    Suite *const suite = suite_create(isa);
    TCase *const image = tcase_create("image"), *const reduce = tcase_create("reduce");
    tcase_set_timeout(image, 60);
    tcase_set_timeout(reduce, 60);

    tcase_add_loop_test(image, edges_of_small_images, 0, KINDS);
    tcase_add_loop_test(image, edges_of_squares_16_to_40, 0, KINDS);
    tcase_add_loop_test(image, edges_of_images_of_many_shapes, 0, KINDS);
    tcase_add_loop_test(image, edges_around_the_borders_of_strips, 0, KINDS);
    tcase_add_loop_test(image, edges_around_the_borders_of_chunks, 0, KINDS);
    tcase_add_test(image, edges_of_a_large_image);
    tcase_add_test(image, a_constant_image_has_no_edges);
    tcase_add_loop_test(image, nan_and_infinity_spread, 0, 3);
    tcase_add_test(image, an_image_below_5x5_is_refused);
    tcase_add_test(image, edges_do_not_depend_on_the_address);
    tcase_add_test(image, a_batch_gives_the_edges_of_each_image);
    tcase_add_test(image, threads_give_the_edges_of_one);
    suite_add_tcase(suite, image);

    tcase_add_test(reduce, sum_agrees_with_long_double);
    tcase_add_test(reduce, sum_of_many_is_exact);
    tcase_add_test(reduce, sum_does_not_depend_on_the_address);
    tcase_add_test(reduce, sum_of_special_values);
    tcase_add_test(reduce, sum_of_squares_agrees_with_long_double);
    tcase_add_test(reduce, sum_of_squares_says_how_totals_are_rounded);
    tcase_add_test(reduce, sum_of_squares_of_special_values);
    tcase_add_test(reduce, squares_and_words_do_not_depend_on_the_address);
    tcase_add_test(reduce, nothing_but_the_floats_is_read);
    tcase_add_test(reduce, product_sum_agrees);
    tcase_add_test(reduce, product_agrees);
    tcase_add_test(reduce, instruction_sets_have_names);
    suite_add_tcase(suite, reduce);

    TCase *const preprocess = tcase_create("preprocess");
    tcase_set_timeout(preprocess, 60);
    tcase_add_loop_test(preprocess, samples_of_all_sizes, 0, KINDS);
    tcase_add_test(preprocess, a_constant_sample_becomes_zero);
    tcase_add_loop_test(preprocess, nan_and_infinity_spread_over_the_sample, 0, 3);
    tcase_add_test(preprocess, samples_do_not_depend_on_the_address);
    tcase_add_test(preprocess, augmented_samples);
    suite_add_tcase(suite, preprocess);
    return suite;
}

int main(void)
{
    return run_with_each_isa(kernels_suite);
}
