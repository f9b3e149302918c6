/* --python: the chapter's notebook.py runs with the chapter's seed, workers and sizes, in every
 * Python that there is, and what it reports and saves stands beside what C measured and saved.
 */
#include "common/lesson/python/python.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define LIMIT 120.0 /* seconds for each Python, unless FORKJOIN_PYTHON_SECONDS says otherwise */

/* ---- Its rows -------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

/* A number of things; 0 for anything else. */
static int count_at(const json_t *object, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 && value <= INT32_MAX ? (int)value : 0;
}

static bool read_mode(const json_t *run, bool gil, enum lesson_mode *mode)
{
    static const char *const names[] = {"sequential", "threads", "processes"};
    const enum lesson_mode modes[] = {LESSON_SEQUENTIAL, gil ? LESSON_GIL : LESSON_THREADS,
                                      LESSON_PROCESSES};
    const int index = parse_name(text_of(run, "mode", ""), names, 3);
    *mode = modes[index < 0 ? 0 : index];
    return index >= 0;
}

/* C's row of the same task, mode and number of workers; of processes the one whose data travelled
 * the same way, if there is one. */
static const struct lesson_figures *find_partner(const struct lesson *lesson,
                                                 const struct python_row *row)
{
    const struct lesson_figures *found = NULL;
    for (const struct measured *m = lesson->measured; m; m = m->next) {
        if (strcmp(m->name, row->workload) != 0)
            continue;
        if (row->mode == LESSON_PROCESSES)
            found = lesson_find(&m->results, row->mode, row->workers, row->transfer);
        if (!found)
            found = lesson_find(&m->results, row->mode, row->workers, LESSON_DEFAULT_TRANSFER);
        if (found)
            break;
    }
    return found;
}

static bool was_measured(const struct lesson *lesson, const char *workload)
{
    for (const struct measured *m = lesson->measured; m; m = m->next)
        if (strcmp(m->name, workload) == 0)
            return true;
    return false;
}

static double compare_speed(const struct python_row *row)
{
    const double share = row->c && row->sample ? (double)row->c->tasks / (double)row->tasks : 1.0;
    return row->c && row->c->wall_median > 0 ? share * row->wall / row->c->wall_median : NAN;
}

/* Fills the row from one of the report's; false if it cannot be understood. */
static bool read_row(struct lesson *lesson, struct python_row *row, const json_t *report,
                     const json_t *run)
{
    const char *name = text_of(run, "workload", ""), *in_c = text_of(run, "in_c", name);
    const json_t *gil = json_object_get(report, "gil");
    row->name = strdup(name);
    row->workload = strdup(was_measured(lesson, in_c) ? in_c : name);
    if (!row->name || !row->workload ||
        asprintf(&row->python, "Python %s%s", text_of(report, "python", "?"),
                 json_is_true(json_object_get(report, "free_threaded")) ? "t" : "") < 0)
        lesson_die(lesson, "out of memory");
    const bool known = read_mode(run, !json_is_false(gil), &row->mode);
    row->workers = count_at(run, "workers");
    row->repeats = count_at(run, "repeats");
    row->tasks = (size_t)count_at(run, "tasks");
    row->sample = json_is_true(json_object_get(run, "sample"));
    row->wall = lesson_notebook_number(run, "wall_s.median");
    row->wall_min = lesson_notebook_number(run, "wall_s.min");
    row->wall_max = lesson_notebook_number(run, "wall_s.max");
    row->cores_busy = lesson_notebook_number(run, "cores_busy");
    row->startup = lesson_notebook_number(run, "startup_s");
    row->whole = lesson_notebook_number(run, "whole_s");
    row->speedup = lesson_notebook_number(run, "speedup");
    row->transfer =
        strcmp(text_of(run, "transfer", ""), "shared") == 0 ? LESSON_SHARED : LESSON_COPY;
    row->matches_sequential = json_is_true(json_object_get(run, "matches_sequential"));
    row->c = find_partner(lesson, row);
    row->c_speedup = compare_speed(row);
    return known && *name && row->workers > 0 && row->tasks > 0 && row->wall > 0 &&
           row->wall_min > 0 && row->wall_max > 0 && row->speedup > 0;
}

static void free_row(struct python_row *row)
{
    free(row->python);
    free(row->workload);
    free(row->name);
    free(row);
}

/* Appends the report's rows to the lesson's and returns the first of them; NULL if one cannot be
 * understood, or if there are none. */
static struct python_row *read_rows(struct lesson *lesson, const json_t *report)
{
    const json_t *runs = json_object_get(report, "runs");
    struct python_row **first = lesson->last_python, **last = first;
    bool sound = json_array_size(runs) > 0;
    for (size_t i = 0; i < json_array_size(runs) && sound; i++) {
        *last = lesson_allocate(lesson, 1, sizeof **last);
        sound = read_row(lesson, *last, report, json_array_get(runs, i));
        last = &(*last)->next;
    }
    while (!sound && *first) {
        struct python_row *row = *first;
        *first = row->next;
        free_row(row);
    }
    if (sound)
        lesson->last_python = last;
    return sound ? *first : NULL;
}

/* ---- Its arrays ------------------------------------------------------------------------------ */

/* "light.npy" holds the results of the workload "light"; "results.npy" those of all. */
static bool decides(const char *file, const struct python_row *row, const struct python_row *first)
{
    const size_t length = strcspn(file, ".");
    bool of_one = false;
    for (const struct python_row *other = first; other; other = other->next)
        of_one =
            of_one || (strlen(other->name) == length && strncmp(other->name, file, length) == 0);
    return !of_one || (strlen(row->name) == length && strncmp(row->name, file, length) == 0);
}

/* What the comparison of each array found, in the order of lesson->saved. */
struct comparison {
    bool *same;
    struct error first; /* difference */
};

static struct comparison compare_arrays(struct lesson *lesson, const char *directory)
{
    struct comparison comparison = {.first = {.code = ERROR_NONE}};
    struct error error;
    size_t count = 0;
    for (const struct saved_array *saved = lesson->saved; saved; saved = saved->next)
        count++;
    comparison.same = lesson_allocate(lesson, count, sizeof *comparison.same);
    count = 0;
    for (const struct saved_array *saved = lesson->saved; saved; saved = saved->next, count++) {
        comparison.same[count] = saved_compare(saved, directory, &error) == 0;
        if (!comparison.same[count] && !comparison.first.code)
            comparison.first = error;
    }
    return comparison;
}

/* A row is right if it and all arrays that tell of it are. */
static void judge_rows(const struct lesson *lesson, struct python_row *first,
                       const struct comparison *comparison)
{
    for (struct python_row *row = first; row; row = row->next) {
        size_t i = 0;
        row->matches_c = true;
        for (const struct saved_array *saved = lesson->saved; saved; saved = saved->next, i++)
            if (decides(saved->file, row, first)) {
                row->compared = true;
                row->matches_c = row->matches_c && comparison->same[i];
            }
        row->matches = row->matches_sequential && row->matches_c;
    }
}

/* ---- One Python ------------------------------------------------------------------------------ */

static void keep_report(struct lesson *lesson, json_t *report, const char *command,
                        const struct comparison *comparison)
{
    json_t *kept = report ? json_copy(report) : json_object(), *arrays = json_array();
    size_t i = 0;
    json_object_del(kept, "runs"); /* they are among C's */
    if (command)
        json_object_set_new(kept, "command", text_value(command));
    for (const struct saved_array *saved = lesson->saved; saved && comparison->same;
         saved = saved->next, i++)
        json_array_append_new(
            arrays, json_pack("{s:s, s:b}", "file", saved->file, "same", comparison->same[i]));
    json_object_set_new(kept, "arrays", arrays);
    json_array_append_new(lesson->python_reports, kept);
}

static void keep_error(struct lesson *lesson, const char *message)
{
    json_array_append_new(lesson->python_reports, json_pack("{s:o}", "error", text_value(message)));
}

/* It failed, or it could not do what C did: only the first makes the lesson fail. */
static void explain(struct lesson *lesson, const struct python *python, const struct error *error)
{
    keep_error(lesson, error->message);
    if (error->code == ERROR_TIMEOUT)
        lesson_note(lesson,
                    "--python: %s; take smaller %s, or more time in FORKJOIN_PYTHON_SECONDS",
                    error->message, words_sizes(lesson, python->help));
    else if (error->code == ERROR_INVALID)
        lesson_note(lesson, "--python: %s", error->message);
    else
        lesson_fail(lesson, "--python: %s", error->message);
}

static void use_report(struct lesson *lesson, json_t *report, const char *command,
                       const struct comparison *comparison, const struct error *error)
{
    struct python_row *first = read_rows(lesson, report);
    if (!first) {
        keep_error(lesson, "notebook.py reported no rows that can be understood");
        lesson_fail(lesson, "--python: notebook.py reported no rows that can be understood");
        return;
    }
    judge_rows(lesson, first, comparison);
    keep_report(lesson, report, command, comparison);
    beside_table(lesson, first, command);
    if (error->code)
        lesson_fail(lesson, "--python: %s", error->message);
    else if (comparison->first.code)
        lesson_fail(lesson, "--python: %s", comparison->first.message);
    for (const struct python_row *row = first; row && !lesson->failed; row = row->next)
        if (!row->matches)
            lesson_fail(lesson,
                        "--python: notebook.py says that %s, %d worker%s, differs from its "
                        "sequential run",
                        row->name, row->workers, plural(row->workers));
}

static void run_in(struct lesson *lesson, const struct python *python)
{
    struct words words = {.count = 0};
    struct comparison comparison = {.same = NULL};
    struct error error;
    json_t *report = NULL;
    words_add_options(lesson, &words, python->help);
    char *command = words_text(lesson, &words);
    progress_show(lesson, "%s", command);
    lesson_flush(lesson); /* or an interrupted program's text would be lost */
    const char *directory = temporary_make(&error);
    if (directory) {
        words_add(lesson, &words, "--json=-");
        words_add(lesson, &words, "--save=%s", directory);
        report = python_run(lesson, python, (const char *const *)words.list, words.count,
                            python_seconds(lesson, LIMIT), &error);
        if (report)
            comparison = compare_arrays(lesson, directory);
        temporary_remove();
    }
    progress_clear(lesson);
    if (report)
        use_report(lesson, report, command, &comparison, &error);
    else
        explain(lesson, python, &error);
    json_decref(report);
    free(comparison.same);
    free(command);
    words_free(&words);
}

/* ---- Every Python ---------------------------------------------------------------------------- */

void beside_check(struct lesson *lesson)
{
    if (lesson->options->python)
        lesson_notebook_check(lesson);
}

/* Why the notebook has nothing to do with what was measured; NULL: it has. */
static const char *not_for_python(const struct lesson *lesson)
{
    static char text[128];
    for (const struct lesson_option *option = lesson->chapter->options; option && option->name;
         option++)
        if (option->kind == LESSON_PATHS &&
            ((const struct lesson_paths *)option->value)->count > 0) {
            snprintf(text, sizeof text, "notebook.py knows no --%s, so it was not run",
                     option->name);
            return text;
        }
    return lesson->measured ? NULL : "nothing was measured, so notebook.py was not run";
}

/* Those without a GIL; what cannot run the notebook, for it has no NumPy for example, is left out
 * with a line. */
static void run_free_threaded(struct lesson *lesson, const char *done)
{
    char **list = python_free_threaded(lesson), *real_done = done ? realpath(done, NULL) : NULL;
    for (size_t i = 0; list[i]; i++) {
        struct python python;
        struct error error;
        char *real = realpath(list[i], NULL);
        if (real && real_done && strcmp(real, real_done) == 0) {
            /* it is the one that ran already */
        } else if (python_try(lesson, list[i], &python, &error) != 0) {
            keep_error(lesson, error.message);
            lesson_paragraph(lesson, "\nLeft out: %s.", error.message);
        } else {
            run_in(lesson, &python);
            python_free(&python);
        }
        free(real);
        free(list[i]);
    }
    free(list);
    free(real_done);
}

void beside_run(struct lesson *lesson)
{
    struct python python;
    struct error error;
    if (!lesson->options->python)
        return;
    lesson->python_reports = json_array();
    const char *reason = not_for_python(lesson);
    if (reason) {
        keep_error(lesson, reason);
        lesson_note(lesson, "--python: %s", reason);
        return;
    }
    progress_show(lesson, "looking for Python");
    if (python_find(lesson, &python, &error) == 0) {
        run_in(lesson, &python);
    } else {
        keep_error(lesson, error.message);
        lesson_note(lesson, "--python: %s", error.message);
    }
    run_free_threaded(lesson, python.path);
    python_free(&python);
}

void beside_free(struct lesson *lesson)
{
    while (lesson->python_rows) {
        struct python_row *row = lesson->python_rows;
        lesson->python_rows = row->next;
        free_row(row);
    }
    json_decref(lesson->python_reports);
}
