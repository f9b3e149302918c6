/* Runs the chapter's notebook.py, and Python at all, in a process of its own.
 *
 * The process leads a group, so that whatever it starts can be ended with it: when its time is
 * over, and when somebody interrupts this program. If this program is killed, the kernel kills
 * Python. That must be asked for in the child, before it executes Python, which posix_spawn cannot
 * do; so it is _Fork here, as in command.c, and between it and exec nothing but system calls, for
 * other threads may have held any lock. (fork would run OpenBLAS's handler, which ends its
 * threads.)
 */
#include "common/lesson/internal.h"
#include "common/lesson/source.h"
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PYTHON         "FORKJOIN_PYTHON"
#define PYTHON_SECONDS "FORKJOIN_PYTHON_SECONDS"
#define DEBIANS_PYTHON "/usr/bin/python3"         /* the one that python3-numpy belongs to */
#define CHECK_SECONDS  20.0                       /* to import NumPy */
#define MOST_PRINTED   ((size_t)64 * 1024 * 1024) /* bytes */
#define MOST_OPTIONS   32

/* ---- One process ----------------------------------------------------------------------------- */

enum stream { OUTPUT, COMPLAINTS, STREAMS };

struct child {
    const char *name; /* in messages */
    pid_t pid;
    int pipes[STREAMS]; /* to read from; -1: at its end */
    char *text[STREAMS];
    size_t length[STREAMS];
    int status;
};

static const int interrupts[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define INTERRUPTS (sizeof interrupts / sizeof *interrupts)

static struct sigaction actions_before[INTERRUPTS];
static volatile sig_atomic_t running; /* the child's process id, or 0 */

/* The signal does what it would have done, but ends the child's group first. */
static void end_both(int number)
{
    if (running > 0)
        kill(-(pid_t)running, SIGKILL);
    for (size_t i = 0; i < INTERRUPTS; i++)
        if (interrupts[i] == number)
            sigaction(number, &actions_before[i], NULL);
    raise(number);
}

static void watch_interrupts(bool on)
{
    const struct sigaction action = {.sa_handler = end_both};
    for (size_t i = 0; i < INTERRUPTS; i++) {
        if (on)
            sigaction(interrupts[i], NULL, &actions_before[i]);
        if (actions_before[i].sa_handler != SIG_IGN) /* who ignores it goes on */
            sigaction(interrupts[i], on ? &action : &actions_before[i], NULL);
    }
}

__attribute__((noreturn)) static void become(const char *const *arguments, const int ends[STREAMS],
                                             pid_t parent)
{
    sigset_t none;
    const int null = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    if (null >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        dup2(null, STDIN_FILENO) >= 0 && dup2(ends[OUTPUT], STDOUT_FILENO) >= 0 &&
        dup2(ends[COMPLAINTS], STDERR_FILENO) >= 0 && (null <= 2 || close(null) == 0))
        execv(arguments[0], (char *const *)arguments);
    _exit(127);
}

/* Starts arguments[0], a path, whose output can then be read from two pipes. */
static int start_child(struct child *child, const char *const *arguments, struct error *error)
{
    int ends[STREAMS] = {-1, -1};
    const pid_t parent = getpid();
    *child = (struct child){.name = arguments[0], .pipes = {-1, -1}};
    for (enum stream i = OUTPUT; i < STREAMS; i++) {
        int both[2];
        if (pipe2(both, O_CLOEXEC) != 0) {
            error_set_errno(error, "a pipe from Python");
            goto cleanup;
        }
        child->pipes[i] = both[0];
        ends[i] = both[1];
    }
    child->pid = _Fork();
    if (child->pid == 0)
        become(arguments, ends, parent);
    if (child->pid < 0) {
        error_set_errno(error, "%s: a new process", arguments[0]);
        goto cleanup;
    }
    setpgid(child->pid, child->pid); /* whoever of the two is first; the other fails */
    running = child->pid;
    close(ends[OUTPUT]);
    close(ends[COMPLAINTS]);
    return 0;

cleanup:
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

/* Reads until the process has ended and its pipes with it. A pipe that a grandchild keeps open has
 * no end; so the process is looked after now and then. */
static int follow_child(struct child *child, double limit, struct error *error)
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

/* Ends what has not ended, also what the process has left behind: until it is waited for, no other
 * group can have its number. */
static void end_child(struct child *child)
{
    kill(-child->pid, SIGKILL);
    running = 0;
    while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
        ;
    for (enum stream i = OUTPUT; i < STREAMS; i++)
        if (child->pipes[i] >= 0)
            close_pipe(child, i);
}

static void free_child(struct child *child)
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

static int check_status(const struct child *child, struct error *error)
{
    char said[128];
    if (WIFEXITED(child->status) && WEXITSTATUS(child->status) == 0)
        return 0;
    last_line(said, sizeof said, child->text[COMPLAINTS]);
    if (WIFSIGNALED(child->status))
        return error_set(error, ERROR_SYSTEM, "%s was killed by signal %d", child->name,
                         WTERMSIG(child->status));
    return error_set(error, ERROR_SYSTEM, "%s ended with status %d%s%s", child->name,
                     WEXITSTATUS(child->status), *said ? ": " : "", said);
}

/* Runs a program to its end, which must be status 0. Then its standard output is in *output, the
 * caller's, NULL if there was none. */
static int run_program(const char *const *arguments, double limit, char **output,
                       struct error *error)
{
    struct child child;
    *output = NULL;
    watch_interrupts(true);
    int result = start_child(&child, arguments, error);
    if (result == 0) {
        result = follow_child(&child, limit, error);
        end_child(&child);
    }
    watch_interrupts(false);
    if (result == 0)
        result = check_status(&child, error);
    if (result == 0) {
        *output = child.text[OUTPUT];
        child.text[OUTPUT] = NULL;
    }
    free_child(&child);
    return result;
}

/* ---- Which Python, which notebook ------------------------------------------------------------ */

/* The path of this Python, if it can import NumPy; the caller frees it. */
static char *try_python(const char *name, double limit, struct error *error)
{
    char *path = find_program(name), *output;
    if (!path) {
        error_set(error, ERROR_SYSTEM, "%s is no program", name);
        return NULL;
    }
    const char *const arguments[] = {path, "-c", "import numpy", NULL};
    if (run_program(arguments, fmin(limit, CHECK_SECONDS), &output, error) == 0) {
        free(output);
        return path;
    }
    free(path);
    return NULL;
}

/* The first Python that can import NumPy; the caller frees it. */
static char *find_python(double limit, struct error *error)
{
    const char *chosen = getenv(PYTHON);
    struct error reason = {.code = ERROR_NONE};
    char *path;
    if (chosen && *chosen) {
        path = try_python(chosen, limit, &reason);
        if (!path)
            error_set(error, reason.code, PYTHON ", which must be a Python with NumPy: %s",
                      reason.message);
        return path;
    }
    struct error other;
    path = try_python("python3", limit, &reason);
    if (!path)
        path = try_python(DEBIANS_PYTHON, limit, &other);
    if (!path)
        error_set(error, ERROR_SYSTEM, "found no Python with NumPy: %.100s; %.100s", reason.message,
                  other.message);
    return path;
}

/* ---- The notebook ---------------------------------------------------------------------------- */

static double time_limit(double limit)
{
    const char *text = getenv(PYTHON_SECONDS);
    double seconds = limit;
    if (text)
        parse_real(text, 0.01, 86400.0, &seconds);
    return seconds;
}

static json_t *read_report(const char *python, const char *text, struct error *error)
{
    json_error_t where;
    json_t *report = text ? json_loads(text, 0, &where) : NULL;
    if (!report)
        error_set(error, ERROR_FORMAT, "%s printed no JSON", python);
    else if (!json_is_object(report)) {
        json_decref(report);
        report = NULL;
        error_set(error, ERROR_FORMAT, "%s printed JSON that is no report", python);
    }
    return report;
}

static json_t *run_notebook(const struct lesson *lesson, const char *const *options, double limit,
                            struct error *error)
{
    char file[128], notebook[PATH_MAX], seed[16], *python, *output;
    const char *arguments[MOST_OPTIONS + 7] = {NULL, notebook, "--json", "-", "--seed", seed};
    json_t *report = NULL;
    size_t count = 6;
    for (size_t i = 0; options[i]; i++) {
        if (i == MOST_OPTIONS) {
            error_set(error, ERROR_INVALID, "more than %d options for notebook.py", MOST_OPTIONS);
            return NULL;
        }
        arguments[count++] = options[i];
    }
    snprintf(seed, sizeof seed, "%lu", (unsigned long)lesson->options.seed);
    snprintf(file, sizeof file, "chapters/%s/notebook.py", lesson->chapter->name);
    if (source_path(file, notebook, error) != 0)
        return NULL;
    arguments[0] = python = find_python(limit, error);
    if (python && run_program(arguments, limit, &output, error) == 0) {
        report = read_report(python, output, error);
        free(output);
    }
    free(python);
    return report;
}

const struct json_t *lesson_notebook(struct lesson *lesson, const char *const *options,
                                     double limit, struct error *error)
{
    struct error reason = {.code = ERROR_NONE};
    machine_banner(lesson);
    lesson_flush(lesson); /* or an interrupted program's text would be lost */
    progress_show(lesson, "notebook.py is running");
    json_t *report = run_notebook(lesson, options, time_limit(limit), &reason);
    progress_clear(lesson);
    json_decref(lesson->notebook);
    lesson->notebook = report ? report : json_pack("{s:s}", "error", reason.message);
    if (error)
        *error = reason;
    return report;
}

double lesson_notebook_number(const struct json_t *report, const char *path)
{
    const json_t *value = report;
    while (value && *path) {
        char key[64], *end;
        const size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        const unsigned long index = strtoul(key, &end, 10);
        value = json_is_array(value) && *key && !*end ? json_array_get(value, index)
                                                      : json_object_get(value, key);
        path += length + (path[length] == '.');
    }
    return json_is_number(value) ? json_number_value(value) : NAN;
}
