/* test_shared_array.c - shared arrays: types and shapes, tasks that use them in place, and arrays
 * that have a name: what other programs see of them, what is left when one of them dies, and that
 * memory which somebody still holds is not used for anything else.
 *
 * The other program, the "peer", is a fresh copy of this one. It does what it is told, line by
 * line, and says what came of it: "ok", a value, or "error" with the code and errno.
 */
#include "common/parallel/resources.h"
#include "common/parallel/shared_array.h"
#include "tests/pool_fixture.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEGABYTE  ((size_t)1 << 20)
#define DIRECTORY "/dev/shm/"

static struct error error;
static char name[64]; /* of this test's array, and where that is */
static char path[128];

static void set_up_names(void)
{
    set_up();
    snprintf(name, sizeof name, "test_shared_array.%d", (int)getpid());
    snprintf(path, sizeof path, DIRECTORY "%s", name);
}

static void tear_down_names(void)
{
    ck_assert_int_eq(access(path, F_OK), -1);
    tear_down();
}

static TCase *add_named_case(Suite *suite, const char *title)
{
    TCase *tcase = tcase_create(title);
    tcase_set_timeout(tcase, HANG);
    tcase_add_checked_fixture(tcase, set_up_names, tear_down_names);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static struct shared_array *create_bytes(size_t bytes, int value)
{
    struct shared_array *array = shared_array_create("|u1", 1, &bytes, &error);
    ck_assert_msg(array != NULL, "%s", error.message);
    memset(array->data, value, bytes);
    return array;
}

static void publish(struct shared_array *array)
{
    ck_assert_msg(shared_array_publish(array, name, &error) == 0, "%s", error.message);
}

static bool is_filled(const struct shared_array *array, int value)
{
    const unsigned char *bytes = array->data;
    for (size_t i = 0; i < array->bytes; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static void expect_refused(int status, enum error_code code, int number)
{
    ck_assert_int_eq(status, -1);
    ck_assert_msg(error.code == code && error.system_errno == number, "code %d, errno %d: %s",
                  error.code, error.system_errno, error.message);
}

static void expect_not_opened(enum error_code code, int number)
{
    for (int read_only = 0; read_only < 2; read_only++) {
        ck_assert_ptr_null(shared_array_open(name, read_only, &error));
        expect_refused(-1, code, number);
    }
    ck_assert_ptr_null(shared_array_open(name, true, NULL));
}

/* The descriptor of a program's arena that this process has; -1: none. */
static int arena_descriptor(void)
{
    char link[64], target[64];
    for (int fd = 3; fd < 64; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t length = readlink(link, target, sizeof target - 1);
        if (length > 0 && strncmp(target, "/memfd:arena", 12) == 0)
            return fd;
    }
    return -1;
}

/* ---- The peer: its side ---------------------------------------------------------------------- */

static struct shared_array *peers;

static int peer_status(int status)
{
    if (status == 0)
        printf("ok\n");
    else
        printf("error %d %d\n", error.code, error.system_errno);
    return status;
}

static int peer_system_status(int status)
{
    if (status == 0)
        printf("ok\n");
    else
        printf("errno %d\n", errno);
    return status;
}

static void peer_describe(void)
{
    printf("%s %d", peers->dtype, peers->dimensions);
    for (int i = 0; i < peers->dimensions; i++)
        printf(" %zu", peers->shape[i]);
    printf(" %zu %zu %zu\n", peers->item_size, peers->count, peers->bytes);
}

/* Opens the name so often, and on until it has been there once. What can be opened must hold one
 * value everywhere, and not change. How often it could be opened; -1: that was not so. */
static long peer_hammer(const char *of, long rounds)
{
    long opened = 0;
    for (long i = 0; i < rounds || opened == 0; i++) {
        struct shared_array *array = shared_array_open(of, true, &error);
        if (!array && (error.code != ERROR_SYSTEM || error.system_errno != ENOENT))
            return -1;
        if (!array)
            continue;
        const unsigned char value = *(volatile unsigned char *)array->data;
        for (int look = 0; look < 3; look++)
            if (value == 0xFF || !is_filled(array, value))
                return -1;
        shared_array_close(array);
        opened++;
    }
    return opened;
}

static void peer_obey_about_itself(const char *word, const char *text, long number)
{
    const size_t bytes = strtoull(text, NULL, 10);
    if (strcmp(word, "startup") == 0)
        peer_status(pool_startup(&error));
    else if (strcmp(word, "create") == 0)
        peer_status((peers = shared_array_create("|u1", 1, &bytes, &error)) ? 0 : -1);
    else if (strcmp(word, "open") == 0)
        peer_status((peers = shared_array_open(text, number != 0, &error)) ? 0 : -1);
    else if (strcmp(word, "hammer") == 0)
        printf("%ld\n", peer_hammer(text, number));
    else if (strcmp(word, "nobody") == 0)
        peer_system_status(setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534));
    else if (strcmp(word, "become") == 0)
        peer_system_status(execlp(text, text, (char *)NULL));
    else
        printf("%s, and of what?\n", word);
}

static void peer_obey(const char *line)
{
    char word[16] = "", text[256] = "";
    long number = 0;
    sscanf(line, "%15s %255s %ld", word, text, &number);
    const int value = (int)strtol(text, NULL, 10);
    if (!peers) {
        peer_obey_about_itself(word, text, number);
        return;
    }
    if (strcmp(word, "publish") == 0)
        peer_status(shared_array_publish(peers, text, &error));
    else if (strcmp(word, "unpublish") == 0)
        peer_status(shared_array_unpublish(peers, &error));
    else if (strcmp(word, "fill") == 0)
        printf("%p\n", memset(peers->data, value, peers->bytes));
    else if (strcmp(word, "holds") == 0)
        printf("%s\n", is_filled(peers, value) ? "yes" : "no");
    else if (strcmp(word, "describe") == 0)
        peer_describe();
    else if (strcmp(word, "truncate") == 0)
        peer_system_status(ftruncate(arena_descriptor(), 4096));
    else if (strcmp(word, "grow") == 0)
        peer_system_status(ftruncate(arena_descriptor(), (off_t)1 << 50));
    else if (strcmp(word, "close") == 0) {
        shared_array_close(peers);
        peers = NULL;
        printf("ok\n");
    } else
        peer_obey_about_itself(word, text, number);
}

/* The main of a peer. It ends with its input, and leaves everything to the kernel then. */
static int peer_main(void)
{
    char line[512];
    setvbuf(stdin, NULL, _IONBF, 0); /* what comes next may be for another program */
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin))
        peer_obey(line);
    return EXIT_SUCCESS;
}

/* ---- The peer: our side ---------------------------------------------------------------------- */

struct peer {
    pid_t pid;
    FILE *to, *from;
};

/* prepare: called in the new process before it becomes a peer; NULL: nothing. */
static struct peer start_peer(void (*prepare)(void))
{
    int to[2], from[2];
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (dup2(to[0], STDIN_FILENO) < 0 || dup2(from[1], STDOUT_FILENO) < 0)
            _exit(1);
        if (prepare)
            prepare();
        execl("/proc/self/exe", "test_shared_array", "peer", (char *)NULL);
        _exit(1);
    }
    close(to[0]);
    close(from[1]);
    const struct peer peer = {.pid = pid, .to = fdopen(to[1], "w"), .from = fdopen(from[0], "r")};
    ck_assert(peer.to && peer.from);
    return peer;
}

__attribute__((format(printf, 2, 3))) static void tell(const struct peer *peer, const char *format,
                                                       ...)
{
    va_list arguments;
    va_start(arguments, format);
    ck_assert_int_gt(vfprintf(peer->to, format, arguments), 0);
    va_end(arguments);
    ck_assert_int_eq(fputc('\n', peer->to), '\n');
    ck_assert_int_eq(fflush(peer->to), 0);
}

static const char *hear(const struct peer *peer)
{
    static char answer[512];
    ck_assert_ptr_nonnull(fgets(answer, sizeof answer, peer->from));
    answer[strcspn(answer, "\n")] = '\0';
    return answer;
}

static void expect_answer(const struct peer *peer, const char *answer)
{
    ck_assert_str_eq(hear(peer), answer);
}

static void expect_error(const struct peer *peer, enum error_code code, int number)
{
    char answer[64];
    snprintf(answer, sizeof answer, "error %d %d", code, number);
    expect_answer(peer, answer);
}

static void close_peer(struct peer *peer)
{
    ck_assert_int_eq(fclose(peer->to), 0);
    ck_assert_int_eq(fclose(peer->from), 0);
}

static void end_peer(struct peer *peer)
{
    int status;
    close_peer(peer);
    ck_assert_int_eq(waitpid(peer->pid, &status, 0), peer->pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the peer ended with %x", status);
}

/* Leaves a zombie, which waitpid would end. */
static void kill_peer(const struct peer *peer)
{
    siginfo_t what;
    ck_assert_int_eq(kill(peer->pid, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)peer->pid, &what, WEXITED | WNOWAIT), 0);
}

/* A peer that has published `bytes` bytes with this value. */
static struct peer start_publisher(size_t bytes, int value)
{
    const struct peer peer = start_peer(NULL);
    tell(&peer, "startup");
    expect_answer(&peer, "ok");
    tell(&peer, "create %zu", bytes);
    expect_answer(&peer, "ok");
    tell(&peer, "fill %d", value);
    hear(&peer);
    tell(&peer, "publish %s", name);
    expect_answer(&peer, "ok");
    return peer;
}

static struct peer start_opener(bool read_only)
{
    const struct peer peer = start_peer(NULL);
    tell(&peer, "open %s %d", name, read_only);
    expect_answer(&peer, "ok");
    return peer;
}

static void expect_peer_sees(const struct peer *peer, int value)
{
    tell(peer, "holds %d", value);
    expect_answer(peer, "yes");
}

/* ---- Types and shapes ------------------------------------------------------------------------ */

static const struct {
    const char *given, *normal;
    size_t size;
} types[] = {
    {"|b1", "|b1", 1},    {"<b1", "|b1", 1},
    {"=i1", "|i1", 1},    {"|i2", "<i2", 2},
    {"<i4", "<i4", 4},    {"=i8", "<i8", 8},
    {"|u1", "|u1", 1},    {"<u1", "|u1", 1},
    {"=u2", "<u2", 2},    {"<u4", "<u4", 4},
    {"<u8", "<u8", 8},    {"<f2", "<f2", 2},
    {"<f4", "<f4", 4},    {"=f8", "<f8", 8},
    {"<f16", "<f16", 16}, {"<c8", "<c8", 8},
    {"<c16", "<c16", 16}, {"|c32", "<c32", 32},
    {"|S1", "|S1", 1},    {"<S10", "|S10", 10},
    {"=V24", "|V24", 24}, {"|V1000003", "|V1000003", 1000003},
};

START_TEST(types_of_elements)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const size_t shape[] = {3, 5};
        struct shared_array *array = shared_array_create(types[i].given, 2, shape, &error);
        ck_assert_msg(array != NULL, "%s: %s", types[i].given, error.message);
        ck_assert_str_eq(array->dtype, types[i].normal);
        ck_assert_uint_eq(array->item_size, types[i].size);
        ck_assert_uint_eq(array->count, 15);
        ck_assert_uint_eq(array->bytes, 15 * types[i].size);
        shared_array_close(array);
    }
}
END_TEST

START_TEST(types_that_are_none)
{
    static const char *const none[] = {
        "",     "<",    "<f",   "f4",   "4",    "<4",   ">f4",  ">u1",   "!f4",    "<f1",
        "<f3",  "<f32", "<i0",  "<i3",  "<i16", "<i",   "<u16", "<b2",   "|b0",    "<c4",
        "<c64", "<f04", "<f 4", "<f-4", "<f+4", "<f4 ", " <f4", "<f4,",  "<f4<f4", "<F4",
        "<O8",  "<U4",  "<M8",  "|S0",  "|S",   "|V-1", "<d8",  "<i4\n", "|S01",   "<f0x4"};
    const size_t shape[] = {1};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        ck_assert_msg(shared_array_create(none[i], 1, shape, &error) == NULL, "'%s'", none[i]);
        expect_refused(-1, ERROR_INVALID, 0);
    }
    /* One digit more than there is room for, and more than a number may have. */
    ck_assert_ptr_null(shared_array_create("|V99999999999999", 1, shape, &error));
    expect_refused(-1, ERROR_INVALID, 0);
    ck_assert_ptr_null(shared_array_create("|V99999999999999999999999", 1, shape, &error));
    expect_refused(-1, ERROR_INVALID, 0);
    ck_assert_ptr_null(shared_array_create(NULL, 1, shape, &error));
    expect_refused(-1, ERROR_INVALID, 0);
    ck_assert_ptr_null(shared_array_create("<f3", 1, shape, NULL));
}
END_TEST

START_TEST(shapes)
{
    const size_t shape[SHARED_ARRAY_MAX_DIMENSIONS] = {2, 1, 3, 1, 1, 5, 1, 7};
    struct shared_array *array = shared_array_create("<f8", 0, NULL, &error);
    ck_assert_msg(array != NULL, "%s", error.message);
    ck_assert_int_eq(array->dimensions, 0);
    ck_assert_uint_eq(array->count, 1);
    ck_assert_uint_eq(array->bytes, 8);
    *(double *)array->data = 1;
    shared_array_close(array);

    array = shared_array_create("<i4", SHARED_ARRAY_MAX_DIMENSIONS, shape, &error);
    ck_assert_msg(array != NULL, "%s", error.message);
    ck_assert_int_eq(array->dimensions, SHARED_ARRAY_MAX_DIMENSIONS);
    ck_assert_mem_eq(array->shape, shape, sizeof shape);
    ck_assert_uint_eq(array->count, 210);
    ck_assert_uint_eq(array->bytes, 840);
    ck_assert(!array->read_only);
    shared_array_close(array);
    shared_array_close(NULL);
}
END_TEST

static void expect_no_array(const char *dtype, int dimensions, const size_t *shape,
                            enum error_code code)
{
    ck_assert_ptr_null(shared_array_create(dtype, dimensions, shape, &error));
    expect_refused(-1, code, 0);
    ck_assert_ptr_null(shared_array_create(dtype, dimensions, shape, NULL));
}

START_TEST(shapes_that_cannot_be)
{
    const size_t held = arena_bytes(), available = resources_memory();
    const size_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    expect_no_array("<f4", 9, many, ERROR_INVALID);
    expect_no_array("<f4", -1, many, ERROR_INVALID);
    expect_no_array("<f4", 1, NULL, ERROR_INVALID);
    expect_no_array("<f4", 3, (const size_t[]){4, 0, 4}, ERROR_INVALID);
    expect_no_array("<f4", 3, (const size_t[]){0, SIZE_MAX, SIZE_MAX}, ERROR_INVALID);
    expect_no_array("|u1", 2, (const size_t[]){SIZE_MAX, 2}, ERROR_INVALID);
    expect_no_array("|u1", 2, (const size_t[]){(size_t)1 << 32, (size_t)1 << 32}, ERROR_INVALID);
    expect_no_array("<f4", 1, (const size_t[]){SIZE_MAX / 2}, ERROR_INVALID);

    ck_assert_uint_gt(available, 0);
    expect_no_array("|u1", 1, (const size_t[]){SIZE_MAX}, ERROR_MEMORY);
    expect_no_array("<f4", 1, (const size_t[]){SIZE_MAX / 4}, ERROR_MEMORY);
    expect_no_array("|u1", 1, (const size_t[]){(size_t)2 << 40}, ERROR_MEMORY);
    expect_no_array("|u1", 2, (const size_t[]){4, available / 4 + ((size_t)1 << 30)}, ERROR_MEMORY);
    ck_assert_uint_le(arena_bytes(), held); /* nothing was touched for it */
}
END_TEST

START_TEST(zeroed_and_aligned)
{
    for (size_t bytes = 1; bytes < 300000; bytes = 3 * bytes + 7)
        for (int round = 0; round < 2; round++) {
            struct shared_array *array = shared_array_create("|u1", 1, &bytes, &error);
            ck_assert_msg(array != NULL, "%s", error.message);
            ck_assert(is_filled(array, 0));
            ck_assert_uint_eq((uintptr_t)array->data % (size_t)sysconf(_SC_PAGESIZE), 0);
            memset(array->data, 0xFF, bytes);
            shared_array_close(array);
        }
}
END_TEST

/* Half of them with a name. */
START_TEST(ten_thousand_leave_nothing)
{
    const int names = count_entries(DIRECTORY);
    size_t held = 0;
    for (int i = 0; i < 10000; i++) {
        struct shared_array *array = create_bytes(50000, 1);
        if (i % 2 == 1)
            publish(array);
        shared_array_close(array);
        held = i == 0 ? arena_bytes() : held;
    }
    ck_assert_uint_eq(arena_bytes(), held);
    if (before.names >= 0) /* no other program's come and go there */
        ck_assert_int_eq(count_entries(DIRECTORY), names);
    expect_as_before();
}
END_TEST

START_TEST(nothing_is_created_before_startup)
{
    const size_t bytes = 1;
    ck_assert_ptr_null(shared_array_create("|u1", 1, &bytes, &error));
    expect_refused(-1, ERROR_INVALID, 0);
    ck_assert_ptr_nonnull(strstr(error.message, "pool_startup"));
}
END_TEST

/* ---- Tasks ----------------------------------------------------------------------------------- */

#define ROW 1000

static int double_row(const void *const *arguments, void *result, struct pool_task *task)
{
    const int32_t *row = arguments[0];
    int32_t *doubled = result;
    (void)task;
    for (int i = 0; i < ROW; i++)
        doubled[i] = 2 * row[i];
    return 0;
}
POOL_TASK(double_row);

/* The array by its address: each task adds up a row in place. */
struct row_sums {
    int32_t *array;
    int64_t *sums;
};

static int sum_row(const void *const *arguments, void *result, struct pool_task *task)
{
    const struct row_sums *work = arguments[0];
    const size_t row = pool_task_index(task);
    (void)result;
    for (size_t i = 0; i < ROW; i++) {
        work->sums[row] += work->array[row * ROW + i];
        work->array[row * ROW + i] = -1;
    }
    return 0;
}
POOL_TASK(sum_row);

START_TEST(tasks_work_in_place)
{
    const size_t shape[] = {500, ROW};
    struct pool *pool = create_with((struct pool_options){.workers = 2});
    struct shared_array *in = shared_array_create("<i4", 2, shape, &error);
    struct shared_array *out = shared_array_create("<i4", 2, shape, &error);
    struct shared_array *sums = shared_array_create("<i8", 1, shape, &error);
    ck_assert(in && out && sums);
    int32_t *values = in->data;
    const int32_t *doubled = out->data;
    for (size_t i = 0; i < in->count; i++)
        values[i] = (int32_t)i;

    ck_assert_msg(pool_map(pool, double_row, in->data, ROW * sizeof(int32_t), out->data,
                           ROW * sizeof(int32_t), shape[0], 0, &error) == 0,
                  "%s", error.message);
    for (size_t i = 0; i < out->count; i++)
        ck_assert_int_eq(doubled[i], 2 * (intmax_t)i);
    ck_assert_uint_eq(pool_statistics(pool).bytes_copied, 0);

    const struct row_sums work = {.array = out->data, .sums = sums->data};
    const struct pool_column column = {.data = &work, .size = sizeof work, .constant = true};
    ck_assert_msg(pool_starmap(pool, sum_row, &column, 1, NULL, shape[0], 0, &error) == 0, "%s",
                  error.message);
    for (size_t row = 0; row < shape[0]; row++)
        ck_assert_int_eq(work.sums[row], (int64_t)ROW * (2 * (int64_t)row * ROW + ROW - 1));
    for (size_t i = 0; i < out->count; i++)
        ck_assert_int_eq(doubled[i], -1);
    ck_assert_uint_le(pool_statistics(pool).bytes_copied, shape[0] * sizeof work);

    shared_array_close(in);
    shared_array_close(out);
    shared_array_close(sums);
    pool_destroy(pool);
}
END_TEST

/* In a worker: what it cannot do, and what it can. Adds 1 to the array with the name. */
static int use_name(const void *const *arguments, void *result, struct pool_task *task)
{
    struct error refusal;
    const size_t bytes = 1;
    (void)result;
    if (shared_array_create("|u1", 1, &bytes, &refusal) || refusal.code != ERROR_INVALID)
        return pool_task_fail(task, "a worker has created an array");
    struct shared_array *array = shared_array_open(arguments[0], false, &refusal);
    if (!array)
        return pool_task_fail(task, "%s", refusal.message);
    __atomic_fetch_add((long *)array->data, 1, __ATOMIC_SEQ_CST);
    const bool published = shared_array_publish(array, "test_shared_array", &refusal) == 0;
    shared_array_close(array);
    return published ? pool_task_fail(task, "a worker has published an array") : 0;
}
POOL_TASK(use_name);

START_TEST(workers_open_but_do_not_create)
{
    struct pool *pool = create_with(situation(_i));
    struct shared_array *array = shared_array_create("<i8", 0, NULL, &error);
    ck_assert_msg(array != NULL, "%s", error.message);
    publish(array);
    const struct pool_column column = {.data = name, .size = sizeof name, .constant = true};
    ck_assert_msg(pool_starmap(pool, use_name, &column, 1, NULL, 50, 1, &error) == 0, "%s",
                  error.message);
    ck_assert_int_eq(*(long *)array->data, 50);
    shared_array_close(array);
    pool_destroy(pool);
}
END_TEST

/* ---- Names ----------------------------------------------------------------------------------- */

START_TEST(names_that_cannot_be)
{
    char longest[202];
    memset(longest, 'x', sizeof longest);
    longest[201] = '\0';
    const char *const bad[] = {NULL, "", ".", "..", "/", "/name", "a/b", "../name", longest};
    struct shared_array *array = create_bytes(1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect_refused(shared_array_publish(array, bad[i], &error), ERROR_INVALID, 0);
        ck_assert_ptr_null(shared_array_open(bad[i], true, &error));
        expect_refused(-1, ERROR_INVALID, 0);
    }
    const char *const odd[] = {longest + 1, "...", ".x", " ", "a name\n", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        ck_assert_msg(shared_array_publish(array, odd[i], &error) == 0, "%s", error.message);
        struct shared_array *opened = shared_array_open(odd[i], true, &error);
        ck_assert_msg(opened != NULL, "%s", error.message);
        shared_array_close(opened);
        ck_assert_int_eq(shared_array_unpublish(array, &error), 0);
    }
    shared_array_close(array);
}
END_TEST

START_TEST(a_name_comes_and_goes)
{
    struct stat status;
    struct shared_array *array = create_bytes(100, 7), *other = create_bytes(100, 8);
    expect_not_opened(ERROR_SYSTEM, ENOENT);
    expect_refused(shared_array_unpublish(array, &error), ERROR_INVALID, 0);
    const mode_t mask = umask(0777);
    publish(array);
    umask(mask);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_int_eq(status.st_mode, S_IFREG | 0600);
    expect_refused(shared_array_publish(array, "another", &error), ERROR_INVALID, 0);
    expect_refused(shared_array_publish(other, name, &error), ERROR_SYSTEM, EEXIST);

    struct shared_array *opened = shared_array_open(name, false, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    ck_assert(is_filled(opened, 7));
    expect_refused(shared_array_publish(opened, "another", &error), ERROR_INVALID, 0);
    expect_refused(shared_array_unpublish(opened, &error), ERROR_INVALID, 0);

    ck_assert_int_eq(shared_array_unpublish(array, &error), 0);
    expect_refused(shared_array_unpublish(array, &error), ERROR_INVALID, 0);
    expect_not_opened(ERROR_SYSTEM, ENOENT);
    publish(other);
    memset(array->data, 9, array->bytes);
    ck_assert(is_filled(opened, 9)); /* it has no name, but is open */
    shared_array_close(opened);
    opened = shared_array_open(name, true, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    ck_assert(is_filled(opened, 8));
    shared_array_close(other); /* takes the name away */
    expect_not_opened(ERROR_SYSTEM, ENOENT);
    ck_assert(is_filled(opened, 8));
    shared_array_close(opened);
    shared_array_close(array);
}
END_TEST

/* Somebody removes the name, and somebody else takes it: that one is not ours to remove. */
START_TEST(a_name_removed_by_hand)
{
    struct shared_array *array = create_bytes(100, 7), *other = create_bytes(100, 8);
    publish(array);
    ck_assert_int_eq(unlink(path), 0);
    publish(other);
    ck_assert_int_eq(shared_array_unpublish(array, &error), 0);
    struct shared_array *opened = shared_array_open(name, true, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    ck_assert(is_filled(opened, 8));
    shared_array_close(opened);
    ck_assert_int_eq(unlink(path), 0);
    shared_array_close(other);
    shared_array_close(array);
}
END_TEST

/* A process that the program forked has a copy of the handle, and may do with it what it likes. */
START_TEST(a_forked_copy_changes_nothing)
{
    struct shared_array *array = create_bytes(100, 7), *nameless = create_bytes(100, 9);
    int status;
    publish(array);
    const pid_t child = fork();
    if (child == 0) {
        const bool refused = shared_array_unpublish(array, NULL) == -1 &&
                             shared_array_publish(nameless, "test_shared_array", NULL) == -1;
        shared_array_close(array);
        shared_array_close(nameless);
        _exit(refused ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    struct shared_array *opened = shared_array_open(name, true, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    struct shared_array *more = create_bytes(100, 1);
    ck_assert(is_filled(opened, 7));
    ck_assert(is_filled(nameless, 9));
    shared_array_close(more);
    shared_array_close(opened);
    shared_array_close(nameless);
    shared_array_close(array);
}
END_TEST

/* ---- Pages that are not what they should be -------------------------------------------------- */

#define PAGE_ROOM 4096

struct page {
    unsigned char bytes[PAGE_ROOM];
    size_t size;
};

static struct page read_page(void)
{
    struct page page = {.size = 0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    const ssize_t size = read(fd, page.bytes, sizeof page.bytes);
    close(fd);
    ck_assert_int_gt(size, 0);
    page.size = (size_t)size;
    return page;
}

static void write_page(const struct page *page)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, page->bytes, page->size), (ssize_t)page->size);
    close(fd);
}

static void *find_in_page(struct page *page, const void *what, size_t size)
{
    void *found = memmem(page->bytes, page->size, what, size);
    ck_assert_ptr_nonnull(found);
    return found;
}

/* Puts a value where another one stands in the page, which is written, and says what it gave. */
static void expect_page_refused(const struct page *page, enum error_code code, int number)
{
    write_page(page);
    expect_not_opened(code, number);
    ck_assert_int_eq(unlink(path), 0);
}

static void expect_replaced_refused(const struct page *page, const void *old, const void *new,
                                    size_t size, enum error_code code, int number)
{
    struct page wrong = *page;
    memcpy(find_in_page(&wrong, old, size), new, size);
    expect_page_refused(&wrong, code, number);
}

#define VALUES ((size_t)123457) /* found nowhere else in a page */

/* The page of an array that is still there, under no name. */
static struct page take_page(struct shared_array **array)
{
    const size_t values = VALUES;
    *array = shared_array_create("<i4", 1, &values, &error);
    ck_assert_msg(*array != NULL, "%s", error.message);
    publish(*array);
    const struct page page = read_page();
    ck_assert_int_eq(unlink(path), 0);
    return page;
}

START_TEST(wrong_pages)
{
    struct shared_array *array;
    const struct page page = take_page(&array);
    const size_t values = VALUES, bytes = VALUES * 4, huge = SIZE_MAX / 4, none = 0;
    struct page wrong = page;

    write_page(&page); /* the right one can be opened, so what follows is not in vain */
    struct shared_array *opened = shared_array_open(name, false, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    ck_assert_uint_eq(opened->count, values);
    shared_array_close(opened);
    ck_assert_int_eq(unlink(path), 0);

    wrong.bytes[0] ^= 1;
    expect_page_refused(&wrong, ERROR_FORMAT, 0);
    ck_assert_ptr_nonnull(strstr(error.message, "magic"));
    wrong = page;
    wrong.bytes[8]++;
    expect_page_refused(&wrong, ERROR_FORMAT, 0);
    ck_assert_ptr_nonnull(strstr(error.message, "version"));
    wrong = page;
    wrong.size--;
    expect_page_refused(&wrong, ERROR_FORMAT, 0);
    wrong.size = page.size + 1;
    expect_page_refused(&wrong, ERROR_FORMAT, 0);
    wrong.size = PAGE_ROOM;
    expect_page_refused(&wrong, ERROR_FORMAT, 0);
    wrong.size = 0;
    expect_page_refused(&wrong, ERROR_FORMAT, 0);

    expect_replaced_refused(&page, "<i4", "=i4", 4, ERROR_FORMAT, 0);
    expect_replaced_refused(&page, "<i4", "<i8", 4, ERROR_FORMAT, 0);
    expect_replaced_refused(&page, "<i4\0\0\0\0\0\0\0\0\0\0\0\0", "<i4444444444444444", 16,
                            ERROR_FORMAT, 0);
    expect_replaced_refused(&page, &values, &bytes, sizeof values, ERROR_FORMAT, 0);
    expect_replaced_refused(&page, &values, &huge, sizeof values, ERROR_FORMAT, 0);
    expect_replaced_refused(&page, &values, &none, sizeof values, ERROR_FORMAT, 0);
    expect_replaced_refused(&page, &bytes, &values, sizeof bytes, ERROR_FORMAT, 0);
    expect_replaced_refused(&page, &bytes, &none, sizeof bytes, ERROR_FORMAT, 0);
    wrong = page; /* shape and bytes agree, and the memory does not hold them */
    const size_t many = (size_t)1 << 50, many_bytes = many * 4;
    memcpy(find_in_page(&wrong, &bytes, sizeof bytes), &many_bytes, sizeof bytes);
    memcpy(find_in_page(&wrong, &values, sizeof values), &many, sizeof values);
    expect_page_refused(&wrong, ERROR_FORMAT, 0);
    wrong = page; /* behind the bytes stands where they begin */
    ((unsigned char *)find_in_page(&wrong, &bytes, sizeof bytes))[sizeof bytes]++;
    expect_page_refused(&wrong, ERROR_FORMAT, 0);

    /* The creator is somebody who has no such memory, or it is a process that had this number. */
    const int32_t here[] = {getpid(), arena_descriptor()}, other[] = {getppid(), here[1]};
    const int32_t closed[] = {here[0], 1000}, pipe[] = {here[0], 0};
    expect_replaced_refused(&page, here, other, sizeof here, ERROR_SYSTEM, ESRCH);
    expect_replaced_refused(&page, here, closed, sizeof here, ERROR_SYSTEM, ESRCH);
    expect_replaced_refused(&page, here, pipe, sizeof here, ERROR_SYSTEM, ESRCH);
    shared_array_close(array);
}
END_TEST

static int make_memory(bool sealed)
{
    const int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)1 << 41), 0);
    if (sealed)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    return fd;
}

/* A page that says that the data are in another file of this process. */
static struct page page_of_memory(const struct page *page, int fd)
{
    struct page other = *page;
    struct stat arena, memory;
    const int32_t here[] = {getpid(), arena_descriptor()}, there[] = {here[0], fd};
    ck_assert_int_eq(fstat(here[1], &arena), 0);
    ck_assert_int_eq(fstat(fd, &memory), 0);
    memcpy(find_in_page(&other, here, sizeof here), there, sizeof there);
    const uint64_t old[] = {arena.st_dev, arena.st_ino}, new[] = {memory.st_dev, memory.st_ino};
    memcpy(find_in_page(&other, old, sizeof old), new, sizeof new);
    return other;
}

/* Memory that its owner could take away under who has mapped it. */
START_TEST(memory_that_could_shrink)
{
    struct shared_array *array;
    const struct page page = take_page(&array);
    for (int sealed = 0; sealed < 2; sealed++) {
        const int fd = make_memory(sealed);
        const struct page of_memory = page_of_memory(&page, fd);
        if (sealed) {
            write_page(&of_memory);
            struct shared_array *opened = shared_array_open(name, true, &error);
            ck_assert_msg(opened != NULL, "%s", error.message);
            shared_array_close(opened);
            ck_assert_int_eq(unlink(path), 0);
        } else {
            expect_page_refused(&of_memory, ERROR_FORMAT, 0);
        }
        close(fd);
    }
    shared_array_close(array);
}
END_TEST

/* A process with the same number and even the same memory is not the creator if it began later. */
START_TEST(number_used_again)
{
    struct shared_array *array;
    const struct page page = take_page(&array);
    pause_ms(50); /* a start time is in hundredths of a second */
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        pause_ms(-1);
        _exit(0);
    }
    const int32_t here[] = {getpid(), arena_descriptor()}, other[] = {child, here[1]};
    expect_replaced_refused(&page, here, other, sizeof here, ERROR_SYSTEM, ESRCH);
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    shared_array_close(array);
}
END_TEST

/* Who had opened the page before its name was taken away comes too late: here it keeps a second
 * name. */
START_TEST(page_that_has_lost_its_name)
{
    char second[sizeof path + 8];
    struct shared_array *array = create_bytes(10, 1);
    publish(array);
    snprintf(second, sizeof second, "%s.second", path);
    ck_assert_int_eq(link(path, second), 0);
    ck_assert_int_eq(shared_array_unpublish(array, &error), 0);
    ck_assert_int_eq(rename(second, path), 0);
    expect_not_opened(ERROR_SYSTEM, ENOENT);
    ck_assert_int_eq(unlink(path), 0);
    shared_array_close(array);
}
END_TEST

/* Any byte wrong: it is refused, or what is opened can be read to its end, and nothing is left. */
START_TEST(every_byte_of_a_page_wrong)
{
    struct shared_array *array;
    const struct page page = take_page(&array);
    const struct ledger with_array = take_ledger();
    size_t refused = 0;
    for (size_t i = 0; i < page.size; i++)
        for (int bit = 0; bit < 9; bit++) {
            struct page wrong = page;
            wrong.bytes[i] ^= bit == 8 ? 0xFF : (unsigned char)(1 << bit);
            write_page(&wrong);
            struct shared_array *opened = shared_array_open(name, true, &error);
            ck_assert_int_eq(unlink(path), 0);
            refused += !opened;
            if (!opened)
                continue;
            const volatile unsigned char *bytes = opened->data;
            ck_assert_int_le(bytes[0] ^ bytes[opened->bytes - 1], 0xFF); /* or it would die here */
            shared_array_close(opened);
        }
    ck_assert_uint_gt(refused, page.size * 9 / 2);
    ck_assert_int_eq(take_ledger().descriptors, with_array.descriptors);
    ck_assert_int_eq(take_ledger().mappings, with_array.mappings);
    shared_array_close(array);
}
END_TEST

/* What is there is not ours: it is neither opened nor replaced. */
static void expect_left_alone(enum error_code code, int number)
{
    struct stat old, new;
    struct shared_array *array = create_bytes(10, 1);
    ck_assert_int_eq(lstat(path, &old), 0);
    expect_not_opened(code, number);
    expect_refused(shared_array_publish(array, name, &error), ERROR_SYSTEM, EEXIST);
    shared_array_close(array);
    ck_assert_int_eq(lstat(path, &new), 0);
    ck_assert_uint_eq(new.st_ino, old.st_ino);
    ck_assert_int_eq(remove(path), 0);
}

START_TEST(other_things_with_the_name)
{
    const struct page text = {.bytes = "hello", .size = 5};
    write_page(&text);
    expect_left_alone(ERROR_FORMAT, 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    expect_left_alone(ERROR_FORMAT, 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    expect_left_alone(ERROR_FORMAT, 0);
    ck_assert_int_eq(symlink("/dev/null", path), 0);
    expect_left_alone(ERROR_SYSTEM, ELOOP);
}
END_TEST

START_TEST(names_of_others)
{
    if (geteuid() != 0) {
        fprintf(stderr, "skipped: only root can make another user's file\n");
        return;
    }
    struct shared_array *array;
    const struct page page = take_page(&array);
    write_page(&page);
    ck_assert_int_eq(chown(path, 65534, 65534), 0);
    expect_left_alone(ERROR_SYSTEM, EACCES);

    write_page(&page);
    struct peer peer = start_peer(NULL);
    tell(&peer, "nobody");
    expect_answer(&peer, "ok");
    tell(&peer, "open %s 1", name);
    expect_error(&peer, ERROR_SYSTEM, EACCES);
    ck_assert_int_eq(chmod(path, 0666), 0);
    tell(&peer, "open %s 1", name);
    expect_error(&peer, ERROR_SYSTEM, EACCES);
    ck_assert_int_eq(unlink(path), 0);
    end_peer(&peer);
    shared_array_close(array);
}
END_TEST

/* ---- Two programs ---------------------------------------------------------------------------- */

START_TEST(both_write_and_both_see)
{
    const size_t shape[] = {3, 500, 7};
    struct shared_array *array = shared_array_create("=f8", 3, shape, &error);
    ck_assert_msg(array != NULL, "%s", error.message);
    publish(array);
    struct peer peer = start_opener(false), reader = start_opener(true);
    tell(&peer, "describe");
    expect_answer(&peer, "<f8 3 3 500 7 8 10500 84000");
    expect_peer_sees(&peer, 0);
    memset(array->data, 3, array->bytes);
    expect_peer_sees(&peer, 3);
    expect_peer_sees(&reader, 3);
    tell(&peer, "fill 4");
    hear(&peer);
    ck_assert(is_filled(array, 4));
    expect_peer_sees(&reader, 4);
    tell(&peer, "publish other");
    expect_error(&peer, ERROR_INVALID, 0);
    tell(&peer, "unpublish");
    expect_error(&peer, ERROR_INVALID, 0);
    end_peer(&peer); /* with the array open */
    ck_assert(is_filled(array, 4));
    end_peer(&reader);

    struct shared_array *again = shared_array_open(name, true, &error); /* gh-82300 */
    ck_assert_msg(again != NULL, "%s", error.message);
    ck_assert(is_filled(again, 4));
    shared_array_close(again);
    shared_array_close(array);
}
END_TEST

static bool segfaults(void (*act)(void *), void *at)
{
    int status;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const struct rlimit none = {0};
        signal(SIGSEGV, SIG_DFL); /* not a sanitizer's report */
        setrlimit(RLIMIT_CORE, &none);
        act(at);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void write_at(void *at)
{
    *(volatile char *)at = 1;
}

START_TEST(read_only_is_read_only)
{
    struct shared_array *array = create_bytes(MEGABYTE, 5);
    publish(array);
    struct shared_array *reader = shared_array_open(name, true, &error);
    struct shared_array *writer = shared_array_open(name, false, &error);
    ck_assert(reader && writer);
    ck_assert(reader->read_only);
    ck_assert(!writer->read_only);
    ck_assert(!segfaults(write_at, (char *)writer->data + 100));
    ck_assert_int_eq(((char *)reader->data)[100], 1);
    ck_assert(segfaults(write_at, (char *)reader->data + 100));
    ck_assert_int_eq(mprotect(reader->data, MEGABYTE, PROT_READ | PROT_WRITE), -1);
    ck_assert_int_eq(errno, EACCES);
    shared_array_close(writer);
    shared_array_close(reader);
    shared_array_close(array);
}
END_TEST

START_TEST(nobody_changes_the_size)
{
    struct shared_array *array = create_bytes(MEGABYTE, 5);
    char refusal[32];
    snprintf(refusal, sizeof refusal, "errno %d", EPERM);
    publish(array);
    struct peer peer = start_opener(false);
    tell(&peer, "truncate");
    expect_answer(&peer, refusal);
    tell(&peer, "grow");
    expect_answer(&peer, refusal);
    ck_assert(is_filled(array, 5));
    end_peer(&peer);
    shared_array_close(array);
}
END_TEST

START_TEST(creator_is_killed)
{
    struct peer creator = start_publisher(MEGABYTE, 6);
    struct shared_array *opened = shared_array_open(name, false, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    struct shared_array *array = create_bytes(10, 7);
    expect_refused(shared_array_publish(array, name, &error), ERROR_SYSTEM, EEXIST);

    kill_peer(&creator);
    expect_not_opened(ERROR_SYSTEM, ESRCH); /* nobody has waited for it */
    ck_assert_int_eq(waitpid(creator.pid, NULL, 0), creator.pid);
    close_peer(&creator);
    expect_not_opened(ERROR_SYSTEM, ESRCH);
    ck_assert(is_filled(opened, 6));
    memset(opened->data, 8, opened->bytes);
    ck_assert(is_filled(opened, 8));

    publish(array);
    struct peer reader = start_opener(true);
    expect_peer_sees(&reader, 7);
    end_peer(&reader);
    ck_assert(is_filled(opened, 8));
    shared_array_close(opened);
    shared_array_close(array);
}
END_TEST

/* The same for one that ends in peace, and for one that becomes another program. */
START_TEST(creator_ends)
{
    struct peer creator = start_publisher(100, 6);
    end_peer(&creator);
    expect_not_opened(ERROR_SYSTEM, ESRCH);
    creator = start_publisher(100, 6);
    tell(&creator, "become cat");
    tell(&creator, "meow");
    expect_answer(&creator, "meow"); /* the process is there, its memory is not */
    expect_not_opened(ERROR_SYSTEM, ESRCH);
    end_peer(&creator);
    creator = start_publisher(200, 7); /* replaces the name that is left */
    struct shared_array *opened = shared_array_open(name, true, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    ck_assert_uint_eq(opened->bytes, 200);
    shared_array_close(opened);
    tell(&creator, "close");
    expect_answer(&creator, "ok");
    expect_not_opened(ERROR_SYSTEM, ENOENT);
    end_peer(&creator);
}
END_TEST

/* Many find a name whose creator is gone: one of them gets it, and keeps it. */
START_TEST(one_replaces_a_name)
{
    enum { PEERS = 4, ROUNDS = 50 };
    struct peer peer[PEERS], creator = start_publisher(100, 99);
    const struct page page = read_page();
    end_peer(&creator);
    ck_assert_int_eq(unlink(path), 0);
    for (int i = 0; i < PEERS; i++) {
        peer[i] = start_publisher(100, i);
        tell(&peer[i], "unpublish");
        expect_answer(&peer[i], "ok");
    }
    for (int round = 0; round < ROUNDS; round++) {
        char taken[32];
        int winner = -1;
        snprintf(taken, sizeof taken, "error %d %d", ERROR_SYSTEM, EEXIST);
        write_page(&page);
        for (int i = 0; i < PEERS; i++)
            tell(&peer[i], "publish %s", name);
        for (int i = 0; i < PEERS; i++) {
            const char *answer = hear(&peer[i]);
            if (strcmp(answer, "ok") == 0) {
                ck_assert_int_eq(winner, -1);
                winner = i;
            } else {
                ck_assert_str_eq(answer, taken);
            }
        }
        ck_assert_int_ne(winner, -1);
        struct shared_array *opened = shared_array_open(name, true, &error);
        ck_assert_msg(opened != NULL, "%s", error.message);
        ck_assert(is_filled(opened, winner));
        shared_array_close(opened);
        tell(&peer[winner], "unpublish");
        expect_answer(&peer[winner], "ok");
    }
    for (int i = 0; i < PEERS; i++)
        end_peer(&peer[i]);
}
END_TEST

/* ---- Memory that somebody holds -------------------------------------------------------------- */

#define OTHERS 50

/* As much as the array was, many times, all of it written. */
static void fill_others(struct shared_array *others[OTHERS])
{
    for (int i = 0; i < OTHERS; i++)
        others[i] = create_bytes(MEGABYTE, 0xFF);
}

static void close_others(struct shared_array *others[OTHERS])
{
    for (int i = 0; i < OTHERS; i++)
        shared_array_close(others[i]);
}

START_TEST(freed_memory_is_kept_for_who_has_it_open)
{
    struct shared_array *others[OTHERS];
    struct pool *pool = create_with((struct pool_options){.workers = 2});
    struct shared_array *array = create_bytes(MEGABYTE, 5);
    publish(array);
    struct peer peer = start_opener(true), second = start_opener(false);
    shared_array_close(array);
    expect_not_opened(ERROR_SYSTEM, ENOENT);
    fill_others(others);
    map_squares(pool, 1000, 0);
    expect_peer_sees(&peer, 5);
    close_others(others);
    fill_others(others);
    expect_peer_sees(&peer, 5);

    end_peer(&peer);
    struct shared_array *more = create_bytes(MEGABYTE, 0xFF);
    expect_peer_sees(&second, 5); /* two had it open */
    shared_array_close(more);

    /* With the last of them the memory comes back: one more array needs no more of it. */
    more = create_bytes(MEGABYTE, 0xFF);
    const size_t held = arena_bytes();
    end_peer(&second);
    array = create_bytes(MEGABYTE, 1);
    ck_assert_uint_eq(arena_bytes(), held);
    ck_assert(is_filled(more, 0xFF));
    shared_array_close(more);
    shared_array_close(array);
    close_others(others);
    pool_destroy(pool);
}
END_TEST

/* Here who has it open is this process, and then only a child of it. */
START_TEST(freed_memory_is_kept_for_a_copy)
{
    struct shared_array *others[OTHERS];
    struct shared_array *array = create_bytes(MEGABYTE, 5);
    int go[2], status;
    char byte;
    ck_assert_int_eq(pipe(go), 0);
    publish(array);
    struct shared_array *opened = shared_array_open(name, true, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    shared_array_close(array);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(go[1]);
        const bool told = read(go[0], &byte, 1) == 0;
        _exit(told && is_filled(opened, 5) ? 0 : 1);
    }
    close(go[0]);
    fill_others(others);
    ck_assert(is_filled(opened, 5));
    shared_array_close(opened);
    close_others(others);
    fill_others(others);
    close(go[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    close_others(others);
}
END_TEST

/* More than is kept warm: it goes back to the system, when nobody has it open any more. */
START_TEST(large_memory_goes_back)
{
    const size_t bytes = 300 * MEGABYTE;
    if (resources_memory() < 2 * bytes) {
        fprintf(stderr, "skipped: there is no memory for an array of 300 MiB\n");
        return;
    }
    const size_t held = arena_bytes();
    struct shared_array *array = create_bytes(bytes, 5);
    publish(array);
    struct shared_array *opened = shared_array_open(name, true, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    shared_array_close(array);
    ck_assert_uint_ge(arena_bytes(), held + bytes);
    ck_assert(is_filled(opened, 5));
    shared_array_close(opened);
    shared_array_close(create_bytes(1, 0));
    ck_assert_uint_le(arena_bytes(), held + MEGABYTE);
}
END_TEST

static bool has_answered(const struct peer *peer)
{
    struct pollfd answer = {.fd = fileno(peer->from), .events = POLLIN};
    return poll(&answer, 1, 0) == 1;
}

/* Names come and go and memory is used again while another program opens what it finds: it gets
 * the array whole, or an error. */
START_TEST(opening_while_the_creator_closes)
{
    struct peer peer = start_peer(NULL);
    long closed = 0;
    tell(&peer, "hammer %s %d", name, SANITIZED ? 2000 : 20000);
    while (!has_answered(&peer)) {
        struct shared_array *array = create_bytes(12288, (int)(closed % 200));
        publish(array);
        sched_yield();
        shared_array_close(array);
        struct shared_array *other = create_bytes(12288, 0xFF);
        shared_array_close(other);
        closed++;
    }
    const long opened = strtol(hear(&peer), NULL, 10);
    ck_assert_int_gt(opened, 0);
    ck_assert_int_gt(closed, 0);
    end_peer(&peer);
}
END_TEST

/* ---- Surroundings ---------------------------------------------------------------------------- */

/* A mount of this process's own. */
static bool mount_own(const char *type, const char *where, const char *options)
{
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("none", where, type, 0, options) == 0)
        return true;
    fprintf(stderr, "skipped: this user cannot mount a %s of his own (%s)\n", where,
            strerror(errno));
    return false;
}

START_TEST(small_dev_shm)
{
    if (!mount_own("tmpfs", "/dev/shm", "size=4m"))
        return;
    struct shared_array *array = create_bytes(64 * MEGABYTE, 3);
    publish(array);
    struct peer peer = start_opener(false);
    expect_peer_sees(&peer, 3);
    tell(&peer, "fill 4");
    hear(&peer);
    ck_assert(is_filled(array, 4));
    end_peer(&peer);
    ck_assert_int_eq(shared_array_unpublish(array, &error), 0);

    const int full = open(DIRECTORY "full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(full, 0);
    while (write(full, array->data, 4096) > 0)
        ;
    ck_assert_int_eq(errno, ENOSPC);
    const int names = count_entries(DIRECTORY);
    expect_refused(shared_array_publish(array, name, &error), ERROR_SYSTEM, ENOSPC);
    ck_assert_int_eq(count_entries(DIRECTORY), names);
    close(full);
    ck_assert_int_eq(unlink(DIRECTORY "full"), 0);
    publish(array);
    shared_array_close(array);
    ck_assert_int_eq(umount("/dev/shm"), 0);
}
END_TEST

/* Becomes the first process of a namespace with a /proc that shows nothing else, where one can. */
static void enter_pid_namespace(void)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        _exit(0);
    const pid_t child = fork();
    if (child > 0) {
        int status;
        close_range(0, ~0U, 0); /* or the peer would never see the end of its input */
        _exit(waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
    if (child < 0 || mount("none", "/proc", "proc", 0, NULL) != 0)
        _exit(0);
}

/* Containers may share /dev/shm, and not processes. Who cannot see the creator does not say that it
 * is gone, and does not take its name. */
START_TEST(creator_in_another_container)
{
    struct shared_array *array = create_bytes(100, 3);
    publish(array);
    struct peer peer = start_peer(enter_pid_namespace);
    char line[64];
    fprintf(peer.to, "startup\n");
    fflush(peer.to);
    if (!fgets(line, sizeof line, peer.from)) {
        fprintf(stderr, "skipped: this user cannot have processes in a namespace of their own\n");
    } else {
        ck_assert_str_eq(line, "ok\n");
        tell(&peer, "open %s 1", name);
        expect_error(&peer, ERROR_SYSTEM, EACCES);
        tell(&peer, "create 10");
        expect_answer(&peer, "ok");
        tell(&peer, "publish %s", name);
        expect_error(&peer, ERROR_SYSTEM, EEXIST);
        tell(&peer, "publish %s.inside", name);
        expect_answer(&peer, "ok");
        tell(&peer, "unpublish");
        expect_answer(&peer, "ok");
    }
    signal(SIGPIPE, SIG_IGN);
    end_peer(&peer);
    struct shared_array *opened = shared_array_open(name, true, &error);
    ck_assert_msg(opened != NULL, "%s", error.message);
    shared_array_close(opened);
    shared_array_close(array);
}
END_TEST

/* Leaves only so many descriptors to be had. */
static void limit_descriptors(int spare, rlim_t hard_limit)
{
    const int next = dup(STDIN_FILENO);
    const struct rlimit tight = {.rlim_cur = (rlim_t)(next + spare), .rlim_max = hard_limit};
    ck_assert_int_ge(next, 0);
    close(next);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
}

/* Whatever cannot be looked at then, nobody is taken for dead, and no name for free. */
START_TEST(out_of_descriptors)
{
    enum { ENOUGH = 5 };
    struct shared_array *array = create_bytes(100, 3), *other = create_bytes(100, 4);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct ledger with_arrays = take_ledger();
    for (int spare = 0; spare <= ENOUGH; spare++) {
        limit_descriptors(spare, limit.rlim_max);
        const int status = shared_array_publish(array, name, &error);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert(status == 0 || spare < ENOUGH);
        if (status == 0)
            ck_assert_int_eq(shared_array_unpublish(array, &error), 0);
        else
            expect_refused(status, ERROR_SYSTEM, EMFILE);
        publish(array);

        limit_descriptors(spare, limit.rlim_max);
        struct shared_array *opened = shared_array_open(name, true, &error);
        const struct error why = error;
        const int taken = shared_array_publish(other, name, &error);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        expect_refused(taken, ERROR_SYSTEM, spare == 0 ? EMFILE : EEXIST);
        error = why;
        ck_assert(opened || spare < ENOUGH);
        if (!opened)
            expect_refused(-1, ERROR_SYSTEM, EMFILE);
        shared_array_close(opened);
        ck_assert_int_eq(shared_array_unpublish(array, &error), 0);
        ck_assert_int_eq(take_ledger().descriptors, with_arrays.descriptors);
    }
    shared_array_close(array);
    shared_array_close(other);
}
END_TEST

/* ---- The suite ------------------------------------------------------------------------------- */

static void add_arrays(Suite *suite)
{
    TCase *unprepared = tcase_create("before startup");
    tcase_add_test(unprepared, nothing_is_created_before_startup);
    suite_add_tcase(suite, unprepared);
    TCase *arrays = add_named_case(suite, "arrays");
    tcase_add_test(arrays, types_of_elements);
    tcase_add_test(arrays, types_that_are_none);
    tcase_add_test(arrays, shapes);
    tcase_add_test(arrays, shapes_that_cannot_be);
    tcase_add_test(arrays, zeroed_and_aligned);
    tcase_add_test(arrays, ten_thousand_leave_nothing);
    tcase_add_test(arrays, tasks_work_in_place);
    tcase_add_loop_test(arrays, workers_open_but_do_not_create, 0, SITUATIONS);
}

static void add_names(Suite *suite)
{
    TCase *names = add_named_case(suite, "names");
    tcase_add_test(names, names_that_cannot_be);
    tcase_add_test(names, a_name_comes_and_goes);
    tcase_add_test(names, a_name_removed_by_hand);
    tcase_add_test(names, a_forked_copy_changes_nothing);
    tcase_add_test(names, wrong_pages);
    tcase_add_test(names, memory_that_could_shrink);
    tcase_add_test(names, number_used_again);
    tcase_add_test(names, page_that_has_lost_its_name);
    tcase_add_test(names, every_byte_of_a_page_wrong);
    tcase_add_test(names, other_things_with_the_name);
    tcase_add_test(names, names_of_others);
}

static void add_programs(Suite *suite)
{
    TCase *programs = add_named_case(suite, "programs");
    tcase_add_test(programs, both_write_and_both_see);
    tcase_add_test(programs, read_only_is_read_only);
    tcase_add_test(programs, nobody_changes_the_size);
    tcase_add_test(programs, creator_is_killed);
    tcase_add_test(programs, creator_ends);
    tcase_add_test(programs, one_replaces_a_name);
    tcase_add_test(programs, freed_memory_is_kept_for_who_has_it_open);
    tcase_add_test(programs, freed_memory_is_kept_for_a_copy);
    tcase_add_test(programs, large_memory_goes_back);
    tcase_add_test(programs, opening_while_the_creator_closes);
    tcase_add_test(programs, small_dev_shm);
    tcase_add_test(programs, creator_in_another_container);
    tcase_add_test(programs, out_of_descriptors);
}

int main(int argc, char **argv)
{
    if (pool_is_spawned_worker()) /* a fresh copy of this program, which does not return */
        pool_startup(NULL);
    if (argc == 2 && strcmp(argv[1], "peer") == 0)
        return peer_main();
    own_shared_memory_names();
    Suite *suite = suite_create("shared_array");
    add_arrays(suite);
    add_names(suite);
    add_programs(suite);
    return run_suite(suite);
}
