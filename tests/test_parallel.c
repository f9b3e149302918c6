/* test_parallel.c - the process pool and shared memory: what a map promises, and what happens when
 * processes die, memory or descriptors run out, or the program does what it should not. What else
 * a pool offers is in test_pool_async.c.
 *
 * What must be arranged before pool_startup, or ends with the death of the program, runs in a
 * fresh copy of this program, the "victim". Most tests run in every situation: for each start
 * method with 1, 2 and 8 workers.
 */
#include "common/parallel/resources.h"
#include "tests/pool_fixture.h"
#include <cblas.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;

/* ---- Tasks ---------------------------------------------------------------------------------- */

static int index_of(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    *(size_t *)result = pool_task_index(task);
    return 0;
}
POOL_TASK(index_of);

static int add3(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(long *)result =
        *(const long *)arguments[0] + *(const int *)arguments[1] + *(const short *)arguments[2];
    return 0;
}
POOL_TASK(add3);

static int unregistered(const void *const *arguments, void *result, struct pool_task *task)
{
    return square(arguments, result, task);
}

/* ---- Maps ----------------------------------------------------------------------------------- */

START_TEST(default_chunksize_is_pythons)
{
    for (int workers = 1; workers <= 9; workers++)
        for (size_t n = 0; n < 300; n++) {
            size_t chunksize = n / (4 * (size_t)workers); /* pool.py, _map_async */
            if (n % (4 * (size_t)workers))
                chunksize++;
            ck_assert_uint_eq(pool_default_chunksize(n, workers), chunksize);
        }
}
END_TEST

START_TEST(every_size_and_chunksize)
{
    static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 97, 1000}, chunksizes[] = {0, 1, 2, 97, 5000};
    struct pool *pool = create_with(situation(_i));
    uint64_t tasks = 0, chunks = 0, maps = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t c = 0; c < sizeof chunksizes / sizeof *chunksizes; c++) {
            const size_t n = sizes[s];
            const size_t chunksize =
                chunksizes[c] ? chunksizes[c] : pool_default_chunksize(n, pool_workers(pool));
            map_squares(pool, n, chunksizes[c]);
            maps += n > 0;
            tasks += n;
            chunks += n > 0 ? (n + chunksize - 1) / chunksize : 0;
        }
    map_squares(pool, 5, SIZE_MAX);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.maps, maps + 1);
    ck_assert_uint_eq(statistics.tasks, tasks + 5);
    ck_assert_uint_eq(statistics.chunks, chunks + 1);
    ck_assert_uint_eq(statistics.bytes_copied, 2 * sizeof(long) * (tasks + 5));
    ck_assert_uint_eq(statistics.restarts + statistics.chunks_retried + statistics.chunks_lost, 0);
    ck_assert_str_eq(statistics.last_death, "");
    ck_assert(statistics.startup > 0);
    pool_destroy(pool);
}
END_TEST

START_TEST(many_small_maps)
{
    struct pool *pool = create_with(situation(_i));
    for (int i = 0; i < 300; i++)
        map_squares(pool, (size_t)i % 20, 1);
    pool_destroy(pool);
}
END_TEST

struct watched {
    size_t tasks, seen, calls;
    int workers;
    bool ended;
};

/* What is told never becomes less, and never more than there is. */
static void look_on(void *context, const size_t *done, int workers, bool ended)
{
    struct watched *watched = context;
    size_t sum = 0;
    for (int i = 0; i < workers; i++)
        sum += done[i];
    ck_assert_uint_ge(sum, watched->seen);
    ck_assert_uint_le(sum, watched->tasks);
    watched->seen = sum;
    watched->workers = workers;
    watched->ended |= ended;
    watched->calls++;
}

static int pause_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)result, (void)task;
    usleep(*(const useconds_t *)arguments[0]);
    return 0;
}
POOL_TASK(pause_task);

START_TEST(a_map_is_watched)
{
    struct pool *pool = create_with(situation(_i));
    const struct pool_column pause = {
        .data = (useconds_t[]){20000}, .size = sizeof(useconds_t), .constant = true};
    struct watched watched = {.tasks = 8 * (size_t)pool_workers(pool)}; /* 0.16 s at least */
    ck_assert_int_eq(pool_watch(pool, look_on, &watched, &error), 0);
    ck_assert_int_eq(pool_starmap(pool, pause_task, &pause, 1, NULL, watched.tasks, 2, &error), 0);
    ck_assert(watched.ended);
    ck_assert_uint_eq(watched.seen, watched.tasks);
    ck_assert_uint_ge(watched.calls, 2);
    ck_assert_int_eq(watched.workers, pool_workers(pool));
    const size_t calls = watched.calls;
    ck_assert_int_eq(pool_watch(pool, NULL, NULL, &error), 0);
    map_squares(pool, 5, 1);
    ck_assert_uint_eq(watched.calls, calls);
    pool_destroy(pool);
}
END_TEST

START_TEST(columns_each_and_constant)
{
    enum { N = 101 };
    long a[N], results[N];
    int b[N];
    const short c = 7;
    for (int i = 0; i < N; i++) {
        a[i] = 1000L * i;
        b[i] = -i;
    }
    const struct pool_column columns[] = {
        {.data = a, .size = sizeof *a},
        {.data = b, .size = sizeof *b},
        {.data = &c, .size = sizeof c, .constant = true},
    };
    struct pool *pool = create_with(situation(_i));
    ck_assert_int_eq(pool_starmap(pool, add3, columns, 3,
                                  &(struct pool_results){.data = results, .size = sizeof *results},
                                  N, 0, &error),
                     0);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(results[i], 999L * i + 7);
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied,
                      sizeof a + sizeof b + sizeof c + sizeof results);
    pool_destroy(pool);
}
END_TEST

/* Some of many, in any order and more than once. Only those are copied; where they are shared, no
 * more than the indices, and if these are shared too, nothing. */
START_TEST(columns_by_index)
{
    enum { N = 9, MANY = 1000 };
    static const int64_t wanted[N] = {999, 0, 5, 5, 123, 998, 1, 0, 77};
    long *many = calloc(MANY, sizeof *many), results[N];
    long *shared = shared_memory_allocate(MANY, sizeof *shared, &error);
    int64_t *shared_indices = shared_memory_allocate(N, sizeof *shared_indices, &error);
    ck_assert(many && shared && shared_indices);
    for (long i = 0; i < MANY; i++)
        many[i] = shared[i] = i;
    memcpy(shared_indices, wanted, sizeof wanted);
    const struct {
        const long *data;
        const int64_t *indices;
        size_t copied;
    } cases[] = {{many, wanted, N * sizeof *many},
                 {many, shared_indices, N * sizeof *many},
                 {shared, wanted, sizeof wanted},
                 {shared, shared_indices, 0}};
    struct pool *pool = create_with(situation(_i));
    for (int c = 0; c < 4; c++) {
        const struct pool_column column = {
            .data = cases[c].data, .size = sizeof(long), .indices = cases[c].indices};
        const uint64_t before = pool_statistics(pool).bytes_copied;
        ck_assert_int_eq(
            pool_starmap(pool, square, &column, 1,
                         &(struct pool_results){.data = results, .size = sizeof *results}, N, 2,
                         &error),
            0);
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(results[i], wanted[i] * wanted[i]);
        ck_assert_uint_eq(pool_statistics(pool).bytes_copied - before,
                          cases[c].copied + sizeof results);
    }
    static const int64_t negative[N] = {1, 2, -1}, far[N] = {INT64_MAX};
    struct pool_column wrong = {.data = many, .size = sizeof *many, .indices = negative};
    const struct pool_results into = {.data = results, .size = sizeof *results};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pool_starmap(pool, square, &wrong, 1, &into, N, 0, &error), -1);
        ck_assert_int_eq(error.code, ERROR_INVALID);
        wrong.indices = i == 0 ? far : wanted;
        wrong.constant = i == 1;
    }
    pool_destroy(pool);
    shared_memory_free(shared_indices);
    shared_memory_free(shared);
    free(many);
}
END_TEST

/* One that is the same for all tasks, but copied for each, unless it is shared: then not at all. */
START_TEST(columns_copied_for_each_task)
{
    enum { N = 7 };
    long a[N] = {0, 1000, 2000, 3000, 4000, 5000, 6000}, results[N];
    int *shared = shared_memory_allocate(1, sizeof *shared, &error);
    const int b = -5;
    const short c = 7;
    ck_assert_ptr_nonnull(shared);
    *shared = b;
    struct pool *pool = create_with(situation(_i));
    for (int in_shared_memory = 0; in_shared_memory < 2; in_shared_memory++) {
        const struct pool_column columns[] = {
            {.data = a, .size = sizeof *a},
            {.data = in_shared_memory ? shared : &b, .size = sizeof b, .copied_each = true},
            {.data = &c, .size = sizeof c, .constant = true},
        };
        const uint64_t before = pool_statistics(pool).bytes_copied;
        ck_assert_int_eq(
            pool_starmap(pool, add3, columns, 3,
                         &(struct pool_results){.data = results, .size = sizeof *results}, N, 2,
                         &error),
            0);
        for (int i = 0; i < N; i++)
            ck_assert_int_eq(results[i], 1000L * i + 2);
        ck_assert_uint_eq(pool_statistics(pool).bytes_copied - before,
                          sizeof a + sizeof c + sizeof results +
                              (in_shared_memory ? 0 : N * sizeof b));
    }
    struct pool_column wrong = {.data = a, .size = 1, .copied_each = true, .constant = true};
    ck_assert_int_eq(pool_starmap(pool, add3, &wrong, 1, NULL, N, 0, &error), -1);
    ck_assert_int_eq(error.code, ERROR_INVALID);
    wrong = (struct pool_column){.data = a, .size = SIZE_MAX / 2, .copied_each = true};
    ck_assert_int_eq(pool_starmap(pool, add3, &wrong, 1, NULL, N, 0, &error), -1);
    ck_assert_int_eq(error.code, ERROR_INVALID);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_double_ge(statistics.all.compute, statistics.last.compute);
    pool_destroy(pool);
    shared_memory_free(shared);
}
END_TEST

/* Eight columns of one byte each. */
static int join8(const void *const *arguments, void *result, struct pool_task *task)
{
    char *text = result;
    (void)task;
    for (int c = 0; c < POOL_MAX_COLUMNS; c++)
        text[c] = *(const char *)arguments[c];
    return 0;
}
POOL_TASK(join8);

START_TEST(as_many_columns_as_possible)
{
    struct pool_column columns[POOL_MAX_COLUMNS];
    char results[3][POOL_MAX_COLUMNS];
    for (int c = 0; c < POOL_MAX_COLUMNS; c++)
        columns[c] = (struct pool_column){.data = &"abcdefghij"[c], .size = 1};
    struct pool *pool = create_with(situation(_i));
    ck_assert_int_eq(pool_starmap(pool, join8, columns, POOL_MAX_COLUMNS,
                                  &(struct pool_results){.data = results, .size = POOL_MAX_COLUMNS},
                                  3, 0, &error),
                     0);
    for (int i = 0; i < 3; i++)
        ck_assert_mem_eq(results[i], &"abcdefghij"[i], POOL_MAX_COLUMNS);
    pool_destroy(pool);
}
END_TEST

/* The ragged element i consists of i % 7 bytes, of the value i; the task adds 1 to each. */
static int add_one_to_all(const void *const *arguments, void *result, struct pool_task *task)
{
    const unsigned char *in = arguments[0];
    unsigned char *out = result;
    for (size_t i = 0; i < pool_task_index(task) % 7; i++)
        out[i] = (unsigned char)(in[i] + 1);
    return 0;
}
POOL_TASK(add_one_to_all);

#define RAGGED 150UL
#define GAP    5UL

/* Offsets that begin after a gap; returns the bytes in all. */
static size_t ragged_offsets(size_t *offsets, size_t first)
{
    offsets[0] = first;
    for (size_t i = 0; i < RAGGED; i++)
        offsets[i + 1] = offsets[i] + i % 7;
    return offsets[RAGGED];
}

static void check_ragged(struct pool *pool, unsigned char *in, unsigned char *out,
                         const size_t *in_offsets, const size_t *out_offsets)
{
    memset(out, 0xEE, out_offsets[RAGGED] + GAP);
    for (size_t i = 0; i < RAGGED; i++)
        memset(in + in_offsets[i], (int)i, i % 7);
    ck_assert_int_eq(pool_starmap(pool, add_one_to_all,
                                  &(struct pool_column){.data = in, .offsets = in_offsets}, 1,
                                  &(struct pool_results){.data = out, .offsets = out_offsets},
                                  RAGGED, 4, &error),
                     0);
    for (size_t i = 0; i < RAGGED; i++)
        for (size_t j = out_offsets[i]; j < out_offsets[i + 1]; j++)
            ck_assert_uint_eq(out[j], i + 1);
    for (size_t j = 0; j < GAP; j++) { /* around the results nothing is touched */
        ck_assert(out_offsets[0] == 0 || out[j] == 0xEE);
        ck_assert_uint_eq(out[out_offsets[RAGGED] + j], 0xEE);
    }
}

START_TEST(ragged_columns_and_results)
{
    size_t from_zero[RAGGED + 1], after_gap[RAGGED + 1];
    const size_t bytes = ragged_offsets(from_zero, 0);
    ragged_offsets(after_gap, GAP);
    unsigned char in[2048], out[2048];
    ck_assert_uint_lt(bytes + 2 * GAP, sizeof in);
    struct pool *pool = create_with(situation(_i));
    map_squares(pool, 1000, 0); /* leaves other data in the memory that is used again */
    const uint64_t squares = pool_statistics(pool).bytes_copied;
    check_ragged(pool, in, out, from_zero, from_zero);
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied - squares,
                      2 * bytes + 2 * sizeof from_zero);
    check_ragged(pool, in, out, after_gap, after_gap);
    unsigned char *shared_in = shared_memory_allocate(2048, 1, &error);
    unsigned char *shared_out = shared_memory_allocate(2048, 1, &error);
    ck_assert(shared_in && shared_out);
    check_ragged(pool, shared_in, shared_out, after_gap, from_zero);
    shared_memory_free(shared_in);
    shared_memory_free(shared_out);
    pool_destroy(pool);
}
END_TEST

START_TEST(shared_arrays_are_not_copied)
{
    enum { N = 1000 };
    long private_in[N], private_out[N];
    long *in = shared_memory_allocate(N, sizeof *in, &error);
    long *out = shared_memory_allocate(N, sizeof *out, &error);
    ck_assert(in && out);
    struct pool *pool = create_with(situation(_i));
    for (long i = 0; i < N; i++)
        in[i] = private_in[i] = i;

    ck_assert_int_eq(pool_map(pool, square, in, 8, out, 8, N, 0, &error), 0);
    check_squares(out, N);
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied, 0);

    memset(out, 0, N * sizeof *out);
    ck_assert_int_eq(pool_map(pool, square, private_in, 8, out, 8, N, 0, &error), 0);
    check_squares(out, N);
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied, sizeof private_in);

    ck_assert_int_eq(pool_map(pool, square, in, 8, private_out, 8, N, 0, &error), 0);
    check_squares(private_out, N);
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied, sizeof private_in + sizeof private_out);

    ck_assert_int_eq(pool_map(pool, square, in, 8, in, 8, N, 0, &error), 0); /* in place */
    check_squares(in, N);
    ck_assert_int_eq(pool_map(pool, square, private_in, 8, private_in, 8, N, 0, &error),
                     0); /* ... copied */
    check_squares(private_in, N);
    shared_memory_free(in);
    shared_memory_free(out);
    pool_destroy(pool);
}
END_TEST

START_TEST(nothing_in_or_nothing_out)
{
    size_t indices[50];
    struct pool *pool = create_with(situation(_i));
    ck_assert_int_eq(pool_map(pool, index_of, NULL, 0, indices, sizeof *indices, 50, 3, &error), 0);
    for (size_t i = 0; i < 50; i++)
        ck_assert_uint_eq(indices[i], i);
    long *shared = shared_memory_allocate(50, sizeof *shared, &error);
    ck_assert_ptr_nonnull(shared);
    ck_assert_int_eq(pool_starmap(pool, index_of, &(struct pool_column){0}, 1,
                                  &(struct pool_results){.data = shared, .size = 8}, 50, 0, NULL),
                     0);
    ck_assert_int_eq(shared[49], 49);
    shared_memory_free(shared);
    pool_destroy(pool);
}
END_TEST

/* ---- Refused arguments ---------------------------------------------------------------------- */

static void expect_refused(struct pool_options options, enum error_code code)
{
    ck_assert_ptr_null(pool_create(&options, &error));
    ck_assert_int_eq(error.code, code);
    ck_assert_str_ne(error.message, "");
    ck_assert_ptr_null(pool_create(&options, NULL));
}

START_TEST(refused_options)
{
    static const int bad_workers[] = {-1, POOL_MAX_WORKERS + 1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof bad_workers / sizeof *bad_workers; i++)
        expect_refused((struct pool_options){.workers = bad_workers[i]}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .start_method = (enum pool_start_method)3},
                   ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .retries = -1}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .retries = 256}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .threads_per_worker = -1}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .initializer = unregistered},
                   ERROR_UNREGISTERED);
    expect_refused(
        (struct pool_options){.workers = 1, .initializer = square, .initializer_size = 8},
        ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .maxtasksperchild = -1}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .soft_time_limit = -1}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .hard_time_limit = -0.5}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .soft_time_limit = NAN}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .hard_time_limit = NAN}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .nesting = -1}, ERROR_INVALID);
    expect_refused((struct pool_options){.workers = 1, .nesting = POOL_MAX_NESTING + 1},
                   ERROR_INVALID);
    pool_destroy(NULL);
}
END_TEST

START_TEST(options_may_be_null)
{
    pid_t pids[POOL_MAX_WORKERS];
    struct pool *pool = pool_create(NULL, &error);
    ck_assert_msg(pool != NULL, "%s", error.message);
    ck_assert_int_eq(pool_workers(pool), resources_cores());
    ck_assert_int_eq(pool_start_method(pool), POOL_FORKSERVER);
    map_squares(pool, 1000, 0);
    settled_pids(pool, NULL, pids);
    ck_assert_int_eq(parent_of(pids[0]), helper);
    pool_destroy(pool);
    pool = create_with((struct pool_options){.retries = 1}); /* nor is a number of workers needed */
    ck_assert_int_eq(pool_workers(pool), resources_cores());
    pool_destroy(pool);
}
END_TEST

static void expect_map_refused(int status, enum error_code code, const char *part_of_message)
{
    expect_failure(status, &error, code, part_of_message);
    error = (struct error){0};
}

START_TEST(refused_maps)
{
    long x[4] = {0, 1, 2, 3}, y[4];
    const size_t descending[] = {0, 8, 4, 16, 32};
    struct pool_column columns[POOL_MAX_COLUMNS + 1];
    const struct pool_results results = {.data = y, .size = 8};
    for (int c = 0; c <= POOL_MAX_COLUMNS; c++)
        columns[c] = (struct pool_column){.data = x, .size = 8};
    struct pool *pool = create_with((struct pool_options){.workers = 2});

    expect_map_refused(pool_map(pool, unregistered, x, 8, y, 8, 4, 0, &error), ERROR_UNREGISTERED,
                       "POOL_TASK");
    expect_map_refused(pool_map(pool, NULL, x, 8, y, 8, 4, 0, &error), ERROR_INVALID, "function");
    expect_map_refused(pool_map(NULL, square, x, 8, y, 8, 4, 0, &error), ERROR_INVALID, "pool");
    expect_map_refused(pool_map(pool, square, NULL, 8, y, 8, 4, 0, &error), ERROR_INVALID, "NULL");
    expect_map_refused(pool_map(pool, square, x, 8, NULL, 8, 4, 0, &error), ERROR_INVALID, "NULL");
    expect_map_refused(pool_starmap(pool, square, NULL, 1, &results, 4, 0, &error), ERROR_INVALID,
                       "NULL");
    expect_map_refused(pool_starmap(pool, square, columns, 0, &results, 4, 0, &error),
                       ERROR_INVALID, "columns");
    expect_map_refused(
        pool_starmap(pool, square, columns, POOL_MAX_COLUMNS + 1, &results, 4, 0, &error),
        ERROR_INVALID, "columns");
    columns[0].offsets = descending;
    expect_map_refused(pool_starmap(pool, square, columns, 1, &results, 4, 0, &error),
                       ERROR_INVALID, "descend");
    columns[0].offsets = NULL;
    expect_map_refused(pool_starmap(pool, square, columns, 1,
                                    &(struct pool_results){.data = y, .offsets = descending}, 4, 0,
                                    &error),
                       ERROR_INVALID, "descend");
    ck_assert_int_eq(pool_map(pool, NULL, x, 8, y, 8, 4, 0, NULL), -1);
    map_squares(pool, 100, 0); /* still as good as new */
    pool_destroy(pool);
}
END_TEST

START_TEST(sizes_that_overflow)
{
    long x[1] = {0}, y[1];
    struct pool *pool = create_with((struct pool_options){.workers = 2});
    expect_map_refused(pool_map(pool, square, x, 8, y, 8, SIZE_MAX, 0, &error), ERROR_INVALID,
                       "overflow");
    expect_map_refused(pool_map(pool, square, x, 8, y, 16, SIZE_MAX / 8, 0, &error), ERROR_INVALID,
                       "overflow");
    /* The product fits, the sum of all parts does not. */
    expect_map_refused(pool_map(pool, square, x, 8, y, 8, SIZE_MAX / 8, 0, &error), ERROR_MEMORY,
                       "memory");
    expect_map_refused(pool_map(pool, square, x, 8, y, 8, SIZE_MAX / 16, 0, &error), ERROR_MEMORY,
                       "memory");
    expect_map_refused(pool_map(pool, square, x, 0, y, 0, SIZE_MAX, 1, &error), ERROR_MEMORY,
                       "memory");
    expect_map_refused(pool_map(pool, square, x, 0, y, 0, SIZE_MAX, 7, &error), ERROR_MEMORY,
                       "memory");
    map_squares(pool, 100, 0);
    pool_destroy(pool);
}
END_TEST

/* ---- Task errors ---------------------------------------------------------------------------- */

/* Fails where the argument is negative. */
static int square_positive(const void *const *arguments, void *result, struct pool_task *task)
{
    const long x = *(const long *)arguments[0];
    if (x == -77)
        return 5;
    if (x < 0)
        return pool_task_fail(task, "%ld is negative", x);
    *(long *)result = x * x;
    return 0;
}
POOL_TASK(square_positive);

#define FAILING   1000L
#define CHUNK     10L
#define UNTOUCHED (-5L)

static void prepare_failing(long *in, long *out)
{
    for (long i = 0; i < FAILING; i++) {
        in[i] = i;
        out[i] = UNTOUCHED;
    }
    in[713] = -13;
    in[33] = -3;
    in[35] = -4;
    in[999] = -1;
}

/* Everything is there but the failed tasks and what followed them in their chunks. */
static void check_failing(const long *out)
{
    for (long i = 0; i < FAILING; i++) {
        const bool run = !((i >= 33 && i < 40) || (i >= 713 && i < 720) || i == 999);
        ck_assert_int_eq(out[i], run ? i * i : UNTOUCHED);
    }
}

START_TEST(lowest_error_is_reported_and_the_rest_is_done)
{
    long in[FAILING], out[FAILING];
    long *shared_in = shared_memory_allocate(FAILING, sizeof *in, &error);
    long *shared_out = shared_memory_allocate(FAILING, sizeof *out, &error);
    ck_assert(shared_in && shared_out);
    struct pool *pool = create_with(situation(_i));

    prepare_failing(in, out);
    expect_map_refused(pool_map(pool, square_positive, in, 8, out, 8, FAILING, CHUNK, &error),
                       ERROR_TASK, "square_positive: task 33: -3 is negative");
    check_failing(out);
    const size_t completed = FAILING - 7 - 7 - 1;
    ck_assert_uint_eq(pool_statistics(pool).tasks, completed);
    ck_assert_uint_eq(pool_statistics(pool).chunks, FAILING / CHUNK - 3);
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied, 8 * FAILING + 8 * completed);

    prepare_failing(shared_in, shared_out);
    ck_assert_int_eq(
        pool_map(pool, square_positive, shared_in, 8, shared_out, 8, FAILING, CHUNK, &error), -1);
    ck_assert_int_eq(error.code, ERROR_TASK);
    ck_assert_uint_eq(error.task, 33);
    check_failing(shared_out);

    in[0] = -77; /* says nothing, only returns 5 */
    expect_map_refused(pool_map(pool, square_positive, in, 8, out, 8, 1, 1, &error), ERROR_TASK,
                       "task 0: returned 5");
    map_squares(pool, 1000, 0);
    shared_memory_free(shared_in);
    shared_memory_free(shared_out);
    pool_destroy(pool);
}
END_TEST

static int talk_too_much(const void *const *arguments, void *result, struct pool_task *task)
{
    char text[2000];
    (void)arguments;
    (void)result;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    return pool_task_fail(task, "%s", text);
}
POOL_TASK(talk_too_much);

START_TEST(long_message_is_cut)
{
    struct pool *pool = create_with((struct pool_options){.workers = 2});
    expect_map_refused(pool_map(pool, talk_too_much, NULL, 0, NULL, 0, 3, 1, &error), ERROR_TASK,
                       "talk_too_much: task 0: xxxxx");
    ck_assert_int_eq(pool_map(pool, talk_too_much, NULL, 0, NULL, 0, 3, 1, &error), -1);
    ck_assert_uint_eq(strnlen(error.message, sizeof error.message), sizeof error.message - 1);
    pool_destroy(pool);
}
END_TEST

/* ---- Initializer ---------------------------------------------------------------------------- */

static long initialized;

static int set_initialized(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)result;
    (void)task;
    initialized = arguments[0] ? *(const long *)arguments[0] : -1;
    return 0;
}
POOL_TASK(set_initialized);

static int get_initialized(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)task;
    *(long *)result = initialized;
    return 0;
}
POOL_TASK(get_initialized);

START_TEST(initializer_sets_every_worker)
{
    long value = 4711, results[40];
    struct pool_options options = situation(_i);
    options.initializer = set_initialized;
    options.initializer_argument = &value;
    options.initializer_size = sizeof value;
    struct pool *pool = create_with(options);
    value = 0; /* the workers have a copy */
    ck_assert_int_eq(pool_map(pool, get_initialized, NULL, 0, results, 8, 40, 1, &error), 0);
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(results[i], 4711);
    ck_assert_int_eq(initialized, 0); /* this process has its own */
    pool_destroy(pool);
    options.initializer_argument = NULL;
    options.initializer_size = 0;
    pool = create_with(options);
    ck_assert_int_eq(pool_map(pool, get_initialized, NULL, 0, results, 8, 1, 1, &error), 0);
    ck_assert_int_eq(results[0], -1);
    pool_destroy(pool);
}
END_TEST

static int fail_to_initialize(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    return pool_task_fail(task, "no luck today");
}
POOL_TASK(fail_to_initialize);

static int die_in_initializer(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    raise(SIGKILL);
    return 0;
}
POOL_TASK(die_in_initializer);

static int end_the_thread(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    pthread_exit(NULL);
}
POOL_TASK(end_the_thread);

START_TEST(initializer_that_fails_or_dies)
{
    struct pool_options options = situation(_i);
    options.initializer = fail_to_initialize;
    expect_refused(options, ERROR_TASK);
    ck_assert_str_eq(error.message, "initializer fail_to_initialize: no luck today");
    options.initializer = die_in_initializer;
    expect_refused(options, ERROR_BROKEN);
    ck_assert_ptr_nonnull(strstr(error.message, "killed by signal 9"));
    options.initializer = end_the_thread;
    expect_refused(options, ERROR_BROKEN);
}
END_TEST

/* ---- Deaths --------------------------------------------------------------------------------- */

/* Columns: x; how to die, where x is negative; where to count deaths, which stop when there have
 * been -x. */
static int square_or_die(const void *const *arguments, void *result, struct pool_task *task)
{
    const long x = *(const long *)arguments[0];
    const enum death death = *(const enum death *)arguments[1];
    atomic_long *deaths = *(atomic_long *const *)arguments[2];
    const long i = (long)pool_task_index(task);
    if (x < 0 && atomic_load(deaths) < -x) {
        atomic_fetch_add(deaths, 1);
        die(death);
    }
    *(long *)result = i * i;
    return 0;
}
POOL_TASK(square_or_die);

#define MORTAL 200UL

static int map_mortal(struct pool *pool, const long *x, enum death death, atomic_long *deaths,
                      long *results, size_t chunksize)
{
    const struct pool_column columns[] = {
        {.data = x, .size = sizeof *x},
        {.data = &death, .size = sizeof death, .constant = true},
        {.data = &deaths, .size = sizeof(atomic_long *), .constant = true},
    };
    return pool_starmap(pool, square_or_die, columns, 3,
                        &(struct pool_results){.data = results, .size = sizeof *results}, MORTAL,
                        chunksize, &error);
}

START_TEST(retries_heal_deaths)
{
    long x[MORTAL] = {0}, results[MORTAL];
    atomic_long *deaths = shared_memory_allocate(1, sizeof *deaths, &error);
    ck_assert_ptr_nonnull(deaths);
    struct pool_options options = situation(_i);
    options.retries = 2;
    struct pool *pool = create_with(options);
    x[57] = -2; /* dies twice */
    for (enum death death = 0; death < DEATHS; death++) {
        atomic_store(deaths, 0);
        memset(results, 0xFF, sizeof results);
        ck_assert_msg(map_mortal(pool, x, death, deaths, results, 3) == 0, "death %d: %s", death,
                      error.message);
        check_squares(results, MORTAL);
        ck_assert_int_eq(atomic_load(deaths), 2);
    }
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.restarts, 2UL * DEATHS);
    ck_assert_uint_eq(statistics.chunks_retried, 2UL * DEATHS);
    ck_assert_uint_eq(statistics.chunks_lost, 0);
    ck_assert_uint_eq(statistics.tasks, MORTAL * DEATHS);
    pool_destroy(pool);
    shared_memory_free(deaths);
}
END_TEST

/* The task at 58 dies each time: it is lost, 59 is not run, and 57, before it in their chunk, and
 * everything else is there. */
static void expect_lost(struct pool *pool, enum death death, atomic_long *deaths, long *results)
{
    long x[MORTAL] = {0};
    char how[64];
    pid_t pids[MAX_WORKERS];
    x[58] = -100;
    settled_pids(pool, NULL, pids);
    for (size_t i = 0; i < MORTAL; i++)
        results[i] = UNTOUCHED;
    ck_assert_int_eq(map_mortal(pool, x, death, deaths, results, 3), -1);
    ck_assert_msg(error.code == ERROR_WORKER_LOST, "%s", error.message);
    ck_assert_uint_eq(error.task, 58);
    ck_assert_int_gt(error.worker, 0);
    if (pool_statistics(pool).chunks_retried == 0) {
        bool ours = false;
        for (int i = 0; i < pool_workers(pool); i++)
            ours = ours || pids[i] == error.worker;
        ck_assert_msg(ours, "%d was no worker", (int)error.worker);
    }
    ck_assert_msg(strstr(error.message, "task 58 ") != NULL, "%s", error.message);
    snprintf(how, sizeof how, "worker %d %s", (int)error.worker,
             death_signals[death] ? "was killed by signal" : "ended with exit status");
    ck_assert_msg(strstr(error.message, how) != NULL, "death %d: %s", death, error.message);
    if (death_signals[death]) {
        snprintf(how, sizeof how, "signal %d", death_signals[death]);
        ck_assert_msg(strstr(error.message, how) != NULL, "death %d: %s", death, error.message);
    }
    for (long i = 0; i < (long)MORTAL; i++)
        ck_assert_int_eq(results[i], i == 58 || i == 59 ? UNTOUCHED : i * i);
}

START_TEST(without_retries_a_chunk_is_lost)
{
    long results[MORTAL];
    atomic_long *deaths = shared_memory_allocate(1, sizeof *deaths, &error);
    long *shared_results = shared_memory_allocate(MORTAL, sizeof *shared_results, &error);
    ck_assert(deaths && shared_results);
    struct pool *pool = create_with(situation(_i));
    for (enum death death = 0; death < DEATHS; death++) {
        atomic_store(deaths, 0);
        expect_lost(pool, death, deaths, results);
        expect_lost(pool, death, deaths, shared_results);
        ck_assert_int_eq(atomic_load(deaths), 2);
    }
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.chunks_lost, 2UL * DEATHS);
    ck_assert_uint_eq(statistics.tasks, 2UL * DEATHS * (MORTAL - 2));
    ck_assert_str_ne(statistics.last_death, "");
    map_squares(pool, 1000, 0);
    pid_t pids[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 2UL * DEATHS);
    pool_destroy(pool);
    shared_memory_free(shared_results);
    shared_memory_free(deaths);
}
END_TEST

START_TEST(exhausted_retries_lose_a_chunk)
{
    long results[MORTAL];
    atomic_long *deaths = shared_memory_allocate(1, sizeof *deaths, &error);
    ck_assert_ptr_nonnull(deaths);
    struct pool_options options = situation(_i);
    options.retries = 3;
    struct pool *pool = create_with(options);
    expect_lost(pool, BY_KILL, deaths, results);
    ck_assert_int_eq(atomic_load(deaths), 4);
    ck_assert_uint_eq(pool_statistics(pool).chunks_retried, 3);
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, 1);
    pool_destroy(pool);
    shared_memory_free(deaths);
}
END_TEST

START_TEST(lost_tasks_and_the_message_name_the_same_worker)
{
    long x[MORTAL] = {0}, results[MORTAL];
    char who[32];
    atomic_long *deaths = shared_memory_allocate(1, sizeof *deaths, &error);
    ck_assert_ptr_nonnull(deaths);
    struct pool *pool = create_with(situation(_i));
    for (size_t i = 10; i < 15; i++)
        x[i] = -100;
    ck_assert_int_eq(map_mortal(pool, x, BY_KILL, deaths, results, 1), -1);
    ck_assert_int_eq(error.code, ERROR_WORKER_LOST);
    ck_assert_uint_eq(error.task, 10);
    snprintf(who, sizeof who, "worker %d ", (int)error.worker);
    ck_assert_ptr_nonnull(strstr(error.message, who));
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, 5);
    ck_assert_uint_eq(pool_statistics(pool).tasks, MORTAL - 5);
    pool_destroy(pool);
    shared_memory_free(deaths);
}
END_TEST

START_TEST(all_workers_killed_while_idle)
{
    struct pool *pool = create_with(situation(_i));
    pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < pool_workers(pool); i++)
            ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
        map_squares(pool, 1000, 1);
        settled_pids(pool, pids, again);
        memcpy(pids, again, sizeof pids);
    }
    ck_assert_uint_eq(pool_statistics(pool).restarts, 3 * (uint64_t)pool_workers(pool));
    pool_destroy(pool);
}
END_TEST

/* As many tasks as there are workers are in the middle of their work, and all are killed at once.
 */
START_TEST(all_workers_killed_while_busy)
{
    struct pool_options options = situation(_i);
    struct order orders[50];
    long results[50];
    pid_t pids[MAX_WORKERS];
    options.retries = 1;
    struct pool *pool = create_with(options);
    struct scene *scene = make_scene();
    prepare(scene, orders, results, 50, WAIT);
    struct pool_result *result = pool_map_async(pool, play, orders, sizeof *orders, results,
                                                sizeof *results, 50, 1, NULL, &error);
    ck_assert_msg(result != NULL, "%s", error.message);
    await_entered(scene, options.workers);
    pool_pids(pool, pids);
    for (int i = 0; i < options.workers; i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
    await_entered(scene, 2L * options.workers); /* they have been run again */
    open_scene(scene);
    ck_assert_msg(pool_result_get(result, -1, &error) == 0, "%s", error.message);
    check_squares(results, 50);
    pool_result_free(result);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.chunks_retried, (uint64_t)options.workers);
    ck_assert_uint_eq(statistics.restarts, (uint64_t)options.workers);
    pool_destroy(pool);
    shared_memory_free(scene);
}
END_TEST

/* No worker can claim anything, because all are stopped; then they die. Nothing was lost by it. */
START_TEST(workers_killed_before_they_claim)
{
    struct order orders[50];
    long results[50];
    pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
    struct pool *pool = create_with(situation(_i)); /* no retries */
    struct scene *scene = make_scene();
    prepare(scene, orders, results, 50, SQUARE);
    settled_pids(pool, NULL, pids);
    for (int i = 0; i < pool_workers(pool); i++) {
        ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
        expect_stopped(pids[i]);
    }
    struct pool_result *result = pool_map_async(pool, play, orders, sizeof *orders, results,
                                                sizeof *results, 50, 2, NULL, &error);
    ck_assert_msg(result != NULL, "%s", error.message);
    ck_assert_int_eq(pool_result_wait(result, 0.05, &error), -1);
    ck_assert_int_eq(atomic_load(&scene->entered), 0);
    for (int i = 0; i < pool_workers(pool); i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
    ck_assert_msg(pool_result_get(result, -1, &error) == 0, "%s", error.message);
    check_squares(results, 50);
    settled_pids(pool, pids, again);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.restarts, (uint64_t)pool_workers(pool));
    ck_assert_uint_eq(statistics.chunks_retried + statistics.chunks_lost, 0);
    pool_result_free(result);
    pool_destroy(pool);
    shared_memory_free(scene);
}
END_TEST

/* Where every task dies each time, deaths are bounded by the retries of each chunk. */
START_TEST(deaths_of_every_task_are_bounded)
{
    long x[MORTAL], results[MORTAL];
    atomic_long *deaths = shared_memory_allocate(1, sizeof *deaths, &error);
    ck_assert_ptr_nonnull(deaths);
    struct pool_options options = situation(_i);
    options.retries = 2;
    struct pool *pool = create_with(options);
    for (size_t i = 0; i < MORTAL; i++) {
        x[i] = -1000000;
        results[i] = UNTOUCHED;
    }
    expect_map_refused(map_mortal(pool, x, BY_KILL, deaths, results, 20), ERROR_WORKER_LOST,
                       "task 0 ");
    for (size_t i = 0; i < MORTAL; i++)
        ck_assert_int_eq(results[i], UNTOUCHED);
    ck_assert_int_eq(atomic_load(deaths), MORTAL / 20 * 3);
    map_squares(pool, 100, 1);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_uint_eq(statistics.chunks_lost, MORTAL / 20);
    ck_assert_uint_eq(statistics.chunks_retried, MORTAL / 20 * 2);
    pool_destroy(pool);
    shared_memory_free(deaths);
}
END_TEST

/* Column: where to count. The first `workers` calls succeed. */
static int initialize_only_at_first(const void *const *arguments, void *result,
                                    struct pool_task *task)
{
    (void)result;
    atomic_long *left = *(atomic_long *const *)arguments[0];
    return atomic_fetch_sub(left, 1) > 0 ? 0 : pool_task_fail(task, "not a second time");
}
POOL_TASK(initialize_only_at_first);

START_TEST(initializer_that_fails_in_a_replacement)
{
    long x[MORTAL] = {0}, results[MORTAL];
    atomic_long *counters = shared_memory_allocate(2, sizeof *counters, &error);
    ck_assert_ptr_nonnull(counters);
    struct pool_options options = situation(_i);
    options.retries = 200;
    options.initializer = initialize_only_at_first;
    options.initializer_argument = &counters;
    options.initializer_size = sizeof counters;
    atomic_store(&counters[0], options.workers);
    struct pool *pool = create_with(options);
    x[3] = -100;
    expect_map_refused(map_mortal(pool, x, BY_KILL, &counters[1], results, 1), ERROR_BROKEN,
                       "initializer initialize_only_at_first: not a second time");
    pool_destroy(pool);
    shared_memory_free(counters);
}
END_TEST

/* The same, but later calls kill: replacements die as fast as they are started. */
static int survive_only_at_first(const void *const *arguments, void *result, struct pool_task *task)
{
    if (initialize_only_at_first(arguments, result, task) != 0)
        raise(SIGKILL);
    return 0;
}
POOL_TASK(survive_only_at_first);

START_TEST(restart_storm_is_bounded)
{
    long x[MORTAL] = {0}, results[MORTAL];
    atomic_long *counters = shared_memory_allocate(2, sizeof *counters, &error);
    ck_assert_ptr_nonnull(counters);
    struct pool_options options = situation(_i);
    options.retries = 200;
    options.initializer = survive_only_at_first;
    options.initializer_argument = &counters;
    options.initializer_size = sizeof counters;
    atomic_store(&counters[0], options.workers);
    struct pool *pool = create_with(options);
    pid_t pids[MAX_WORKERS];
    pool_pids(pool, pids);
    for (int i = 0; i < options.workers; i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
    while (map_mortal(pool, x, BY_KILL, &counters[1], results, 1) == 0)
        ; /* until the signals have arrived */
    expect_map_refused(-1, ERROR_BROKEN, "die as fast as they are started");
    expect_map_refused(map_mortal(pool, x, BY_KILL, &counters[1], results, 1), ERROR_BROKEN, "die");
    ck_assert_uint_le(pool_statistics(pool).restarts, 20 + 4 * (uint64_t)options.workers);
    pool_destroy(pool);
    shared_memory_free(counters);
}
END_TEST

struct fire { /* in shared memory */
    atomic_long done, kills, wanted;
    atomic_bool over;
};

/* Columns: x, the fire. Every thousandth task waits for one more kill, so that there are ten. */
static int square_under_fire(const void *const *arguments, void *result, struct pool_task *task)
{
    struct fire *fire = *(struct fire *const *)arguments[1];
    const long i = (long)pool_task_index(task), kills = i / 1000 + 1;
    if (i % 1000 == 0) {
        long wanted = atomic_load(&fire->wanted);
        while (wanted < kills && !atomic_compare_exchange_weak(&fire->wanted, &wanted, kills))
            ;
        while (atomic_load(&fire->kills) < kills)
            sched_yield();
    }
    atomic_fetch_add(&fire->done, 1);
    return square(arguments, result, task);
}
POOL_TASK(square_under_fire);

/* A process that kills workers at random, in whatever they are doing: one for each 200 tasks that
 * were done, and those that are waited for. */
static pid_t start_killer(pid_t of_helper, struct fire *fire)
{
    const pid_t killer = fork();
    ck_assert_int_ge(killer, 0);
    if (killer > 0)
        return killer;
    pid_t workers[64];
    srand(1);
    for (long seen = 0; !atomic_load(&fire->over); sched_yield()) {
        const long done = atomic_load(&fire->done);
        if (done < seen + 200 && atomic_load(&fire->kills) >= atomic_load(&fire->wanted))
            continue;
        seen = done;
        const int count = descendants(of_helper, workers, 64);
        if (count > 0 && kill(workers[rand() % count], SIGKILL) == 0)
            atomic_fetch_add(&fire->kills, 1);
    }
    _exit(0);
}

START_TEST(random_kills_do_not_change_a_result)
{
    enum { N = 10000 };
    static long x[N], y[N];
    struct fire *fire = shared_memory_allocate(1, sizeof *fire, &error);
    ck_assert_ptr_nonnull(fire);
    const struct pool_column columns[] = {
        {.data = x, .size = sizeof *x},
        {.data = &fire, .size = sizeof(void *), .constant = true},
    };
    struct pool_options options = situation(_i);
    options.retries = 255;
    struct pool *pool = create_with(options);
    const pid_t killer = start_killer(helper_of(pool), fire);
    for (long i = 0; i < N; i++) {
        x[i] = i;
        y[i] = -1;
    }
    const int status =
        pool_starmap(pool, square_under_fire, columns, 2,
                     &(struct pool_results){.data = y, .size = sizeof *y}, N, 5, &error);
    ck_assert_msg(status == 0, "%s", error.message);
    check_squares(y, N);
    atomic_store(&fire->over, true);
    ck_assert_int_eq(waitpid(killer, NULL, 0), killer);
    const struct pool_statistics statistics = pool_statistics(pool);
    ck_assert_int_ge(atomic_load(&fire->done), N);
    ck_assert_int_ge(atomic_load(&fire->kills), N / 1000);
    ck_assert_uint_gt(statistics.restarts, 0);
    ck_assert_uint_le(statistics.restarts, (uint64_t)atomic_load(&fire->kills));
    ck_assert_uint_eq(statistics.chunks_lost, 0);
    ck_assert_uint_eq(statistics.tasks, N);
    pool_destroy(pool);
    shared_memory_free(fire);
}
END_TEST

static int kill_parent(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    kill(getppid(), SIGKILL);
    pause_ms(1000 * HANG); /* the kernel ends this worker */
    return 0;
}
POOL_TASK(kill_parent);

START_TEST(helper_killed_during_a_map)
{
    struct pool *pool = create_with(situation(_i));
    helper_is_gone = situation(_i).start_method != POOL_FORK;
    expect_map_refused(pool_map(pool, kill_parent, NULL, 0, NULL, 0, 100, 1, &error), ERROR_BROKEN,
                       "helper process is gone");
    expect_map_refused(pool_map(pool, kill_parent, NULL, 0, NULL, 0, 100, 1, &error), ERROR_BROKEN,
                       "helper process is gone");
    pool_destroy(pool);
    if (helper_is_gone) {
        expect_refused(situation(_i), ERROR_BROKEN);
        before.descriptors--; /* its socket */
    }
}
END_TEST

START_TEST(helper_killed_while_idle)
{
    struct pool *pool = create_with(situation(_i));
    struct pool *other = create_with(situation(_i));
    helper_is_gone = situation(_i).start_method != POOL_FORK;
    ck_assert_int_eq(kill(helper_of(pool), SIGKILL), 0);
    long x = 1, y;
    while (pool_map(pool, square, &x, 8, &y, 8, 1, 1, &error) == 0)
        ; /* until the signal has arrived */
    expect_map_refused(-1, ERROR_BROKEN, "helper process is gone");
    if (helper_is_gone)
        expect_map_refused(pool_map(other, square, &x, 8, &y, 8, 1, 1, &error), ERROR_BROKEN,
                           "helper process is gone");
    else
        map_squares(other, 10, 1);
    pool_destroy(other);
    pool_destroy(pool);
    before.descriptors -= helper_is_gone;
}
END_TEST

START_TEST(helper_killed_before_destroy)
{
    struct pool *pool = create_with(situation(_i));
    helper_is_gone = situation(_i).start_method != POOL_FORK;
    ck_assert_int_eq(kill(helper_of(pool), SIGKILL), 0);
    pool_destroy(pool);
    expect_no_process(helper_is_gone);
    if (helper_is_gone) {
        expect_refused(situation(_i), ERROR_BROKEN);
        before.descriptors--;
    }
}
END_TEST

START_TEST(stopped_worker_does_not_keep_destroy_from_ending)
{
    struct pool *pool = create_with(situation(_i));
    pid_t pids[MAX_WORKERS];
    pool_pids(pool, pids);
    ck_assert_int_eq(kill(pids[0], SIGSTOP), 0);
    pool_destroy(pool);
}
END_TEST

/* The helper cannot reap, report or kill; the workers end by themselves. */
START_TEST(stopped_helper_does_not_keep_destroy_from_ending)
{
    struct pool_options options = situation(3 + _i); /* it takes seconds */
    struct pool *pool = create_with(options);
    pid_t pids[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    const pid_t stopped = parent_of(pids[0]);
    map_squares(pool, 10, 1);
    ck_assert_int_eq(kill(stopped, SIGSTOP), 0);
    expect_stopped(stopped);
    pool_destroy(pool);
    for (int i = 0; i < options.workers; i++)
        expect_death(pids[i]);
    if (stopped != helper) { /* start method fork: the pool's own ends with it */
        expect_death(stopped);
        return;
    }
    kill(helper, SIGCONT); /* if it is there, it works again */
    pool = pool_create(&(struct pool_options){.workers = 2}, &error);
    if (pool) {
        map_squares(pool, 10, 1);
        pool_destroy(pool);
    } else {
        ck_assert_int_eq(error.code, ERROR_BROKEN);
        helper_is_gone = true;
        before.descriptors--;
    }
}
END_TEST

/* ---- Pools where there should be none -------------------------------------------------------- */

static struct pool *a_pool; /* inherited by the workers of start method fork */

static int make_a_pool(const void *const *arguments, void *result, struct pool_task *task)
{
    struct error inner;
    long x = 1, y;
    (void)arguments;
    if (pool_startup(&inner) != 0)
        return pool_task_fail(task, "pool_startup: %s", inner.message);
    if (pool_create(&(struct pool_options){.workers = 1}, &inner) || inner.code != ERROR_INVALID)
        return pool_task_fail(task, "a pool in a worker");
    if (shared_memory_allocate(1, 1, &inner) || inner.code != ERROR_INVALID)
        return pool_task_fail(task, "a shared array made by a worker");
    if (a_pool &&
        (pool_map(a_pool, square, &x, 8, &y, 8, 1, 1, &inner) == 0 || inner.code != ERROR_INVALID))
        return pool_task_fail(task, "a worker has used its parent's pool");
    if (pool_is_spawned_worker())
        return pool_task_fail(task, "what a task starts would take itself for a worker");
    *(int *)result = 1;
    return 0;
}
POOL_TASK(make_a_pool);

START_TEST(worker_has_no_pools)
{
    int results[20];
    a_pool = create_with((struct pool_options){.workers = 1});
    struct pool *pool = create_with(situation(_i));
    ck_assert_msg(pool_map(pool, make_a_pool, NULL, 0, results, sizeof *results, 20, 1, &error) ==
                      0,
                  "%s", error.message);
    pool_destroy(pool);
    map_squares(a_pool, 10, 0);
    pool_destroy(a_pool);
}
END_TEST

START_TEST(forked_copy_of_the_program_has_no_pools)
{
    struct pool *pool = create_with(situation(_i));
    long *shared = shared_memory_allocate(1, sizeof *shared, &error);
    long x = 1, y;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const bool map_refused =
            pool_map(pool, square, &x, 8, &y, 8, 1, 1, &error) == -1 && error.code == ERROR_INVALID;
        const bool create_refused =
            pool_create(&(struct pool_options){.workers = 1}, &error) == NULL;
        pool_destroy(pool); /* frees memory, and leaves the parent's workers alone */
        shared_memory_free(shared);
        _exit(map_refused && create_refused ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    map_squares(pool, 100, 1);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    shared_memory_free(shared);
    pool_destroy(pool);
}
END_TEST

/* A worker has the standard streams and what the pool gives it, not what belongs to another worker
 * or pool: that would keep something alive that should end. What the program has open it has with
 * "fork" only, as in Python. */
static int count_descriptors(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)task;
    *(int *)result = count_entries("/proc/self/fd");
    return 0;
}
POOL_TASK(count_descriptors);

static void expect_descriptors(struct pool *pool, int expected)
{
    int results[20];
    ck_assert_int_eq(pool_map(pool, count_descriptors, NULL, 0, results, 4, 20, 1, &error), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(results[i], expected);
}

START_TEST(workers_inherit_only_the_programs_descriptors)
{
    int own;
    pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
    struct pool_options options = situation(_i);
    struct pool *first =
        create_with((struct pool_options){.workers = 1, .start_method = options.start_method});
    ck_assert_int_eq(pool_map(first, count_descriptors, NULL, 0, &own, 4, 1, 1, &error), 0);
    ck_assert_int_ge(own, 4);
    ck_assert_int_le(own, 9);
    const int extra = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    ck_assert_int_ge(extra, 0);
    const int with_extra = own + (options.start_method == POOL_FORK);
    struct pool *pool = create_with(options);
    expect_descriptors(pool, with_extra);
    settled_pids(pool, NULL, pids);
    for (int i = 0; i < options.workers; i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
    settled_pids(pool, pids, again);
    expect_descriptors(pool, with_extra); /* nor do replacements */
    expect_descriptors(first, own);
    pool_destroy(pool);
    pool_destroy(first);
    close(extra);
}
END_TEST

/* ---- Several pools, and many ----------------------------------------------------------------- */

START_TEST(many_pools_leave_nothing)
{
    static const int pools[] = {500, 200, 60};
    struct pool_options options = {.workers = 1 + _i % 2,
                                   .start_method = (enum pool_start_method)_i};
    int anonymous = 0;
    for (int i = 0; i < (SANITIZED ? 40 : pools[_i]); i++) {
        struct pool *pool = create_with(options);
        if (i % 10 == 0)
            map_squares(pool, 20, 0);
        pool_destroy(pool);
        if (i == 10)
            anonymous = take_ledger().anonymous;
    }
    if (!SANITIZED)
        ck_assert_int_le(take_ledger().anonymous, anonymous + 4); /* not one for each pool */
}
END_TEST

START_TEST(two_pools_alternate)
{
    struct pool *one = create_with(situation(_i)), *two = create_with(situation(_i));
    struct pool *third = create_with((struct pool_options){.workers = 1});
    for (int i = 0; i < 50; i++) {
        map_squares(one, 30, 1);
        map_squares(two, 31, 2);
        map_squares(third, 3, 0);
    }
    pool_destroy(two); /* not in the order they were made in */
    map_squares(one, 30, 1);
    map_squares(third, 3, 0);
    pool_destroy(one);
    map_squares(third, 3, 0);
    pool_destroy(third);
}
END_TEST

START_TEST(death_in_one_pool_is_heard_while_another_works)
{
    struct pool_options options = situation(_i);
    if (options.start_method == POOL_FORK) /* each of these has its own helper */
        return;
    struct pool *working = create_with(options), *dying = create_with(options);
    pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
    pool_pids(dying, pids);
    ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
    do {
        map_squares(working, 20, 1);
        pool_pids(dying, again);
    } while (again[0] == pids[0] || again[0] == 0);
    ck_assert_uint_eq(pool_statistics(dying).restarts, 1);
    ck_assert_uint_eq(pool_statistics(working).restarts, 0);
    map_squares(dying, 20, 1);
    pool_destroy(dying);
    pool_destroy(working);
}
END_TEST

START_TEST(facts_about_a_pool)
{
    struct pool_options options = situation(_i);
    struct pool *pool = create_with(options);
    pid_t pids[MAX_WORKERS];
    ck_assert_int_eq(pool_workers(pool), options.workers);
    ck_assert_int_eq(pool_start_method(pool), options.start_method);
    pool_pids(pool, pids);
    for (int i = 0; i < options.workers; i++) {
        ck_assert_int_eq(parent_of(parent_of(pids[i])), getpid());
        for (int j = 0; j < i; j++)
            ck_assert_int_ne(pids[i], pids[j]);
    }
    const double cpu = pool_cpu_seconds(pool);
    map_squares(pool, 10000, 0);
    ck_assert(cpu >= 0 && pool_cpu_seconds(pool) >= cpu);
    pool_destroy(pool);
    ck_assert_str_eq(pool_start_method_name(POOL_FORKSERVER), "forkserver");
    ck_assert_str_eq(pool_start_method_name(POOL_FORK), "fork");
    ck_assert_str_eq(pool_start_method_name(POOL_SPAWN), "spawn");
}
END_TEST

static int thousand_seconds(const void *const *arguments, void *result, struct pool_task *task)
{
    pool_task_add_cpu(task, 1000.0);
    return square(arguments, result, task);
}
POOL_TASK(thousand_seconds);

/* It counts until the worker dies: then the kernel has added what the worker waited for to the
 * worker's own time. (Here it waited for nothing.) */
START_TEST(cpu_time_of_what_tasks_have_run)
{
    long numbers[4] = {1, 2, 3, 4}, squares[4];
    struct pool *pool = create_with(situation(_i));
    pid_t pids[MAX_WORKERS];
    ck_assert_int_eq(pool_map(pool, thousand_seconds, numbers, sizeof *numbers, squares,
                              sizeof *squares, 4, 1, &error),
                     0);
    const double cpu = pool_cpu_seconds(pool);
    ck_assert(cpu >= 4000 && cpu < 4999);
    pool_pids(pool, pids);
    for (int i = 0; i < pool_workers(pool); i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
    while (pool_statistics(pool).restarts < (uint64_t)pool_workers(pool))
        pause_ms(1);
    ck_assert(pool_cpu_seconds(pool) < 1000);
    pool_destroy(pool);
}
END_TEST

/* ---- OpenMP and BLAS ------------------------------------------------------------------------- */

static int sum_in_parallel(int threads)
{
    int sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum)
    for (int i = 0; i < 1000; i++)
        sum += i;
    return sum;
}

/* Result: the threads of a region, 0 if the sum was wrong. */
static int region_in_task(const void *const *arguments, void *result, struct pool_task *task)
{
    int threads = 0, sum = 0;
    (void)arguments;
    (void)task;
#pragma omp parallel reduction(+ : sum)
    {
#pragma omp single
        threads = omp_get_num_threads();
#pragma omp for
        for (int i = 0; i < 1000; i++)
            sum += i;
    }
    *(int *)result = sum == 499500 ? threads : 0;
    return 0;
}
POOL_TASK(region_in_task);

static void expect_regions(struct pool *pool, int threads)
{
    int results[30];
    ck_assert_int_eq(pool_map(pool, region_in_task, NULL, 0, results, sizeof(int), 30, 1, &error),
                     0);
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(results[i], threads);
}

START_TEST(openmp_in_the_program_and_in_tasks)
{
    struct pool_options options = situation(_i);
    if (options.workers > 2)
        return;
    ck_assert_int_eq(sum_in_parallel(4), 499500);
    before = take_ledger(); /* the team stays */
    struct pool *pool = create_with(options);
    expect_regions(pool, 1);
    ck_assert_int_eq(sum_in_parallel(4), 499500);
    pool_destroy(pool);
    options.threads_per_worker = 2;
    pool = create_with(options);
    expect_regions(pool, 2);
    ck_assert_int_eq(sum_in_parallel(4), 499500);
    expect_regions(pool, 2);
    pool_destroy(pool);
}
END_TEST

#define ORDER 200L

/* Is the product of two matrices of ones what it must be? It is large enough for BLAS threads. */
static bool multiply_ones(void)
{
    bool right = true;
    double *a = malloc(3 * ORDER * ORDER * sizeof *a);
    if (!a)
        return false;
    double *b = a + ORDER * ORDER, *c = b + ORDER * ORDER;
    for (long i = 0; i < 2 * ORDER * ORDER; i++)
        a[i] = 1;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ORDER, ORDER, ORDER, 1, a, ORDER, b,
                ORDER, 0, c, ORDER);
    for (long i = 0; i < ORDER * ORDER; i++)
        right = right && c[i] == ORDER;
    free(a);
    return right;
}

static int multiply_in_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)task;
    *(int *)result = multiply_ones() ? openblas_get_num_threads() : -1;
    return 0;
}
POOL_TASK(multiply_in_task);

START_TEST(blas_in_the_program_and_in_tasks)
{
    struct pool_options options = situation(_i);
    int results[20];
    if (options.workers > 2)
        return;
    ck_assert(multiply_ones());
    before = take_ledger();
    for (int threads = 1; threads <= 2; threads++) {
        options.threads_per_worker = threads;
        struct pool *pool = create_with(options);
        ck_assert_int_eq(
            pool_map(pool, multiply_in_task, NULL, 0, results, sizeof(int), 20, 1, &error), 0);
        for (int i = 0; i < 20; i++)
            ck_assert_int_eq(results[i], threads);
        ck_assert(multiply_ones());
        pool_destroy(pool);
    }
}
END_TEST

static atomic_bool stop_computing;

static void *compute_meanwhile(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop_computing))
        if (sum_in_parallel(2) != 499500 || !multiply_ones())
            abort();
    return NULL;
}

/* A thread that computes; the threads that there were before, and that remain after it. */
struct computing {
    pthread_t thread;
    int threads;
};

static struct computing start_computing(void)
{
    struct computing computing;
    ck_assert(multiply_ones()); /* BLAS starts its threads, which stay */
    computing.threads = take_ledger().threads;
    ck_assert_int_eq(pthread_create(&computing.thread, NULL, compute_meanwhile, NULL), 0);
    return computing;
}

static void end_computing(const struct computing *computing)
{
    atomic_store(&stop_computing, true);
    ck_assert_int_eq(pthread_join(computing->thread, NULL), 0);
#ifdef __clang__ /* libomp keeps the team for the next thread that wants one */
    before.threads += take_ledger().threads - computing->threads;
#else
    while (take_ledger().threads > computing->threads) /* its OpenMP team ends a moment after it */
        pause_ms(1);
#endif
}

START_TEST(replacement_while_the_program_computes)
{
    long x[MORTAL] = {0}, results[MORTAL];
    atomic_long *deaths = shared_memory_allocate(1, sizeof *deaths, &error);
    ck_assert_ptr_nonnull(deaths);
    struct pool_options options = situation(_i);
    options.retries = 1;
    options.threads_per_worker = 2;
    struct pool *pool = create_with(options); /* "fork" must not fork while another computes */
    const int without_blas = take_ledger().threads;
    const struct computing computing = start_computing();
    before.threads += computing.threads - without_blas;
    x[100] = -1;
    for (int round = 0; round < 5; round++) {
        atomic_store(deaths, 0);
        ck_assert_msg(map_mortal(pool, x, BY_KILL, deaths, results, 7) == 0, "%s", error.message);
        check_squares(results, MORTAL);
        expect_regions(pool, 2);
    }
    ck_assert_uint_eq(pool_statistics(pool).restarts, 5);
    end_computing(&computing);
    pool_destroy(pool);
    shared_memory_free(deaths);
}
END_TEST

/* The helper was forked before, so new pools don't mind; "fork" would. */
START_TEST(creation_while_the_program_computes)
{
    struct pool_options options = situation(_i);
    if (options.start_method == POOL_FORK)
        return;
    options.threads_per_worker = 2;
    const struct computing computing = start_computing();
    for (int round = 0; round < 5; round++) {
        struct pool *pool = create_with(options);
        expect_regions(pool, 2);
        pool_destroy(pool);
    }
    before.threads = computing.threads;
    end_computing(&computing);
}
END_TEST

/* ---- Signals --------------------------------------------------------------------------------- */

static atomic_int interrupts;

static void note_signal(int number)
{
    (void)number;
    atomic_fetch_add(&interrupts, 1);
}

static int interrupt_everybody(const void *const *arguments, void *result, struct pool_task *task)
{
    if (pool_task_index(task) % 10 == 0)
        kill(0, SIGINT); /* as Ctrl-C does: to the whole process group */
    return square(arguments, result, task);
}
POOL_TASK(interrupt_everybody);

START_TEST(interrupt_reaches_only_the_program)
{
    enum { N = 200 };
    long x[N], y[N];
    const struct sigaction action = {.sa_handler = note_signal};
    ck_assert_int_eq(setpgid(0, 0), 0); /* not everybody else */
    ck_assert_int_eq(sigaction(SIGINT, &action, NULL), 0);
    struct pool *fresh = create_with((struct pool_options){.workers = 1}); /* of the old group */
    pool_destroy(fresh);
    struct pool_options options = situation(_i);
    options.start_method = POOL_FORK; /* whose helper belongs to the new group */
    struct pool *pool = create_with(options);
    for (long i = 0; i < N; i++)
        x[i] = i;
    ck_assert_int_eq(pool_map(pool, interrupt_everybody, x, 8, y, 8, N, 1, &error), 0);
    check_squares(y, N);
    map_squares(pool, 100, 1);
    ck_assert_int_gt(atomic_load(&interrupts), 0);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    pool_destroy(pool);
}
END_TEST

START_TEST(interrupted_system_calls)
{
    const struct sigaction action = {.sa_handler = note_signal}; /* without SA_RESTART */
    const struct itimerval often = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
    const struct itimerval never = {0};
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < 20; i++) {
        struct pool *pool = create_with(situation(_i));
        for (int j = 0; j < 10; j++)
            map_squares(pool, 500, 1);
        pool_destroy(pool);
    }
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_gt(atomic_load(&interrupts), 0);
}
END_TEST

static void reap_everybody(int number)
{
    const int kept = errno;
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = kept;
}

START_TEST(program_that_reaps_every_child)
{
    const struct sigaction action = {.sa_handler = reap_everybody};
    ck_assert_int_eq(sigaction(SIGCHLD, &action, NULL), 0);
    struct pool *pool = create_with(situation(_i));
    map_squares(pool, 100, 1);
    pool_destroy(pool);
    ck_assert_int_eq(signal(SIGCHLD, SIG_IGN) == SIG_ERR, 0);
    pool = create_with(situation(_i));
    map_squares(pool, 100, 1);
    pool_destroy(pool);
}
END_TEST

/* ---- Too few descriptors, too few processes ---------------------------------------------------
 */

static struct rlimit limit_of(pid_t pid, int resource)
{
    struct rlimit limit;
    ck_assert_int_eq(prlimit(pid, (__rlimit_resource_t)resource, NULL, &limit), 0);
    return limit;
}

static void set_limit(pid_t pid, int resource, struct rlimit limit, rlim_t value)
{
    limit.rlim_cur = value;
    ck_assert_int_eq(prlimit(pid, (__rlimit_resource_t)resource, &limit, NULL), 0);
}

START_TEST(program_is_out_of_descriptors)
{
    const struct rlimit limit = limit_of(0, RLIMIT_NOFILE);
    const int used = open("/dev/null", O_RDONLY); /* the first free one */
    ck_assert_int_ge(used, 0);
    close(used);
    int failures = 0;
    struct pool *pool = NULL;
    for (rlim_t more = 0; !pool; more++) { /* one more each time, until it works */
        set_limit(0, RLIMIT_NOFILE, limit, (rlim_t)used + more);
        struct pool_options options = situation(_i);
        pool = pool_create(&options, &error);
        set_limit(0, RLIMIT_NOFILE, limit, limit.rlim_cur);
        if (!pool) {
            failures++;
            ck_assert_int_eq(error.code, ERROR_SYSTEM);
            ck_assert_int_eq(error.system_errno, EMFILE);
            expect_no_process(false);
            expect_as_before();
        }
    }
    ck_assert_int_ge(failures, 1);
    map_squares(pool, 100, 1);
    pool_destroy(pool);
}
END_TEST

START_TEST(helper_is_out_of_descriptors)
{
    struct pool_options options = situation(_i);
    if (options.start_method == POOL_FORK)
        return;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)helper);
    const int open_in_helper = count_entries(path);
    const struct rlimit limit = limit_of(helper, RLIMIT_NOFILE);
    int failures = 0;
    for (rlim_t most = 3; most < 20; most++) {
        set_limit(helper, RLIMIT_NOFILE, limit, most);
        struct pool *pool = pool_create(&options, &error);
        set_limit(helper, RLIMIT_NOFILE, limit, limit.rlim_cur);
        if (pool) {
            map_squares(pool, 20, 1);
        } else if (error.code == ERROR_SYSTEM) { /* or a fresh program could not load */
            failures++;
            ck_assert_int_eq(error.system_errno, EMFILE);
        }
        pool_destroy(pool);
        while (count_entries(path) > open_in_helper) /* it hears of the pool's end */
            pause_ms(1);
    }
    ck_assert_int_gt(failures, 0);
    struct pool *pool = create_with(options);
    map_squares(pool, 20, 1);
    pool_destroy(pool);
}
END_TEST

/* ---- Shared arrays ----------------------------------------------------------------------------
 */

static bool all_zero(const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void expect_no_array(size_t count, size_t size, enum error_code code)
{
    ck_assert_ptr_null(shared_memory_allocate(count, size, &error));
    ck_assert_msg(error.code == code, "code %d: %s", error.code, error.message);
    ck_assert_ptr_null(shared_memory_allocate(count, size, NULL));
}

START_TEST(arrays_that_cannot_be)
{
    const size_t held = arena_bytes(), available = resources_memory();
    ck_assert_uint_gt(available, 0);
    expect_no_array(0, 8, ERROR_INVALID);
    expect_no_array(8, 0, ERROR_INVALID);
    expect_no_array(SIZE_MAX, 2, ERROR_INVALID);
    expect_no_array(SIZE_MAX, 1, ERROR_MEMORY);
    expect_no_array(SIZE_MAX / 2, 1, ERROR_MEMORY);
    expect_no_array((size_t)2 << 40, 1, ERROR_MEMORY);
    expect_no_array(available + ((size_t)4 << 30), 1, ERROR_MEMORY);
    ck_assert_uint_le(arena_bytes(), held); /* nothing was touched for it */
    shared_memory_free(NULL);
}
END_TEST

/* A map whose results would have to be copied, and are larger than the machine. */
START_TEST(map_larger_than_memory)
{
    const size_t tasks = 1000, size = (resources_memory() + ((size_t)4 << 30)) / tasks;
    char *results =
        mmap(NULL, tasks * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(results, MAP_FAILED);
    struct pool *pool = create_with((struct pool_options){.workers = 2});
    const size_t held = arena_bytes();
    expect_map_refused(pool_map(pool, index_of, NULL, 0, results, size, tasks, 0, &error),
                       ERROR_MEMORY, "MB");
    ck_assert_uint_le(arena_bytes(), held);
    map_squares(pool, 100, 0);
    pool_destroy(pool);
    munmap(results, tasks * size);
}
END_TEST

START_TEST(arrays_are_zero_and_aligned)
{
    static const size_t sizes[] = {1, 63, 64, 65, 4095, 4096, 4097, 100000, 3000000};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            unsigned char *array = shared_memory_allocate(sizes[i], 1, &error);
            ck_assert_ptr_nonnull(array);
            ck_assert_uint_eq((uintptr_t)array % 64, 0);
            ck_assert(all_zero(array, sizes[i]));
            ck_assert(shared_memory_contains(array, sizes[i]));
            ck_assert(!shared_memory_contains(array, SIZE_MAX));
            memset(array, 0xFF, sizes[i]);
            shared_memory_free(array);
        }
    char local;
    ck_assert(!shared_memory_contains(&local, 1));
    ck_assert(!shared_memory_contains(NULL, 1));
}
END_TEST

/* Arrays of many sizes live at once, are given back in another order, and never overlap. */
START_TEST(arrays_do_not_overlap)
{
    enum { LIVE = 40 };
    unsigned char *arrays[LIVE] = {NULL};
    size_t sizes[LIVE] = {0};
    srand(7);
    for (int step = 0; step < 3000; step++) {
        const int i = rand() % LIVE;
        for (size_t j = 0; j < sizes[i]; j += 509)
            ck_assert_uint_eq(arrays[i][j], i + 1);
        shared_memory_free(arrays[i]);
        sizes[i] = 1 + (size_t)rand() % 60000;
        arrays[i] = shared_memory_allocate(sizes[i], 1, &error);
        ck_assert_ptr_nonnull(arrays[i]);
        ck_assert_uint_eq(arrays[i][sizes[i] - 1], 0);
        memset(arrays[i], i + 1, sizes[i]);
    }
    for (int i = 0; i < LIVE; i++)
        shared_memory_free(arrays[i]);
}
END_TEST

START_TEST(a_thousand_arrays_leave_nothing)
{
    size_t held = 0;
    for (int i = 0; i < 1000; i++) {
        unsigned char *array = shared_memory_allocate(100000, 1, &error);
        ck_assert_ptr_nonnull(array);
        array[99999] = 1;
        shared_memory_free(array);
        held = i == 0 ? arena_bytes() : held;
    }
    ck_assert_uint_eq(arena_bytes(), held);
    const struct ledger now = take_ledger();
    ck_assert_int_eq(now.descriptors, before.descriptors);
    /* More than is kept for the next use is given back to the system. */
    unsigned char *large = shared_memory_allocate((size_t)300 << 20, 1, &error);
    ck_assert_msg(large != NULL, "%s", error.message);
    shared_memory_free(large);
    ck_assert_uint_le(arena_bytes(), held + ((size_t)256 << 20));
}
END_TEST

static int write_into_array(const void *const *arguments, void *result, struct pool_task *task)
{
    long *array = *(long *const *)arguments[0];
    (void)result;
    array[pool_task_index(task)] += (long)pool_task_index(task);
    return 0;
}
POOL_TASK(write_into_array);

START_TEST(array_made_after_the_workers)
{
    struct pool *pool = create_with(situation(_i));
    long *array = shared_memory_allocate(100, sizeof *array, &error);
    ck_assert_ptr_nonnull(array);
    const struct pool_column column = {.data = &array, .size = sizeof array, .constant = true};
    for (int round = 0; round < 3; round++)
        ck_assert_int_eq(pool_starmap(pool, write_into_array, &column, 1, NULL, 100, 0, &error), 0);
    for (long i = 0; i < 100; i++)
        ck_assert_int_eq(array[i], 3 * i);
    pool_destroy(pool);
    shared_memory_free(array);
}
END_TEST

/* ---- Victims: programs that need a start of their own, or die ----------------------------------
 */

static int affinity(const void *const *arguments, void *result, struct pool_task *task)
{
    cpu_set_t cpus;
    (void)arguments;
    (void)task;
    *(int *)result = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 0;
    return 0;
}
POOL_TASK(affinity);

static int say_index(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    printf("%zu\n", pool_task_index(task));
    return 0;
}
POOL_TASK(say_index);

static int sleep_for_ever(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    pause_ms(-1);
    return 0;
}
POOL_TASK(sleep_for_ever);

/* Says that it is ready, with one byte, and never comes back. */
static int victim_works(struct pool *pool)
{
    if (write(STDOUT_FILENO, ".", 1) != 1)
        return 1;
    return pool_map(pool, sleep_for_ever, NULL, 0, NULL, 0, 100, 1, NULL);
}

static int victim_maps(struct pool *pool)
{
    long x[100], y[100];
    for (long i = 0; i < 100; i++)
        x[i] = i;
    if (pool_map(pool, square, x, 8, y, 8, 100, 1, &error) != 0)
        return 1;
    for (long i = 0; i < 100; i++)
        if (y[i] != i * i)
            return 2;
    return 0;
}

static int victim_prints(struct pool *pool)
{
    return pool_map(pool, say_index, NULL, 0, NULL, 0, 50, 3, &error);
}

/* Were the standard streams, which this program was started without, left alone? */
static int victim_without_streams(struct pool *pool)
{
    char name[32], target[64];
    for (int fd = 0; fd < 3; fd++) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(name, target, sizeof target);
        if (length != 9 || memcmp(target, "/dev/null", 9) != 0)
            return 3;
    }
    printf("into the void\n");
    return victim_maps(pool);
}

static int victim_counts_processors(struct pool *pool)
{
    int counts[20];
    if (pool_map(pool, affinity, NULL, 0, counts, sizeof *counts, 20, 1, &error) != 0)
        return 1;
    for (int i = 0; i < 20; i++)
        if (counts[i] != counts[0])
            return 2;
    printf("%d\n", counts[0]);
    return 0;
}

/* Forks a copy of itself that outlives it. */
static int fork_a_survivor(void)
{
    const pid_t child = fork();
    if (child == 0) {
        pause_ms(1000 * HANG);
        _exit(0);
    }
    return child < 0 ? -1 : 0;
}

static int victim_with_survivor_works(struct pool *pool)
{
    return fork_a_survivor() == 0 ? victim_works(pool) : 1;
}

static int victim_with_survivor_exits(struct pool *pool)
{
    return fork_a_survivor() == 0 ? victim_maps(pool) : 1;
}

/* The limit on processes is the user's, and root has none: this program is nobody's by now. */
static int victim_without_processes(struct pool *pool)
{
    pid_t pids[2];
    struct rlimit limit;
    pool_pids(pool, pids);
    const pid_t forking = parent_of(pids[0]);
    if (prlimit(forking, RLIMIT_NPROC, NULL, &limit) != 0)
        return 10;
    const struct rlimit none = {.rlim_cur = 1, .rlim_max = limit.rlim_max};
    if (prlimit(forking, RLIMIT_NPROC, &none, NULL) != 0)
        return 11;
    struct pool_options options = {.workers = 2, .start_method = pool_start_method(pool)};
    if (options.start_method != POOL_FORK &&
        (pool_create(&options, &error) || error.code != ERROR_SYSTEM ||
         error.system_errno != EAGAIN))
        return 12;
    if (kill(pids[0], SIGKILL) != 0)
        return 13;
    while (pool_statistics(pool).restarts == 0 || pids[0] != 0) { /* the other does the work */
        if (victim_maps(pool) != 0)
            return 14;
        pool_pids(pool, pids);
    }
    if (kill(pids[1], SIGKILL) != 0)
        return 15;
    while (victim_maps(pool) == 0)
        ;
    return error.code == ERROR_BROKEN && strstr(error.message, "cannot start") ? 0 : 16;
}

/* The end of the program while idle, and in the middle of work that nobody has waited for. */
static int victim_exits_idle(struct pool *pool)
{
    exit(victim_maps(pool) == 0 ? 3 : 1);
}

static int victim_exits_busy(struct pool *pool)
{
    static struct order orders[100];
    static long results[100];
    static struct pool_result *volatile result; /* never freed, but kept */
    struct scene *scene = shared_memory_allocate(1, sizeof *scene, &error);
    if (!scene)
        return 1;
    prepare(scene, orders, results, 100, STAY);
    result = pool_map_async(pool, play, orders, sizeof *orders, results, sizeof *results, 100, 1,
                            NULL, &error);
    if (!result)
        return 1;
    await_entered(scene, 2);
    exit(3);
}

static void small_address_space(void)
{
    const struct rlimit small = {.rlim_cur = (rlim_t)1 << 30, .rlim_max = (rlim_t)1 << 30};
    if (setrlimit(RLIMIT_AS, &small) != 0)
        exit(20);
}

static void close_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        close(fd);
}

static void ignore_children(void)
{
    signal(SIGCHLD, SIG_IGN);
}

static void become_nobody(void)
{
    if (geteuid() == 0 &&
        (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0))
        exit(21);
}

static const struct victim {
    const char *name;
    void (*before_startup)(void);
    int (*run)(struct pool *pool);
} victims[] = {
    {"works", NULL, victim_works},
    {"maps", NULL, victim_maps},
    {"exits-idle", NULL, victim_exits_idle},
    {"exits-busy", NULL, victim_exits_busy},
    {"prints", NULL, victim_prints},
    {"counts", NULL, victim_counts_processors},
    {"without-streams", close_streams, victim_without_streams},
    {"ignores-children", ignore_children, victim_maps},
    {"small", small_address_space, victim_maps},
    {"survivor-works", NULL, victim_with_survivor_works},
    {"survivor-exits", NULL, victim_with_survivor_exits},
    {"without-processes", become_nobody, victim_without_processes},
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
        printf("hello\n"); /* stays in the buffer while processes are made */
        struct pool *pool = pool_create(
            &(struct pool_options){.workers = 2,
                                   .start_method = (enum pool_start_method)atoi(arguments[1])},
            &error);
        if (!pool) {
            fprintf(stderr, "%s\n", error.message);
            return 31;
        }
        const int status = victims[i].run(pool);
        pool_destroy(pool);
        return status;
    }
    return 32;
}

/* Processes of the victim's group besides itself. Its helper is nobody's child, so it is not among
 * those that descend from it. */
static int others_of(struct running victim)
{
    pid_t found[MAX_FAMILY];
    int others = 0;
    const int count = descendants(getpid(), found, MAX_FAMILY);
    for (int i = 0; i < count; i++)
        others += found[i] != victim.pid && getpgid(found[i]) == victim.pid;
    return others;
}

/* Until the victim has written "." and has a helper and two workers. */
static void await_work(struct running victim)
{
    char byte;
    do
        ck_assert_int_eq(read(victim.output, &byte, 1), 1);
    while (byte != '.'); /* "hello" may come before */
    ck_assert_int_ge(others_of(victim), 3);
}

static void expect_success(const char *name, int method)
{
    const struct running victim = start_victim(name, method);
    char text[256];
    while (read(victim.output, text, sizeof text) > 0)
        ;
    const int status = end_of_victim(victim);
    ck_assert_msg(status == 0, "victim %s: status 0x%x", name, (unsigned)status);
    expect_no_process(false);
}

START_TEST(killed_program_leaves_no_process)
{
    for (int round = 0; round < 3; round++) {
        const struct running victim = start_victim("works", _i);
        await_work(victim);
        ck_assert_int_eq(kill(victim.pid, SIGKILL), 0);
        ck_assert_int_eq(end_of_victim(victim), SIGKILL);
        expect_no_process(false);
    }
}
END_TEST

START_TEST(interrupted_program_leaves_no_process)
{
    const struct running victim = start_victim("works", _i);
    await_work(victim);
    ck_assert_int_eq(kill(-victim.pid, SIGINT), 0); /* Ctrl-C */
    ck_assert_int_eq(end_of_victim(victim), SIGINT);
    expect_no_process(false);
}
END_TEST

/* To the program alone, as `kill` does, and to all of its group, as a shell's `kill %1` does. */
START_TEST(terminated_program_leaves_no_process)
{
    for (int group = 0; group < 2; group++) {
        const struct running victim = start_victim("works", _i);
        await_work(victim);
        ck_assert_int_eq(kill(group ? -victim.pid : victim.pid, SIGTERM), 0);
        ck_assert_int_eq(end_of_victim(victim), SIGTERM);
        expect_no_process(false);
    }
}
END_TEST

START_TEST(program_that_exits_without_destroy)
{
    static const char *const names[] = {"exits-idle", "exits-busy"};
    for (int i = 0; i < 2; i++) {
        const struct running victim = start_victim(names[i], _i);
        const int status = end_of_victim(victim);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 3, "status 0x%x",
                      (unsigned)status);
        expect_no_process(false);
    }
}
END_TEST

/* Here a forked copy of the program has the socket and the life line's other end too. */
START_TEST(killed_program_with_a_survivor)
{
    const struct running victim = start_victim("survivor-works", _i);
    await_work(victim);
    ck_assert_int_eq(kill(victim.pid, SIGKILL), 0);
    ck_assert_int_eq(end_of_victim(victim), SIGKILL);
    expect_processes(1, false); /* the survivor */
    ck_assert_int_eq(kill(-victim.pid, SIGKILL), 0);
    expect_no_process(false);
}
END_TEST

START_TEST(program_with_a_survivor_can_exit)
{
    const struct running victim = start_victim("survivor-exits", _i);
    ck_assert_int_eq(end_of_victim(victim), 0);
    ck_assert_int_eq(kill(-victim.pid, SIGKILL), 0);
    expect_no_process(false);
}
END_TEST

START_TEST(started_without_standard_streams)
{
    expect_success("without-streams", _i);
}
END_TEST

START_TEST(started_with_ignored_children)
{
    expect_success("ignores-children", _i);
}
END_TEST

START_TEST(started_in_a_small_address_space)
{
    if (!SANITIZED) /* which need a large one */
        expect_success("small", _i);
}
END_TEST

START_TEST(no_more_processes)
{
    expect_success("without-processes", _i);
}
END_TEST

/* What the program had buffered is written once, and each task's line once. */
START_TEST(what_tasks_print_arrives_once)
{
    const struct running victim = start_victim("prints", _i);
    FILE *output = fdopen(victim.output, "r");
    char line[64];
    int hellos = 0, seen[50] = {0};
    ck_assert_ptr_nonnull(output);
    while (fgets(line, sizeof line, output))
        if (strcmp(line, "hello\n") == 0)
            hellos++;
        else
            seen[atoi(line) % 50]++;
    fclose(output);
    int status;
    ck_assert_int_eq(waitpid(victim.pid, &status, 0), victim.pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(hellos, 1);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(seen[i], 1);
}
END_TEST

/* OMP_PROC_BIND binds a program to one core as soon as it is loaded. */
START_TEST(workers_may_use_all_processors)
{
    cpu_set_t cpus;
    char text[64] = "";
    int counted = 0;
    ck_assert_int_eq(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    ck_assert_int_eq(setenv("OMP_PROC_BIND", "true", 1), 0);
    const struct running victim = start_victim("counts", _i);
    ck_assert_int_eq(unsetenv("OMP_PROC_BIND"), 0);
    size_t length = 0;
    ssize_t got;
    while ((got = read(victim.output, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    ck_assert_int_eq(end_of_victim(victim), 0);
    ck_assert_int_eq(sscanf(text, "hello %d", &counted), 1);
    ck_assert_int_eq(counted, CPU_COUNT(&cpus));
}
END_TEST

/* ---- Without pool_startup ---------------------------------------------------------------------
 */

START_TEST(nothing_works_before_startup)
{
    struct pool_options options = {.workers = 1};
    ck_assert_ptr_null(pool_create(&options, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "pool_startup"));
    ck_assert_ptr_null(shared_memory_allocate(1, 1, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID);
    ck_assert(!shared_memory_contains(&options, 1));
    ck_assert(!pool_is_spawned_worker());
    ck_assert_int_eq(pool_startup(NULL), 0);
    ck_assert_int_eq(pool_startup(&error), 0); /* does nothing */
    pool_destroy(create_with(options));
}
END_TEST

/* ---- The suite ---------------------------------------------------------------------------------
 */

static void add_maps(Suite *suite)
{
    TCase *maps = add_case(suite, "maps");
    tcase_add_test(maps, default_chunksize_is_pythons);
    tcase_add_loop_test(maps, every_size_and_chunksize, 0, SITUATIONS);
    tcase_add_loop_test(maps, many_small_maps, 0, SITUATIONS);
    tcase_add_loop_test(maps, a_map_is_watched, 0, SITUATIONS);
    tcase_add_loop_test(maps, columns_each_and_constant, 0, SITUATIONS);
    tcase_add_loop_test(maps, columns_by_index, 0, SITUATIONS);
    tcase_add_loop_test(maps, columns_copied_for_each_task, 0, SITUATIONS);
    tcase_add_loop_test(maps, as_many_columns_as_possible, 0, SITUATIONS);
    tcase_add_loop_test(maps, ragged_columns_and_results, 0, SITUATIONS);
    tcase_add_loop_test(maps, shared_arrays_are_not_copied, 0, SITUATIONS);
    tcase_add_loop_test(maps, nothing_in_or_nothing_out, 0, SITUATIONS);
    tcase_add_test(maps, refused_options);
    tcase_add_test(maps, options_may_be_null);
    tcase_add_test(maps, refused_maps);
    tcase_add_test(maps, sizes_that_overflow);
    tcase_add_loop_test(maps, lowest_error_is_reported_and_the_rest_is_done, 0, SITUATIONS);
    tcase_add_test(maps, long_message_is_cut);
    tcase_add_loop_test(maps, initializer_sets_every_worker, 0, SITUATIONS);
    tcase_add_loop_test(maps, facts_about_a_pool, 0, SITUATIONS);
    tcase_add_loop_test(maps, cpu_time_of_what_tasks_have_run, 0, SITUATIONS);
}

static void add_deaths(Suite *suite)
{
    TCase *deaths = add_case(suite, "deaths");
    tcase_add_loop_test(deaths, initializer_that_fails_or_dies, 0, SITUATIONS);
    tcase_add_loop_test(deaths, retries_heal_deaths, 0, SITUATIONS);
    tcase_add_loop_test(deaths, without_retries_a_chunk_is_lost, 0, SITUATIONS);
    tcase_add_loop_test(deaths, exhausted_retries_lose_a_chunk, 0, SITUATIONS);
    tcase_add_loop_test(deaths, lost_tasks_and_the_message_name_the_same_worker, 0, SITUATIONS);
    tcase_add_loop_test(deaths, all_workers_killed_while_idle, 0, SITUATIONS);
    tcase_add_loop_test(deaths, all_workers_killed_while_busy, 0, SITUATIONS);
    tcase_add_loop_test(deaths, workers_killed_before_they_claim, 0, SITUATIONS);
    tcase_add_loop_test(deaths, deaths_of_every_task_are_bounded, 0, SITUATIONS);
    tcase_add_loop_test(deaths, restart_storm_is_bounded, 0, SITUATIONS);
    tcase_add_loop_test(deaths, initializer_that_fails_in_a_replacement, 0, SITUATIONS);
    tcase_add_loop_test(deaths, random_kills_do_not_change_a_result, 0, SITUATIONS);
    tcase_add_loop_test(deaths, helper_killed_during_a_map, 0, SITUATIONS);
    tcase_add_loop_test(deaths, helper_killed_while_idle, 0, SITUATIONS);
    tcase_add_loop_test(deaths, helper_killed_before_destroy, 0, SITUATIONS);
    tcase_add_loop_test(deaths, stopped_worker_does_not_keep_destroy_from_ending, 0, SITUATIONS);
    tcase_add_loop_test(deaths, stopped_helper_does_not_keep_destroy_from_ending, 0, 3);
}

/* Also run alone, with other builds of OpenMP and BLAS: CK_RUN_CASE=openmp. */
static void add_openmp(Suite *suite)
{
    TCase *openmp = add_case(suite, "openmp");
    tcase_add_loop_test(openmp, openmp_in_the_program_and_in_tasks, 0, SITUATIONS);
    tcase_add_loop_test(openmp, blas_in_the_program_and_in_tasks, 0, SITUATIONS);
    tcase_add_loop_test(openmp, replacement_while_the_program_computes, 0, SITUATIONS);
    tcase_add_loop_test(openmp, creation_while_the_program_computes, 0, SITUATIONS);
}

static void add_surroundings(Suite *suite)
{
    TCase *surroundings = add_case(suite, "surroundings");
    tcase_add_loop_test(surroundings, worker_has_no_pools, 0, SITUATIONS);
    tcase_add_loop_test(surroundings, forked_copy_of_the_program_has_no_pools, 0, SITUATIONS);
    tcase_add_loop_test(surroundings, workers_inherit_only_the_programs_descriptors, 0, SITUATIONS);
    tcase_add_loop_test(surroundings, many_pools_leave_nothing, 0, 3);
    tcase_add_loop_test(surroundings, two_pools_alternate, 0, SITUATIONS);
    tcase_add_loop_test(surroundings, death_in_one_pool_is_heard_while_another_works, 0,
                        SITUATIONS);
    tcase_add_loop_test(surroundings, interrupt_reaches_only_the_program, 0, 3);
    tcase_add_loop_test(surroundings, interrupted_system_calls, 0, SITUATIONS);
    tcase_add_loop_test(surroundings, program_that_reaps_every_child, 0, SITUATIONS);
    tcase_add_loop_test(surroundings, program_is_out_of_descriptors, 0, SITUATIONS);
    tcase_add_loop_test(surroundings, helper_is_out_of_descriptors, 0, SITUATIONS);
}

static void add_arrays(Suite *suite)
{
    TCase *arrays = add_case(suite, "shared arrays");
    tcase_add_test(arrays, arrays_that_cannot_be);
    tcase_add_test(arrays, map_larger_than_memory);
    tcase_add_test(arrays, arrays_are_zero_and_aligned);
    tcase_add_test(arrays, arrays_do_not_overlap);
    tcase_add_test(arrays, a_thousand_arrays_leave_nothing);
    tcase_add_loop_test(arrays, array_made_after_the_workers, 0, SITUATIONS);
}

static void add_victims(Suite *suite)
{
    TCase *programs = add_case(suite, "programs");
    tcase_add_loop_test(programs, killed_program_leaves_no_process, 0, 3);
    tcase_add_loop_test(programs, interrupted_program_leaves_no_process, 0, 3);
    tcase_add_loop_test(programs, terminated_program_leaves_no_process, 0, 3);
    tcase_add_loop_test(programs, program_that_exits_without_destroy, 0, 3);
    tcase_add_loop_test(programs, killed_program_with_a_survivor, 0, 3);
    tcase_add_loop_test(programs, program_with_a_survivor_can_exit, 0, 3);
    tcase_add_loop_test(programs, started_without_standard_streams, 0, 3);
    tcase_add_loop_test(programs, started_with_ignored_children, 0, 3);
    tcase_add_loop_test(programs, started_in_a_small_address_space, 0, 3);
    tcase_add_loop_test(programs, no_more_processes, 0, 3);
    tcase_add_loop_test(programs, what_tasks_print_arrives_once, 0, 3);
    tcase_add_loop_test(programs, workers_may_use_all_processors, 0, 3);
}

int main(int argc, char **argv)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    if (argc == 3)
        return victim_main(argv + 1);

    own_shared_memory_names();
    Suite *suite = suite_create("parallel");
    TCase *unprepared = tcase_create("before startup");
    tcase_add_test(unprepared, nothing_works_before_startup);
    suite_add_tcase(suite, unprepared);
    add_maps(suite);
    add_deaths(suite);
    add_openmp(suite);
    add_surroundings(suite);
    add_arrays(suite);
    add_victims(suite);
    return run_suite(suite);
}
