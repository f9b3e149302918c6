/* The new file has no name until it is complete (O_TMPFILE), so that not even kill -9 leaves
 * anything behind; a file system that cannot do that gets a temporary name in the same
 * directory. Either way rename() puts the finished file in place in one step.
 *
 * The stream writes through write_some, not through stdio's own write, for two reasons: it keeps
 * the errno of the first failure, which stdio forgets, and it turns the signals of a file size
 * limit and of a pipe without a reader into the errors EFBIG and EPIPE.
 */
#include "common/data/file.h"
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct file {
    FILE *stream;
    int descriptor;
    int write_errno;          /* of the first write that failed, else 0 */
    bool direct;              /* a device or pipe: nothing to rename */
    bool named;               /* `temporary` exists and is ours */
    char path[PATH_MAX];      /* as the caller named it, for messages */
    char target[PATH_MAX];    /* the same with its links followed */
    char temporary[PATH_MAX]; /* a name in the target's directory */
};

/* write() with SIGXFSZ and SIGPIPE held back: both go to the thread that wrote, so this thread
 * can take a pending one off the list before it lets signals in again. */
static ssize_t write_quietly(int descriptor, const char *data, size_t size)
{
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGXFSZ);
    sigaddset(&signals, SIGPIPE);
    const int failure = pthread_sigmask(SIG_BLOCK, &signals, &before);
    if (failure) {
        errno = failure;
        return -1;
    }
    const ssize_t written = write(descriptor, data, size);
    const int number = errno;
    if (written < 0 && (number == EFBIG || number == EPIPE)) {
        const struct timespec now = {0};
        while (sigtimedwait(&signals, NULL, &now) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = number;
    return written;
}

/* The write function of the stream: all of it, or less on failure (fopencookie's rule). */
static ssize_t write_some(void *cookie, const char *data, size_t size)
{
    struct file *file = cookie;
    size_t done = 0;
    while (done < size && !file->write_errno) {
        const ssize_t written = write_quietly(file->descriptor, data + done, size - done);
        if (written >= 0)
            done += (size_t)written;
        else if (errno != EINTR)
            file->write_errno = errno;
    }
    if (done < size)
        errno = file->write_errno;
    return (ssize_t)done;
}

/* Such a link stands for an open file, not for a name; /dev/stdout leads to one. */
static bool is_descriptor_link(const char *path)
{
    return strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/dev/fd/", 8) == 0;
}

/* Follows the links at the end of file->target, dangling ones too, so that the file they lead to
 * is replaced and not the link. */
static int follow_links(struct file *file)
{
    for (int hops = 0; hops < 40; hops++) {
        char link[PATH_MAX];
        const ssize_t length = readlink(file->target, link, sizeof link);
        if (length < 0)
            return errno == EINVAL || errno == ENOENT ? 0 : -1; /* no link, or no file: the end */
        if (is_descriptor_link(file->target)) {
            file->direct = true;
            return 0;
        }
        const char *slash = strrchr(file->target, '/');
        const size_t directory = link[0] == '/' || !slash ? 0 : (size_t)(slash + 1 - file->target);
        if (directory + (size_t)length >= sizeof file->target) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(file->target + directory, link, (size_t)length);
        file->target[directory + (size_t)length] = '\0';
    }
    errno = ELOOP;
    return -1;
}

/* Calls make(file) with temporary names in the target's directory until one is free. */
static int with_temporary_name(struct file *file, int (*make)(struct file *))
{
    const char *slash = strrchr(file->target, '/');
    const int directory = slash ? (int)(slash + 1 - file->target) : 0;
    for (int attempt = 0; attempt < 1000; attempt++) {
        const int length = snprintf(file->temporary, sizeof file->temporary, "%.*s.%ld-%d.tmp",
                                    directory, file->target, (long)getpid(), attempt);
        if (length >= (int)sizeof file->temporary) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (make(file) == 0) {
            file->named = true;
            return 0;
        }
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

static int create_named(struct file *file)
{
    file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return file->descriptor < 0 ? -1 : 0;
}

static void descriptor_path(const struct file *file, char *path, size_t size)
{
    snprintf(path, size, "/proc/self/fd/%d", file->descriptor);
}

static int link_unnamed(struct file *file)
{
    char path[64];
    descriptor_path(file, path, sizeof path);
    return linkat(AT_FDCWD, path, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW);
}

/* An unnamed file in the target's directory. Without /proc it could never get its name. */
static int create_unnamed(struct file *file)
{
    char directory[PATH_MAX] = ".", path[64];
    const char *slash = strrchr(file->target, '/');
    if (slash)
        snprintf(directory, sizeof directory, "%.*s", (int)(slash + 1 - file->target),
                 file->target);
    file->descriptor = open(directory, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    if (file->descriptor < 0)
        return -1;
    descriptor_path(file, path, sizeof path);
    if (access(path, F_OK) == 0)
        return 0;
    close(file->descriptor);
    file->descriptor = -1;
    return -1;
}

/* Opens file->descriptor on what will become, or already is, file->path. */
static int open_target(struct file *file)
{
    struct stat status;
    const bool exists = stat(file->path, &status) == 0;
    if (!exists && errno != ENOENT)
        return -1;
    if (exists && !S_ISREG(status.st_mode))
        file->direct = true;
    else if (follow_links(file) < 0)
        return -1;
    if (file->direct) {
        file->descriptor = open(file->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
        return file->descriptor < 0 ? -1 : 0;
    }
    /* rename() would replace a write-protected file without asking. */
    if (exists && access(file->path, W_OK) < 0)
        return -1;
    if (create_unnamed(file) < 0 && with_temporary_name(file, create_named) < 0)
        return -1;
    /* A replaced file keeps its permissions, as if it had been opened and truncated. */
    return exists ? fchmod(file->descriptor, status.st_mode & 0777) : 0;
}

struct file *file_create(const char *path, struct error *error)
{
    struct file *file = calloc(1, sizeof *file);
    if (!file) {
        error_set(error, ERROR_MEMORY, "%s: no memory to open it", path);
        return NULL;
    }
    file->descriptor = -1;
    const size_t length = strlen(path);
    if (length >= sizeof file->path)
        errno = ENAMETOOLONG;
    else if (length == 0)
        errno = ENOENT;
    else if (path[length - 1] == '/')
        errno = EISDIR;
    else {
        memcpy(file->path, path, length + 1);
        memcpy(file->target, path, length + 1);
        if (open_target(file) == 0)
            file->stream = fopencookie(file, "w", (cookie_io_functions_t){.write = write_some});
    }
    if (!file->stream) {
        error_set_errno(error, "%s", path);
        file_abandon(file);
        return NULL;
    }
    return file;
}

FILE *file_stream(struct file *file)
{
    return file->stream;
}

/* Flushes, closes, and gives the file its name; -1 with errno. */
static int finish(struct file *file)
{
    FILE *stream = file->stream;
    file->stream = NULL;
    if (fclose(stream) != 0 && !file->write_errno)
        file->write_errno = errno;
    if (file->write_errno) {
        errno = file->write_errno;
        return -1;
    }
    if (!file->direct && !file->named && with_temporary_name(file, link_unnamed) < 0)
        return -1;
    /* Some file systems report a failed write only here: close before rename. */
    const int descriptor = file->descriptor;
    file->descriptor = -1;
    if (close(descriptor) < 0)
        return -1;
    if (file->direct)
        return 0;
    if (rename(file->temporary, file->target) < 0)
        return -1;
    file->named = false;
    return 0;
}

int file_commit(struct file *file, struct error *error)
{
    int status = finish(file);
    if (status < 0)
        error_set_errno(error, "%s: not written", file->path);
    file_abandon(file);
    return status;
}

void file_abandon(struct file *file)
{
    if (!file)
        return;
    file->write_errno = ECANCELED; /* what stdio still holds is not written */
    if (file->stream)
        fclose(file->stream);
    if (file->descriptor >= 0)
        close(file->descriptor);
    if (file->named)
        unlink(file->temporary);
    free(file);
}

/* Makes one level after the other; those that exist already are passed over. */
int file_make_directory(const char *path, struct error *error)
{
    char partial[PATH_MAX];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof partial) {
        errno = length ? ENAMETOOLONG : ENOENT;
        return error_set_errno(error, "%s", path);
    }
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, 0777) < 0 && errno != EEXIST)
            return error_set_errno(error, "cannot make the directory %s", partial);
    }
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(error, "%s", path);
    if (!S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        return error_set_errno(error, "%s", path);
    }
    if (access(path, W_OK | X_OK) < 0)
        return error_set_errno(error, "%s: cannot be written", path);
    return 0;
}
