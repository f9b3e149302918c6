/* test_timeline.c - recordings: who did what when, in threads, under the GIL and in workers.
 *
 * Nothing here depends on how long anything takes: events are checked for being there, for their
 * order, and for lying inside one another or apart.
 */
#include "common/parallel/gil.h"
#include "common/parallel/loader.h"
#include "common/parallel/timeline.h"
#include "tests/pool_fixture.h"
#include <omp.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;

static struct timeline *create(int workers, size_t events)
{
    struct timeline *timeline = timeline_create(workers, events, &error);
    ck_assert_msg(timeline != NULL, "%s", error.message);
    return timeline;
}

/* ---- Expectations ---------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    const struct timeline_event *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end > b->end ? -1 : a->end < b->end;
}

/* The events of a row by their begin, what encloses others first; the caller frees them. */
static struct timeline_event *sorted(const struct timeline_row_view *row)
{
    struct timeline_event *events = calloc(row->count + 1, sizeof *events);
    ck_assert(events != NULL);
    if (row->count > 0)
        memcpy(events, row->events, row->count * sizeof *events);
    qsort(events, row->count, sizeof *events, compare);
    return events;
}

/* All events of the row lie within begin .. end; two of them are nested or apart; and those of one
 * kind are apart. */
static void expect_sound_row(const struct timeline_row_view *row, uint64_t begin, uint64_t end)
{
    uint64_t ends[16], end_of_kind[TIMELINE_KINDS] = {0};
    int depth = 0;
    struct timeline_event *events = sorted(row);
    for (size_t i = 0; i < row->count; i++) {
        const struct timeline_event *event = &events[i];
        ck_assert_uint_lt(event->kind, TIMELINE_KINDS);
        ck_assert_uint_le(event->begin, event->end);
        ck_assert_uint_le(begin, event->begin);
        ck_assert_uint_le(event->end, end);
        while (depth > 0 && ends[depth - 1] <= event->begin)
            depth--;
        ck_assert(depth == 0 || event->end <= ends[depth - 1]);
        ck_assert_int_lt(depth, 16);
        ends[depth++] = event->end;
        ck_assert_uint_le(end_of_kind[event->kind], event->begin);
        end_of_kind[event->kind] = event->end;
    }
    free(events);
}

static void expect_sound(const struct timeline *timeline, uint64_t begin, uint64_t end)
{
    for (int i = 0; i < timeline_rows(timeline); i++) {
        const struct timeline_row_view row = timeline_row_view(timeline, i);
        ck_assert(row.who != TIMELINE_NOBODY || row.count == 0);
        expect_sound_row(&row, begin, end);
    }
}

static size_t count(const struct timeline_row_view *row, enum timeline_kind kind)
{
    size_t found = 0;
    for (size_t i = 0; i < row->count; i++)
        found += row->events[i].kind == (uint32_t)kind;
    return found;
}

static size_t count_all(const struct timeline *timeline, enum timeline_kind kind)
{
    size_t found = 0;
    for (int i = 0; i < timeline_rows(timeline); i++) {
        const struct timeline_row_view row = timeline_row_view(timeline, i);
        found += count(&row, kind);
    }
    return found;
}

/* Which of the tasks 0 .. n-1 were recorded, none of them twice; the caller frees it. */
static unsigned char *recorded_tasks(const struct timeline *timeline, size_t n)
{
    unsigned char *seen = calloc(n, 1);
    ck_assert(seen != NULL);
    for (int i = 0; i < timeline_rows(timeline); i++) {
        const struct timeline_row_view row = timeline_row_view(timeline, i);
        ck_assert_uint_eq(row.lost, 0);
        for (size_t j = 0; j < row.count; j++) {
            const struct timeline_event *event = &row.events[j];
            if (event->kind != TIMELINE_TASK)
                continue;
            for (size_t t = event->index; t < event->index + event->tasks; t++) {
                ck_assert_uint_lt(t, n);
                ck_assert_msg(!seen[t], "task %zu was recorded twice", t);
                seen[t] = 1;
            }
        }
    }
    return seen;
}

static void expect_tasks(const struct timeline *timeline, size_t n)
{
    unsigned char *seen = recorded_tasks(timeline, n);
    for (size_t t = 0; t < n; t++)
        ck_assert_msg(seen[t], "task %zu was not recorded", t);
    free(seen);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

START_TEST(off_nothing_is_recorded)
{
    struct timeline *timeline = create(2, 8);
    struct gil *gil = gil_create(0.005, &error);
    ck_assert(!timeline_is_on());
    timeline_task_done(0, 1);
    timeline_task_begin();
    timeline_tasks_begin();
    timeline_span(TIMELINE_COPY_IN, 1, 2, 0, 0);
    gil_acquire(gil);
    gil_release(gil);
    timeline_start(timeline);
    ck_assert(timeline_is_on());
    timeline_stop();
    ck_assert(!timeline_is_on());
    timeline_task_done(0, 1);
    for (int i = 0; i < timeline_rows(timeline); i++) {
        const struct timeline_row_view row = timeline_row_view(timeline, i);
        ck_assert_int_eq(row.who, i == 0 ? TIMELINE_THREAD : TIMELINE_NOBODY);
        ck_assert_uint_eq(row.count, 0);
    }
    ck_assert_uint_eq(timeline_lost(timeline), 0);
    gil_destroy(gil);
    timeline_free(timeline);
    timeline_free(NULL);
}
END_TEST

START_TEST(tasks_follow_each_other)
{
    struct timeline *timeline = create(1, 8);
    const uint64_t begin = timeline_clock();
    timeline_start(timeline);
    timeline_task_done(5, 1);
    timeline_task_done(6, 2);
    pause_ms(2);
    timeline_tasks_begin();
    const uint64_t second = timeline_clock();
    pause_ms(2);
    timeline_task_done(8, 1);
    timeline_task_begin();
    timeline_task_done(9, 1);
    timeline_stop();
    expect_sound(timeline, begin, timeline_clock());
    const struct timeline_row_view row = timeline_row_view(timeline, 0);
    const struct timeline_event *events = row.events;
    ck_assert_int_eq(row.pid, getpid());
    ck_assert_uint_eq(row.count, 4);
    ck_assert_uint_eq(events[0].index, 5);
    ck_assert_uint_eq(events[1].index, 6);
    ck_assert_uint_eq(events[1].tasks, 2);
    ck_assert_uint_eq(events[1].begin, events[0].end);
    ck_assert_uint_lt(events[1].end, events[2].begin);
    ck_assert_uint_le(events[2].begin, second);
    ck_assert_uint_le(second, events[2].end);
    timeline_free(timeline);
}
END_TEST

START_TEST(a_full_buffer_counts_what_it_loses)
{
    struct timeline *timeline = create(1, 4);
    for (size_t tasks = 3; tasks < 8; tasks++) {
        timeline_start(timeline); /* forgets what was before */
        for (size_t i = 0; i < tasks; i++)
            timeline_task_done(i, 1);
        timeline_stop();
        const struct timeline_row_view row = timeline_row_view(timeline, 0);
        ck_assert_uint_eq(row.count, tasks < 4 ? tasks : 4);
        ck_assert_uint_eq(row.lost, tasks < 4 ? 0 : tasks - 4);
        for (size_t i = 0; i < row.count; i++)
            ck_assert_uint_eq(row.events[i].index, i);
    }
    timeline_free(timeline);
}
END_TEST

START_TEST(threads_of_a_team_have_their_rows)
{
#pragma omp parallel num_threads(4)
    (void)omp_get_thread_num();
    before = take_ledger(); /* its threads stay */
    struct timeline *timeline = create(4, 64);
    const uint64_t begin = timeline_clock();
    timeline_start(timeline);
#pragma omp parallel for num_threads(4) schedule(static, 1)
    for (size_t i = 0; i < 40; i++)
        timeline_task_done(i, 1);
    timeline_stop();
    expect_sound(timeline, begin, timeline_clock());
    expect_tasks(timeline, 40);
    for (int i = 0; i < 4; i++) {
        const struct timeline_row_view row = timeline_row_view(timeline, i);
        ck_assert_int_eq(row.who, TIMELINE_THREAD);
        ck_assert_int_eq(row.number, i);
        ck_assert_uint_eq(row.count, 10);
        ck_assert_uint_eq(row.events[0].index, (size_t)i);
    }
    timeline_free(timeline);
}
END_TEST

/* As where a task of the program runs another program: the copy has the row before its eyes, too.
 */
START_TEST(a_forked_copy_records_nothing)
{
    struct timeline *timeline = create(1, 8);
    int status;
    timeline_start(timeline);
    const pid_t copy = fork();
    ck_assert_int_ge(copy, 0);
    if (copy == 0) {
        timeline_task_done(1, 1);
        _exit(timeline_is_on() ? 1 : 0);
    }
    ck_assert_int_eq(waitpid(copy, &status, 0), copy);
    ck_assert_int_eq(status, 0);
    timeline_task_done(0, 1);
    timeline_stop();
    ck_assert_uint_eq(timeline_row_view(timeline, 0).count, 1);
    ck_assert_uint_eq(timeline_row_view(timeline, 0).events[0].index, 0);
    timeline_free(timeline);
}
END_TEST

static void *do_a_task(void *meet)
{
    timeline_task_done(0, 1);
    pthread_barrier_wait(meet); /* all live at the same time, so no two have the same address */
    return NULL;
}

/* A recording of one worker has rows for it, for the main thread, and for two more. */
START_TEST(threads_without_a_row_are_counted)
{
    pthread_t threads[5];
    pthread_barrier_t meet;
    struct timeline *timeline = create(1, 8);
    pthread_barrier_init(&meet, NULL, 5);
    timeline_start(timeline);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, do_a_task, &meet), 0);
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    timeline_stop();
    pthread_barrier_destroy(&meet);
    ck_assert_uint_eq(count_all(timeline, TIMELINE_TASK), 2);
    ck_assert_uint_eq(timeline_lost(timeline), 3);
    timeline_free(timeline);
}
END_TEST

START_TEST(bad_sizes)
{
    ck_assert(timeline_create(0, 0, &error) == NULL);
    ck_assert_int_eq(error.code, ERROR_INVALID);
    ck_assert(timeline_create(POOL_MAX_WORKERS + 1, 0, &error) == NULL);
    ck_assert(timeline_create(1, SIZE_MAX / 8, &error) == NULL);
    ck_assert(timeline_create(1, SIZE_MAX / 4096, &error) == NULL);
    struct timeline *timeline = create(POOL_MAX_WORKERS, 0);
    timeline_free(timeline);
}
END_TEST

/* ---- The GIL --------------------------------------------------------------------------------- */

#define TAKERS 3
#define TURNS  ((size_t)200)

struct taker {
    struct gil *gil;
    size_t first;
    pthread_barrier_t *meet;
};

/* Tasks that hold the lock from begin to end, and others that give it back in the midst of it. */
static void *take_turns(void *argument)
{
    const struct taker *taker = argument;
    pthread_barrier_wait(taker->meet);
    gil_acquire(taker->gil);
    for (size_t i = 0; i < TURNS; i++) {
        if (i % 3 == 0) {
            gil_release(taker->gil);
            sched_yield();
            gil_acquire(taker->gil);
        }
        for (int turn = 0; turn < 2000; turn++)
            gil_checkpoint(taker->gil);
        timeline_task_done(taker->first + i, 1);
    }
    gil_release(taker->gil);
    return NULL;
}

/* The times in which threads hold the lock, of all rows together, do not overlap. */
static void expect_one_holder(const struct timeline *timeline)
{
    struct timeline_event *all = calloc(count_all(timeline, TIMELINE_GIL_HELD) + 1, sizeof *all);
    struct timeline_row_view together = {.events = all};
    ck_assert(all != NULL);
    for (int i = 0; i < timeline_rows(timeline); i++) {
        const struct timeline_row_view row = timeline_row_view(timeline, i);
        for (size_t j = 0; j < row.count; j++)
            if (row.events[j].kind == TIMELINE_GIL_HELD)
                all[together.count++] = row.events[j];
    }
    expect_sound_row(&together, 0, UINT64_MAX);
    free(all);
}

START_TEST(one_thread_at_a_time_holds_the_gil)
{
    pthread_t threads[TAKERS];
    struct taker takers[TAKERS];
    pthread_barrier_t meet;
    struct timeline *timeline = create(TAKERS, 16 * TURNS);
    struct gil *gil = gil_create(50e-6, &error); /* short, so that it is often asked for */
    const uint64_t begin = timeline_clock();
    pthread_barrier_init(&meet, NULL, TAKERS);
    timeline_start(timeline);
    for (size_t i = 0; i < TAKERS; i++) {
        takers[i] = (struct taker){gil, i * TURNS, &meet};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_turns, &takers[i]), 0);
    }
    for (size_t i = 0; i < TAKERS; i++)
        pthread_join(threads[i], NULL);
    timeline_stop();
    pthread_barrier_destroy(&meet);
    expect_sound(timeline, begin, timeline_clock());
    expect_tasks(timeline, TAKERS * TURNS);
    expect_one_holder(timeline);
    ck_assert_uint_ge(count_all(timeline, TIMELINE_GIL_HELD), gil_statistics(gil).acquired);
    gil_destroy(gil);
    timeline_free(timeline);
}
END_TEST

/* ---- Workers --------------------------------------------------------------------------------- */

static double total_seconds(const struct timeline_row_view *row, enum timeline_kind kind)
{
    double sum = 0;
    for (size_t i = 0; i < row->count; i++)
        if (row->events[i].kind == (uint32_t)kind)
            sum += 1e-9 * (double)(row->events[i].end - row->events[i].begin);
    return sum;
}

START_TEST(workers_record_their_tasks)
{
    struct pool_options options = situation(_i);
    struct pool *pool = create_with(options);
    struct timeline *timeline = create(options.workers, 0);
    pid_t pids[MAX_WORKERS];
    map_squares(pool, 100, 7); /* not recorded */
    const uint64_t begin = timeline_clock();
    timeline_start(timeline);
    map_squares(pool, 100, 7);
    timeline_stop();
    const uint64_t end = timeline_clock();
    map_squares(pool, 100, 7); /* not recorded */
    settled_pids(pool, NULL, pids);

    expect_sound(timeline, begin, end);
    expect_tasks(timeline, 100);
    ck_assert_uint_eq(count_all(timeline, TIMELINE_CHUNK), 15);
    const struct timeline_row_view program = timeline_row_view(timeline, 0);
    ck_assert_uint_eq(program.count, 2);
    ck_assert_uint_eq(count(&program, TIMELINE_COPY_IN), 1);
    ck_assert_uint_eq(count(&program, TIMELINE_COPY_OUT), 1);
    ck_assert_uint_ge(program.events[0].index, 100 * sizeof(long));
    ck_assert_uint_eq(program.events[1].index, 100 * sizeof(long));
    for (int i = 0; i < options.workers; i++) {
        const struct timeline_row_view row = timeline_row_view(timeline, 1 + i);
        if (row.who == TIMELINE_NOBODY)
            continue; /* the others have done all */
        ck_assert_int_eq(row.who, TIMELINE_WORKER);
        ck_assert_int_eq(row.number, i);
        ck_assert_int_eq(row.pid, pids[i]);
        ck_assert(total_seconds(&row, TIMELINE_TASK) <= total_seconds(&row, TIMELINE_CHUNK) + 1e-9);
        ck_assert(total_seconds(&row, TIMELINE_CHUNK) <= 1e-9 * (double)(end - begin));
    }
    pool_destroy(pool);
    timeline_free(timeline);
}
END_TEST

/* Tasks of some nanoseconds: the clock is not read for each. */
START_TEST(light_tasks_are_recorded_together)
{
    struct pool_options options = situation(_i);
    struct pool *pool = create_with(options);
    struct timeline *timeline = create(options.workers, 0);
    const size_t n = 200000;
    long *numbers = calloc(2 * n, sizeof *numbers);
    ck_assert(numbers != NULL);
    timeline_start(timeline);
    ck_assert_int_eq(pool_map(pool, square, numbers, sizeof *numbers, numbers + n, sizeof *numbers,
                              n, n / 8, &error),
                     0);
    timeline_stop();
    expect_tasks(timeline, n);
    ck_assert_uint_lt(count_all(timeline, TIMELINE_TASK), n);
    free(numbers);
    pool_destroy(pool);
    timeline_free(timeline);
}
END_TEST

START_TEST(a_worker_that_dies_leaves_whole_events)
{
    struct pool_options options = situation(_i);
    options.retries = 3;
    struct pool *pool = create_with(options);
    struct timeline *timeline = create(options.workers, 0);
    struct scene *scene = make_scene();
    struct order orders[40];
    long results[40];
    prepare(scene, orders, results, 40, SQUARE);
    orders[11].act = orders[29].act = DIE_ONCE;
    const uint64_t begin = timeline_clock();
    timeline_start(timeline);
    ck_assert_int_eq(
        pool_map(pool, play, orders, sizeof *orders, results, sizeof *results, 40, 5, &error), 0);
    timeline_stop();
    expect_sound(timeline, begin, timeline_clock());
    unsigned char *seen = recorded_tasks(timeline, 40); /* but for those that died with it */
    ck_assert(seen[11] && seen[29]);
    free(seen);
    shared_memory_free(scene);
    pool_destroy(pool);
    timeline_free(timeline);
}
END_TEST

/* The others wake up for the job, and find that it is done: perhaps long after it, when this
 * recording is over, or another is on, or it has been freed. */
START_TEST(only_who_has_done_something_has_a_row)
{
    struct pool_options options = situation(_i);
    struct pool *pool = create_with(options);
    struct timeline *timeline = create(options.workers, 0);
    for (int repeat = 0; repeat < (SANITIZED ? 100 : 1000); repeat++) {
        timeline_start(timeline);
        map_squares(pool, 4, 1);
        timeline_stop();
        for (int i = 1; i < timeline_rows(timeline); i++) {
            const struct timeline_row_view row = timeline_row_view(timeline, i);
            ck_assert_msg(row.who == TIMELINE_NOBODY || row.count > 0, "run %d, row %d", repeat, i);
        }
    }
    pool_destroy(pool);
    timeline_free(timeline);
}
END_TEST

/* Each pool has a worker 0. */
START_TEST(two_pools_have_rows_of_their_own)
{
    struct pool_options options = situation(_i);
    options.workers = 1;
    struct pool *pools[2] = {create_with(options), create_with(options)};
    struct pool_result *pending[2];
    struct timeline *timeline = create(1, 0);
    long numbers[2][100] = {{0}};
    const uint64_t begin = timeline_clock();
    timeline_start(timeline);
    for (int p = 0; p < 2; p++)
        pending[p] = pool_map_async(pools[p], square, numbers[p], sizeof(long), numbers[p],
                                    sizeof(long), 100, 1, NULL, &error);
    for (int p = 0; p < 2; p++) {
        ck_assert(pending[p] != NULL);
        ck_assert_int_eq(pool_result_get(pending[p], -1, &error), 0);
        pool_result_free(pending[p]);
    }
    timeline_stop();
    expect_sound(timeline, begin, timeline_clock());
    ck_assert_uint_eq(count_all(timeline, TIMELINE_CHUNK), 200);
    ck_assert_uint_eq(timeline_lost(timeline), 0);
    for (int p = 0; p < 2; p++) {
        pid_t pid;
        int found = 0;
        settled_pids(pools[p], NULL, &pid);
        for (int i = 0; i < timeline_rows(timeline); i++) {
            const struct timeline_row_view row = timeline_row_view(timeline, i);
            if (row.who != TIMELINE_WORKER || row.pid != pid)
                continue;
            found++;
            ck_assert_int_eq(row.number, 0);
            ck_assert_uint_eq(count(&row, TIMELINE_CHUNK), 100);
        }
        ck_assert_int_eq(found, 1);
        pool_destroy(pools[p]);
    }
    timeline_free(timeline);
}
END_TEST

/* A pool may have more workers than the recording has rows. */
START_TEST(workers_without_a_row_are_counted)
{
    struct pool *pool = create_with((struct pool_options){.workers = 6});
    struct timeline *timeline = create(1, 0);
    timeline_start(timeline);
    map_squares(pool, 60, 1);
    timeline_stop();
    ck_assert_uint_eq(count_all(timeline, TIMELINE_CHUNK) + timeline_lost(timeline), 60);
    pool_destroy(pool);
    timeline_free(timeline);
}
END_TEST

/* ---- A loader -------------------------------------------------------------------------------- */

static int load(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct loader_sample *sample = arguments[0];
    (void)task;
    *(long *)result = (long)sample->index;
    return 0;
}
POOL_TASK(load);

static void expect_recorded_loader(int workers, struct gil *gil)
{
    const struct loader_options options = {.load = load,
                                           .samples = 50,
                                           .batch_size = 8,
                                           .sample_size = sizeof(long),
                                           .workers = workers,
                                           .kind = LOADER_THREADS,
                                           .gil = gil};
    struct timeline *timeline = create(3, 0);
    struct loader_batch batch;
    const uint64_t begin = timeline_clock();
    timeline_start(timeline);
    struct loader *loader = loader_create(&options, &error);
    ck_assert_msg(loader != NULL, "%s", error.message);
    while (loader_next(loader, &batch, -1, &error) == 1)
        ck_assert_int_eq(loader_return(loader, &batch, &error), 0);
    loader_destroy(loader);
    timeline_stop();
    expect_sound(timeline, begin, timeline_clock());
    expect_tasks(timeline, 50);
    expect_one_holder(timeline);
    timeline_free(timeline);
}

START_TEST(threads_of_a_loader)
{
    struct gil *gil = gil_create(0.001, &error);
    expect_recorded_loader(0, NULL);
    expect_recorded_loader(3, NULL);
    expect_recorded_loader(0, gil);
    expect_recorded_loader(3, gil);
    gil_destroy(gil);
}
END_TEST

int main(void)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    own_shared_memory_names();
    Suite *suite = suite_create("timeline");

    TCase *rows = add_case(suite, "rows");
    tcase_add_test(rows, off_nothing_is_recorded);
    tcase_add_test(rows, tasks_follow_each_other);
    tcase_add_test(rows, a_full_buffer_counts_what_it_loses);
    tcase_add_test(rows, threads_of_a_team_have_their_rows);
    tcase_add_test(rows, threads_without_a_row_are_counted);
    tcase_add_test(rows, a_forked_copy_records_nothing);
    tcase_add_test(rows, bad_sizes);

    TCase *gil = add_case(suite, "gil");
    tcase_add_test(gil, one_thread_at_a_time_holds_the_gil);

    TCase *workers = add_case(suite, "workers");
    tcase_add_loop_test(workers, workers_record_their_tasks, 0, SITUATIONS);
    tcase_add_loop_test(workers, light_tasks_are_recorded_together, 0, SITUATIONS);
    tcase_add_loop_test(workers, a_worker_that_dies_leaves_whole_events, 0, SITUATIONS);
    tcase_add_loop_test(workers, only_who_has_done_something_has_a_row, 0, SITUATIONS);
    tcase_add_loop_test(workers, two_pools_have_rows_of_their_own, 0, SITUATIONS);
    tcase_add_test(workers, workers_without_a_row_are_counted);

    TCase *loader = add_case(suite, "loader");
    tcase_add_test(loader, threads_of_a_loader);

    return run_suite(suite);
}
