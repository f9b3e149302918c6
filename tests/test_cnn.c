/* test_cnn.c - the four versions of the CNN against double precision, and against each other, with
 * each instruction set that the machine can do. */
#include "common/kernels/cnn.h"
#include "common/kernels/kernels.h"
#include "tests/kernels_fixture.h"
#include "tests/sanitized.h"
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TOLERANCE 1e-5
#define COUNT(a)  (sizeof(a) / sizeof *(a))

static const size_t batches[] = {0, 1, 2, 7, 33};

/* ---- Inputs ---------------------------------------------------------------------------------- */

static uint64_t random_state = 42;

static double uniform(void) /* in (0, 1) */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(random_state >> 12) + 0.5) / 0x1p52;
}

static double normal(void) /* Box and Muller */
{
    const double radius = sqrt(-2 * log(uniform()));
    return radius * cos(2 * M_PI * uniform());
}

/* Floats aligned to 64 bytes, at least one line of them. */
static float *allocate(size_t n)
{
    float *const memory = aligned_alloc(64, (n * sizeof(float) / 64 + 1) * 64);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

static float *random_floats(size_t n, double scale)
{
    float *const x = allocate(n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * normal());
    return x;
}

static struct cnn_weights *random_weights(void)
{
    return (struct cnn_weights *)(void *)random_floats(CNN_WEIGHTS, 0.1);
}

/* ---- The reference: everything in double, borders by asking --------------------------------- */

/* As np.maximum: a NaN on either side stays. */
static double maximum(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

/* One place of a 3x3 convolution of x[channels][side][side], rectified; outside x is 0. */
static double convolve_at(const double *x, const float *w, int channels, int side, int y, int at)
{
    double total = 0;
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                if (y + i >= 0 && y + i < side && at + j >= 0 && at + j < side)
                    total += x[(c * side + y + i) * side + at + j] * (double)w[(c * 3 + i) * 3 + j];
    return maximum(total, 0);
}

/* pooled[channels_out][places][places]; pad is that of the convolution. */
static void convolve_and_pool(double *pooled, const double *x, const float *w, int channels_out,
                              int channels_in, int side, int pad, int places)
{
    for (int o = 0; o < channels_out; o++)
        for (int y = 0; y < places; y++)
            for (int at = 0; at < places; at++) {
                double most = 0;
                for (int i = 0; i < 4; i++)
                    most = maximum(most,
                                   convolve_at(x, w + (ptrdiff_t)o * channels_in * 9, channels_in,
                                               side, 2 * y + i / 2 - pad, 2 * at + i % 2 - pad));
                pooled[(o * places + y) * places + at] = most;
            }
}

static void forward_in_double(double *logits, const struct cnn_weights *weights, const float *image)
{
    static double x[CNN_PIXELS], pooled1[16 * 14 * 14], pooled2[CNN_FEATURES];
    for (size_t i = 0; i < CNN_PIXELS; i++)
        x[i] = (double)image[i];
    convolve_and_pool(pooled1, x, weights->conv1[0][0][0], 16, 1, 28, 1, 14);
    convolve_and_pool(pooled2, pooled1, weights->conv2[0][0][0], 32, 16, 14, 0, 6);
    for (size_t k = 0; k < CNN_CLASSES; k++) {
        logits[k] = 0;
        for (size_t f = 0; f < CNN_FEATURES; f++)
            logits[k] += pooled2[f] * (double)weights->fc[f][k];
    }
}

/* ---- What is compared ------------------------------------------------------------------------ */

/* Runs a version on n images, with scratch of exactly the size that was asked for, between fences.
 */
static void run(float *logits, enum cnn_version version, const struct cnn_weights *weights,
                const float *images, size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = cnn_scratch(version, n) * sizeof(float);
    const size_t inner = (bytes + page - 1) / page * page;
    char *const mapping =
        mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(mapping, MAP_FAILED);
    if (inner > 0)
        ck_assert_int_eq(mprotect(mapping + page, inner, PROT_READ | PROT_WRITE), 0);
    memset(mapping + page, 0xff, inner); /* NaNs: what is not written before it is read */
    ck_assert_uint_eq(bytes % 64, 0);
    float *const scratch = (float *)(void *)(mapping + page + inner - bytes);
    cnn_forward(logits, version, weights, images, scratch, n);
    ck_assert_int_eq(munmap(mapping, inner + 2 * page), 0);
}

/* scale: the error is relative to this, or to the logit if that is larger. */
static void check_close(const float *logits, const double *expected, double scale, size_t n,
                        const char *which)
{
    size_t i = 0;
    while (i < n && fabs((double)logits[i] - expected[i]) <=
                        TOLERANCE * scale + TOLERANCE * fabs(expected[i]))
        i++;
    if (i < n)
        ck_abort_msg("%s: logit %zu of image %zu of %zu is %.9g instead of %.9g", which,
                     i % CNN_CLASSES, i / CNN_CLASSES, n / CNN_CLASSES, (double)logits[i],
                     expected[i]);
}

/* Each version against double, and so all against each other; images of this spread. */
static void check_batch(size_t n, double spread)
{
    struct cnn_weights *const weights = random_weights();
    float *const images = random_floats(n * CNN_PIXELS, spread), *const logits = allocate(n * 10);
    double *const expected = calloc(n * CNN_CLASSES + 1, sizeof *expected);
    ck_assert_ptr_nonnull(expected);
    for (size_t i = 0; i < n; i++)
        forward_in_double(expected + i * CNN_CLASSES, weights, images + i * CNN_PIXELS);
    for (enum cnn_version version = 0; version < CNN_VERSIONS; version++) {
        for (size_t i = 0; i < n * CNN_CLASSES; i++)
            logits[i] = NAN;
        run(logits, version, weights, images, n);
        check_close(logits, expected, spread > 1 ? spread : 1, n * CNN_CLASSES,
                    cnn_version_name(version));
    }
    free(expected);
    free(logits);
    free(images);
    free(weights);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

START_TEST(all_agree_with_double)
{
    for (size_t i = 0; i < COUNT(batches); i++)
        check_batch(batches[i], 1);
    check_batch(SLOW ? 20 : 100, 1);
}
END_TEST

START_TEST(all_agree_on_pictures_and_large_values)
{
    static const double spreads[] = {1e-3, 255, 1e6, 1e20};
    for (size_t i = 0; i < COUNT(spreads); i++)
        check_batch(9, spreads[i]);
}
END_TEST

/* One weight, one pixel: nothing is mirrored, shifted or mixed up. */
START_TEST(each_weight_is_in_its_place)
{
    struct cnn_weights *const weights = random_weights();
    float *const image = allocate(CNN_PIXELS), logits[CNN_CLASSES];
    double expected[CNN_CLASSES];
    for (int trial = 0; trial < 40; trial++) {
        for (size_t i = 0; i < CNN_PIXELS; i++)
            image[i] = 0;
        image[trial == 0 ? 0 : trial == 1 ? CNN_PIXELS - 1 : (size_t)(uniform() * CNN_PIXELS)] = 1;
        forward_in_double(expected, weights, image);
        for (enum cnn_version version = 0; version < CNN_VERSIONS; version++) {
            run(logits, version, weights, image, 1);
            check_close(logits, expected, 0.01, CNN_CLASSES, cnn_version_name(version));
        }
    }
    free(image);
    free(weights);
}
END_TEST

static bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* One by one, in batches of any size, and with weights packed beforehand. BLAS alone may add in
 * another order in a product of another size. */
START_TEST(a_batch_changes_nothing)
{
    enum { MOST = SLOW ? 9 : 33, PIXELS = MOST * CNN_PIXELS };
    struct cnn_weights *const weights = random_weights();
    float *const images = random_floats(PIXELS, 1);
    float single[MOST * CNN_CLASSES], batched[MOST * CNN_CLASSES];
    double expected[MOST * CNN_CLASSES];
    for (enum cnn_version version = 0; version < CNN_VERSIONS; version++) {
        for (size_t i = 0; i < MOST; i++)
            run(single + i * CNN_CLASSES, version, weights, images + i * CNN_PIXELS, 1);
        for (size_t i = 0; i < COUNT(single); i++)
            expected[i] = (double)single[i];
        for (size_t n = 0; n <= MOST; n++) {
            run(batched, version, weights, images, n);
            if (version == CNN_IM2COL)
                check_close(batched, expected, 1, n * CNN_CLASSES, "im2col in a batch");
            else
                ck_assert_msg(same_bits(single, batched, n * CNN_CLASSES),
                              "%s: other bits in a batch of %zu", cnn_version_name(version), n);
        }
    }
    struct cnn_packed *const packed =
        (struct cnn_packed *)(void *)allocate(sizeof *packed / sizeof(float));
    cnn_pack(packed, weights);
    cnn_forward_packed(batched, packed, images, MOST);
    ck_assert(same_bits(single, batched, COUNT(single))); /* the last version was the direct one */
    free(packed);
    free(images);
    free(weights);
}
END_TEST

/* Shared and private buffers, threads and processes: all must give the same bits. */
START_TEST(the_address_changes_nothing)
{
    enum { IMAGES = 5, PIXELS = IMAGES * CNN_PIXELS };
    struct cnn_weights *const weights = random_weights();
    float *const original = random_floats(PIXELS, 1);
    float *const images = allocate(PIXELS + 16);
    float *const logits = allocate((size_t)IMAGES * CNN_CLASSES + 16), first[IMAGES * CNN_CLASSES];
    for (enum cnn_version version = 0; version < CNN_VERSIONS; version++)
        for (size_t offset = 0; offset < 16; offset++) {
            memcpy(images + offset, original, PIXELS * sizeof *images);
            run(logits + 15 - offset, version, weights, images + offset, IMAGES);
            if (offset == 0)
                memcpy(first, logits + 15, sizeof first);
            ck_assert_msg(same_bits(first, logits + 15 - offset, COUNT(first)),
                          "%s: other bits at offset %zu", cnn_version_name(version), offset);
        }
    free(logits);
    free(images);
    free(original);
    free(weights);
}
END_TEST

/* Without biases the network is homogeneous, and a power of two is exact. */
START_TEST(powers_of_two_pass_through)
{
    enum { IMAGES = 9, PIXELS = IMAGES * CNN_PIXELS };
    struct cnn_weights *const weights = random_weights();
    float *const images = random_floats(PIXELS, 1);
    float *const scaled = allocate(PIXELS);
    float logits[IMAGES * CNN_CLASSES], of_scaled[IMAGES * CNN_CLASSES];
    for (int power = -60; power <= 90; power += 150)
        for (enum cnn_version version = 0; version < CNN_VERSIONS; version++) {
            for (size_t i = 0; i < PIXELS; i++)
                scaled[i] = ldexpf(images[i], power);
            run(logits, version, weights, images, IMAGES);
            run(of_scaled, version, weights, scaled, IMAGES);
            for (size_t i = 0; i < COUNT(logits); i++)
                logits[i] = ldexpf(logits[i], power);
            ck_assert_msg(same_bits(logits, of_scaled, COUNT(logits)), "%s: 2^%d",
                          cnn_version_name(version), power);
        }
    free(scaled);
    free(images);
    free(weights);
}
END_TEST

/* In the middle and at the borders, in one image of a batch: a NaN reaches all logits of this image
 * and of no other; what comes of an infinity is what comes of it in double. */
START_TEST(nan_and_infinity_spread)
{
    enum { IMAGES = 11, BAD = 5, PIXELS = IMAGES * CNN_PIXELS };
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const size_t places[] = {0, 1, 27, 756, CNN_PIXELS - 1, 405, 146};
    struct cnn_weights *const weights = random_weights();
    float *const images = random_floats(PIXELS, 1);
    float before[IMAGES * CNN_CLASSES], after[IMAGES * CNN_CLASSES];
    double expected[CNN_CLASSES];
    for (enum cnn_version version = 0; version < CNN_VERSIONS; version++)
        for (size_t v = 0; v < COUNT(values); v++)
            for (size_t p = 0; p < COUNT(places); p += SLOW ? 3 : 1) {
                float *const pixel = images + (size_t)BAD * CNN_PIXELS + places[p], good = *pixel;
                run(before, version, weights, images, IMAGES);
                *pixel = values[v];
                run(after, version, weights, images, IMAGES);
                forward_in_double(expected, weights, images + (size_t)BAD * CNN_PIXELS);
                *pixel = good;
                for (size_t k = 0; k < CNN_CLASSES; k++) {
                    const double logit = (double)after[(size_t)BAD * CNN_CLASSES + k];
                    ck_assert_msg(isnan(logit) ? isnan(expected[k]) : logit == expected[k],
                                  "%s, %g at %zu: logit %g, in double %g",
                                  cnn_version_name(version), (double)values[v], places[p], logit,
                                  expected[k]);
                    ck_assert(!isnan(values[v]) || isnan(logit));
                }
                memcpy(after + (size_t)BAD * CNN_CLASSES, before + (size_t)BAD * CNN_CLASSES,
                       CNN_CLASSES * sizeof *after);
                ck_assert_msg(same_bits(before, after, COUNT(before)), "%s: another image changed",
                              cnn_version_name(version));
            }
    free(images);
    free(weights);
}
END_TEST

START_TEST(names_and_scratch)
{
    static const char *const names[] = {"naive", "einsum", "im2col", "direct"};
    for (enum cnn_version version = 0; version < CNN_VERSIONS; version++) {
        ck_assert_str_eq(cnn_version_name(version), names[version]);
        for (size_t n = 1; n < 100; n++)
            ck_assert_uint_ge(cnn_scratch(version, n), cnn_scratch(version, n - 1));
        ck_assert_uint_lt(cnn_scratch(version, SIZE_MAX), 1 << 24); /* bounded: 64 MB */
    }
    ck_assert_uint_eq(sizeof(struct cnn_weights), 65088); /* as the notebook's arrays */
    ck_assert_uint_eq(_Alignof(struct cnn_packed), 64);
}
END_TEST

static Suite *cnn_suite(const char *isa)
{
    Suite *const suite = suite_create(isa);
    TCase *const versions = tcase_create("versions");
    tcase_set_timeout(versions, 120);
    tcase_add_test(versions, all_agree_with_double);
    tcase_add_test(versions, all_agree_on_pictures_and_large_values);
    tcase_add_test(versions, each_weight_is_in_its_place);
    tcase_add_test(versions, a_batch_changes_nothing);
    tcase_add_test(versions, the_address_changes_nothing);
    tcase_add_test(versions, powers_of_two_pass_through);
    tcase_add_test(versions, nan_and_infinity_spread);
    tcase_add_test(versions, names_and_scratch);
    suite_add_tcase(suite, versions);
    return suite;
}

int main(void)
{
    return run_with_each_isa(cnn_suite);
}
