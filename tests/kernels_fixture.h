/* kernels_fixture.h - what the tests of the kernels share. */
#ifndef TESTS_KERNELS_FIXTURE_H
#define TESTS_KERNELS_FIXTURE_H

#include "common/kernels/kernels.h"
#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A test's main: runs the suite with each instruction set that this machine has. */
static inline int run_with_each_isa(Suite *make_suite(const char *isa))
{
    int failed = 0;
    const char *isa;
    for (size_t level = 0; (isa = kernels_isa_name(level)); level++) {
        struct error error;
        if (kernels_use_isa(isa, &error)) {
            fprintf(stderr, "%s\n", error.message);
            return EXIT_FAILURE;
        }
        SRunner *const runner = srunner_create(make_suite(isa));
        srunner_run_all(runner, CK_NORMAL);
        failed += srunner_ntests_failed(runner);
        srunner_free(runner);
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A pixel of the augmented image, as the header describes it. */
static inline double augmented(const float *image, const uint64_t *words, ptrdiff_t height,
                               ptrdiff_t width, ptrdiff_t y, ptrdiff_t x)
{
    const ptrdiff_t up_to_y = height / 16, up_to_x = width / 16;
    const ptrdiff_t dy = (ptrdiff_t)((words[0] % 65536) * (uint64_t)(2 * up_to_y + 1) / 65536);
    const ptrdiff_t dx =
        (ptrdiff_t)((words[0] / 65536 % 65536) * (uint64_t)(2 * up_to_x + 1) / 65536);
    const ptrdiff_t from_y = y + dy - up_to_y;
    const ptrdiff_t from_x = (words[0] >> 63 ? width - 1 - x : x) + dx - up_to_x;
    const uint64_t bits = words[1 + y * width + x];
    double total = 0;
    for (int part = 0; part < 64; part += 16)
        total += (double)(bits >> part & 0xffff);
    const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
    return (inside ? (double)image[from_y * width + from_x] : 0) +
           0.1 * sqrt(3) / 65536 * (total - 131070);
}

#endif
