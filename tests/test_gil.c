/* test_gil.c - the model of CPython's global interpreter lock.
 *
 * Which thread runs when is the system's affair, so what must hold holds at any speed: a forced
 * switch takes at least one interval (an upper bound on their number for any machine), must
 * happen at all when a thread computes and never lets go, and threads that have released the lock
 * meet at a barrier, which they could not if one of them kept the others out. That a turn takes
 * not much more than an interval either is a matter of the machine: there the yardstick is what
 * two threads that agree on their turns need at the same moment, and it is enough that one of
 * several attempts shows it. POSIX threads, so that ThreadSanitizer can watch them.
 */
#include "common/parallel/gil.h"
#include <check.h>
#include <math.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#define HANG        30 /* seconds: only a test that hangs takes so long */
#define MAX_THREADS 8
#define ATTEMPTS    8 /* for what another program on the machine may spoil */

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
    struct turns *turns;
    atomic_long progress;
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
        ck_assert_uint_eq(statistics.acquired, steps + statistics.forced);
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
    for (int threads = 2; threads <= 4; threads++) {
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
        ck_assert_uint_eq(statistics.acquired, statistics.forced + (uint64_t)threads);
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

/* A holder that was asked and comes to no checkpoint, but gives the lock back by itself and wants
 * it again at once: it waits until the other has really had it, or it would get it every time. */
static void *give_back_and_want_again(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    pthread_barrier_wait(&shared->barrier); /* now the other comes and waits */
    while (!atomic_load(&shared->gil->drop_request))
        ;
    gil_release(shared->gil);
    gil_acquire(shared->gil);
    ck_assert_int_eq(shared->arrived, 1);
    gil_release(shared->gil);
    return NULL;
}

static void *come_and_wait(void *argument)
{
    struct shared *shared = argument;
    pthread_barrier_wait(&shared->barrier);
    gil_acquire(shared->gil);
    shared->arrived++;
    gil_release(shared->gil);
    return NULL;
}

static void run_pair(void *(*one)(void *), void *(*other)(void *), struct shared *shared)
{
    pthread_t threads[2];
    ck_assert_int_eq(pthread_create(&threads[0], NULL, one, shared), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, other, shared), 0);
    ck_assert_int_eq(pthread_join(threads[0], NULL), 0);
    ck_assert_int_eq(pthread_join(threads[1], NULL), 0);
}

START_TEST(who_was_asked_lets_the_other_have_it)
{
    for (int round = 0; round < 100; round++) {
        struct shared shared = {.gil = create(1e-4)};
        ck_assert_int_eq(pthread_barrier_init(&shared.barrier, NULL, 2), 0);
        run_pair(give_back_and_want_again, come_and_wait, &shared);
        const struct gil_statistics statistics = gil_statistics(shared.gil);
        ck_assert_uint_eq(statistics.acquired, 3);
        ck_assert_uint_eq(statistics.switches, 3);
        ck_assert_uint_eq(statistics.forced, 0);
        pthread_barrier_destroy(&shared.barrier);
        gil_destroy(shared.gil);
    }
}
END_TEST

/* A critical section of OpenMP is a mutex: its holder computes on, whoever waits. The same two
 * threads as above, but what the second one waits for is not to be had before the first is done. */
struct critical {
    pthread_mutex_t section;
    atomic_bool inside, tried;
    bool got_in;
};

static void *compute_inside(void *argument)
{
    struct critical *critical = argument;
    pthread_mutex_lock(&critical->section);
    atomic_store(&critical->inside, true);
    while (!atomic_load(&critical->tried))
        ;
    pthread_mutex_unlock(&critical->section);
    return NULL;
}

static void *try_to_get_in(void *argument)
{
    struct critical *critical = argument;
    struct timespec patience;
    while (!atomic_load(&critical->inside))
        ;
    ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &patience), 0);
    patience.tv_sec++; /* two hundred of Python's intervals */
    critical->got_in = pthread_mutex_timedlock(&critical->section, &patience) == 0;
    if (critical->got_in)
        pthread_mutex_unlock(&critical->section);
    atomic_store(&critical->tried, true);
    return NULL;
}

START_TEST(a_critical_section_is_no_gil)
{
    struct critical critical = {.section = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[2];
    ck_assert_int_eq(pthread_create(&threads[0], NULL, compute_inside, &critical), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, try_to_get_in, &critical), 0);
    ck_assert_int_eq(pthread_join(threads[1], NULL), 0);
    ck_assert_int_eq(pthread_join(threads[0], NULL), 0);
    ck_assert(!critical.got_in);
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
    ck_assert_uint_eq(statistics.forced, 0); /* asked for, but given back by themselves */
    gil_destroy(shared.gil);
}
END_TEST

/* ---- How long turns and waits are ------------------------------------------------------------ */

enum { TURNS = 15 };
static const double intervals[] = {0.001, GIL_SWITCH_INTERVAL, 0.025};
enum { INTERVALS = sizeof intervals / sizeof *intervals };

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double values[TURNS])
{
    qsort(values, TURNS, sizeof *values, compare_doubles);
    return values[TURNS / 2];
}

/* The turns of two computing threads, and the gaps between them, in which neither did. */
struct turns {
    int count, whose; /* 0: nobody's yet */
    double lengths[TURNS], gaps[TURNS];
    double began, last_seen;
};

/* Called by the computing thread again and again: is this still its turn? */
static void note_turn(struct turns *turns, int me)
{
    const double now = seconds();
    if (turns->whose != me) {
        if (turns->whose != 0 && turns->count < TURNS) {
            turns->gaps[turns->count] = now - turns->last_seen;
            turns->lengths[turns->count++] = turns->last_seen - turns->began;
        }
        turns->whose = me;
        turns->began = now;
    }
    turns->last_seen = now;
}

/* Two threads that take turns without any lock, by agreement: one computes until the other, after
 * a sleep of one interval, asks for the turn, and gives it by a semaphore. This is the yardstick:
 * what it costs here and now to wait an interval, to ask and to be woken. */
struct agreement {
    struct timespec interval;
    sem_t turn[2];
    atomic_bool asked;
    atomic_int arrived;
    struct turns *turns;
};

static void ask_for_turn(struct agreement *agreement, int me)
{
    ck_assert_int_eq(nanosleep(&agreement->interval, NULL), 0);
    atomic_store(&agreement->asked, true);
    ck_assert_int_eq(sem_wait(&agreement->turn[me - 1]), 0);
}

static void *take_agreed_turns(void *argument)
{
    struct agreement *agreement = argument;
    const int me = atomic_fetch_add(&agreement->arrived, 1) + 1;
    if (me == 2)
        ask_for_turn(agreement, me);
    while (agreement->turns->count < TURNS) {
        note_turn(agreement->turns, me);
        if (atomic_exchange(&agreement->asked, false)) {
            ck_assert_int_eq(sem_post(&agreement->turn[2 - me]), 0);
            ask_for_turn(agreement, me);
        }
    }
    ck_assert_int_eq(sem_post(&agreement->turn[2 - me]), 0); /* the other ends as well */
    return NULL;
}

static struct turns agreed_turns(double interval)
{
    struct turns turns = {0};
    struct agreement agreement = {.interval.tv_nsec = (long)(1e9 * interval), .turns = &turns};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(sem_init(&agreement.turn[i], 0, 0), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_agreed_turns, &agreement), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(sem_destroy(&agreement.turn[i]), 0);
    return turns;
}

static void *compute_in_turns(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    const int me = ++shared->arrived;
    while (shared->turns->count < TURNS) {
        enter(shared);
        note_turn(shared->turns, me);
        leave(shared);
        gil_checkpoint(shared->gil);
    }
    gil_release(shared->gil);
    return NULL;
}

/* Two computing threads: 1 / interval hand-overs a second, not more and not much less; one computes
 * at a time, and nearly always one does, so that together they are as fast as one, and not half as
 * fast. */
START_TEST(turns_take_an_interval_and_follow_one_another)
{
    const double interval = intervals[_i];
    double turn = 0, gap = 0, agreed_turn = 0, agreed_gap = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct turns turns = {0}, agreed = agreed_turns(interval);
        struct shared shared = {.gil = create(interval), .turns = &turns};
        const double started = seconds();
        run_threads(2, compute_in_turns, &shared);
        const double elapsed = seconds() - started;
        ck_assert(!shared.two_inside);
        ck_assert_int_eq(turns.count, TURNS);
        ck_assert_uint_ge(gil_statistics(shared.gil).forced, TURNS);
        ck_assert_double_ge(elapsed, TURNS * interval);
        gil_destroy(shared.gil);
        turn = median(turns.lengths);
        gap = median(turns.gaps);
        agreed_turn = median(agreed.lengths);
        agreed_gap = median(agreed.gaps);
        if (turn <= 3 * agreed_turn && (gap <= interval / 4 || gap <= 3 * agreed_gap))
            return;
    }
    ck_abort_msg("interval %g s: a turn took %g s (by agreement %g s), a gap %g s (%g s)", interval,
                 turn, agreed_turn, gap, agreed_gap);
}
END_TEST

/* Never gives way but at a checkpoint. */
static void *compute_beside_io(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    while (!shared->io_done) {
        atomic_fetch_add(&shared->progress, 1);
        gil_checkpoint(shared->gil);
    }
    gil_release(shared->gil);
    return NULL;
}

/* Comes back from "I/O" when the other has the lock again, and measures how long it waits for it.
 */
static void *wait_after_io(void *argument)
{
    struct shared *shared = argument;
    for (int i = 0; i < TURNS; i++) {
        const long seen = atomic_load(&shared->progress);
        while (atomic_load(&shared->progress) == seen)
            sched_yield();
        const double start = seconds();
        gil_acquire(shared->gil);
        shared->turns->lengths[i] = seconds() - start;
        shared->io_done = i == TURNS - 1;
        gil_release(shared->gil);
    }
    return NULL;
}

START_TEST(io_beside_computing_waits_an_interval_each_time)
{
    const double interval = intervals[_i];
    double wait = 0, agreed = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct turns turns = {0}, agreed_on = agreed_turns(interval);
        struct shared shared = {.gil = create(interval), .turns = &turns};
        agreed = median(agreed_on.lengths);
        run_pair(compute_beside_io, wait_after_io, &shared);
        ck_assert_uint_eq(gil_statistics(shared.gil).forced, TURNS);
        gil_destroy(shared.gil);
        wait = median(turns.lengths);
        ck_assert_double_ge(turns.lengths[0], interval); /* the shortest */
        if (wait <= 3 * agreed)
            return;
    }
    ck_abort_msg("a wait took %g s (interval %g s; a turn by agreement %g s)", wait, interval,
                 agreed);
}
END_TEST

/* ---- No wake-up is lost ---------------------------------------------------------------------- */

/* With this interval nobody ever asks: who waits is woken by a release, or waits for an hour. */
START_TEST(every_release_wakes_a_waiter)
{
    for (int threads = 1; threads <= MAX_THREADS; threads++) {
        struct shared shared = {.gil = create(3600), .iterations = 1000};
        run_threads(threads, count_in_short_turns, &shared);
        ck_assert_int_eq(shared.counter, 2 * shared.iterations * threads);
        ck_assert(!shared.two_inside);
        ck_assert_uint_eq(gil_statistics(shared.gil).forced, 0);
        gil_destroy(shared.gil);
    }
}
END_TEST

/* With this one everybody asks at once: who was made to drop it waits for the next holder's word,
 * for ever. */
static void *count_between_checkpoints(void *argument)
{
    struct shared *shared = argument;
    gil_acquire(shared->gil);
    for (long i = 0; i < shared->iterations; i++) {
        enter(shared);
        shared->counter++;
        leave(shared);
        gil_checkpoint(shared->gil);
    }
    gil_release(shared->gil);
    return NULL;
}

START_TEST(every_taker_tells_who_gave_way)
{
    for (int threads = 1; threads <= MAX_THREADS; threads++) {
        struct shared shared = {.gil = create(1e-9), .iterations = 100000};
        run_threads(threads, count_between_checkpoints, &shared);
        ck_assert_int_eq(shared.counter, shared.iterations * threads);
        ck_assert(!shared.two_inside);
        const struct gil_statistics statistics = gil_statistics(shared.gil);
        ck_assert_uint_eq(statistics.acquired, statistics.forced + (uint64_t)threads);
        gil_destroy(shared.gil);
    }
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
        run_threads(1 + round % 4, count_in_short_turns, &shared);
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
    tcase_add_test(tcase, who_was_asked_lets_the_other_have_it);
    tcase_add_test(tcase, a_critical_section_is_no_gil);
    tcase_add_test(tcase, without_a_checkpoint_nobody_else_runs);
    tcase_add_loop_test(tcase, turns_take_an_interval_and_follow_one_another, 0, INTERVALS);
    tcase_add_loop_test(tcase, io_beside_computing_waits_an_interval_each_time, 0, INTERVALS);
    tcase_add_test(tcase, every_release_wakes_a_waiter);
    tcase_add_test(tcase, every_taker_tells_who_gave_way);
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
