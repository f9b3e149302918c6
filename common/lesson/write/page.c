/* The report page: the two halves that the program carries, and between them, as one block of JSON,
 * all that was measured. Whatever stood under that name before is replaced only if it was such a
 * page.
 */
#include "common/data/file.h"
#include "common/lesson/write/write.h"
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_MARK   "<meta name=\"generator\" content=\"forkjoin\">" /* of page.html */
#define MOST_EVENTS 20000 /* of one timeline; a page of many should still be light */

/* ---- Before the work: could it be written? --------------------------------------------------- */

static char *index_path(struct lesson *lesson)
{
    const char *directory = lesson->options->report;
    const size_t length = strlen(directory);
    char *path;
    if (asprintf(&path, "%s%sindex.html", directory,
                 length > 0 && directory[length - 1] == '/' ? "" : "/") < 0)
        lesson_die(lesson, "out of memory");
    return path;
}

/* The nearest directory above that exists must be one in which another can be made. */
static void check_parent(struct lesson *lesson, const char *directory)
{
    char parent[PATH_MAX];
    struct stat status;
    if (snprintf(parent, sizeof parent, "%s", directory) >= PATH_MAX)
        lesson_die(lesson, "--report %s: %s", directory, strerror(ENAMETOOLONG));
    while (stat(parent, &status) != 0) {
        if (errno != ENOENT)
            lesson_die(lesson, "--report %s: %s: %s", directory, parent, strerror(errno));
        char *slash = strrchr(parent, '/');
        snprintf(slash ? slash + (slash == parent) : parent, 2, "%s", slash ? "" : ".");
    }
    if (!S_ISDIR(status.st_mode))
        lesson_die(lesson, "--report %s: '%s' is a file; it must be a directory", directory,
                   parent);
    if (access(parent, W_OK | X_OK))
        lesson_die(lesson, "--report %s: cannot write in '%s': %s", directory, parent,
                   strerror(errno));
}

/* Is it such a page, or empty? --report names no file, so it must not replace somebody's own. */
static bool is_page(const char *path)
{
    char begin[512];
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const size_t length = fread(begin, 1, sizeof begin - 1, file);
    fclose(file);
    begin[length] = '\0';
    return length == 0 || strstr(begin, PAGE_MARK);
}

void page_check(struct lesson *lesson)
{
    struct stat status;
    if (!lesson->options->report)
        return;
    check_parent(lesson, lesson->options->report);
    char *path = index_path(lesson);
    const bool exists = stat(path, &status) == 0;
    if (exists && S_ISDIR(status.st_mode))
        lesson_die(lesson, "--report: '%s' is a directory; it must be a file", path);
    if (exists && S_ISREG(status.st_mode) && access(path, W_OK))
        lesson_die(lesson, "--report: cannot write '%s': %s", path, strerror(errno));
    if (exists && S_ISREG(status.st_mode) && !is_page(path))
        lesson_die(lesson, "--report: '%s' is no page of --report, so it is not replaced", path);
    free(path);
}

void page_prepare(struct lesson *lesson)
{
    struct error error;
    if (lesson->options->report && file_make_directory(lesson->options->report, &error))
        lesson_die(lesson, "--report %s: %s", lesson->options->report, error.message);
}

/* ---- What it shows --------------------------------------------------------------------------- */

static int by_length(const void *a, const void *b)
{
    const double one = *(const double *)a, other = *(const double *)b;
    return (one < other) - (one > other);
}

/* How long an event must be to be among the MOST_EVENTS longest, and how many of just this length
 * are. */
static double shortest_shown(struct lesson *lesson, const struct lesson_timeline *timeline,
                             size_t *so_long)
{
    *so_long = timeline->count;
    if (timeline->count <= MOST_EVENTS)
        return 0.0;
    double *lengths = lesson_allocate(lesson, timeline->count, sizeof *lengths);
    for (size_t i = 0; i < timeline->count; i++)
        lengths[i] = timeline->events[i].end - timeline->events[i].begin;
    qsort(lengths, timeline->count, sizeof *lengths, by_length);
    const double shortest = lengths[MOST_EVENTS - 1];
    for (*so_long = 1; *so_long < MOST_EVENTS; ++*so_long)
        if (lengths[MOST_EVENTS - 1 - *so_long] > shortest)
            break;
    free(lengths);
    return shortest;
}

/* An event is [row, kind, index, begin, end]: lists are a third of the size of objects. */
static json_t *timeline_value(struct lesson *lesson, const struct lesson_timeline *timeline)
{
    size_t so_long;
    const double shortest = shortest_shown(lesson, timeline, &so_long);
    json_t *names = json_array(), *events = json_array();
    size_t left_out = timeline->lost;
    for (int i = 0; i < timeline->rows; i++)
        json_array_append_new(names, json_string(timeline->names[i]));
    for (size_t i = 0; i < timeline->count; i++) {
        const struct lesson_event *event = &timeline->events[i];
        const double length = event->end - event->begin;
        const bool shown = length > shortest || (length == shortest && so_long > 0);
        so_long -= shown && length == shortest;
        if (!shown)
            left_out++;
        else
            json_array_append_new(events,
                                  json_pack("[i, i, I, f, f]", event->row, (int)event->kind,
                                            (json_int_t)event->index, event->begin, event->end));
    }
    return json_pack("{s:f, s:o, s:o, s:I}", "wall_s", timeline->wall, "rows", names, "events",
                     events, "left_out", (json_int_t)left_out);
}

/* The index of the function's source in the list; there is one for each function. */
static size_t source_index(const struct lesson *lesson, json_t *sources, lesson_function **known,
                           lesson_function *function)
{
    size_t i = 0;
    while (i < json_array_size(sources) && known[i] != function)
        i++;
    if (i == json_array_size(sources)) {
        known[i] = function;
        json_array_append_new(sources, source_of(lesson, function));
    }
    return i;
}

/* What a row of the page has besides what a run of --json has. */
static void add_to_run(struct lesson *lesson, json_t *run, const struct lesson_figures *figures,
                       const struct lesson_figures *sequential)
{
    json_object_set_new(run, "name", json_string(figures->name));
    if (figures->mode != LESSON_SEQUENTIAL) {
        char *why = why_text(figures, sequential, lesson->machine->cores);
        if (!why)
            lesson_die(lesson, "out of memory");
        json_object_set_new(run, "why", json_string(why));
        free(why);
    }
    if (figures->timeline)
        json_object_set_new(run, "timeline", timeline_value(lesson, figures->timeline));
}

/* The workloads in the order of the runs: each has the next `runs` of them. */
static json_t *workload_values(struct lesson *lesson, json_t *runs, json_t *sources)
{
    json_t *workloads = json_array();
    size_t next = 0;
    lesson_function **known =
        lesson_allocate(lesson, json_array_size(runs), sizeof(lesson_function *));
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next) {
        for (size_t i = 0; i < measured->results.count; i++) {
            const struct lesson_figures *figures = &measured->figures[i];
            json_t *run = json_array_get(runs, next++);
            add_to_run(lesson, run, figures, &measured->figures[0]);
            json_object_set_new(run, "source",
                                json_integer((json_int_t)source_index(
                                    lesson, sources, known, measured->run[figures->mode])));
        }
        json_array_append_new(workloads,
                              json_pack("{s:s, s:s?, s:b, s:I}", "name", measured->name, "title",
                                        measured->title, "quiet", measured->quiet, "runs",
                                        (json_int_t)measured->results.count));
    }
    free(known);
    return workloads;
}

/* All charts, each in light and dark colours; or, where gnuplot is not there or fails, why not. */
static void add_charts(struct lesson *lesson, json_t *chapter)
{
    struct error error = {.code = ERROR_NONE};
    json_t *charts = json_array();
    for (const struct chart *chart = lesson->charts; chart && error.code == ERROR_NONE;
         chart = chart->next) {
        if (chart_is_empty(chart))
            continue;
        char *light = plot_svg(lesson, chart, false, &error);
        char *dark = light ? plot_svg(lesson, chart, true, &error) : NULL;
        if (dark)
            json_array_append_new(charts, json_pack("{s:s, s:s?, s:s, s:s}", "title", chart->title,
                                                    "workload", chart->workload, "light", light,
                                                    "dark", dark));
        free(light);
        free(dark);
    }
    json_object_set_new(chapter, "charts", charts);
    if (error.code != ERROR_NONE)
        json_object_set_new(chapter, "charts_missing", text_value(error.message));
}

static json_t *document(struct lesson *lesson)
{
    json_t *chapter = output_document(lesson), *sources = json_array();
    json_t *workloads = workload_values(lesson, json_object_get(chapter, "runs"), sources);
    json_t *rest = json_pack("{s:s, s:o, s:b, s:o, s:o}", "title", lesson->chapter->title,
                             "introduction", source_introduction(lesson), "failed", lesson->failed,
                             "workloads", workloads, "sources", sources);
    if (!rest || json_object_update_new(chapter, rest) != 0)
        lesson_die(lesson, "--report: out of memory, or a text is not UTF-8");
    add_charts(lesson, chapter);
    return json_pack("{s:[o]}", "chapters", chapter);
}

/* ---- Writing it ------------------------------------------------------------------------------ */

/* "<" only stands in strings, and must not end the block's element there. */
static int write_escaped(const char *text, size_t size, void *stream)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '<')
            fputs("\\u003c", stream);
        else
            fputc(text[i], stream);
    return 0;
}

static int write_page(const char *path, const json_t *data, struct error *error)
{
    struct file *file = file_create(path, error);
    if (!file)
        return -1;
    FILE *stream = file_stream(file);
    fwrite(page_head, 1, page_head_size, stream);
    json_dump_callback(data, write_escaped, stream, JSON_COMPACT | JSON_REAL_PRECISION(12));
    fwrite(page_tail, 1, page_tail_size, stream);
    return file_commit(file, error);
}

void page_write(struct lesson *lesson)
{
    struct error error;
    if (!lesson->options->report)
        return;
    if (file_make_directory(lesson->options->report, &error) != 0) {
        lesson_output_failed(lesson, "report", &error);
        return;
    }
    char *path = index_path(lesson);
    json_t *data = document(lesson);
    if (write_page(path, data, &error) == 0)
        lesson_print(lesson, "\nReport: %s\n", path);
    else
        lesson_output_failed(lesson, "report", &error);
    json_decref(data);
    free(path);
}
