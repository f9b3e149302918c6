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
#include <dirent.h>
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
    return error_set(error, WEXITSTATUS(child->status) == 2 ? ERROR_INVALID : ERROR_SYSTEM,
                     "%s ended with status %d%s%s", child->name, WEXITSTATUS(child->status),
                     *said ? ": " : "", said);
}

/* Runs a program to its end, which must be status 0; 2 is ERROR_INVALID. Its standard output is in
 * *output, the caller's, NULL if there was none. */
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
    if (result == 0) {
        *output = child.text[OUTPUT];
        child.text[OUTPUT] = NULL;
        result = check_status(&child, error);
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
    if (run_program(arguments, fmin(limit, CHECK_SECONDS), &output, error) != 0) {
        free(path);
        path = NULL;
    }
    free(output);
    return path;
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

/* chapters/NAME/notebook.py above the program, wherever the whole was moved to; else where it was
 * compiled. */
static int find_notebook(const struct lesson *lesson, char path[PATH_MAX], struct error *error)
{
    const char *name = lesson->chapter->name;
    char directory[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
    directory[length > 0 ? length : 0] = '\0';
    for (char *slash; (slash = strrchr(directory, '/'));) {
        *slash = '\0';
        if (snprintf(path, PATH_MAX, "%s/chapters/%s/notebook.py", directory, name) < PATH_MAX &&
            access(path, R_OK) == 0)
            return 0;
    }
    if (snprintf(path, PATH_MAX, "%s/chapters/%s/notebook.py", FORKJOIN_SOURCE, name) < PATH_MAX &&
        access(path, R_OK) == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM,
                     "chapters/%s/notebook.py is neither above the program nor in %s", name,
                     FORKJOIN_SOURCE);
}

/* ---- The notebook ---------------------------------------------------------------------------- */

double python_seconds(struct lesson *lesson, double seconds)
{
    const char *text = getenv(PYTHON_SECONDS);
    if (text && parse_real(text, 0.01, 86400.0, &seconds) != 0)
        lesson_usage(lesson,
                     PYTHON_SECONDS ": '%s' is not allowed; it must be a number from 0.01 to 86400",
                     text);
    return seconds;
}

void lesson_notebook_check(struct lesson *lesson)
{
    python_seconds(lesson, 0);
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
    char notebook[PATH_MAX], seed[16], *python, *output;
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
    if (find_notebook(lesson, notebook, error) != 0)
        return NULL;
    arguments[0] = python = find_python(limit, error);
    if (python) {
        if (run_program(arguments, limit, &output, error) == 0)
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
    json_t *report = run_notebook(lesson, options, python_seconds(lesson, limit), &reason);
    progress_clear(lesson);
    json_decref(lesson->notebook);
    lesson->notebook = report ? report : json_pack("{s:s}", "error", reason.message);
    if (error)
        *error = reason;
    return report;
}

/* ---- The same in Python (beside.c) ----------------------------------------------------------- */

void python_free(struct python *python)
{
    free(python->path);
    free(python->help);
    *python = (struct python){.path = NULL};
}

int python_try(struct lesson *lesson, const char *program, struct python *python,
               struct error *error)
{
    char notebook[PATH_MAX];
    *python = (struct python){.path = NULL};
    if (find_notebook(lesson, notebook, error) != 0)
        return -1;
    python->path = find_program(program);
    if (!python->path)
        return error_set(error, ERROR_SYSTEM, "%s is no program", program);
    const char *const arguments[] = {python->path, notebook, "--help", NULL};
    const double limit = fmin(python_seconds(lesson, CHECK_SECONDS), CHECK_SECONDS);
    if (run_program(arguments, limit, &python->help, error) == 0 && python->help)
        return 0;
    if (!error->code)
        error_set(error, ERROR_FORMAT, "%s: notebook.py --help printed nothing", program);
    python_free(python);
    return -1;
}

/* One with NumPy, if there is one, so that it is the same in all chapters. */
int python_find(struct lesson *lesson, struct python *python, struct error *error)
{
    const char *chosen = getenv(PYTHON);
    struct error reason = {.code = ERROR_NONE}, other = {.code = ERROR_NONE};
    char *path = find_python(python_seconds(lesson, CHECK_SECONDS), error);
    const int found = path ? python_try(lesson, path, python, error) : -1;
    free(path);
    if (found == 0)
        return 0;
    if (chosen && *chosen) {
        if (python_try(lesson, chosen, python, &reason) == 0)
            return 0;
        return error_set(error, reason.code, PYTHON ": %s", reason.message);
    }
    if (python_try(lesson, "python3", python, &reason) == 0 ||
        python_try(lesson, DEBIANS_PYTHON, python, &other) == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM,
                     "found no Python that can run notebook.py: %.100s; %.100s", reason.message,
                     other.message);
}

/* python3.13t is one: python3. and a number and t. */
static bool is_free_threaded(const char *name)
{
    static const char begin[] = "python3.";
    if (strncmp(name, begin, sizeof begin - 1) != 0)
        return false;
    const char *number = name + sizeof begin - 1;
    const size_t digits = strspn(number, "0123456789");
    return digits > 0 && strcmp(number + digits, "t") == 0;
}

/* Adds those in one directory to list[count], unless one with the same name is there. */
static char **add_free_threaded(struct lesson *lesson, const char *directory, char **list,
                                size_t *count)
{
    DIR *stream = opendir(directory);
    const struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        char *path;
        bool known = !is_free_threaded(entry->d_name);
        for (size_t i = 0; i < *count; i++)
            known = known || strcmp(strrchr(list[i], '/') + 1, entry->d_name) == 0;
        if (known)
            continue;
        list = reallocarray(list, *count + 2, sizeof *list);
        if (!list || asprintf(&path, "%s/%s", directory, entry->d_name) < 0)
            lesson_die(lesson, "out of memory");
        if (access(path, X_OK) == 0)
            list[(*count)++] = path;
        else
            free(path);
    }
    if (stream)
        closedir(stream);
    return list;
}

char **python_free_threaded(struct lesson *lesson)
{
    const char *path = getenv("PATH");
    char *rest = strdup(path ? path : ""), *directory, *next = rest;
    char **list = lesson_allocate(lesson, 1, sizeof *list);
    size_t count = 0;
    if (!rest)
        lesson_die(lesson, "out of memory");
    while ((directory = strsep(&next, ":")))
        list = add_free_threaded(lesson, *directory ? directory : ".", list, &count);
    list[count] = NULL;
    free(rest);
    return list;
}

json_t *python_run(struct lesson *lesson, const struct python *python, const char *const *options,
                   size_t count, double limit, struct error *error)
{
    char notebook[PATH_MAX], *output;
    struct error reason = {.code = ERROR_NONE};
    *error = reason;
    if (find_notebook(lesson, notebook, error) != 0)
        return NULL;
    const char **arguments = lesson_allocate(lesson, count + 3, sizeof *arguments);
    arguments[0] = python->path;
    arguments[1] = notebook;
    for (size_t i = 0; i < count; i++)
        arguments[2 + i] = options[i];
    const int result = run_program(arguments, limit, &output, &reason);
    json_t *report = NULL;
    if (reason.code != ERROR_TIMEOUT && reason.code != ERROR_INVALID)
        report = read_report(python->path, output, error);
    if (result != 0)
        *error = reason;
    free(output);
    free(arguments);
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
