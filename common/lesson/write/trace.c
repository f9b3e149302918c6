/* The Trace Event Format, as JSON objects: what chrome://tracing and Perfetto read. A way to run a
 * workload is a process there, a row a thread, an event a complete event ("X"). Times are in us;
 * here each is a whole number of ns, so that what was nested stays so. */
#include "common/lesson/write/write.h"
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

struct trace {
    struct lesson *lesson;
    FILE *stream;
    int process;
    bool first;
};

/* One line; frees the entry. */
static void put(struct trace *trace, json_t *entry)
{
    if (!entry)
        lesson_die(trace->lesson, "the trace: out of memory, or a text is not UTF-8");
    fputs(trace->first ? "\n" : ",\n", trace->stream);
    trace->first = false;
    json_dumpf(entry, trace->stream, JSON_COMPACT);
    json_decref(entry);
}

/* What a process or thread (-1: the process) is called, and its place. */
static void put_metadata(struct trace *trace, int row, const char *what, json_t *arguments)
{
    json_t *entry = json_pack("{s:s, s:s, s:i, s:o}", "ph", "M", "name", what, "pid",
                              trace->process, "args", arguments);
    if (entry)
        json_object_set_new(entry, "tid", json_integer(row < 0 ? 0 : row));
    put(trace, entry);
}

static const char *const categories[TIMELINE_KINDS] = {
    [TIMELINE_TASK] = "task",     [TIMELINE_CHUNK] = "chunk",  [TIMELINE_COPY_IN] = "copy",
    [TIMELINE_COPY_OUT] = "copy", [TIMELINE_GIL_WAIT] = "gil", [TIMELINE_GIL_HELD] = "gil",
};

static void name_event(char *name, size_t size, const struct lesson_event *event, bool whole)
{
    static const char *const names[TIMELINE_KINDS] = {
        [TIMELINE_COPY_IN] = "copy in",
        [TIMELINE_COPY_OUT] = "copy out",
        [TIMELINE_GIL_WAIT] = "waits for the GIL",
        [TIMELINE_GIL_HELD] = "holds the GIL",
    };
    if (names[event->kind])
        snprintf(name, size, "%s", names[event->kind]);
    else if (event->kind == TIMELINE_CHUNK)
        snprintf(name, size, "chunk %zu", event->index);
    else if (whole)
        snprintf(name, size, "all tasks");
    else if (event->tasks == 1)
        snprintf(name, size, "task %zu", event->index);
    else
        snprintf(name, size, "tasks %zu to %zu", event->index, event->index + event->tasks - 1);
}

static json_t *arguments_of(const struct lesson_event *event, bool whole)
{
    const json_int_t index = (json_int_t)event->index;
    if (event->kind == TIMELINE_COPY_IN || event->kind == TIMELINE_COPY_OUT)
        return json_pack("{s:I}", "bytes", index);
    if ((event->kind == TIMELINE_TASK && !whole) || event->kind == TIMELINE_CHUNK)
        return json_pack("{s:I, s:I}", "index", index, "tasks", (json_int_t)event->tasks);
    return json_object();
}

/* A number of us with three decimals, which no double can have; so not by Jansson. */
static void put_event(struct trace *trace, const struct lesson_event *event, bool whole)
{
    const int64_t begin = llround(1e9 * event->begin), end = llround(1e9 * event->end);
    char name[64];
    name_event(name, sizeof name, event, whole);
    json_t *arguments = arguments_of(event, whole);
    char *text = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
    json_decref(arguments);
    if (!text)
        lesson_die(trace->lesson, "the trace: out of memory");
    const int64_t took = end - begin;
    fprintf(trace->stream,
            "%s{\"ph\":\"X\",\"name\":\"%s\",\"cat\":\"%s\",\"pid\":%d,\"tid\":%d,"
            "\"ts\":%" PRId64 ".%03d,\"dur\":%" PRId64 ".%03d,\"args\":%s}",
            trace->first ? "\n" : ",\n", name, categories[event->kind], trace->process, event->row,
            begin / 1000, (int)(begin % 1000), took / 1000, (int)(took % 1000), text);
    trace->first = false;
    free(text);
}

static void put_run(struct trace *trace, const char *workload, const struct lesson_figures *figures)
{
    const struct lesson_timeline *timeline = figures->timeline;
    char name[128], labels[64];
    trace->process++;
    snprintf(name, sizeof name, "%.60s: %s, %d worker%s", workload, figures->name, figures->workers,
             plural(figures->workers));
    snprintf(labels, sizeof labels, "%s, %zu events lost", lesson_time_text(timeline->wall),
             timeline->lost);
    put_metadata(trace, -1, "process_name", json_pack("{s:s}", "name", name));
    put_metadata(trace, -1, "process_labels", json_pack("{s:s}", "labels", labels));
    put_metadata(trace, -1, "process_sort_index", json_pack("{s:i}", "sort_index", trace->process));
    for (int row = 0; row < timeline->rows; row++) {
        put_metadata(trace, row, "thread_name", json_pack("{s:s}", "name", timeline->names[row]));
        put_metadata(trace, row, "thread_sort_index", json_pack("{s:i}", "sort_index", row));
    }
    for (size_t i = 0; i < timeline->count; i++)
        put_event(trace, &timeline->events[i], timeline->whole);
}

void trace_write(struct lesson *lesson, FILE *stream)
{
    struct trace trace = {.lesson = lesson, .stream = stream, .first = true};
    fputs("{\"traceEvents\": [", stream);
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next)
        for (size_t i = 0; i < measured->results.count; i++)
            if (measured->figures[i].timeline)
                put_run(&trace, measured->name, &measured->figures[i]);
    json_t *other =
        json_pack("{s:s, s:s, s:I, s:s, s:i}", "chapter", lesson->chapter->name, "version",
                  FORKJOIN_VERSION, "seed", (json_int_t)lesson->options->seed, "cpu",
                  lesson->machine->cpu, "cores", lesson->machine->cores);
    if (!other)
        lesson_die(lesson, "the trace: out of memory");
    fputs("\n],\n\"displayTimeUnit\": \"ms\",\n\"otherData\": ", stream);
    json_dumpf(other, stream, 0);
    fputs("}\n", stream);
    json_decref(other);
}
