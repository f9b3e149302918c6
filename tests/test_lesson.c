/* test_lesson.c - common/lesson: its functions by themselves, and tests/lesson_probe.c, a small
 * chapter, as a program: command lines good and bad, JSON, files, signals, OpenBLAS's kernels. */
#include "common/kernels/kernels.h"
#include "common/lesson/measure/measurement.h"
#include "common/lesson/study/study.h"
#include "common/parallel/resources.h"
#include "tests/sanitized.h"
#include <check.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Numbers from text ----------------------------------------------------------------------- */

START_TEST(integers_are_taken_whole_or_not_at_all)
{
    static const char *const bad[] = {"",
                                      "-",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "1.0",
                                      "0x10",
                                      "12abc",
                                      "1e3",
                                      "--1",
                                      "1\n",
                                      "one",
                                      "-11",
                                      "101",
                                      "- 1",
                                      "9223372036854775808",
                                      "99999999999999999999999"};
    int64_t value = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(parse_integer(bad[i], -10, 100, &value) == -1, "'%s' was taken", bad[i]);
        ck_assert_int_eq(value, 77);
    }
    ck_assert_int_eq(parse_integer("-10", -10, 100, &value), 0);
    ck_assert_int_eq(value, -10);
    ck_assert_int_eq(parse_integer("0100", -10, 100, &value), 0);
    ck_assert_int_eq(value, 100);
    ck_assert_int_eq(parse_integer("9223372036854775807", 0, INT64_MAX, &value), 0);
    ck_assert(value == INT64_MAX);
    ck_assert_int_eq(parse_integer("-9223372036854775808", INT64_MIN, INT64_MAX, &value), 0);
    ck_assert(value == INT64_MIN);
}
END_TEST

START_TEST(reals_are_taken_whole_or_not_at_all)
{
    static const char *const bad[] = {"",   ".",   "nan",  "inf",     "0x1p3", " 1",
                                      "1 ", "1s",  "+1",   "1e",      "1e999", "-1",
                                      "11", "1,5", "1.5.", "infinity"};
    double value = 7.0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(parse_real(bad[i], 0.0, 10.0, &value) == -1, "'%s' was taken", bad[i]);
        ck_assert_double_eq(value, 7.0);
    }
    ck_assert_int_eq(parse_real("1.5", 0.0, 10.0, &value), 0);
    ck_assert_double_eq(value, 1.5);
    ck_assert_int_eq(parse_real("1e-3", 0.001, 10.0, &value), 0);
    ck_assert_double_eq(value, 1e-3);
    ck_assert_int_eq(parse_real(".25", 0.0, 10.0, &value), 0);
    ck_assert_double_eq(value, 0.25);
}
END_TEST

START_TEST(shapes)
{
    static const char *const bad[] = {
        "",    "x",   "5x",    "x5",   "5x5x5", "4",
        "5x4", "5X5", "5 x 5", "-5x5", "101x5", "00000000000000000000000000000000000000005x5"};
    size_t shape[2] = {1, 2};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(parse_shape(bad[i], 5, 100, shape, 2) == -1, "'%s' was taken", bad[i]);
    ck_assert(shape[0] == 1 && shape[1] == 2);
    ck_assert_int_eq(parse_shape("64", 5, 100, shape, 2), 0);
    ck_assert(shape[0] == 64 && shape[1] == 64);
    ck_assert_int_eq(parse_shape("5x100", 5, 100, shape, 2), 0);
    ck_assert(shape[0] == 5 && shape[1] == 100);
}
END_TEST

START_TEST(shapes_of_three_sides)
{
    size_t shape[3] = {0};
    ck_assert_int_eq(parse_shape("5x6", 5, 100, shape, 3), -1);
    ck_assert_int_eq(parse_shape("5x6x7x8", 5, 100, shape, 3), -1);
    ck_assert_int_eq(parse_shape("5x6x", 5, 100, shape, 3), -1);
    ck_assert_int_eq(parse_shape("7x8x9", 5, 100, shape, 3), 0);
    ck_assert(shape[0] == 7 && shape[1] == 8 && shape[2] == 9);
    ck_assert_int_eq(parse_shape("64", 5, 100, shape, 3), 0);
    ck_assert(shape[0] == 64 && shape[1] == 64 && shape[2] == 64);
}
END_TEST

START_TEST(choices)
{
    ck_assert_int_eq(parse_choice("yes", "yes|no|maybe"), 0);
    ck_assert_int_eq(parse_choice("no", "yes|no|maybe"), 1);
    ck_assert_int_eq(parse_choice("maybe", "yes|no|maybe"), 2);
    static const char *const bad[] = {"", "y", "yes|no", "mayb", "maybee", "|", "Yes"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(parse_choice(bad[i], "yes|no|maybe") == -1, "'%s' was taken", bad[i]);
}
END_TEST

START_TEST(lists)
{
    static const char *const bad_workers[] = {"",     ",",    "1,",  ",1",  "1,,2", "0",
                                              "1,-2", "1025", "1;2", "two", "1, 2"};
    static const char *const bad_intervals[] = {"",
                                                ",",
                                                "0.005,",
                                                ",0.005",
                                                "0.005,,1",
                                                "0",
                                                "0.005,0",
                                                "-1",
                                                "61",
                                                "0.005 ,1",
                                                "nan",
                                                "5ms",
                                                "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};
    static const char *const bad_modes[] = {"",       ",",       "threads,", "gil,,gil",
                                            "thread", "Threads", "all,gil",  "threads gil"};
    int workers[POOL_MAX_WORKERS];
    double intervals[MOST_INTERVALS] = {7.0};
    bool modes[LESSON_MODES] = {false};
    size_t count = 99;
    for (size_t i = 0; i < sizeof bad_workers / sizeof *bad_workers; i++)
        ck_assert_msg(parse_workers(bad_workers[i], workers, &count) == -1, "'%s' was taken",
                      bad_workers[i]);
    for (size_t i = 0; i < sizeof bad_modes / sizeof *bad_modes; i++)
        ck_assert_msg(parse_modes(bad_modes[i], modes) == -1, "'%s' was taken", bad_modes[i]);
    for (size_t i = 0; i < sizeof bad_intervals / sizeof *bad_intervals; i++)
        ck_assert_msg(parse_intervals(bad_intervals[i], intervals, &count) == -1, "'%s' was taken",
                      bad_intervals[i]);
    ck_assert(count == 99 && intervals[0] == 7.0);
    ck_assert_int_eq(parse_intervals("0.05,5e-3,.05,0.005,1", intervals, &count), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert(intervals[0] == 0.05 && intervals[1] == 0.005 && intervals[2] == 1.0);
    ck_assert_int_eq(parse_intervals("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,8", intervals, &count),
                     0);
    ck_assert_uint_eq(count, MOST_INTERVALS);
    ck_assert_int_eq(parse_workers("4,1,4,1024,1", workers, &count), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert(workers[0] == 4 && workers[1] == 1 && workers[2] == 1024);
    ck_assert_int_eq(parse_modes("gil,threads,gil", modes), 0);
    ck_assert(!modes[LESSON_SEQUENTIAL] && modes[LESSON_THREADS] && modes[LESSON_GIL] &&
              !modes[LESSON_PROCESSES]);
    ck_assert_int_eq(parse_modes("all", modes), 0);
    ck_assert(modes[0] && modes[1] && modes[2] && modes[3]);
}
END_TEST

START_TEST(texts_of_times_and_bytes)
{
    static const struct {
        double value;
        const char *text;
    } times[] = {{0.0, "0 s"},          {1e-9, "1.00 ns"},    {3.21e-3, "3.21 ms"},
                 {12.34e-6, "12.3 us"}, {999.4e-6, "999 us"}, {999.6e-6, "1.00 ms"},
                 {0.5, "500 ms"},       {1.0, "1.00 s"},      {59.96, "60.0 s"},
                 {3600.0, "3600 s"},    {-2e-3, "-2.00 ms"},  {9.996e-3, "10.0 ms"}},
      sizes[] = {{0.0, "0 B"},      {999.0, "999 B"}, {1000.0, "1.0 kB"},  {6.4e6, "6.4 MB"},
                 {9.96e6, "10 MB"}, {64e6, "64 MB"},  {999.6e6, "1.0 GB"}, {1.5e12, "1.5 TB"}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        ck_assert_str_eq(lesson_time_text(times[i].value), times[i].text);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ck_assert_str_eq(lesson_bytes_text(sizes[i].value), sizes[i].text);
    ck_assert_str_eq(lesson_range_text(1.5e-3, 0.9e-3, 20e-3), "1.50 [0.90 - 20.0] ms");
}
END_TEST

START_TEST(medians)
{
    double one[] = {3.0}, odd[] = {5.0, 1.0, 3.0}, even[] = {4.0, 1.0, 3.0, 2.0};
    ck_assert_double_eq(median(one, 1), 3.0);
    ck_assert_double_eq(median(odd, 3), 3.0);
    ck_assert_double_eq(median(even, 4), 2.5);
    ck_assert(even[0] == 1.0 && even[3] == 4.0);
}
END_TEST

/* ---- The machine ----------------------------------------------------------------------------- */

START_TEST(cgroup_quotas)
{
    ck_assert_double_eq(cgroup_cpus("150000 100000\n"), 1.5);
    ck_assert(isinf(cgroup_cpus("max 100000\n")));
    ck_assert(isinf(cgroup_cpus("")));
    ck_assert(isinf(cgroup_cpus("100000\n")));
    ck_assert(isinf(cgroup_cpus("100000 0\n")));
    ck_assert_double_eq(cgroup_v1_cpus("200000\n", "100000\n"), 2.0);
    ck_assert(isinf(cgroup_v1_cpus("-1\n", "100000\n")));
}
END_TEST

START_TEST(cgroup_paths)
{
    static const char text[] = "4:memory:/a/b\n3:cpuset:/c\n2:cpu,cpuacct:/d:e\n0::/user.slice/x\n";
    char path[64];
    ck_assert(cgroup_path(text, "", path, sizeof path));
    ck_assert_str_eq(path, "/user.slice/x");
    ck_assert(cgroup_path(text, "cpu", path, sizeof path));
    ck_assert_str_eq(path, "/d:e");
    ck_assert(cgroup_path(text, "memory", path, sizeof path));
    ck_assert_str_eq(path, "/a/b");
    ck_assert(!cgroup_path(text, "pids", path, sizeof path));
    ck_assert(!cgroup_path("4:memory:/a\n", "", path, sizeof path));
    ck_assert(!cgroup_path("nonsense\n\n", "cpu", path, sizeof path));
    ck_assert(!cgroup_path(text, "", path, 4));
}
END_TEST

static int processors_of_this_thread(void)
{
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

static void *bind_and_unbind(void *argument)
{
    const int *all = argument;
    resources_bind(7); /* counted round */
    ck_assert_int_eq(processors_of_this_thread(), 1);
    resources_unbind();
    ck_assert_int_eq(processors_of_this_thread(), *all);
    resources_place(1);
    ck_assert_int_eq(processors_of_this_thread(), *all);
    return NULL;
}

START_TEST(threads_are_bound_and_freed)
{
    int all = processors_of_this_thread();
    pthread_t thread;
    ck_assert_int_ge(resources_cores(), 1);
    ck_assert_int_le(resources_cores(), all);
    ck_assert_int_lt(resources_here(), all);
    ck_assert_int_eq(pthread_create(&thread, NULL, bind_and_unbind, &all), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(processors_of_this_thread(), all);
}
END_TEST

static bool matches(const struct array *array, double tolerance, struct difference *difference)
{
    const struct array_set set = {.arrays = (struct array *)(uintptr_t)array, .count = 1};
    return arrays_match(&set, false, tolerance, difference);
}

START_TEST(results_match_to_the_last_bit_or_within_the_tolerance)
{
    struct difference difference;
    double reference[] = {1.0, 100.0}, values[] = {1.0, 100.0005};
    struct array array = {.data = values,
                          .reference = reference,
                          .bytes = sizeof values,
                          .type = NPY_FLOAT64,
                          .result = true};
    ck_assert(!matches(&array, 0.0, &difference));
    ck_assert(matches(&array, 1e-5, &difference));
    ck_assert(!matches(&array, 1e-6, &difference));
    values[1] = reference[1];
    ck_assert(matches(&array, 0.0, &difference));
    values[0] = NAN;
    ck_assert(!matches(&array, 1e-5, &difference));
    reference[0] = NAN; /* the same bits are the same, whatever they mean */
    values[1] = 100.0005;
    ck_assert(matches(&array, 1e-5, &difference));
    reference[0] = INFINITY;
    values[0] = 1e300;
    ck_assert(!matches(&array, 1e-5, &difference));
    float float_reference[] = {0.0f, -7.0f, 3.0f}, floats[] = {5e-6f, -7.00005f, 3.0f};
    array = (struct array){.data = floats,
                           .reference = float_reference,
                           .bytes = sizeof floats,
                           .type = NPY_FLOAT32,
                           .result = true};
    ck_assert(!matches(&array, 0.0, &difference));
    ck_assert(matches(&array, 1e-5, &difference));
    ck_assert(!matches(&array, 1e-6, &difference));
    array.result = false; /* an input is not compared */
    ck_assert(matches(&array, 0.0, &difference));
}
END_TEST

static void expect_difference(struct array array, double tolerance, const char *text)
{
    struct difference difference;
    char told[256];
    ck_assert(!matches(&array, tolerance, &difference));
    difference_text(told, sizeof told, &difference);
    ck_assert_str_eq(told, text);
}

/* The first, its values, how many, how large. */
START_TEST(differences_are_told)
{
    int64_t whole_reference[] = {5, INT64_MAX, -3}, whole[] = {5, INT64_MAX - 1, 7};
    expect_difference((struct array){.data = whole,
                                     .reference = whole_reference,
                                     .bytes = sizeof whole,
                                     .type = NPY_INT64,
                                     .result = true},
                      0.0,
                      "2 of 3 results differ from the sequential ones, by up to 10; the first is "
                      "[1]: expected 9223372036854775807, got 9223372036854775806");
    float float_reference[] = {1.0f, 2.0f, 3.0f, 4.0f}, floats[] = {1.0f, 2.0f, 3.5f, 0.0f};
    memset(&floats[3], POISON, sizeof floats[3]);
    floats[1] = nextafterf(2.0f, 3.0f);
    const struct array array = {.data = floats,
                                .reference = float_reference,
                                .bytes = sizeof floats,
                                .type = NPY_FLOAT32,
                                .result = true};
    expect_difference(array, 0.0,
                      "3 of 4 results differ from the sequential ones, by up to 4; the first is "
                      "[1]: expected 2, got 2.00000024");
    expect_difference(array, 1e-5,
                      "2 of 4 results differ from the sequential ones, by up to 4; the first is "
                      "[2]: expected 3, got 3.5");
    floats[2] = 3.0f;
    expect_difference(array, 1e-5,
                      "1 of 4 results differ from the sequential ones, by up to 4; the first is "
                      "[3]: expected 4, got nothing (never written)");
}
END_TEST

START_TEST(memory_is_known)
{
    const double memory = (double)resources_memory();
    ck_assert(memory > 1e6 && memory < 1e18);
}
END_TEST

START_TEST(blas_candidates)
{
    const struct cpu_features none = {false, false}, avx2 = {true, false}, avx512 = {true, true};
    ck_assert_str_eq(blas_candidate("Prescott", avx512, 0), "SKYLAKEX");
    ck_assert_str_eq(blas_candidate("Prescott", avx512, 1), "HASWELL");
    ck_assert_ptr_null(blas_candidate("Prescott", avx512, 2));
    ck_assert_str_eq(blas_candidate("core2", avx2, 0), "HASWELL");
    ck_assert_ptr_null(blas_candidate("Core2", avx2, 1));
    ck_assert_ptr_null(blas_candidate("Generic", none, 0));
    ck_assert_ptr_null(blas_candidate("SkylakeX", avx512, 0));
    ck_assert_ptr_null(blas_candidate("Cooperlake", avx512, 0));
    ck_assert_ptr_null(blas_candidate("Zen", avx512, 0));
    ck_assert_ptr_null(blas_candidate("neoversen1", none, 0));
}
END_TEST

START_TEST(this_blas_is_right)
{
    ck_assert(blas_is_right());
}
END_TEST

/* ---- Why ------------------------------------------------------------------------------------- */

static struct lesson_figures figures_of(enum lesson_mode mode, int workers, double wall, double cpu,
                                        double sequential)
{
    return (struct lesson_figures){.mode = mode,
                                   .workers = workers,
                                   .transfer = LESSON_COPY,
                                   .wall_median = wall,
                                   .cpu_median = cpu,
                                   .cores_busy = cpu / wall,
                                   .speedup = sequential / wall,
                                   .efficiency = sequential / wall / workers,
                                   .matches = true,
                                   .tasks = 100,
                                   .pool.chunks = 8,
                                   .switch_interval = 0.005};
}

static void expect_why(const struct lesson_figures *figures, int cores, const char *has,
                       const char *has_not)
{
    const struct lesson_figures sequential = figures_of(
        LESSON_SEQUENTIAL, 1, figures->wall_median * figures->speedup,
        figures->wall_median * figures->speedup, figures->wall_median * figures->speedup);
    char *text = why_text(figures, &sequential, cores);
    ck_assert_ptr_nonnull(text);
    ck_assert_msg(strstr(text, has) != NULL, "no '%s' in: %s", has, text);
    if (has_not)
        ck_assert_msg(strstr(text, has_not) == NULL, "'%s' in: %s", has_not, text);
    ck_assert_ptr_null(strchr(text, '\n'));
    free(text);
}

START_TEST(numbers_of_a_report)
{
    json_t *report =
        json_loads("{\"a\": 2, \"b\": {\"c\": [1.5, [7], \"x\", null]}, \"0\": 3}", 0, NULL);
    ck_assert_ptr_nonnull(report);
    ck_assert_double_eq(lesson_notebook_number(report, "a"), 2);
    ck_assert_double_eq(lesson_notebook_number(report, "0"), 3);
    ck_assert_double_eq(lesson_notebook_number(report, "b.c.0"), 1.5);
    ck_assert_double_eq(lesson_notebook_number(report, "b.c.1.0"), 7);
    static const char *const none[] = {"",      "A",    "b",   "b.c", "b.c.2", "b.c.3", "b.c.4",
                                       "b.c.x", "b.c.", "a.a", "a.0", ".",     "b..c.0"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        ck_assert_msg(isnan(lesson_notebook_number(report, none[i])), "'%s'", none[i]);
    ck_assert_double_nan(lesson_notebook_number(NULL, "a"));
    json_decref(report);
}
END_TEST

START_TEST(reasons_follow_from_the_figures)
{
    struct lesson_figures f = figures_of(LESSON_THREADS, 2, 0.51, 1.0, 1.0);
    expect_why(&f, 2, "1.96x as fast", "only");
    f = figures_of(LESSON_THREADS, 2, 1.25, 1.3, 1.0);
    expect_why(&f, 2, "slower than sequential (0.80x)", NULL);
    f = figures_of(LESSON_THREADS, 2, 12.5, 12.6, 1.0);
    expect_why(&f, 2, "slower than sequential (0.080x)", NULL);
    f = figures_of(LESSON_THREADS, 8, 0.51, 1.0, 1.0);
    expect_why(&f, 2, "8 threads took turns on 2 cores", NULL);
    f = figures_of(LESSON_THREADS, 8, 1.0, 1.0, 1.0);
    f.threads = 1; /* a limit allowed no more */
    expect_why(&f, 8, "only 1 of 8 threads ran", "other programs");
    f = figures_of(LESSON_GIL, 8, 1.0, 1.0, 1.0);
    f.threads = 1;
    expect_why(&f, 8, "only 1 of 8 threads ran", "one of the 8");
    f = figures_of(LESSON_THREADS, 4, 0.5, 1.0, 1.0);
    f.tasks = 2;
    expect_why(&f, 4, "only 2 tasks to share", NULL);
    f = figures_of(LESSON_THREADS, 2, 0.67, 1.0, 1.0);
    f.tasks = 3;
    expect_why(&f, 2, "3 tasks do not divide evenly: one core does 2 of them, so 1.50x", NULL);
    f = figures_of(LESSON_THREADS, 2, 0.9, 1.8, 1.0);
    expect_why(&f, 2, "1.80 times the CPU time", "waited");
    f = figures_of(LESSON_THREADS, 2, 0.9, 1.0, 1.0);
    expect_why(&f, 2, "only 1.11 of 2 cores were busy", "CPU time");
    f = figures_of(LESSON_THREADS, 2, 20e-6, 25e-6, 10e-6);
    expect_why(&f, 2, "sharing it out cost 15.0 us", NULL);

    f = figures_of(LESSON_GIL, 2, 1.0, 1.0, 1.0);
    f.gil = (struct gil_statistics){.acquired = 201, .switches = 200, .forced = 199};
    expect_why(&f, 2,
               "one of the 2 threads compute at a time; it went from thread to thread 200 times, "
               "199 of them",
               "lost");
    f = figures_of(LESSON_GIL, 2, 0.52, 1.0, 1.0);
    f.gil.acquired = 200;
    expect_why(&f, 2, "did not hold the lock", "at a time");
    f = figures_of(LESSON_GIL, 2, 1.5, 1.5, 1.0);
    f.gil = (struct gil_statistics){.acquired = 1000, .switches = 10};
    expect_why(&f, 2, "took it 1000 times: 1.00 cores were busy", "at a time");
    f = figures_of(LESSON_GIL, 2, 2e-3, 2e-3, 2e-3);
    f.gil = (struct gil_statistics){.acquired = 2, .switches = 2};
    expect_why(&f, 2, "the run was shorter than the switch interval, 5.00 ms", "took it");
    expect_why(&f, 1, "it went from thread to thread 2 times", "at a time");
    f = figures_of(LESSON_GIL, 1, 1.0, 1.0, 1.0);
    expect_why(&f, 2, "nobody to share", NULL);

    f = figures_of(LESSON_PROCESSES, 2, 0.51, 1.0, 1.0);
    f.startup = 0.049;
    f.phases = (struct pool_phases){.compute = 0.5, .wait = 0.01};
    expect_why(
        &f, 2,
        "9.6 % on top; on the clock each task wins 4.90 ms, so at this rate a new pool pays from "
        "about 10 tasks",
        "copying");
    f = figures_of(LESSON_PROCESSES, 2, 3.2e-3, 6e-3, 6e-3);
    f.startup = 12.8e-3;
    f.phases = (struct pool_phases){.compute = 3.1e-3, .wait = 0.1e-3};
    expect_why(&f, 2, "80 % of that for starting 2 workers", NULL);
    f = figures_of(LESSON_PROCESSES, 2, 2.0, 2.0, 1.0);
    f.phases = (struct pool_phases){.send = 0.7, .compute = 0.5, .receive = 0.7, .wait = 0.1};
    f.pool.bytes_copied = 6400000;
    expect_why(&f, 2, "70 % of the wall time (1.40 s) went into copying 6.4 MB", "waiting");
    f.phases = (struct pool_phases){.send = 0.05, .compute = 0.5, .wait = 1.45};
    expect_why(&f, 2, "waiting for workers to wake up, for 8 chunks", "copying");
    f = figures_of(LESSON_PROCESSES, 2, 2.0, 4.0, 1.0);
    f.phases = (struct pool_phases){.compute = 2.0};
    expect_why(&f, 2, "a task took 40.0 ms of CPU time, in the plain loop 10.0 ms", "copying");

    f.matches = false;
    expect_why(&f, 2, "the results are wrong", "sequential");
    f.matches = true;
    f.tasks = 0;
    expect_why(&f, 2, "no task to run", NULL);
}
END_TEST

/* ---- The probe as a program ------------------------------------------------------------------ */

static char build_directory[4096], directory[] = "test_lesson.XXXXXX";

struct outcome {
    int status; /* exit status, or 128 + the signal */
    char output[65536], errors[16384];
};

static void slurp(const char *name, char *text, size_t size)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    const size_t length = fread(text, 1, size - 1, file);
    ck_assert_int_eq(ferror(file), 0);
    text[length] = '\0';
    fclose(file);
}

/* Runs a shell line in which $P is the probe, $D a directory, and $F the fake OpenBLAS. */
static struct outcome *shell(const char *line)
{
    static struct outcome outcome;
    char command[16384];
    snprintf(command, sizeof command,
             "P='%s/lesson_probe' F='%s/libfake_prescott.so' D='%s'; "
             "{ %s; } >$D/output 2>$D/errors </dev/null",
             build_directory, build_directory, directory, line);
    const int status = system(command);
    ck_assert_int_ne(status, -1);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    slurp("output", outcome.output, sizeof outcome.output);
    slurp("errors", outcome.errors, sizeof outcome.errors);
    return &outcome;
}

static json_t *probe_json(const char *line)
{
    const struct outcome *outcome = shell(line);
    json_error_t error;
    ck_assert_msg(outcome->status == 0, "%s: status %d, %s", line, outcome->status,
                  outcome->errors);
    json_t *document = json_loads(outcome->output, 0, &error);
    ck_assert_msg(document != NULL, "%s: %s in: %s", line, error.text, outcome->output);
    return document;
}

static const char *machine_text(json_t *document, const char *key)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(document, "machine"), key));
    ck_assert_msg(text != NULL, "no machine.%s", key);
    return text;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

START_TEST(bad_command_lines_say_one_line_and_write_nothing)
{
    static const struct {
        const char *arguments, *names;
    } bad[] = {
        {"--bogus", "--bogus"},
        {"-z", "'z'"},
        {"--tasks", "--tasks"},
        {"--tasks ''", "--tasks: ''"},
        {"--tasks 12abc", "--tasks: '12abc'"},
        {"--tasks -1", "at least 0"},
        {"--tasks ' 5'", "--tasks"},
        {"--tasks 99999999999999999999", "--tasks"},
        {"--tasks 9223372036854775807", "--tasks 9223372036854775807: needs"},
        {"--tasks 1000000000000", "are available"},
        {"--tasks \"$(printf '1\\n2')\"", "--tasks: '1?2'"},
        {"--small-number 60001", "from 0 to 60000"},
        {"--add 1.5", "--add"},
        {"--size 4", "from 5 to 4096"},
        {"--size 5x", "--size"},
        {"--size 5x5x5", "--size"},
        {"--volume 5x5", "--volume"},
        {"--volume 5x5x4", "DEPTHxHEIGHTxWIDTH"},
        {"--part 1.5", "from 0 to 1"},
        {"--part x", "--part"},
        {"--answer perhaps", "yes, no or maybe"},
        {"--answer ''", "--answer"},
        {"--say ''", "--say"},
        {"--mode some", "--mode: 'some'"},
        {"-m gil,", "sequential, threads, gil and processes"},
        {"-w 0", "from 1 to 1024"},
        {"-w 1,,2", "--workers"},
        {"--workers=1025", "--workers"},
        {"-r 0", "--repeats"},
        {"-r 1001", "--repeats"},
        {"--seconds 0", "from 0.001 to 3600"},
        {"--seconds nan", "--seconds"},
        {"--seed -1", "from 0 to 4294967295"},
        {"--seed 4294967296", "--seed"},
        {"--schedule fair", "static, dynamic, guided or auto"},
        {"--schedule static,0", "--schedule"},
        {"--chunksize 0", "--chunksize"},
        {"--start-method thread", "forkserver, fork or spawn"},
        {"--transfer none", "copy, shared or both"},
        {"--switch-interval 0", "--switch-interval"},
        {"--switch-interval 0.005,", "one number from 1e-06 to 60, or a list of at most 16"},
        {"--switch-interval 1,61", "--switch-interval: '1,61'"},
        {"--save ''", "--save"},
        {"--output ''", "--output"},
        {"--input ''", "--input"},
        {"--json - --csv -", "--json and --csv"},
        {"--json - --plot -", "--json and --plot"},
        {"--plot x.gif", ".svg, .png or .pdf"},
        {"--kill-worker=yes", "--kill-worker"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[256];
        snprintf(line, sizeof line, "$P --json $D/bad.json %s", bad[i].arguments);
        const struct outcome *outcome = shell(line);
        ck_assert_msg(outcome->status == 2, "%s: status %d", bad[i].arguments, outcome->status);
        ck_assert_msg(count_lines(outcome->errors) == 1, "%s: %s", bad[i].arguments,
                      outcome->errors);
        ck_assert_msg(strncmp(outcome->errors, "00_lesson_probe: ", 17) == 0, "%s",
                      outcome->errors);
        ck_assert_msg(strstr(outcome->errors, bad[i].names) != NULL, "no '%s' in: %s", bad[i].names,
                      outcome->errors);
        ck_assert_msg(!*outcome->output, "%s: %s", bad[i].arguments, outcome->output);
        ck_assert_int_ne(access("bad.json", F_OK), 0);
    }
}
END_TEST

START_TEST(places_that_cannot_be_written_fail_at_once)
{
    static const char *const lines[] = {
        "$P --json /nonexistent/x.json", "$P --csv /nonexistent/x.csv", "$P --json $D",
        "$P --save /proc/self/x", "touch $D/file; $P --save $D/file/x"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const struct outcome *outcome = shell(lines[i]);
        ck_assert_msg(outcome->status == 1, "%s: %d", lines[i], outcome->status);
        ck_assert_msg(count_lines(outcome->errors) == 1 && !*outcome->output, "%s: %s%s", lines[i],
                      outcome->errors, outcome->output);
    }
}
END_TEST

START_TEST(help_and_version)
{
    const struct outcome *outcome = shell("$P --help");
    ck_assert_int_eq(outcome->status, 0);
    const char *own = strstr(outcome->output, "--kill-worker"),
               *common = strstr(outcome->output, "--repeats");
    ck_assert(own && common && own < common);
    ck_assert_ptr_nonnull(strstr(outcome->output, "A probe of the lesson"));
    ck_assert_ptr_nonnull(strstr(outcome->output, "how many cubes (default 100)"));
    outcome = shell("$P --version");
    ck_assert_int_eq(outcome->status, 0);
    ck_assert_int_eq(strncmp(outcome->output, "00_lesson_probe (forkjoin) ", 27), 0);
    ck_assert_uint_eq(count_lines(outcome->output), 1);
}
END_TEST

START_TEST(lost_output_is_an_error)
{
    static const char *const lines[] = {"$P -r 1 >/dev/full",       "$P -r 1 --json - >/dev/full",
                                        "$P -r 1 --csv /dev/full",  "$P --help >/dev/full",
                                        "$P -r 1 --json /dev/full", "$P -r 1 >&-"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const struct outcome *outcome = shell(lines[i]);
        ck_assert_msg(outcome->status == 1, "%s: %d", lines[i], outcome->status);
        ck_assert_msg(count_lines(outcome->errors) == 1, "%s: %s", lines[i], outcome->errors);
    }
}
END_TEST

START_TEST(quiet_is_quiet_and_the_table_is_plain)
{
    const struct outcome *outcome = shell("$P --quiet -r 2 -w 2");
    ck_assert_int_eq(outcome->status, 0);
    ck_assert_str_eq(outcome->output, "");
    ck_assert_str_eq(outcome->errors, "");
    outcome = shell("$P -r 2 -w 1,2,64 --transfer both");
    ck_assert_int_eq(outcome->status, 0);
    ck_assert_ptr_null(strchr(outcome->output, '\033'));
    ck_assert_str_eq(outcome->errors, "");
    ck_assert_ptr_nonnull(strstr(outcome->output, "processes, shared      64"));
    ck_assert_ptr_nonnull(strstr(outcome->output, "64 workers are more than the cores"));
    ck_assert_ptr_nonnull(strstr(outcome->output, "\nforkserver: 1 worker ready in "));
    ck_assert_ptr_nonnull(strstr(outcome->output, "; 100 tasks in each run\n"));
    ck_assert_ptr_null(strstr(outcome->output, "restarted"));
    size_t column = 0;
    for (const char *c = outcome->output; *c; c++) {
        column = *c == '\n' ? 0 : column + 1;
        ck_assert_uint_le(column, 100);
    }
    outcome = shell("OMP_THREAD_LIMIT=1 $P -r 1");
    ck_assert_ptr_nonnull(strstr(outcome->output, "OpenMP     OFF"));
    outcome = shell("OMP_NUM_THREADS=3 $P -r 1");
    ck_assert_ptr_nonnull(strstr(outcome->output, "workers    3 (OMP_NUM_THREADS says so"));
    outcome = shell("OMP_NUM_THREADS=3 $P -r 1 -w 2");
    ck_assert_ptr_nonnull(strstr(outcome->output, "workers    2 (--workers says so"));
}
END_TEST

static json_int_t cores_of(const char *line)
{
    json_t *document = probe_json(line);
    json_t *machine = json_object_get(document, "machine");
    const json_int_t cores = json_integer_value(json_object_get(machine, "cores"));
    json_decref(document);
    return cores;
}

START_TEST(cores_are_those_that_may_be_used)
{
    const json_int_t cores = cores_of("$P -m sequential -r 1 --json -");
    ck_assert_int_ge(cores, 1);
    ck_assert_int_eq(cores_of("OMP_PROC_BIND=true $P -m sequential -r 1 --json -"), cores);
    ck_assert_int_eq(cores_of("c=$(taskset -cp $$ | sed 's/.*: *\\([0-9]*\\).*/\\1/');"
                              "taskset -c $c $P -m sequential -r 1 --json -"),
                     1);
}
END_TEST

/* Of the run with the median wall time, in which nothing went wrong. */
static void check_pool_entry(json_t *pool, json_int_t bytes_copied)
{
    static const char *const none[] = {"restarts",    "retired",  "chunks_retried",
                                       "chunks_lost", "timeouts", "cancelled"};
    const char *method;
    json_int_t tasks, chunks, bytes, wakeups;
    json_error_t error;
    const int bad = json_unpack_ex(pool, &error, 0, "{s:s, s:I, s:I, s:I, s:I}", "start_method",
                                   &method, "tasks", &tasks, "chunks", &chunks, "bytes_copied",
                                   &bytes, "wakeups", &wakeups);
    ck_assert_msg(bad == 0, "%s", error.text);
    ck_assert_str_eq(method, "forkserver");
    ck_assert(tasks == 1001 && chunks == 11 && bytes == bytes_copied && wakeups >= 0);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        const json_t *count = json_object_get(pool, none[i]);
        ck_assert_msg(json_is_integer(count) && json_integer_value(count) == 0, "%s", none[i]);
    }
}

static void check_gil_entry(json_t *run, bool is_gil)
{
    double interval;
    json_int_t acquired, switches, forced;
    const int bad =
        json_unpack(run, "{s:F, s:{s:I, s:I, s:I}}", "switch_interval_s", &interval, "gil",
                    "acquired", &acquired, "switches", &switches, "forced", &forced);
    ck_assert_int_eq(bad == 0, is_gil);
    if (!is_gil)
        return;
    ck_assert_double_eq(interval, 0.005);
    ck_assert(acquired == 1001 + forced && switches >= 1 && switches <= acquired && forced >= 0);
    ck_assert_int_eq(json_integer_value(json_object_get(run, "gil_switches")), switches);
}

/* Checks one entry of "runs" and returns its mode. */
static const char *check_run_entry(json_t *run)
{
    const char *workload, *mode;
    int workers, repeats, matches;
    double minimum, middle, maximum, cpu, busy, speedup, efficiency, startup, phase[4];
    json_int_t bytes, tasks, chunks;
    json_error_t error;
    const int bad = json_unpack_ex(
        run, &error, 0,
        "{s:s, s:s, s:i, s:i, s:{s:F, s:F, s:F}, s:{s:F}, s:F, s:F, s:F, s:b, s:F, s:{s:F, s:F, "
        "s:F, s:F}, s:I, s:I, s:I}",
        "workload", &workload, "mode", &mode, "workers", &workers, "repeats", &repeats, "wall_s",
        "min", &minimum, "median", &middle, "max", &maximum, "cpu_s", "median", &cpu, "cores_busy",
        &busy, "speedup", &speedup, "efficiency", &efficiency, "matches_sequential", &matches,
        "startup_s", &startup, "phases_s", "send", &phase[0], "compute", &phase[1], "receive",
        &phase[2], "wait", &phase[3], "bytes_copied", &bytes, "tasks", &tasks, "chunks", &chunks);
    ck_assert_msg(bad == 0, "%s", error.text);
    ck_assert_str_eq(workload, "cubes");
    ck_assert(minimum > 0.0 && minimum <= middle && middle <= maximum);
    ck_assert(cpu >= 0.0 && repeats == 3 && matches && tasks == 1001);
    ck_assert(fabs(efficiency * workers - speedup) <= 1e-9 * speedup);
    ck_assert(fabs(busy * middle - cpu) <= 1e-9 * (cpu + 1e-9));
    const json_t *transfer = json_object_get(run, "transfer");
    check_gil_entry(run, strcmp(mode, "gil") == 0);
    if (strcmp(mode, "processes") == 0) {
        check_pool_entry(json_object_get(run, "pool"), bytes);
        const bool shared = strcmp(json_string_value(transfer), "shared") == 0;
        ck_assert_str_eq(json_string_value(json_object_get(run, "start_method")), "forkserver");
        ck_assert(startup > 0.0 && phase[1] > 0.0);
        ck_assert_int_eq(bytes, shared ? 0 : 2 * 8 * 1001);
        ck_assert_int_eq(chunks, 11);
    } else {
        ck_assert(json_is_null(transfer) && startup == 0.0 && bytes == 0);
        ck_assert_ptr_null(json_object_get(run, "pool"));
    }
    return mode;
}

START_TEST(json_has_everything)
{
    json_t *document = probe_json("$P --tasks 1001 -r 3 -w 2,3 --transfer both --json - "
                                  "--chunksize 91 --seed 7 --size 9x8 --volume 6x7x8 --part 0.25 "
                                  "--answer maybe --input a b c --add -3");
    json_t *parameters = json_object_get(document, "parameters"), *run;
    size_t i, modes[LESSON_MODES] = {0};
    ck_assert_str_eq(json_string_value(json_object_get(document, "chapter")), "00_lesson_probe");
    ck_assert_ptr_nonnull(json_string_value(json_object_get(document, "version")));
    ck_assert_int_eq(json_integer_value(json_object_get(document, "seed")), 7);
    ck_assert_ptr_nonnull(machine_text(document, "cpu"));
    ck_assert_str_eq(machine_text(document, "isa"), machine_text(document, "isa_best"));
    ck_assert(json_is_false(json_object_get(json_object_get(document, "machine"), "isa_chosen")));
    ck_assert_ptr_nonnull(machine_text(document, "compiler"));
    ck_assert_ptr_nonnull(
        strstr(machine_text(document, "blas"), machine_text(document, "blas_core")));
    json_t *expected = json_pack(
        "{s:i, s:i, s:i, s:[i, i], s:[i, i, i], s:f, s:f, s:s, s:n, s:n, s:n, s:[s, s, s], s:b, "
        "s:i, s:b, s:b}",
        "tasks", 1001, "add", -3, "small_number", 0, "size", 9, 8, "volume", 6, 7, 8, "part", 0.25,
        "tolerance", 0.0, "answer", "maybe", "say", "output", "wrong", "input", "a", "b", "c",
        "again", 0, "per_worker", 0, "kill_worker", 0, "ladder", 0);
    ck_assert(json_equal(parameters, expected));
    json_decref(expected);
    json_array_foreach(json_object_get(document, "runs"), i, run)
        modes[parse_name(check_run_entry(run), lesson_mode_names, LESSON_MODES)]++;
    ck_assert(modes[LESSON_SEQUENTIAL] == 1 && modes[LESSON_THREADS] == 2 &&
              modes[LESSON_GIL] == 2 && modes[LESSON_PROCESSES] == 4);
    json_decref(document);
}
END_TEST

START_TEST(several_intervals_make_several_rows)
{
    static const double expected[] = {0.05, 0.0005, 0.05, 0.0005};
    json_t *document = probe_json("$P -m gil -w 1,2 --switch-interval 0.05,5e-4 -r 2 --json -");
    json_t *runs = json_object_get(document, "runs");
    ck_assert_uint_eq(json_array_size(runs), 1 + 4);
    for (size_t i = 0; i < 4; i++) {
        json_t *run = json_array_get(runs, 1 + i);
        ck_assert_double_eq(json_real_value(json_object_get(run, "switch_interval_s")),
                            expected[i]);
        ck_assert_int_eq(json_integer_value(json_object_get(run, "workers")), 1 + (int)i / 2);
    }
    json_decref(document);
    const struct outcome *outcome = shell("$P -m gil -w 1,2 --switch-interval 0.05,5e-4 -r 2");
    ck_assert_int_eq(outcome->status, 0);
    ck_assert_ptr_nonnull(strstr(outcome->output, "\ngil, 50 ms "));
    ck_assert_ptr_nonnull(strstr(outcome->output, "\ngil, 0.5 ms "));
    ck_assert_ptr_nonnull(strstr(outcome->output, "\nswitch intervals "));
    outcome = shell("$P -m gil -w 1,2 --switch-interval 0.05 -r 2");
    ck_assert_ptr_nonnull(strstr(outcome->output, "\ngil         "));
    ck_assert_ptr_null(strstr(outcome->output, "switch intervals"));
    outcome = shell("$P -m gil -w 1 --switch-interval 0.05,5e-4 -r 2"); /* nobody to share it */
    ck_assert_ptr_nonnull(strstr(outcome->output, "\ngil, 50 ms "));
    ck_assert_ptr_null(strstr(outcome->output, "switch intervals"));
}
END_TEST

/* With the same inputs, beside a roof, its transfer fixed, its tasks those that the pool has seen.
 */
START_TEST(a_workload_can_be_measured_again)
{
    size_t i, again = 0, copied = 0;
    json_t *run,
        *document = probe_json("$P --again --tasks 7 -r 2 -w 2,3 --transfer shared --json -");
    json_array_foreach(json_object_get(document, "runs"), i, run)
    {
        const bool second =
            strcmp(json_string_value(json_object_get(run, "workload")), "again") == 0;
        const char *transfer = json_string_value(json_object_get(run, "transfer"));
        ck_assert(second == (json_object_get(run, "roof_s") != NULL));
        ck_assert(json_is_true(json_object_get(run, "matches_sequential")));
        ck_assert_str_eq(transfer ? transfer : "none", !transfer ? "none"
                                                       : second  ? "copy"
                                                                 : "shared");
        again += second;
        copied += second && transfer;
        if (transfer)
            ck_assert_int_eq(json_integer_value(json_object_get(run, "tasks")), 7);
    }
    ck_assert_uint_eq(again, 7);
    ck_assert_uint_eq(copied, 2);
    json_decref(document);
    const struct outcome *outcome = shell("$P --again --tasks 7 -r 2 -w 2,3");
    ck_assert_int_eq(outcome->status, 0);
    ck_assert_ptr_nonnull(strstr(outcome->output, "\nSide by side\n"));
    ck_assert_ptr_nonnull(strstr(outcome->output, "\nprocesses, copy              3 "));
    ck_assert_ptr_nonnull(strstr(outcome->output, "\nagain                        3 "));
    ck_assert_ptr_null(strstr(outcome->output, "\nnever"));
    /* 10^14 bytes for each worker: more than any machine has */
    outcome = shell("$P --again --per-worker 100000000000000 -r 1 -w 2 -m processes");
    ck_assert_int_eq(outcome->status, 0);
    ck_assert_ptr_nonnull(strstr(
        outcome->output, "again, mode processes, 2 workers: left out; it takes 200 TB, and "));
    ck_assert_ptr_null(strstr(outcome->output, "\nagain         "));
}
END_TEST

/* What saved_compare says of ours beside theirs, "" if they are the same. */
static const char *compared(const struct saved_array *ours, enum npy_type type, int dimensions,
                            const size_t *shape, const void *theirs)
{
    static struct error error;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, ours->file);
    ck_assert_int_eq(npy_write(path, type, dimensions, shape, theirs, &error), 0);
    error.message[0] = '\0';
    const int result = saved_compare(ours, directory, &error);
    ck_assert_int_eq(result, *error.message ? -1 : 0);
    ck_assert_int_eq(unlink(path), 0);
    return error.message;
}

START_TEST(saved_arrays_are_compared)
{
    float reals[6] = {1, 1e6F, 0, INFINITY, -2, NAN}, other[6];
    int64_t numbers[3] = {INT64_MAX, -1, 5};
    char real_file[] = "reals.npy", number_file[] = "numbers.npy";
    struct saved_array ours = {real_file, {NPY_FLOAT32, 2, {2, 3}, reals}, NULL};
    const struct saved_array integers = {number_file, {NPY_INT64, 1, {3}, numbers}, NULL};
    const size_t shape[] = {2, 3}, turned[] = {3, 2};
    memcpy(other, reals, sizeof reals);
    ck_assert_str_eq(compared(&ours, NPY_FLOAT32, 2, shape, other),
                     "reals.npy[1, 2] is nan, and in Python nan"); /* as numpy.isclose has it */
    reals[5] = other[5] = 7;
    ck_assert_str_eq(compared(&ours, NPY_FLOAT32, 2, shape, other), "");
    reals[3] = 1; /* to which nothing infinite is near */
    ck_assert_str_eq(compared(&ours, NPY_FLOAT32, 2, shape, other),
                     "reals.npy[1, 0] is 1, and in Python inf");
    other[3] = 1;
    other[1] = 1e6F + 9;
    other[2] = 1e-5F;
    ck_assert_str_eq(compared(&ours, NPY_FLOAT32, 2, shape, other), "");
    other[2] = 2e-5F;
    ck_assert_ptr_nonnull(
        strstr(compared(&ours, NPY_FLOAT32, 2, shape, other), "reals.npy[0, 2] is 0, and in Py"));
    other[1] = 1e6F + 11;
    ck_assert_ptr_nonnull(
        strstr(compared(&ours, NPY_FLOAT32, 2, shape, other), "reals.npy[0, 1] is 1000000, "));
    ck_assert_ptr_nonnull(
        strstr(compared(&ours, NPY_FLOAT32, 2, turned, reals), "another type or shape"));
    ck_assert_ptr_nonnull(
        strstr(compared(&ours, NPY_INT64, 2, turned, (int64_t[6]){0}), "another type or shape"));
    ck_assert_str_eq(compared(&integers, NPY_INT64, 1, shape + 1, numbers), "");
    ck_assert_str_eq(
        compared(&integers, NPY_INT64, 1, shape + 1, (int64_t[]){INT64_MAX - 1, -1, 5}),
        "numbers.npy[0] is 9223372036854775807, and in Python 9223372036854775806");
    struct error error;
    ck_assert_int_eq(saved_compare(&integers, directory, &error), -1);
    ck_assert_str_eq(error.message, "numbers.npy: notebook.py did not save it");
}
END_TEST

START_TEST(the_notebook_gets_the_options_that_it_has)
{
    size_t tasks = 7, size[] = {3, 4}, cube[] = {2, 3, 4}, unknown = 9;
    int64_t offset = -5;
    double ms = 0.1;
    int choice = 1, none = -1;
    bool yes = true, no = false;
    const struct lesson_option options[] = {
        {"tasks", "N", "", LESSON_COUNT, &tasks, 0, 0},
        {"task", "N", "", LESSON_COUNT, &unknown, 0, 0}, /* only the beginning of another */
        {"size", "HxW", "", LESSON_SHAPE, size, 0, 0},
        {"shape", "DxHxW", "", LESSON_SHAPE3, cube, 0, 0},
        {"offset", "N", "", LESSON_INTEGER, &offset, 0, 0},
        {"ms", "MS", "", LESSON_REAL, &ms, 0, 0},
        {"way", "one|two|three", "", LESSON_CHOICE, &choice, 0, 0},
        {"other", "one|two", "", LESSON_CHOICE, &none, 0, 0},
        {"augment", NULL, "", LESSON_FLAG, &yes, 0, 0},
        {"drop", NULL, "", LESSON_FLAG, &no, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {.name = "chapter", .title = "title", .options = options};
    int workers[] = {1, 4};
    struct options given = {
        .workers = workers, .worker_count = 2, .repeats = 5, .seed = UINT32_MAX};
    struct lesson lesson = {.chapter = &chapter, .options = &given};
    struct words words = {.count = 0};
    const char help[] = "usage: [--tasks N] [--size N|HxW] [--shape S]\n  --offset N\n --ms MS\n"
                        "--way {one,two}, --other --augment --drop";
    words_add_options(&lesson, &words, help);
    char *text = words_text(&lesson, &words);
    ck_assert_str_eq(text, "notebook.py --tasks=7 --size=3x4 --shape=2x3x4 --offset=-5 --ms=0.1 "
                           "--way=two --augment --workers=1,4 --repeats=1 --seed=4294967295");
    ck_assert_str_eq(words_sizes(&lesson, help), "--tasks, --size, --shape");
    free(text);
    words_free(&words);
}
END_TEST

/* Of this program; a test runs in a process of its own. */
START_TEST(a_temporary_directory_goes_with_its_files)
{
    char parent[PATH_MAX], path[PATH_MAX];
    struct error error;
    snprintf(parent, sizeof parent, "%s/parent", directory);
    ck_assert_int_eq(mkdir(parent, 0700), 0);
    setenv("TMPDIR", parent, 1);
    for (int files = 0; files <= 1000; files += 500) {
        const char *made = temporary_make(&error);
        ck_assert_ptr_nonnull(made);
        ck_assert_int_eq(strncmp(made, parent, strlen(parent)), 0);
        for (int i = 0; i < files; i++) {
            snprintf(path, sizeof path, "%s/a_file_with_a_long_name_%d.npy", made, i);
            FILE *file = fopen(path, "w");
            ck_assert_ptr_nonnull(file);
            ck_assert_int_eq(fclose(file), 0);
        }
        ck_assert_int_eq(rmdir(parent), -1);
        temporary_remove();
        ck_assert_int_eq(rmdir(parent), 0);
        ck_assert_int_eq(mkdir(parent, 0700), 0);
    }
    ck_assert_int_eq(rmdir(parent), 0);
    ck_assert_ptr_null(temporary_make(&error));
    ck_assert_ptr_nonnull(strstr(error.message, parent));
}
END_TEST

START_TEST(files_are_written)
{
    char text[16384];
    const struct outcome *outcome =
        shell("$P --tasks 7 -r 2 -w 2 --json $D/a.json --csv $D/a.csv --save $D/deep/er");
    ck_assert_int_eq(outcome->status, 0);
    slurp("a.csv", text, sizeof text);
    ck_assert_uint_eq(count_lines(text), 1 + 4);
    ck_assert_ptr_nonnull(strstr(text, ",switch_interval_s,size_name,size,language\n"));
    size_t commas = 0, first = 0;
    for (const char *c = text; *c; c++) {
        commas += *c == ',';
        if (*c == '\n') {
            first = first ? first : commas;
            ck_assert_uint_eq(commas, first);
            commas = 0;
        }
    }
    slurp("a.json", text, sizeof text);
    json_t *document = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(document);
    json_decref(document);
    slurp("deep/er/cubes.npy", text, sizeof text);
    ck_assert_int_eq(memcmp(text, "\x93NUMPY\x01\x00", 8), 0);
}
END_TEST

START_TEST(seconds_change_the_size)
{
    json_t *document = probe_json("$P --seconds 0.001 -m sequential -r 1 --json -");
    const json_int_t tasks =
        json_integer_value(json_object_get(json_object_get(document, "parameters"), "tasks"));
    ck_assert_int_gt(tasks, 10000); /* from 100: far more, on any machine */
    json_decref(document);
}
END_TEST

START_TEST(a_ladder_multiplies)
{
    const struct outcome *outcome = shell("$P --ladder -r 2 -w 2");
    static const char *const texts[] = {
        "start                            8.00 s           -       1.00x  nothing",
        "middle                           4.00 s       2.00x       2.00x  less work",
        "upper                            4.00 s       1.00x       2.00x  the same",
        "threads                          1.00 s       4.00x       8.00x  cores",
        "processes                        500 ms       8.00x       16.0x  cores",
        "; processes: as upper",
        " From start to processes: 16.0x = algorithm 2.00x (25 %) * batch 1.00x (0 %) * parallel "
        "8.00x (75 %). In brackets",
        "order, algorithm > batch > parallel, did not hold in this run: parallel 8.00x > algorithm "
        "2.00x > batch 1.00x. ",
        " Notebook: chapters/00_lesson_probe/notebook.py is neither above the program nor in /",
    };
    char output[sizeof outcome->output];
    ck_assert_int_eq(outcome->status, 0);
    memcpy(output, outcome->output, sizeof output);
    for (char *c = output; *c; c++) /* wherever lines are broken */
        *c = *c == '\n' ? ' ' : *c;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ck_assert_msg(strstr(output, texts[i]) != NULL, "no '%s'", texts[i]);
    json_t *document = probe_json("$P --ladder -r 2 -w 2 --json -");
    ck_assert_double_eq(lesson_notebook_number(document, "ladder.4.product"), 16.0);
    ck_assert_double_eq(lesson_notebook_number(document, "ladder.4.factor"), 8.0);
    ck_assert_double_eq(lesson_notebook_number(document, "ladder.0.task_s"), 8.0);
    ck_assert_ptr_nonnull(
        json_string_value(json_object_get(json_object_get(document, "notebook"), "error")));
    /* the sequential rows of "cubes", "first" and "second" */
    json_t *runs = json_object_get(document, "runs");
    const size_t each = json_array_size(runs) / 3;
    ck_assert_uint_eq(json_array_size(runs), 3 * each);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(runs, each), "workload")),
                     "first");
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(runs, 2 * each), "workload")),
                     "second");
    json_decref(document);
}
END_TEST

START_TEST(wrong_results_are_found)
{
    const struct outcome *outcome = shell("$P --wrong threads -r 2 -w 2");
    ck_assert_int_eq(outcome->status, 1);
    ck_assert_ptr_nonnull(strstr(outcome->output, " NO\n"));
    ck_assert_ptr_nonnull(strstr(outcome->output, "the results are wrong"));
    ck_assert_str_eq(
        outcome->errors,
        "00_lesson_probe: cubes, mode threads, 2 workers: 1 of 100 results differ from "
        "the sequential ones, by up to 1; the first is [3]: expected -64, got -63\n");
    outcome = shell("$P --wrong threads-nothing -r 2 -w 2 --quiet --csv -");
    ck_assert_int_eq(outcome->status, 1);
    ck_assert_ptr_nonnull(strstr(outcome->output, ",false,"));
    ck_assert_uint_eq(count_lines(outcome->errors), 1);
    ck_assert_ptr_nonnull(strstr(outcome->errors, "got nothing (never written)\n"));
    outcome = shell("$P --wrong processes -r 2 -w 2");
    ck_assert_int_eq(outcome->status, 1);
    ck_assert_uint_eq(count_lines(outcome->errors), 1);
    ck_assert_ptr_nonnull(strstr(outcome->errors, "mode processes, 2 workers"));
    ck_assert_ptr_nonnull(strstr(outcome->errors, "as asked"));
}
END_TEST

/* At the start, and not as a verdict on results. */
START_TEST(a_tolerance_that_cannot_be_applied_is_an_error)
{
    static const char *const tolerances[] = {"1e-5", "-1"};
    for (size_t i = 0; i < sizeof tolerances / sizeof *tolerances; i++) {
        setenv("TOLERANCE", tolerances[i], 1);
        const struct outcome *outcome = shell("$P --tolerance=$TOLERANCE -r 2 -w 2");
        ck_assert_int_eq(outcome->status, 1);
        ck_assert_uint_eq(count_lines(outcome->errors), 1);
        ck_assert_ptr_nonnull(strstr(outcome->errors, "cubes: "));
        ck_assert_ptr_nonnull(strstr(outcome->errors, "tolerance"));
        ck_assert_str_eq(outcome->output, "");
    }
}
END_TEST

START_TEST(start_methods)
{
    static const char *const methods[] = {"forkserver", "fork", "spawn"};
    for (size_t i = 0; i < 3; i++) {
        char line[128];
        snprintf(line, sizeof line,
                 "$P -m processes -r 2 -w 2 --transfer both --start-method %s --json -",
                 methods[i]);
        json_t *document = probe_json(line);
        json_t *run = json_array_get(json_object_get(document, "runs"), 1);
        ck_assert_str_eq(json_string_value(json_object_get(run, "start_method")), methods[i]);
        json_decref(document);
    }
}
END_TEST

START_TEST(a_killed_worker_is_told_and_made_up_for)
{
    const struct outcome *outcome = shell("$P -m processes --kill-worker --tasks 200000 -r 3 -w 2");
    ck_assert_msg(outcome->status == 0, "%s", outcome->errors);
    ck_assert_msg(strstr(outcome->errors, "killed by signal 9") != NULL, "%s", outcome->errors);
    ck_assert_ptr_nonnull(strstr(outcome->errors, "ran again on a new worker"));
    const char *told = strstr(outcome->output, "in all runs: 1 restarted, ");
    ck_assert_msg(told && strstr(told, "killed by signal 9"), "%s", outcome->output);
}
END_TEST

/* How many living processes have `mark` in their environment? A dead one that nobody has waited
 * for has no environment any more. */
static int count_marked(const char *mark)
{
    static char text[1 << 17];
    glob_t list;
    int count = 0;
    ck_assert_int_eq(glob("/proc/[0-9]*/environ", 0, NULL, &list), 0);
    for (size_t i = 0; i < list.gl_pathc; i++) {
        const int fd = open(list.gl_pathv[i], O_RDONLY | O_CLOEXEC);
        const ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text);
        if (length > 0 && memmem(text, (size_t)length, mark, strlen(mark)))
            count++;
        if (fd >= 0)
            close(fd);
    }
    globfree(&list);
    return count;
}

/* Waits until at least (or, with none, until not a single) marked process lives; 20 s at most. */
static void wait_for_marked(const char *mark, int least, bool none)
{
    int count = 0;
    for (int i = 0; i < 2000; i++) {
        count = count_marked(mark);
        if (none ? count == 0 : count >= least)
            return;
        usleep(10000);
    }
    ck_abort_msg("%d processes live", count);
}

static void check_end_by(int signal_number)
{
    char program[4200], mark[64];
    snprintf(program, sizeof program, "%s/lesson_probe", build_directory);
    snprintf(mark, sizeof mark, "LESSON_TEST_MARK=%d.%d", (int)getpid(), signal_number);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        signal(signal_number, SIG_DFL);
        putenv(mark);
        execl(program, "lesson_probe", "--tasks", "300000", "-r", "1000", "--quiet", "-w", "2",
              (char *)NULL);
        _exit(127);
    }
    wait_for_marked(mark, 4, false); /* itself, the helper, two workers: it runs */
    usleep(100000);
    ck_assert_int_eq(kill(child, signal_number), 0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
    wait_for_marked(mark, 0, true);
}

START_TEST(signals_end_all_processes)
{
    check_end_by(SIGINT);
    check_end_by(SIGTERM);
    check_end_by(SIGKILL);
}
END_TEST

/* ---- The kernels' instruction set ------------------------------------------------------------ */

START_TEST(the_instruction_set_can_be_chosen)
{
    const char *best = NULL, *isa;
    char line[256];
    for (size_t i = 0; (isa = kernels_isa_name(i)); i++) {
        snprintf(line, sizeof line, "FORKJOIN_ISA=%s $P -r 1 --json -", isa);
        json_t *document = probe_json(line);
        ck_assert_str_eq(machine_text(document, "isa"), isa);
        ck_assert(
            json_is_true(json_object_get(json_object_get(document, "machine"), "isa_chosen")));
        json_decref(document);
        snprintf(line, sizeof line, "FORKJOIN_ISA=%s $P -r 1", isa);
        const struct outcome *outcome = shell(line);
        snprintf(line, sizeof line, "\n  kernels    %s (FORKJOIN_ISA says so)\n", isa);
        ck_assert_msg(strstr(outcome->output, line) != NULL, "%s", outcome->output);
        best = isa;
    }
    json_t *document = probe_json("FORKJOIN_ISA= $P -r 1 --json -"); /* empty: not set */
    ck_assert_str_eq(machine_text(document, "isa"), best);
    json_decref(document);
    ck_assert_ptr_null(strstr(shell("$P -r 1")->output, "FORKJOIN_ISA"));
}
END_TEST

START_TEST(an_unknown_instruction_set_is_an_error)
{
    static const char *const bad[] = {
        "v5", "x86-64-v9", "AVX2", " v3", "baseline,v3", "$(printf 'a\\nb')", "$(printf %300s x)"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[256];
        snprintf(line, sizeof line, "FORKJOIN_ISA=\"%s\" $P --json $D/bad.json --help", bad[i]);
        const struct outcome *outcome = shell(line);
        ck_assert_msg(outcome->status == 2, "%s: status %d", bad[i], outcome->status);
        ck_assert_msg(count_lines(outcome->errors) == 1, "%s: %s", bad[i], outcome->errors);
        ck_assert_msg(strncmp(outcome->errors, "00_lesson_probe: FORKJOIN_ISA: '", 32) == 0, "%s",
                      outcome->errors);
        for (size_t level = 0; kernels_isa_name(level); level++)
            ck_assert_msg(strstr(outcome->errors, kernels_isa_name(level)) != NULL, "%s",
                          outcome->errors);
        ck_assert_msg(!*outcome->output, "%s: %s", bad[i], outcome->output);
        ck_assert_int_ne(access("bad.json", F_OK), 0);
    }
}
END_TEST

/* ---- OpenBLAS's kernels ---------------------------------------------------------------------- */

static void expect_core(const char *environment, const char *core, const char *note)
{
    char line[512];
    snprintf(line, sizeof line,
             "env -u OPENBLAS_CORETYPE LD_PRELOAD=$F %s $P -m sequential -r 1 --json -",
             environment); /* whatever the user says */
    json_t *document = probe_json(line);
    ck_assert_msg(strcmp(machine_text(document, "blas_core"), core) == 0, "%s: %s", environment,
                  machine_text(document, "blas_core"));
    ck_assert_msg(note ? strstr(machine_text(document, "blas_note"), note) != NULL
                       : !*machine_text(document, "blas_note"),
                  "%s: %s", environment, machine_text(document, "blas_note"));
    json_decref(document);
}

START_TEST(generic_kernels_are_replaced_if_better_ones_are_right)
{
    const struct cpu_features features = cpu_features();
    if (SANITIZED || !features.avx2_fma) {
        fprintf(stderr, "SKIPPED: OpenBLAS's choice of kernels (%s)\n",
                SANITIZED ? "a sanitizer does not let LD_PRELOAD in" : "the CPU has no AVX2");
        return;
    }
    const char *best = features.avx512 ? "SkylakeX" : "Haswell";
    const char *second = features.avx512 ? "Haswell" : "Prescott";
    const char *variable = features.avx512 ? "FAKE_SKYLAKEX" : "FAKE_HASWELL";
    char environment[128];
    expect_core("", best, "slow Prescott kernels");
    expect_core("OPENBLAS_CORETYPE=Core2", "Core2", NULL);
    expect_core("OPENBLAS_CORETYPE=Prescott", "Prescott", NULL);
    snprintf(environment, sizeof environment, "%s=wrong", variable);
    expect_core(environment, second, "Prescott");
    snprintf(environment, sizeof environment, "%s=crash", variable);
    expect_core(environment, second, "Prescott");
    snprintf(environment, sizeof environment, "%s=hang", variable);
    expect_core(environment, second, "Prescott");
    expect_core("FAKE_SKYLAKEX=wrong FAKE_HASWELL=crash", "Prescott", "keeps them");
    expect_core("FORKJOIN_ENVIRONMENT=1", "Prescott", NULL); /* the guard holds */
}
END_TEST

START_TEST(kernels_that_were_asked_for_are_tried)
{
    const struct cpu_features features = cpu_features();
    if (SANITIZED) {
        fprintf(stderr, "SKIPPED: the trial of kernels (a sanitizer does not let LD_PRELOAD in)\n");
        return;
    }
    const char *best = features.avx512 ? "SkylakeX" : features.avx2_fma ? "Haswell" : "Prescott";
    expect_core("OPENBLAS_CORETYPE=Core2 FAKE_CORE2=illegal", best, "kernels crashed when");
    expect_core("OPENBLAS_CORETYPE=core2 FAKE_CORE2=wrong", best, "gave wrong products");
    if (features.avx2_fma) { /* both decisions are told */
        expect_core("OPENBLAS_CORETYPE=Core2 FAKE_CORE2=crash", best, "slow Prescott kernels");
        expect_core("OPENBLAS_CORETYPE=", best, "slow Prescott kernels"); /* empty: not set */
    }
    expect_core("OPENBLAS_CORETYPE=Nonsense", "Prescott", "Nonsense, which OpenBLAS did not take");
    struct outcome *outcome = shell("OPENBLAS_CORETYPE=Core2 FAKE_CORE2=illegal LD_PRELOAD=$F "
                                    "$P -r 1 --start-method spawn --quiet");
    ck_assert_msg(outcome->status == 0 && !*outcome->errors, "%d %s", outcome->status,
                  outcome->errors);
}
END_TEST

/* ---- Main ------------------------------------------------------------------------------------ */

static Suite *lesson_suite(void)
{
    Suite *suite = suite_create("lesson");
    TCase *functions = tcase_create("functions"), *programs = tcase_create("programs");
    tcase_add_test(functions, integers_are_taken_whole_or_not_at_all);
    tcase_add_test(functions, reals_are_taken_whole_or_not_at_all);
    tcase_add_test(functions, shapes);
    tcase_add_test(functions, shapes_of_three_sides);
    tcase_add_test(functions, choices);
    tcase_add_test(functions, lists);
    tcase_add_test(functions, texts_of_times_and_bytes);
    tcase_add_test(functions, medians);
    tcase_add_test(functions, cgroup_quotas);
    tcase_add_test(functions, cgroup_paths);
    tcase_add_test(functions, results_match_to_the_last_bit_or_within_the_tolerance);
    tcase_add_test(functions, differences_are_told);
    tcase_add_test(functions, threads_are_bound_and_freed);
    tcase_add_test(functions, memory_is_known);
    tcase_add_test(functions, blas_candidates);
    tcase_add_test(functions, this_blas_is_right);
    tcase_add_test(functions, numbers_of_a_report);
    tcase_add_test(functions, reasons_follow_from_the_figures);
    tcase_add_test(programs, bad_command_lines_say_one_line_and_write_nothing);
    tcase_add_test(programs, places_that_cannot_be_written_fail_at_once);
    tcase_add_test(programs, help_and_version);
    tcase_add_test(programs, lost_output_is_an_error);
    tcase_add_test(programs, quiet_is_quiet_and_the_table_is_plain);
    tcase_add_test(programs, cores_are_those_that_may_be_used);
    tcase_add_test(programs, json_has_everything);
    tcase_add_test(programs, several_intervals_make_several_rows);
    tcase_add_test(programs, files_are_written);
    tcase_add_test(programs, saved_arrays_are_compared);
    tcase_add_test(programs, the_notebook_gets_the_options_that_it_has);
    tcase_add_test(programs, a_temporary_directory_goes_with_its_files);
    tcase_add_test(programs, seconds_change_the_size);
    tcase_add_test(programs, a_ladder_multiplies);
    tcase_add_test(programs, a_workload_can_be_measured_again);
    tcase_add_test(programs, wrong_results_are_found);
    tcase_add_test(programs, a_tolerance_that_cannot_be_applied_is_an_error);
    tcase_add_test(programs, start_methods);
    tcase_add_test(programs, a_killed_worker_is_told_and_made_up_for);
    tcase_add_test(programs, signals_end_all_processes);
    tcase_add_test(programs, the_instruction_set_can_be_chosen);
    tcase_add_test(programs, an_unknown_instruction_set_is_an_error);
    tcase_add_test(programs, generic_kernels_are_replaced_if_better_ones_are_right);
    tcase_add_test(programs, kernels_that_were_asked_for_are_tried);
    tcase_set_timeout(programs, 100);
    suite_add_tcase(suite, functions);
    suite_add_tcase(suite, programs);
    return suite;
}

int main(void)
{
    /* the probe and the fake library lie beside this program */
    const ssize_t length = readlink("/proc/self/exe", build_directory, sizeof build_directory - 1);
    if (length <= 0 || !mkdtemp(directory)) {
        perror("test_lesson");
        return 1;
    }
    build_directory[length] = '\0';
    *strrchr(build_directory, '/') = '\0';
    SRunner *runner = srunner_create(lesson_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    if (system(command) != 0)
        return 1;
    return failed == 0 ? 0 : 1;
}
