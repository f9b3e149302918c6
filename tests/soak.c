/* soak.c - about a minute of work for the process pool while its workers are killed at random.
 *
 * For each start method three threads of the program use one pool at once: one maps, one iterates,
 * one sends single tasks with callbacks, together 100,000 tasks and more; a fourth kills workers
 * in whatever they are doing, one at a time or all at once. Every result is checked, every run of
 * a task is counted, and the pool's statistics must agree with what was done to it: each kill is a
 * restart, no chunk is lost, and a kill makes at most one task run twice.
 *
 * How long the pool takes to replace a worker, and to report a loss where it may not retry, is
 * measured and printed, and decides nothing.
 *
 * Run it with: meson test --suite soak --verbose
 */
#include "tests/pool_fixture.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS 4
#define KILLS   150    /* at least, for each start method */
#define TASKS   100000 /* likewise */
#define REPORTS 30

/* ---- What is done ---------------------------------------------------------------------------- */

struct exercise {
    atomic_long *runs; /* in shared memory: how many tasks have begun */
    long x;
};

/* Something that can be checked, and that takes long enough to be killed in: about 20 us. */
static long transform(long x)
{
    uint64_t value = (uint64_t)x;
    for (int i = 0; i < 8000; i++)
        value = value * 6364136223846793005u + 1442695040888963407u;
    return (long)(value >> 1);
}

static int exercise(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct exercise *given = arguments[0];
    (void)task;
    atomic_fetch_add(given->runs, 1);
    *(long *)result = transform(given->x);
    return 0;
}
POOL_TASK(exercise);

/* What the threads share. */
struct soak {
    struct pool *pool;
    atomic_long *runs;
    atomic_bool enough; /* kills */
    atomic_long tasks, maps, chunks;
    long kills;
    int measured;
    double healed[16 * KILLS];
};

static bool goes_on(struct soak *soak)
{
    return !atomic_load(&soak->enough) || atomic_load(&soak->tasks) < TASKS;
}

static void count(struct soak *soak, size_t maps, size_t tasks, size_t chunks)
{
    atomic_fetch_add(&soak->maps, (long)maps);
    atomic_fetch_add(&soak->tasks, (long)tasks);
    atomic_fetch_add(&soak->chunks, (long)chunks);
}

/* The threads' numbers are distinct, so that no result can pass for another one's. */
static void number(const struct soak *soak, struct exercise *exercises, long *results, size_t n,
                   long *next)
{
    for (size_t i = 0; i < n; i++) {
        exercises[i] = (struct exercise){.runs = soak->runs, .x = *next + (long)i};
        results[i] = -1;
    }
    *next += (long)n;
}

static void check(const struct exercise *exercises, const long *results, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (results[i] != transform(exercises[i].x))
            ck_abort_msg("element %zu: %ld instead of %ld", i, results[i],
                         transform(exercises[i].x));
}

/* Maps of many sizes, with copied and with shared results. */
static void *keep_mapping(void *argument)
{
    enum { MOST = 4000 };
    struct soak *soak = argument;
    struct error error;
    struct exercise *exercises = malloc(MOST * sizeof *exercises);
    long *copied = malloc(MOST * sizeof *copied), next = 0;
    long *shared = shared_memory_allocate(MOST, sizeof *shared, &error);
    ck_assert(exercises && copied && shared);
    for (unsigned round = 0; goes_on(soak); round++) {
        const size_t n = 1 + (round * 977) % MOST, chunksize = round % 4 ? 1 + round % 13 : 0;
        const size_t in_fact = chunksize ? chunksize : pool_default_chunksize(n, WORKERS);
        long *results = round % 2 ? shared : copied;
        number(soak, exercises, results, n, &next);
        ck_assert_msg(pool_map(soak->pool, exercise, exercises, sizeof *exercises, results,
                               sizeof *results, n, chunksize, &error) == 0,
                      "%s", error.message);
        check(exercises, results, n);
        count(soak, 1, n, (n + in_fact - 1) / in_fact);
    }
    shared_memory_free(shared);
    free(copied);
    free(exercises);
    return NULL;
}

static void *keep_iterating(void *argument)
{
    enum { COUNT = 1000 };
    struct soak *soak = argument;
    struct error error;
    struct exercise exercises[COUNT];
    long results[COUNT], next = 1L << 40;
    for (size_t round = 0; goes_on(soak); round++) {
        const size_t chunksize = 1 + round % 5;
        number(soak, exercises, results, COUNT, &next);
        struct pool_array array = {.data = exercises, .size = sizeof *exercises, .count = COUNT};
        struct pool_iterator *iterator =
            pool_imap_unordered(soak->pool, exercise, pool_from_array, &array, sizeof *exercises,
                                sizeof *results, chunksize, round % 3, &error);
        ck_assert_msg(iterator != NULL, "%s", error.message);
        for (size_t i = 0; i < COUNT; i++) {
            long value;
            size_t index;
            ck_assert_msg(pool_iterator_next(iterator, &value, &index, -1, &error) == 1, "%s",
                          error.message);
            ck_assert_uint_lt(index, COUNT);
            ck_assert_int_eq(results[index], -1); /* each once */
            results[index] = value;
        }
        ck_assert_int_eq(pool_iterator_next(iterator, &results[0], NULL, -1, &error), 0);
        pool_iterator_free(iterator);
        check(exercises, results, COUNT);
        const size_t chunks = (COUNT + chunksize - 1) / chunksize;
        count(soak, chunks, COUNT, chunks);
    }
    return NULL;
}

static void count_call(void *results, void *context)
{
    (void)results;
    atomic_fetch_add((atomic_long *)context, 1);
}

static void *keep_applying(void *argument)
{
    enum { COUNT = 200 };
    struct soak *soak = argument;
    struct error error;
    struct exercise exercises[COUNT];
    struct pool_result *handles[COUNT];
    long results[COUNT], next = 1L << 50, sent = 0;
    atomic_long calls = 0;
    const struct pool_callbacks callbacks = {.done = count_call, .context = &calls};
    while (goes_on(soak)) {
        number(soak, exercises, results, COUNT, &next);
        for (size_t i = 0; i < COUNT; i++) {
            handles[i] = pool_apply_async(soak->pool, exercise, &exercises[i], sizeof *exercises,
                                          &results[i], sizeof *results, &callbacks, &error);
            ck_assert_msg(handles[i] != NULL, "%s", error.message);
        }
        for (size_t i = 0; i < COUNT; i++) {
            ck_assert_msg(pool_result_get(handles[i], -1, &error) == 0, "%s", error.message);
            pool_result_free(handles[i]);
        }
        check(exercises, results, COUNT);
        count(soak, COUNT, COUNT, COUNT);
        sent += COUNT;
    }
    while (atomic_load(&calls) < sent)
        pause_ms(1);
    ck_assert_int_eq(atomic_load(&calls), sent);
    return NULL;
}

/* ---- What is done to it ---------------------------------------------------------------------- */

/* Until each of these slots has another worker than before. */
static void await_replacement(struct soak *soak, const pid_t *before_kill, int first, int end)
{
    const double begin = seconds();
    pid_t pids[WORKERS];
    int missing;
    do {
        missing = 0;
        pool_pids(soak->pool, pids);
        for (int i = first; i < end; i++)
            missing += pids[i] == 0 || pids[i] == before_kill[i];
        usleep(50);
    } while (missing > 0);
    if (soak->measured < (int)(sizeof soak->healed / sizeof *soak->healed))
        soak->healed[soak->measured++] = seconds() - begin;
}

static void *keep_killing(void *argument)
{
    struct soak *soak = argument;
    unsigned seed = (unsigned)getpid();
    for (int round = 0; goes_on(soak); round++) {
        usleep((useconds_t)rand_r(&seed) % 250000);
        pid_t pids[WORKERS];
        settled_pids(soak->pool, NULL, pids);
        const bool all = round % 20 == 19;
        const int first = all ? 0 : rand_r(&seed) % WORKERS, end = all ? WORKERS : first + 1;
        for (int i = first; i < end; i++) {
            ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
            soak->kills++;
        }
        await_replacement(soak, pids, first, end);
        if (soak->kills >= KILLS)
            atomic_store(&soak->enough, true);
    }
    return NULL;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *what, double *times, int count_of_times)
{
    qsort(times, (size_t)count_of_times, sizeof *times, compare_doubles);
    printf("  %-22s median %6.2f ms, max %7.2f ms (%d times)\n", what,
           1e3 * times[count_of_times / 2], 1e3 * times[count_of_times - 1], count_of_times);
}

START_TEST(soak_under_kills)
{
    static void *(*const jobs[])(void *) = {keep_mapping, keep_iterating, keep_applying,
                                            keep_killing};
    struct error error;
    pthread_t threads[4];
    struct soak *soak = calloc(1, sizeof *soak);
    ck_assert_ptr_nonnull(soak);
    soak->runs = shared_memory_allocate(1, sizeof *soak->runs, &error);
    ck_assert_ptr_nonnull(soak->runs);
    soak->pool = create_with((struct pool_options){
        .workers = WORKERS, .start_method = (enum pool_start_method)_i, .retries = 255});
    const double begin = seconds();
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, jobs[i], soak), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    const struct pool_statistics statistics = pool_statistics(soak->pool);
    const long tasks = atomic_load(&soak->tasks), runs = atomic_load(soak->runs);
    printf("%s: %ld tasks, %ld of them twice, %ld kills in %.1f s\n",
           pool_start_method_name((enum pool_start_method)_i), tasks, runs - tasks, soak->kills,
           seconds() - begin);
    print_times("from kill to replaced", soak->healed, soak->measured);
    ck_assert_int_ge(soak->kills, KILLS);
    ck_assert_int_ge(tasks, TASKS);
    ck_assert_int_ge(runs, tasks);
    ck_assert_int_le(runs, tasks + soak->kills);
    ck_assert_uint_eq(statistics.tasks, (uint64_t)tasks);
    ck_assert_uint_eq(statistics.maps, (uint64_t)atomic_load(&soak->maps));
    ck_assert_uint_eq(statistics.chunks, (uint64_t)atomic_load(&soak->chunks));
    ck_assert_uint_eq(statistics.restarts, (uint64_t)soak->kills);
    ck_assert_uint_gt(statistics.chunks_retried, 0);
    ck_assert_uint_le(statistics.chunks_retried, (uint64_t)soak->kills);
    ck_assert_uint_eq(statistics.chunks_lost + statistics.cancelled + statistics.timeouts, 0);
    map_squares(soak->pool, 1000, 1);
    pool_destroy(soak->pool);
    shared_memory_free(soak->runs);
    free(soak);
}
END_TEST

/* Without retries: the worker that is in a task is killed, and the loss reported. */
START_TEST(reports_of_losses)
{
    struct error error;
    double times[REPORTS];
    struct pool *pool = create_with(
        (struct pool_options){.workers = WORKERS, .start_method = (enum pool_start_method)_i});
    struct scene *scene = make_scene();
    for (long i = 0; i < REPORTS; i++) {
        const struct order order = {.scene = scene, .act = STAY, .part = i};
        long result;
        struct pool_result *handle = pool_apply_async(pool, play, &order, sizeof order, &result,
                                                      sizeof result, NULL, &error);
        ck_assert_msg(handle != NULL, "%s", error.message);
        await_run(scene, i);
        const pid_t worker = atomic_load(&scene->pids[i]);
        const double begin = seconds();
        ck_assert_int_eq(kill(worker, SIGKILL), 0);
        expect_failure(pool_result_get(handle, -1, &error), &error, ERROR_WORKER_LOST, "signal 9");
        times[i] = seconds() - begin;
        ck_assert_int_eq(error.worker, worker);
        pool_result_free(handle);
        pid_t pids[WORKERS];
        settled_pids(pool, NULL, pids);
    }
    printf("%s:\n", pool_start_method_name((enum pool_start_method)_i));
    print_times("from kill to reported", times, REPORTS);
    ck_assert_uint_eq(pool_statistics(pool).chunks_lost, REPORTS);
    ck_assert_uint_eq(pool_statistics(pool).restarts, REPORTS);
    pool_destroy(pool);
    shared_memory_free(scene);
}
END_TEST

int main(void)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    own_shared_memory_names();
    Suite *suite = suite_create("soak");
    TCase *tcase = add_case(suite, "soak");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, soak_under_kills, 0, 3);
    tcase_add_loop_test(tcase, reports_of_losses, 0, 3);
    return run_suite(suite);
}
