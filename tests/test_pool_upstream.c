/* test_pool_upstream.c - what other pools are tested for and none of our other suites had: cases
 * from the suites of CPython, loky, billiard and celery, in words of our own. upstream_cases.md has
 * the list of all cases, and says which test checks which.
 *
 * As in test_pool_async.c, tasks play scenes, and as in test_parallel.c, what needs a start of its
 * own is a victim. A result that has a callback may be ready before that has been called or only
 * then: nothing here depends on it.
 */
#include "common/parallel/loader.h"
#include "common/parallel/resources.h"
#include "tests/pool_fixture.h"
#include "tests/pool_scene.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;

/* ---- Short forms ----------------------------------------------------------------------------- */

#define PARTS 100

/* Each worker is in the first of its tasks, and waits. */
static struct pool_result *keep_all_busy(struct pool *pool)
{
    struct pool_result *result = start_with(pool, (size_t)pool_workers(pool), 1, NULL);
    await_entered(scene, pool_workers(pool));
    return result;
}

static void expect_done(struct pool_result *result)
{
    ck_assert_msg(pool_result_get(result, -1, &error) == 0, "%s", error.message);
    pool_result_free(result);
}

static void expect_error(struct pool_result *result, enum error_code code, size_t task,
                         const char *part_of_message)
{
    expect_failure(pool_result_get(result, -1, &error), &error, code, part_of_message);
    ck_assert_uint_eq(error.task, task);
    pool_result_free(result);
}

static void close_and_join(struct pool *pool)
{
    pool_close(pool);
    ck_assert_msg(pool_join(pool, -1, &error) == 0, "%s", error.message);
    expect_no_process(false);
}

/* Kills the worker in a place with this signal, and waits for the next one. */
static void replace(struct pool *pool, int place, int signal_number)
{
    pid_t dead[MAX_WORKERS] = {0}, pids[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    dead[place] = pids[place];
    ck_assert_int_eq(kill(dead[place], signal_number), 0);
    settled_pids(pool, dead, pids);
}

/* ---- What callbacks have seen ---------------------------------------------------------------- */

struct calls {
    atomic_int done, failed;
    struct error error; /* the last one */
};

static void note_done(void *of, void *context)
{
    struct calls *calls = context;
    (void)of;
    atomic_fetch_add(&calls->done, 1);
}

static void note_failed(const struct error *of, void *context)
{
    struct calls *calls = context;
    calls->error = *of;
    atomic_fetch_add(&calls->failed, 1);
}

static struct pool_callbacks noting(struct calls *calls)
{
    return (struct pool_callbacks){.done = note_done, .failed = note_failed, .context = calls};
}

static void await_calls(const struct calls *calls, int done, int failed)
{
    while (atomic_load(&calls->done) < done || atomic_load(&calls->failed) < failed)
        pause_ms(1);
}

/* ---- Maps ------------------------------------------------------------------------------------ */

#define BLOCK  ((size_t)64 << 10)
#define BLOCKS ((size_t)32)
#define JOB    (2 * BLOCKS * BLOCK) /* bytes of its arguments and results */

/* Of each block the first long is squared. */
static struct pool_result *start_blocks(struct pool *pool, const char *arguments, char *answers)
{
    struct pool_result *result =
        pool_map_async(pool, square, arguments, BLOCK, answers, BLOCK, BLOCKS, 1, NULL, &error);
    ck_assert_msg(result != NULL, "%s", error.message);
    return result;
}

static void check_blocks(char *answers)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        long *answer = (long *)(void *)(answers + i * BLOCK);
        ck_assert_int_eq(*answer, (long)(i * i));
        *answer = UNTOUCHED;
    }
}

static void allocate_blocks(char **arguments, char **answers)
{
    *arguments = calloc(BLOCKS, BLOCK);
    *answers = calloc(BLOCKS, BLOCK);
    ck_assert(*arguments && *answers);
    for (size_t i = 0; i < BLOCKS; i++)
        *(long *)(void *)(*arguments + i * BLOCK) = (long)i;
}

/* A worker may look at a job for a moment after its end, hence the room for two more. */
START_TEST(what_a_map_has_copied_is_let_go_and_serves_the_next_one)
{
    char *arguments, *answers;
    size_t held = 0;
    struct pool *pool = create_with(situation(_i));
    allocate_blocks(&arguments, &answers);
    for (int i = 0; i < 60; i++) {
        struct pool_result *result = start_blocks(pool, arguments, answers);
        if (i % 3 == 2)
            pool_result_cancel(result);
        ck_assert_int_eq(pool_result_wait(result, -1, &error), 0);
        pool_result_free(result);
        if (i % 3 != 2)
            check_blocks(answers);
        if (i == 1)
            held = arena_bytes();
    }
    ck_assert_uint_gt(held, JOB);
    ck_assert_uint_le(arena_bytes(), held + 2 * JOB);
    pool_destroy(pool);
    free(arguments);
    free(answers);
}
END_TEST

/* Of those that nobody asks for as many may lie on the board as it has places, two for each worker
 * and sixteen; and it does not matter how many there were. */
START_TEST(handles_and_iterators_given_up_at_once_hold_no_more_memory_than_the_board)
{
    enum { MANY = 4 * (2 * MAX_WORKERS + 16) };
    char *arguments, *answers;
    long answer;
    struct pool_options options = situation(_i);
    struct pool *pool = create_with(options);
    allocate_blocks(&arguments, &answers);
    const size_t held = arena_bytes(), places = 2 * (size_t)options.workers + 16;
    for (int i = 0; i < MANY; i++)
        if (i % 2 == 0) {
            pool_result_free(pool_apply_async(pool, square, arguments, BLOCK * BLOCKS / 4, &answer,
                                              sizeof answer, NULL, &error));
        } else {
            struct pool_array array = {.data = arguments, .size = BLOCK, .count = BLOCKS};
            struct pool_iterator *iterator = pool_imap(pool, square, pool_from_array, &array, BLOCK,
                                                       sizeof answer, 4, 2, &error);
            ck_assert_msg(iterator != NULL, "%s", error.message);
            for (long k = 0; k < 6; k++) {
                ck_assert_int_eq(pool_iterator_next(iterator, &answer, NULL, -1, &error), 1);
                ck_assert_int_eq(answer, k * k);
            }
            pool_iterator_free(iterator);
        }
    ck_assert_uint_le(arena_bytes(), held + (places + 2) * (BLOCK * BLOCKS / 4 + 8192));
    pool_destroy(pool);
    free(arguments);
    free(answers);
}
END_TEST

/* Of five gigabytes nobody touches more than the pages of a few elements, one in each of them: only
 * these are copied. */
START_TEST(arguments_beyond_four_gigabytes)
{
    enum { GIGABYTES = 5 };
    const size_t bytes = (size_t)GIGABYTES << 30;
    struct pool *pool = create_with(situation(_i));
    long squares[GIGABYTES];
    int64_t indices[GIGABYTES];
    long *x = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    ck_assert_ptr_ne(x, MAP_FAILED);
    for (int64_t i = 0; i < GIGABYTES; i++) {
        indices[i] = ((i + 1) << 30) / (int64_t)sizeof *x - 1;
        x[indices[i]] = i + 30;
    }
    const struct pool_column column = {.data = x, .size = sizeof *x, .indices = indices};
    ck_assert_msg(pool_starmap(pool, square, &column, 1,
                               &(struct pool_results){.data = squares, .size = sizeof *squares},
                               GIGABYTES, 1, &error) == 0,
                  "%s", error.message);
    for (long i = 0; i < GIGABYTES; i++)
        ck_assert_int_eq(squares[i], (i + 30) * (i + 30));
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied, 2 * sizeof squares);
    munmap(x, bytes);
    pool_destroy(pool);
}
END_TEST

static int unregistered(const void *const *arguments, void *result, struct pool_task *task)
{
    return square(arguments, result, task);
}

static int its_namesake(const void *const *arguments, void *result, struct pool_task *task)
{
    return square(arguments, result, task) - 1;
}

static int map_unregistered(struct pool *pool)
{
    long x = 7, y = UNTOUCHED;
    const int status = pool_map(pool, unregistered, &x, 8, &y, 8, 1, 1, &error);
    ck_assert_int_eq(y, status == 0 ? 49 : UNTOUCHED);
    return status;
}

/* As a plug-in would register it that the program loads later. */
START_TEST(a_function_registered_after_the_workers_were_made_is_not_found)
{
    static struct pool_registered late, second;
    const struct pool_options options = situation(_i);
    struct pool_options later = options;
    const bool inherited = options.start_method == POOL_FORK;
    struct pool *pool = create_with(options);
    pool_register(&late, "late", unregistered);
    expect_failure(map_unregistered(pool), &error, ERROR_TASK, "does not find");
    map_squares(pool, 100, 1);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);

    struct pool *after = create_with(options); /* ... found by copies of the program as it is now */
    ck_assert_int_eq(map_unregistered(after), inherited ? 0 : -1);
    pool_destroy(after);
    later.initializer = unregistered;
    if (!inherited) {
        ck_assert_ptr_null(pool_create(&later, &error));
        expect_failure(-1, &error, ERROR_TASK, "does not find");
    }
    pool_register(&second, "late", its_namesake);
    expect_failure(map_unregistered(pool), &error, ERROR_INVALID, "registered as late");
    map_squares(pool, 100, 1);
    pool_destroy(pool);
}
END_TEST

static int bind_to_the_last(const void *const *arguments, void *result, struct pool_task *task)
{
    cpu_set_t cpus;
    int last = 0;
    (void)arguments;
    (void)result;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0)
        return pool_task_fail(task, "sched_getaffinity");
    for (int i = 0; i < CPU_SETSIZE; i++)
        last = CPU_ISSET(i, &cpus) ? i : last;
    CPU_ZERO(&cpus);
    CPU_SET(last, &cpus);
    return sched_setaffinity(0, sizeof cpus, &cpus);
}
POOL_TASK(bind_to_the_last);

static int count_processors(const void *const *arguments, void *result, struct pool_task *task)
{
    cpu_set_t cpus;
    (void)arguments;
    (void)task;
    *(int *)result = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 0;
    return 0;
}
POOL_TASK(count_processors);

/* Also when the program waits on that very core. */
START_TEST(a_core_that_the_initializer_has_chosen_stays_the_workers)
{
    struct pool *pool = create_with((struct pool_options){
        .workers = 1, .start_method = (enum pool_start_method)_i, .initializer = bind_to_the_last});
    cpu_set_t cpus;
    ck_assert_int_eq(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    for (int there = 0; there < 2; there++) {
        for (int i = 0; i < 100; i++) {
            int count = 0;
            ck_assert_int_eq(
                pool_apply(pool, count_processors, NULL, 0, &count, sizeof count, &error), 0);
            ck_assert_int_eq(count, 1);
            pause_ms(1);
        }
        ck_assert_int_eq(bind_to_the_last(NULL, NULL, NULL), 0);
    }
    ck_assert_int_eq(sched_setaffinity(0, sizeof cpus, &cpus), 0);
    pool_destroy(pool);
}
END_TEST

START_TEST(a_pool_of_two_hundred_workers_works)
{
    const int workers = SANITIZED || short_of_a_kind() ? 20 : 200;
    struct pool *pool = create_with(
        (struct pool_options){.workers = workers, .start_method = (enum pool_start_method)_i});
    pid_t pids[200];
    settled_pids(pool, NULL, pids);
    for (int i = 0; i < workers; i++)
        for (int j = 0; j < i; j++)
            ck_assert_int_ne(pids[i], pids[j]);
    map_squares(pool, 1000, 1);
    scene = make_scene(); /* as many tasks at the same time */
    prepare(scene, orders, results, (size_t)workers, MEET);
    atomic_store(&scene->open, workers);
    expect_done(start_with(pool, (size_t)workers, 1, NULL));
    check_squares(results, (size_t)workers);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    end_scene(pool);
}
END_TEST

/* ---- Imap ------------------------------------------------------------------------------------ */

struct source {
    long next, fails_at;
};

static int give_or_fail(void *context, void *argument)
{
    struct source *source = context;
    if (source->next == source->fails_at)
        return -1;
    *(long *)argument = source->next++;
    return 1;
}

/* Its n elements are answered, and then its error, or at once if it has none. */
static void expect_failing_source(struct pool *pool, bool ordered, size_t chunksize, long n)
{
    struct source source = {.fails_at = n};
    bool seen[10] = {false};
    struct pool_iterator *iterator = (ordered ? pool_imap : pool_imap_unordered)(
        pool, square, give_or_fail, &source, sizeof(long), sizeof(long), chunksize, 0, &error);
    ck_assert_msg(iterator != NULL, "%s", error.message);
    long value;
    size_t index;
    for (long i = 0; i < n; i++) {
        ck_assert_int_eq(pool_iterator_next(iterator, &value, &index, -1, &error), 1);
        ck_assert(index < (size_t)n && !seen[index]);
        seen[index] = true;
        ck_assert_int_eq(value, (long)(index * index));
    }
    index = 0;
    expect_failure(pool_iterator_next(iterator, &value, &index, -1, &error), &error, ERROR_TASK,
                   "source");
    ck_assert_uint_eq(index, SIZE_MAX);
    ck_assert_int_eq(pool_iterator_next(iterator, &value, &index, 0, &error), 0); /* no more */
    pool_iterator_free(iterator);
}

START_TEST(a_source_that_fails_before_its_first_element_says_so)
{
    static const long fails_at[] = {0, 1, 10};
    struct pool *pool = create_with(situation(_i));
    for (int ordered = 0; ordered < 2; ordered++)
        for (size_t chunksize = 1; chunksize <= 4; chunksize += 3)
            for (int f = 0; f < 3; f++)
                for (int twice = 0; twice < 2; twice++)
                    expect_failing_source(pool, ordered, chunksize, fails_at[f]);
    map_squares(pool, 100, 1);
    pool_destroy(pool);
}
END_TEST

/* Each worker is in one element; the others in the buffer nobody has begun. */
START_TEST(what_a_freed_iterator_had_in_its_buffer_is_not_run)
{
    struct pool *pool = create_with(situation(_i));
    const long workers = pool_workers(pool), buffer = 4 * workers;
    for (int ordered = 0; ordered < 2; ordered++) {
        begin_scene(PARTS, WAIT);
        struct pool_array array = {.data = orders, .size = sizeof *orders, .count = PARTS};
        struct pool_iterator *iterator = (ordered ? pool_imap : pool_imap_unordered)(
            pool, play, pool_from_array, &array, sizeof *orders, sizeof *results, 1, 0, &error);
        ck_assert_msg(iterator != NULL, "%s", error.message);
        await_entered(scene, workers);
        pool_iterator_free(iterator);
        open_scene(scene);
        map_squares(pool, 100, 1); /* all that there was to do before is done */
        ck_assert_uint_eq(array.next, (size_t)buffer);
        ck_assert_uint_eq(pool_statistics(pool).cancelled,
                          (uint64_t)((ordered + 1) * (buffer - workers)));
        if (ordered == 0)
            while (atomic_load(&scene->finished) < workers)
                pause_ms(1);
        else
            close_and_join(pool);
        ck_assert_int_eq(atomic_load(&scene->entered), workers);
        ck_assert_int_eq(atomic_load(&scene->finished), workers);
        shared_memory_free(scene);
    }
    pool_destroy(pool);
}
END_TEST

/* ---- Callbacks ------------------------------------------------------------------------------- */

START_TEST(a_withdrawn_result_calls_its_error_callback)
{
    struct calls of_one = {0}, of_freed = {0}, of_map = {0};
    const struct pool_callbacks one = noting(&of_one), freed = noting(&of_freed),
                                many = noting(&of_map);
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    struct pool_result *map =
        start_with(pool, PARTS, 1, &many); /* of it each worker begins a part */
    await_entered(scene, pool_workers(pool));
    struct pool_result *result = start_one(pool, 50, &one), *given_up = start_one(pool, 51, &freed);
    ck_assert_uint_eq(pool_result_cancel(result), 1);
    ck_assert_uint_eq(pool_result_cancel(given_up), 1);
    pool_result_free(given_up);
    await_calls(&of_one, 0, 1); /* while every worker is busy */
    await_calls(&of_freed, 0, 1);
    ck_assert_int_eq(of_one.error.code, ERROR_CANCELLED);
    ck_assert_int_eq(of_freed.error.code, ERROR_CANCELLED);
    ck_assert_uint_eq(pool_result_cancel(map), PARTS - (size_t)pool_workers(pool));
    pause_ms(10);
    ck_assert_int_eq(atomic_load(&of_map.failed), 0); /* what was begun goes on */
    open_scene(scene);
    await_calls(&of_map, 0, 1);
    ck_assert_int_eq(of_map.error.code, ERROR_CANCELLED);
    expect_error(result, ERROR_CANCELLED, 0, "cancelled");
    ck_assert_int_eq(pool_result_wait(map, -1, &error), 0);
    pool_result_free(map);
    ck_assert_int_eq(atomic_load(&scene->entered), pool_workers(pool));
    end_scene(pool);
    ck_assert_int_eq(
        atomic_load(&of_one.done) + atomic_load(&of_freed.done) + atomic_load(&of_map.done), 0);
    ck_assert_int_eq(atomic_load(&of_one.failed), 1);
    ck_assert_int_eq(atomic_load(&of_freed.failed), 1);
    ck_assert_int_eq(atomic_load(&of_map.failed), 1);
}
END_TEST

/* One after the other, each submitted by the callback of the one before. */
struct chain {
    struct pool *pool;
    size_t first, links; /* parts of the scene, in turn, and how many links; SIZE_MAX: no end */
    atomic_size_t done;
    _Atomic(struct pool_result *) handle; /* of the link that is under way */
    bool wrong;
    struct error error;     /* of the link that was refused */
    atomic_bool slow, over; /* slow: a callback takes a while */
};

static size_t part_of(const struct chain *chain)
{
    return (chain->first + atomic_load(&chain->done)) % SCENE_PARTS;
}

static void go_on(void *of, void *context);

static void start_link(struct chain *chain)
{
    const size_t part = part_of(chain);
    const struct pool_callbacks callbacks = {.done = go_on, .context = chain};
    struct pool_result *handle =
        pool_apply_async(chain->pool, play, &orders[part], sizeof *orders, &results[part],
                         sizeof *results, &callbacks, &chain->error);
    atomic_store(&chain->handle, handle);
    if (!handle)
        atomic_store(&chain->over, true);
}

static void go_on(void *of, void *context)
{
    struct chain *chain = context;
    const long part = (long)part_of(chain);
    struct pool_result *own;
    while (!(own = atomic_load(&chain->handle)))
        pause_ms(1); /* the first one, which another thread has submitted just now */
    chain->wrong = chain->wrong || !of || *(const long *)of != part * part;
    pool_result_free(own);
    atomic_store(&chain->handle, NULL);
    if (atomic_load(&chain->slow))
        pause_ms(20);
    if (atomic_fetch_add(&chain->done, 1) + 1 < chain->links)
        start_link(chain);
    else
        atomic_store(&chain->over, true);
}

static void await_end_of(const struct chain *chain)
{
    while (!atomic_load(&chain->over))
        pause_ms(1);
}

START_TEST(a_callback_submits_the_next_task_a_hundred_times)
{
    struct pool *pool = create_with(situation(_i));
    struct chain chains[] = {{.pool = pool, .first = 0, .links = 100},
                             {.pool = pool, .first = 100, .links = 50},
                             {.pool = pool, .first = 150, .links = 60}};
    begin_scene(SCENE_PARTS, SQUARE);
    for (int c = 0; c < 3; c++)
        start_link(&chains[c]);
    for (int c = 0; c < 3; c++) {
        await_end_of(&chains[c]);
        ck_assert_uint_eq(atomic_load(&chains[c].done), chains[c].links);
        ck_assert(!chains[c].wrong);
    }
    check_squares(results, 210);
    expect_runs(0, 210, 1);
    expect_runs(210, SCENE_PARTS, 0);
    end_scene(pool);
}
END_TEST

START_TEST(a_chain_of_callbacks_ends_when_the_pool_is_closed)
{
    struct pool *pool = create_with(situation(_i));
    struct chain chain = {.pool = pool, .links = SIZE_MAX};
    begin_scene(SCENE_PARTS, SQUARE);
    start_link(&chain);
    while (atomic_load(&chain.done) < 20)
        pause_ms(1);
    atomic_store(&chain.slow, true);
    close_and_join(pool);
    ck_assert(atomic_load(&chain.over)); /* join has waited for the last callback, too */
    ck_assert(!chain.wrong);
    ck_assert_int_eq(chain.error.code, ERROR_CLOSED);
    ck_assert_int_eq(atomic_load(&scene->entered), (long)atomic_load(&chain.done));
    end_scene(pool);
}
END_TEST

struct crash {
    struct pool *pool;
    struct error errors[2]; /* of what the callback has waited for */
    struct calls calls;     /* of what it has not waited for */
    atomic_bool over;
};

static void submit_crashes(void *of, void *context)
{
    struct crash *crash = context;
    const struct pool_callbacks callbacks = noting(&crash->calls);
    long value;
    (void)of;
    for (int i = 0; i < 2; i++)
        pool_apply(crash->pool, play, &orders[1 + i], sizeof *orders, &value, sizeof value,
                   &crash->errors[i]);
    pool_result_free(pool_apply_async(crash->pool, play, &orders[3], sizeof *orders, &results[3],
                                      sizeof *results, &callbacks, NULL));
    atomic_store(&crash->over, true);
}

START_TEST(a_task_that_a_callback_has_submitted_crashes)
{
    struct crash crash = {.pool = create_with(situation(_i))};
    const struct pool_callbacks callbacks = {.done = submit_crashes, .context = &crash};
    begin_scene(4, DIE);
    orders[0].act = SQUARE;
    orders[1].act = FAIL;
    pool_result_free(start_one(crash.pool, 0, &callbacks));
    await_calls(&crash.calls, 0, 1);
    ck_assert(atomic_load(&crash.over));
    ck_assert_int_eq(crash.errors[0].code, ERROR_TASK);
    ck_assert_int_eq(crash.errors[1].code, ERROR_WORKER_LOST);
    ck_assert_int_eq(crash.errors[1].worker, atomic_load(&scene->pids[2]));
    ck_assert_int_eq(crash.calls.error.code, ERROR_WORKER_LOST);
    ck_assert_int_eq(crash.calls.error.worker, atomic_load(&scene->pids[3]));
    map_squares(crash.pool, 100, 1);
    ck_assert_uint_eq(pool_statistics(crash.pool).restarts, 2);
    end_scene(crash.pool);
    ck_assert_int_eq(atomic_load(&crash.calls.done), 0);
    ck_assert_int_eq(atomic_load(&crash.calls.failed), 1);
}
END_TEST

/* ---- Ends ------------------------------------------------------------------------------------ */

/* Workers may do one chunk each, so nearly all of them are started after the pool was closed. */
START_TEST(closed_with_work_left_while_workers_retire)
{
    enum { CHUNKS = 20 };
    for (int fails = 0; fails < 2; fails++) {
        struct pool_options options = situation(_i);
        options.maxtasksperchild = 1;
        struct pool *pool = create_with(options);
        begin_scene((size_t)2 * CHUNKS, WAIT);
        orders[3].act = fails ? WAIT_FAIL : WAIT;
        struct pool_result *result = start_with(pool, (size_t)2 * CHUNKS, 2, NULL);
        await_entered(scene, options.workers);
        pool_close(pool);
        open_scene(scene);
        ck_assert_msg(pool_join(pool, -1, &error) == 0, "%s", error.message);
        expect_no_process(false);
        if (fails)
            expect_error(result, ERROR_TASK, 3, "part 3 refuses");
        else
            expect_done(result);
        for (long i = 0; i < 2L * CHUNKS; i++)
            ck_assert_int_eq(results[i], fails && i == 3 ? UNTOUCHED : i * i);
        expect_runs(0, (size_t)2 * CHUNKS, 1);
        ck_assert_uint_ge(pool_statistics(pool).retired, CHUNKS - (uint64_t)options.workers);
        ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
        end_scene(pool);
    }
}
END_TEST

/* All workers have retired, but the helper is stopped, so that the pool hears of it only after it
 * was terminated. One started then would never be killed, and join would wait for it. */
START_TEST(terminated_while_workers_retire_starts_none_any_more)
{
    struct pool_options options = situation(_i);
    pid_t pids[MAX_WORKERS];
    options.maxtasksperchild = 1;
    struct pool *pool = create_with(options);
    settled_pids(pool, NULL, pids);
    const pid_t stopped = parent_of(pids[0]);
    begin_scene(PARTS, WAIT);
    struct pool_result *result = start_with(pool, PARTS, 1, NULL);
    await_entered(scene, options.workers);
    ck_assert_int_eq(kill(stopped, SIGSTOP), 0);
    expect_stopped(stopped);
    open_scene(scene);
    for (int i = 0; i < options.workers; i++)
        expect_death(pids[i]);
    pool_terminate(pool);
    expect_failure(pool_join(pool, 0.02, &error), &error, ERROR_TIMEOUT, "");
    ck_assert_int_eq(kill(stopped, SIGCONT), 0);
    ck_assert_msg(pool_join(pool, -1, &error) == 0, "%s", error.message);
    expect_no_process(false);
    ck_assert_int_eq(pool_result_get(result, 0, &error), -1);
    ck_assert_int_eq(error.code, ERROR_CLOSED);
    pool_result_free(result);
    ck_assert_int_eq(atomic_load(&scene->entered), options.workers);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    end_scene(pool);
}
END_TEST

START_TEST(terminated_at_any_moment_while_workers_retire)
{
    for (int round = 0; round < 8; round++) {
        struct pool_options options = situation(_i);
        options.maxtasksperchild = 1;
        struct pool *pool = create_with(options);
        begin_scene(SCENE_PARTS, SQUARE);
        struct pool_result *result = start_with(pool, SCENE_PARTS, 1, NULL);
        await_entered(scene, 1 + options.workers * round / 2);
        pool_terminate(pool);
        ck_assert_msg(pool_join(pool, -1, &error) == 0, "%s", error.message);
        expect_no_process(false);
        ck_assert_int_eq(pool_result_get(result, 0, &error), -1);
        ck_assert_int_eq(error.code, ERROR_CLOSED);
        pool_result_free(result);
        const long entered = atomic_load(&scene->entered);
        end_scene(pool);
        ck_assert_int_lt(entered, SCENE_PARTS);
        expect_no_process(false);
    }
}
END_TEST

START_TEST(closed_and_joined_after_a_map_that_failed)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, SQUARE);
    orders[1].act = orders[30].act = FAIL;
    orders[4].act = DIE;
    struct pool_result *failed = start_one(pool, 1, NULL), *lost = start_one(pool, 4, NULL),
                       *done = start_one(pool, 5, NULL);
    expect_failure(pool_map(pool, play, &orders[20], sizeof *orders, &results[20], sizeof *results,
                            20, 3, &error),
                   &error, ERROR_TASK, "part 30 refuses");
    ck_assert_uint_eq(error.task, 10);
    close_and_join(pool);
    expect_error(failed, ERROR_TASK, 0, "part 1 refuses"); /* asked for only now */
    expect_error(lost, ERROR_WORKER_LOST, 0, "signal 9");
    expect_done(done);
    ck_assert_int_eq(results[5], 25);
    end_scene(pool);
}
END_TEST

/* The other way round, what is withdrawn is the last that the closed pool has to do. */
START_TEST(withdrawn_then_closed_then_joined)
{
    const enum pool_start_method method = situation(_i).start_method;
    for (int round = 0; round < 8; round++) {
        struct pool *pool =
            create_with((struct pool_options){.workers = 1 + round % 2, .start_method = method});
        begin_scene(PARTS, SQUARE);
        struct pool_result *result = start_one(pool, 50, NULL);
        const bool withdrawn = pool_result_cancel(result) == 1; /* before a worker had begun it */
        close_and_join(pool);
        expect_runs(50, 51, !withdrawn);
        if (withdrawn)
            expect_error(result, ERROR_CANCELLED, 0, "cancelled");
        else
            expect_done(result);
        end_scene(pool);
    }
}
END_TEST

START_TEST(closed_then_withdrawn_then_joined)
{
    struct pool *pool = create_with(situation(_i));
    begin_scene(PARTS, WAIT);
    struct pool_result *busy = keep_all_busy(pool), *waiting[10];
    for (size_t i = 0; i < 10; i++)
        waiting[i] = start_one(pool, 50 + i, NULL);
    pool_close(pool);
    for (size_t i = 0; i < 10; i++)
        ck_assert_uint_eq(pool_result_cancel(waiting[i]), 1);
    expect_failure(pool_join(pool, 0.01, &error), &error, ERROR_TIMEOUT, "");
    open_scene(scene);
    ck_assert_msg(pool_join(pool, -1, &error) == 0, "%s", error.message);
    expect_done(busy);
    for (size_t i = 0; i < 10; i++)
        expect_error(waiting[i], ERROR_CANCELLED, 0, "cancelled");
    expect_runs(50, 60, 0);
    end_scene(pool);
}
END_TEST

/* A thread that gives a pool work until it is refused. Every answer before is that it was done, or
 * that the pool has come to its end. */
struct submitter {
    pthread_t thread;
    struct pool *pool;
    enum error_code end; /* of the pool: what is expected */
    int accepted;
    struct calls calls;
    struct error wrong;
};

static bool is_right(struct submitter *submitter, int status, const struct error *answer)
{
    if (status != -1 || answer->code == submitter->end)
        return true;
    submitter->wrong = *answer;
    return false;
}

static void *submit_maps(void *argument)
{
    struct submitter *submitter = argument;
    struct error answer;
    long own[10];
    int status;
    do
        status = pool_map(submitter->pool, play, orders, sizeof *orders, own, sizeof *own, 10, 2,
                          &answer);
    while (status == 0);
    is_right(submitter, status, &answer);
    return NULL;
}

static void *submit_applies(void *argument)
{
    struct submitter *submitter = argument;
    const struct pool_callbacks callbacks = noting(&submitter->calls);
    struct error answer;
    long own;
    struct pool_result *result;
    while ((result = pool_apply_async(submitter->pool, play, orders, sizeof *orders, &own,
                                      sizeof own, &callbacks, &answer))) {
        submitter->accepted++;
        is_right(submitter, pool_result_get(result, -1, &answer), &answer);
        pool_result_free(result);
    }
    is_right(submitter, -1, &answer);
    return NULL;
}

static void *submit_imaps(void *argument)
{
    struct submitter *submitter = argument;
    struct pool_iterator *iterator;
    struct error answer;
    long own;
    size_t index;
    for (;;) {
        struct pool_array array = {.data = orders, .size = sizeof *orders, .count = 20};
        iterator = pool_imap(submitter->pool, play, pool_from_array, &array, sizeof *orders,
                             sizeof own, 2, 2, &answer);
        if (!iterator)
            break;
        int status;
        do
            status = pool_iterator_next(iterator, &own, &index, -1, &answer);
        while (status == 1);
        is_right(submitter, status, &answer);
        pool_iterator_free(iterator);
    }
    is_right(submitter, -1, &answer);
    return NULL;
}

START_TEST(threads_submit_while_another_ends_the_pool)
{
    static void *(*const submit[])(void *) = {submit_maps, submit_applies, submit_imaps};
    static void (*const ends[])(struct pool *) = {pool_close, pool_terminate, pool_interrupt};
    for (int round = 0; round < 6; round++) {
        struct pool *pool = create_with(situation(_i));
        struct submitter submitters[3] = {0};
        begin_scene(PARTS, SQUARE);
        for (int s = 0; s < 3; s++) {
            submitters[s].pool = pool;
            submitters[s].end = round % 3 == 2 ? ERROR_INTERRUPTED : ERROR_CLOSED;
            ck_assert_int_eq(pthread_create(&submitters[s].thread, NULL, submit[s], &submitters[s]),
                             0);
        }
        await_entered(scene, 40L * round);
        ends[round % 3](pool);
        ck_assert_msg(pool_join(pool, -1, &error) == 0, "%s", error.message);
        for (int s = 0; s < 3; s++) {
            ck_assert_int_eq(pthread_join(submitters[s].thread, NULL), 0);
            ck_assert_msg(submitters[s].wrong.code == ERROR_NONE, "thread %d: code %d: %s", s,
                          submitters[s].wrong.code, submitters[s].wrong.message);
        }
        end_scene(pool);
        struct calls *calls = &submitters[1].calls;
        ck_assert_int_eq(atomic_load(&calls->done) + atomic_load(&calls->failed),
                         submitters[1].accepted);
        if (round % 3 == 0)
            ck_assert_int_eq(atomic_load(&calls->failed), 0); /* what was accepted is done */
    }
}
END_TEST

/* ---- Deaths ---------------------------------------------------------------------------------- */

/* Ends its worker with this status; 0: ends the thread that it is in. */
static int end_with_status(const void *const *arguments, void *result, struct pool_task *task)
{
    const int status = *(const int *)arguments[0];
    (void)result;
    (void)task;
    if (status == 0)
        pthread_exit(NULL);
    if (status == 42)
        exit(status);
    _exit(status);
}
POOL_TASK(end_with_status);

START_TEST(the_error_names_the_exit_status_of_the_worker)
{
    static const int statuses[] = {42, 99, 0};
    struct pool *pool = create_with(situation(_i));
    for (int i = 0; i < 3; i++) {
        char expected[64];
        expect_failure(
            pool_apply(pool, end_with_status, &statuses[i], sizeof(int), NULL, 0, &error), &error,
            ERROR_WORKER_LOST, "");
        snprintf(expected, sizeof expected, "worker %d ended with exit status %d",
                 (int)error.worker, statuses[i] ? statuses[i] : 1);
        ck_assert_msg(strstr(error.message, expected) != NULL, "%s", error.message);
        ck_assert_str_eq(pool_statistics(pool).last_death, expected);
    }
    map_squares(pool, 100, 1);
    pool_destroy(pool);
}
END_TEST

/* Which somebody may send to all processes; the helper ignores it, a worker does not. */
START_TEST(a_worker_ended_by_a_signal_from_outside_is_replaced_and_the_signal_named)
{
    char expected[16];
    snprintf(expected, sizeof expected, "signal %d ", SIGTERM);
    struct pool *pool = create_with(situation(_i));
    replace(pool, 0, SIGTERM); /* while idle */
    begin_scene(1, WAIT);
    struct pool_result *result = start_one(pool, 0, NULL);
    await_run(scene, 0);
    const pid_t busy = atomic_load(&scene->pids[0]);
    ck_assert_int_eq(kill(busy, SIGTERM), 0);
    ck_assert_int_eq(pool_result_wait(result, -1, &error), 0);
    expect_error(result, ERROR_WORKER_LOST, 0, expected);
    ck_assert_int_eq(error.worker, busy);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 2);
    ck_assert_ptr_nonnull(strstr(pool_statistics(pool).last_death, expected));
    map_squares(pool, 100, 1);
    end_scene(pool);
}
END_TEST

#define MOST_IN_A_ROW 13 /* of one idle worker, and the next one is a storm */

START_TEST(deaths_far_apart_are_no_storm)
{
    struct pool *pool = create_with(
        (struct pool_options){.workers = 1, .start_method = (enum pool_start_method)_i});
    for (int death = 0; death < 2 * MOST_IN_A_ROW; death++) {
        if (death == MOST_IN_A_ROW)
            pause_ms(1100);
        replace(pool, 0, SIGKILL);
    }
    map_squares(pool, 100, 1);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 2UL * MOST_IN_A_ROW);
    pool_destroy(pool);
}
END_TEST

START_TEST(start_method_fork_is_left_after_the_death_of_the_helper)
{
    const enum pool_start_method method = _i == 0 ? POOL_FORKSERVER : POOL_SPAWN;
    struct pool *pool = create_with((struct pool_options){.workers = 2, .start_method = method});
    long x = 1, y;
    helper_is_gone = true;
    ck_assert_int_eq(kill(helper, SIGKILL), 0);
    while (pool_map(pool, square, &x, 8, &y, 8, 1, 1, &error) == 0)
        ; /* until the signal has arrived */
    ck_assert_int_eq(error.code, ERROR_BROKEN);
    ck_assert_ptr_null(
        pool_create(&(struct pool_options){.workers = 2, .start_method = method}, &error));
    ck_assert_int_eq(error.code, ERROR_BROKEN);
    struct pool *left = create_with((struct pool_options){.workers = 2, .start_method = POOL_FORK});
    map_squares(left, 100, 1);
    replace(left, 1, SIGKILL);
    map_squares(left, 100, 1);
    ck_assert_uint_eq(pool_statistics(left).restarts, 1);
    pool_destroy(left);
    pool_destroy(pool);
    before.descriptors--; /* the helper's socket */
}
END_TEST

/* ---- Surroundings ---------------------------------------------------------------------------- */

struct signals { /* bit n-1 is signal n's */
    uint64_t altered, blocked;
};

static uint64_t bit(int number)
{
    return (uint64_t)1 << (number - 1);
}

static int tell_signals(const void *const *arguments, void *result, struct pool_task *task)
{
    struct signals *told = result;
    sigset_t blocked;
    (void)arguments;
    (void)task;
    *told = (struct signals){0};
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number <= 64; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            told->altered |= bit(number);
        if (sigismember(&blocked, number) == 1)
            told->blocked |= bit(number);
    }
    if (SANITIZED) /* which want to report what goes wrong */
        told->altered &= ~(bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL) | bit(SIGABRT));
    return 0;
}
POOL_TASK(tell_signals);

static void ignore_it(int number)
{
    (void)number;
}

static void alter_signals(void)
{
    const struct sigaction handled = {.sa_handler = ignore_it};
    sigset_t alarm;
    sigaction(SIGTERM, &handled, NULL);
    sigaction(SIGUSR1, &handled, NULL);
    sigaction(SIGUSR2, &handled, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, NULL);
}

/* 0: all workers ignore what the program ignores, have default actions for all else but SIGUSR1
 * with time limits, and block what a terminal sends. */
static int check_signals(struct pool *pool, bool limits)
{
    enum { TASKS = 20 };
    struct signals told[TASKS];
    if (pool_map(pool, tell_signals, NULL, 0, told, sizeof *told, TASKS, 1, &error) != 0)
        return 1;
    for (int i = 0; i < TASKS; i++)
        if (told[i].altered != (bit(SIGHUP) | bit(SIGPIPE) | (limits ? bit(SIGUSR1) : 0)) ||
            told[i].blocked != (bit(SIGINT) | bit(SIGQUIT) | bit(SIGHUP))) {
            fprintf(stderr, "altered: %llx, blocked: %llx\n", (unsigned long long)told[i].altered,
                    (unsigned long long)told[i].blocked);
            return 2;
        }
    return 0;
}

/* ... those that were started first, and those that have replaced them. */
static int check_signals_of_all(struct pool_options options)
{
    int status = 0;
    for (int limits = 0; limits < 2 && status == 0; limits++) {
        options.soft_time_limit = limits ? 1000 : 0;
        struct pool *pool = pool_create(&options, &error);
        if (!pool)
            return 3;
        pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
        status = check_signals(pool, limits);
        settled_pids(pool, NULL, pids);
        for (int i = 0; i < options.workers; i++)
            status = kill(pids[i], SIGKILL) == 0 ? status : 4;
        settled_pids(pool, pids, again);
        status = status ? status : check_signals(pool, limits);
        pool_destroy(pool);
    }
    return status;
}

START_TEST(workers_handle_no_signal_and_ignore_what_the_program_ignores)
{
    alter_signals();
    ck_assert_int_eq(check_signals_of_all(situation(_i)), 0);
}
END_TEST

#define VARIABLE "FORKJOIN_TEST_UPSTREAM"

static long a_global;

struct sight {
    char variable[16], directory[1024];
    long global;
};

static int tell_sight(const void *const *arguments, void *result, struct pool_task *task)
{
    struct sight *sight = result;
    const char *variable = getenv(VARIABLE);
    (void)arguments;
    snprintf(sight->variable, sizeof sight->variable, "%s", variable ? variable : "");
    sight->global = a_global;
    return getcwd(sight->directory, sizeof sight->directory) ? 0 : pool_task_fail(task, "getcwd");
}
POOL_TASK(tell_sight);

static void expect_sight(struct pool *pool, const struct sight *expected)
{
    struct sight told[10];
    ck_assert_msg(pool_map(pool, tell_sight, NULL, 0, told, sizeof *told, 10, 1, &error) == 0, "%s",
                  error.message);
    for (int i = 0; i < 10; i++) {
        ck_assert_str_eq(told[i].variable, expected->variable);
        ck_assert_str_eq(told[i].directory, expected->directory);
        ck_assert_int_eq(told[i].global, expected->global);
    }
}

static void alter_sight(const char *variable, const char *directory, long global)
{
    ck_assert_int_eq(setenv(VARIABLE, variable, 1), 0);
    ck_assert_int_eq(chdir(directory), 0);
    a_global = global;
}

/* Forkserver and spawn: as it was in pool_startup; fork: in pool_create. */
START_TEST(workers_see_what_their_start_method_has_copied)
{
    const struct pool_options options = situation(_i);
    struct sight early = {0}, late = {.variable = "later", .directory = "/", .global = 5};
    ck_assert_ptr_nonnull(getcwd(early.directory, sizeof early.directory));
    alter_sight(late.variable, late.directory, late.global);
    struct pool *pool = create_with(options);
    alter_sight("too late", "/tmp", 6);
    const struct sight *expected = options.start_method == POOL_FORK ? &late : &early;
    expect_sight(pool, expected);
    for (int i = 0; i < options.workers; i++)
        replace(pool, i, SIGKILL);
    expect_sight(pool, expected); /* nor do those that replace others see what is new */
    pool_destroy(pool);
}
END_TEST

/* Columns: x, and where to count. The copy returns from the task as the worker does. */
static int fork_and_return(const void *const *arguments, void *result, struct pool_task *task)
{
    atomic_long *runs = *(atomic_long *const *)arguments[1];
    int status;
    const pid_t copy = fork();
    if (copy < 0)
        return pool_task_fail(task, "fork");
    if (copy == 0)
        return 0;
    if (waitpid(copy, &status, 0) != copy || status != 0)
        return pool_task_fail(task, "the copy ended with 0x%x", (unsigned)status);
    atomic_fetch_add(&runs[pool_task_index(task)], 1);
    return square(arguments, result, task);
}
POOL_TASK(fork_and_return);

#define FORKING 20

static int map_forking(struct pool *pool, atomic_long *runs, long *squares, struct error *why)
{
    long x[FORKING];
    for (long i = 0; i < FORKING; i++)
        x[i] = i;
    const struct pool_column columns[] = {
        {.data = x, .size = sizeof *x},
        {.data = &runs, .size = sizeof runs, .constant = true},
    };
    return pool_starmap(pool, fork_and_return, columns, 2,
                        &(struct pool_results){.data = squares, .size = sizeof *squares}, FORKING,
                        3, why);
}

/* The same in a pool of the worker's own. */
static int fork_further_down(const void *const *arguments, void *result, struct pool_task *task)
{
    struct error why;
    struct pool *pool = pool_create(*(const struct pool_options *const *)arguments, &why);
    if (!pool)
        return pool_task_fail(task, "inner pool: %s", why.message);
    atomic_long *runs = *(atomic_long *const *)arguments[1];
    const int status = map_forking(pool, runs, result, &why);
    pool_destroy(pool);
    return status == 0 ? 0 : pool_task_fail(task, "inner map: %s", why.message);
}
POOL_TASK(fork_further_down);

static void expect_each_once(atomic_long *runs, long *squares)
{
    check_squares(squares, FORKING);
    for (int i = 0; i < FORKING; i++) {
        ck_assert_int_eq(atomic_exchange(&runs[i], 0), 1);
        squares[i] = UNTOUCHED;
    }
}

START_TEST(a_copy_that_a_task_has_forked_does_not_go_on_as_a_worker)
{
    struct pool_options options = situation(_i);
    long squares[FORKING];
    atomic_long *runs = shared_memory_allocate(FORKING, sizeof *runs, &error);
    ck_assert_ptr_nonnull(runs);
    for (int limits = 0; limits < 2; limits++) {
        options.soft_time_limit = limits ? 1000 : 0;
        struct pool *pool = create_with(options);
        ck_assert_msg(map_forking(pool, runs, squares, &error) == 0, "%s", error.message);
        expect_each_once(runs, squares);
        const struct pool_statistics statistics = pool_statistics(pool);
        ck_assert_uint_eq(statistics.chunks, (FORKING + 2) / 3);
        ck_assert_uint_eq(statistics.restarts, 0);
        pool_destroy(pool);
    }
    const struct pool_options inner = {.workers = 2, .start_method = options.start_method};
    const struct pool_column columns[] = {
        {.data = &inner, .size = sizeof inner, .constant = true},
        {.data = &runs, .size = sizeof runs, .constant = true},
    };
    options.nesting = 1;
    struct pool *pool = create_with(options);
    ck_assert_msg(pool_starmap(pool, fork_further_down, columns, 2,
                               &(struct pool_results){.data = squares, .size = sizeof squares}, 1,
                               1, &error) == 0,
                  "%s", error.message);
    expect_each_once(runs, squares);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    pool_destroy(pool);
    shared_memory_free(runs);
}
END_TEST

/* ---- Many at once ---------------------------------------------------------------------------- */

struct busy {
    pthread_t thread;
    struct pool *pool;
    atomic_bool over;
    atomic_long rounds;
};

static void *be_busy(void *argument)
{
    struct busy *busy = argument;
    FILE *nowhere = fopen("/dev/null", "we");
    ck_assert_ptr_nonnull(nowhere);
    do {
        long x = 12, y = 0;
        struct error answer;
        map_squares(busy->pool, 100, 1);
        ck_assert_msg(pool_apply(busy->pool, square, &x, 8, &y, 8, &answer) == 0, "%s",
                      answer.message);
        ck_assert_int_eq(y, 144);
        fprintf(nowhere, "%ld\n", y);
        fflush(nowhere);
        atomic_fetch_add(&busy->rounds, 1);
    } while (!atomic_load(&busy->over));
    fclose(nowhere);
    return NULL;
}

START_TEST(pools_of_start_method_fork_are_made_while_another_thread_uses_a_pool)
{
    if (SANITIZED) /* whose allocators may stay locked in a forked process; the C library's do not
                    */
        return;
    struct busy busy = {.pool = create_with(situation(_i))};
    ck_assert_int_eq(pthread_create(&busy.thread, NULL, be_busy, &busy), 0);
    for (int i = 0; i < 30; i++) {
        struct pool *pool =
            create_with((struct pool_options){.workers = 1, .start_method = POOL_FORK});
        map_squares(pool, 20, 1);
        pool_destroy(pool);
    }
    const long rounds = atomic_load(&busy.rounds);
    while (atomic_load(&busy.rounds) < rounds + 3) /* it goes on, too */
        pause_ms(1);
    atomic_store(&busy.over, true);
    ck_assert_int_eq(pthread_join(busy.thread, NULL), 0);
    pool_destroy(busy.pool);
}
END_TEST

#define OWNERS 4

/* Without start method fork where allocators may stay locked in a forked process. */
static void *make_use_and_end_pools(void *argument)
{
    const int number = *(const int *)argument;
    for (int round = 0; round < (SANITIZED ? 3 : 15); round++) {
        const int method = SANITIZED ? (number + round) % 2 * POOL_SPAWN : (number + round) % 3;
        struct pool *pool = create_with((struct pool_options){
            .workers = 1 + round % 2, .start_method = (enum pool_start_method)method});
        map_squares(pool, 50, 1);
        pool_destroy(pool);
    }
    return NULL;
}

START_TEST(several_threads_make_use_and_end_pools_at_once)
{
    pthread_t threads[OWNERS];
    int numbers[OWNERS];
    for (int t = 0; t < OWNERS; t++) {
        numbers[t] = t;
        ck_assert_int_eq(pthread_create(&threads[t], NULL, make_use_and_end_pools, &numbers[t]), 0);
    }
    for (int t = 0; t < OWNERS; t++)
        ck_assert_int_eq(pthread_join(threads[t], NULL), 0);
}
END_TEST

/* ---- Pools within pools ---------------------------------------------------------------------- */

struct descent {
    struct scene *scene;
    enum pool_start_method methods[POOL_MAX_NESTING]; /* by the nesting that is left */
    int nesting;                                      /* that this worker's pools may have, +1 */
    bool stay;                                        /* down there */
};

/* Leaves its pid, is refused a pool that is one too deep, and goes down as long as it may. */
static int go_down(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct descent *here = arguments[0];
    struct error why = {0};
    atomic_store(&here->scene->nested[here->nesting], getpid());
    if (pool_create(&(struct pool_options){.workers = 1, .nesting = here->nesting}, &why) ||
        why.code != ERROR_INVALID)
        return pool_task_fail(task, "one level too many: code %d", why.code);
    if (here->nesting == 0) {
        atomic_fetch_add(&here->scene->entered, 1);
        if (here->stay)
            pause_ms(-1);
        *(long *)result = 42;
        return 0;
    }
    struct descent below = *here;
    below.nesting--;
    const struct pool_options options = {
        .workers = 1, .start_method = here->methods[below.nesting], .nesting = below.nesting};
    struct pool *pool = pool_create(&options, &why);
    if (!pool)
        return pool_task_fail(task, "nesting %d: %s", below.nesting, why.message);
    const int status = pool_apply(pool, go_down, &below, sizeof below, result, sizeof(long), &why);
    pool_destroy(pool);
    return status == 0 ? 0 : pool_task_fail(task, "%s", why.message);
}
POOL_TASK(go_down);

/* All of one start method, or (3) all of them. */
static struct descent descent(int i)
{
    struct descent descent = {.scene = scene, .nesting = POOL_MAX_NESTING};
    for (int level = 0; level < POOL_MAX_NESTING; level++)
        descent.methods[level] = (enum pool_start_method)(i < 3 ? i : level % 3);
    return descent;
}

static struct pool *outermost_pool(int i)
{
    return create_with((struct pool_options){.workers = 1,
                                             .start_method = (enum pool_start_method)(i % 3),
                                             .nesting = POOL_MAX_NESTING});
}

START_TEST(pools_within_pools_down_to_the_deepest_level)
{
    struct pool *pool = outermost_pool(_i);
    scene = make_scene();
    const struct descent order = descent(_i);
    long result = 0;
    ck_assert_msg(pool_apply(pool, go_down, &order, sizeof order, &result, 8, &error) == 0, "%s",
                  error.message);
    ck_assert_int_eq(result, 42);
    for (int level = 0; level <= POOL_MAX_NESTING; level++)
        for (int above = 0; above < level; above++)
            ck_assert_int_ne(atomic_load(&scene->nested[level]),
                             atomic_load(&scene->nested[above]));
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    end_scene(pool);
}
END_TEST

START_TEST(all_levels_end_with_the_outermost_worker)
{
    struct pool *pool = outermost_pool(_i);
    const int processes = count_processes(false);
    scene = make_scene();
    struct descent order = descent(_i);
    long result;
    order.stay = true;
    struct pool_result *handle =
        pool_apply_async(pool, go_down, &order, sizeof order, &result, 8, NULL, &error);
    ck_assert_msg(handle != NULL, "%s", error.message);
    await_entered(scene, 1);
    ck_assert_int_ge(count_processes(false), processes + 2 * POOL_MAX_NESTING);
    replace(pool, 0, SIGKILL);
    expect_error(handle, ERROR_WORKER_LOST, 0, "signal 9");
    for (int level = 0; level <= POOL_MAX_NESTING; level++)
        expect_death((pid_t)atomic_load(&scene->nested[level]));
    expect_processes(processes, false);
    map_squares(pool, 100, 1);
    end_scene(pool);
}
END_TEST

/* ---- Before pool_startup --------------------------------------------------------------------- */

static void expect_only_blocked(int number)
{
    sigset_t blocked;
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    for (int other = 1; other <= 64; other++)
        if (other != SIGKILL && other != SIGSTOP && (other < 32 || other > 33)) /* glibc's own */
            ck_assert_msg(sigismember(&blocked, other) == (other == number), "signal %d", other);
}

START_TEST(what_the_caller_has_blocked_stays_as_it_was)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    const int number = numbers[_i];
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, number);
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, &blocked, NULL), 0);
    ck_assert_msg(pool_startup(&error) == 0, "%s", error.message);
    expect_only_blocked(number);
    for (int method = 0; method < 3; method++) {
        const struct pool_options options = {.workers = 1,
                                             .start_method = (enum pool_start_method)method};
        struct rlimit limit, none;
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = limit;
        none.rlim_cur = 0;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        struct pool *pool = pool_create(&options, &error);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_ptr_null(pool);
        expect_only_blocked(number);

        struct calls calls = {0};
        const struct pool_callbacks callbacks = noting(&calls);
        pool = create_with(options);
        expect_only_blocked(number);
        begin_scene(1, SQUARE);
        struct pool_result *result = start_one(pool, 0, &callbacks); /* starts a thread */
        expect_only_blocked(number);
        await_calls(&calls, 1, 0);
        expect_done(result);
        end_scene(pool);
        expect_only_blocked(number);
    }
}
END_TEST

/* ---- Victims --------------------------------------------------------------------------------- */

static bool maps_squares(struct pool *pool)
{
    long x[PARTS], y[PARTS];
    for (long i = 0; i < PARTS; i++)
        x[i] = i;
    if (pool_map(pool, square, x, 8, y, 8, PARTS, 5, &error) != 0)
        return false;
    for (long i = 0; i < PARTS; i++)
        if (y[i] != i * i)
            return false;
    return true;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (write(STDOUT_FILENO, text, (size_t)length) != length)
        _exit(33);
}

static void say_bye(void)
{
    say("bye\n");
}

static void say_bye_at_exit(void)
{
    if (atexit(say_bye) != 0)
        exit(20);
}

static struct pool *left_open;

/* Workers that retire, that end with their pool, and that end with the program. */
static int victim_says_bye(struct pool_options options)
{
    left_open = pool_create(&options, &error);
    options.maxtasksperchild = 1;
    struct pool *retiring = pool_create(&options, &error);
    if (!left_open || !retiring || !maps_squares(left_open) || !maps_squares(retiring))
        return 1;
    pool_destroy(retiring);
    return 0;
}

static void use_pools(void)
{
    long x = 3, y = 0;
    struct error refused = {0};
    const int status = pool_map(left_open, square, &x, 8, &y, 8, 1, 1, &error);
    struct pool *pool = pool_create(&(struct pool_options){.workers = 1}, &refused);
    say("map %d code %d create %d code %d\n", status, status == 0 ? 0 : error.code, pool != NULL,
        refused.code);
}

/* Before pool_startup registers its own, so it is called after the helper has ended. */
static void use_pools_at_exit(void)
{
    if (atexit(use_pools) != 0)
        exit(20);
}

static int victim_works_at_exit(struct pool_options options)
{
    left_open = pool_create(&options, &error);
    if (!left_open || !maps_squares(left_open))
        return 1;
    exit(3);
}

/* The limit on processes is the user's, and root has none. */
static void become_nobody(void)
{
    if (geteuid() == 0 &&
        (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0))
        exit(21);
}

static bool refused_for_threads(const void *made)
{
    return !made && error.code == ERROR_SYSTEM && error.system_errno == EAGAIN;
}

/* All that needs a thread is refused, and works when there may be threads again. */
static int victim_without_threads(struct pool_options options)
{
    struct calls calls = {0};
    const struct pool_callbacks callbacks = noting(&calls);
    const struct loader_options loading = {.load = square,
                                           .samples = 4,
                                           .sample_size = sizeof(long),
                                           .batch_size = 2,
                                           .kind = LOADER_THREADS,
                                           .workers = 2};
    long x = 5, y = 0;
    struct rlimit limit;
    struct pool *pool = pool_create(&options, &error);
    if (!pool || getrlimit(RLIMIT_NPROC, &limit) != 0)
        return 1;
    const struct rlimit none = {.rlim_cur = 1, .rlim_max = limit.rlim_max};
    const int descriptors = count_entries("/proc/self/fd");
    if (setrlimit(RLIMIT_NPROC, &none) != 0)
        return 2;
    if (!refused_for_threads(pool_create(&options, &error)))
        return 3;
    if (!refused_for_threads(loader_create(&loading, &error)))
        return 4;
    if (!refused_for_threads(pool_apply_async(pool, square, &x, 8, &y, 8, &callbacks, &error)) ||
        !strstr(error.message, "callback thread"))
        return 5;
    if (count_entries("/proc/self/fd") != descriptors || !maps_squares(pool))
        return 6;
    if (setrlimit(RLIMIT_NPROC, &limit) != 0)
        return 7;
    struct pool *another = pool_create(&options, &error);
    if (!another || !maps_squares(another))
        return 8;
    pool_destroy(another);
    struct loader *loader = loader_create(&loading, &error);
    struct loader_batch batch;
    if (!loader || loader_next(loader, &batch, -1, &error) != 1)
        return 9;
    loader_destroy(loader);
    struct pool_result *result = pool_apply_async(pool, square, &x, 8, &y, 8, &callbacks, &error);
    if (!result)
        return 10;
    await_calls(&calls, 1, 0);
    pool_result_free(result);
    pool_destroy(pool);
    return y == 25 && atomic_load(&calls.failed) == 0 ? 0 : 11;
}

static int close_standard_output(const void *const *arguments, void *result, struct pool_task *task)
{
    printf("before %zu\n", pool_task_index(task));
    close(STDOUT_FILENO);
    printf("after %zu\n", pool_task_index(task));
    return square(arguments, result, task);
}
POOL_TASK(close_standard_output);

static int open_and_close(const void *const *arguments, void *result, struct pool_task *task)
{
    const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || close(fd) != 0)
        return pool_task_fail(task, "a file opened as %d", fd);
    printf("nobody reads it %zu\n", pool_task_index(task));
    return square(arguments, result, task);
}
POOL_TASK(open_and_close);

static int victim_closes_output(struct pool_options options)
{
    static pool_function *const tasks[] = {close_standard_output, open_and_close, square};
    struct pool *pool = pool_create(&options, &error);
    if (!pool)
        return 1;
    for (int t = 0; t < 3; t++) {
        long x[FORKING], y[FORKING];
        for (long i = 0; i < FORKING; i++)
            x[i] = i;
        if (pool_map(pool, tasks[t], x, 8, y, 8, FORKING, 1, &error) != 0)
            return 2;
        for (long i = 0; i < FORKING; i++)
            if (y[i] != i * i)
                return 3;
    }
    const uint64_t restarts = pool_statistics(pool).restarts;
    pool_destroy(pool);
    say("the program has its own\n");
    return restarts == 0 ? 0 : 4;
}

static const struct victim {
    const char *name;
    void (*before_startup)(void);
    int (*run)(struct pool_options options);
} victims[] = {
    {"says-bye", say_bye_at_exit, victim_says_bye},
    {"works-at-exit", use_pools_at_exit, victim_works_at_exit},
    {"without-threads", become_nobody, victim_without_threads},
    {"closes-output", NULL, victim_closes_output},
    {"alters-signals", alter_signals, check_signals_of_all},
};

/* The main of a victim: NAME METHOD. */
static int victim_main(char **arguments)
{
    for (size_t i = 0; i < sizeof victims / sizeof *victims; i++) {
        if (strcmp(arguments[0], victims[i].name) != 0)
            continue;
        if (victims[i].before_startup)
            victims[i].before_startup();
        if (pool_startup(&error) != 0)
            return 30;
        return victims[i].run((struct pool_options){
            .workers = 2, .start_method = (enum pool_start_method)atoi(arguments[1])});
    }
    return 32;
}

/* All that it writes; and it ends with this status. */
static void expect_end(const char *name, int method, int expected, char *text, size_t size)
{
    const struct running victim = start_victim(name, method);
    size_t length = 0;
    ssize_t got;
    while ((got = read(victim.output, text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    const int status = end_of_victim(victim);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == expected,
                  "victim %s: status 0x%x, %s", name, (unsigned)status, text);
    expect_no_process(false);
}

START_TEST(exit_handlers_of_the_program_run_once_and_in_no_worker)
{
    char text[1024];
    expect_end("says-bye", _i, 0, text, sizeof text);
    ck_assert_str_eq(text, "bye\n");
}
END_TEST

/* A pool of start method fork has a helper of its own: its map may still work. */
START_TEST(work_given_in_an_exit_handler_is_refused)
{
    char text[1024], refused[64], done[64];
    expect_end("works-at-exit", _i, 3, text, sizeof text);
    snprintf(refused, sizeof refused, "map -1 code %d create 0 code %d\n", ERROR_BROKEN,
             ERROR_BROKEN);
    snprintf(done, sizeof done, "map 0 code 0 create 0 code %d\n", ERROR_BROKEN);
    ck_assert_msg(strcmp(text, refused) == 0 || (_i == POOL_FORK && strcmp(text, done) == 0), "%s",
                  text);
}
END_TEST

START_TEST(no_thread_can_be_started)
{
    char text[1024];
    expect_end("without-threads", _i, 0, text, sizeof text);
}
END_TEST

START_TEST(a_task_that_closes_its_standard_output_does_no_harm)
{
    char text[4096];
    expect_end("closes-output", _i, 0, text, sizeof text);
    ck_assert_msg(strstr(text, "the program has its own") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "before") == NULL && strstr(text, "after") == NULL, "%s", text);
}
END_TEST

/* Here the helper has inherited them, too. */
START_TEST(nor_if_it_was_set_before_the_start)
{
    char text[1024];
    expect_end("alters-signals", _i, 0, text, sizeof text);
}
END_TEST

/* ---- The suite ------------------------------------------------------------------------------- */

static void add_work(Suite *suite)
{
    TCase *maps = add_case(suite, "maps");
    tcase_add_loop_test(maps, what_a_map_has_copied_is_let_go_and_serves_the_next_one, 0,
                        SITUATIONS);
    tcase_add_loop_test(maps,
                        handles_and_iterators_given_up_at_once_hold_no_more_memory_than_the_board,
                        0, SITUATIONS);
    tcase_add_loop_test(maps, arguments_beyond_four_gigabytes, 0, 3);
    tcase_add_loop_test(maps, a_function_registered_after_the_workers_were_made_is_not_found, 0,
                        SITUATIONS);
    tcase_add_loop_test(maps, a_core_that_the_initializer_has_chosen_stays_the_workers, 0, 3);
    tcase_add_loop_test(maps, a_pool_of_two_hundred_workers_works, 0, 3);

    TCase *imaps = add_case(suite, "imap");
    tcase_add_loop_test(imaps, a_source_that_fails_before_its_first_element_says_so, 0, SITUATIONS);
    tcase_add_loop_test(imaps, what_a_freed_iterator_had_in_its_buffer_is_not_run, 0, SITUATIONS);

    TCase *callbacks = add_case(suite, "callbacks");
    tcase_add_loop_test(callbacks, a_withdrawn_result_calls_its_error_callback, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, a_callback_submits_the_next_task_a_hundred_times, 0, SITUATIONS);
    tcase_add_loop_test(callbacks, a_chain_of_callbacks_ends_when_the_pool_is_closed, 0,
                        SITUATIONS);
    tcase_add_loop_test(callbacks, a_task_that_a_callback_has_submitted_crashes, 0, SITUATIONS);
}

static void add_ends(Suite *suite)
{
    TCase *ends = add_case(suite, "ends");
    tcase_add_loop_test(ends, closed_with_work_left_while_workers_retire, 0, SITUATIONS);
    tcase_add_loop_test(ends, terminated_while_workers_retire_starts_none_any_more, 0, SITUATIONS);
    tcase_add_loop_test(ends, terminated_at_any_moment_while_workers_retire, 0, SITUATIONS);
    tcase_add_loop_test(ends, closed_and_joined_after_a_map_that_failed, 0, SITUATIONS);
    tcase_add_loop_test(ends, withdrawn_then_closed_then_joined, 0, 3);
    tcase_add_loop_test(ends, closed_then_withdrawn_then_joined, 0, SITUATIONS);
    tcase_add_loop_test(ends, threads_submit_while_another_ends_the_pool, 0, SITUATIONS);

    TCase *deaths = add_case(suite, "deaths");
    tcase_add_loop_test(deaths, the_error_names_the_exit_status_of_the_worker, 0, SITUATIONS);
    tcase_add_loop_test(deaths,
                        a_worker_ended_by_a_signal_from_outside_is_replaced_and_the_signal_named, 0,
                        SITUATIONS);
    tcase_add_loop_test(deaths, deaths_far_apart_are_no_storm, 0, 3);
    tcase_add_loop_test(deaths, start_method_fork_is_left_after_the_death_of_the_helper, 0, 2);
}

static void add_surroundings(Suite *suite)
{
    TCase *surroundings = add_case(suite, "surroundings");
    tcase_add_loop_test(surroundings, workers_handle_no_signal_and_ignore_what_the_program_ignores,
                        0, SITUATIONS);
    tcase_add_loop_test(surroundings, workers_see_what_their_start_method_has_copied, 0,
                        SITUATIONS);
    tcase_add_loop_test(surroundings, a_copy_that_a_task_has_forked_does_not_go_on_as_a_worker, 0,
                        SITUATIONS);

    TCase *many = add_case(suite, "many at once");
    tcase_add_loop_test(many, pools_of_start_method_fork_are_made_while_another_thread_uses_a_pool,
                        0, SITUATIONS);
    tcase_add_test(many, several_threads_make_use_and_end_pools_at_once);
    tcase_add_loop_test(many, pools_within_pools_down_to_the_deepest_level, 0, 4);
    tcase_add_loop_test(many, all_levels_end_with_the_outermost_worker, 0, 4);
}

static void add_victims(Suite *suite)
{
    TCase *programs = add_case(suite, "programs");
    tcase_add_loop_test(programs, exit_handlers_of_the_program_run_once_and_in_no_worker, 0, 3);
    tcase_add_loop_test(programs, work_given_in_an_exit_handler_is_refused, 0, 3);
    tcase_add_loop_test(programs, no_thread_can_be_started, 0, 3);
    tcase_add_loop_test(programs, a_task_that_closes_its_standard_output_does_no_harm, 0, 3);
    tcase_add_loop_test(programs, nor_if_it_was_set_before_the_start, 0, 3);
}

int main(int argc, char **argv)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    if (argc == 3)
        return victim_main(argv + 1);

    own_shared_memory_names();
    Suite *suite = suite_create("pool_upstream");
    TCase *unprepared = tcase_create("before startup");
    tcase_set_timeout(unprepared, HANG);
    tcase_add_loop_test(unprepared, what_the_caller_has_blocked_stays_as_it_was, 0, 3);
    suite_add_tcase(suite, unprepared);
    add_work(suite);
    add_ends(suite);
    add_surroundings(suite);
    add_victims(suite);
    return run_suite(suite);
}
