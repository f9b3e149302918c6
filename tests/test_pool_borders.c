/* test_pool_borders.c - the process pool at its borders with the operating system: signals,
 * descriptors, core dumps, privileges and limits, standard streams; and what a program does to its
 * pool by being a program: waiting for all children, forking, leaving by exit.
 *
 * Where a program has to be of its own, a test forks one, which calls nothing of Check: it answers
 * by its exit status, 0 if all was right, else the line that was wrong.
 */
#include "common/parallel/resources.h"
#include "tests/pool_fixture.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error error;

/* In a program of its own: ends it, with the line as its status. */
#define NEED(condition)                                                                            \
    do                                                                                             \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, error.message);            \
            _exit(1);                                                                              \
        }                                                                                          \
    while (0)

/* ---- Programs of their own ---------------------------------------------------------------------
 */

/* Runs this program as the one of that name, with a method: the status as from waitpid. What it
 * writes goes to text[size], if there is one. */
static int run_program(const char *name, int method, char *text, size_t size)
{
    char ignored[256];
    const struct running program = start_victim(name, method);
    size_t length = 0;
    ssize_t got;
    while (text && length < size - 1 &&
           (got = read(program.output, text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    if (text)
        text[length] = '\0';
    while (read(program.output, ignored, sizeof ignored) > 0)
        ;
    return end_of_victim(program);
}

static void expect_success(const char *name, int method)
{
    const int status = run_program(name, method, NULL, 0);
    ck_assert_msg(status == 0, "program %s, method %d: status 0x%x", name, method,
                  (unsigned)status);
    expect_no_process(false);
}

static struct pool *create(int method, int workers)
{
    struct pool *pool = pool_create(
        &(struct pool_options){.workers = workers, .start_method = (enum pool_start_method)method},
        &error);
    NEED(pool != NULL);
    return pool;
}

static void start_up(void)
{
    NEED(pool_startup(&error) == 0);
}

static void expect_work(struct pool *pool)
{
    long x[20], y[20];
    for (long i = 0; i < 20; i++)
        x[i] = i;
    NEED(pool_map(pool, square, x, sizeof *x, y, sizeof *y, 20, 1, &error) == 0);
    for (long i = 0; i < 20; i++)
        NEED(y[i] == i * i);
}

/* ---- Core dumps -------------------------------------------------------------------------------
 */

/* Is the mapping that this address lies in left out of core dumps ("dd" in VmFlags)? */
static bool is_left_out_of_cores(const void *address)
{
    char line[1024];
    unsigned long first, end;
    bool inside = false, out = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%lx-%lx ", &first, &end) == 2)
            inside = (unsigned long)address >= first && (unsigned long)address < end;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            out = strstr(line, " dd") != NULL;
    if (file)
        fclose(file);
    return out;
}

static int look_at_arena(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    *(bool *)result = is_left_out_of_cores(*(void *const *)arguments[0]);
    return 0;
}
POOL_TASK(look_at_arena);

/* A crash would write the whole arena, a terabyte, into its core. */
START_TEST(shared_memory_is_left_out_of_core_dumps)
{
    bool left_out = false;
    struct pool *pool = create_with(situation(_i));
    long *shared = shared_memory_allocate(1, sizeof *shared, &error);
    ck_assert_ptr_nonnull(shared);
    ck_assert(is_left_out_of_cores(shared));
    ck_assert(!is_left_out_of_cores(&error)); /* the test can tell */
    ck_assert_int_eq(
        pool_apply(pool, look_at_arena, &shared, sizeof shared, &left_out, sizeof left_out, &error),
        0);
    ck_assert(left_out);
    shared_memory_free(shared);
    pool_destroy(pool);
}
END_TEST

/* ---- Signals ----------------------------------------------------------------------------------
 */

static void handle(int number)
{
    (void)number;
}

/* Of SIGHUP, SIGPIPE, SIGTERM, SIGUSR2 in this process: 'i'gnored, 'h'andled or the 'd'efault. */
static void describe_signals(char text[5])
{
    static const int numbers[] = {SIGHUP, SIGPIPE, SIGTERM, SIGUSR2};
    for (int i = 0; i < 4; i++) {
        struct sigaction action;
        sigaction(numbers[i], NULL, &action);
        text[i] = action.sa_handler == SIG_IGN ? 'i' : action.sa_handler == SIG_DFL ? 'd' : 'h';
    }
    text[4] = '\0';
}

static int signals_of_worker(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)task;
    describe_signals(result);
    return 0;
}
POOL_TASK(signals_of_worker);

/* Set after pool_startup, so that a helper that was made before has not seen it. */
START_TEST(what_the_program_ignores_stays_ignored)
{
    char found[5];
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, handle);
    struct pool *pool = create_with(situation(_i));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pool_apply(pool, signals_of_worker, NULL, 0, found, sizeof found, &error),
                         0);
        ck_assert_str_eq(found, "iidd");
        pid_t pids[MAX_WORKERS], again[MAX_WORKERS]; /* a replacement is like the first ones */
        settled_pids(pool, NULL, pids);
        for (int w = 0; w < pool_workers(pool); w++)
            kill(pids[w], SIGKILL);
        settled_pids(pool, pids, again);
    }
    pool_destroy(pool);
    signal(SIGHUP, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}
END_TEST

static int write_to_broken_pipe(const void *const *arguments, void *result, struct pool_task *task)
{
    int ends[2];
    (void)arguments;
    (void)task;
    if (pipe(ends) != 0)
        return -1;
    close(ends[0]);
    *(int *)result = write(ends[1], "", 1) < 0 ? errno : 0;
    close(ends[1]);
    return 0;
}
POOL_TASK(write_to_broken_pipe);

START_TEST(a_broken_pipe_is_an_error_where_the_program_says_so)
{
    int found = 0;
    signal(SIGPIPE, SIG_IGN);
    struct pool *pool = create_with(situation(_i));
    ck_assert_int_eq(pool_apply(pool, write_to_broken_pipe, NULL, 0, &found, sizeof found, &error),
                     0);
    ck_assert_int_eq(found, EPIPE);
    pool_destroy(pool);
    signal(SIGPIPE, SIG_DFL);
}
END_TEST

/* What `timeout`, a shell or a terminal sends to the group of a program that handles it. */
START_TEST(the_helper_survives_what_is_sent_to_the_group)
{
    static const int numbers[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
                                  SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE};
    struct pool *pool = create_with(situation(_i));
    const pid_t of_pool = helper_of(pool);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        ck_assert_int_eq(kill(of_pool, numbers[i]), 0);
    map_squares(pool, 100, 1);
    pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
    settled_pids(pool, NULL, pids);
    ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
    while (again[0] = pids[0], pool_pids(pool, again), again[0] == pids[0] || again[0] == 0)
        pause_ms(1);
    ck_assert_int_eq(parent_of(again[0]), of_pool); /* it still starts workers */
    pool_destroy(pool);
    pool_destroy(create_with(situation(_i)));
}
END_TEST

/* A terminal's Ctrl-C, Ctrl-\ and its end go to workers, too: the program decides about them. */
START_TEST(workers_do_not_hear_the_terminal)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT};
    pid_t pids[MAX_WORKERS];
    struct pool *pool = create_with(situation(_i));
    settled_pids(pool, NULL, pids);
    for (int w = 0; w < pool_workers(pool); w++)
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(kill(pids[w], numbers[i]), 0);
    map_squares(pool, 100, 1);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    pool_destroy(pool);
}
END_TEST

/* ---- Descriptors ------------------------------------------------------------------------------
 */

static int read_from(const void *const *arguments, void *result, struct pool_task *task)
{
    const int fd = *(const int *)arguments[0];
    if (pread(fd, result, 4, 0) != 4)
        return pool_task_fail(task, "descriptor %d: %s", fd, strerror(errno));
    return 0;
}
POOL_TASK(read_from);

/* A file without a name, at its end. */
static int make_file(const char *text)
{
    char name[] = "/tmp/forkjoin-XXXXXX";
    const int fd = mkstemp(name);
    unlink(name);
    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? fd : -1;
}

START_TEST(fork_workers_have_the_programs_descriptors)
{
    char found[5] = "";
    const int fd = make_file("data and more");
    ck_assert_int_ge(fd, 0);
    struct pool *pool = create_with((struct pool_options){.workers = 2, .start_method = POOL_FORK});
    ck_assert_msg(pool_apply(pool, read_from, &fd, sizeof fd, found, 4, &error) == 0, "%s",
                  error.message);
    ck_assert_str_eq(found, "data");
    pool_destroy(pool);
    pool = create_with((struct pool_options){.workers = 2});
    ck_assert_int_eq(pool_apply(pool, read_from, &fd, sizeof fd, found, 4, &error), -1);
    pool_destroy(pool);
    close(fd);
}
END_TEST

/* Two pools made by fork: a worker of the second that kept the first one's life line would keep
 * workers of the first alive. */
START_TEST(pools_made_by_fork_do_not_keep_each_other)
{
    struct pool_options options = {.workers = 2, .start_method = POOL_FORK};
    struct pool *first = create_with(options), *second = create_with(options);
    pid_t of_first = helper_of(first);
    pool_destroy(first);
    expect_death(of_first);
    map_squares(second, 100, 1);
    pool_destroy(second);
}
END_TEST

static int close_and_reuse(const void *const *arguments, void *result, struct pool_task *task)
{
    const char *name = arguments[0];
    (void)task;
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    for (int fd = 3; fd < 64; fd++)
        if (open(name, O_WRONLY | O_APPEND) != fd)
            return -1;
    *(int *)result = 1;
    return 0;
}
POOL_TASK(close_and_reuse);

static void count_call(void *results, void *context)
{
    (void)results;
    atomic_fetch_add((atomic_int *)context, 1);
}

/* Neither does the pool write into the task's file, nor is a callback lost. */
START_TEST(a_task_that_closes_all_descriptors)
{
    char name[] = "/tmp/forkjoin-XXXXXX";
    const int fd = mkstemp(name);
    struct stat status;
    atomic_int calls = 0;
    int done[40] = {0};
    const struct pool_callbacks callbacks = {.done = count_call, .context = &calls};
    ck_assert_int_ge(fd, 0);
    struct pool *pool = create_with(situation(_i));
    for (int i = 0; i < 40; i++) {
        struct pool_result *result = pool_apply_async(pool, close_and_reuse, name, sizeof name,
                                                      &done[i], sizeof *done, &callbacks, &error);
        ck_assert_ptr_nonnull(result);
        pool_result_free(result);
    }
    while (atomic_load(&calls) < 40)
        pause_ms(1);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_size, 0);
    ck_assert_uint_eq(pool_statistics(pool).restarts, 0);
    pool_destroy(pool);
    unlink(name);
    close(fd);
}
END_TEST

/* ---- Standard streams and exit ----------------------------------------------------------------
 */

static int read_input(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)task;
    *(int *)result = getchar();
    return 0;
}
POOL_TASK(read_input);

static int leave_by_exit(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    exit(0);
}
POOL_TASK(leave_by_exit);

static int file_of_exits = -1;

static void note_exit(void)
{
    if (write(file_of_exits, "x", 1) != 1)
        abort();
}

/* The program reads its input in the midst of what tasks do to theirs. */
static int program_reads_input(int method)
{
    char line[64];
    struct stat status;
    const int input = make_file("first\nsecond\nthird\n");
    file_of_exits = make_file("");
    NEED(input >= 0 && file_of_exits >= 0);
    lseek(input, 0, SEEK_SET);
    NEED(dup2(input, STDIN_FILENO) == STDIN_FILENO);
    start_up();
    atexit(note_exit);
    NEED(fgets(line, sizeof line, stdin) && strcmp(line, "first\n") == 0);
    struct pool *pool = create(method, 2);
    for (int i = 0; i < 10; i++) {
        int found = 0;
        NEED(pool_apply(pool, read_input, NULL, 0, &found, sizeof found, &error) == 0);
        NEED(found == EOF);
        NEED(pool_apply(pool, leave_by_exit, NULL, 0, NULL, 0, &error) == -1);
        NEED(error.code == ERROR_WORKER_LOST);
    }
    NEED(fgets(line, sizeof line, stdin) && strcmp(line, "second\n") == 0);
    NEED(fgets(line, sizeof line, stdin) && strcmp(line, "third\n") == 0);
    NEED(!fgets(line, sizeof line, stdin));
    pool_destroy(pool);
    NEED(fstat(file_of_exits, &status) == 0 && status.st_size == 0);
    return 0;
}

START_TEST(tasks_take_nothing_of_the_programs_input_and_exits)
{
    expect_success("reads-input", _i);
}
END_TEST

/* Unless told otherwise. */
static int program_shares_input(int method)
{
    int found = 0;
    const int input = make_file("abc");
    NEED(input >= 0);
    lseek(input, 0, SEEK_SET);
    NEED(dup2(input, STDIN_FILENO) == STDIN_FILENO);
    start_up();
    struct pool *pool = pool_create(
        &(struct pool_options){
            .workers = 1, .start_method = (enum pool_start_method)method, .keep_stdin = true},
        &error);
    NEED(pool != NULL);
    NEED(pool_apply(pool, read_input, NULL, 0, &found, sizeof found, &error) == 0);
    NEED(found == 'a');
    pool_destroy(pool);
    return 0;
}

START_TEST(tasks_read_the_programs_input_if_asked)
{
    expect_success("shares-input", _i);
}
END_TEST

static int say_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    printf("task\n");
    return 0;
}
POOL_TASK(say_task);

static int program_speaks(int method)
{
    start_up();
    printf("program\n"); /* into a pipe, so it stays in the buffer */
    struct pool *pool = create(method, 1);
    NEED(pool_apply(pool, say_task, NULL, 0, NULL, 0, &error) == 0);
    pool_destroy(pool);
    printf("end\n");
    return 0;
}

START_TEST(the_programs_lines_come_before_its_tasks)
{
    char text[64];
    ck_assert_int_eq(run_program("speaks", _i, text, sizeof text), 0);
    ck_assert_str_eq(text, "program\ntask\nend\n");
}
END_TEST

/* ---- Children ----------------------------------------------------------------------------------
 */

static int program_waits_for_all(int method)
{
    start_up();
    struct pool *pool = create(method, 2);
    const pid_t child = fork();
    if (child == 0)
        _exit(7);
    int status, count = 0;
    pid_t got;
    alarm(HANG);
    while ((got = wait(&status)) > 0) {
        NEED(got == child && WEXITSTATUS(status) == 7);
        count++;
    }
    NEED(count == 1 && errno == ECHILD);
    expect_work(pool);
    pid_t pids[2];
    pool_pids(pool, pids);
    kill(pids[0], SIGKILL); /* deaths are healed all the same */
    while (pool_statistics(pool).restarts == 0)
        expect_work(pool);
    pool_destroy(pool);
    return 0;
}

START_TEST(who_waits_for_all_children_does_not_wait_for_the_pool)
{
    expect_success("waits-for-all", _i);
}
END_TEST

/* In a forked copy. */
START_TEST(a_forked_copy_is_told_that_it_cannot_start_up)
{
    int status;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        NEED(pool_startup(&error) == -1);
        NEED(error.code == ERROR_INVALID && strstr(error.message, "forked copy"));
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- Privileges and limits --------------------------------------------------------------------
 */

struct state {
    uid_t uid;
    gid_t gid;
    int groups, nice, processors;
    unsigned umask;
    rlim_t files;
    bool no_new_privileges;
    unsigned long long effective; /* capabilities */
};

static void look(struct state *state)
{
    struct rlimit limit;
    cpu_set_t processors;
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    *state = (struct state){.uid = geteuid(),
                            .gid = getegid(),
                            .groups = getgroups(0, NULL),
                            .nice = getpriority(PRIO_PROCESS, 0),
                            .no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1};
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "Umask: %o", &state->umask);
        sscanf(line, "CapEff: %llx", &state->effective);
    }
    if (file)
        fclose(file);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        state->files = limit.rlim_cur;
    if (sched_getaffinity(getpid(), sizeof processors, &processors) == 0)
        state->processors = CPU_COUNT(&processors);
}

static int state_of_worker(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)task;
    look(result);
    return 0;
}
POOL_TASK(state_of_worker);

static void expect_same_state(struct pool *pool)
{
    struct state own, found;
    look(&own);
    NEED(pool_apply(pool, state_of_worker, NULL, 0, &found, sizeof found, &error) == 0);
    NEED(found.uid == own.uid && found.gid == own.gid && found.groups == own.groups);
    NEED(found.nice == own.nice);
    NEED(found.umask == own.umask);
    NEED(found.files == own.files);
    NEED(found.processors == own.processors);
    NEED(found.no_new_privileges == own.no_new_privileges);
    NEED(found.effective == own.effective);
}

/* All of it changes after pool_startup. */
static int program_limits_itself(int method)
{
    struct rlimit limit;
    cpu_set_t processors, one;
    start_up();
    struct pool *pool = create(method, 1);
    expect_same_state(pool);
    pool_destroy(pool);

    umask(027);
    NEED(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 3) == 0);
    NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 200;
    NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    NEED(sched_getaffinity(0, sizeof processors, &processors) == 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &processors))
            CPU_SET(i, &one);
    NEED(sched_setaffinity(0, sizeof one, &one) == 0);
    NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    pool = create(method, 1);
    expect_same_state(pool);
    pid_t pid;
    pool_pids(pool, &pid);
    kill(pid, SIGKILL);
    while (pool_statistics(pool).restarts == 0)
        pause_ms(1);
    expect_same_state(pool); /* and a replacement */
    pool_destroy(pool);
    return 0;
}

START_TEST(workers_take_over_limits_as_they_are)
{
    expect_success("limits-itself", _i);
}
END_TEST

/* Only root can. */
static int program_drops_privileges(int method)
{
    start_up();
    NEED(setgroups(0, NULL) == 0);
    NEED(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    struct pool *pool = create(method, 2);
    expect_same_state(pool);
    expect_work(pool);
    pool_destroy(pool);
    return 0;
}

START_TEST(workers_have_no_privileges_that_the_program_has_dropped)
{
    if (geteuid() != 0)
        fprintf(stderr, "skipped: only root can drop privileges\n");
    else
        expect_success("drops-privileges", _i);
}
END_TEST

/* Still root, but without some of its rights: to execute a program would give them back. */
static int program_drops_capabilities(int method)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    struct state before_drop, after_drop;
    start_up();
    look(&before_drop);
    NEED(syscall(SYS_capget, &header, sets) == 0);
    sets[0].effective &= ~(1u << CAP_NET_RAW | 1u << CAP_CHOWN);
    sets[0].permitted &= ~(1u << CAP_NET_RAW | 1u << CAP_CHOWN);
    NEED(syscall(SYS_capset, &header, sets) == 0);
    look(&after_drop);
    NEED(after_drop.effective != before_drop.effective);
    struct pool *pool = create(method, 2);
    expect_same_state(pool);
    pool_destroy(pool);
    return 0;
}

START_TEST(workers_have_no_capabilities_that_the_program_has_dropped)
{
    if (geteuid() != 0)
        fprintf(stderr, "skipped: only root can drop privileges\n");
    else
        expect_success("drops-capabilities", _i);
}
END_TEST

/* A program that has confined itself in a way that cannot be taken over is told so. */
static int program_changes_root(int method)
{
    start_up();
    NEED(chroot("/proc") == 0 || chroot("/usr") == 0);
    const struct pool_options options = {.workers = 1,
                                         .start_method = (enum pool_start_method)method};
    struct pool *pool = pool_create(&options, &error);
    NEED(pool == NULL && error.code == ERROR_SYSTEM);
    NEED(strstr(error.message, "root directory"));
    _exit(0); /* a sanitizer cannot look for leaks there */
}

START_TEST(an_error_where_confinement_cannot_be_taken_over)
{
    if (geteuid() != 0)
        fprintf(stderr, "skipped: only root can change its root directory\n");
    else
        expect_success("changes-root", _i == 0 ? POOL_FORKSERVER : POOL_SPAWN);
}
END_TEST

/* The worker's own thread does not start. */
static int program_without_memory(int method)
{
    start_up();
    struct rlimit limit;
    char line[256];
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    NEED(file && fgets(line, sizeof line, file) && sscanf(line, "%lu", &pages) == 1);
    fclose(file);
    NEED(getrlimit(RLIMIT_AS, &limit) == 0);
    /* room for the manager's thread here (8 MB), not for a worker's (16 MB and what it maps itself)
     */
    limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)12 << 20);
    NEED(setrlimit(RLIMIT_AS, &limit) == 0);
    const struct pool_options options = {.workers = 1,
                                         .start_method = (enum pool_start_method)method};
    NEED(pool_create(&options, &error) == NULL);
    NEED(error.code == ERROR_SYSTEM || error.code == ERROR_BROKEN || error.code == ERROR_MEMORY);
    if (method != POOL_SPAWN) /* whose program does not even begin */
        NEED(strstr(error.message, "thread"));
    return 0;
}

START_TEST(why_a_worker_does_not_start_is_said)
{
    if (!SANITIZED)
        expect_success("without-memory", _i);
}
END_TEST

/* ---- The initializer, and interrupting pool_create --------------------------------------------
 */

static int never_ready(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    (void)task;
    pause_ms(-1);
    return 0;
}
POOL_TASK(never_ready);

START_TEST(an_initializer_has_a_time_limit)
{
    struct pool_options options = situation(_i);
    options.initializer = never_ready;
    options.initializer_time_limit = 0.1;
    ck_assert_ptr_null(pool_create(&options, &error));
    ck_assert_msg(error.code == ERROR_TIMEOUT, "%s", error.message);
    ck_assert_ptr_nonnull(strstr(error.message, "never_ready"));
    options.initializer_time_limit = -1;
    ck_assert_ptr_null(pool_create(&options, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID);
}
END_TEST

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    interrupted = number;
}

START_TEST(pool_create_can_be_interrupted)
{
    struct pool_options options = situation(_i);
    const struct itimerval soon = {.it_value.tv_usec = 50000};
    options.initializer = never_ready;
    options.interrupted = &interrupted;
    signal(SIGALRM, interrupt);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    ck_assert_ptr_null(pool_create(&options, &error));
    ck_assert_msg(error.code == ERROR_INTERRUPTED, "%s", error.message);
    ck_assert_int_eq(interrupted, SIGALRM);
    signal(SIGALRM, SIG_DFL);
}
END_TEST

/* ---- Callbacks ---------------------------------------------------------------------------------
 */

static void call_slowly(void *results, void *context)
{
    (void)results;
    pause_ms(30);
    atomic_fetch_add((atomic_int *)context, 1);
}

/* Python's order: first the callback, then whoever waits. */
START_TEST(a_result_is_ready_when_its_callback_has_returned)
{
    atomic_int calls = 0;
    long x = 3, y = 0;
    const struct pool_callbacks callbacks = {.done = call_slowly, .context = &calls};
    struct pool *pool = create_with(situation(_i));
    for (int i = 1; i <= 10; i++) {
        struct pool_result *result =
            pool_apply_async(pool, square, &x, sizeof x, &y, sizeof y, &callbacks, &error);
        ck_assert_ptr_nonnull(result);
        ck_assert_int_eq(pool_result_get(result, -1, &error), 0);
        ck_assert_int_eq(atomic_load(&calls), i);
        pool_result_free(result);
    }
    pool_destroy(pool);
}
END_TEST

static void read_buffer(void *results, void *context)
{
    pause_ms(20);
    atomic_fetch_add((atomic_int *)context, results && *(const long *)results != 9);
}

/* The buffer goes as soon as the handle does, while an earlier callback is slow. */
START_TEST(a_buffer_may_go_with_its_handle)
{
    atomic_int calls = 0, wrong = 0;
    long x = 3, other = 0;
    const struct pool_callbacks slow = {.done = call_slowly, .context = &calls};
    const struct pool_callbacks reads = {.done = read_buffer, .context = &wrong};
    struct pool *pool = create_with(situation(_i));
    for (int i = 0; i < 10; i++) {
        long *buffer = malloc(sizeof *buffer);
        ck_assert_ptr_nonnull(buffer);
        struct pool_result *first =
            pool_apply_async(pool, square, &x, sizeof x, &other, sizeof other, &slow, &error);
        struct pool_result *second =
            pool_apply_async(pool, square, &x, sizeof x, buffer, sizeof *buffer, &reads, &error);
        ck_assert(first && second);
        if (i % 2 == 0)
            ck_assert_int_eq(pool_result_get(second, -1, &error), 0);
        else
            pause_ms(25);
        pool_result_free(second);
        *buffer = -1; /* for who still reads it */
        free(buffer);
        pool_result_free(first);
    }
    pool_close(pool);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    ck_assert_int_eq(atomic_load(&wrong), 0);
    pool_destroy(pool);
}
END_TEST

static void end_thread(void *results, void *context)
{
    (void)results;
    atomic_fetch_add((atomic_int *)context, 1);
    pthread_exit(NULL);
}

static void *exit_thread(void *unused)
{
    (void)unused;
    pthread_exit(NULL);
}

START_TEST(a_callback_that_ends_its_thread)
{
    pthread_t
        thread; /* the C library loads a library for the first thread that ends so, and keeps it */
    ck_assert_int_eq(pthread_create(&thread, NULL, exit_thread, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    before.mappings = take_ledger().mappings;

    atomic_int calls = 0;
    long x = 3, y[20];
    const struct pool_callbacks callbacks = {.done = end_thread, .context = &calls};
    struct pool *pool = create_with(situation(_i));
    for (int i = 0; i < 20; i++) {
        struct pool_result *result =
            pool_apply_async(pool, square, &x, sizeof x, &y[i], sizeof *y, &callbacks, &error);
        ck_assert_ptr_nonnull(result);
        if (i % 2 == 0)
            ck_assert_int_eq(pool_result_wait(result, -1, &error), 0);
        pool_result_free(result);
    }
    pool_close(pool);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    ck_assert_int_eq(atomic_load(&calls), 20);
    pool_destroy(pool);
}
END_TEST

/* ---- Chunks, any of several, and what a worker keeps -------------------------------------------
 */

/* 0 is Python's default, and one chunk is the most: of a map and of an iterator. */
START_TEST(chunks_of_maps_and_iterators_alike)
{
    static const size_t chunksizes[] = {0, 1, 10, 11, 1000000, UINT32_MAX, SIZE_MAX};
    long x[10], y[10];
    for (long i = 0; i < 10; i++)
        x[i] = i;
    struct pool *pool = create_with(situation(_i));
    for (size_t c = 0; c < sizeof chunksizes / sizeof *chunksizes; c++) {
        struct pool_array array = {.data = x, .size = sizeof *x, .count = 10};
        ck_assert_int_eq(pool_map(pool, square, x, 8, y, 8, 10, chunksizes[c], &error), 0);
        check_squares(y, 10);
        struct pool_iterator *iterator =
            pool_imap(pool, square, pool_from_array, &array, 8, 8, chunksizes[c], 2, &error);
        ck_assert_msg(iterator != NULL, "%s", error.message);
        for (long i = 0; i < 10; i++) {
            long result;
            ck_assert_int_eq(pool_iterator_next(iterator, &result, NULL, -1, &error), 1);
            ck_assert_int_eq(result, i * i);
        }
        ck_assert_int_eq(pool_iterator_next(iterator, y, NULL, -1, &error), 0);
        pool_iterator_free(iterator);
    }
    pool_destroy(pool);
}
END_TEST

START_TEST(any_of_several_results)
{
    struct order orders[MAX_WORKERS + 1];
    long results[MAX_WORKERS + 1];
    struct pool_result *handles[MAX_WORKERS + 1], *left[MAX_WORKERS + 1] = {NULL};
    struct scene *scene = make_scene();
    struct pool *pool = create_with(situation(_i));
    struct pool *second = create_with((struct pool_options){.workers = 1});
    const int workers = pool_workers(pool);
    ck_assert_int_eq(pool_result_wait_any(left, MAX_WORKERS + 1, 0, &error), -1);
    ck_assert_int_eq(error.code, ERROR_INVALID);
    for (int two = 0; two < 2; two++) { /* of one pool, then of two */
        const int count = workers + two;
        prepare(scene, orders, results, (size_t)count, WAIT);
        atomic_store(&scene->open, 0);
        for (int i = 0; i < count;
             i++) { /* each has a worker, and waits there until it is opened */
            left[i] = handles[i] =
                pool_apply_async(i == workers ? second : pool, play, &orders[i], sizeof *orders,
                                 &results[i], sizeof *results, NULL, &error);
            ck_assert_ptr_nonnull(handles[i]);
        }
        ck_assert_int_eq(pool_result_wait_any(left, (size_t)count, 0.02, &error), -1);
        ck_assert_int_eq(error.code, ERROR_TIMEOUT);
        for (int i = 0; i < count; i++) {
            atomic_store(&scene->open, i + 1);
            const ptrdiff_t found = pool_result_wait_any(left, (size_t)count, -1, &error);
            ck_assert_int_eq(found, i);
            ck_assert_int_eq(results[i], (long)i * i);
            left[found] = NULL;
        }
        for (int i = 0; i < count; i++)
            pool_result_free(handles[i]);
    }
    pool_destroy(second);
    pool_destroy(pool);
    shared_memory_free(scene);
}
END_TEST

struct place {
    int worker;
    long count;
    pid_t pid;
};

static int keep_counter(const void *const *arguments, void *result, struct pool_task *task)
{
    void **storage = pool_task_storage(task);
    (void)arguments;
    (void)result;
    *storage = calloc(1, sizeof(long));
    return *storage ? 0 : -1;
}
POOL_TASK(keep_counter);

static int count_up(const void *const *arguments, void *result, struct pool_task *task)
{
    long *counter = *pool_task_storage(task);
    (void)arguments;
    *(struct place *)result = (struct place){pool_task_worker(task), ++*counter, getpid()};
    return 0;
}
POOL_TASK(count_up);

START_TEST(a_workers_number_and_what_it_keeps)
{
    struct place places[60];
    long counts[MAX_WORKERS] = {0};
    pid_t pids[MAX_WORKERS], again[MAX_WORKERS];
    struct pool_options options = situation(_i);
    options.initializer = keep_counter;
    struct pool *pool = create_with(options);
    settled_pids(pool, NULL, pids);
    ck_assert_int_eq(pool_map(pool, count_up, NULL, 0, places, sizeof *places, 60, 1, &error), 0);
    for (int i = 0; i < 60; i++) {
        ck_assert_int_ge(places[i].worker, 0);
        ck_assert_int_lt(places[i].worker, options.workers);
        ck_assert_int_eq(places[i].pid, pids[places[i].worker]);
        if (places[i].count > counts[places[i].worker])
            counts[places[i].worker] = places[i].count;
    }
    long sum = 0;
    for (int w = 0; w < options.workers; w++)
        sum += counts[w];
    ck_assert_int_eq(sum, 60);
    for (int w = 0; w < options.workers; w++)
        kill(pids[w], SIGKILL);
    settled_pids(pool, pids, again); /* a replacement has the number, and begins anew */
    ck_assert_int_eq(pool_map(pool, count_up, NULL, 0, places, sizeof *places, 1, 1, &error), 0);
    ck_assert_int_eq(places[0].count, 1);
    ck_assert_int_eq(places[0].pid, again[places[0].worker]);
    ck_assert_int_eq(pool_task_worker(NULL), -1);
    pool_destroy(pool);
}
END_TEST

START_TEST(closed_and_cancelled)
{
    enum { TASKS = 200 };
    static struct order orders[TASKS];
    static long results[TASKS];
    struct pool_array array = {.data = orders, .size = sizeof *orders, .count = TASKS};
    struct scene *scene = make_scene();
    struct pool *pool = create_with(situation(_i));
    const int workers = pool_workers(pool);
    prepare(scene, orders, results, TASKS, WAIT);
    struct pool_result *handles[3];
    for (int i = 0; i < 3; i++)
        handles[i] = pool_map_async(pool, play, orders, sizeof *orders, results, sizeof *results,
                                    TASKS, 1, NULL, &error);
    struct pool_iterator *iterator =
        pool_imap(pool, play, pool_from_array, &array, sizeof *orders, sizeof(long), 1, 3, &error);
    ck_assert(handles[0] && handles[1] && handles[2] && iterator);
    await_entered(scene, workers);
    pool_close_and_cancel(pool);
    open_scene(scene);
    ck_assert_int_eq(pool_join(pool, -1, &error), 0);
    ck_assert_int_eq(atomic_load(&scene->finished), workers); /* what had begun, and no more */
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pool_result_get(handles[i], 0, &error), -1);
        ck_assert_int_eq(error.code, ERROR_CANCELLED);
        pool_result_free(handles[i]);
    }
    int answers = 0;
    long result;
    while (pool_iterator_next(iterator, &result, NULL, -1, &error) != 0)
        ck_assert_int_lt(answers++, 5);
    ck_assert_int_eq(answers, 1);
    ck_assert_int_eq(error.code, ERROR_CLOSED);
    ck_assert_uint_le(array.next, 3);
    pool_iterator_free(iterator);
    pool_destroy(pool);
    shared_memory_free(scene);
}
END_TEST

/* A chapter calls its task itself. */
START_TEST(a_task_without_a_pool)
{
    ck_assert_int_ne(pool_task_fail(NULL, "no %s", "pool"), 0);
    ck_assert_uint_eq(pool_task_index(NULL), 0);
    ck_assert(!pool_task_overdue(NULL));
    pool_task_add_cpu(NULL, 1);
}
END_TEST

/* ---- Results whose size only the task knows
 * ------------------------------------------------------ */

/* As many bytes as it is told, in pieces of different lengths. */
static int give_bytes(const void *const *arguments, void *result, struct pool_task *task)
{
    const size_t count = *(const size_t *)arguments[0];
    unsigned char piece[1000];
    if (result)
        return -1;
    for (size_t done = 0, step = 1; done < count; step = step * 3 % 997 + 1) {
        const size_t part = step < count - done ? step : count - done;
        for (size_t i = 0; i < part; i++)
            piece[i] = (unsigned char)((done + i) * 7 + count);
        if (pool_task_append(task, piece, part) != 0)
            return -1;
        done += part;
    }
    return 0;
}
POOL_TASK(give_bytes);

static void expect_bytes(const struct pool_bytes *found, size_t count)
{
    const unsigned char *bytes = found->data;
    size_t wrong = 0;
    ck_assert_uint_eq(found->size, count);
    ck_assert(count > 0 ? bytes != NULL : bytes == NULL);
    for (size_t i = 0; i < count; i++)
        wrong += bytes[i] != (unsigned char)(i * 7 + count);
    ck_assert_uint_eq(wrong, 0);
}

START_TEST(results_of_any_size)
{
    enum { TASKS = 60 };
    size_t counts[TASKS];
    struct pool_bytes results[TASKS];
    struct pool *pool = create_with(situation(_i));
    for (size_t i = 0; i < TASKS; i++)
        counts[i] = i == 17 ? 3000000 : i * i * i % 70001;
    for (size_t chunksize = 0; chunksize < 3; chunksize++) {
        ck_assert_msg(pool_map_bytes(pool, give_bytes, counts, sizeof *counts, results, TASKS,
                                     chunksize, &error) == 0,
                      "%s", error.message);
        for (size_t i = 0; i < TASKS; i++) {
            expect_bytes(&results[i], counts[i]);
            free(results[i].data);
        }
    }
    ck_assert_int_eq(pool_map_bytes(pool, give_bytes, counts, sizeof *counts, NULL, 0, 0, &error),
                     0);
    ck_assert_int_eq(pool_map_bytes(pool, give_bytes, counts, sizeof *counts, NULL, 2, 0, &error),
                     -1);
    map_squares(pool, 100, 0);
    pool_destroy(pool);
}
END_TEST

static int give_or_fail(const void *const *arguments, void *result, struct pool_task *task)
{
    const size_t count = *(const size_t *)arguments[0];
    if (give_bytes(arguments, result, task) != 0)
        return -1;
    if (count == 5)
        return pool_task_fail(task, "five");
    if (count == 9)
        die(BY_KILL);
    return 0;
}
POOL_TASK(give_or_fail);

/* What others gave is there. */
START_TEST(results_of_any_size_beside_failures)
{
    size_t counts[12];
    struct pool_bytes results[12];
    struct pool *pool = create_with(situation(_i));
    for (size_t i = 0; i < 12; i++)
        counts[i] = i;
    ck_assert_int_eq(
        pool_map_bytes(pool, give_or_fail, counts, sizeof *counts, results, 12, 1, &error), -1);
    ck_assert_int_eq(error.code, ERROR_TASK);
    ck_assert_uint_eq(error.task, 5);
    for (size_t i = 0; i < 12; i++) {
        expect_bytes(&results[i], i == 5 || i == 9 ? 0 : i);
        free(results[i].data);
    }
    long x = 1, y;
    ck_assert_int_eq(pool_apply(pool, give_bytes, &x, sizeof x, &y, sizeof y, &error), -1);
    pool_destroy(pool);
}
END_TEST

POOL_MAP_TASK(cube, long, long)
{
    *result = *argument * *argument * *argument;
}

START_TEST(the_shortest_task)
{
    const long x[3] = {1, 2, 3};
    long y[3];
    struct pool *pool = create_with(situation(_i));
    ck_assert_int_eq(pool_map(pool, cube, x, sizeof *x, y, sizeof *y, 3, 0, &error), 0);
    ck_assert(y[0] == 1 && y[1] == 8 && y[2] == 27);
    pool_destroy(pool);
}
END_TEST

/* ---- The suite ---------------------------------------------------------------------------------
 */

static const struct program {
    const char *name;
    int (*run)(int method);
} programs[] = {
    {"reads-input", program_reads_input},
    {"shares-input", program_shares_input},
    {"speaks", program_speaks},
    {"waits-for-all", program_waits_for_all},
    {"limits-itself", program_limits_itself},
    {"drops-privileges", program_drops_privileges},
    {"drops-capabilities", program_drops_capabilities},
    {"changes-root", program_changes_root},
    {"without-memory", program_without_memory},
};

static void add_borders(Suite *suite)
{
    TCase *borders = add_case(suite, "borders");
    tcase_add_loop_test(borders, shared_memory_is_left_out_of_core_dumps, 0, 3);
    tcase_add_loop_test(borders, what_the_program_ignores_stays_ignored, 0, SITUATIONS);
    tcase_add_loop_test(borders, a_broken_pipe_is_an_error_where_the_program_says_so, 0, 3);
    tcase_add_loop_test(borders, the_helper_survives_what_is_sent_to_the_group, 0, SITUATIONS);
    tcase_add_loop_test(borders, workers_do_not_hear_the_terminal, 0, SITUATIONS);
    tcase_add_test(borders, fork_workers_have_the_programs_descriptors);
    tcase_add_test(borders, pools_made_by_fork_do_not_keep_each_other);
    tcase_add_loop_test(borders, a_task_that_closes_all_descriptors, 0, SITUATIONS);
    tcase_add_loop_test(borders, tasks_take_nothing_of_the_programs_input_and_exits, 0, 3);
    tcase_add_loop_test(borders, tasks_read_the_programs_input_if_asked, 0, 3);
    tcase_add_loop_test(borders, the_programs_lines_come_before_its_tasks, 0, 3);
    tcase_add_loop_test(borders, who_waits_for_all_children_does_not_wait_for_the_pool, 0, 3);
    tcase_add_test(borders, a_forked_copy_is_told_that_it_cannot_start_up);
    tcase_add_loop_test(borders, workers_take_over_limits_as_they_are, 0, 3);
    tcase_add_loop_test(borders, workers_have_no_privileges_that_the_program_has_dropped, 0, 3);
    tcase_add_loop_test(borders, workers_have_no_capabilities_that_the_program_has_dropped, 0, 3);
    tcase_add_loop_test(borders, an_error_where_confinement_cannot_be_taken_over, 0, 2);
    tcase_add_loop_test(borders, why_a_worker_does_not_start_is_said, 0, 3);
}

static void add_calls(Suite *suite)
{
    TCase *calls = add_case(suite, "calls");
    tcase_add_loop_test(calls, an_initializer_has_a_time_limit, 0, SITUATIONS);
    tcase_add_loop_test(calls, pool_create_can_be_interrupted, 0, SITUATIONS);
    tcase_add_loop_test(calls, a_result_is_ready_when_its_callback_has_returned, 0, 3);
    tcase_add_loop_test(calls, a_buffer_may_go_with_its_handle, 0, 3);
    tcase_add_loop_test(calls, a_callback_that_ends_its_thread, 0, 3);
    tcase_add_loop_test(calls, chunks_of_maps_and_iterators_alike, 0, SITUATIONS);
    tcase_add_loop_test(calls, any_of_several_results, 0, SITUATIONS);
    tcase_add_loop_test(calls, a_workers_number_and_what_it_keeps, 0, SITUATIONS);
    tcase_add_loop_test(calls, closed_and_cancelled, 0, SITUATIONS);
    tcase_add_test(calls, a_task_without_a_pool);
    tcase_add_loop_test(calls, results_of_any_size, 0, SITUATIONS);
    tcase_add_loop_test(calls, results_of_any_size_beside_failures, 0, SITUATIONS);
    tcase_add_loop_test(calls, the_shortest_task, 0, 3);
}

int main(int argc, char **argv)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    for (size_t i = 0; argc == 3 && i < sizeof programs / sizeof *programs; i++)
        if (strcmp(argv[1], programs[i].name) == 0)
            return programs[i].run(atoi(argv[2]));
    own_shared_memory_names();
    Suite *suite = suite_create("pool_borders");
    add_borders(suite);
    add_calls(suite);
    return run_suite(suite);
}
