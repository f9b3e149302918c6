/* shared_array.c - arrays in shared memory, and names under which other programs find them.
 *
 * A name is a small file in /dev/shm that describes an array. The data stay where they are: who
 * opens the name maps the creator's memory through /proc, and holds a lock on it for as long as it
 * does, which the creator asks about before it uses the memory again (arena.c). */
#include "common/parallel/shared_array.h"
#include "common/parallel/arena.h"
#include "common/parallel/descriptors.h"
#include "common/parallel/shared_memory.h"
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "'<' is taken for this machine's order");

#define DIRECTORY    "/dev/shm/"
#define LONGEST_NAME 200
#define MAGIC        "forkjoin"
#define VERSION      1

/* What a name leads to: what the array is, and where its memory is to be found. Sizes are this
 * machine's, since nobody else can open it. */
struct description {
    char magic[8];
    uint32_t version, size; /* of this struct */
    uint32_t alive;         /* 0 from the moment the name is taken away */
    int32_t dimensions;
    char dtype[SHARED_ARRAY_DTYPE_LENGTH];
    size_t shape[SHARED_ARRAY_MAX_DIMENSIONS];
    size_t bytes, offset; /* of the data, in the creator's arena */
    /* The creator. A process id is used again some day, but not with the same start time, and
     * means something in one namespace only (a container has its own). */
    uint64_t start_time, pid_namespace;
    int32_t pid, fd;        /* the arena is /proc/pid/fd/fd ... */
    uint64_t device, inode; /* ... if it still is this file */
};

struct handle {
    struct shared_array array; /* first: its address is the caller's */
    pid_t creator;             /* the process that created it; 0: it was opened */
    int fd; /* opened: the file whose lock keeps the memory; created: the page; -1: has no name */
    char path[sizeof DIRECTORY + LONGEST_NAME];
};

/* ---- Types and shapes ----------------------------------------------------------------------- */

/* The bytes of an element, and the type as NumPy writes it; 0: there is no such type. */
static size_t parse_dtype(char *normal, const char *dtype)
{
    const size_t length = dtype ? strnlen(dtype, SHARED_ARRAY_DTYPE_LENGTH) : 0;
    if (length < 3 || length == SHARED_ARRAY_DTYPE_LENGTH || !strchr("<=|", dtype[0]) ||
        dtype[2] == '0' || strspn(dtype + 2, "0123456789") != length - 2)
        return 0;
    const char kind = dtype[1];
    const size_t size = strtoull(dtype + 2, NULL, 10); /* 13 digits at most */
    const size_t allowed = kind == 'b'                  ? 1
                           : kind == 'i' || kind == 'u' ? 1 | 2 | 4 | 8
                           : kind == 'f'                ? 2 | 4 | 8 | 16
                           : kind == 'c'                ? 8 | 16 | 32
                                                        : 0;
    const bool has_order = kind != 'S' && kind != 'V' && size > 1;
    if (kind != 'S' && kind != 'V' && ((size & (size - 1)) != 0 || (size & allowed) == 0))
        return 0;
    memcpy(normal, dtype, length + 1);
    normal[0] = has_order ? '<' : '|';
    return size;
}

/* Fills in all of *array but data. */
static int set_layout(struct shared_array *array, const char *dtype, int dimensions,
                      const size_t *shape, struct error *error)
{
    array->item_size = parse_dtype(array->dtype, dtype);
    if (array->item_size == 0)
        return error_set(error, ERROR_INVALID, "shared array: there is no type '%.32s'",
                         dtype ? dtype : "");
    if (dimensions < 0 || dimensions > SHARED_ARRAY_MAX_DIMENSIONS || (dimensions > 0 && !shape))
        return error_set(error, ERROR_INVALID,
                         "shared array of %d dimensions: 0 to %d are possible", dimensions,
                         SHARED_ARRAY_MAX_DIMENSIONS);
    array->dimensions = dimensions;
    array->count = 1;
    for (int i = 0; i < dimensions; i++) {
        array->shape[i] = shape[i];
        if (shape[i] == 0)
            return error_set(error, ERROR_INVALID,
                             "shared array: its dimension %d is 0, so it has no elements", i);
        if (__builtin_mul_overflow(array->count, shape[i], &array->count))
            return error_set(error, ERROR_INVALID, "shared array: its shape overflows");
    }
    if (__builtin_mul_overflow(array->count, array->item_size, &array->bytes))
        return error_set(error, ERROR_INVALID, "shared array: %zu elements of %zu bytes overflow",
                         array->count, array->item_size);
    return 0;
}

/* ---- The creator, as others see it ---------------------------------------------------------- */

/* When the process was started, in ticks since the machine was: 1. It is no more: 0. That cannot be
 * seen: -1. */
static int find_start_time(uint64_t *ticks, pid_t pid)
{
    char path[32], text[1024], state;
    unsigned long long value;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT ? 0 : -1;
    const size_t length = fread(text, 1, sizeof text - 1, file);
    const bool ended = ferror(file) && errno == ESRCH; /* between the two calls */
    fclose(file);
    text[length] = '\0';
    const char *end_of_name = strrchr(text, ')'); /* which may hold anything, ')' too */
    if (!end_of_name ||
        sscanf(end_of_name,
               ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
               &state, &value) != 2) {
        errno = EIO;
        return ended ? 0 : -1;
    }
    *ticks = value;
    return state != 'Z' && state != 'X'; /* dead, and nobody has waited for it */
}

/* 0: not known. */
static uint64_t pid_namespace(void)
{
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

#define MEMORY_PATH_SIZE 40

static void memory_path(char path[MEMORY_PATH_SIZE], const struct description *description)
{
    snprintf(path, MEMORY_PATH_SIZE, "/proc/%d/fd/%d", description->pid, description->fd);
}

static bool is_its_memory(const struct description *description, const struct stat *status)
{
    return status->st_dev == description->device && status->st_ino == description->inode;
}

/* Is the creator there, and has it its memory? 1, 0, or -1: that cannot be seen from here. */
static int creator_is_there(const struct description *description)
{
    char path[MEMORY_PATH_SIZE];
    struct stat status;
    uint64_t ticks;
    if (description->pid_namespace != pid_namespace()) {
        errno = EACCES;
        return -1;
    }
    const int runs = find_start_time(&ticks, description->pid);
    if (runs != 1)
        return runs;
    if (ticks != description->start_time)
        return 0;
    memory_path(path, description);
    if (stat(path, &status) == 0)
        return is_its_memory(description, &status);
    return errno == ENOENT || errno == ESRCH ? 0 : -1;
}

/* ---- The page that has the name ------------------------------------------------------------- */

static int make_path(char *path, const char *name, struct error *error)
{
    const size_t length = name ? strnlen(name, LONGEST_NAME + 1) : 0;
    if (length == 0 || length > LONGEST_NAME || strchr(name, '/') || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return error_set(error, ERROR_INVALID,
                         "'%.64s' cannot be a shared array's name: 1 to %d characters, no '/'",
                         name ? name : "", LONGEST_NAME);
    memcpy(path, DIRECTORY, sizeof DIRECTORY - 1);
    memcpy(path + sizeof DIRECTORY - 1, name, length + 1);
    return 0;
}

static int not_an_array(const char *path, const char *why, struct error *error)
{
    return error_set(error, ERROR_FORMAT, "%s is not a shared array: %s", path, why);
}

/* Believes nothing that it has not checked: anybody's file may be here. Also fills in all of
 * *array but data. */
static int read_page(int page, const char *path, struct description *description,
                     struct shared_array *array, struct error *error)
{
    struct stat status;
    if (fstat(page, &status) != 0)
        return error_set_errno(error, "cannot read %s", path);
    if (status.st_uid != geteuid()) { /* whom root could read, but should not trust */
        errno = EACCES;
        return error_set_errno(error, "%s belongs to another user", path);
    }
    if (!S_ISREG(status.st_mode) || status.st_size != sizeof *description ||
        pread(page, description, sizeof *description, 0) != sizeof *description)
        return not_an_array(path, "wrong size", error);
    if (memcmp(description->magic, MAGIC, sizeof description->magic) != 0)
        return not_an_array(path, "wrong magic", error);
    if (description->version != VERSION || description->size != sizeof *description)
        return not_an_array(path, "another version", error);
    if (set_layout(array, description->dtype, description->dimensions, description->shape, NULL) !=
            0 ||
        strcmp(array->dtype, description->dtype) != 0 || array->bytes != description->bytes ||
        description->offset % (size_t)sysconf(_SC_PAGESIZE) != 0)
        return not_an_array(path, "wrong type or shape", error);
    return 0;
}

static int open_page(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static bool has_path(int page, const char *path)
{
    struct stat of_page, of_path;
    return fstat(page, &of_page) == 0 && lstat(path, &of_path) == 0 &&
           of_page.st_dev == of_path.st_dev && of_page.st_ino == of_path.st_ino;
}

/* ---- Create, publish ------------------------------------------------------------------------ */

struct shared_array *shared_array_create(const char *dtype, int dimensions, const size_t *shape,
                                         struct error *error)
{
    struct handle *handle = calloc(1, sizeof *handle);
    if (!handle) {
        error_set(error, ERROR_MEMORY, "no memory for a shared array");
        return NULL;
    }
    handle->creator = getpid();
    handle->fd = -1;
    if (set_layout(&handle->array, dtype, dimensions, shape, error) == 0)
        handle->array.data = shared_memory_allocate(handle->array.bytes, 1, error);
    if (!handle->array.data) {
        free(handle);
        return NULL;
    }
    return &handle->array;
}

static int describe(struct description *description, const struct handle *handle,
                    struct error *error)
{
    const struct shared_array *array = &handle->array;
    const struct arena_place *arena = arena_place();
    struct stat status;
    uint64_t ticks;
    if (fstat(arena->fd, &status) != 0 || find_start_time(&ticks, handle->creator) != 1)
        return error_set_errno(error, "cannot publish %s", handle->path);
    *description = (struct description){
        .version = VERSION,
        .size = sizeof *description,
        .alive = 1,
        .dimensions = array->dimensions,
        .bytes = array->bytes,
        .offset = (size_t)((const char *)array->data - (const char *)arena->base),
        .start_time = ticks,
        .pid_namespace = pid_namespace(),
        .pid = handle->creator,
        .fd = arena->fd,
        .device = status.st_dev,
        .inode = status.st_ino,
    };
    memcpy(description->magic, MAGIC, sizeof description->magic); /* without the string's end */
    memcpy(description->dtype, array->dtype, sizeof description->dtype);
    memcpy(description->shape, array->shape, sizeof description->shape);
    return 0;
}

/* Takes the path from a page whose creator is gone. Several programs may try at the same time: the
 * one that has locked the page and sees that it still has the path does it. False: the path is
 * not to be had. */
static bool clear_path(const char *path)
{
    struct description description = {.size = 0};
    struct shared_array array;
    bool clear = false;
    const int page = open_page(path);
    if (page < 0)
        return errno == ENOENT; /* somebody did it a moment ago */
    if (read_page(page, path, &description, &array, NULL) == 0 &&
        creator_is_there(&description) == 0) {
        int failed;
        do
            failed = flock(page, LOCK_EX);
        while (failed && errno == EINTR);
        clear = !failed && (!has_path(page, path) || unlink(path) == 0);
    }
    close(page);
    return clear;
}

/* The page is complete before it has a name, and a program killed before that leaves nothing. */
static int make_page(const struct description *description, const char *path, struct error *error)
{
    char nameless[32];
    const int page = open(DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (page < 0)
        return error_set_errno(error, "cannot publish %s", path);
    errno = ENOSPC;                /* of a write that is cut short */
    if (fchmod(page, 0600) != 0 || /* whatever the umask took away */
        pwrite(page, description, sizeof *description, 0) != sizeof *description)
        goto failed;
    snprintf(nameless, sizeof nameless, "/proc/self/fd/%d", page);
    while (linkat(AT_FDCWD, nameless, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0) {
        if (errno != EEXIST)
            goto failed;
        if (!clear_path(path)) {
            errno = EEXIST;
            goto failed;
        }
    }
    return page;

failed:
    error_set_errno(error, "cannot publish %s", path);
    close(page);
    return -1;
}

int shared_array_publish(struct shared_array *array, const char *name, struct error *error)
{
    struct handle *handle = (struct handle *)array;
    struct description description;
    if (handle->creator != getpid())
        return error_set(error, ERROR_INVALID,
                         "only the process that created a shared array can publish it");
    if (handle->fd >= 0)
        return error_set(error, ERROR_INVALID, "the shared array is published already, as %s",
                         handle->path);
    if (make_path(handle->path, name, error) != 0 || describe(&description, handle, error) != 0)
        return -1;
    arena_mark_published(array->data);
    descriptors_lock();
    handle->fd = make_page(&description, handle->path, error);
    descriptors_own(handle->fd);
    descriptors_unlock();
    return handle->fd < 0 ? -1 : 0;
}

int shared_array_unpublish(struct shared_array *array, struct error *error)
{
    struct handle *handle = (struct handle *)array;
    const uint32_t alive = 0;
    int status = 0;
    if (handle->creator != getpid() || handle->fd < 0)
        return error_set(error, ERROR_INVALID, "the shared array has not been published %s",
                         handle->creator != getpid() ? "by this process" : "or is no more");
    /* In this order: who opens the name looks at `alive` again after he has locked the memory, and
     * this process looks at the locks after it has cleared `alive`: one of them sees the other. */
    if (pwrite(handle->fd, &alive, sizeof alive, offsetof(struct description, alive)) !=
            sizeof alive ||
        (has_path(handle->fd, handle->path) && unlink(handle->path) != 0))
        status = error_set_errno(error, "cannot take away %s", handle->path);
    descriptors_close(handle->fd);
    handle->fd = -1;
    return status;
}

/* ---- Open, close ---------------------------------------------------------------------------- */

static int creator_is_gone(const char *path, const struct description *description,
                           struct error *error)
{
    errno = ESRCH;
    return error_set_errno(error, "the creator of %s, process %d, is gone", path, description->pid);
}

/* Opens the creator's memory and locks the array's part of it. The descriptor, or -1. */
static int open_memory(const struct description *description, bool read_only, const char *path,
                       struct error *error)
{
    char memory[MEMORY_PATH_SIZE];
    struct stat status;
    const int there = creator_is_there(description);
    if (there == 0)
        return creator_is_gone(path, description, error);
    memory_path(memory, description);
    const int fd =
        there < 0
            ? -1
            : open(memory, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ESRCH))
        return creator_is_gone(path, description, error);
    if (fd < 0)
        return error_set_errno(error, "the memory of %s, of process %d, is out of reach", path,
                               description->pid);
    struct flock lock = {.l_type = F_RDLCK,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)description->offset,
                         .l_len = (off_t)description->bytes};
    if (fstat(fd, &status) != 0 || !is_its_memory(description, &status)) {
        creator_is_gone(path, description, error);
    } else if (description->offset > (size_t)status.st_size ||
               description->bytes > (size_t)status.st_size - description->offset ||
               (fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) == 0) {
        not_an_array(path, "its memory does not hold it", error);
    } else if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        error_set_errno(error, "cannot lock the memory of %s", path);
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

/* The array that the page describes, in *handle. */
static int open_array(struct handle *handle, int page, bool read_only, struct error *error)
{
    struct shared_array *array = &handle->array;
    struct description description = {.size = 0};
    uint32_t alive = 0;
    if (read_page(page, handle->path, &description, array, error) != 0)
        return -1;
    descriptors_lock();
    handle->fd = open_memory(&description, read_only, handle->path, error);
    descriptors_own(handle->fd);
    descriptors_unlock();
    if (handle->fd < 0)
        return -1;
    if (pread(page, &alive, sizeof alive, offsetof(struct description, alive)) != sizeof alive ||
        alive != 1) {
        errno = ENOENT;
        return error_set_errno(error, "%s is just being taken away", handle->path);
    }
    array->read_only = read_only;
    array->data = mmap(NULL, array->bytes, read_only ? PROT_READ : PROT_READ | PROT_WRITE,
                       MAP_SHARED, handle->fd, (off_t)description.offset);
    if (array->data == MAP_FAILED)
        return error_set_errno(error, "cannot map %s", handle->path);
    madvise(array->data, array->bytes, MADV_DONTDUMP); /* as in the program that made it */
    return 0;
}

struct shared_array *shared_array_open(const char *name, bool read_only, struct error *error)
{
    struct handle *handle = calloc(1, sizeof *handle);
    if (!handle) {
        error_set(error, ERROR_MEMORY, "no memory for a shared array");
        return NULL;
    }
    handle->fd = -1;
    int page = -1, status = make_path(handle->path, name, error);
    if (status == 0) {
        page = open_page(handle->path);
        status = page < 0 ? error_set_errno(error, "cannot open %s", handle->path)
                          : open_array(handle, page, read_only, error);
    }
    if (page >= 0)
        close(page);
    if (status == 0)
        return &handle->array;
    descriptors_close(handle->fd);
    free(handle);
    return NULL;
}

void shared_array_close(struct shared_array *array)
{
    struct handle *handle = (struct handle *)array;
    if (!handle)
        return;
    if (handle->creator == 0) {
        munmap(array->data, array->bytes);
        descriptors_close(handle->fd); /* and with it the lock */
    } else if (handle->creator == getpid()) {
        if (handle->fd >= 0)
            shared_array_unpublish(array, NULL);
        shared_memory_free(array->data);
    } else if (handle->fd >= 0) { /* a forked copy of the creator: all is the creator's */
        descriptors_close(handle->fd);
    }
    free(handle);
}
