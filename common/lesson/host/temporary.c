/* A directory for what another program writes, which is gone when this one has ended, however that
 * was, except by SIGKILL. */
#include "common/lesson/host/host.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 1000 /* attempts, a millisecond apart */
#define TEMPLATE "/forkjoin-python-XXXXXX"

static char directory[PATH_MAX]; /* "": there is none */
static pid_t owner;

/* Nothing but system calls, for a signal may have interrupted anything. */
static void remove_files(void)
{
    _Alignas(struct dirent64) char entries[8192];
    ssize_t got;
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    while ((got = getdents64(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
            unlinkat(fd, entry->d_name, 0);
            at += entry->d_reclen;
        }
    close(fd);
}

/* A program that was just killed may still have been writing: once more, until it is empty. */
static void remove_directory(void)
{
    const struct timespec millisecond = {.tv_nsec = 1000000};
    if (!*directory || getpid() != owner)
        return;
    for (int i = 0; i < PATIENCE; i++) {
        remove_files();
        if (rmdir(directory) == 0 || (errno != ENOTEMPTY && errno != EEXIST))
            break;
        nanosleep(&millisecond, NULL);
    }
    *directory = '\0';
}

const char *temporary_make(struct error *error)
{
    static bool registered;
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent)
        parent = "/tmp";
    if (!registered && atexit(remove_directory) != 0) {
        error_set(error, ERROR_MEMORY, "a temporary directory: out of memory");
        return NULL;
    }
    registered = true;
    if (strlen(parent) + sizeof TEMPLATE > sizeof directory) {
        error_set(error, ERROR_INVALID, "TMPDIR: its name is too long");
        return NULL;
    }
    owner = getpid();
    interrupts_add(remove_directory); /* before there is anything to leave behind */
    snprintf(directory, sizeof directory, "%s" TEMPLATE, parent);
    if (!mkdtemp(directory)) { /* in place: a signal finds the name of what has just been made */
        error_set_errno(error, "a temporary directory in '%s'", parent);
        interrupts_remove(remove_directory);
        *directory = '\0';
        return NULL;
    }
    return directory;
}

void temporary_remove(void)
{
    remove_directory();
    interrupts_remove(remove_directory);
}
