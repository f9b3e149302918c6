/* test_pool_async.c - the process pool beyond the map that waits: results that come later,
 * callbacks, iterators, the ways to end a pool, time limits, retries, pools used by many threads
 * and pools within pools.
 *
 * The tasks play scenes (pool_fixture.h): each knows its part, counts how often it was run, and
 * waits where it is told to, so that a test decides what has happened when it looks.
 */
#include "common/parallel/resources.h"
#include "tests/pool_fixture.h"
#include "tests/pool_scene.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;

/* ---- Short forms ----------------------------------------------------------------------------- */

#define PARTS 100

static struct pool_result *start(struct pool *pool, size_t parts, size_t chunksize)
{
    return start_with(pool, parts, chunksize, NULL);
}

static void expect_done(struct pool_result *result)
{
    ck_assert_msg(pool_result_get(result, -1, &error) == 0, "%s", error.message);
    ck_assert(pool_result_ready(result));
    ck_assert_int_eq(pool_result_successful(result, &error), 1);
    ck_assert_int_eq(pool_result_wait(result, 0, &error), 0);
    ck_assert_int_eq(pool_result_get(result, 0, NULL), 0);
}

#define ANY_TASK (SIZE_MAX - 1)

static void expect_error(struct pool_result *result, enum error_code code, size_t task)
{
    for (int twice = 0; twice < 2; twice++) {
        expect_failure(pool_result_get(result, -1, &error), &error, code, "");
        ck_assert_msg(error.task == task || task == ANY_TASK, "task %zu: %s", error.task,
                      error.message);
    }
    ck_assert_str_ne(error.message, "");
    ck_assert(pool_result_ready(result));
    ck_assert_int_eq(pool_result_wait(result, 0, NULL), 0);
    ck_assert_int_eq(pool_result_successful(result, NULL), 0);
}

static void expect_not_ready(struct pool_result *result)
{
    ck_assert(!pool_result_ready(result));
    expect_failure(pool_result_successful(result, &error), &error, ERROR_INVALID, "ready");
    expect_failure(pool_result_wait(result, 0, &error), &error, ERROR_TIMEOUT, "");
    expect_failure(pool_result_get(result, 0, &error), &error, ERROR_TIMEOUT, "");
}

static void expect_state(struct pool_result *result, size_t index, enum pool_task_state state)
{
    const enum pool_task_state found = pool_result_task_state(result, index);
    ck_assert_msg(found == state, "task %zu: state %d instead of %d", index, found, state);
}

static void expect_states(struct pool_result *result, size_t first, size_t end,
                          enum pool_task_state state)
{
    for (size_t i = first; i < end; i++) {
        expect_state(result, i, state);
        ck_assert_int_eq(results[i], state == POOL_TASK_DONE ? (long)(i * i) : UNTOUCHED);
    }
}

/* ---- Results that come later ----------------------------------------------------------------- */

START_TEST(every_size_and_chunksize_later)
{
    static const size_t sizes[] = {0, 1, 2, 7, 97, 1000}, chunksizes[] = {0, 1, 3, 5000};
    struct pool *pool = create_with(situation(_i));
    begin_scene(1000, SQUARE);
    uint64_t tasks = 0, chunks = 0, maps = 0;
    long run = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < sizeof chunksizes / sizeof *chunksizes; c++) {
            const size_t n = sizes[s];
            const size_t chunksize =
                chunksizes[c] ? chunksizes[c] : pool_default_chunksize(n, pool_workers(pool));
            prepare(scene, orders, results, 1000, SQUARE);
            struct pool_result *result = start(pool, n, chunksizes[c]);
            if (n == 0)
                ck_assert(pool_result_ready(result)); /* at once: nothing is sent */
            expect_done(result);
            expect_states(result, 0, n, POOL_TASK_DONE);
            for (size_t i = n; i < 1000; i++)
                ck_assert_int_eq(results[i], UNTOUCHED);
            ck_assert_uint_eq(pool_result_cancel(result), 0);
            pool_result_free(result);
            run += (long)n;
            ck_assert_int_eq(atomic_load(&scene->entered), run);
            tasks += n;
            maps += n > 0;
            chunks += n > 0 ? (n + chunksize - 1) / chunksize : 0;
        }
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.maps, maps);
    ck_assert_uint_eq(statistics.tasks, tasks);
    ck_assert_uint_eq(statistics.chunks, chunks);
    ck_assert_uint_eq(statistics.bytes_copied, tasks * (sizeof *orders + sizeof *results));
    ck_assert_uint_eq(statistics.cancelled + statistics.timeouts + statistics.retired, 0);
    end_scene(pool);
}
END_TEST

static int scale_and_shift(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(long *)result =
        *(const long *)arguments[0] * *(const int *)arguments[1] + *(const short *)arguments[2];
    return 0;
}
POOL_TASK(scale_and_shift);

START_TEST(columns_later)
{
    long x[PARTS];
    int factors[PARTS];
    const short shift = 7;
    for (int i = 0; i < PARTS; i++) {
        x[i] = i;
        factors[i] = 3 - i;
    }
    const struct pool_column columns[] = {
        {.data = x, .size = sizeof *x},
        {.data = factors, .size = sizeof *factors},
        {.data = &shift, .size = sizeof shift, .constant = true},
    };
    struct pool *pool = create_with(situation(_i));
    struct pool_result *result = pool_starmap_async(
        pool, scale_and_shift, columns, 3,
        &(struct pool_results){.data = results, .size = sizeof *results}, PARTS, 7, NULL, &error);
    ck_assert_msg(result != NULL, "%s", error.message);
    expect_done(result);
    for (long i = 0; i < PARTS; i++)
        ck_assert_int_eq(results[i], i * (3 - i) + 7);
    pool_result_free(result);
    pool_destroy(pool);
}
END_TEST

START_TEST(apply_waits)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, SQUARE);
    for (size_t i = 0; i < PARTS; i++) {
        ck_assert_msg(pool_apply(pool, play, &orders[i], sizeof *orders, &results[i], 8, &error) ==
                          0,
                      "%s", error.message);
        ck_assert_int_eq(results[i], (long)(i * i));
    }
    orders[5].act = FAIL;
    results[5] = UNTOUCHED;
    expect_failure(pool_apply(pool, play, &orders[5], sizeof *orders, &results[5], 8, &error),
                   &error, ERROR_TASK, "part 5 refuses");
    ck_assert_uint_eq(error.task, 0);
    ck_assert_int_eq(results[5], UNTOUCHED);
    orders[6].act = DIE;
    expect_failure(pool_apply(pool, play, &orders[6], sizeof *orders, &results[6], 8, &error),
                   &error, ERROR_WORKER_LOST, "killed by signal 9");
    ck_assert_int_eq(error.worker, atomic_load(&scene->pids[6]));
    expect_runs(0, 5, 1);
    expect_runs(6, 7, 2);
    ck_assert_uint_eq(pool_statistics(pool).tasks, PARTS);
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, 1);
    end_scene(pool);
}
END_TEST

START_TEST(a_time_out_ends_the_waiting_and_not_the_work)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(3, WAIT);
    struct pool_result *result = start(pool, 3, 1);
    await_run(scene, 0);
    expect_not_ready(result);
    const double begin = seconds();
    expect_failure(pool_result_get(result, 0.05, &error), &error, ERROR_TIMEOUT, "");
    ck_assert(seconds() - begin >= 0.05);
    expect_failure(pool_result_wait(result, 0.05, &error), &error, ERROR_TIMEOUT, "");
    ck_assert(seconds() - begin >= 0.1);
    expect_not_ready(result);
    ck_assert_int_eq(results[0], UNTOUCHED);
    open_scene(scene);
    expect_done(result);
    check_squares(results, 3);
    expect_runs(0, 3, 1);
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

START_TEST(any_negative_time_out_waits)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(4, WAIT);
    atomic_store(&scene->open, 0);
    struct pool_result *first = start_one(pool, 0, NULL), *second = start_one(pool, 1, NULL);
    await_run(scene, 0);
    const pid_t opener = fork(); /* while this process waits */
    ck_assert_int_ge(opener, 0);
    if (opener == 0) {
        pause_ms(50);
        open_scene(scene);
        _exit(0);
    }
    ck_assert_int_eq(pool_result_wait(first, -0.001, &error), 0);
    ck_assert_int_eq(pool_result_get(second, -1e9, &error), 0);
    ck_assert_int_eq(pool_result_get(first, 1e9, &error), 0);
    check_squares(results, 2);
    ck_assert_int_eq(waitpid(opener, NULL, 0), opener);
    pool_result_free(first);
    pool_result_free(second);
    end_scene(pool);
}
END_TEST

START_TEST(arguments_are_copied_at_once)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    struct pool_result *result = start(pool, PARTS, 2);
    memset(orders, 0, sizeof orders); /* would be NULL scenes */
    open_scene(scene);
    expect_done(result);
    check_squares(results, PARTS);
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

START_TEST(lowest_error_of_any_kind)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(1000, SQUARE);
    orders[713].act = orders[333].act = FAIL;
    orders[555].act = DIE;
    struct pool_result *result = start(pool, 1000, 10);
    expect_error(result, ERROR_TASK, 333);
    ck_assert_msg(strstr(error.message, "part 333 refuses") != NULL, "%s", error.message);
    expect_states(result, 0, 333, POOL_TASK_DONE);
    expect_state(result, 333, POOL_TASK_FAILED);
    expect_states(result, 334, 340, POOL_TASK_NOT_RUN);
    expect_states(result, 340, 555, POOL_TASK_DONE);
    expect_states(result, 555, 556, POOL_TASK_LOST);
    expect_states(result, 556, 560, POOL_TASK_NOT_RUN);
    expect_states(result, 560, 713, POOL_TASK_DONE);
    expect_states(result, 713, 714, POOL_TASK_FAILED);
    expect_states(result, 714, 720, POOL_TASK_NOT_RUN);
    expect_states(result, 720, 1000, POOL_TASK_DONE);
    pool_result_free(result);

    prepare(scene, orders, results, 1000, SQUARE);
    memset(scene->runs, 0, sizeof scene->runs);
    orders[713].act = FAIL;
    orders[111].act = DIE;
    result = start(pool, 1000, 10);
    expect_error(result, ERROR_WORKER_LOST, 111);
    ck_assert_int_eq(error.worker, atomic_load(&scene->pids[111]));
    pool_result_free(result);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.tasks, 1000 - 7 - 5 - 7 + 1000 - 9 - 7);
    ck_assert_uint_eq(statistics.chunks, 97 + 98);
    ck_assert_uint_eq(statistics.chunks_lost, 2);
    end_scene(pool);
}
END_TEST

static void expect_refused(const struct pool_result *result, enum error_code code,
                           const char *part_of_message)
{
    expect_failure(result ? 0 : -1, &error, code, part_of_message);
    error = (struct error){0};
}

static int unregistered(const void *const *arguments, void *result, struct pool_task *task)
{
    return square(arguments, result, task);
}

static void never(void *of, void *context)
{
    (void)of;
    (void)context;
    ck_abort_msg("a callback of what was refused");
}

static void never_failed(const struct error *of, void *context)
{
    (void)of;
    (void)context;
    ck_abort_msg("an error callback of what was refused");
}

START_TEST(refused_at_once)
{
    const struct pool_callbacks no = {.done = never, .failed = never_failed};
    const struct pool_column column = {.data = orders, .size = 8};
    const struct pool_results good = {.data = results, .size = 8};
    struct pool *pool = create_with(situation(_i));
    expect_refused(pool_map_async(NULL, square, orders, 8, results, 8, 4, 0, &no, &error),
                   ERROR_INVALID, "pool");
    expect_refused(pool_map_async(pool, NULL, orders, 8, results, 8, 4, 0, &no, &error),
                   ERROR_INVALID, "function");
    expect_refused(pool_map_async(pool, unregistered, orders, 8, results, 8, 4, 0, &no, &error),
                   ERROR_UNREGISTERED, "POOL_TASK");
    expect_refused(pool_map_async(pool, square, NULL, 8, results, 8, 4, 0, &no, &error),
                   ERROR_INVALID, "NULL");
    expect_refused(pool_map_async(pool, square, orders, 8, NULL, 8, 4, 0, &no, &error),
                   ERROR_INVALID, "NULL");
    expect_refused(pool_map_async(pool, square, orders, 8, results, 8, SIZE_MAX, 0, &no, &error),
                   ERROR_INVALID, "overflow");
    expect_refused(pool_starmap_async(pool, square, NULL, 1, &good, 4, 0, &no, &error),
                   ERROR_INVALID, "NULL");
    expect_refused(pool_starmap_async(pool, square, &column, 0, &good, 4, 0, &no, &error),
                   ERROR_INVALID, "columns");
    expect_refused(
        pool_starmap_async(pool, square, &column, POOL_MAX_COLUMNS + 1, &good, 4, 0, &no, &error),
        ERROR_INVALID, "columns");
    expect_refused(pool_apply_async(pool, NULL, orders, 8, results, 8, &no, &error), ERROR_INVALID,
                   "function");
    expect_refused(pool_apply_async(pool, unregistered, orders, 8, results, 8, &no, &error),
                   ERROR_UNREGISTERED, "POOL_TASK");
    expect_refused(pool_apply_async(pool, square, NULL, 8, results, 8, &no, &error), ERROR_INVALID,
                   "NULL");
    ck_assert_int_eq(pool_apply(pool, unregistered, orders, 8, results, 8, &error), -1);
    ck_assert_int_eq(error.code, ERROR_UNREGISTERED);
    ck_assert_ptr_null(pool_apply_async(pool, NULL, orders, 8, results, 8, NULL, NULL));
    pool_result_free(NULL);
    map_squares(pool, 100, 0);
    ck_assert_uint_eq(pool_statistics(pool).maps, 1);
    pool_destroy(pool);
}
END_TEST

/* ---- Cancel ---------------------------------------------------------------------------------- */

#define CHUNK 5

/* Each worker is in the first task of a chunk; all other chunks are withdrawn. */
START_TEST(cancel_withdraws_what_nobody_has_begun)
{
    struct pool *pool = create_with(situation(_i));
    const size_t begun = CHUNK * (size_t)pool_workers(pool);
    begin_scene(PARTS, WAIT);
    struct pool_result *result = start(pool, PARTS, CHUNK);
    await_entered(scene, pool_workers(pool));
    ck_assert_uint_eq(pool_result_cancel(result), PARTS - begun);
    ck_assert_uint_eq(pool_result_cancel(result), 0);
    expect_not_ready(result);
    open_scene(scene);
    ck_assert_int_eq(pool_result_wait(result, -1, &error), 0);
    size_t lowest = SIZE_MAX, done = 0;
    for (size_t i = PARTS; i-- > 0;) {
        const bool run = atomic_load(&scene->runs[i]) == 1;
        expect_runs(i, i + 1, run);
        expect_states(result, i, i + 1, run ? POOL_TASK_DONE : POOL_TASK_CANCELLED);
        lowest = run ? lowest : i;
        done += run;
    }
    ck_assert_uint_eq(done, begun);
    expect_error(result, ERROR_CANCELLED, lowest);
    ck_assert_uint_eq(pool_result_cancel(result), 0);
    pool_result_free(result);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.cancelled, PARTS - begun);
    ck_assert_uint_eq(statistics.tasks, begun);
    map_squares(pool, 100, 1);
    end_scene(pool);
}
END_TEST

START_TEST(a_lower_error_precedes_cancellation)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT_FAIL);
    struct pool_result *result = start(pool, PARTS, CHUNK);
    await_entered(scene, pool_workers(pool));
    await_run(scene, 0);
    ck_assert_uint_gt(pool_result_cancel(result), 0);
    open_scene(scene);
    expect_error(result, ERROR_TASK, 0);
    for (size_t i = 0; i < PARTS; i += CHUNK) {
        const bool run = atomic_load(&scene->runs[i]) == 1;
        expect_states(result, i, i + 1, run ? POOL_TASK_FAILED : POOL_TASK_CANCELLED);
        expect_states(result, i + 1, i + CHUNK, run ? POOL_TASK_NOT_RUN : POOL_TASK_CANCELLED);
    }
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

/* Of many that wait behind one another, every second is withdrawn; one that runs cannot be. */
START_TEST(cancel_one_of_many)
{
    struct pool *pool = create_with(situation(_i));
    struct pool_result *handles[PARTS];
    const size_t workers = (size_t)pool_workers(pool);
    begin_scene(PARTS, WAIT);
    for (size_t i = 0; i < PARTS; i++) {
        handles[i] = start_one(pool, i, NULL);
        if (i + 1 == workers)
            await_entered(scene, pool_workers(pool)); /* all are busy */
    }
    for (size_t i = 0; i < workers; i++)
        ck_assert_uint_eq(pool_result_cancel(handles[i]), 0);
    for (size_t i = workers; i < PARTS; i += 2)
        ck_assert_uint_eq(pool_result_cancel(handles[i]), 1);
    open_scene(scene);
    for (size_t i = 0; i < PARTS; i++) {
        const bool cancelled = i >= workers && (i - workers) % 2 == 0;
        if (cancelled)
            expect_error(handles[i], ERROR_CANCELLED, 0);
        else
            expect_done(handles[i]);
        expect_state(handles[i], 0, cancelled ? POOL_TASK_CANCELLED : POOL_TASK_DONE);
        expect_runs(i, i + 1, !cancelled);
        pool_result_free(handles[i]);
    }
    ck_assert_uint_eq(pool_statistics(pool).cancelled, (PARTS - workers + 1) / 2);
    end_scene(pool);
}
END_TEST

/* ---- Callbacks ------------------------------------------------------------------------------- */

/* What a callback has seen. */
struct calls {
    atomic_int done, failed, inside;
    atomic_bool go; /* slow ones wait for it */
    void *results;
    long first; /* of the results, when it was called */
    struct error error;
    pthread_t thread;
    bool signals_blocked, overlapped;
    struct pool *pool;
    _Atomic(struct pool_result *) handle;
};

static void enter_callback(struct calls *calls)
{
    sigset_t blocked;
    calls->overlapped = atomic_fetch_add(&calls->inside, 1) != 0 || calls->overlapped;
    calls->thread = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    calls->signals_blocked =
        sigismember(&blocked, SIGINT) == 1 && sigismember(&blocked, SIGTERM) == 1 &&
        sigismember(&blocked, SIGALRM) == 1 && sigismember(&blocked, SIGUSR1) == 1;
}

static void note_done(void *of, void *context)
{
    struct calls *calls = context;
    enter_callback(calls);
    calls->results = of;
    calls->first = of ? *(long *)of : 0;
    atomic_fetch_sub(&calls->inside, 1);
    atomic_fetch_add(&calls->done, 1);
}

static void note_failed(const struct error *of, void *context)
{
    struct calls *calls = context;
    enter_callback(calls);
    calls->error = *of;
    atomic_fetch_sub(&calls->inside, 1);
    atomic_fetch_add(&calls->failed, 1);
}

static void await_calls(const struct calls *calls, int done, int failed)
{
    while (atomic_load(&calls->done) < done || atomic_load(&calls->failed) < failed)
        pause_ms(1);
}

static struct pool_callbacks noting(struct calls *calls)
{
    return (struct pool_callbacks){.done = note_done, .failed = note_failed, .context = calls};
}

START_TEST(callback_with_results_in_place)
{
    struct calls calls = {0};
    struct pool_callbacks callbacks = noting(&calls);
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    orders[0].part = 9;
    struct pool_result *result = start_with(pool, PARTS, 3, &callbacks);
    callbacks = (struct pool_callbacks){0}; /* it was copied */
    ck_assert_int_eq(atomic_load(&calls.done), 0);
    open_scene(scene);
    await_calls(&calls, 1, 0); /* nobody has asked for the results */
    ck_assert_ptr_nonnull(calls.results);
    ck_assert_int_eq(calls.first, 81);
    ck_assert_int_eq(results[0], 81);
    ck_assert(calls.signals_blocked);
    ck_assert(!pthread_equal(calls.thread, pthread_self()));
    for (size_t i = 1; i < PARTS; i++)
        ck_assert_int_eq(results[i], (long)(i * i));
    expect_done(result);
    pool_result_free(result);
    end_scene(pool); /* after which there is no further call */
    ck_assert_int_eq(atomic_load(&calls.done), 1);
    ck_assert_int_eq(atomic_load(&calls.failed), 0);
}
END_TEST

static void expect_errback(struct pool *pool, enum act act, enum error_code code)
{
    struct calls calls = {0};
    const struct pool_callbacks callbacks = noting(&calls);
    prepare(scene, orders, results, PARTS, SQUARE);
    orders[40].act = act;
    struct pool_result *result = start_with(pool, PARTS, 3, &callbacks);
    await_calls(&calls, 0, 1);
    expect_error(result, code, 40);
    ck_assert_int_eq(calls.error.code, error.code);
    ck_assert_uint_eq(calls.error.task, error.task);
    ck_assert_int_eq(calls.error.worker, error.worker);
    ck_assert_str_eq(calls.error.message, error.message);
    ck_assert(calls.signals_blocked);
    pool_result_free(result);
    ck_assert_int_eq(atomic_load(&calls.done), 0);
    ck_assert_int_eq(atomic_load(&calls.failed), 1);
}

START_TEST(error_callback_with_the_error_of_get)
{
    struct pool *pool = create_with(situation(_i));
    scene = make_scene();
    expect_errback(pool, FAIL, ERROR_TASK);
    expect_errback(pool, DIE, ERROR_WORKER_LOST);
    end_scene(pool);
}
END_TEST

START_TEST(either_callback_may_be_missing)
{
    struct calls calls = {0};
    struct pool_callbacks only_failed = noting(&calls), only_done = noting(&calls);
    only_failed.done = NULL;
    only_done.failed = NULL;
    struct pool *pool = create_with(situation(_i));
    begin_scene(4, SQUARE);
    orders[2].act = FAIL;
    struct pool_result *silent[] = {start_one(pool, 1, &only_failed),
                                    start_one(pool, 2, &only_done),
                                    start_one(pool, 3, &(struct pool_callbacks){0})};
    expect_done(silent[0]);
    expect_error(silent[1], ERROR_TASK, 0);
    expect_done(silent[2]);
    struct pool_result *last = start_one(pool, 0, &only_done);
    await_calls(&calls, 1, 0);
    for (int i = 0; i < 3; i++)
        pool_result_free(silent[i]);
    pool_result_free(last);
    end_scene(pool);
    ck_assert_int_eq(atomic_load(&calls.done), 1);
    ck_assert_int_eq(atomic_load(&calls.failed), 0);
}
END_TEST

/* One after the other, each once, whoever still holds the handle. */
START_TEST(each_callback_once)
{
    enum { CALLS = 500 };
    static struct calls calls;
    const struct pool_callbacks callbacks = noting(&calls);
    struct pool_result *handles[CALLS];
    struct pool *pool = create_with(situation(_i));
    begin_scene(CALLS, SQUARE);
    for (size_t i = 0; i < CALLS; i++) {
        orders[i].act = i % 10 == 7 ? FAIL : SQUARE;
        handles[i] = start_one(pool, i, &callbacks);
        if (i % 3 == 0)
            pool_result_free(handles[i]);
    }
    for (size_t i = 0; i < CALLS; i++)
        if (i % 3 != 0) {
            ck_assert_int_eq(pool_result_wait(handles[i], -1, &error), 0);
            ck_assert_int_eq(results[i], i % 10 == 7 ? UNTOUCHED : (long)(i * i));
            pool_result_free(handles[i]);
        }
    await_calls(&calls, CALLS - CALLS / 10, CALLS / 10);
    end_scene(pool);
    ck_assert_int_eq(atomic_load(&calls.done), CALLS - CALLS / 10);
    ck_assert_int_eq(atomic_load(&calls.failed), CALLS / 10);
    ck_assert(!calls.overlapped);
}
END_TEST

START_TEST(empty_map_calls_back_too)
{
    struct calls calls = {0};
    const struct pool_callbacks callbacks = noting(&calls);
    struct pool *pool = create_with(situation(_i));
    begin_scene(1, SQUARE);
    struct pool_result *result = start_with(pool, 0, 0, &callbacks);
    await_calls(&calls, 1, 0);
    expect_done(result);
    pool_result_free(result);
    end_scene(pool);
    ck_assert_int_eq(atomic_load(&calls.done), 1);
}
END_TEST

static void use_the_pool(void *of, void *context)
{
    struct calls *calls = context;
    long x = 12, y = 0;
    struct error inner;
    struct pool_result *later = pool_apply_async(calls->pool, square, &x, 8, &y, 8, NULL, &inner);
    if (later && pool_result_get(later, -1, &inner) == 0 && y == 144 &&
        pool_map(calls->pool, square, &x, 8, &y, 8, 1, 1, &inner) == 0)
        note_done(of, context);
    pool_result_free(later);
}

START_TEST(callback_that_submits_and_waits)
{
    struct calls calls = {.pool = create_with(situation(_i))};
    const struct pool_callbacks callbacks = {.done = use_the_pool, .context = &calls};
    begin_scene(8, SQUARE);
    for (size_t i = 0; i < 8; i++)
        pool_result_free(start_one(calls.pool, i, &callbacks));
    await_calls(&calls, 8, 0);
    end_scene(calls.pool);
}
END_TEST

static void block(void *of, void *context)
{
    struct calls *calls = context;
    atomic_fetch_add(&calls->inside, 1);
    while (!atomic_load(&calls->go))
        pause_ms(1);
    atomic_fetch_sub(&calls->inside, 1);
    note_done(of, context);
}

/* Other callbacks wait for it, and nothing else: deaths are healed, limits kept, work is done. */
START_TEST(callback_that_blocks)
{
    struct calls calls = {0}, others = {0};
    const struct pool_callbacks slow = {.done = block, .context = &calls};
    const struct pool_callbacks quick = noting(&others);
    struct pool_options options = situation(_i);
    options.retries = 1;
    struct pool *pool = create_with(options);
    begin_scene(PARTS, SQUARE);
    orders[50].act = DIE_ONCE;
    pool_result_free(start_one(pool, 0, &slow));
    while (atomic_load(&calls.inside) == 0)
        pause_ms(1);
    struct pool_result *result = start_with(pool, PARTS, 3, NULL);
    struct pool_result *called = start_with(pool, 1, 1, &quick);
    expect_done(result);
    check_squares(results, PARTS);
    map_squares(pool, 1000, 1);
    ck_assert(!pool_result_ready(called)); /* its callback comes first */
    ck_assert_int_eq(pool_result_successful(called, &error), -1);
    ck_assert_int_eq(pool_result_wait(called, 0.02, &error), -1);
    ck_assert_int_eq(error.code, ERROR_TIMEOUT);
    ck_assert_int_eq(atomic_load(&others.done), 0);
    ck_assert_int_eq(atomic_load(&calls.done), 0);
    atomic_store(&calls.go, true);
    expect_done(called);
    ck_assert_int_eq(atomic_load(&others.done), 1);
    ck_assert_int_eq(atomic_load(&calls.done), 1); /* it came first */
    pool_result_free(result);
    pool_result_free(called);
    end_scene(pool);
}
END_TEST

static void free_own_handle(void *of, void *context)
{
    struct calls *calls = context;
    while (!atomic_load(&calls->handle))
        pause_ms(1);
    pool_result_free(atomic_load(&calls->handle));
    note_done(of, context);
}

START_TEST(callback_that_frees_its_own_handle)
{
    struct calls calls[20] = {0};
    struct pool *pool = create_with(situation(_i));
    begin_scene(20, SQUARE);
    for (size_t i = 0; i < 20; i++)
        atomic_store(&calls[i].handle, start_one(pool, i,
                                                 &(struct pool_callbacks){.done = free_own_handle,
                                                                          .context = &calls[i]}));
    for (size_t i = 0; i < 20; i++)
        await_calls(&calls[i], 1, 0);
    end_scene(pool);
    check_squares(results, 20);
}
END_TEST

static void join_the_pool(void *of, void *context)
{
    struct calls *calls = context;
    pool_close(calls->pool);
    if (pool_join(calls->pool, -1, &calls->error) == -1)
        note_done(of, context);
}

START_TEST(join_is_refused_in_a_callback)
{
    struct calls calls = {.pool = create_with(situation(_i))};
    begin_scene(1, SQUARE);
    pool_result_free(start_one(calls.pool, 0,
                               &(struct pool_callbacks){.done = join_the_pool, .context = &calls}));
    await_calls(&calls, 1, 0);
    ck_assert_int_eq(calls.error.code, ERROR_INVALID);
    ck_assert_int_eq(pool_join(calls.pool, -1, &error), 0);
    end_scene(calls.pool);
}
END_TEST

/* The handle is gone, the results' memory may be too: the work goes on, and is told. */
START_TEST(handle_freed_before_the_work_is_done)
{
    struct calls calls = {0};
    const struct pool_callbacks callbacks = {.failed = note_failed, .context = &calls};
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    orders[70].act = WAIT_FAIL;
    pool_result_free(start_with(pool, PARTS, 1, &callbacks));
    await_run(scene, 0);
    open_scene(scene);
    await_calls(&calls, 0, 1);
    ck_assert_uint_eq(calls.error.task, 70);
    expect_runs(0, PARTS, 1);
    for (size_t i = 0; i < PARTS; i++)
        ck_assert_int_eq(results[i], UNTOUCHED);
    pool_result_free(start(pool, 10, 1)); /* and with nobody to be told */
    map_squares(pool, 100, 1);
    end_scene(pool);
    for (size_t i = 0; i < PARTS; i++)
        ck_assert_int_eq(results[i], UNTOUCHED);
}
END_TEST

static void wait_for_what_never_ends(void *of, void *context)
{
    struct calls *calls = context;
    long y;
    if (pool_apply(calls->pool, play, &orders[1], sizeof *orders, &y, 8, &calls->error) == -1)
        note_done(of, context);
}

START_TEST(pool_ends_under_a_waiting_callback)
{
    struct calls calls = {.pool = create_with(situation(_i))};
    begin_scene(2, STAY);
    orders[0].act = SQUARE;
    pool_result_free(
        start_one(calls.pool, 0,
                  &(struct pool_callbacks){.done = wait_for_what_never_ends, .context = &calls}));
    await_run(scene, 1);
    end_scene(calls.pool);
    ck_assert_int_eq(atomic_load(&calls.done), 1);
    ck_assert_int_eq(calls.error.code, ERROR_CLOSED);
}
END_TEST

/* ---- Imap ------------------------------------------------------------------------------------ */

/* Gives the orders one after the other, and checks that it is not asked for more than it should
 * be: of `buffersize` chunks, and of those that were asked for, in the thread that asks. */
struct tape {
    size_t count;    /* elements there are; SIZE_MAX: no end */
    size_t fails_at; /* at this element the source fails; SIZE_MAX: never */
    size_t chunksize, buffersize;
    size_t taken, touched; /* elements taken; chunks of which an element was asked for */
    bool in_call, ended;
    unsigned char chunk_touched[SCENE_PARTS];
};

static int next_order(void *context, void *argument)
{
    struct tape *tape = context;
    ck_assert(tape->in_call);
    ck_assert(!tape->ended); /* nor is it asked again after its end */
    ck_assert_uint_lt(tape->taken, (tape->buffersize + tape->touched) * tape->chunksize);
    if (tape->taken == tape->fails_at || tape->taken == tape->count) {
        tape->ended = true;
        return tape->taken == tape->fails_at ? -3 : 0;
    }
    struct order order = orders[tape->taken % SCENE_PARTS];
    order.part = (long)(tape->taken % SCENE_PARTS);
    memcpy(argument, &order, sizeof order);
    tape->taken++;
    return 1;
}

static struct tape tape_of(const struct pool *pool, size_t count, size_t chunksize,
                           size_t buffersize)
{
    return (struct tape){
        .count = count,
        .fails_at = SIZE_MAX,
        .chunksize = chunksize,
        .buffersize = buffersize ? buffersize : 4 * (size_t)pool_workers(pool),
    };
}

static struct pool_iterator *iterate(struct pool *pool, bool ordered, struct tape *tape,
                                     size_t buffersize)
{
    tape->in_call = true;
    struct pool_iterator *iterator = (ordered ? pool_imap : pool_imap_unordered)(
        pool, play, next_order, tape, sizeof *orders, sizeof *results, tape->chunksize, buffersize,
        &error);
    tape->in_call = false;
    ck_assert_msg(iterator != NULL, "%s", error.message);
    return iterator;
}

/* The next answer, asked for in the name of the tape. */
static int next(struct pool_iterator *iterator, struct tape *tape, long *result, size_t *index,
                double timeout)
{
    *index = 12345;
    *result = UNTOUCHED;
    tape->in_call = true;
    tape->touched++; /* it may be of a new chunk */
    const int status = pool_iterator_next(iterator, result, index, timeout, &error);
    tape->in_call = false;
    const size_t chunk = *index / tape->chunksize % SCENE_PARTS;
    if (*index == SIZE_MAX || status == 0 || tape->chunk_touched[chunk])
        tape->touched--;
    else
        tape->chunk_touched[chunk] = 1;
    return status;
}

/* All of a tape of squares, each once, in order if it is ordered. */
static void expect_all_squares(struct pool *pool, bool ordered, size_t count, size_t chunksize,
                               size_t buffersize)
{
    struct tape tape = tape_of(pool, count, chunksize, buffersize);
    unsigned char seen[SCENE_PARTS] = {0};
    long result;
    size_t index;
    struct pool_iterator *iterator = iterate(pool, ordered, &tape, buffersize);
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(next(iterator, &tape, &result, &index, -1) == 1, "%s", error.message);
        ck_assert_uint_lt(index, count);
        ck_assert(!ordered || index == i);
        ck_assert_int_eq(seen[index]++, 0);
        ck_assert_int_eq(result, (long)(index * index));
    }
    ck_assert_uint_eq(tape.taken, count);
    ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 0);
    ck_assert_int_eq(next(iterator, &tape, &result, &index, 0), 0);
    ck_assert_int_eq(result, UNTOUCHED);
    pool_iterator_free(iterator);
}

START_TEST(imap_of_every_size)
{
    static const size_t sizes[] = {0, 1, 2, 7, 100}, chunksizes[] = {1, 3, 7, 200},
                        buffersizes[] = {0, 1, 2, 30};
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, SQUARE);
    for (size_t s = 0; s < 5; s++)
        for (size_t c = 0; c < 4; c++)
            for (size_t b = 0; b < 4; b++)
                for (int ordered = 0; ordered < 2; ordered++)
                    expect_all_squares(pool, ordered, sizes[s], chunksizes[c], buffersizes[b]);
    ck_assert_uint_eq(pool_statistics(pool).tasks, 4UL * 4 * 2 * (0 + 1 + 2 + 7 + 100));
    expect_all_squares(pool, true, SCENE_PARTS, 1, 0);
    expect_all_squares(pool, false, SCENE_PARTS, 10, 0);
    end_scene(pool);
}
END_TEST

/* All workers work at the same time, as far as the buffer lets them. */
START_TEST(imap_keeps_all_workers_busy)
{
    struct pool *pool = create_with(situation(_i));
    const size_t workers = (size_t)pool_workers(pool);
    long result;
    size_t index;
    for (int ordered = 0; ordered < 2; ordered++) {
        begin_scene(workers, MEET);
        atomic_store(&scene->open, pool_workers(pool)); /* none returns before all have begun */
        struct tape tape = tape_of(pool, workers, 1, workers);
        struct pool_iterator *iterator = iterate(pool, ordered, &tape, workers);
        for (size_t i = 0; i < workers; i++)
            ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 1);
        pool_iterator_free(iterator);
        shared_memory_free(scene);
    }
    pool_destroy(pool);
}
END_TEST

START_TEST(imap_of_an_endless_source)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, SQUARE);
    long result;
    size_t index;
    for (int ordered = 0; ordered < 2; ordered++)
        for (size_t chunksize = 1; chunksize <= 4; chunksize += 3) {
            struct tape tape = tape_of(pool, SIZE_MAX, chunksize, 0);
            struct pool_iterator *iterator = iterate(pool, ordered, &tape, 0);
            for (int i = 0; i < 50; i++) {
                ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 1);
                ck_assert_int_eq(result, (long)(index * index));
            }
            pool_iterator_free(iterator); /* with work in flight */
            tape = tape_of(pool, SIZE_MAX, chunksize, 0);
            pool_iterator_free(iterate(pool, ordered, &tape, 0)); /* without a question */
        }
    pool_iterator_free(NULL);
    map_squares(pool, 100, 1);
    end_scene(pool);
}
END_TEST

/* What nobody has asked for fills the buffer and no more, however long one waits. */
START_TEST(imap_with_a_slow_consumer)
{
    enum { BUFFER = 3, CHUNKSIZE = 2 };
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, SQUARE);
    struct tape tape = tape_of(pool, SIZE_MAX, CHUNKSIZE, BUFFER);
    struct pool_iterator *iterator = iterate(pool, true, &tape, BUFFER);
    long result;
    size_t index;
    for (size_t i = 0; i < 20; i++) {
        ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 1);
        ck_assert_uint_eq(index, i);
        const size_t most = (BUFFER + i / CHUNKSIZE + 1) * CHUNKSIZE;
        await_entered(scene, (long)tape.taken);
        pause_ms(2);
        ck_assert_uint_le(tape.taken, most);
        ck_assert_int_eq(atomic_load(&scene->entered), (long)tape.taken);
    }
    pool_iterator_free(iterator);
    end_scene(pool);
}
END_TEST

/* What the answer for each element should be: 5 fails, 12 dies, and what follows in their chunks
 * is not run. */
static enum error_code expected_code(size_t index, size_t chunksize)
{
    static const size_t bad[] = {5, 12};
    static const enum error_code codes[] = {ERROR_TASK, ERROR_WORKER_LOST};
    for (int b = 0; b < 2; b++) {
        if (index == bad[b])
            return codes[b];
        if (index > bad[b] && index / chunksize == bad[b] / chunksize)
            return ERROR_NOT_RUN;
    }
    return ERROR_NONE;
}

static void expect_each_answer_once(struct pool *pool, bool ordered, size_t chunksize)
{
    enum { COUNT = 30 };
    struct tape tape = tape_of(pool, COUNT, chunksize, 0);
    unsigned char seen[COUNT] = {0};
    struct pool_iterator *iterator = iterate(pool, ordered, &tape, 0);
    for (size_t i = 0; i < COUNT; i++) {
        long result;
        size_t index;
        const int status = next(iterator, &tape, &result, &index, -1);
        ck_assert_msg(index < COUNT, "answer %zu: status %d, index %zu: %s", i, status, index,
                      error.message);
        ck_assert(!ordered || index == i);
        ck_assert_int_eq(seen[index]++, 0);
        const enum error_code code = expected_code(index, chunksize);
        if (code == ERROR_NONE) {
            ck_assert_msg(status == 1, "element %zu: %s", index, error.message);
            ck_assert_int_eq(result, (long)(index * index));
            continue;
        }
        expect_failure(status, &error, code, "");
        ck_assert_uint_eq(error.task, index);
        ck_assert_str_ne(error.message, "");
        ck_assert_int_eq(result, UNTOUCHED);
        if (code == ERROR_WORKER_LOST)
            ck_assert_int_eq(error.worker, atomic_load(&scene->pids[index]));
        expect_runs(index, index + 1, code != ERROR_NOT_RUN);
    }
    long result;
    size_t index;
    ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 0);
    pool_iterator_free(iterator);
}

START_TEST(imap_goes_on_after_an_error)
{
    struct pool *pool = create_with(situation(_i));
    for (size_t chunksize = 1; chunksize <= 7; chunksize += 3)
        for (int ordered = 0; ordered < 2; ordered++) {
            begin_scene(SCENE_PARTS, SQUARE);
            orders[5].act = FAIL;
            orders[12].act = DIE;
            expect_each_answer_once(pool, ordered, chunksize);
            shared_memory_free(scene);
        }
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, 6);
    pool_destroy(pool);
}
END_TEST

START_TEST(imap_is_healed_by_retries)
{
    struct pool_options options = situation(_i);
    options.retries = 2;
    struct pool *pool = create_with(options);
    for (int ordered = 0; ordered < 2; ordered++) {
        begin_scene(SCENE_PARTS, SQUARE);
        for (size_t i = 3; i < 60; i += 11)
            orders[i].act = DIE_ONCE;
        expect_all_squares(pool, ordered, 60, 4, 0);
        for (size_t i = 0; i < 60; i++)
            expect_runs(i, i + 1, orders[i].act == DIE_ONCE ? 2 : 1);
        shared_memory_free(scene);
    }
    ck_assert_uint_eq(pool_statistics(pool).chunks_retried, 12);
    pool_destroy(pool);
}
END_TEST

START_TEST(imap_of_a_source_that_fails)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, SQUARE);
    long result;
    size_t index;
    for (int ordered = 0; ordered < 2; ordered++)
        for (size_t chunksize = 1; chunksize <= 4; chunksize += 3) {
            struct tape tape = tape_of(pool, SIZE_MAX, chunksize, 0);
            unsigned char seen[10] = {0};
            tape.fails_at = 10;
            struct pool_iterator *iterator = iterate(pool, ordered, &tape, 0);
            for (size_t i = 0; i < 10; i++) { /* what came before is answered */
                ck_assert_msg(next(iterator, &tape, &result, &index, -1) == 1, "%s", error.message);
                ck_assert_uint_lt(index, 10);
                ck_assert_int_eq(seen[index]++, 0);
                ck_assert_int_eq(result, (long)(index * index));
            }
            expect_failure(next(iterator, &tape, &result, &index, -1), &error, ERROR_TASK, "");
            ck_assert_uint_eq(index, SIZE_MAX);
            for (int again = 0; again < 3; again++) /* it is said once: a loop comes to its end */
                ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 0);
            pool_iterator_free(iterator);
        }
    end_scene(pool);
}
END_TEST

START_TEST(imap_goes_on_after_a_time_out)
{
    struct pool *pool = create_with(situation(_i));
    long result;
    size_t index;
    for (int ordered = 0; ordered < 2; ordered++) {
        begin_scene(SCENE_PARTS, WAIT);
        struct tape tape = tape_of(pool, 20, 2, 0);
        struct pool_iterator *iterator = iterate(pool, ordered, &tape, 0);
        expect_failure(next(iterator, &tape, &result, &index, 0), &error, ERROR_TIMEOUT, "");
        ck_assert_uint_eq(index, SIZE_MAX);
        const double begin = seconds();
        expect_failure(next(iterator, &tape, &result, &index, 0.03), &error, ERROR_TIMEOUT, "");
        ck_assert(seconds() - begin >= 0.03);
        ck_assert_uint_eq(index, SIZE_MAX);
        ck_assert_int_eq(result, UNTOUCHED);
        open_scene(scene);
        for (size_t i = 0; i < 20; i++) {
            ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 1);
            ck_assert(!ordered || index == i);
            ck_assert_int_eq(result, (long)(index * index));
        }
        ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 0);
        expect_runs(0, 20, 1);
        pool_iterator_free(iterator);
        shared_memory_free(scene);
    }
    pool_destroy(pool);
}
END_TEST

/* While the first element waits, the others come: only if they need not come in order. */
START_TEST(unordered_results_overtake)
{
    struct pool_options options = situation(_i);
    if (options.workers < 2)
        return;
    struct pool *pool = create_with(options);
    begin_scene(SCENE_PARTS, SQUARE);
    orders[0].act = WAIT;
    struct tape tape = tape_of(pool, 20, 1, 0);
    long result;
    size_t index;
    struct pool_iterator *iterator = iterate(pool, false, &tape, 0);
    for (int i = 0; i < 19; i++) {
        ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 1);
        ck_assert_uint_ne(index, 0);
    }
    expect_failure(next(iterator, &tape, &result, &index, 0), &error, ERROR_TIMEOUT, "");
    open_scene(scene);
    ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 1);
    ck_assert_uint_eq(index, 0);
    pool_iterator_free(iterator);
    end_scene(pool);
}
END_TEST

START_TEST(imap_of_an_array)
{
    long x[PARTS], y;
    for (long i = 0; i < PARTS; i++)
        x[i] = i;
    struct pool *pool = create_with(situation(_i));
    struct pool_array array = {.data = x, .size = sizeof *x, .count = PARTS};
    struct pool_iterator *iterator =
        pool_imap(pool, square, pool_from_array, &array, sizeof *x, sizeof y, 3, 2, &error);
    ck_assert_msg(iterator != NULL, "%s", error.message);
    for (long i = 0; i < PARTS; i++) {
        ck_assert_int_eq(pool_iterator_next(iterator, &y, NULL, -1, NULL), 1);
        ck_assert_int_eq(y, i * i);
    }
    ck_assert_int_eq(pool_iterator_next(iterator, &y, NULL, -1, NULL), 0);
    ck_assert_uint_eq(array.next, PARTS);
    pool_iterator_free(iterator);
    pool_destroy(pool);
}
END_TEST

static int touch_nothing(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    return 0;
}
POOL_TASK(touch_nothing);

START_TEST(imap_without_results)
{
    struct pool *pool = create_with(situation(_i));
    long x[PARTS] = {0};
    struct pool_array array = {.data = x, .size = sizeof *x, .count = PARTS};
    struct pool_iterator *iterator =
        pool_imap(pool, touch_nothing, pool_from_array, &array, sizeof *x, 0, 3, 0, &error);
    ck_assert_msg(iterator != NULL, "%s", error.message);
    size_t index;
    for (size_t i = 0; i < PARTS; i++) {
        ck_assert_int_eq(pool_iterator_next(iterator, NULL, &index, -1, NULL), 1);
        ck_assert_uint_eq(index, i);
    }
    ck_assert_int_eq(pool_iterator_next(iterator, NULL, &index, -1, NULL), 0);
    pool_iterator_free(iterator);
    pool_destroy(pool);
}
END_TEST

START_TEST(refused_imaps)
{
    typedef struct pool_iterator *imap(struct pool *, pool_function *, pool_source *, void *,
                                       size_t, size_t, size_t, size_t, struct error *);
    static imap *const imaps[] = {pool_imap, pool_imap_unordered};
    struct pool *pool = create_with(situation(_i));
    long x[4] = {0};
    struct pool_array array = {.data = x, .size = sizeof *x, .count = 4};
    for (int i = 0; i < 2; i++) {
        ck_assert_ptr_null(imaps[i](NULL, square, pool_from_array, &array, 8, 8, 1, 0, &error));
        expect_failure(-1, &error, ERROR_INVALID, "pool");
        ck_assert_ptr_null(imaps[i](pool, NULL, pool_from_array, &array, 8, 8, 1, 0, &error));
        expect_failure(-1, &error, ERROR_INVALID, "function");
        ck_assert_ptr_null(imaps[i](pool, square, NULL, &array, 8, 8, 1, 0, &error));
        expect_failure(-1, &error, ERROR_INVALID, "source");
        ck_assert_ptr_null(
            imaps[i](pool, unregistered, pool_from_array, &array, 8, 8, 1, 0, &error));
        expect_failure(-1, &error, ERROR_UNREGISTERED, "POOL_TASK");
        ck_assert_ptr_null(imaps[i](pool, square, NULL, &array, 8, 8, 0, 0, NULL));
    }
    ck_assert_uint_eq(array.next, 0); /* nothing was taken */
    map_squares(pool, 100, 1);
    pool_destroy(pool);
}
END_TEST

START_TEST(several_iterators_and_a_map_between)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, SQUARE);
    struct tape tapes[3];
    struct pool_iterator *iterators[3];
    for (int t = 0; t < 3; t++) {
        tapes[t] = tape_of(pool, 100, 1 + (size_t)t, 2);
        iterators[t] = iterate(pool, true, &tapes[t], 2);
    }
    for (size_t i = 0; i < 100; i++) {
        long result;
        size_t index;
        for (int t = 0; t < 3; t++) {
            ck_assert_int_eq(next(iterators[t], &tapes[t], &result, &index, -1), 1);
            ck_assert_uint_eq(index, i);
            ck_assert_int_eq(result, (long)(i * i));
        }
        if (i % 20 == 0)
            map_squares(pool, 20, 1);
    }
    for (int t = 0; t < 3; t++)
        pool_iterator_free(iterators[t]);
    end_scene(pool);
}
END_TEST

/* ---- The ends of a pool ---------------------------------------------------------------------- */

/* Every way to give a pool work. */
static void expect_all_refused(struct pool *pool, enum error_code code)
{
    long x = 1, y = UNTOUCHED;
    struct pool_array array = {.data = &x, .size = sizeof x, .count = 1};
    const struct pool_column column = {.data = &x, .size = sizeof x};
    const struct pool_results into = {.data = &y, .size = sizeof y};
    expect_failure(pool_map(pool, square, &x, 8, &y, 8, 1, 1, &error), &error, code, "");
    expect_failure(pool_starmap(pool, square, &column, 1, &into, 1, 1, &error), &error, code, "");
    expect_failure(pool_apply(pool, square, &x, 8, &y, 8, &error), &error, code, "");
    expect_refused(pool_map_async(pool, square, &x, 8, &y, 8, 1, 1, NULL, &error), code, "");
    expect_refused(pool_starmap_async(pool, square, &column, 1, &into, 1, 1, NULL, &error), code,
                   "");
    expect_refused(pool_apply_async(pool, square, &x, 8, &y, 8, NULL, &error), code, "");
    ck_assert_ptr_null(pool_imap(pool, square, pool_from_array, &array, 8, 8, 1, 0, &error));
    ck_assert_int_eq(error.code, code);
    ck_assert_ptr_null(
        pool_imap_unordered(pool, square, pool_from_array, &array, 8, 8, 1, 0, &error));
    ck_assert_int_eq(error.code, code);
    ck_assert_int_eq(y, UNTOUCHED);
}

START_TEST(closed_pool_does_what_it_has_accepted)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    expect_failure(pool_join(pool, -1, &error), &error, ERROR_INVALID, "close");
    expect_failure(pool_join(pool, 0, &error), &error, ERROR_INVALID, "close");
    struct pool_result *result = start(pool, PARTS, 2);
    await_run(scene, 0);
    pool_close(pool);
    pool_close(pool);
    expect_all_refused(pool, ERROR_CLOSED);
    expect_failure(pool_join(pool, 0, &error), &error, ERROR_TIMEOUT, "");
    const double begin = seconds();
    expect_failure(pool_join(pool, 0.02, &error), &error, ERROR_TIMEOUT, "");
    ck_assert(seconds() - begin >= 0.02);
    open_scene(scene);
    ck_assert_msg(pool_join(pool, -1, &error) == 0, "%s", error.message);
    expect_no_process(false);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0); /* again */
    expect_done(result);                              /* asked for only now */
    check_squares(results, PARTS);
    expect_all_refused(pool, ERROR_CLOSED);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0); /* an end is no death */
    ck_assert_str_eq(pool_statistics(pool).last_death, "");
    pool_result_free(result);
    pool_terminate(pool);
    end_scene(pool);
}
END_TEST

/* A worker dies after close: what was accepted is done all the same. */
START_TEST(closed_pool_heals)
{
    struct pool_options options = situation(_i);
    options.retries = 1;
    struct pool *pool = create_with(options);
    begin_scene(PARTS, WAIT);
    struct pool_result *result = start(pool, PARTS, 2);
    await_entered(scene, options.workers);
    pool_close(pool);
    pid_t pids[MAX_WORKERS];
    pool_pids(pool, pids);
    for (int i = 0; i < options.workers; i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
    open_scene(scene);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    expect_done(result);
    check_squares(results, PARTS);
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

/* It comes to its end, however slowly it is asked: what it has not taken yet is work that was
 * accepted. Who would have to ask is not kept waiting. */
START_TEST(iterator_of_a_closed_pool)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, SQUARE);
    struct tape tape = tape_of(pool, 50, 1, 2);
    struct pool_iterator *iterator = iterate(pool, true, &tape, 2);
    long result;
    size_t index;
    pool_close(pool);
    expect_failure(pool_join(pool, -1, &error), &error, ERROR_INVALID, "iterator");
    for (size_t i = 0; i < 50; i++) {
        if (i < 5)
            pause_ms(2); /* all that was taken is done, and nothing else is under way */
        ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 1);
        ck_assert_uint_eq(index, i);
        ck_assert_int_eq(result, (long)(i * i));
    }
    ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 0);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    pool_iterator_free(iterator);
    end_scene(pool);
}
END_TEST

START_TEST(freed_iterator_of_a_closed_pool)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, SQUARE);
    struct tape tape = tape_of(pool, 50, 1, 2);
    struct pool_iterator *iterator = iterate(pool, true, &tape, 2);
    pool_close(pool);
    expect_failure(pool_join(pool, 0, &error), &error, ERROR_INVALID, "iterator");
    pool_iterator_free(iterator);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    end_scene(pool);
}
END_TEST

START_TEST(terminate_ends_tasks_that_never_end)
{
    struct calls calls = {0};
    const struct pool_callbacks callbacks = noting(&calls);
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, STAY);
    orders[0].act = SQUARE;
    struct pool_result *result = start_with(pool, PARTS, 1, &callbacks);
    struct pool_result *one = start_one(pool, 7, NULL);
    await_entered(scene, 1 + pool_workers(pool));
    pool_terminate(pool);
    pool_terminate(pool);
    pool_close(pool);
    expect_error(result, ERROR_CLOSED, ANY_TASK);
    expect_error(one, ERROR_CLOSED, ANY_TASK);
    for (size_t i = 1; i < PARTS; i++)
        expect_states(result, i, i + 1, POOL_TASK_CANCELLED);
    await_calls(&calls, 0, 1);
    ck_assert_int_eq(calls.error.code, ERROR_CLOSED);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    expect_no_process(false);
    expect_all_refused(pool, ERROR_CLOSED);
    ck_assert_uint_eq(pool_result_cancel(result), 0);
    pool_result_free(one);
    end_scene(pool);
    expect_error(result, ERROR_CLOSED, ANY_TASK);
    pool_result_free(result);
    ck_assert_int_eq(atomic_load(&calls.failed), 1);
    ck_assert_int_eq(atomic_load(&calls.done), 0);
}
END_TEST

/* Handles and iterators outlive the pool. What was ready stays so, whether or not anybody had
 * asked; what was not is closed. */
START_TEST(destroy_with_results_pending)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, STAY);
    orders[0].act = orders[1].act = SQUARE;
    long result;
    size_t index;
    struct pool_result *asked = start_one(pool, 0, NULL), *ready = start_one(pool, 1, NULL);
    expect_done(asked);
    while (!pool_result_ready(ready))
        pause_ms(1);
    struct tape tape = tape_of(pool, 50, 2, 0);
    struct pool_iterator *iterator = iterate(pool, true, &tape, 0);
    struct pool_result *pending = start_one(pool, 30, NULL);
    struct pool_result *many = start(pool, SCENE_PARTS, 1);
    await_entered(scene, 2 + pool_workers(pool));
    pool_destroy(pool);
    expect_no_process(false);
    expect_done(asked);
    expect_done(ready);
    expect_state(ready, 0, POOL_TASK_DONE);
    ck_assert_int_eq(results[1], 1);
    expect_error(pending, ERROR_CLOSED, ANY_TASK);
    expect_error(many, ERROR_CLOSED, ANY_TASK);
    expect_state(many, SCENE_PARTS - 1, POOL_TASK_CANCELLED);
    int status;
    while ((status = next(iterator, &tape, &result, &index, -1)) == 1)
        ck_assert_uint_lt(index, 2); /* those that do not stay */
    ck_assert_int_eq(status, -1);
    while (status == -1 && index != SIZE_MAX) /* answers for what was taken are possible */
        status = next(iterator, &tape, &result, &index, -1);
    ck_assert_int_eq(error.code, ERROR_CLOSED);
    ck_assert_uint_eq(index, SIZE_MAX);
    ck_assert_int_eq(next(iterator, &tape, &result, &index, -1), 0); /* said once */
    ck_assert_uint_eq(pool_result_cancel(pending), 0);
    pool_iterator_free(iterator);
    pool_result_free(asked);
    pool_result_free(ready);
    pool_result_free(pending);
    pool_result_free(many);
    shared_memory_free(scene);
}
END_TEST

/* A thread that waits: in a map, or for a result. */
struct waiter {
    pthread_t thread;
    struct pool *pool;
    struct pool_result *result; /* NULL: map */
    struct error error;
    int status;
};

static void *wait_in_thread(void *argument)
{
    struct waiter *waiter = argument;
    if (waiter->result)
        waiter->status = pool_result_get(waiter->result, -1, &waiter->error);
    else
        waiter->status = pool_map(waiter->pool, play, orders, sizeof *orders, results,
                                  sizeof *results, PARTS, 1, &waiter->error);
    return NULL;
}

static void expect_waiters_to_hear(struct pool *pool, void (*end)(struct pool *),
                                   enum error_code code)
{
    begin_scene(PARTS, STAY);
    struct waiter waiters[2] = {{.pool = pool}, {.pool = pool, .result = start(pool, PARTS, 1)}};
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&waiters[i].thread, NULL, wait_in_thread, &waiters[i]), 0);
    await_entered(scene, pool_workers(pool));
    pause_ms(20); /* likely they wait by now; if not, they hear it just the same */
    end(pool);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(waiters[i].thread, NULL), 0);
        expect_failure(waiters[i].status, &waiters[i].error, code, "");
    }
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    pool_result_free(waiters[1].result);
    end_scene(pool);
}

START_TEST(threads_that_wait_hear_of_the_end)
{
    expect_waiters_to_hear(create_with(situation(_i)), pool_terminate, ERROR_CLOSED);
    expect_waiters_to_hear(create_with(situation(_i)), pool_interrupt, ERROR_INTERRUPTED);
}
END_TEST

static void *open_scene_soon(void *unused)
{
    pause_ms(20);
    open_scene(scene);
    return unused;
}

/* join waits in one thread for what another lets happen. */
START_TEST(join_waits_for_the_work)
{
    pthread_t thread;
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    struct pool_result *result = start(pool, PARTS, 0);
    pool_close(pool);
    ck_assert_int_eq(pthread_create(&thread, NULL, open_scene_soon, NULL), 0);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    ck_assert_int_eq(atomic_load(&scene->finished), PARTS);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    expect_done(result);
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

START_TEST(helper_killed_while_results_are_pending)
{
    struct calls calls = {0};
    const struct pool_callbacks callbacks = noting(&calls);
    struct pool *pool = create_with(situation(_i));
    begin_scene(SCENE_PARTS, STAY);
    const pid_t of_pool = helper_of(pool);
    helper_is_gone = of_pool == helper;
    struct pool_result *result = start_with(pool, PARTS, 1, &callbacks);
    struct tape tape = tape_of(pool, 50, 2, 0);
    struct pool_iterator *iterator = iterate(pool, true, &tape, 0);
    await_entered(scene, pool_workers(pool));
    ck_assert_int_eq(kill(of_pool, SIGKILL), 0);
    expect_failure(pool_result_get(result, -1, &error), &error, ERROR_BROKEN, "helper");
    await_calls(&calls, 0, 1);
    ck_assert_int_eq(calls.error.code, ERROR_BROKEN);
    long value;
    size_t index = 0;
    while (next(iterator, &tape, &value, &index, -1) == -1 && index != SIZE_MAX)
        ;
    ck_assert_uint_eq(index, SIZE_MAX);
    ck_assert_int_eq(error.code, ERROR_BROKEN);
    expect_all_refused(pool, ERROR_BROKEN);
    pool_iterator_free(iterator);
    pool_result_free(result);
    end_scene(pool);
    before.descriptors -= helper_is_gone;
}
END_TEST

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */

static struct pool *_Atomic interrupted_pool;
static atomic_int interrupts;

static void on_interrupt(int number)
{
    (void)number;
    atomic_fetch_add(&interrupts, 1);
    pool_interrupt(atomic_load(&interrupted_pool));
}

static struct pool *create_interruptible(int i)
{
    const struct sigaction action = {.sa_handler = on_interrupt};
    struct pool *pool = create_with(situation(i));
    atomic_store(&interrupted_pool, pool);
    ck_assert_int_eq(sigaction(SIGINT, &action, NULL), 0);
    return pool;
}

static void expect_interrupted(struct pool *pool)
{
    long x = 1, y;
    ck_assert_int_eq(pool_map(pool, square, &x, 8, &y, 8, 1, 1, &error), -1);
    ck_assert_msg(error.code == ERROR_INTERRUPTED || error.code == ERROR_CLOSED, "%s",
                  error.message);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    expect_no_process(false);
}

START_TEST(interrupt_during_a_map)
{
    struct pool *pool = create_interruptible(_i);
    begin_scene(PARTS, STAY);
    orders[0].act = INTERRUPT;
    expect_failure(pool_map(pool, play, orders, sizeof *orders, results, 8, PARTS, 1, &error),
                   &error, ERROR_INTERRUPTED, "interrupt");
    ck_assert_int_eq(atomic_load(&interrupts), 1);
    expect_interrupted(pool);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    end_scene(pool);
}
END_TEST

START_TEST(interrupt_twice)
{
    struct pool *pool = create_interruptible(_i);
    begin_scene(PARTS, STAY);
    struct pool_result *result = start(pool, PARTS, 1);
    struct tape tape = tape_of(pool, SIZE_MAX, 1, 0);
    struct pool_iterator *iterator = iterate(pool, true, &tape, 0);
    await_entered(scene, pool_workers(pool));
    ck_assert_int_eq(raise(SIGINT), 0);
    ck_assert_int_eq(raise(SIGINT), 0);
    expect_failure(pool_result_get(result, -1, &error), &error, ERROR_INTERRUPTED, "");
    ck_assert_int_eq(raise(SIGINT), 0);
    long value;
    size_t index = 0;
    while (next(iterator, &tape, &value, &index, -1) == -1 && index != SIZE_MAX)
        ;
    ck_assert_uint_eq(index, SIZE_MAX);
    ck_assert_int_eq(error.code, ERROR_INTERRUPTED);
    expect_interrupted(pool);
    ck_assert_int_eq(atomic_load(&interrupts), 3);
    pool_iterator_free(iterator);
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

/* As a program does that ends now. */
START_TEST(interrupt_and_destroy)
{
    for (int round = 0; round < 5; round++) {
        struct pool *pool = create_interruptible(_i);
        begin_scene(PARTS, STAY);
        orders[0].act = INTERRUPT;
        ck_assert_int_eq(pool_map(pool, play, orders, sizeof *orders, results, 8, PARTS, 1, &error),
                         -1);
        ck_assert_int_eq(error.code, ERROR_INTERRUPTED);
        end_scene(pool);
        expect_no_process(false);
    }
    struct pool *other = create_with(situation(_i)); /* others are not concerned */
    map_squares(other, 100, 1);
    pool_destroy(other);
}
END_TEST

/* ---- maxtasksperchild ------------------------------------------------------------------------ */

static size_t count_distinct(const long *values, size_t n)
{
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++) {
        bool before_it = false;
        for (size_t j = 0; j < i; j++)
            before_it = before_it || values[j] == values[i];
        distinct += !before_it;
    }
    return distinct;
}

static size_t count_equal(const long *values, size_t n, long value)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += values[i] == value;
    return count;
}

static void await_retired(struct pool *pool, uint64_t retired)
{
    while (pool_statistics(pool).retired < retired)
        pause_ms(1);
}

/* 60 tasks in chunks of 2, and nobody does more than 3 chunks. */
START_TEST(workers_retire_after_so_many_chunks)
{
    enum { TASKS = 60, CHUNKS = TASKS / 2, MOST = 3 };
    struct pool_options options = situation(_i);
    options.maxtasksperchild = MOST;
    struct pool *pool = create_with(options);
    begin_scene(TASKS, PID);
    expect_failure(pool_join(pool, 0, &error), &error, ERROR_INVALID, "");
    struct pool_result *result = start(pool, TASKS, 2);
    expect_done(result);
    pool_result_free(result);
    size_t full = 0; /* workers that have done all they may */
    for (size_t i = 0; i < TASKS; i++) {
        ck_assert_int_eq(results[i], atomic_load(&scene->pids[i]));
        const size_t done = count_equal(results, TASKS, results[i]);
        ck_assert_uint_le(done, 2UL * MOST);
        full += done == 2UL * MOST && count_equal(results, i, results[i]) == 0;
    }
    ck_assert_uint_ge(count_distinct(results, TASKS), CHUNKS / MOST);
    ck_assert_uint_ge(full, (CHUNKS - (MOST - 1) * (size_t)options.workers) / MOST);
    await_retired(pool, full);
    expect_runs(0, TASKS, 1);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.retired, full);
    ck_assert_uint_eq(statistics.restarts + statistics.chunks_lost + statistics.chunks_retried, 0);
    ck_assert_str_eq(statistics.last_death, "");
    ck_assert_uint_eq(statistics.tasks, TASKS);
    end_scene(pool);
}
END_TEST

/* One chunk each: of a map, of an iterator, of applies, and with deaths in between. */
START_TEST(a_fresh_worker_for_each_chunk)
{
    struct pool_options options = situation(_i);
    options.maxtasksperchild = 1;
    options.retries = 1;
    struct pool *pool = create_with(options);
    begin_scene(SCENE_PARTS, PID);
    for (size_t i = 0; i < 10; i++) {
        struct pool_result *one = start_one(pool, i, NULL);
        expect_done(one);
        pool_result_free(one);
    }
    ck_assert_uint_eq(count_distinct(results, 10), 10);
    prepare(scene, orders, results, SCENE_PARTS, SQUARE);
    map_squares(pool, 30, 3);
    expect_all_squares(pool, true, 20, 2, 0);
    await_retired(pool, 10 + 10 + 10);
    memset(scene->runs, 0, sizeof scene->runs);
    orders[5].act = orders[16].act = DIE_ONCE;
    struct pool_result *result = start(pool, 20, 2);
    expect_done(result);
    check_squares(results, 20);
    pool_result_free(result);
    await_retired(pool, 10 + 10 + 10 + 10);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.retired, 40);
    ck_assert_uint_eq(statistics.restarts, 2);
    ck_assert_uint_eq(statistics.chunks_retried, 2);
    end_scene(pool);
}
END_TEST

/* ---- Time limits ----------------------------------------------------------------------------- */

START_TEST(soft_limit_ends_system_calls_and_loops)
{
    static const enum act acts[] = {HEED, HEED_READ, SPIN};
    struct pool_options options = situation(_i);
    options.soft_time_limit = 0.1;
    struct pool *pool = create_with(options);
    begin_scene(9, SQUARE);
    int interrupted[2] = {0};
    /* The signal may come in the moment before a system call, which then is not interrupted. */
    for (int round = 0; round < 10 && (interrupted[0] == 0 || interrupted[1] == 0); round++) {
        prepare(scene, orders, results, 9, SQUARE);
        for (size_t i = 0; i < 9; i += 2) /* heeding tasks and quick ones in a chunk */
            orders[i].act = acts[(i / 2) % 3];
        const double begin = seconds();
        struct pool_result *result = start(pool, 9, 3);
        expect_done(result);
        pool_result_free(result);
        ck_assert(seconds() - begin >= 0.1);
        for (size_t i = 0; i < 9; i++) {
            if (i % 2 == 1) {
                ck_assert_int_eq(results[i], (long)(i * i));
                continue;
            }
            ck_assert_int_eq(results[i] & 1, 1);
            if (orders[i].act != SPIN)
                interrupted[orders[i].act == HEED_READ] += results[i] == 3;
        }
    }
    ck_assert_int_gt(interrupted[0], 0);
    ck_assert_int_gt(interrupted[1], 0);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.timeouts + statistics.restarts, 0);
    end_scene(pool);
}
END_TEST

/* Is the limit exceeded where there is none, or it is far away? */
static int overdue(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    pause_ms(20);
    *(long *)result = pool_task_overdue(task);
    return 0;
}
POOL_TASK(overdue);

START_TEST(without_a_soft_limit_nothing_is_overdue)
{
    for (int hard = 0; hard < 2; hard++) {
        struct pool_options options = situation(_i);
        options.hard_time_limit = hard ? 1000 : 0;
        struct pool *pool = create_with(options);
        ck_assert_int_eq(pool_map(pool, overdue, NULL, 0, results, 8, 8, 2, &error), 0);
        for (int i = 0; i < 8; i++)
            ck_assert_int_eq(results[i], 0);
        pool_destroy(pool);
    }
}
END_TEST

START_TEST(hard_limit_kills)
{
    struct calls calls = {0};
    const struct pool_callbacks callbacks = noting(&calls);
    struct pool_options options = situation(_i);
    options.hard_time_limit = 1;
    options.retries = 3; /* which do not help: it would be too long again */
    struct pool *pool = create_with(options);
    begin_scene(PARTS, SQUARE);
    orders[41].act = STAY;
    const double begin = seconds();
    struct pool_result *result = start_with(pool, PARTS, 4, &callbacks);
    expect_error(result, ERROR_TIMEOUT, 41);
    ck_assert(seconds() - begin >= 1);
    ck_assert_int_eq(error.worker, atomic_load(&scene->pids[41]));
    ck_assert_msg(strstr(error.message, "41") != NULL, "%s", error.message);
    expect_death(error.worker);
    await_calls(&calls, 0, 1);
    ck_assert_int_eq(calls.error.code, ERROR_TIMEOUT);
    expect_states(result, 0, 41, POOL_TASK_DONE);
    expect_states(result, 41, 42, POOL_TASK_TIMED_OUT);
    expect_states(result, 42, 44, POOL_TASK_NOT_RUN);
    expect_states(result, 44, PARTS, POOL_TASK_DONE);
    expect_runs(0, 42, 1);
    expect_runs(42, 44, 0);
    expect_runs(44, PARTS, 1);
    pool_result_free(result);
    map_squares(pool, 100, 1);
    struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.timeouts, 1);
    ck_assert_uint_eq(statistics.chunks_retried, 0);
    ck_assert_uint_eq(statistics.tasks, PARTS - 3 + 100);
    end_scene(pool);
}
END_TEST

/* What takes seconds is done for each start method with two workers. */
static struct pool_options with_two_workers(int method)
{
    return situation(3 + method);
}

/* A map with every outcome that there is. */
START_TEST(every_task_state)
{
    struct pool_options options = with_two_workers(_i);
    options.hard_time_limit = 1;
    struct pool *pool = create_with(options);
    const size_t workers = (size_t)pool_workers(pool);
    begin_scene(PARTS, SQUARE);
    orders[2].act = FAIL;
    orders[7].act = DIE;
    orders[11].act = STAY;
    struct pool_result *result = start(pool, 15, 5);
    expect_error(result, ERROR_TASK, 2);
    expect_states(result, 0, 2, POOL_TASK_DONE);
    expect_state(result, 2, POOL_TASK_FAILED);
    expect_states(result, 3, 5, POOL_TASK_NOT_RUN);
    expect_states(result, 5, 7, POOL_TASK_DONE);
    expect_states(result, 7, 8, POOL_TASK_LOST);
    expect_states(result, 8, 10, POOL_TASK_NOT_RUN);
    expect_states(result, 10, 11, POOL_TASK_DONE);
    expect_states(result, 11, 12, POOL_TASK_TIMED_OUT);
    expect_states(result, 12, 15, POOL_TASK_NOT_RUN);
    pool_result_free(result);

    struct pool_result *handles[MAX_WORKERS + 1]; /* all are busy until they are killed */
    prepare(scene, orders, results, PARTS, STAY);
    memset(scene->runs, 0, sizeof scene->runs);
    for (size_t i = 0; i < workers; i++)
        handles[i] = start_one(pool, i, NULL);
    for (size_t i = 0; i < workers; i++)
        await_run(scene, (long)i);
    handles[workers] = start_one(pool, workers, NULL);
    ck_assert_uint_eq(pool_result_cancel(handles[workers]), 1);
    for (size_t i = 0; i <= workers; i++) {
        expect_error(handles[i], i < workers ? ERROR_TIMEOUT : ERROR_CANCELLED, 0);
        expect_state(handles[i], 0, i < workers ? POOL_TASK_TIMED_OUT : POOL_TASK_CANCELLED);
        pool_result_free(handles[i]);
    }
    ck_assert_uint_eq(pool_statistics(pool).timeouts, 1 + workers);
    ck_assert_uint_eq(pool_statistics(pool).cancelled, 1);
    end_scene(pool);
}
END_TEST

static int sleep_half_a_second(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    const double begin = seconds();
    while (seconds() < begin + 0.5)
        pause_ms(1);
    *(long *)result = pool_task_overdue(task);
    return 0;
}
POOL_TASK(sleep_half_a_second);

/* Together they take longer than the limit of each: in a chunk, and waiting behind one another. */
START_TEST(a_limit_counts_from_the_start_of_the_task)
{
    struct pool *pool = create_with((struct pool_options){
        .workers = 1,
        .start_method = (enum pool_start_method)_i,
        .soft_time_limit = 1.7,
        .hard_time_limit = 1.8,
    });
    const double begin = seconds();
    struct pool_result *chunk =
        pool_map_async(pool, sleep_half_a_second, NULL, 0, results, 8, 3, 3, NULL, &error);
    ck_assert_ptr_nonnull(chunk);
    struct pool_result *behind =
        pool_apply_async(pool, sleep_half_a_second, NULL, 0, &results[3], 8, NULL, &error);
    ck_assert_ptr_nonnull(behind);
    expect_done(behind);
    ck_assert(seconds() - begin >= 2);
    expect_done(chunk);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(results[i], 0); /* nor was one overdue */
    pool_result_free(chunk);
    pool_result_free(behind);
    pool_destroy(pool);
}
END_TEST

START_TEST(stopped_worker_is_killed_by_its_hard_limit)
{
    struct pool_options options = with_two_workers(_i);
    options.hard_time_limit = 1;
    struct pool *pool = create_with(options);
    begin_scene(1, STAY);
    struct pool_result *result = start_one(pool, 0, NULL);
    await_run(scene, 0);
    const pid_t stopped = atomic_load(&scene->pids[0]);
    kill(stopped, SIGSTOP); /* unless it is dead already */
    expect_error(result, ERROR_TIMEOUT, 0);
    ck_assert_int_eq(error.worker, stopped);
    expect_death(stopped);
    pool_result_free(result);
    map_squares(pool, 100, 1);
    ck_assert_uint_eq(pool_statistics(pool).timeouts, 1);
    end_scene(pool);
}
END_TEST

START_TEST(soft_limit_first_then_hard)
{
    struct pool_options options = with_two_workers(_i);
    options.soft_time_limit = 0.2;
    options.hard_time_limit = 1.2;
    struct pool *pool = create_with(options);
    begin_scene(2, STUBBORN);
    orders[1].act = SPIN; /* heeds the first and never meets the second */
    struct pool_result *result = start(pool, 2, 1);
    expect_error(result, ERROR_TIMEOUT, 0);
    expect_state(result, 0, POOL_TASK_TIMED_OUT);
    expect_state(result, 1, POOL_TASK_DONE);
    ck_assert_int_eq(results[1], 1);
    ck_assert_int_ge(atomic_load(&scene->signals), 1);
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

/* An iterator's element that is too long is answered as such, and the next ones come. */
START_TEST(imap_with_a_hard_limit)
{
    struct pool_options options = with_two_workers(_i);
    options.hard_time_limit = 1;
    struct pool *pool = create_with(options);
    begin_scene(SCENE_PARTS, SQUARE);
    orders[4].act = STAY;
    struct tape tape = tape_of(pool, 12, 3, 0);
    struct pool_iterator *iterator = iterate(pool, true, &tape, 0);
    for (size_t i = 0; i < 12; i++) {
        long result;
        size_t index;
        const int status = next(iterator, &tape, &result, &index, -1);
        ck_assert_uint_eq(index, i);
        if (i == 4 || i == 5) {
            expect_failure(status, &error, i == 4 ? ERROR_TIMEOUT : ERROR_NOT_RUN, "");
            ck_assert_uint_eq(error.task, i);
        } else {
            ck_assert_int_eq(status, 1);
            ck_assert_int_eq(result, (long)(i * i));
        }
    }
    pool_iterator_free(iterator);
    end_scene(pool);
}
END_TEST

/* ---- Deaths ---------------------------------------------------------------------------------- */

START_TEST(lost_chunk_task_by_task)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, SQUARE);
    for (size_t i = 0; i < PARTS; i += 10)
        orders[i + i / 10].act = DIE; /* in each chunk another one: 0, 11, 22 ... 99 */
    struct pool_result *result = start(pool, PARTS, 10);
    expect_error(result, ERROR_WORKER_LOST, 0);
    for (size_t chunk = 0; chunk < PARTS; chunk += 10) {
        const size_t dead = chunk + chunk / 10;
        expect_states(result, chunk, dead, POOL_TASK_DONE);
        expect_states(result, dead, dead + 1, POOL_TASK_LOST);
        expect_states(result, dead + 1, chunk + 10, POOL_TASK_NOT_RUN);
        expect_runs(chunk, dead + 1, 1);
        expect_runs(dead + 1, chunk + 10, 0);
    }
    pool_result_free(result);
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, 10);
    ck_assert_uint_eq(pool_statistics(pool).tasks, 45);
    end_scene(pool);
}
END_TEST

START_TEST(a_retry_resumes_at_the_task_that_was_running)
{
    struct pool_options options = situation(_i);
    options.retries = 3;
    struct pool *pool = create_with(options);
    begin_scene(PARTS, SQUARE);
    orders[14].act = orders[17].act = orders[19].act = DIE_ONCE; /* one chunk, three deaths */
    orders[50].act = DIE_ONCE;
    struct pool_result *result = start(pool, PARTS, 10);
    expect_done(result);
    expect_states(result, 0, PARTS, POOL_TASK_DONE);
    for (size_t i = 0; i < PARTS; i++)
        expect_runs(i, i + 1, orders[i].act == DIE_ONCE ? 2 : 1);
    pool_result_free(result);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.chunks_retried, 4);
    ck_assert_uint_eq(statistics.chunks_lost, 0);
    ck_assert_uint_eq(statistics.tasks, PARTS);
    ck_assert_uint_eq(statistics.chunks, PARTS / 10);
    end_scene(pool);
}
END_TEST

/* The chunk of task 10 to 19 has more deaths than retries: what was done before the last of them
 * stays done. */
START_TEST(exhausted_retries_keep_what_was_done)
{
    struct pool_options options = situation(_i);
    options.retries = 1;
    struct pool *pool = create_with(options);
    begin_scene(PARTS, SQUARE);
    orders[12].act = orders[15].act = DIE_ONCE;
    struct pool_result *result = start(pool, PARTS, 10);
    expect_error(result, ERROR_WORKER_LOST, 15);
    ck_assert_int_eq(error.worker, atomic_load(&scene->pids[15]));
    expect_states(result, 0, 15, POOL_TASK_DONE);
    expect_states(result, 15, 16, POOL_TASK_LOST);
    expect_states(result, 16, 20, POOL_TASK_NOT_RUN);
    expect_states(result, 20, PARTS, POOL_TASK_DONE);
    pool_result_free(result);
    ck_assert_uint_eq(pool_statistics(pool).chunks_retried, 1);
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, 1);
    end_scene(pool);
}
END_TEST

/* Killed from outside, at any moment between and in tasks: states, runs and results agree. */
START_TEST(killed_at_any_moment)
{
    struct pool *pool = create_with(situation(_i));
    pid_t pids[MAX_WORKERS];
    begin_scene(SCENE_PARTS, SQUARE);
    uint64_t lost_chunks = 0;
    for (int round = 0; round < 20; round++) {
        prepare(scene, orders, results, SCENE_PARTS, SQUARE);
        memset(scene->runs, 0, sizeof scene->runs);
        const long entered = atomic_load(&scene->entered);
        settled_pids(pool, NULL, pids);
        struct pool_result *result = start(pool, SCENE_PARTS, 64);
        while (atomic_load(&scene->entered) < entered + 40L * round)
            ;
        ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
        ck_assert_int_eq(pool_result_wait(result, -1, &error), 0);
        size_t lost = 0, not_run = 0;
        for (size_t i = 0; i < SCENE_PARTS; i++) {
            const enum pool_task_state state = pool_result_task_state(result, i);
            ck_assert_int_eq(results[i], state == POOL_TASK_DONE ? (long)(i * i) : UNTOUCHED);
            const long runs = atomic_load(&scene->runs[i]);
            if (state == POOL_TASK_DONE)
                ck_assert_int_eq(runs, 1);
            else if (state == POOL_TASK_NOT_RUN)
                ck_assert_int_eq(runs, 0);
            else
                ck_assert_int_eq(state, POOL_TASK_LOST);
            lost += state == POOL_TASK_LOST;
            not_run += state == POOL_TASK_NOT_RUN;
        }
        ck_assert_uint_le(lost, 1);
        ck_assert_uint_le(not_run, 63 * lost);
        ck_assert_int_eq(pool_result_successful(result, NULL), lost == 0);
        lost_chunks += lost;
        pool_result_free(result);
        pid_t again[MAX_WORKERS];
        do { /* until the death has been heard of, even if it came last */
            settled_pids(pool, NULL, again);
        } while (again[0] == pids[0]);
    }
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, lost_chunks);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 20);
    end_scene(pool);
}
END_TEST

/* ---- Many at once ---------------------------------------------------------------------------- */

/* Nobody asks for them, so only the next one can find that they are done. */
START_TEST(results_that_nobody_asks_for)
{
    struct pool *pool = create_with(situation(_i));
    for (int round = 0; round < 5; round++) {
        begin_scene(SCENE_PARTS, SQUARE);
        for (size_t i = 0; i < SCENE_PARTS; i++)
            pool_result_free(start_one(pool, i, NULL));
        while (atomic_load(&scene->entered) < SCENE_PARTS)
            pause_ms(1);
        map_squares(pool, 10, 1);
        expect_runs(0, SCENE_PARTS, 1);
    }
    end_scene(pool);
}
END_TEST

START_TEST(thousands_in_flight)
{
    enum { FLIGHT = 2000 };
    struct pool *pool = create_with((struct pool_options){
        .workers = 1 + _i % 2, .start_method = (enum pool_start_method)(_i / 2)});
    struct pool_result **handles = calloc(FLIGHT, sizeof(struct pool_result *));
    ck_assert_ptr_nonnull(handles);
    begin_scene(FLIGHT, WAIT);
    for (size_t i = 0; i < FLIGHT; i++)
        handles[i] = start_one(pool, i, NULL);
    ck_assert_int_le(atomic_load(&scene->entered), pool_workers(pool));
    for (size_t i = 0; i < FLIGHT; i += 100)
        expect_not_ready(handles[i]);
    for (size_t i = 5; i < FLIGHT; i += 10)
        ck_assert_uint_eq(pool_result_cancel(handles[i]), 1);
    open_scene(scene);
    for (size_t i = FLIGHT; i-- > 0;) { /* the last one first */
        if (i % 10 == 5) {
            expect_error(handles[i], ERROR_CANCELLED, 0);
            ck_assert_int_eq(results[i], UNTOUCHED);
        } else {
            expect_done(handles[i]);
            ck_assert_int_eq(results[i], (long)(i * i));
        }
        expect_runs(i, i + 1, i % 10 != 5);
        pool_result_free(handles[i]);
    }
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.cancelled, FLIGHT / 10);
    ck_assert_uint_eq(statistics.tasks, FLIGHT - FLIGHT / 10);
    ck_assert_uint_eq(statistics.chunks, FLIGHT - FLIGHT / 10);
    free(handles);
    end_scene(pool);
}
END_TEST

/* Many maps wait while the first one holds all workers; a death in between concerns its own. */
START_TEST(many_maps_in_flight)
{
    enum { MAPS = 40, EACH = 100 };
    struct pool_options options = situation(_i);
    options.retries = 1;
    struct pool *pool = create_with(options);
    struct pool_result *handles[MAPS];
    begin_scene((size_t)MAPS * EACH, WAIT);
    for (size_t m = 0; m < MAPS; m++) {
        orders[m * EACH + 17].act = m % 4 == 1 ? WAIT_FAIL : WAIT;
        if (m % 4 == 2)
            orders[m * EACH + 23].act = DIE_ONCE;
        handles[m] = pool_map_async(pool, play, orders + m * EACH, sizeof *orders,
                                    results + m * EACH, 8, EACH, 1 + m % 7, NULL, &error);
        ck_assert_msg(handles[m] != NULL, "%s", error.message);
    }
    open_scene(scene);
    for (size_t m = 0; m < MAPS; m++) {
        if (m % 4 == 1)
            expect_error(handles[m], ERROR_TASK, 17);
        else
            expect_done(handles[m]);
        for (size_t i = 0; i < EACH; i++)
            if (pool_result_task_state(handles[m], i) == POOL_TASK_DONE)
                ck_assert_int_eq(results[m * EACH + i], (long)((m * EACH + i) * (m * EACH + i)));
            else
                ck_assert(m % 4 == 1 && i >= 17);
        pool_result_free(handles[m]);
    }
    ck_assert_uint_eq(pool_statistics(pool).chunks_retried, MAPS / 4);
    end_scene(pool);
}
END_TEST

/* One of several threads: maps, applies and iterates, with deaths among its tasks; `first` is its
 * place in the scene. */
struct player {
    pthread_t thread;
    struct pool *pool;
    size_t first;
    uint64_t maps, tasks, chunks;
};

#define ROUNDS 6
#define SHARE  200UL

static void play_a_map(struct player *player)
{
    struct error failure;
    long own[SHARE];
    ck_assert_msg(pool_map(player->pool, play, orders + player->first, sizeof *orders, own,
                           sizeof *own, SHARE, 5, &failure) == 0,
                  "%s", failure.message);
    for (size_t i = 0; i < SHARE; i++)
        ck_assert_int_eq(own[i], (long)((player->first + i) * (player->first + i)));
    player->maps += 1;
    player->tasks += SHARE;
    player->chunks += SHARE / 5;
}

static void play_applies(struct player *player)
{
    enum { APPLIES = 40 };
    struct error failure;
    struct pool_result *handles[APPLIES];
    long own[APPLIES];
    for (size_t i = 0; i < APPLIES; i++)
        handles[i] = pool_apply_async(player->pool, play, &orders[player->first + i],
                                      sizeof *orders, &own[i], sizeof *own, NULL, &failure);
    for (size_t i = 0; i < APPLIES; i++) {
        ck_assert_ptr_nonnull(handles[i]);
        ck_assert_msg(pool_result_get(handles[i], -1, &failure) == 0, "%s", failure.message);
        ck_assert_int_eq(own[i], (long)((player->first + i) * (player->first + i)));
        pool_result_free(handles[i]);
    }
    player->maps += APPLIES;
    player->tasks += APPLIES;
    player->chunks += APPLIES;
}

static void play_an_iteration(struct player *player)
{
    struct error failure;
    unsigned char seen[SHARE] = {0};
    struct pool_array array = {
        .data = orders + player->first, .size = sizeof *orders, .count = SHARE};
    struct pool_iterator *iterator = pool_imap_unordered(
        player->pool, play, pool_from_array, &array, sizeof *orders, sizeof(long), 4, 0, &failure);
    ck_assert_msg(iterator != NULL, "%s", failure.message);
    for (size_t i = 0; i < SHARE; i++) {
        size_t index;
        long value;
        ck_assert_msg(pool_iterator_next(iterator, &value, &index, -1, &failure) == 1, "%s",
                      failure.message);
        ck_assert_int_eq(seen[index]++, 0);
        ck_assert_int_eq(value, (long)((player->first + index) * (player->first + index)));
    }
    pool_iterator_free(iterator);
    player->maps += SHARE / 4;
    player->tasks += SHARE;
    player->chunks += SHARE / 4;
}

static void *play_rounds(void *argument)
{
    struct player *player = argument;
    for (int round = 0; round < ROUNDS; round++) {
        play_a_map(player);
        play_applies(player);
        play_an_iteration(player);
    }
    return NULL;
}

#define PLAYERS 4

static void start_players(struct player *players, struct pool *const *pools)
{
    for (size_t p = 0; p < PLAYERS; p++) {
        players[p] = (struct player){.pool = pools[p], .first = p * SHARE};
        orders[p * SHARE + 11].act = orders[p * SHARE + 99].act = DIE_ONCE;
    }
    for (size_t p = 0; p < PLAYERS; p++)
        ck_assert_int_eq(pthread_create(&players[p].thread, NULL, play_rounds, &players[p]), 0);
}

START_TEST(several_threads_use_one_pool)
{
    struct player players[PLAYERS];
    struct pool_options options = situation(_i);
    options.retries = 3;
    struct pool *pool = create_with(options);
    begin_scene(SCENE_PARTS, SQUARE);
    start_players(players, (struct pool *[PLAYERS]){pool, pool, pool, pool});
    uint64_t maps = 0, tasks = 0, chunks = 0;
    for (int p = 0; p < PLAYERS; p++) {
        ck_assert_int_eq(pthread_join(players[p].thread, NULL), 0);
        maps += players[p].maps;
        tasks += players[p].tasks;
        chunks += players[p].chunks;
    }
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.maps, maps);
    ck_assert_uint_eq(statistics.tasks, tasks);
    ck_assert_uint_eq(statistics.chunks, chunks);
    ck_assert_uint_eq(statistics.chunks_retried, 2UL * PLAYERS);
    ck_assert_uint_eq(statistics.restarts, 2UL * PLAYERS);
    ck_assert_uint_eq(statistics.chunks_lost, 0);
    end_scene(pool);
}
END_TEST

START_TEST(several_pools_at_once)
{
    struct player players[PLAYERS];
    struct pool *pools[PLAYERS];
    struct pool_options options = situation(_i);
    options.retries = 3;
    for (int p = 0; p < PLAYERS; p++) {
        options.start_method = (enum pool_start_method)((_i / 3 + p) % 3);
        pools[p] = create_with(options);
    }
    begin_scene(SCENE_PARTS, SQUARE);
    start_players(players, pools);
    for (int p = 0; p < PLAYERS; p++)
        ck_assert_int_eq(pthread_join(players[p].thread, NULL), 0);
    for (int p = 0; p < PLAYERS; p++) {
        const struct pool_statistics statistics = pool_statistics(pools[p]);
        ck_assert_uint_eq(statistics.tasks, players[p].tasks);
        ck_assert_uint_eq(statistics.chunks_retried, 2);
        ck_assert_uint_eq(statistics.restarts, 2);
        pool_destroy(pools[p]);
    }
    shared_memory_free(scene);
}
END_TEST

/* Threads wait for the same result, and one withdraws it. */
START_TEST(several_threads_wait_for_one_result)
{
    struct waiter waiters[4];
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    struct pool_result *result = start(pool, PARTS, 1);
    await_entered(scene, pool_workers(pool));
    for (int i = 0; i < 4; i++) {
        waiters[i] = (struct waiter){.pool = pool, .result = result};
        ck_assert_int_eq(pthread_create(&waiters[i].thread, NULL, wait_in_thread, &waiters[i]), 0);
    }
    ck_assert_uint_eq(pool_result_cancel(result), PARTS - (size_t)pool_workers(pool));
    open_scene(scene);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(waiters[i].thread, NULL), 0);
        expect_failure(waiters[i].status, &waiters[i].error, ERROR_CANCELLED, "");
    }
    pool_result_free(result);
    end_scene(pool);
}
END_TEST

/* ---- Pools within pools ---------------------------------------------------------------------- */

/* What a task with a pool of its own is told. The scene is the program's, and that pool's tasks see
 * it too. */
struct inner_order {
    struct scene *scene;
    enum pool_start_method method;
    int workers, nesting; /* of the pool that it makes */
    bool stay;            /* its tasks do */
};

#define INNER 40

/* Kills all workers of the pool: they are replaced. */
static void replace_all(struct pool *pool)
{
    pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    for (int i = 0; i < pool_workers(pool); i++)
        kill(pids[i], SIGKILL);
    settled_pids(pool, pids, again);
}

/* Makes a pool, plays parts 0 to INNER-1 in it, and returns the sum. Its workers' pids are left in
 * the scene. */
static int use_inner_pool(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct inner_order *inner = arguments[0];
    struct order parts[INNER];
    long values[INNER];
    pid_t pids[MAX_WORKERS];
    struct error why;
    const struct pool_options options = {
        .workers = inner->workers, .start_method = inner->method, .nesting = inner->nesting};
    struct pool *pool = pool_create(&options, &why);
    if (!pool)
        return pool_task_fail(task, "inner pool: code %d: %s", why.code, why.message);
    replace_all(pool);
    pool_pids(pool, pids);
    for (int i = 0; i < inner->workers; i++)
        atomic_store(&inner->scene->nested[i], pids[i]);
    atomic_store(&inner->scene->nested[OUTER], getpid());
    for (long i = 0; i < INNER; i++)
        parts[i] =
            (struct order){.scene = inner->scene, .act = inner->stay ? STAY : SQUARE, .part = i};
    const int status = pool_map(pool, play, parts, sizeof *parts, values, 8, INNER, 3, &why);
    const uint64_t restarts = pool_statistics(pool).restarts;
    pool_destroy(pool);
    if (status != 0)
        return pool_task_fail(task, "inner map: code %d: %s", why.code, why.message);
    if (restarts != (uint64_t)inner->workers)
        return pool_task_fail(task, "%d restarts", (int)restarts);
    *(long *)result = 0;
    for (int i = 0; i < INNER; i++)
        *(long *)result += values[i];
    return 0;
}
POOL_TASK(use_inner_pool);

/* The same one level further down. */
static int use_innermost_pool(const void *const *arguments, void *result, struct pool_task *task)
{
    struct inner_order inner = *(const struct inner_order *)arguments[0];
    struct error why;
    const struct pool_options options = {
        .workers = 1, .start_method = inner.method, .nesting = inner.nesting};
    struct pool *pool = pool_create(&options, &why);
    if (!pool)
        return pool_task_fail(task, "middle pool: code %d: %s", why.code, why.message);
    inner.nesting--;
    const int status =
        pool_apply(pool, use_inner_pool, &inner, sizeof inner, result, sizeof(long), &why);
    pool_destroy(pool);
    return status == 0 ? 0 : pool_task_fail(task, "%s", why.message);
}
POOL_TASK(use_innermost_pool);

static long sum_of_squares(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += i * i;
    return sum;
}

#define NESTINGS (short_of_a_kind() ? 3 : 9)

/* The outer of two methods; the inner one is i % 3. The first three have each of both once. */
static struct pool_options nesting_situation(int i, int nesting)
{
    const int outer = (i + i / 3 + 1) % 3;
    return (struct pool_options){
        .workers = 2, .start_method = (enum pool_start_method)outer, .nesting = nesting};
}

/* All start methods in all start methods. */
START_TEST(worker_with_a_pool_of_its_own)
{
    struct pool *pool = create_with(nesting_situation(_i, 1));
    scene = make_scene();
    struct inner_order all[6];
    for (int i = 0; i < 6; i++)
        all[i] = (struct inner_order){
            .scene = scene, .method = (enum pool_start_method)(_i % 3), .workers = 2};
    ck_assert_msg(pool_map(pool, use_inner_pool, all, sizeof *all, results, 8, 6, 1, &error) == 0,
                  "%s", error.message);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(results[i], sum_of_squares(INNER));
    ck_assert_int_eq(atomic_load(&scene->finished), 6L * INNER);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    end_scene(pool);
}
END_TEST

START_TEST(nesting_has_its_limit)
{
    scene = make_scene();
    struct inner_order inner = {
        .scene = scene, .method = (enum pool_start_method)(_i % 3), .workers = 1};
    char code[16];
    snprintf(code, sizeof code, "code %d:", ERROR_INVALID);

    struct pool *pool = create_with(nesting_situation(_i, 0)); /* no pool at all */
    expect_failure(pool_apply(pool, use_inner_pool, &inner, sizeof inner, results, 8, &error),
                   &error, ERROR_TASK, code);
    pool_destroy(pool);

    pool = create_with(nesting_situation(_i, 1)); /* its pool may have none */
    inner.nesting = 1;
    expect_failure(pool_apply(pool, use_inner_pool, &inner, sizeof inner, results, 8, &error),
                   &error, ERROR_TASK, code);
    inner.nesting = 0;
    expect_failure(pool_apply(pool, use_innermost_pool, &inner, sizeof inner, results, 8, &error),
                   &error, ERROR_TASK, code);
    pool_destroy(pool);

    pool = create_with(nesting_situation(_i, 2));
    inner.nesting = 1;
    ck_assert_msg(pool_apply(pool, use_innermost_pool, &inner, sizeof inner, results, 8, &error) ==
                      0,
                  "%s", error.message);
    ck_assert_int_eq(results[0], sum_of_squares(INNER));
    end_scene(pool);
}
END_TEST

/* Whatever ends the worker ends the processes of its pool. */
static void expect_inner_end(int i, bool by_kill)
{
    struct pool *pool = create_with(nesting_situation(i, 1));
    scene = make_scene();
    const struct inner_order inner = {
        .scene = scene, .method = (enum pool_start_method)(i % 3), .workers = 2, .stay = true};
    struct pool_result *result =
        pool_apply_async(pool, use_inner_pool, &inner, sizeof inner, results, 8, NULL, &error);
    ck_assert_msg(result != NULL, "%s", error.message);
    await_entered(scene, 2);
    const pid_t first = (pid_t)atomic_load(&scene->nested[0]);
    const pid_t second = (pid_t)atomic_load(&scene->nested[1]);
    const pid_t worker = (pid_t)atomic_load(&scene->nested[OUTER]);
    pid_t pids[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    ck_assert(worker == pids[0] || worker == pids[1]);
    if (by_kill) {
        ck_assert_int_eq(kill(worker, SIGKILL), 0);
        expect_error(result, ERROR_WORKER_LOST, 0);
        ck_assert_int_eq(error.worker, worker);
        map_squares(pool, 100, 1);
    } else {
        pool_destroy(pool);
        expect_error(result, ERROR_CLOSED, ANY_TASK);
        pool = NULL;
    }
    expect_death(first);
    expect_death(second);
    pool_result_free(result);
    end_scene(pool);
}

START_TEST(pool_of_a_killed_worker_vanishes)
{
    expect_inner_end(_i, true);
}
END_TEST

START_TEST(pool_of_a_worker_ends_with_the_pool)
{
    expect_inner_end(_i, false);
}
END_TEST

/* ---- The suite ------------------------------------------------------------------------------- */

static void add_results(Suite *suite)
{
    TCase *later = add_case(suite, "results");
    tcase_add_loop_test(later, every_size_and_chunksize_later, 0, SITUATIONS);
    tcase_add_loop_test(later, columns_later, 0, SITUATIONS);
    tcase_add_loop_test(later, apply_waits, 0, SITUATIONS);
    tcase_add_loop_test(later, a_time_out_ends_the_waiting_and_not_the_work, 0, SITUATIONS);
    tcase_add_loop_test(later, any_negative_time_out_waits, 0, SITUATIONS);
    tcase_add_loop_test(later, arguments_are_copied_at_once, 0, SITUATIONS);
    tcase_add_loop_test(later, lowest_error_of_any_kind, 0, SITUATIONS);
    tcase_add_loop_test(later, refused_at_once, 0, 3);
    tcase_add_loop_test(later, cancel_withdraws_what_nobody_has_begun, 0, SITUATIONS);
    tcase_add_loop_test(later, a_lower_error_precedes_cancellation, 0, SITUATIONS);
    tcase_add_loop_test(later, cancel_one_of_many, 0, SITUATIONS);
}

static void add_callbacks(Suite *suite)
{
    TCase *callbacks = add_case(suite, "callbacks");
    tcase_add_loop_test(callbacks, callback_with_results_in_place, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, error_callback_with_the_error_of_get, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, either_callback_may_be_missing, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, each_callback_once, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, empty_map_calls_back_too, 0, 3);
    tcase_add_loop_test(callbacks, callback_that_submits_and_waits, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, callback_that_blocks, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, callback_that_frees_its_own_handle, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, join_is_refused_in_a_callback, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, handle_freed_before_the_work_is_done, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, pool_ends_under_a_waiting_callback, 0, SITUATIONS);
}

static void add_imaps(Suite *suite)
{
    TCase *imaps = add_case(suite, "imap");
    tcase_add_loop_test(imaps, imap_of_every_size, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_keeps_all_workers_busy, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_of_an_endless_source, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_with_a_slow_consumer, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_goes_on_after_an_error, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_is_healed_by_retries, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_of_a_source_that_fails, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_goes_on_after_a_time_out, 0, SITUATIONS);
    tcase_add_loop_test(imaps, unordered_results_overtake, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_of_an_array, 0, SITUATIONS);
    tcase_add_loop_test(imaps, imap_without_results, 0, 3);
    tcase_add_loop_test(imaps, refused_imaps, 0, 3);
    tcase_add_loop_test(imaps, several_iterators_and_a_map_between, 0, SITUATIONS);
}

static void add_ends(Suite *suite)
{
    TCase *ends = add_case(suite, "ends");
    tcase_add_loop_test(ends, closed_pool_does_what_it_has_accepted, 0, SITUATIONS);
    tcase_add_loop_test(ends, closed_pool_heals, 0, SITUATIONS);
    tcase_add_loop_test(ends, iterator_of_a_closed_pool, 0, SITUATIONS);
    tcase_add_loop_test(ends, freed_iterator_of_a_closed_pool, 0, SITUATIONS);
    tcase_add_loop_test(ends, terminate_ends_tasks_that_never_end, 0, SITUATIONS);
    tcase_add_loop_test(ends, destroy_with_results_pending, 0, SITUATIONS);
    tcase_add_loop_test(ends, threads_that_wait_hear_of_the_end, 0, SITUATIONS);
    tcase_add_loop_test(ends, join_waits_for_the_work, 0, SITUATIONS);
    tcase_add_loop_test(ends, helper_killed_while_results_are_pending, 0, SITUATIONS);
    tcase_add_loop_test(ends, interrupt_during_a_map, 0, SITUATIONS);
    tcase_add_loop_test(ends, interrupt_twice, 0, SITUATIONS);
    tcase_add_loop_test(ends, interrupt_and_destroy, 0, SITUATIONS);
    tcase_add_loop_test(ends, workers_retire_after_so_many_chunks, 0, SITUATIONS);
    tcase_add_loop_test(ends, a_fresh_worker_for_each_chunk, 0, SITUATIONS);
}

static void add_limits(Suite *suite)
{
    TCase *limits = add_case(suite, "limits");
    tcase_add_loop_test(limits, soft_limit_ends_system_calls_and_loops, 0, SITUATIONS);
    tcase_add_loop_test(limits, without_a_soft_limit_nothing_is_overdue, 0, 3);
    tcase_add_loop_test(limits, hard_limit_kills, 0, SITUATIONS);
    tcase_add_loop_test(limits, every_task_state, 0, 3);
    tcase_add_loop_test(limits, a_limit_counts_from_the_start_of_the_task, 0, 3);
    tcase_add_loop_test(limits, stopped_worker_is_killed_by_its_hard_limit, 0, 3);
    tcase_add_loop_test(limits, soft_limit_first_then_hard, 0, 3);
    tcase_add_loop_test(limits, imap_with_a_hard_limit, 0, 3);
}

static void add_deaths(Suite *suite)
{
    TCase *deaths = add_case(suite, "deaths");
    tcase_add_loop_test(deaths, lost_chunk_task_by_task, 0, SITUATIONS);
    tcase_add_loop_test(deaths, a_retry_resumes_at_the_task_that_was_running, 0, SITUATIONS);
    tcase_add_loop_test(deaths, exhausted_retries_keep_what_was_done, 0, SITUATIONS);
    tcase_add_loop_test(deaths, killed_at_any_moment, 0, SITUATIONS);
}

static void add_many(Suite *suite)
{
    TCase *many = add_case(suite, "many at once");
    tcase_add_loop_test(many, results_that_nobody_asks_for, 0, SITUATIONS);
    tcase_add_loop_test(many, thousands_in_flight, 0, 6);
    tcase_add_loop_test(many, many_maps_in_flight, 0, SITUATIONS);
    tcase_add_loop_test(many, several_threads_use_one_pool, 0, SITUATIONS);
    tcase_add_loop_test(many, several_pools_at_once, 0, SITUATIONS);
    tcase_add_loop_test(many, several_threads_wait_for_one_result, 0, SITUATIONS);
    tcase_add_loop_test(many, worker_with_a_pool_of_its_own, 0, NESTINGS);
    tcase_add_loop_test(many, nesting_has_its_limit, 0, NESTINGS);
    tcase_add_loop_test(many, pool_of_a_killed_worker_vanishes, 0, NESTINGS);
    tcase_add_loop_test(many, pool_of_a_worker_ends_with_the_pool, 0, NESTINGS);
}

int main(void)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    own_shared_memory_names();
    Suite *suite = suite_create("pool_async");
    add_results(suite);
    add_callbacks(suite);
    add_imaps(suite);
    add_ends(suite);
    add_limits(suite);
    add_deaths(suite);
    add_many(suite);
    return run_suite(suite);
}
