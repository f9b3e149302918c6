/* If this program is killed, the kernel shall kill the child. That must be asked for in the child,
 * before it executes the other program, which posix_spawn cannot do; so it is _Fork here, as in
 * command.c, and between it and exec nothing but system calls, for other threads may have held any
 * lock. (fork would run OpenBLAS's handler, which ends its threads.)
 */
#include "common/lesson/host/host.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_PRINTED ((size_t)64 * 1024 * 1024) /* bytes */

static volatile sig_atomic_t running; /* the child's process id, or 0 */

/* When a signal ends this program, the child's group first. */
static void end_group(void)
{
    if (running > 0)
        kill(-(pid_t)running, SIGKILL);
}

/* Does this "NAME=value" change what gnuplot or Python do? A user may have set it for other
 * purposes: GNUTERM=qt ends a gnuplot that has no qt, PYTHONIOENCODING=utf-16 makes JSON
 * unreadable, and PYTHONINSPECT hides that a program failed. Where fonts and Python's packages are
 * remains the user's. */
static bool changes_child(const char *entry)
{
    static const char *const changing[] = {
        "GNUTERM=", "GNUPLOT_", "GNUHELP=", "FIT_", "PYTHON", "LC_ALL="};
    static const char *const kept[] = {"PYTHONPATH=", "PYTHONUSERBASE=", "PYTHONNOUSERSITE=",
                                       "PYTHONDONTWRITEBYTECODE=", "PYTHONPYCACHEPREFIX="};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strncmp(entry, kept[i], strlen(kept[i])) == 0)
            return false;
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
        if (strncmp(entry, changing[i], strlen(changing[i])) == 0)
            return true;
    return false;
}

/* This program's environment without these, and with one locale for numbers and text. The caller
 * frees the list, not its strings. NULL: out of memory. */
static char **child_environment(void)
{
    static char locale[] = "LC_ALL=C.UTF-8";
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **list = calloc(count + 2, sizeof *list);
    for (size_t i = 0; list && i < count; i++)
        if (!changes_child(environ[i]))
            list[kept++] = environ[i];
    if (list)
        list[kept] = locale;
    return list;
}

__attribute__((noreturn)) static void become(const char *const *arguments, char **environment,
                                             int input, const int ends[STREAMS], pid_t parent)
{
    sigset_t none;
    const int from = input >= 0 ? input : open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    if (from >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        dup2(from, STDIN_FILENO) >= 0 && dup2(ends[OUTPUT], STDOUT_FILENO) >= 0 &&
        dup2(ends[COMPLAINTS], STDERR_FILENO) >= 0 && (from <= 2 || close(from) == 0))
        execve(arguments[0], (char *const *)arguments, environment);
    _exit(127);
}

int start_child(struct child *child, const char *const *arguments, int input, struct error *error)
{
    int ends[STREAMS] = {-1, -1};
    const pid_t parent = getpid();
    *child = (struct child){.name = arguments[0], .pipes = {-1, -1}};
    char **environment = child_environment();
    if (!environment) {
        error_set(error, ERROR_MEMORY, "%s: out of memory", arguments[0]);
        goto cleanup;
    }
    for (enum stream i = OUTPUT; i < STREAMS; i++) {
        int both[2];
        if (pipe2(both, O_CLOEXEC) != 0) {
            error_set_errno(error, "%s: a pipe", arguments[0]);
            goto cleanup;
        }
        child->pipes[i] = both[0];
        ends[i] = both[1];
    }
    child->pid = _Fork();
    if (child->pid == 0)
        become(arguments, environment, input, ends, parent);
    if (child->pid < 0) {
        error_set_errno(error, "%s: a new process", arguments[0]);
        goto cleanup;
    }
    setpgid(child->pid, child->pid); /* whoever of the two is first; the other fails */
    running = child->pid;
    close(ends[OUTPUT]);
    close(ends[COMPLAINTS]);
    free(environment);
    return 0;

cleanup:
    free(environment);
    for (enum stream i = OUTPUT; i < STREAMS; i++)
        if (child->pipes[i] >= 0) {
            close(child->pipes[i]);
            close(ends[i]);
        }
    return -1;
}

static void close_pipe(struct child *child, enum stream i)
{
    close(child->pipes[i]);
    child->pipes[i] = -1;
}

/* Appends what is there to the stream's text, which stays a string. */
static int read_pipe(struct child *child, enum stream i, struct error *error)
{
    char buffer[65536];
    const ssize_t got = read(child->pipes[i], buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
        return 0;
    if (got <= 0) {
        close_pipe(child, i);
        return 0;
    }
    if (child->length[i] + (size_t)got > MOST_PRINTED)
        return error_set(error, ERROR_FORMAT, "%s printed more than %zu MB", child->name,
                         MOST_PRINTED >> 20);
    char *longer = realloc(child->text[i], child->length[i] + (size_t)got + 1);
    if (!longer)
        return error_set(error, ERROR_MEMORY, "%s: out of memory", child->name);
    memcpy(longer + child->length[i], buffer, (size_t)got);
    child->text[i] = longer;
    child->length[i] += (size_t)got;
    longer[child->length[i]] = '\0';
    return 0;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* A pipe that a grandchild keeps open has no end; so the process is looked after now and then. */
int follow_child(struct child *child, double limit, struct error *error)
{
    const double end = now() + limit;
    bool ended = false;
    while (child->pipes[OUTPUT] >= 0 || child->pipes[COMPLAINTS] >= 0 || !ended) {
        struct pollfd ready[STREAMS];
        for (enum stream i = OUTPUT; i < STREAMS; i++)
            ready[i] = (struct pollfd){.fd = child->pipes[i], .events = POLLIN};
        const bool open = child->pipes[OUTPUT] >= 0 || child->pipes[COMPLAINTS] >= 0;
        const int count = poll(ready, STREAMS, ended ? 0 : open ? 100 : 1);
        for (enum stream i = OUTPUT; i < STREAMS; i++)
            if (count > 0 && ready[i].revents && read_pipe(child, i, error) != 0)
                return -1;
        if (ended && count <= 0)
            return 0;
        siginfo_t how = {.si_pid = 0};
        if (!ended && waitid(P_PID, (id_t)child->pid, &how, WEXITED | WNOHANG | WNOWAIT) == 0)
            ended = how.si_pid == child->pid;
        if (!ended && now() > end)
            return error_set(error, ERROR_TIMEOUT, "%s took longer than %s", child->name,
                             lesson_time_text(limit));
    }
    return 0;
}

/* Until the process is waited for, no other group can have its number. */
void end_child(struct child *child)
{
    kill(-child->pid, SIGKILL);
    running = 0;
    while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
        ;
    for (enum stream i = OUTPUT; i < STREAMS; i++)
        if (child->pipes[i] >= 0)
            close_pipe(child, i);
}

void free_child(struct child *child)
{
    for (enum stream i = OUTPUT; i < STREAMS; i++)
        free(child->text[i]);
}

/* The last line that is not empty, without what a terminal would obey. */
static void last_line(char *line, size_t size, const char *text)
{
    size_t end = text ? strlen(text) : 0, begin;
    while (end > 0 && (unsigned char)text[end - 1] <= ' ')
        end--;
    for (begin = end; begin > 0 && text[begin - 1] != '\n'; begin--)
        ;
    snprintf(line, size, "%.*s", (int)(end - begin < size ? end - begin : size),
             text ? text + begin : "");
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
            *c = '?';
}

int check_status(const struct child *child, struct error *error)
{
    char said[128];
    if (WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0)
        return 0;
    last_line(said, sizeof said, child->text[COMPLAINTS]);
    if (WIFSIGNALED(child->status))
        return error_set(error, ERROR_SYSTEM, "%s was killed by signal %d", child->name,
                         WTERMSIG(child->status));
    return error_set(error, WEXITSTATUS(child->status) == 2 ? ERROR_INVALID : ERROR_SYSTEM,
                     "%s ended with status %d%s%s", child->name, WEXITSTATUS(child->status),
                     *said ? ": " : "", said);
}

/* The text as a file without a name, to be read from its beginning: unlike a pipe it neither fills
 * nor breaks. */
static int text_file(const char *text, size_t size, struct error *error)
{
    const int file = memfd_create("input", MFD_CLOEXEC);
    if (file < 0)
        return error_set_errno(error, "a file in memory");
    for (size_t done = 0; done < size;) {
        const ssize_t written = write(file, text + done, size - done);
        if (written < 0 && errno != EINTR) {
            error_set_errno(error, "a file in memory");
            close(file);
            return -1;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    if (lseek(file, 0, SEEK_SET) == 0)
        return file;
    error_set_errno(error, "a file in memory");
    close(file);
    return -1;
}

int run_program_with(const char *const *arguments, const char *text, size_t size, double limit,
                     char **output, size_t *length, struct error *error)
{
    struct child child;
    int input = -1;
    *output = NULL;
    if (text && (input = text_file(text, size, error)) < 0)
        return -1;
    interrupts_add(end_group);
    int result = start_child(&child, arguments, input, error);
    if (result == 0) {
        result = follow_child(&child, limit, error);
        end_child(&child);
    }
    interrupts_remove(end_group);
    if (result == 0) {
        *output = child.text[OUTPUT];
        child.text[OUTPUT] = NULL;
        if (length)
            *length = child.length[OUTPUT];
        result = check_status(&child, error);
    }
    free_child(&child);
    if (input >= 0)
        close(input);
    return result;
}

int run_program(const char *const *arguments, double limit, char **output, struct error *error)
{
    return run_program_with(arguments, NULL, 0, limit, output, NULL, error);
}
