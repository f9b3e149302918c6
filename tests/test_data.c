/* test_data.c - messages, random numbers, files, .npy arrays and pictures.
 *
 * Every test gets a directory of its own; `in_room` names a file in it. What only NumPy can tell
 * is in data_oracle.py.
 */
#include "common/data/file.h"
#include "common/data/npy.h"
#include "common/data/picture_set.h"
#include "common/data/random.h"
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>

/* ---- a directory for each test -------------------------------------------------------------- */

static char house[PATH_MAX - 128]; /* of all rooms; removed at the end, whatever happened */
static char room[PATH_MAX - 64];
static struct error error;

/* Stands in front of libc's open: with `refuse_unnamed` the file system cannot do O_TMPFILE, as
 * NFS cannot. */
static bool refuse_unnamed;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    const bool unnamed = (flags & O_TMPFILE) == O_TMPFILE; /* it has the bit of O_DIRECTORY too */
    const mode_t mode = unnamed || flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (unnamed && refuse_unnamed) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static void enter_room(void)
{
    snprintf(room, sizeof room, "%s/XXXXXX", house);
    ck_assert_ptr_nonnull(mkdtemp(room));
    memset(&error, 0, sizeof error);
    refuse_unnamed = false;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static int build_house(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(house, sizeof house, "%s/test_data.XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(house) ? 0 : -1;
}

static int tear_down_house(void)
{
    return nftw(house, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in the room. The last eight results stay valid. */
static const char *in_room(const char *name)
{
    static char paths[8][PATH_MAX];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, PATH_MAX, "%s/%s", room, name);
    return path;
}

static int entries_in_room(void)
{
    int count = 0;
    DIR *directory = opendir(room);
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count - 2; /* without . and .. */
}

/* A new file each time: some file systems flush one that was truncated and written again, and
 * the tests of thousands of broken pictures would wait for the disk. */
static void put(const char *path, const void *bytes, size_t size)
{
    ck_assert(unlink(path) == 0 || errno == ENOENT);
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, size, stream), size);
    ck_assert_int_eq(fclose(stream), 0);
}

/* The file's bytes, with a 0 behind them; the caller frees them. */
static unsigned char *get(const char *path, size_t *size)
{
    struct stat status;
    FILE *stream = fopen(path, "rb");
    ck_assert_msg(stream != NULL, "%s: %s", path, strerror(errno));
    ck_assert_int_eq(fstat(fileno(stream), &status), 0);
    unsigned char *bytes = malloc((size_t)status.st_size + 1);
    ck_assert_ptr_nonnull(bytes);
    *size = fread(bytes, 1, (size_t)status.st_size, stream);
    ck_assert_uint_eq(*size, (size_t)status.st_size);
    bytes[*size] = 0;
    fclose(stream);
    return bytes;
}

static void assert_holds(const char *path, const char *text)
{
    size_t size;
    unsigned char *bytes = get(path, &size);
    ck_assert_str_eq((char *)bytes, text);
    free(bytes);
}

/* The last call failed in this way and its message names the culprit. */
static void assert_error(enum error_code code, const char *culprit)
{
    ck_assert_msg(error.code == code, "code %d instead of %d: %s", error.code, code, error.message);
    ck_assert_msg(strstr(error.message, culprit) != NULL, "'%s' does not name %s", error.message,
                  culprit);
    error = (struct error){0};
}

static void assert_errno(int number, const char *culprit)
{
    ck_assert_msg(error.system_errno == number, "errno %d instead of %d: %s", error.system_errno,
                  number, error.message);
    assert_error(ERROR_SYSTEM, culprit);
}

/* ---- messages ------------------------------------------------------------------------------- */

/* "/begin/dddd.../end.png" of so many characters; in a static buffer. */
static const char *long_path(size_t length, const char *component)
{
    static char path[PATH_MAX];
    size_t used = (size_t)snprintf(path, sizeof path, "/begin");
    while (used + 9 < length)
        used += (size_t)snprintf(path + used, sizeof path - used, "%s", component);
    snprintf(path + used, sizeof path - used, "/end.png");
    return path;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

START_TEST(message_of_a_long_path)
{
    static const size_t lengths[] = {100, 240, 254, 255, 256, 257, 300, 1000, 4000};
    static const char *const components[] = {"/x", "/0123456789", "y", "/\u00fc\u00fc"};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t j = 0; j < sizeof components / sizeof *components; j++) {
            const char *path = long_path(lengths[i], components[j]);
            errno = EACCES;
            error_set_errno(&error, "cannot make the directory %s", path);
            ck_assert_int_eq(error.system_errno, EACCES);
            ck_assert_msg(strncmp(error.message, "cannot make the directory /begin", 32) == 0 &&
                              ends_with(error.message, "/end.png: Permission denied"),
                          "%s", error.message);
            error_set(&error, ERROR_FORMAT, "%s: %s", path, "neither a PNG nor a JPEG picture");
            ck_assert_msg(
                strncmp(error.message, "/begin", 6) == 0 &&
                    ends_with(error.message, "/end.png: neither a PNG nor a JPEG picture"),
                "%s", error.message);
            ck_assert(strlen(path) < 220 || strstr(error.message, "..."));
        }
}
END_TEST

/* However long they are, and wherever they are cut: no half of a character. */
START_TEST(message_stays_utf8)
{
    char text[600], shorter[64];
    for (size_t first = 0; first < 3; first++)
        for (size_t length = 60; length < 90; length++) {
            memset(text, 'a', first);
            for (size_t i = 0; i < length; i++)
                memcpy(text + first + 3 * i, "\u4e2d", 3);
            text[first + 3 * length] = '\0';
            error_shorten(shorter, sizeof shorter, text);
            const char *gap = strstr(shorter, "...");
            ck_assert_ptr_nonnull(gap);
            ck_assert_uint_eq((size_t)(gap - shorter - (ptrdiff_t)first) % 3, 0);
            ck_assert_uint_eq(strlen(gap + 3) % 3, 0);
            ck_assert_uint_ge(strlen(shorter), sizeof shorter - 6);
        }
}
END_TEST

/* ---- random numbers: values of numpy.random.seed(42) ---------------------------------------- */

START_TEST(random_words_and_doubles)
{
    const uint32_t words[] = {1608637542u, 3421126067u, 4083286876u, 787846414u};
    struct random_state state;
    random_seed(&state, 42);
    ck_assert_int_eq(state.position, 624);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(random_uint32(&state), words[i]);
    random_seed(&state, 42);
    ck_assert_double_eq(random_double(&state), 0.3745401188473625);
    ck_assert_double_eq(random_double(&state), 0.9507143064099162);
}
END_TEST

START_TEST(random_normals)
{
    const double expected[] = {0.4967141530112327, -0.13826430117118466, 0.6476885381006925,
                               1.5230298564080254, -0.23415337472333597};
    struct random_state state;
    double values[5];
    random_seed(&state, 42);
    random_normal(&state, values, 5);
    for (int i = 0; i < 5; i++)
        ck_assert_double_eq(values[i], expected[i]);
    ck_assert_int_eq(state.has_gauss, 1);
}
END_TEST

START_TEST(random_image_mean_and_state)
{
    enum { COUNT = 128 * 128 };
    static float values[COUNT];
    struct random_state state;
    double sum = 0.0, squares = 0.0;
    random_seed(&state, 42);
    random_normal_float(&state, values, COUNT);
    for (int i = 0; i < COUNT; i++)
        sum += values[i];
    for (int i = 0; i < COUNT; i++)
        squares += (values[i] - sum / COUNT) * (values[i] - sum / COUNT);
    ck_assert_double_eq_tol(sum / COUNT, 0.001467142, 1e-8);
    ck_assert_double_eq_tol(sqrt(squares / COUNT), 1.0030775, 1e-7);
    ck_assert_int_eq(state.position, 364);
    ck_assert_int_eq(state.has_gauss, 0);
}
END_TEST

/* However the calls are cut, the numbers are the same: the cached half of a pair is not lost. */
START_TEST(random_normals_in_pieces)
{
    enum { COUNT = 2000 };
    static double whole[COUNT], pieces[COUNT];
    struct random_state state;
    random_seed(&state, 7);
    random_normal(&state, whole, COUNT);
    for (size_t step = 0; step <= 9; step++) {
        size_t i = 0;
        random_seed(&state, 7);
        for (size_t call = 0; i < COUNT; call++) {
            size_t n = step == 0 ? call % 6 : step; /* 0, 1, .. 5, 0, .. or always the same */
            n = n < COUNT - i ? n : COUNT - i;
            if (call % 2 == 0) {
                random_normal(&state, pieces + i, n);
                ck_assert_mem_eq(pieces + i, whole + i, n * sizeof *whole);
            } else {
                float rounded[9];
                random_normal_float(&state, rounded, n);
                for (size_t k = 0; k < n; k++)
                    ck_assert_float_eq(rounded[k], (float)whole[i + k]);
            }
            i += n;
        }
    }
}
END_TEST

START_TEST(random_seed_forgets)
{
    struct random_state used, fresh;
    double value;
    random_seed(&used, 1);
    random_normal(&used, &value, 1);
    random_seed(&used, 4294967295u);
    random_seed(&fresh, 4294967295u);
    ck_assert_int_eq(used.has_gauss, 0);
    ck_assert_mem_eq(used.key, fresh.key, sizeof used.key);
    ck_assert_uint_eq(random_uint32(&used), random_uint32(&fresh));
}
END_TEST

START_TEST(random_permutations)
{
    enum { COUNT = 60000 };
    const int64_t ten[] = {8, 1, 5, 0, 7, 2, 9, 4, 3, 6};
    static int64_t values[COUNT];
    static bool seen[COUNT];
    struct random_state state, before;
    random_seed(&state, 42);
    random_permutation(&state, values, 10);
    ck_assert_mem_eq(values, ten, sizeof ten);

    before = state;
    random_permutation(&state, values, 0);
    ck_assert_int_eq(values[0], 8);
    random_permutation(&state, values, 1);
    ck_assert_int_eq(values[0], 0);
    ck_assert_int_eq(state.position, before.position); /* nothing was drawn */

    random_permutation(&state, values, COUNT);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(values[i] >= 0 && values[i] < COUNT && !seen[values[i]]);
        seen[values[i]] = true;
    }
}
END_TEST

/* ---- files: each test with unnamed (0) and with named (1) temporary files ------------------- */

START_TEST(file_appears_at_commit)
{
    refuse_unnamed = _i;
    const char *path = in_room("new");
    struct file *file = file_create(path, &error);
    ck_assert_msg(file != NULL, "%s", error.message);
    fputs("hello", file_stream(file));
    ck_assert_int_eq(fflush(file_stream(file)), 0);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(entries_in_room(), _i); /* only a file system without O_TMPFILE shows it */
    ck_assert_int_eq(file_commit(file, &error), 0);
    assert_holds(path, "hello");
    ck_assert_int_eq(entries_in_room(), 1);
}
END_TEST

START_TEST(file_abandoned_leaves_nothing)
{
    refuse_unnamed = _i;
    struct file *file = file_create(in_room("new"), &error);
    ck_assert_ptr_nonnull(file);
    fputs("hello", file_stream(file));
    file_abandon(file);
    file_abandon(NULL);
    ck_assert_int_eq(entries_in_room(), 0);
}
END_TEST

START_TEST(file_of_a_killed_process)
{
    int status;
    const char *path = in_room("new");
    refuse_unnamed = _i;
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct file *file = file_create(path, NULL);
        if (!file || fputs("hello", file_stream(file)) < 0 || fflush(file_stream(file)) != 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(entries_in_room(), _i);
}
END_TEST

START_TEST(file_replaces_the_old_one)
{
    refuse_unnamed = _i;
    const char *path = in_room("old");
    put(path, "old", 3);
    struct file *file = file_create(path, &error);
    ck_assert_ptr_nonnull(file);
    fputs("abandoned", file_stream(file));
    file_abandon(file);
    assert_holds(path, "old");

    file = file_create(path, &error);
    ck_assert_ptr_nonnull(file);
    fputs("new", file_stream(file));
    assert_holds(path, "old");
    ck_assert_int_eq(file_commit(file, &error), 0);
    assert_holds(path, "new");
    ck_assert_int_eq(entries_in_room(), 1);
}
END_TEST

static mode_t mode_after_writing(const char *path)
{
    struct stat status;
    struct file *file = file_create(path, &error);
    ck_assert_msg(file != NULL, "%s", error.message);
    ck_assert_int_eq(file_commit(file, &error), 0);
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_mode & 07777;
}

START_TEST(file_permissions)
{
    refuse_unnamed = _i;
    const mode_t mask = umask(027);
    ck_assert_int_eq(mode_after_writing(in_room("masked")), 0640);
    umask(0);
    ck_assert_int_eq(mode_after_writing(in_room("open")), 0666);
    umask(022);
    ck_assert_int_eq(chmod(in_room("open"), 0606), 0);
    ck_assert_int_eq(mode_after_writing(in_room("open")), 0606);
    umask(mask);
}
END_TEST

static void write_text(const char *path, const char *text)
{
    struct file *file = file_create(path, &error);
    ck_assert_msg(file != NULL, "%s", error.message);
    fputs(text, file_stream(file));
    ck_assert_msg(file_commit(file, &error) == 0, "%s", error.message);
}

START_TEST(file_follows_links)
{
    struct stat status;
    refuse_unnamed = _i;
    ck_assert_int_eq(mkdir(in_room("far"), 0777), 0);
    put(in_room("target"), "old", 3);
    ck_assert_int_eq(symlink("target", in_room("relative")), 0);
    ck_assert_int_eq(symlink(in_room("relative"), in_room("absolute")), 0);
    ck_assert_int_eq(symlink("far/not yet", in_room("dangling")), 0);
    ck_assert_int_eq(symlink("endless", in_room("endless")), 0);

    write_text(in_room("absolute"), "new");
    assert_holds(in_room("target"), "new");
    ck_assert_int_eq(lstat(in_room("relative"), &status), 0);
    ck_assert(S_ISLNK(status.st_mode));
    write_text(in_room("dangling"), "there");
    assert_holds(in_room("far/not yet"), "there");
    ck_assert_ptr_null(file_create(in_room("endless"), &error));
    assert_errno(ELOOP, in_room("endless"));
}
END_TEST

START_TEST(file_in_current_directory)
{
    refuse_unnamed = _i;
    const int here = open(".", O_RDONLY | O_DIRECTORY);
    ck_assert_int_ge(here, 0);
    ck_assert_int_eq(chdir(room), 0);
    write_text("plain", "plain");
    ck_assert_int_eq(fchdir(here), 0);
    close(here);
    assert_holds(in_room("plain"), "plain");
}
END_TEST

START_TEST(file_cannot_be_created)
{
    refuse_unnamed = _i;
    put(in_room("file"), "", 0);
    const struct {
        const char *path;
        int number;
    } bad[] = {
        {in_room("missing/new"), ENOENT},
        {in_room("file/new"), ENOTDIR},
        {in_room("new/"), EISDIR},
        {room, EISDIR},
        {"", ENOENT},
        {"/proc/nothing can be made here", ENOENT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_ptr_null(file_create(bad[i].path, &error));
        assert_errno(bad[i].number, bad[i].path);
    }
    char long_path[PATH_MAX + 10];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    ck_assert_ptr_null(file_create(long_path, NULL));
    ck_assert_int_eq(entries_in_room(), 1);
}
END_TEST

START_TEST(file_on_full_device)
{
    struct file *file = file_create("/dev/full", &error);
    ck_assert_msg(file != NULL, "%s", error.message);
    /* The failure is at the start, the last writes come after it: the cause must not be lost. */
    for (int i = 0; i < 100000; i++)
        fputs("much more than a buffer", file_stream(file));
    ck_assert_int_eq(file_commit(file, &error), -1);
    assert_errno(ENOSPC, "/dev/full");
    struct stat status;
    ck_assert_int_eq(stat("/dev/full", &status), 0);
    ck_assert(S_ISCHR(status.st_mode));
}
END_TEST

START_TEST(file_beyond_size_limit)
{
    refuse_unnamed = _i;
    struct rlimit limit;
    put(in_room("old"), "old", 3);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    const struct rlimit small = {.rlim_cur = 100000, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    const char *const names[] = {"old", "new"};
    for (int i = 0; i < 2; i++) {
        struct file *file = file_create(in_room(names[i]), &error);
        ck_assert_ptr_nonnull(file);
        for (int line = 0; line < 30000; line++)
            fputs("0123456\n", file_stream(file));
        ck_assert_int_eq(file_commit(file, &error), -1);
        assert_errno(EFBIG, in_room(names[i]));
    }
    static const double values[20000];
    ck_assert_int_eq(npy_write(in_room("x.npy"), NPY_FLOAT64, 1, (size_t[]){20000}, values, &error),
                     -1);
    assert_errno(EFBIG, in_room("x.npy"));
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_holds(in_room("old"), "old");
    ck_assert_int_eq(entries_in_room(), 1);
}
END_TEST

START_TEST(file_into_fifo)
{
    const char *path = in_room("fifo");
    char text[8] = "";
    ck_assert_int_eq(mkfifo(path, 0666), 0);
    const int reader = open(path, O_RDONLY | O_NONBLOCK);
    ck_assert_int_ge(reader, 0);
    write_text(path, "through");
    ck_assert_int_eq(read(reader, text, sizeof text), 7);
    ck_assert_str_eq(text, "through");

    struct file *file = file_create(path, &error);
    ck_assert_ptr_nonnull(file);
    close(reader);
    fputs("nobody reads", file_stream(file));
    ck_assert_int_eq(file_commit(file, &error), -1); /* and no SIGPIPE */
    assert_errno(EPIPE, path);
    ck_assert_int_eq(entries_in_room(), 1);
}
END_TEST

/* /dev/stdout redirected to a file is that open file, not a name to replace. */
START_TEST(file_through_descriptor_link)
{
    char link[64];
    struct stat before, after;
    const int descriptor = open(in_room("redirected"), O_RDWR | O_CREAT, 0666);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, "first ", 6), 6);
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    write_text(link, "second");
    ck_assert_int_eq(fstat(descriptor, &before), 0);
    ck_assert_int_eq(stat(in_room("redirected"), &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    assert_holds(in_room("redirected"), "first second");
    close(descriptor);
}
END_TEST

START_TEST(file_directories)
{
    struct stat status;
    ck_assert_int_eq(file_make_directory(in_room("a//b/c/"), &error), 0);
    ck_assert_int_eq(stat(in_room("a/b/c"), &status), 0);
    ck_assert_int_eq(file_make_directory(in_room("a/b"), &error), 0);
    ck_assert_int_eq(file_make_directory(room, &error), 0);
    put(in_room("file"), "", 0);
    ck_assert_int_eq(file_make_directory(in_room("file"), &error), -1);
    assert_errno(ENOTDIR, in_room("file"));
    ck_assert_int_eq(file_make_directory(in_room("file/below"), &error), -1);
    assert_errno(ENOTDIR, in_room("file"));
    ck_assert_int_eq(file_make_directory("/proc/none/such", &error), -1);
    assert_error(ERROR_SYSTEM, "/proc/none");
    ck_assert_int_eq(file_make_directory("", &error), -1);
    assert_error(ERROR_SYSTEM, "");
}
END_TEST

/* ---- .npy ----------------------------------------------------------------------------------- */

static void round_trip(enum npy_type type, int dimensions, const size_t *shape)
{
    const char *path = in_room("array.npy");
    size_t bytes = npy_size(type), size;
    for (int i = 0; i < dimensions; i++)
        bytes *= shape[i];
    unsigned char *data = malloc(bytes + 1);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (unsigned char)(i * 37 + 1);
    ck_assert_msg(npy_write(path, type, dimensions, shape, data, &error) == 0, "%s", error.message);

    unsigned char *file = get(path, &size);
    ck_assert_uint_ge(size, bytes + 64);
    ck_assert_uint_eq((size - bytes) % 64, 0);
    ck_assert_mem_eq(file, "\x93NUMPY\x01\x00", 8);
    ck_assert_uint_eq(10u + file[8] + 256u * file[9], size - bytes);
    ck_assert_uint_eq(file[size - bytes - 1], '\n');
    free(file);

    struct npy_array array;
    ck_assert_msg(npy_read(path, &array, &error) == 0, "%s", error.message);
    ck_assert_int_eq(array.type, type);
    ck_assert_int_eq(array.dimensions, dimensions);
    for (int i = 0; i < dimensions; i++)
        ck_assert_uint_eq(array.shape[i], shape[i]);
    ck_assert_ptr_nonnull(array.data);
    ck_assert_mem_eq(array.data, data, bytes);
    free(array.data);
    free(data);
}

START_TEST(npy_round_trips)
{
    const enum npy_type type = (enum npy_type)_i;
    round_trip(type, 0, NULL);
    round_trip(type, 1, (size_t[]){0});
    round_trip(type, 1, (size_t[]){1});
    round_trip(type, 1, (size_t[]){12345});
    round_trip(type, 2, (size_t[]){3, 5});
    round_trip(type, 3, (size_t[]){2, 0, 4});
    round_trip(type, 4, (size_t[]){16, 1, 3, 3});
    round_trip(type, 8, (size_t[]){1, 2, 1, 2, 3, 1, 2, 1});
    round_trip(type, 8, (size_t[]){1000000, 0, 100000, 10000, 1, 1, 1, 1});
}
END_TEST

START_TEST(npy_cannot_write)
{
    const size_t ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const double value = 1.0;
    const char *path = in_room("array.npy");
    ck_assert_int_eq(npy_write(path, NPY_FLOAT64, 9, ones, &value, &error), -1);
    assert_error(ERROR_INVALID, path);
    ck_assert_int_eq(npy_write(path, NPY_FLOAT64, -1, ones, &value, &error), -1);
    assert_error(ERROR_INVALID, path);
    const size_t huge[] = {SIZE_MAX / 8, 2};
    ck_assert_int_eq(npy_write(path, NPY_FLOAT64, 2, huge, &value, &error), -1);
    assert_error(ERROR_INVALID, path);
    ck_assert_int_eq(npy_write(path, NPY_FLOAT64, 1, huge, &value, NULL), -1);
    ck_assert_int_eq(npy_write(in_room("no/array.npy"), NPY_FLOAT64, 1, ones, &value, &error), -1);
    assert_errno(ENOENT, in_room("no/array.npy"));
    ck_assert_int_eq(npy_write("/dev/full", NPY_FLOAT64, 1, ones, &value, &error), -1);
    assert_errno(ENOSPC, "/dev/full");
    ck_assert_int_eq(entries_in_room(), 0);
}
END_TEST

/* A .npy file with this header text and `bytes` zero bytes of data. */
static void put_npy(const char *path, int version, const char *text, size_t bytes)
{
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    const size_t length = strlen(text);
    fprintf(stream, "\x93NUMPY%c%c%c%c", version, 0, (int)(length & 0xff), (int)(length >> 8));
    if (version > 1) /* its length has four bytes */
        fprintf(stream, "%c%c", 0, 0);
    fputs(text, stream);
    while (bytes-- > 0)
        fputc(0, stream);
    ck_assert_int_eq(fclose(stream), 0);
}

START_TEST(npy_headers_of_others)
{
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
        "{\"shape\": (2,3,), \"fortran_order\": False, \"descr\": \"<f4\"}",
        "  { 'shape' :\n( 2 , 3 ) , 'descr':'<f4' , 'fortran_order':False } ",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct npy_array array;
        put_npy(in_room("x.npy"), 1, good[i], 24 + 5); /* more than needed is no harm */
        ck_assert_msg(npy_read(in_room("x.npy"), &array, &error) == 0, "%s", error.message);
        ck_assert_int_eq(array.type, NPY_FLOAT32);
        ck_assert_int_eq(array.dimensions, 2);
        ck_assert_uint_eq(array.shape[0], 2);
        ck_assert_uint_eq(array.shape[1], 3);
        free(array.data);
    }
}
END_TEST

START_TEST(npy_cannot_read)
{
    static const struct {
        int version;
        const char *text, *reason;
        size_t bytes;
    } bad[] = {
        {2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "version 2.0", 8},
        {1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "Fortran", 8},
        {1, "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "'>f4'", 8},
        {1, "{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", "'<c8'", 16},
        {1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "header", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "truncated", 7},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }", "truncated", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }",
         "too large", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }",
         "header", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "header", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", "header",
         8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", "header", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, }", "header", 8},
        {1, "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }", "header", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}", "header", 8},
        {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), ", "header", 8},
        {1, "{'descr': '<f4", "header", 8},
        {1, "", "header", 8},
    };
    struct npy_array array;
    const char *path = in_room("bad.npy");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_npy(path, bad[i].version, bad[i].text, bad[i].bytes);
        ck_assert_msg(npy_read(path, &array, &error) == -1, "%s", bad[i].text);
        ck_assert_ptr_null(array.data);
        ck_assert_msg(strstr(error.message, bad[i].reason) != NULL, "%s", error.message);
        assert_error(ERROR_FORMAT, path);
    }
    put(path, "a text file\n", 12);
    ck_assert_int_eq(npy_read(path, &array, &error), -1);
    assert_error(ERROR_FORMAT, path);
    ck_assert_int_eq(npy_read(in_room("none.npy"), &array, &error), -1);
    assert_errno(ENOENT, in_room("none.npy"));
    ck_assert_int_eq(npy_read(room, &array, &error), -1);
    assert_errno(EISDIR, room);
}
END_TEST

START_TEST(npy_truncated_anywhere)
{
    size_t size;
    struct npy_array array;
    const char *path = in_room("array.npy");
    const int64_t values[3] = {1, 2, 3};
    ck_assert_int_eq(npy_write(path, NPY_INT64, 1, (size_t[]){3}, values, &error), 0);
    unsigned char *bytes = get(path, &size);
    for (size_t length = 0; length < size; length++) {
        put(path, bytes, length);
        ck_assert_int_eq(npy_read(path, &array, &error), -1);
        assert_error(ERROR_FORMAT, path);
    }
    free(bytes);
}
END_TEST

/* A pipe has no size to ask for: what it promises is found missing while reading. */
START_TEST(npy_from_pipe)
{
    int ends[2];
    char path[64];
    struct npy_array array;
    ck_assert_int_eq(pipe(ends), 0);
    const char text[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }";
    dprintf(ends[1], "\x93NUMPY%c%c%c%c%s", 1, 0, (int)sizeof text - 1, 0, text);
    ck_assert_int_eq(write(ends[1], "abc", 3), 3);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    ck_assert_int_eq(npy_read(path, &array, &error), -1);
    assert_error(ERROR_FORMAT, path);
    close(ends[0]);
}
END_TEST

/* ---- pictures ------------------------------------------------------------------------------- */

/* What a PNG test picture is made of; rows are as libpng takes them. */
struct png_recipe {
    png_uint_32 width, height;
    int depth, type, interlace;
    const png_color *palette;
    int colours;
    const png_byte *palette_alpha; /* or NULL */
    const png_color_16 *transparent;
};

/* rows NULL: all up to the pixels, and none of them. */
static void put_png(const char *path, const struct png_recipe *recipe, png_byte *rows,
                    size_t stride)
{
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(png);
    png_infop info = png_create_info_struct(png);
    ck_assert_ptr_nonnull(info);
    png_init_io(png, stream);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png, info, recipe->width, recipe->height, recipe->depth, recipe->type,
                 recipe->interlace, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (recipe->palette)
        png_set_PLTE(png, info, recipe->palette, recipe->colours);
    if (recipe->palette_alpha || recipe->transparent)
        png_set_tRNS(png, info, recipe->palette_alpha, recipe->palette_alpha ? recipe->colours : 0,
                     recipe->transparent);
    png_write_info(png, info);
    if (rows) {
        const int passes = png_set_interlace_handling(png);
        for (int pass = 0; pass < passes; pass++)
            for (png_uint_32 y = 0; y < recipe->height; y++)
                png_write_row(png, rows + y * stride);
        png_write_end(png, info);
    } else {
        png_write_chunk(png, (const png_byte *)"IDAT", NULL, 0);
    }
    png_destroy_write_struct(&png, &info);
    ck_assert_int_eq(fclose(stream), 0);
}

static struct picture read_picture(const char *path)
{
    struct picture picture;
    ck_assert_msg(picture_read(path, &picture, &error) == 0, "%s", error.message);
    return picture;
}

START_TEST(picture_round_trip)
{
    enum { HEIGHT = 5, WIDTH = 7 };
    float pixels[HEIGHT][WIDTH];
    const char *path = in_room("grey.png");
    for (int i = 0; i < HEIGHT * WIDTH; i++)
        pixels[i / WIDTH][i % WIDTH] = (float)(i * 7 % 256);
    ck_assert_int_eq(picture_write(path, pixels[0], HEIGHT, WIDTH, 1.0f, &error), 0);
    struct picture picture = read_picture(path);
    ck_assert_uint_eq(picture.height, HEIGHT);
    ck_assert_uint_eq(picture.width, WIDTH);
    ck_assert_mem_eq(picture.pixels, pixels, sizeof pixels);
    picture_free(&picture);
    ck_assert_ptr_null(picture.pixels);
    picture_free(&picture);
}
END_TEST

START_TEST(picture_of_one_pixel)
{
    const float grey = 77.0f;
    ck_assert_int_eq(picture_write(in_room("1.png"), &grey, 1, 1, 1.0f, &error), 0);
    struct picture picture = read_picture(in_room("1.png"));
    ck_assert_uint_eq(picture.height * picture.width, 1);
    ck_assert_float_eq(picture.pixels[0], grey);
    picture_free(&picture);
}
END_TEST

START_TEST(picture_rounds_and_limits)
{
    const float values[] = {-INFINITY, -1.0f,  -0.1f,   0.0f,    0.2499f,  0.25f, 0.75f,
                            127.0f,    127.3f, 127.74f, 1000.0f, INFINITY, NAN,   0x1.fffffep-3f};
    const float expected[] = {0, 0, 0, 0, 0, 1, 2, 254, 255, 255, 255, 255, 0, 0};
    enum { COUNT = sizeof values / sizeof values[0] };
    ck_assert_int_eq(picture_write(in_room("x.png"), values, 1, COUNT, 2.0f, &error), 0);
    struct picture picture = read_picture(in_room("x.png"));
    for (int i = 0; i < COUNT; i++)
        ck_assert_msg(picture.pixels[i] == expected[i], "%g gives %g", values[i],
                      picture.pixels[i]);
    picture_free(&picture);
}
END_TEST

START_TEST(picture_cannot_write)
{
    static const float pixels[512 * 512];
    const char *path = in_room("x.png");
    ck_assert_int_eq(picture_write(path, pixels, 0, 4, 1.0f, &error), -1);
    assert_error(ERROR_INVALID, path);
    ck_assert_int_eq(picture_write(path, pixels, 4, 0, 1.0f, &error), -1);
    assert_error(ERROR_INVALID, path);
    ck_assert_int_eq(picture_write(path, pixels, 1, (size_t)1 << 31, 1.0f, &error), -1);
    assert_error(ERROR_INVALID, path);
    ck_assert_int_eq(picture_write("/dev/full", pixels, 512, 512, 1.0f, &error), -1);
    assert_errno(ENOSPC, "/dev/full");
    ck_assert_int_eq(picture_write(in_room("no/x.png"), pixels, 4, 4, 1.0f, &error), -1);
    assert_errno(ENOENT, in_room("no/x.png"));
    ck_assert_int_eq(entries_in_room(), 0);
}
END_TEST

/* All 65536 values, also with alpha and interlaced: nothing is rounded to 8 bits. */
START_TEST(picture_16_bit_grey)
{
    const bool alpha = _i & 1;
    static png_byte rows[256 * 256 * 4];
    static const png_color_16 transparent = {.gray = 1000};
    const struct png_recipe recipe = {
        .width = 256,
        .height = 256,
        .depth = 16,
        .type = alpha ? PNG_COLOR_TYPE_GRAY_ALPHA : PNG_COLOR_TYPE_GRAY,
        .interlace = _i & 2 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
        .transparent = alpha ? NULL : &transparent,
    };
    png_byte *byte = rows;
    for (unsigned v = 0; v < 65536; v++) {
        *byte++ = (png_byte)(v >> 8);
        *byte++ = (png_byte)v;
        if (alpha) {
            *byte++ = (png_byte)(v * 3); /* must not matter */
            *byte++ = 0;
        }
    }
    put_png(in_room("16.png"), &recipe, rows, alpha ? 1024 : 512);
    struct picture picture = read_picture(in_room("16.png"));
    for (unsigned v = 0; v < 65536; v++)
        ck_assert(picture.pixels[v] == (float)v / 257.0f);
    picture_free(&picture);
}
END_TEST

/* Every depth of a grey PNG ends at black 0 and white 255; odd widths, plain and interlaced. */
START_TEST(picture_grey_depths)
{
    enum { HEIGHT = 9 };
    const int depths[] = {1, 2, 4, 8};
    for (int d = 0; d < 4; d++) {
        const int depth = depths[d], levels = 1 << depth;
        for (png_uint_32 width = 1; width <= 19; width++) {
            png_byte rows[HEIGHT * 32] = {0};
            struct png_recipe recipe = {
                .width = width, .height = HEIGHT, .depth = depth, .interlace = _i};
            for (unsigned y = 0; y < HEIGHT; y++)
                for (unsigned x = 0; x < width; x++) {
                    const int value = (int)(x * 5 + y * 3) % levels;
                    const unsigned bit = x * (unsigned)depth;
                    rows[y * 32 + bit / 8] |= (png_byte)(value << (8 - depth - (int)(bit % 8)));
                }
            put_png(in_room("depth.png"), &recipe, rows, 32);
            struct picture picture = read_picture(in_room("depth.png"));
            ck_assert_uint_eq(picture.width, width);
            ck_assert_uint_eq(picture.height, HEIGHT);
            for (unsigned i = 0; i < width * HEIGHT; i++) {
                const int value = (int)(i % width * 5 + i / width * 3) % levels;
                ck_assert_float_eq(picture.pixels[i], (float)value * 255.0f / (float)(levels - 1));
            }
            picture_free(&picture);
        }
    }
}
END_TEST

/* Red, green, blue, white, a grey and black, in one row, with `_i` bit 0: alpha, bit 1: 16 bits,
 * bit 2: interlaced. */
START_TEST(picture_colour_weights)
{
    const bool alpha = _i & 1, wide = _i & 2;
    const double expected[] = {76.245, 149.685, 29.07, 255.0, 123.0, 0.0};
    const png_byte colours[][3] = {{255, 0, 0},     {0, 255, 0},     {0, 0, 255},
                                   {255, 255, 255}, {123, 123, 123}, {0, 0, 0}};
    const struct png_recipe recipe = {
        .width = 6,
        .height = 1,
        .depth = wide ? 16 : 8,
        .type = alpha ? PNG_COLOR_TYPE_RGB_ALPHA : PNG_COLOR_TYPE_RGB,
        .interlace = _i & 4 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
    };
    png_byte row[6 * 8], *byte = row;
    for (int i = 0; i < 6; i++)
        for (int sample = 0; sample < (alpha ? 4 : 3); sample++)
            for (int copy = 0; copy < (wide ? 2 : 1); copy++) /* v * 257 is v in both bytes */
                *byte++ = sample < 3 ? colours[i][sample] : (png_byte)(i * 40);
    put_png(in_room("colour.png"), &recipe, row, 0);
    struct picture picture = read_picture(in_room("colour.png"));
    ck_assert_uint_eq(picture.width, 6);
    for (int i = 0; i < 6; i++)
        ck_assert_float_eq(picture.pixels[i], (float)expected[i]);
    picture_free(&picture);
}
END_TEST

START_TEST(picture_palette)
{
    const png_color palette[] = {{10, 10, 10}, {255, 0, 0}, {0, 0, 255}, {200, 100, 50}};
    const png_byte alpha[] = {0, 128, 255, 7};
    const double expected[] = {10.0, 76.245, 29.07, 124.2};
    for (int depth = 2; depth <= 8; depth *= 2) {
        const struct png_recipe recipe = {
            .width = 4,
            .height = 1,
            .depth = depth,
            .type = PNG_COLOR_TYPE_PALETTE,
            .interlace = _i & 2 ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
            .palette = palette,
            .colours = 4,
            .palette_alpha = _i & 1 ? alpha : NULL,
        };
        png_byte two[] = {0x1b}, four[] = {0x01, 0x23}, eight[] = {0, 1, 2, 3};
        put_png(in_room("palette.png"), &recipe, depth == 2 ? two : depth == 4 ? four : eight, 0);
        struct picture picture = read_picture(in_room("palette.png"));
        for (int i = 0; i < 4; i++)
            ck_assert_float_eq(picture.pixels[i], (float)expected[i]);
        picture_free(&picture);
    }
}
END_TEST

enum { JPEG_HEIGHT = 48, JPEG_WIDTH = 61 };

/* A smooth picture; `space` says what the samples are, `stored` how the file keeps them. */
static void put_jpeg(const char *path, J_COLOR_SPACE space, J_COLOR_SPACE stored, bool progressive)
{
    const int channels = space == JCS_GRAYSCALE ? 1 : space == JCS_RGB ? 3 : 4;
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, stream);
    jpeg.image_height = JPEG_HEIGHT;
    jpeg.image_width = JPEG_WIDTH;
    jpeg.input_components = channels;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_colorspace(&jpeg, stored);
    jpeg_set_quality(&jpeg, 95, TRUE);
    if (progressive)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < JPEG_HEIGHT) {
        JSAMPLE row[JPEG_WIDTH * 4], *rows[] = {row};
        for (unsigned x = 0; x < JPEG_WIDTH; x++)
            for (int i = 0; i < channels; i++) {
                const unsigned sample[] = {x * 4, jpeg.next_scanline * 5, 128, 0};
                row[(int)x * channels + i] = (JSAMPLE)sample[i];
            }
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    ck_assert_int_eq(fclose(stream), 0);
}

START_TEST(picture_jpeg)
{
    static const struct {
        J_COLOR_SPACE space, stored;
        bool progressive;
    } kinds[] = {
        {JCS_GRAYSCALE, JCS_GRAYSCALE, false},
        {JCS_GRAYSCALE, JCS_GRAYSCALE, true},
        {JCS_RGB, JCS_YCbCr, false},
        {JCS_RGB, JCS_YCbCr, true},
        {JCS_RGB, JCS_RGB, false},
    };
    put_jpeg(in_room("x.jpg"), kinds[_i].space, kinds[_i].stored, kinds[_i].progressive);
    struct picture picture = read_picture(in_room("x.jpg"));
    ck_assert_uint_eq(picture.height, JPEG_HEIGHT);
    ck_assert_uint_eq(picture.width, JPEG_WIDTH);
    for (int i = 0; i < JPEG_HEIGHT * JPEG_WIDTH; i++) {
        const int y = i / JPEG_WIDTH, x = i % JPEG_WIDTH;
        const float red = (float)(x * 4), green = (float)(y * 5);
        const float grey =
            kinds[_i].space == JCS_RGB ? 0.299f * red + 0.587f * green + 0.114f * 128.0f : red;
        ck_assert_float_eq_tol(picture.pixels[i], grey, 4.0f);
    }
    picture_free(&picture);
}
END_TEST

START_TEST(picture_jpeg_with_four_inks)
{
    struct picture picture;
    put_jpeg(in_room("ink.jpg"), JCS_CMYK, _i ? JCS_YCCK : JCS_CMYK, false);
    ck_assert_int_eq(picture_read(in_room("ink.jpg"), &picture, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.message, "CMYK"));
    assert_error(ERROR_FORMAT, in_room("ink.jpg"));
}
END_TEST

static void assert_broken(const char *path)
{
    struct picture picture;
    ck_assert_msg(picture_read(path, &picture, &error) == -1, "a broken picture was read");
    ck_assert_ptr_null(picture.pixels);
    ck_assert_ptr_nonnull(strchr(error.message, ':')); /* and a reason */
    assert_error(ERROR_FORMAT, path);
}

/* Makes the small picture number `kind` and returns its bytes. */
static unsigned char *small_picture(const char *path, int kind, size_t *size)
{
    png_byte rows[16 * 16];
    for (int i = 0; i < 16 * 16; i++)
        rows[i] = (png_byte)(i * i * 31);
    const struct png_recipe recipe = {
        .width = 16, .height = 16, .depth = 8, .interlace = kind == 1 ? PNG_INTERLACE_ADAM7 : 0};
    if (kind <= 1)
        put_png(path, &recipe, rows, 16);
    else
        put_jpeg(path, kind == 4 ? JCS_RGB : JCS_GRAYSCALE, kind == 4 ? JCS_YCbCr : JCS_GRAYSCALE,
                 kind >= 3);
    return get(path, size);
}
enum { SMALL_PICTURES = 5 };

/* Either an error, or exactly the pixels of the whole picture: newer versions of the libraries pass
 * over wrong bytes behind the last pixel. */
static void assert_broken_or_same(const char *path, const struct picture *whole)
{
    struct picture picture;
    if (picture_read(path, &picture, &error) != 0) {
        assert_broken(path);
        return;
    }
    ck_assert_uint_eq(picture.height, whole->height);
    ck_assert_uint_eq(picture.width, whole->width);
    ck_assert_mem_eq(picture.pixels, whole->pixels,
                     whole->height * whole->width * sizeof *whole->pixels);
    picture_free(&picture);
}

START_TEST(picture_truncated_anywhere)
{
    size_t size;
    const char *path = in_room("cut");
    unsigned char *bytes = small_picture(path, _i, &size);
    struct picture whole = read_picture(path);
    for (size_t length = 0; length < size; length++) {
        put(path, bytes, length);
        if (length < size / 2)
            assert_broken(path);
        else
            assert_broken_or_same(path, &whole);
    }
    picture_free(&whole);
    free(bytes);
}
END_TEST

/* PNG has checksums: no damaged pixel goes unseen. JPEG has none, so damage may or may not be seen;
 * then all there is to ask is that the reader survives. */
START_TEST(picture_damaged_anywhere)
{
    size_t size;
    const char *path = in_room("damaged");
    unsigned char *bytes = small_picture(path, _i, &size);
    struct picture whole = read_picture(path);
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit += 3) {
            struct picture picture;
            bytes[i] ^= (unsigned char)(1 << bit);
            put(path, bytes, size);
            if (_i <= 1)
                assert_broken_or_same(path, &whole);
            else if (picture_read(path, &picture, &error) == 0)
                picture_free(&picture);
            bytes[i] ^= (unsigned char)(1 << bit);
        }
    }
    picture_free(&whole);
    free(bytes);
}
END_TEST

/* "Turn it by 90 degrees", which is not done: the pixels are as they are stored. */
START_TEST(picture_with_exif_orientation)
{
    static const unsigned char exif[] = {
        0xff, 0xe1, 0,   34,                         /* APP1, its length */
        'E',  'x',  'i', 'f', 0, 0, 'M', 'M', 0, 42, /* big-endian TIFF */
        0,    0,    0,   8,   0, 1,                  /* a directory with one entry: */
        0x01, 0x12, 0,   3,   0, 0, 0,   1,          /* orientation, one short, */
        0,    6,    0,   0,   0, 0, 0,   0};         /* 6; and no further directory */
    const char *path = in_room("turned.jpg");
    size_t size;
    put_jpeg(path, JCS_RGB, JCS_YCbCr, false);
    struct picture plain = read_picture(path);
    unsigned char *bytes = get(path, &size);
    FILE *stream = fopen(path, "wb");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, 2, stream), 2); /* the start of the image */
    ck_assert_uint_eq(fwrite(exif, 1, sizeof exif, stream), sizeof exif);
    ck_assert_uint_eq(fwrite(bytes + 2, 1, size - 2, stream), size - 2);
    ck_assert_int_eq(fclose(stream), 0);
    struct picture turned = read_picture(path);
    ck_assert_uint_eq(turned.height, JPEG_HEIGHT);
    ck_assert_uint_eq(turned.width, JPEG_WIDTH);
    ck_assert_mem_eq(turned.pixels, plain.pixels, sizeof(float) * JPEG_HEIGHT * JPEG_WIDTH);
    picture_free(&plain);
    picture_free(&turned);
    free(bytes);
}
END_TEST

/* The size is in the header: what comes after it need not be there. */
START_TEST(picture_size_alone)
{
    for (int kind = 0; kind < SMALL_PICTURES; kind++) {
        size_t size;
        struct picture picture;
        const char *path = in_room("small");
        unsigned char *bytes = small_picture(path, kind, &size);
        struct picture whole = read_picture(path);
        put(path, bytes, size - 20);
        ck_assert_int_eq(picture_read_size(path, &picture, &error), 0);
        ck_assert_uint_eq(picture.height, whole.height);
        ck_assert_uint_eq(picture.width, whole.width);
        ck_assert_ptr_null(picture.pixels);
        put(path, bytes, 20);
        ck_assert_int_eq(picture_read_size(path, &picture, &error), -1);
        assert_error(ERROR_FORMAT, path);
        picture_free(&whole);
        free(bytes);
    }
}
END_TEST

START_TEST(picture_not_a_picture)
{
    struct picture picture;
    const char *path = in_room("x.png");
    put(path, "", 0);
    assert_broken(path);
    put(path, "This is a text file.\n", 21);
    assert_broken(path);
    put(path, "\x89PNG but no more than that", 26);
    assert_broken(path);
    put(path, "\xff\xff\xff\xff\xff\xff", 6);
    assert_broken(path);
    ck_assert_int_eq(picture_read(room, &picture, &error), -1);
    assert_errno(EISDIR, room);
    ck_assert_int_eq(picture_read(in_room("none.png"), &picture, &error), -1);
    assert_errno(ENOENT, in_room("none.png"));
    ck_assert_int_eq(picture_read(in_room("none.png"), &picture, NULL), -1);
}
END_TEST

/* A few bytes that promise thousands of millions of pixels, refused before memory is taken. */
START_TEST(picture_of_absurd_size)
{
    size_t size;
    const char *path = in_room("bomb");
    const png_uint_32 sizes[][2] = {{1 << 14, (1 << 14) + 1}, {1 << 16, 1 << 16}, {0x7fffffff, 1}};
    for (int i = 0; i < 3; i++) {
        const struct png_recipe recipe = {
            .width = sizes[i][0], .height = sizes[i][1], .depth = 16, .type = PNG_COLOR_TYPE_RGB};
        struct picture picture;
        put_png(path, &recipe, NULL, 0);
        ck_assert_int_eq(picture_read(path, &picture, &error), -1);
        ck_assert_msg(strstr(error.message, "pixels") != NULL, "%s", error.message);
        assert_error(ERROR_FORMAT, path);
    }
    put_jpeg(path, JCS_GRAYSCALE, JCS_GRAYSCALE, false);
    unsigned char *bytes = get(path, &size);
    unsigned char *frame = memmem(bytes, size, "\xff\xc0", 2);
    ck_assert_ptr_nonnull(frame);
    memset(frame + 5, 0xfa, 4); /* height and width: 64250 each */
    put(path, bytes, size);
    free(bytes);
    struct picture picture;
    ck_assert_int_eq(picture_read(path, &picture, &error), -1);
    ck_assert_msg(strstr(error.message, "pixels") != NULL, "%s", error.message);
    assert_error(ERROR_FORMAT, path);
}
END_TEST

/* The libraries' own messages must not reach a student's terminal. */
START_TEST(picture_prints_nothing)
{
    size_t size;
    struct stat status;
    const char *log = in_room("log"), *path = in_room("cut");
    const int saved = dup(STDERR_FILENO), output = open(log, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_ge(saved, 0);
    ck_assert_int_ge(output, 0);
    ck_assert_int_ge(dup2(output, STDERR_FILENO), 0);
    for (int kind = 0; kind < SMALL_PICTURES; kind++) {
        unsigned char *bytes = small_picture(path, kind, &size);
        for (size_t length = 1; length < size; length += 5) {
            struct picture picture;
            bytes[length] ^= 0x55;
            put(path, bytes, length);
            ck_assert_int_eq(picture_read(path, &picture, &error), -1);
            put(path, bytes, size);
            if (picture_read(path, &picture, &error) == 0)
                picture_free(&picture);
            bytes[length] ^= 0x55;
        }
        free(bytes);
    }
    ck_assert_int_eq(fflush(stderr), 0);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(saved);
    close(output);
    ck_assert_int_eq(stat(log, &status), 0);
    ck_assert_int_eq(status.st_size, 0);
}
END_TEST

/* ---- lists of pictures ---------------------------------------------------------------------- */

START_TEST(list_of_directory_and_files)
{
    static const char *const names[] = {"b.PNG",    "a.jpeg",    "c.JPG",    "d.txt", "png",
                                        "e.png.gz", "sub/z.png", "empty.d/", "Z.png"};
    ck_assert_int_eq(mkdir(in_room("sub"), 0777), 0);
    ck_assert_int_eq(mkdir(in_room("deep.png"), 0777), 0);
    ck_assert_int_eq(mkdir(in_room("empty.d"), 0777), 0);
    for (int i = 0; i < 9; i++)
        if (i != 7)
            put(in_room(names[i]), "", 0);
    ck_assert_int_eq(mkfifo(in_room("sub/pipe.jpg"), 0600), 0);

    size_t count = 0;
    const char *const paths[] = {in_room("d.txt"), room, in_room("empty.d"), in_room("sub/")};
    struct picture_file *list = picture_list(paths, 4, &count, &error);
    ck_assert_msg(list != NULL, "%s", error.message);
    static const char *const expected[] = {"d.txt", "Z.png",    "a.jpeg",       "b.PNG",
                                           "c.JPG", "deep.png", "sub/pipe.jpg", "sub/z.png"};
    ck_assert_uint_eq(count, 8);
    for (int i = 0; i < 8; i++) {
        ck_assert_str_eq(list[i].path, in_room(expected[i]));
        ck_assert(list[i].found == (i > 0));
    }
    picture_free_list(list, count);
}
END_TEST

START_TEST(list_of_many)
{
    char name[32];
    size_t count;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%03d.png", (i * 37) % 100);
        put(in_room(name), "", 0);
    }
    const char *const paths[] = {room, room};
    struct picture_file *list = picture_list(paths, 2, &count, &error);
    ck_assert_ptr_nonnull(list);
    ck_assert_uint_eq(count, 200);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "%03d.png", i % 100);
        ck_assert_str_eq(list[i].path, in_room(name));
    }
    picture_free_list(list, count);
}
END_TEST

/* Good and bad pictures in two folders: the good ones keep their order and get files of their own.
 */
START_TEST(set_of_good_and_bad)
{
    const float pixels[48] = {1};
    struct picture_set set;
    ck_assert_int_eq(mkdir(in_room("sub"), 0777), 0);
    ck_assert_int_eq(picture_write(in_room("a.png"), pixels, 6, 8, 1, &error), 0);
    ck_assert_int_eq(picture_write(in_room("sub/a.PNG"), pixels, 8, 6, 1, &error), 0);
    ck_assert_int_eq(picture_write(in_room("sub/flat.png"), pixels, 4, 12, 1, &error), 0);
    put(in_room("broken.png"), "no picture", 10);

    const char *const paths[] = {room, in_room("sub")};
    ck_assert_int_eq(picture_set_open(&set, paths, 2, 5, &error), 0);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_ptr_null(set.pictures[0].pixels);
    picture_set_load(&set);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_ptr_nonnull(set.pictures[1].pixels);
    ck_assert_uint_eq(set.pictures[0].height, 6);
    ck_assert_uint_eq(set.pictures[1].height, 8);
    ck_assert_str_eq(set.names[1], in_room("sub/a.PNG"));
    ck_assert_uint_eq(set.bad_count, 2);
    ck_assert_ptr_nonnull(strstr(set.bad[0].message, in_room("broken.png")));
    ck_assert_ptr_nonnull(strstr(set.bad[1].message, in_room("sub/flat.png")));

    char *first = picture_set_output(&set, 0, "out", "_edges");
    char *second = picture_set_output(&set, 1, "out", "_edges");
    ck_assert_str_eq(first, "out/a_edges.png");
    ck_assert_str_eq(second, "out/a_edges-2.png");
    free(first);
    free(second);
    picture_set_free(&set);
    ck_assert_uint_eq(set.count, 0);

    const char *const missing[] = {in_room("missing")};
    ck_assert_int_eq(picture_set_open(&set, missing, 1, 5, &error), -1);
    assert_errno(ENOENT, missing[0]);
}
END_TEST

/* What only its pixels show: the size is good, the rest is missing; or changed in between. */
START_TEST(set_whose_pictures_turn_out_bad)
{
    const float pixels[48] = {1};
    struct picture_set set;
    size_t size;
    static const char *const names[] = {"a.png", "b.png", "c.png", "d.png"};
    const char *const paths[] = {room};
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(picture_write(in_room(names[i]), pixels, 6, 8, 1, &error), 0);
    unsigned char *bytes = get(in_room("a.png"), &size);
    put(in_room("a.png"), bytes, size - 20);
    free(bytes);
    ck_assert_int_eq(picture_set_open(&set, paths, 1, 5, &error), 0);
    ck_assert_uint_eq(set.count, 4);
    ck_assert_uint_eq(set.bad_count, 0);
    ck_assert_int_eq(picture_write(in_room("c.png"), pixels, 4, 12, 1, &error), 0);
    picture_set_load(&set);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_str_eq(set.names[0], in_room("b.png"));
    ck_assert_str_eq(set.names[1], in_room("d.png"));
    ck_assert_uint_eq(set.bad_count, 2);
    ck_assert_ptr_nonnull(strstr(set.bad[0].message, in_room("a.png")));
    ck_assert_ptr_nonnull(strstr(set.bad[1].message, in_room("c.png")));
    picture_set_free(&set);
}
END_TEST

/* Nobody writes into the pipe: to open it would wait for ever. */
START_TEST(set_with_what_is_no_file)
{
    const float pixels[48] = {1};
    struct picture_set set;
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket.png"};
    const int here = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_ge(here, 0);
    ck_assert_int_eq(chdir(room), 0);
    ck_assert_int_eq(bind(here, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(mkfifo("pipe.jpg", 0600), 0);
    ck_assert_int_eq(mkdir("folder.png", 0700), 0);
    ck_assert_int_eq(symlink("nowhere", "dangling.png"), 0);
    ck_assert_int_eq(symlink("/dev/zero", "device.png"), 0);
    ck_assert_int_eq(symlink("good.png", "link.png"), 0);
    ck_assert_int_eq(picture_write("good.png", pixels, 6, 8, 1, &error), 0);
    const char *const paths[] = {"."};
    ck_assert_int_eq(picture_set_open(&set, paths, 1, 5, &error), 0);
    picture_set_load(&set);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_str_eq(set.names[0], "./good.png");
    ck_assert_str_eq(set.names[1], "./link.png");
    static const char *const expected[][2] = {{"./dangling.png: ", "No such file"},
                                              {"./device.png: ", "device"},
                                              {"./folder.png: ", "directory"},
                                              {"./pipe.jpg: ", "pipe"},
                                              {"./socket.png: ", "socket"}};
    ck_assert_uint_eq(set.bad_count, 5);
    for (int i = 0; i < 5; i++)
        for (int part = 0; part < 2; part++)
            ck_assert_msg(strstr(set.bad[i].message, expected[i][part]) != NULL, "%s: not '%s'",
                          set.bad[i].message, expected[i][part]);
    picture_set_free(&set);
    close(here);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

/* A pipe that the caller names is read. */
START_TEST(set_of_a_pipe)
{
    const float pixels[48] = {1};
    struct picture_set set;
    size_t size;
    ck_assert_int_eq(picture_write(in_room("a.png"), pixels, 6, 8, 1, &error), 0);
    ck_assert_int_eq(mkfifo(in_room("pipe"), 0600), 0);
    unsigned char *bytes = get(in_room("a.png"), &size);
    const int both_ends = open(in_room("pipe"), O_RDWR);
    ck_assert_int_ge(both_ends, 0);
    ck_assert_int_eq(write(both_ends, bytes, size), (ssize_t)size);
    const char *const paths[] = {in_room("pipe"), in_room("a.png")};
    ck_assert_int_eq(picture_set_open(&set, paths, 2, 5, &error), 0);
    picture_set_load(&set);
    ck_assert_uint_eq(set.bad_count, 0);
    ck_assert_uint_eq(set.count, 2);
    ck_assert_mem_eq(set.pictures[0].pixels, pixels, sizeof pixels);
    ck_assert_mem_eq(set.pictures[1].pixels, pixels, sizeof pixels);
    picture_set_free(&set);
    close(both_ends);
    free(bytes);
}
END_TEST

START_TEST(list_cannot_be_made)
{
    size_t count = 77;
    put(in_room("a.png"), "", 0);
    const char *const missing[] = {in_room("a.png"), in_room("missing")};
    ck_assert_ptr_null(picture_list(missing, 2, &count, &error));
    assert_errno(ENOENT, missing[1]);
    ck_assert_int_eq(unlink(in_room("a.png")), 0);
    const char *const empty[] = {room};
    ck_assert_ptr_null(picture_list(empty, 1, &count, &error));
    assert_error(ERROR_INVALID, room);
    ck_assert_ptr_null(picture_list(empty, 0, &count, &error));
    assert_error(ERROR_INVALID, "no path");
    ck_assert_uint_eq(count, 77);
    picture_free_list(NULL, 0);
}
END_TEST

/* --------------------------------------------------------------------------------------------- */

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, enter_room, NULL);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("data");

    TCase *message = add_case(suite, "message");
    tcase_add_test(message, message_of_a_long_path);
    tcase_add_test(message, message_stays_utf8);

    TCase *random = add_case(suite, "random");
    tcase_add_test(random, random_words_and_doubles);
    tcase_add_test(random, random_normals);
    tcase_add_test(random, random_image_mean_and_state);
    tcase_add_test(random, random_normals_in_pieces);
    tcase_add_test(random, random_seed_forgets);
    tcase_add_test(random, random_permutations);

    TCase *file = add_case(suite, "file");
    tcase_add_loop_test(file, file_appears_at_commit, 0, 2);
    tcase_add_loop_test(file, file_abandoned_leaves_nothing, 0, 2);
    tcase_add_loop_test(file, file_of_a_killed_process, 0, 2);
    tcase_add_loop_test(file, file_replaces_the_old_one, 0, 2);
    tcase_add_loop_test(file, file_permissions, 0, 2);
    tcase_add_loop_test(file, file_follows_links, 0, 2);
    tcase_add_loop_test(file, file_in_current_directory, 0, 2);
    tcase_add_loop_test(file, file_cannot_be_created, 0, 2);
    tcase_add_loop_test(file, file_beyond_size_limit, 0, 2);
    tcase_add_test(file, file_on_full_device);
    tcase_add_test(file, file_into_fifo);
    tcase_add_test(file, file_through_descriptor_link);
    tcase_add_test(file, file_directories);

    TCase *npy = add_case(suite, "npy");
    tcase_add_loop_test(npy, npy_round_trips, NPY_FLOAT32, NPY_UINT8 + 1);
    tcase_add_test(npy, npy_cannot_write);
    tcase_add_test(npy, npy_headers_of_others);
    tcase_add_test(npy, npy_cannot_read);
    tcase_add_test(npy, npy_truncated_anywhere);
    tcase_add_test(npy, npy_from_pipe);

    TCase *picture = add_case(suite, "picture");
    tcase_add_test(picture, picture_round_trip);
    tcase_add_test(picture, picture_of_one_pixel);
    tcase_add_test(picture, picture_rounds_and_limits);
    tcase_add_test(picture, picture_cannot_write);
    tcase_add_loop_test(picture, picture_16_bit_grey, 0, 4);
    tcase_add_loop_test(picture, picture_grey_depths, 0, 2);
    tcase_add_loop_test(picture, picture_colour_weights, 0, 8);
    tcase_add_loop_test(picture, picture_palette, 0, 4);
    tcase_add_loop_test(picture, picture_jpeg, 0, 5);
    tcase_add_loop_test(picture, picture_jpeg_with_four_inks, 0, 2);
    tcase_add_loop_test(picture, picture_truncated_anywhere, 0, SMALL_PICTURES);
    tcase_add_loop_test(picture, picture_damaged_anywhere, 0, SMALL_PICTURES);
    tcase_add_test(picture, picture_with_exif_orientation);
    tcase_add_test(picture, picture_size_alone);
    tcase_add_test(picture, picture_not_a_picture);
    tcase_add_test(picture, picture_of_absurd_size);
    tcase_add_test(picture, picture_prints_nothing);

    TCase *list = add_case(suite, "list");
    tcase_add_test(list, list_of_directory_and_files);
    tcase_add_test(list, list_of_many);
    tcase_add_test(list, list_cannot_be_made);
    tcase_add_test(list, set_of_good_and_bad);
    tcase_add_test(list, set_whose_pictures_turn_out_bad);
    tcase_add_test(list, set_with_what_is_no_file);
    tcase_add_test(list, set_of_a_pipe);

    SRunner *runner = srunner_create(suite);
    if (build_house() < 0) {
        perror(house);
        return EXIT_FAILURE;
    }
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (tear_down_house() < 0) {
        perror(house);
        return EXIT_FAILURE;
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
