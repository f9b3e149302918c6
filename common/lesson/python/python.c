/* Runs the chapter's notebook.py, and Python at all, in a process of its own. */
#include "common/lesson/python/python.h"
#include <dirent.h>
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

/* Why neither of two can be used. */
static int set_both(struct error *error, const char *what, const struct error *one,
                    const struct error *other)
{
    char first[100], second[100];
    error_shorten(first, sizeof first, one->message);
    error_shorten(second, sizeof second, other->message);
    return error_set(error, ERROR_SYSTEM, "%s: %s; %s", what, first, second);
}

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
        set_both(error, "found no Python with NumPy", &reason, &other);
    return path;
}

/* chapters/NAME/notebook.py above the program, wherever the whole was moved to; else where it was
 * compiled. */
static int find_notebook(const struct lesson *lesson, char path[PATH_MAX], struct error *error)
{
    char file[PATH_MAX];
    snprintf(file, sizeof file, "chapters/%s/notebook.py", lesson->chapter->name);
    return source_path(file, path, error);
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
    snprintf(seed, sizeof seed, "%lu", (unsigned long)lesson->options->seed);
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
    before_output(lesson);
    lesson_flush(lesson); /* or an interrupted program's text would be lost */
    progress_show(lesson, "notebook.py is running");
    json_t *report = run_notebook(lesson, options, python_seconds(lesson, limit), &reason);
    progress_clear(lesson);
    json_decref(lesson->notebook);
    lesson->notebook = report ? report : json_pack("{s:o}", "error", text_value(reason.message));
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
    return set_both(error, "found no Python that can run notebook.py", &reason, &other);
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
