/* test_advice.c - the rules of chapter 8, put to made-up figures, and the arithmetic they use
 * (common/lesson/explain/evidence.c) against numbers computed by hand. */
#include "chapters/08_when_to_parallelise/advice.h"
#include "common/lesson/explain/explain.h"
#include <check.h>
#include <stdlib.h>

#define NEAR 1e-9

/* ---- Formulas -------------------------------------------------------------------------------- */

START_TEST(amdahl)
{
    ck_assert_double_eq_tol(lesson_amdahl(0.0, 8), 8.0, NEAR);
    ck_assert_double_eq_tol(lesson_amdahl(1.0, 8), 1.0, NEAR);
    ck_assert_double_eq_tol(lesson_amdahl(0.1, 1), 1.0, NEAR);
    ck_assert_double_eq_tol(lesson_amdahl(0.1, 2), 1.0 / 0.55, NEAR);
    ck_assert_double_eq_tol(lesson_amdahl(0.05, 16), 1.0 / 0.109375, NEAR);
    ck_assert_double_eq_tol(lesson_amdahl(0.25, 64), 64.0 / 16.75, NEAR);
    ck_assert(lesson_amdahl(0.1, 1e9) < 10.0);
}
END_TEST

START_TEST(karp_and_flatt)
{
    ck_assert_double_eq_tol(lesson_karp_flatt(2.0, 2), 0.0, NEAR);
    ck_assert_double_eq_tol(lesson_karp_flatt(1.0, 2), 1.0, NEAR);
    ck_assert_double_eq_tol(lesson_karp_flatt(1.6, 2), 0.25, NEAR);
    ck_assert_double_eq_tol(lesson_karp_flatt(2.5, 4), 0.2, NEAR);
    ck_assert_double_eq_tol(lesson_karp_flatt(0.5, 2), 3.0, NEAR);
    ck_assert_double_lt(lesson_karp_flatt(2.2, 2), 0.0);
    ck_assert(isnan(lesson_karp_flatt(1.0, 1)));
    for (int cores = 2; cores <= 64; cores *= 2) /* one is the inverse of the other */
        ck_assert_double_eq_tol(lesson_karp_flatt(lesson_amdahl(0.3, cores), cores), 0.3, NEAR);
}
END_TEST

START_TEST(break_even)
{
    ck_assert_double_eq_tol(lesson_break_even_work(3e-6, 2), 6e-6, 1e-15);
    ck_assert_double_eq_tol(lesson_break_even_work(3e-6, 4), 4e-6, 1e-15);
    ck_assert(isnan(lesson_break_even_work(3e-6, 1)));
    ck_assert_double_eq(lesson_break_even_tasks(10.0, 3.0, 1.0), 5.0);
    ck_assert_double_eq(lesson_break_even_tasks(11.0, 3.0, 1.0), 6.0);
    ck_assert(isinf(lesson_break_even_tasks(1.0, 1.0, 1.0)));
    ck_assert(isinf(lesson_break_even_tasks(1.0, 1.0, 2.0)));
}
END_TEST

/* ---- Evidence -------------------------------------------------------------------------------- */

static struct lesson_figures row_of(enum lesson_mode mode, int workers, double speedup)
{
    return (struct lesson_figures){.mode = mode,
                                   .workers = workers,
                                   .wall_median = 1.0 / speedup,
                                   .speedup = speedup,
                                   .matches = true,
                                   .tasks = 100};
}

/* A second of work in 100 tasks; two workers on two cores. */
static size_t rows(struct lesson_figures figures[8])
{
    figures[0] = row_of(LESSON_SEQUENTIAL, 1, 1.0);
    figures[1] = row_of(LESSON_THREADS, 2, 1.6);
    figures[2] = row_of(LESSON_GIL, 2, 0.8);
    figures[3] = row_of(LESSON_PROCESSES, 2, 0.5);
    figures[3].transfer = LESSON_COPY;
    figures[3].startup = 0.25;
    figures[3].pool.bytes_copied = 6400;
    figures[3].phases =
        (struct pool_phases){.send = 0.8, .compute = 0.5, .receive = 0.4, .wait = 0.3};
    figures[4] = row_of(LESSON_PROCESSES, 2, 1.25);
    figures[4].transfer = LESSON_SHARED;
    figures[4].startup = 0.25;
    figures[4].phases = (struct pool_phases){.compute = 0.6, .wait = 0.2};
    return 5;
}

static struct lesson_evidence evidence_of(const struct lesson_figures *figures, size_t count,
                                          int cores)
{
    struct machine machine = {.cores = cores};
    const struct lesson lesson = {.machine = &machine};
    const struct lesson_results results = {count, figures};
    return lesson_evidence(&lesson, &results);
}

START_TEST(evidence_is_what_the_rows_say)
{
    struct lesson_figures figures[8];
    const struct lesson_evidence e = evidence_of(figures, rows(figures), 2);
    ck_assert(e.tasks == 100 && e.workers == 2 && e.cores == 2 && e.same);
    ck_assert_double_eq_tol(e.parallel, 2.0, NEAR);
    ck_assert_double_eq_tol(e.task, 0.01, NEAR);
    ck_assert_double_eq_tol(e.bytes, 64.0, NEAR);
    ck_assert_double_eq_tol(e.transfer, 0.012, NEAR);
    ck_assert_double_eq_tol(e.handing_over, 0.002, NEAR); /* the shared row's */
    ck_assert_double_eq_tol(e.startup, 0.25, NEAR);
    ck_assert(isnan(e.vectorised) && isnan(e.library));
    ck_assert_double_eq_tol(e.scaling[LESSON_BY_THREADS].serial, 0.25, NEAR);
    ck_assert_double_eq_tol(e.scaling[LESSON_BY_COPY].serial, 1.5 / 2.5, NEAR);
    ck_assert_double_eq_tol(e.scaling[LESSON_BY_SHARED].serial, 0.2 / 1.4, NEAR);
}
END_TEST

START_TEST(predictions_give_what_was_measured_and_go_on_sanely)
{
    struct lesson_figures figures[8];
    const struct lesson_evidence e = evidence_of(figures, rows(figures), 2);
    for (enum lesson_way way = 0; way < LESSON_WAYS; way++)
        ck_assert_double_eq_tol(lesson_predict(&e, way, 2), e.speedup[way], NEAR);
    ck_assert_double_eq_tol(lesson_predict(&e, LESSON_BY_THREADS, 4), 1.0 / (0.25 + 0.75 / 4),
                            NEAR);
    ck_assert_double_eq_tol(lesson_predict(&e, LESSON_BY_SHARED, 4), 1.0 / (0.2 + 1.2 / 4), NEAR);
    ck_assert_double_eq_tol(lesson_predict(&e, LESSON_BY_COPY, 4), 1.0 / (1.5 + 1.0 / 4), NEAR);
    ck_assert(lesson_predict(&e, LESSON_BY_COPY, 64) < 1.0); /* copying alone takes longer */
    /* 100 tasks on 64 cores: some do two, none does less than one */
    ck_assert_double_eq_tol(lesson_predict(&e, LESSON_BY_SHARED, 64), 1.0 / (0.2 + 1.2 / 50), NEAR);
    /* slower than the plain loop: more cores are no help */
    for (int cores = 2; cores <= 64; cores *= 2)
        ck_assert_double_eq_tol(lesson_predict(&e, LESSON_BY_GIL, cores), 0.8, NEAR);
}
END_TEST

START_TEST(predictions_of_impossible_speedups)
{
    struct lesson_figures figures[8];
    rows(figures);
    figures[1] = row_of(LESSON_THREADS, 2, 2.4); /* noise: more than the cores */
    const struct lesson_evidence e = evidence_of(figures, 2, 2);
    ck_assert_double_eq_tol(lesson_predict(&e, LESSON_BY_THREADS, 4), 4.0, NEAR);
    ck_assert(isnan(lesson_predict(&e, LESSON_BY_COPY, 4)));
    ck_assert(isnan(e.transfer) && isnan(e.handing_over) && isnan(e.startup));
}
END_TEST

START_TEST(one_core_one_worker_one_task_say_nothing_of_sharing)
{
    struct lesson_figures figures[8];
    size_t count = rows(figures);
    struct lesson_evidence e = evidence_of(figures, count, 1); /* two workers, one core */
    ck_assert_double_eq_tol(e.parallel, 1.0, NEAR);
    ck_assert(isnan(lesson_predict(&e, LESSON_BY_THREADS, 4)));
    for (size_t i = 1; i < count; i++)
        figures[i].workers = 1;
    e = evidence_of(figures, count, 8);
    ck_assert(e.workers == 1 && isnan(lesson_predict(&e, LESSON_BY_THREADS, 4)));
    ck_assert(!isnan(lesson_predict(&e, LESSON_BY_SHARED, 4)));
    rows(figures);
    for (size_t i = 0; i < count; i++)
        figures[i].tasks = 1;
    e = evidence_of(figures, count, 2);
    ck_assert_double_eq_tol(e.parallel, 1.0, NEAR);
}
END_TEST

START_TEST(workers_that_have_a_core_each_are_preferred)
{
    static const struct {
        int workers[3], cores, chosen;
    } cases[] = {{{1, 2, 4}, 2, 2}, {{4, 2, 1}, 2, 2},    {{4, 8, 16}, 2, 4}, {{16, 8, 4}, 2, 4},
                 {{8, 1, 2}, 4, 2}, {{1, 8, 16}, 64, 16}, {{3, 4, 5}, 4, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lesson_figures figures[4] = {row_of(LESSON_SEQUENTIAL, 1, 1.0)};
        for (int w = 0; w < 3; w++)
            figures[1 + w] = row_of(LESSON_THREADS, cases[i].workers[w], 1.0);
        ck_assert_int_eq(evidence_of(figures, 4, cases[i].cores).workers, cases[i].chosen);
    }
}
END_TEST

START_TEST(a_wrong_row_is_not_the_same)
{
    struct lesson_figures figures[8];
    const size_t count = rows(figures);
    figures[3].matches = false;
    ck_assert(!evidence_of(figures, count, 2).same);
}
END_TEST

/* ---- Rules ----------------------------------------------------------------------------------- */

/* A task of 1 ms that every way makes twice as fast, its data for nothing. */
static struct lesson_evidence good(void)
{
    return (struct lesson_evidence){.tasks = 100,
                                    .workers = 2,
                                    .cores = 2,
                                    .parallel = 2,
                                    .same = true,
                                    .task = 1e-3,
                                    .bytes = 16,
                                    .transfer = 10e-9,
                                    .handing_over = 5e-6,
                                    .startup = 1e-3,
                                    .speedup = {1.95, 1.95, 1.9, 1.9},
                                    .vectorised = NAN,
                                    .library = NAN};
}

static void expect(const struct lesson_evidence *evidence, enum advice advice, int independent,
                   int heavy, int large)
{
    int answers[QUESTIONS];
    const enum advice given = advise(answers, evidence);
    ck_assert_msg(given == advice, "%s instead of %s", advice_words[given][0],
                  advice_words[advice][0]);
    ck_assert_int_eq(answers[INDEPENDENT], independent);
    ck_assert_int_eq(answers[HEAVY], heavy);
    ck_assert_int_eq(answers[LARGE], large);
}

START_TEST(heavy_tasks)
{
    struct lesson_evidence e = good();
    expect(&e, THREADS, YES, YES, NO);
    e.speedup[LESSON_BY_GIL] = 0.99; /* it is never given back */
    expect(&e, PROCESSES, YES, YES, NO);
    e.speedup[LESSON_BY_GIL] = NAN;
    expect(&e, PROCESSES, YES, YES, NO);
    e.speedup[LESSON_BY_COPY] = 1.0; /* noise: one of the two shows it */
    expect(&e, PROCESSES, YES, YES, NO);
    e.speedup[LESSON_BY_COPY] = e.speedup[LESSON_BY_SHARED] = 1.0;
    expect(&e, LEAVE_ALONE, YES, YES, NO);
    e.same = false;
    expect(&e, OTHER_MEANS, NO, YES, NO);
}
END_TEST

START_TEST(large_data)
{
    struct lesson_evidence e = good();
    e.transfer = 2e-3;
    e.speedup[LESSON_BY_COPY] = 0.4;
    expect(&e, THREADS, YES, YES, YES);
    e.speedup[LESSON_BY_GIL] = 1.0;
    expect(&e, SHARED_MEMORY, YES, YES, YES);
    e.speedup[LESSON_BY_SHARED] = 1.0; /* memory is the limit */
    expect(&e, LEAVE_ALONE, YES, YES, YES);
    e.speedup[LESSON_BY_SHARED] = NAN;
    expect(&e, LEAVE_ALONE, YES, YES, YES);
    e = good();
    e.transfer = e.speedup[LESSON_BY_COPY] = NAN; /* --transfer shared */
    e.speedup[LESSON_BY_GIL] = 1.0;
    expect(&e, SHARED_MEMORY, YES, YES, UNKNOWN);
}
END_TEST

START_TEST(light_tasks)
{
    struct lesson_evidence e = good();
    e.task = 2e-9; /* x + 1 */
    e.handing_over = 6e-9;
    e.transfer = 2e-9;
    e.speedup[LESSON_BY_COPY] = e.speedup[LESSON_BY_SHARED] = 0.1;
    expect(&e, LEAVE_ALONE, YES, NO, YES);
    e.vectorised = 5.0;
    expect(&e, VECTORISE, YES, NO, YES);
    e.vectorised = NAN;
    e.transfer = 0.1e-9;
    expect(&e, BATCH, YES, NO, NO);
    e.transfer = NAN;
    e.handing_over = NAN; /* no processes */
    expect(&e, NOT_JUDGED, YES, UNKNOWN, UNKNOWN);
    e.vectorised = 5.0; /* which needs no processes to be known */
    expect(&e, VECTORISE, YES, NO, UNKNOWN);
}
END_TEST

START_TEST(a_library_with_threads_of_its_own)
{
    struct lesson_evidence e = good();
    e.library = 1.8;
    expect(&e, LEAVE_ALONE, YES, NO, NO);
    e.library = 1.2; /* it does not use the cores well */
    expect(&e, THREADS, YES, YES, NO);
}
END_TEST

START_TEST(nothing_was_shared)
{
    struct lesson_evidence e = good();
    e.parallel = 1;
    expect(&e, NOT_JUDGED, YES, UNKNOWN, NO);
    struct lesson_figures figures[8];
    rows(figures);
    e = evidence_of(figures, 1, 2); /* only the plain loop */
    expect(&e, NOT_JUDGED, YES, UNKNOWN, UNKNOWN);
}
END_TEST

static Suite *advice_suite(void)
{
    Suite *suite = suite_create("advice");
    TCase *evidence = tcase_create("evidence"), *rules = tcase_create("rules");
    tcase_add_test(evidence, amdahl);
    tcase_add_test(evidence, karp_and_flatt);
    tcase_add_test(evidence, break_even);
    tcase_add_test(evidence, evidence_is_what_the_rows_say);
    tcase_add_test(evidence, predictions_give_what_was_measured_and_go_on_sanely);
    tcase_add_test(evidence, predictions_of_impossible_speedups);
    tcase_add_test(evidence, one_core_one_worker_one_task_say_nothing_of_sharing);
    tcase_add_test(evidence, workers_that_have_a_core_each_are_preferred);
    tcase_add_test(evidence, a_wrong_row_is_not_the_same);
    tcase_add_test(rules, heavy_tasks);
    tcase_add_test(rules, large_data);
    tcase_add_test(rules, light_tasks);
    tcase_add_test(rules, a_library_with_threads_of_its_own);
    tcase_add_test(rules, nothing_was_shared);
    suite_add_tcase(suite, evidence);
    suite_add_tcase(suite, rules);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(advice_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
