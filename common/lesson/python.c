/* Runs the chapter's notebook.py, and Python at all, in a process of its own. */
#include "common/lesson/child.h"
#include "common/lesson/internal.h"
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define PYTHON         "FORKJOIN_PYTHON"
#define PYTHON_SECONDS "FORKJOIN_PYTHON_SECONDS"
#define DEBIANS_PYTHON "/usr/bin/python3" /* the one that python3-numpy belongs to */
#define CHECK_SECONDS  20.0               /* to import NumPy */
#define MOST_OPTIONS   32

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
