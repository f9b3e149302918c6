#include "tests/pool_fixture.h"
#include "common/parallel/resources.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct ledger before;
pid_t helper;
bool helper_is_gone;

/* ---- The ledger ------------------------------------------------------------------------------ */

static bool names_are_ours;

int count_entries(const char *directory)
{
    int count = 0;
    DIR *stream = opendir(directory);
    if (!stream)
        return -1;
    while (readdir(stream)) /* cppcheck-suppress readdirCalled */
        count++;
    closedir(stream);
    return count - 3; /* ".", "..", and (of descriptors) the directory's own */
}

static void count_mappings(struct ledger *ledger)
{
    char line[1024];
    unsigned long inode;
    FILE *file = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file)) {
        ck_assert_int_eq(sscanf(line, "%*s %*s %*s %*s %lu", &inode), 1);
        ledger->mappings += inode != 0;
        ledger->anonymous += inode == 0;
    }
    fclose(file);
}

/* libomp leaves files of its own when a process that has used it ends by _exit. */
static int count_names(void)
{
    int count = 0;
    DIR *stream = opendir("/dev/shm");
    const struct dirent *entry;
    ck_assert_ptr_nonnull(stream);
    while ((entry = readdir(stream))) /* cppcheck-suppress readdirCalled */
        count += strncmp(entry->d_name, "__KMP_REGISTERED_LIB_", 21) != 0;
    closedir(stream);
    return count;
}

struct ledger take_ledger(void)
{
    struct ledger ledger = {.descriptors = count_entries("/proc/self/fd"),
                            .threads = count_entries("/proc/self/task"),
                            .names = names_are_ours ? count_names() : -1};
    count_mappings(&ledger);
    return ledger;
}

size_t arena_bytes(void)
{
    char path[64], target[64];
    struct stat status;
    for (int fd = 3; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(path, target, sizeof target - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        if (strncmp(target, "/memfd:arena", 12) == 0 && fstat(fd, &status) == 0)
            return (size_t)status.st_blocks * 512;
    }
    ck_abort_msg("there is no arena");
}

#define KEPT_BY_LIBRARY 24

void expect_as_before(void)
{
    struct ledger after = take_ledger();
    /* pthread_join may return a moment before the thread has left the list. */
    for (int tries = 0; after.threads > before.threads && tries < 500; tries++) {
        pause_ms(10);
        after = take_ledger();
    }
    ck_assert_int_eq(after.descriptors, before.descriptors);
    ck_assert_int_eq(after.threads, before.threads);
    ck_assert_int_eq(after.names, before.names);
    if (SANITIZED) /* whose allocators map as they like */
        return;
    ck_assert_int_eq(after.mappings, before.mappings);
    ck_assert_int_le(after.anonymous, before.anonymous + KEPT_BY_LIBRARY);
}

void own_shared_memory_names(void)
{
    names_are_ours = unshare(CLONE_NEWNS) == 0 &&
                     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                     mount("none", "/dev/shm", "tmpfs", 0, "size=64m") == 0;
    if (!names_are_ours)
        fprintf(stderr,
                "skipped: names in /dev/shm are not counted, since this user cannot have "
                "one for this program alone (%s)\n",
                strerror(errno));
}

/* What is started lazily, once, belongs to the ledger's beginning: the heap, a callback's thread.
 */
static void warm_up(void)
{
    struct pool *pool = create_with((struct pool_options){.workers = 1});
    map_squares(pool, 10000, 0);
    pool_destroy(pool);
}

void set_up(void)
{
    struct error error;
    pid_t found[4];
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    ck_assert_msg(pool_startup(&error) == 0, "%s", error.message);
    ck_assert_int_eq(descendants(getpid(), found, 4), 1);
    helper = found[0];
    const int threads = count_entries("/proc/self/task");
    warm_up();
    for (before = take_ledger(); before.threads > threads; before = take_ledger())
        pause_ms(1); /* a thread that was joined may still be in the list */
}

void tear_down(void)
{
    expect_no_process(helper_is_gone);
    expect_as_before();
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* The parent of a process, and the letter that says its state, or that of one of its threads; -1:
 * there is no such process. */
static pid_t parent_and_state(pid_t pid, pid_t thread, char *state)
{
    char path[64], line[512];
    int parent = -1;
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fgets(line, sizeof line, file) && strrchr(line, ')') &&
        sscanf(strrchr(line, ')'), ") %c %d", state, &parent) != 2)
        parent = -1;
    fclose(file);
    return parent;
}

pid_t parent_of(pid_t pid)
{
    char state;
    return parent_and_state(pid, pid, &state);
}

static bool descends_from(pid_t pid, pid_t ancestor)
{
    for (int depth = 0; pid > 1 && depth < 32; depth++) {
        pid = parent_of(pid);
        if (pid == ancestor)
            return true;
    }
    return false;
}

int descendants(pid_t ancestor, pid_t *found, int room)
{
    int count = 0;
    DIR *stream = opendir("/proc");
    const struct dirent *entry;
    ck_assert_ptr_nonnull(stream);
    while ((entry = readdir(stream))) { /* cppcheck-suppress readdirCalled */
        const pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && count < room && descends_from(pid, ancestor))
            found[count++] = pid;
    }
    closedir(stream);
    return count;
}

void pause_ms(int milliseconds)
{
    poll(NULL, 0, milliseconds);
}

double seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int count_processes(bool helper_too)
{
    pid_t found[MAX_FAMILY];
    int living = 0;
    const int count = descendants(getpid(), found, MAX_FAMILY);
    for (int i = 0; i < count; i++)
        if ((found[i] != helper || helper_too) && waitpid(found[i], NULL, WNOHANG) != found[i])
            living++;
    return living;
}

void expect_processes(int expected, bool helper_too)
{
    for (int tries = 0; count_processes(helper_too) > expected; tries++) {
        ck_assert_msg(tries < 1000, "%d processes are left", count_processes(helper_too));
        pause_ms(10);
    }
}

void expect_no_process(bool helper_too)
{
    expect_processes(0, helper_too);
}

void expect_death(pid_t pid)
{
    for (int tries = 0; tries < 1000; tries++) {
        char state;
        if (parent_and_state(pid, pid, &state) == -1 || state == 'Z' || state == 'X')
            return;
        pause_ms(10);
    }
    ck_abort_msg("process %d is alive", (int)pid);
}

static bool all_threads_stopped(pid_t pid)
{
    char path[64], state;
    bool stopped = true;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *stream = opendir(path);
    const struct dirent *entry;
    ck_assert_ptr_nonnull(stream);
    while ((entry = readdir(stream))) { /* cppcheck-suppress readdirCalled */
        const pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0 && parent_and_state(pid, thread, &state) != -1)
            stopped = stopped && state == 'T';
    }
    closedir(stream);
    return stopped;
}

void expect_stopped(pid_t pid)
{
    for (int tries = 0; !all_threads_stopped(pid); tries++) {
        ck_assert_msg(tries < 1000, "process %d does not stop", (int)pid);
        pause_ms(10);
    }
}

pid_t helper_of(struct pool *pool)
{
    pid_t pids[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    return parent_of(pids[0]);
}

void settled_pids(struct pool *pool, const pid_t *dead, pid_t *pids)
{
    for (bool settled = false; !settled; pause_ms(1)) {
        settled = true;
        pool_pids(pool, pids);
        for (int i = 0; i < pool_workers(pool); i++)
            settled = settled && pids[i] != 0 && (!dead || pids[i] != dead[i]);
    }
}

/* ---- Victims --------------------------------------------------------------------------------- */

struct running start_victim(const char *name, int method)
{
    char number[8];
    int pipe_ends[2];
    snprintf(number, sizeof number, "%d", method);
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setpgid(0, 0);
        dup2(pipe_ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "victim", name, number, (char *)NULL);
        _exit(127);
    }
    close(pipe_ends[1]);
    return (struct running){.pid = pid, .output = pipe_ends[0]};
}

int end_of_victim(struct running victim)
{
    int status;
    ck_assert_int_eq(waitpid(victim.pid, &status, 0), victim.pid);
    close(victim.output);
    return status;
}

/* ---- Situations ------------------------------------------------------------------------------ */

bool short_of_a_kind(void)
{
    const char *value = getenv("FORKJOIN_SHORT");
    return value && *value;
}

int situations(void)
{
    return 3 * (short_of_a_kind() ? 1 : SANITIZED ? 2 : 3);
}

struct pool_options situation(int i)
{
    static const int workers[] = {1, 2, MAX_WORKERS};
    static const int chosen[] = {3, SANITIZED ? 1 : 7, 2}; /* 2, 8 and 1 workers */
    if (i < 3 && short_of_a_kind())
        i = chosen[i];
    return (struct pool_options){.workers = workers[i / 3],
                                 .start_method = (enum pool_start_method)(i % 3)};
}

struct pool *create_with(struct pool_options options)
{
    struct error error;
    struct pool *pool = pool_create(&options, &error);
    ck_assert_msg(pool != NULL, "pool_create: %s", error.message);
    return pool;
}

TCase *add_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, HANG);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_FORK); /* also under a debugger: a test may end the helper */
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

int square(const void *const *arguments, void *result, struct pool_task *task)
{
    const long x = *(const long *)arguments[0];
    (void)task;
    *(long *)result = x * x;
    return 0;
}
POOL_TASK(square);

void check_squares(const long *results, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(results[i], (long)(i * i));
}

void map_squares(struct pool *pool, size_t n, size_t chunksize)
{
    struct error error;
    long *x = malloc((n + 1) * sizeof *x), *y = malloc((n + 1) * sizeof *y);
    ck_assert(x && y);
    for (size_t i = 0; i <= n; i++) {
        x[i] = (long)i;
        y[i] = -1;
    }
    ck_assert_msg(pool_map(pool, square, x, sizeof *x, y, sizeof *y, n, chunksize, &error) == 0,
                  "%s", error.message);
    check_squares(y, n);
    ck_assert_int_eq(y[n], -1);
    free(x);
    free(y);
}

const int death_signals[DEATHS] = {
    [BY_KILL] = SIGKILL,  [BY_FAULT] = SIGSEGV,  [BY_ABORT] = SIGABRT,
    [BY_STACK] = SIGSEGV, [BY_MEMORY] = SIGSEGV, [BY_KILL_AT_EXIT] = SIGKILL};

/* A kilobyte of stack for each level, and more levels than any stack holds. */
__attribute__((noinline)) static long sink_into_the_stack(long depth)
{
    volatile char page[1024];
    page[0] = (char)depth;
    return depth == 0 ? 0 : sink_into_the_stack(depth - 1) + page[0];
}

static void fault(void)
{
    *(volatile char *)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
}

static void run_out_of_memory(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0)
        return;
    limit.rlim_cur = 0; /* it keeps what it has and gets no more */
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return;
    const size_t megabyte = 1 << 20;
    while (mmap(NULL, megabyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED)
        ;
    fault(); /* as who writes to what malloc did not give */
}

static void kill_this_process(void)
{
    kill(getpid(), SIGKILL);
}

void die(enum death death)
{
    struct sigaction by_default = {.sa_handler = SIG_DFL}; /* not a sanitizer's report */
    sigaction(SIGSEGV, &by_default, NULL);
    sigaction(SIGABRT, &by_default, NULL);
    switch (death) {
    case BY_KILL:
        kill_this_process();
        break;
    case BY_FAULT:
        fault();
        break;
    case BY_ABORT:
        abort();
    case BY_EXIT:
        exit(0);
    case BY__EXIT:
        _exit(0);
    case BY_STACK:
        sink_into_the_stack(100L * 1000 * 1000);
        break;
    case BY_THREAD_EXIT:
        pthread_exit(NULL);
    case BY_MEMORY:
        run_out_of_memory();
        break;
    case BY_KILL_AT_EXIT:
        if (atexit(kill_this_process) == 0)
            exit(0);
        break;
    case DEATHS:
        break;
    }
}

/* ---- A scene --------------------------------------------------------------------------------- */

static void stay(void)
{
    for (;;)
        pause_ms(-1);
}

static void await_opening(const struct scene *scene, long part)
{
    while (atomic_load(&scene->open) <= part)
        pause_ms(1);
}

/* Both come back with EINTR if a signal comes, and by themselves after two seconds, since it may
 * come in the moment before. */
static bool sleep_is_interrupted(void)
{
    const struct timespec two_seconds = {.tv_sec = 2};
    return nanosleep(&two_seconds, NULL) == -1 && errno == EINTR;
}

static bool read_is_interrupted(void)
{
    uint64_t expirations;
    const struct itimerspec two_seconds = {.it_value.tv_sec = 2};
    const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (timer < 0 || timerfd_settime(timer, 0, &two_seconds, NULL) != 0)
        return false;
    const bool interrupted = read(timer, &expirations, sizeof expirations) == -1 && errno == EINTR;
    close(timer);
    return interrupted;
}

static int heed(long *result, const struct pool_task *task, bool (*wait)(void))
{
    bool interrupted = false;
    if (pool_task_overdue(task))
        return -1;
    while (!pool_task_overdue(task))
        interrupted = wait() || interrupted;
    *result = 1 + 2 * interrupted;
    return 0;
}

static void be_stubborn(struct scene *scene)
{
    for (;;)
        if (sleep_is_interrupted())
            atomic_fetch_add(&scene->signals, 1);
}

int play(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct order *order = arguments[0];
    struct scene *scene = order->scene;
    const long part = order->part;
    long *value = result;
    atomic_store(&scene->pids[part], getpid());
    const long run = atomic_fetch_add(&scene->runs[part], 1) + 1;
    atomic_fetch_add(&scene->entered, 1);
    if (order->act == WAIT || order->act == WAIT_FAIL)
        await_opening(scene, part);
    *value = part * part;
    switch (order->act) {
    case FAIL:
    case WAIT_FAIL:
        return pool_task_fail(task, "part %ld refuses", part);
    case DIE:
        die(BY_KILL);
        break;
    case DIE_ONCE:
        if (run == 1)
            die(BY_KILL);
        break;
    case MEET:
        while (atomic_load(&scene->entered) < atomic_load(&scene->open))
            pause_ms(1);
        break;
    case STAY:
        stay();
        break;
    case PID:
        *value = getpid();
        break;
    case INTERRUPT:
        kill(atomic_load(&scene->program), SIGINT);
        stay();
        break;
    case HEED:
    case HEED_READ:
        if (heed(value, task, order->act == HEED ? sleep_is_interrupted : read_is_interrupted) != 0)
            return pool_task_fail(task, "overdue from the start");
        break;
    case SPIN:
        while (!pool_task_overdue(task))
            ;
        *value = 1;
        break;
    case STUBBORN:
        be_stubborn(scene);
        break;
    case SQUARE:
    case WAIT:
        break;
    }
    atomic_fetch_add(&scene->finished, 1);
    return 0;
}
POOL_TASK(play);

struct scene *make_scene(void)
{
    struct error error;
    struct scene *scene = shared_memory_allocate(1, sizeof *scene, &error);
    ck_assert_msg(scene != NULL, "%s", error.message);
    atomic_store(&scene->program, getpid());
    return scene;
}

void open_scene(struct scene *scene)
{
    atomic_store(&scene->open, SCENE_PARTS);
}

void await_entered(const struct scene *scene, long tasks)
{
    while (atomic_load(&scene->entered) < tasks)
        pause_ms(1);
}

void await_run(const struct scene *scene, long part)
{
    while (atomic_load(&scene->runs[part]) == 0)
        pause_ms(1);
}

void prepare(struct scene *scene, struct order *orders, long *results, size_t n, enum act act)
{
    for (size_t i = 0; i < n; i++) {
        orders[i] = (struct order){.scene = scene, .act = act, .part = (long)i};
        results[i] = UNTOUCHED;
    }
}

/* ---- Expectations ---------------------------------------------------------------------------- */

void expect_failure(int status, const struct error *error, enum error_code code,
                    const char *part_of_message)
{
    ck_assert_int_eq(status, -1);
    ck_assert_msg(error->code == code, "code %d: %s", error->code, error->message);
    ck_assert_msg(strstr(error->message, part_of_message) != NULL, "%s", error->message);
}
