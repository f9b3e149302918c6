/* test_gil.c - the model of CPython's global interpreter lock.
 *
 * Which thread runs when is the system's affair, so nothing here depends on speed: a forced
 * switch takes at least one interval (an upper bound on their number for any machine), must
 * happen at all when a thread computes and never lets go, and threads that have released the lock
 * meet at a barrier, which they could not if one of them kept the others out. POSIX threads, so
 * that ThreadSanitizer can watch them.
 */
#include "common/parallel/gil.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define HANG        30 /* seconds: only a test that hangs takes so long */
#define MAX_THREADS 4

static struct error error;

static double seconds(void)
{
    struct timespec time;
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &time), 0);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static struct gil *create(double interval)
{
    struct gil *gil = gil_create(interval, &error);
    ck_assert_msg(gil != NULL, "%s", error.message);
    return gil;
}

/* What the threads of a test share. Plain variables: the GIL is all that protects them. */
struct shared {
    struct gil *gil;
    long iterations, counter;
    int inside; /* threads between acquire and release: never more than one */
    bool two_inside;
    double until;
    int arrived;
    bool io_done;
    atomic_int atomic_inside, most_inside;
    pthread_barrier_t barrier;
};

static void run_threads(int count, void *(*thread)(void *), struct shared *shared)
{
    pthread_t threads[MAX_THREADS];
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, thread, shared), 0);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

static void enter(struct shared *shared)
{
    if (++shared->inside != 1)
        shared->two_inside = true;
}

static void leave(struct shared *shared)
{
    shared->inside--;
}

/* ---- Creation -------------------------------------------------------------------------------- */

START_TEST(bad_intervals)
{
    const double bad[] = {0, -0.0, -1, -1e-9, NAN, INFINITY, -INFINITY, 1e300};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error = (struct error){0};
        ck_assert_ptr_null(gil_create(bad[i], &error));
        ck_assert_int_eq(error.code, ERROR_INVALID);
        ck_assert_str_ne(error.message, "");
        ck_assert_ptr_null(gil_create(bad[i], NULL));
    }
    gil_destroy(NULL);
}
END_TEST

START_TEST(good_intervals)
{
    const double good[] = {1e-12, 1e-6, GIL_SWITCH_INTERVAL, 0.999999999, 1, 3600};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct gil *gil = create(good[i]);
        gil_acquire(gil);
        gil_checkpoint(gil);
        gil_release(gil);
        gil_destroy(gil);
    }
}
END_TEST

START_TEST(one_thread_never_switches)
{
    struct gil *gil = create(1e-6);
    for (int i = 0; i < 1000; i++) {
        gil_acquire(gil);
        for (int j = 0; j < 100; j++)
            gil_checkpoint(gil);
        gil_release(gil);
    }
    const struct gil_statistics statistics = gil_statistics(gil);
    ck_assert_uint_eq(statistics.acquired, 1000);
    ck_assert_uint_eq(statistics.switches, 1); /* from nobody to this thread */
    ck_assert_uint_eq(statistics.forced, 0);
    gil_destroy(gil);
}
END_TEST

/* ---- Mutual exclusion ------------------------------------------------------------------------ */

/* Takes and releases the lock around every step, and also looks for requests within. */
static void *count_in_short_turns(void *argument)
{
    struct shared *shared = argument;
    for (long i = 0; i < shared->iterations; i++) {
        gil_acquire(shared->gil);
        enter(shared);
        shared->counter++;
        leave(shared);
        gil_checkpoint(shared->gil);
        enter(shared);
        shared->counter++;
        leave(shared);
        gil_release(shared->gil);
    }
    return NULL;
}

static const double sweep[] = {1e-6, 1e-4, 1e-3, GIL_SWITCH_INTERVAL};
enum { SWEEP = sizeof sweep / sizeof *sweep };

START_TEST(counter_is_exact)
{
    for (int threads = 1; threads <= MAX_THREADS; threads++) {
        struct shared shared = {.gil = create(sweep[_i]), .iterations = 2000};
        run_threads(threads, count_in_short_turns, &shared);
        ck_assert_int_eq(shared.counter, 2 * shared.iterations * threads);
        ck_assert(!shared.two_inside);
        const struct gil_statistics statistics = gil_statistics(shared.gil);
        /* Once for each step, and once more after each forced drop at a checkpoint. */
        const uint64_t steps = (uint64_t)(shared.iterations * threads);
        ck_assert_uint_ge(statistics.acquired, steps);
        ck_assert_uint_le(statistics.acquired, steps + statistics.forced);
        ck_assert_uint_ge(statistics.switches, (uint64_t)threads);
        ck_assert_uint_le(statistics.switches, statistics.acquired);
        gil_destroy(shared.gil);
    }
}
END_TEST

/* ---- Forced switches ------------------------------------------------------------------------- */

/* Computes without ever releasing the lock by itself, as a Python loop does. */
static void *compute_with_checkpoints(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    while (seconds() < shared->until) {
        enter(shared);
        shared->counter++;
        leave(shared);
        gil_checkpoint(shared->gil);
    }
    gil_release(shared->gil);
    return NULL;
}

START_TEST(computing_threads_take_turns_of_an_interval)
{
    for (int threads = 2; threads <= MAX_THREADS; threads++) {
        const double started = seconds(), interval = sweep[_i];
        struct shared shared = {.gil = create(interval), .until = started + 0.2};
        run_threads(threads, compute_with_checkpoints, &shared);
        const double elapsed = seconds() - started;
        const struct gil_statistics statistics = gil_statistics(shared.gil);
        ck_assert(!shared.two_inside);
        ck_assert_int_gt(shared.counter, 0);
        /* Who asks has waited one whole interval in which the lock did not change hands. Each
         * thread takes the lock once, and once more after each drop. */
        ck_assert_msg((double)statistics.forced <= elapsed / interval + threads,
                      "%llu forced switches of %g s in %g s", (unsigned long long)statistics.forced,
                      interval, elapsed);
        ck_assert_uint_le(statistics.acquired, statistics.forced + (uint64_t)threads);
        ck_assert_uint_ge(statistics.switches, (uint64_t)threads);
        gil_destroy(shared.gil);
    }
}
END_TEST

/* The first thread spins at its checkpoint until the second has had the lock, which only a forced
 * switch can give it: this ends, or hangs. */
static void *spin_until_someone_else_ran(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    shared->arrived++;
    while (shared->arrived < 2)
        gil_checkpoint(shared->gil);
    gil_release(shared->gil);
    return NULL;
}

START_TEST(holder_gives_way_at_a_checkpoint)
{
    for (int round = 0; round < 20; round++) {
        struct shared shared = {.gil = create(sweep[_i])};
        run_threads(2, spin_until_someone_else_ran, &shared);
        const struct gil_statistics statistics = gil_statistics(shared.gil);
        ck_assert_int_eq(shared.arrived, 2);
        ck_assert_uint_ge(statistics.forced, 1);
        ck_assert_uint_ge(statistics.switches, 2);
        gil_destroy(shared.gil);
    }
}
END_TEST

/* A thread that never comes to a checkpoint keeps the lock however long it takes. */
static void *keep_the_lock(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    enter(shared);
    const double until = seconds() + 0.02; /* many intervals */
    while (seconds() < until)
        shared->counter++;
    if (shared->inside != 1)
        shared->two_inside = true;
    leave(shared);
    gil_release(shared->gil);
    return NULL;
}

START_TEST(without_a_checkpoint_nobody_else_runs)
{
    struct shared shared = {.gil = create(1e-4)};
    run_threads(MAX_THREADS, keep_the_lock, &shared);
    ck_assert(!shared.two_inside);
    const struct gil_statistics statistics = gil_statistics(shared.gil);
    ck_assert_uint_eq(statistics.acquired, MAX_THREADS);
    ck_assert_uint_eq(statistics.switches, MAX_THREADS);
    ck_assert_uint_le(statistics.forced, MAX_THREADS - 1);
    gil_destroy(shared.gil);
}
END_TEST

/* ---- Released around native code --------------------------------------------------------------
 */

/* As NumPy does: release, compute, acquire. In each round all threads must be in the released
 * part at once, or the barrier would never let them through. */
static void *native_kernel(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    for (long i = 0; i < shared->iterations; i++) {
        gil_release(shared->gil);
        const int inside = atomic_fetch_add(&shared->atomic_inside, 1) + 1;
        int most = atomic_load(&shared->most_inside);
        while (inside > most && !atomic_compare_exchange_weak(&shared->most_inside, &most, inside))
            ;
        pthread_barrier_wait(&shared->barrier);
        atomic_fetch_sub(&shared->atomic_inside, 1);
        pthread_barrier_wait(&shared->barrier);
        gil_acquire(shared->gil);
        shared->counter++;
        gil_checkpoint(shared->gil);
    }
    gil_release(shared->gil);
    return NULL;
}

START_TEST(released_threads_run_at_the_same_time)
{
    for (int threads = 2; threads <= MAX_THREADS; threads++) {
        struct shared shared = {.gil = create(GIL_SWITCH_INTERVAL), .iterations = 50};
        ck_assert_int_eq(pthread_barrier_init(&shared.barrier, NULL, (unsigned)threads), 0);
        run_threads(threads, native_kernel, &shared);
        ck_assert_int_eq(atomic_load(&shared.most_inside), threads);
        ck_assert_int_eq(shared.counter, threads * shared.iterations);
        pthread_barrier_destroy(&shared.barrier);
        gil_destroy(shared.gil);
    }
}
END_TEST

/* One thread computes; another releases the lock for "I/O" again and again and comes back. */
static void *come_back_from_io(void *argument)
{
    struct shared *shared = argument;
    for (int i = 0; i < 10; i++) {
        gil_acquire(shared->gil);
        shared->counter++;
        gil_release(shared->gil);
        sched_yield();
    }
    gil_acquire(shared->gil);
    shared->io_done = true;
    gil_release(shared->gil);
    return NULL;
}

static void *compute_until_io_is_done(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    while (!shared->io_done)
        gil_checkpoint(shared->gil);
    gil_release(shared->gil);
    return NULL;
}

START_TEST(thread_comes_back_from_io)
{
    struct shared shared = {.gil = create(GIL_SWITCH_INTERVAL)};
    pthread_t computing, waiting;
    ck_assert_int_eq(pthread_create(&computing, NULL, compute_until_io_is_done, &shared), 0);
    ck_assert_int_eq(pthread_create(&waiting, NULL, come_back_from_io, &shared), 0);
    ck_assert_int_eq(pthread_join(waiting, NULL), 0);
    ck_assert_int_eq(pthread_join(computing, NULL), 0);
    ck_assert_int_eq(shared.counter, 10);
    const struct gil_statistics statistics = gil_statistics(shared.gil);
    ck_assert_uint_le(statistics.forced, statistics.acquired);
    gil_destroy(shared.gil);
}
END_TEST

/* Threads that come and go may find the same address for what the lock knows a thread by. */
START_TEST(threads_that_come_and_go)
{
    struct shared shared = {.gil = create(1e-4), .iterations = 5};
    for (int round = 0; round < 200; round++)
        run_threads(1 + round % MAX_THREADS, count_in_short_turns, &shared);
    ck_assert_int_eq(shared.counter, 2L * 5 * (1 + 2 + 3 + 4) * 50);
    ck_assert(!shared.two_inside);
    gil_destroy(shared.gil);
}
END_TEST

START_TEST(two_locks_do_not_know_each_other)
{
    struct gil *one = create(GIL_SWITCH_INTERVAL), *two = create(GIL_SWITCH_INTERVAL);
    gil_acquire(one);
    gil_acquire(two); /* would hang if it were the same */
    gil_checkpoint(one);
    gil_checkpoint(two);
    gil_release(one);
    gil_release(two);
    ck_assert_uint_eq(gil_statistics(one).acquired, 1);
    ck_assert_uint_eq(gil_statistics(two).acquired, 1);
    gil_destroy(one);
    gil_destroy(two);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gil");
    TCase *tcase = tcase_create("gil");
    tcase_set_timeout(tcase, HANG);
    tcase_add_test(tcase, bad_intervals);
    tcase_add_test(tcase, good_intervals);
    tcase_add_test(tcase, one_thread_never_switches);
    tcase_add_loop_test(tcase, counter_is_exact, 0, SWEEP);
    tcase_add_loop_test(tcase, computing_threads_take_turns_of_an_interval, 0, SWEEP);
    tcase_add_loop_test(tcase, holder_gives_way_at_a_checkpoint, 0, SWEEP);
    tcase_add_test(tcase, without_a_checkpoint_nobody_else_runs);
    tcase_add_test(tcase, released_threads_run_at_the_same_time);
    tcase_add_test(tcase, thread_comes_back_from_io);
    tcase_add_test(tcase, threads_that_come_and_go);
    tcase_add_test(tcase, two_locks_do_not_know_each_other);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
