/* pool_bench.c - measures the pool, one sample at a time.
 *
 * Usage: pool_bench
 *
 * Reads requests from standard input, one a line, and answers each with one line: "ok", a figure
 * in seconds and perhaps further ones as name=value; or "error" and why. pool_bench.py asks, and
 * asks the pools of Python the same in between, so that all are measured in the same run.
 *
 *   about                          compiler                      (figure: 0)
 *   start METHOD WORKERS           pool_create and the first result
 *   first METHOD WORKERS           the same with what pool_startup took, which comes after it too
 *   open METHOD WORKERS            a pool for the requests that follow (figure: 0)
 *   close
 *   map TASKS CHUNKSIZE copy|shared
 *   apply CALLS                    one round trip: median, p95
 *   apply_async CALLS              all of them, submitted first, then waited for
 *   imap CALLS BUFFERSIZE          all of them, chunksize 1; imap_unordered likewise
 *   transfer copy|shared           a map of 16 tasks whose arguments are 1 MB each
 *   death METHOD WORKERS RETRIES   its own pool: from the kill of a worker to pool_map's return
 *   floor futex|spin apart|together ROUNDS
 *                                  no pool, but two processes and two words of shared memory
 *
 * Every result is compared with what it must be. What is not part of a figure (making a pool to
 * measure with, inputs, comparing) is outside of its time, and every sample is preceded by a small
 * one that is not timed.
 */
#include "common/parallel/pool.h"
#include "common/parallel/shared_memory.h"
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP         50        /* calls */
#define BLOCKS          16        /* of transfer: so many arguments */
#define BLOCK_SIZE      (1 << 20) /*   of so many bytes */
#define DEATH_TASKS     64
#define DEATH_VICTIM    20      /* the task that kills its worker */
#define LARGEST_REQUEST 1000000 /* calls, tasks or rounds */

struct bench {
    struct pool *pool;
    double startup;
};

struct answer {
    double seconds;
    char more[96]; /* " name=value", or nothing */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

static int increment(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(int64_t *)result = *(const int64_t *)arguments[0] + 1;
    return 0;
}
POOL_TASK(increment);

/* Looks only at the ends, so that the figure is the transfer. */
static int add_ends(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    const unsigned char *block = arguments[0];
    *(int64_t *)result = block[0] + block[BLOCK_SIZE - 1];
    return 0;
}
POOL_TASK(add_ends);

/* In shared memory, where the death is remembered. */
struct scene {
    _Atomic int deaths;
    _Atomic pid_t victim;
    double when; /* of the latest kill */
};

struct walk {
    int64_t value;
    struct scene *scene; /* NULL: nothing happens here */
};

/* Increments; but who comes to the scene first is killed, in the midst of the task. */
static int walk_past(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    const struct walk *walk = arguments[0];
    if (walk->scene && atomic_fetch_add(&walk->scene->deaths, 1) == 0) {
        atomic_store(&walk->scene->victim, getpid());
        walk->scene->when = now();
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    *(int64_t *)result = walk->value + 1;
    return 0;
}
POOL_TASK(walk_past);

/* ---- Requests -------------------------------------------------------------------------------- */

static int parse_number(const char *word, size_t least, size_t *number, struct error *error)
{
    char *end;
    *number = 0;
    errno = 0;
    const unsigned long long value = strtoull(word, &end, 10);
    if (*word < '0' || *word > '9' || *end || errno || value < least || value > LARGEST_REQUEST)
        return error_set(error, ERROR_INVALID, "%s: not a number from %zu to %d", word, least,
                         LARGEST_REQUEST);
    *number = (size_t)value;
    return 0;
}

/* Is it the second of these two words? */
static int parse_choice(const char *word, const char *first, const char *second, bool *is_second,
                        struct error *error)
{
    *is_second = strcmp(word, second) == 0;
    if (!*is_second && strcmp(word, first) != 0)
        return error_set(error, ERROR_INVALID, "%s: not %s or %s", word, first, second);
    return 0;
}

static struct pool *create(const char *method, const char *workers, size_t retries,
                           struct error *error)
{
    size_t count;
    if (parse_number(workers, 1, &count, error) < 0)
        return NULL;
    struct pool_options options = {.workers = (int)count, .retries = (int)retries};
    for (int i = POOL_FORKSERVER; i <= POOL_SPAWN; i++)
        if (strcmp(method, pool_start_method_name(i)) == 0) {
            options.start_method = i;
            return pool_create(&options, error);
        }
    error_set(error, ERROR_INVALID, "%s: no such start method", method);
    return NULL;
}

static int opened(const struct bench *bench, struct error *error)
{
    return bench->pool ? 0 : error_set(error, ERROR_INVALID, "no pool is open");
}

static int wrong(struct error *error, size_t index, int64_t result)
{
    return error_set(error, ERROR_TASK, "wrong result: task %zu gave %lld", index,
                     (long long)result);
}

/* Are these what increment makes of 0, 1, 2, ...? */
static int check_increments(const int64_t *results, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (results[i] != (int64_t)i + 1)
            return wrong(error, i, results[i]);
    return 0;
}

static void *room(size_t count, size_t size, bool shared, struct error *error)
{
    if (shared)
        return shared_memory_allocate(count, size, error);
    void *memory = calloc(count > 0 ? count : 1, size);
    if (!memory)
        error_set(error, ERROR_MEMORY, "no memory for %zu x %zu bytes", count, size);
    return memory;
}

static void give_back(void *memory, bool shared)
{
    if (shared)
        shared_memory_free(memory);
    else
        free(memory);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void answer_with_quantiles(struct answer *answer, double *seconds, size_t count)
{
    qsort(seconds, count, sizeof *seconds, ascending);
    answer->seconds = seconds[count / 2];
    snprintf(answer->more, sizeof answer->more, " p95=%.9g", seconds[count * 95 / 100]);
}

static int do_about(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    (void)bench, (void)words, (void)error;
#ifdef __clang__
    snprintf(answer->more, sizeof answer->more, " compiler=clang-%s", __clang_version__);
#else
    snprintf(answer->more, sizeof answer->more, " compiler=gcc-%s", __VERSION__);
#endif
    return 0;
}

static int do_start(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    (void)bench;
    const int64_t one = 1;
    int64_t two = 0;
    const double start = now();
    struct pool *pool = create(words[0], words[1], 0, error);
    if (!pool)
        return -1;
    int status = pool_apply(pool, increment, &one, sizeof one, &two, sizeof two, error);
    answer->seconds = now() - start;
    if (status == 0 && two != 2)
        status = wrong(error, 0, two);
    pool_destroy(pool);
    return status;
}

/* In a process that has not had a pool yet. */
static int do_first(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    if (do_start(bench, words, answer, error) < 0)
        return -1;
    answer->seconds += bench->startup;
    snprintf(answer->more, sizeof answer->more, " startup=%.9g", bench->startup);
    return 0;
}

static int do_open(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    (void)answer;
    pool_destroy(bench->pool);
    bench->pool = create(words[0], words[1], 0, error);
    return bench->pool ? 0 : -1;
}

static int do_close(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    (void)words, (void)answer, (void)error;
    pool_destroy(bench->pool);
    bench->pool = NULL;
    return 0;
}

static int do_map(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    size_t tasks, chunksize;
    bool shared;
    if (opened(bench, error) < 0 || parse_number(words[0], 1, &tasks, error) < 0 ||
        parse_number(words[1], 0, &chunksize, error) < 0 ||
        parse_choice(words[2], "copy", "shared", &shared, error) < 0)
        return -1;
    int status = -1;
    int64_t *results = NULL;
    int64_t *numbers = room(tasks, sizeof *numbers, shared, error);
    if (!numbers || !(results = room(tasks, sizeof *results, shared, error)))
        goto cleanup;
    for (size_t i = 0; i < tasks; i++)
        numbers[i] = (int64_t)i;
    for (int timed = 0; timed < 2; timed++) {
        memset(results, 0, tasks * sizeof *results);
        const uint64_t wakeups = pool_statistics(bench->pool).wakeups;
        const double start = now();
        status = pool_map(bench->pool, increment, numbers, sizeof *numbers, results,
                          sizeof *results, tasks, chunksize, error);
        answer->seconds = now() - start;
        if (status < 0 || (status = check_increments(results, tasks, error)) < 0)
            goto cleanup;
        snprintf(answer->more, sizeof answer->more, " wakeups=%llu",
                 (unsigned long long)(pool_statistics(bench->pool).wakeups - wakeups));
    }
cleanup:
    give_back(results, shared);
    give_back(numbers, shared);
    return status;
}

static int do_apply(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    size_t calls;
    if (opened(bench, error) < 0 || parse_number(words[0], 1, &calls, error) < 0)
        return -1;
    int status = -1;
    double *seconds = room(calls, sizeof *seconds, false, error);
    if (!seconds)
        return -1;
    for (size_t i = 0; i < WARM_UP + calls; i++) {
        const int64_t number = (int64_t)i;
        int64_t result = 0;
        const double start = now();
        status = pool_apply(bench->pool, increment, &number, sizeof number, &result, sizeof result,
                            error);
        const double end = now();
        if (status == 0 && result != number + 1)
            status = wrong(error, i, result);
        if (status < 0)
            break;
        if (i >= WARM_UP)
            seconds[i - WARM_UP] = end - start;
    }
    answer_with_quantiles(answer, seconds, calls);
    free(seconds);
    return status;
}

/* Submits `calls` tasks, then waits for each. */
static int submit_and_get(struct pool *pool, struct pool_result **handles, int64_t *results,
                          size_t calls, struct error *error)
{
    size_t submitted = 0;
    int status = 0;
    for (; submitted < calls; submitted++) {
        const int64_t number = (int64_t)submitted;
        handles[submitted] = pool_apply_async(pool, increment, &number, sizeof number,
                                              &results[submitted], sizeof number, NULL, error);
        if (!handles[submitted]) {
            status = -1;
            break;
        }
    }
    for (size_t i = 0; i < submitted; i++) {
        if (status == 0)
            status = pool_result_get(handles[i], -1, error);
        pool_result_free(handles[i]);
    }
    return status;
}

static int do_apply_async(struct bench *bench, char **words, struct answer *answer,
                          struct error *error)
{
    size_t calls;
    if (opened(bench, error) < 0 || parse_number(words[0], 1, &calls, error) < 0)
        return -1;
    int status = -1;
    int64_t *results = NULL;
    struct pool_result **handles = room(calls, sizeof(struct pool_result *), false, error);
    if (!handles || !(results = room(calls, sizeof *results, false, error)))
        goto cleanup;
    const size_t first = calls < WARM_UP ? calls : WARM_UP;
    if (submit_and_get(bench->pool, handles, results, first, error) < 0)
        goto cleanup;
    memset(results, 0, calls * sizeof *results);
    const double start = now();
    status = submit_and_get(bench->pool, handles, results, calls, error);
    answer->seconds = now() - start;
    if (status == 0)
        status = check_increments(results, calls, error);
cleanup:
    free(results);
    free(handles);
    return status;
}

typedef struct pool_iterator *imap_function(struct pool *, pool_function *, pool_source *, void *,
                                            size_t, size_t, size_t, size_t, struct error *);

/* results[i]: what came for element i, wherever in the order it came. */
static int iterate(struct pool *pool, imap_function *imap, struct pool_array array,
                   size_t buffersize, int64_t *results, struct error *error)
{
    struct pool_iterator *iterator = imap(pool, increment, pool_from_array, &array, array.size,
                                          sizeof *results, 1, buffersize, error);
    if (!iterator)
        return -1;
    int status;
    int64_t result;
    size_t index, items = 0;
    while ((status = pool_iterator_next(iterator, &result, &index, -1, error)) == 1) {
        results[index] = result;
        items++;
    }
    pool_iterator_free(iterator);
    if (status == 0 && items != array.count)
        return error_set(error, ERROR_TASK, "wrong result: %zu items instead of %zu", items,
                         array.count);
    return status;
}

static int measure_imap(struct bench *bench, imap_function *imap, char **words,
                        struct answer *answer, struct error *error)
{
    size_t calls, buffersize;
    if (opened(bench, error) < 0 || parse_number(words[0], 1, &calls, error) < 0 ||
        parse_number(words[1], 0, &buffersize, error) < 0)
        return -1;
    int status = -1;
    int64_t *results = NULL;
    int64_t *numbers = room(calls, sizeof *numbers, false, error);
    if (!numbers || !(results = room(calls, sizeof *results, false, error)))
        goto cleanup;
    for (size_t i = 0; i < calls; i++)
        numbers[i] = (int64_t)i;
    struct pool_array array = {
        .data = numbers, .size = sizeof *numbers, .count = calls < WARM_UP ? calls : WARM_UP};
    if (iterate(bench->pool, imap, array, buffersize, results, error) < 0)
        goto cleanup;
    memset(results, 0, calls * sizeof *results);
    array.count = calls;
    const double start = now();
    status = iterate(bench->pool, imap, array, buffersize, results, error);
    answer->seconds = now() - start;
    if (status == 0)
        status = check_increments(results, calls, error);
cleanup:
    free(results);
    free(numbers);
    return status;
}

static int do_imap(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    return measure_imap(bench, pool_imap, words, answer, error);
}

static int do_imap_unordered(struct bench *bench, char **words, struct answer *answer,
                             struct error *error)
{
    return measure_imap(bench, pool_imap_unordered, words, answer, error);
}

static int do_transfer(struct bench *bench, char **words, struct answer *answer,
                       struct error *error)
{
    bool shared;
    if (opened(bench, error) < 0 || parse_choice(words[0], "copy", "shared", &shared, error) < 0)
        return -1;
    int status = -1;
    int64_t *results = NULL;
    unsigned char *blocks = room(BLOCKS, BLOCK_SIZE, shared, error);
    if (!blocks || !(results = room(BLOCKS, sizeof *results, shared, error)))
        goto cleanup;
    for (int i = 0; i < BLOCKS; i++)
        memset(blocks + (size_t)i * BLOCK_SIZE, i + 1, BLOCK_SIZE);
    for (int timed = 0; timed < 2; timed++) {
        memset(results, 0, BLOCKS * sizeof *results);
        const double start = now();
        status = pool_map(bench->pool, add_ends, blocks, BLOCK_SIZE, results, sizeof *results,
                          BLOCKS, 0, error);
        answer->seconds = now() - start;
        if (status < 0)
            goto cleanup;
    }
    for (int i = 0; i < BLOCKS && status == 0; i++)
        if (results[i] != 2L * (i + 1))
            status = wrong(error, (size_t)i, results[i]);
cleanup:
    give_back(results, shared);
    give_back(blocks, shared);
    return status;
}

/* ---- A death -----------------------------------------------------------------------------------
 */

/* After pool_map returned `status`: was it told as the header promises, and is all else there? */
static int check_death(const struct scene *scene, size_t retries, int status,
                       const int64_t *results, const struct error *told, struct error *error)
{
    if (scene->deaths != 1 + (int)(retries > 0))
        return error_set(error, ERROR_TASK, "the task was run %d times", scene->deaths);
    if (retries == 0 && (status == 0 || told->code != ERROR_WORKER_LOST ||
                         told->task != DEATH_VICTIM || told->worker != scene->victim))
        return error_set(error, ERROR_TASK, "told wrongly (%d): %.150s", status,
                         status < 0 ? told->message : "no error");
    if (retries > 0 && status < 0)
        return error_set(error, ERROR_TASK, "not healed: %.150s", told->message);
    for (int i = 0; i < DEATH_TASKS; i++)
        if (results[i] != (i == DEATH_VICTIM && retries == 0 ? 0 : i + 1))
            return wrong(error, (size_t)i, results[i]);
    return 0;
}

static int do_death(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    (void)bench;
    size_t retries;
    if (parse_number(words[2], 0, &retries, error) < 0)
        return -1;
    int status = -1;
    struct walk walks[DEATH_TASKS] = {0};
    int64_t results[DEATH_TASKS] = {0};
    struct error told = {0};
    struct pool *pool = NULL;
    struct scene *scene = shared_memory_allocate(1, sizeof *scene, error);
    if (!scene)
        return -1;
    for (int i = 0; i < DEATH_TASKS; i++)
        walks[i].value = i;
    if (!(pool = create(words[0], words[1], retries, error)) ||
        pool_map(pool, walk_past, walks, sizeof *walks, results, sizeof *results, DEATH_TASKS, 1,
                 error) < 0)
        goto cleanup;
    memset(results, 0, sizeof results);
    walks[DEATH_VICTIM].scene = scene;
    const int map_status = pool_map(pool, walk_past, walks, sizeof *walks, results, sizeof *results,
                                    DEATH_TASKS, 1, &told);
    answer->seconds = now() - scene->when;
    status = check_death(scene, retries, map_status, results, &told, error);
cleanup:
    pool_destroy(pool);
    shared_memory_free(scene);
    return status;
}

/* ---- The floor: what two processes can do at best ----------------------------------------------
 */

/* Each word on cache lines of its own; neighbours are fetched in pairs. */
struct table {
    _Alignas(128) _Atomic uint32_t ping;
    _Alignas(128) _Atomic uint32_t pong;
};

/* One player raises `own` to i, the other answers; who waits sleeps in the kernel, or looks. */
static void strike(_Atomic uint32_t *own, uint32_t i, bool spin)
{
    atomic_store(own, i);
    if (!spin)
        syscall(SYS_futex, own, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await(_Atomic uint32_t *others, uint32_t i, bool spin)
{
    while (atomic_load(others) != i)
        if (!spin)
            syscall(SYS_futex, others, FUTEX_WAIT, i - 1, NULL, NULL, 0);
}

/* The processors that the two players are put on: the first two of `allowed`, or twice the first.
 */
static int seats(const cpu_set_t *allowed, bool together, cpu_set_t seat[2], struct error *error)
{
    int found = 0;
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET(i, allowed)) {
            CPU_ZERO(&seat[found]);
            CPU_SET(i, &seat[found++]);
        }
    if (together)
        seat[1] = seat[0];
    return found == 2 || together ? 0 : error_set(error, ERROR_INVALID, "there is only one core");
}

static int play(struct table *table, const cpu_set_t seat[2], bool spin, double *seconds,
                size_t rounds, struct error *error)
{
    const uint32_t all = WARM_UP + (uint32_t)rounds;
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child < 0)
        return error_set_errno(error, "fork");
    if (child == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
            _exit(1);
        for (uint32_t i = 1; i <= all; i++) {
            await(&table->ping, i, spin);
            strike(&table->pong, i, spin);
        }
        _exit(0);
    }
    int status = 0;
    if (sched_setaffinity(child, sizeof *seat, &seat[1]) < 0) {
        status = error_set_errno(error, "sched_setaffinity");
        kill(child, SIGKILL);
    }
    for (uint32_t i = 1; i <= all && status == 0; i++) {
        const double start = now();
        strike(&table->ping, i, spin);
        await(&table->pong, i, spin);
        if (i > WARM_UP)
            seconds[i - 1 - WARM_UP] = now() - start;
    }
    if (waitpid(child, NULL, 0) < 0)
        return error_set_errno(error, "waitpid");
    return status;
}

static int do_floor(struct bench *bench, char **words, struct answer *answer, struct error *error)
{
    bool spin, together;
    size_t rounds;
    cpu_set_t allowed, seat[2];
    if (bench->pool)
        return error_set(error, ERROR_INVALID, "a pool is open");
    if (parse_choice(words[0], "futex", "spin", &spin, error) < 0 ||
        parse_choice(words[1], "apart", "together", &together, error) < 0 ||
        parse_number(words[2], 1, &rounds, error) < 0)
        return -1;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return error_set_errno(error, "sched_getaffinity");
    if (seats(&allowed, together, seat, error) < 0)
        return -1;
    int status = -1;
    double *seconds = NULL;
    struct table *table =
        mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        return error_set_errno(error, "mmap");
    if (!(seconds = room(rounds, sizeof *seconds, false, error)))
        goto cleanup;
    if (sched_setaffinity(0, sizeof *seat, &seat[0]) < 0) {
        error_set_errno(error, "sched_setaffinity");
        goto cleanup;
    }
    status = play(table, seat, spin, seconds, rounds, error);
    if (sched_setaffinity(0, sizeof allowed, &allowed) < 0 && status == 0)
        status = error_set_errno(error, "sched_setaffinity");
    answer_with_quantiles(answer, seconds, rounds);
cleanup:
    free(seconds);
    munmap(table, sizeof *table);
    return status;
}

/* ---- Asked and answered ------------------------------------------------------------------------
 */

#define MOST_WORDS 4

static const struct command {
    const char *name;
    int words; /* after the name */
    int (*run)(struct bench *, char **, struct answer *, struct error *);
} commands[] = {
    {"about", 0, do_about},       {"first", 2, do_first},
    {"start", 2, do_start},       {"open", 2, do_open},
    {"close", 0, do_close},       {"map", 3, do_map},
    {"apply", 1, do_apply},       {"apply_async", 1, do_apply_async},
    {"imap", 2, do_imap},         {"imap_unordered", 2, do_imap_unordered},
    {"transfer", 1, do_transfer}, {"death", 3, do_death},
    {"floor", 3, do_floor},
};

static int respond(struct bench *bench, char *line, struct answer *answer, struct error *error)
{
    char *words[MOST_WORDS] = {NULL}, *rest = line;
    int count = 0;
    while (count < MOST_WORDS && (words[count] = strtok_r(rest, " \n", &rest)))
        count++;
    for (size_t i = 0; count > 0 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(words[0], commands[i].name) == 0 && count == 1 + commands[i].words)
            return commands[i].run(bench, words + 1, answer, error);
    return error_set(error, ERROR_INVALID, "not a request: %s", count > 0 ? words[0] : "");
}

int main(void)
{
    struct bench bench = {0};
    struct error error = {0};
    const double start = now();
    if (pool_startup(&error) < 0) {
        fprintf(stderr, "pool_bench: %s\n", error.message);
        return 1;
    }
    bench.startup = now() - start;

    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        struct answer answer = {0};
        if (respond(&bench, line, &answer, &error) == 0)
            printf("ok %.9g%s\n", answer.seconds, answer.more);
        else
            printf("error %s\n", error.message);
        fflush(stdout);
    }
    free(line);
    pool_destroy(bench.pool);
    return 0;
}
