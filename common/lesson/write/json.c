/* --json: all results as one document. */
#include "common/lesson/write/write.h"
#include <jansson.h>

/* A path may hold any bytes; JSON holds UTF-8 only. */
static json_t *path_value(const char *path)
{
    json_t *value = path ? json_string(path) : json_null();
    return value ? value : json_string("(a name that is not UTF-8)");
}

/* The word with this index in "yes|no"; null below 0. */
static json_t *choice_value(const char *words, int index)
{
    if (index < 0)
        return json_null();
    for (; index > 0; index--)
        words = strchr(words, '|') + 1;
    return json_stringn(words, strcspn(words, "|"));
}

static json_t *option_value(const struct lesson_option *option)
{
    const size_t *shape = option->value;
    const struct lesson_paths *paths = option->value;
    json_t *list;
    switch (option->kind) {
    case LESSON_COUNT:
        return json_integer((json_int_t) * (const size_t *)option->value);
    case LESSON_INTEGER:
        return json_integer(*(const int64_t *)option->value);
    case LESSON_REAL:
        return json_real(*(const double *)option->value);
    case LESSON_SHAPE:
        return json_pack("[I, I]", (json_int_t)shape[0], (json_int_t)shape[1]);
    case LESSON_SHAPE3:
        return json_pack("[I, I, I]", (json_int_t)shape[0], (json_int_t)shape[1],
                         (json_int_t)shape[2]);
    case LESSON_CHOICE:
        return choice_value(option->argument, *(const int *)option->value);
    case LESSON_TEXT:
    case LESSON_PATH:
        return path_value(*(const char *const *)option->value);
    case LESSON_PATHS:
        list = json_array();
        for (size_t i = 0; i < paths->count; i++)
            json_array_append_new(list, path_value(paths->paths[i]));
        return list;
    case LESSON_FLAG:
        return json_boolean(*(const bool *)option->value);
    }
    return json_null();
}

/* The chapter's options with their values, "light-tasks" as light_tasks. */
static json_t *parameters(const struct lesson *lesson)
{
    json_t *object = json_object();
    for (const struct lesson_option *option = lesson->chapter->options; option && option->name;
         option++) {
        char name[64];
        snprintf(name, sizeof name, "%s", option->name);
        for (char *c = name; *c; c++)
            if (*c == '-')
                *c = '_';
        json_object_set_new(object, name, option_value(option));
    }
    return object;
}

static json_t *machine(const struct lesson *lesson)
{
    const struct machine *of = lesson->machine;
    char blas[160];
    snprintf(blas, sizeof blas, "%s%s%s", of->blas, *of->core ? " " : "", of->core);
    return json_pack("{s:s, s:i, s:i, s:s, s:i, s:b, s:s, s:s, s:s, s:i, s:s, s:s, s:b}", "cpu",
                     of->cpu, "cores", of->cores, "machine_cores", of->machine_cores, "compiler",
                     of->compiler, "openmp", of->openmp, "openmp_on", of->openmp_threads > 1,
                     "blas", blas, "blas_core", of->core, "blas_note", environment_blas_note(),
                     "blas_threads", of->blas_threads, "isa", of->isa, "isa_best", of->best_isa,
                     "isa_chosen", of->isa_chosen);
}

/* What the run with the median wall time added to the pool's counts. */
static json_t *pool_entry(const struct lesson *lesson, const struct pool_statistics *pool)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "start_method",
                     pool_start_method_name(lesson->options->start_method), "tasks",
                     (json_int_t)pool->tasks, "chunks", (json_int_t)pool->chunks, "bytes_copied",
                     (json_int_t)pool->bytes_copied, "wakeups", (json_int_t)pool->wakeups,
                     "restarts", (json_int_t)pool->restarts, "retired", (json_int_t)pool->retired,
                     "chunks_retried", (json_int_t)pool->chunks_retried, "chunks_lost",
                     (json_int_t)pool->chunks_lost, "timeouts", (json_int_t)pool->timeouts,
                     "cancelled", (json_int_t)pool->cancelled);
}

static json_t *gil_entries(const struct lesson_figures *figures)
{
    const json_int_t acquired = (json_int_t)figures->gil.acquired,
                     switches = (json_int_t)figures->gil.switches,
                     forced = (json_int_t)figures->gil.forced;
    return json_pack("{s:f, s:{s:I, s:I, s:I}, s:I, s:I, s:I}", "switch_interval_s",
                     figures->switch_interval, "gil", "acquired", acquired, "switches", switches,
                     "forced", forced, "gil_acquired", acquired, "gil_switches", switches,
                     "gil_forced", forced);
}

static json_t *run_entry(const struct lesson *lesson, const char *workload,
                         const struct lesson_figures *figures)
{
    const bool processes = figures->mode == LESSON_PROCESSES;
    json_t *entry = json_pack(
        "{s:s, s:s, s:s, s:i, s:s?, s:s?, s:i}", "workload", workload, "language", "c", "mode",
        lesson_mode_names[figures->mode], "workers", figures->workers, "start_method",
        processes ? pool_start_method_name(lesson->options->start_method) : NULL, "transfer",
        processes ? lesson_transfer_names[figures->transfer] : NULL, "repeats", figures->repeats);
    json_t *rest = json_pack(
        "{s:{s:f, s:f, s:f}, s:{s:f}, s:f, s:f, s:f, s:b, s:f, s:{s:f, s:f, s:f, s:f}, s:I, s:I, "
        "s:I}",
        "wall_s", "min", figures->wall_min, "median", figures->wall_median, "max",
        figures->wall_max, "cpu_s", "median", figures->cpu_median, "cores_busy",
        figures->cores_busy, "speedup", figures->speedup, "efficiency", figures->efficiency,
        "matches_sequential", figures->matches, "startup_s", figures->startup, "phases_s", "send",
        figures->phases.send, "compute", figures->phases.compute, "receive",
        figures->phases.receive, "wait", figures->phases.wait, "bytes_copied",
        (json_int_t)figures->pool.bytes_copied, "tasks", (json_int_t)figures->tasks, "chunks",
        (json_int_t)figures->pool.chunks);
    json_object_update_new(entry, rest);
    if (figures->mode == LESSON_THREADS || figures->mode == LESSON_GIL)
        json_object_set_new(entry, "threads", json_integer(figures->threads));
    if (figures->roof > 0.0)
        json_object_set_new(entry, "roof_s", json_real(figures->roof));
    if (figures->timeline)
        json_object_update_new(entry,
                               json_pack("{s:f, s:f}", "recorded_wall_s", figures->recorded_wall,
                                         "recording_cost", figures->timeline->cost));
    if (processes)
        json_object_set_new(entry, "pool", pool_entry(lesson, &figures->pool));
    if (figures->device > 0)
        json_object_update_new(entry, json_pack("{s:f, s:f}", "device_s", figures->device,
                                                "device_idle_s", figures->device_idle));
    if (figures->mode == LESSON_GIL)
        json_object_update_new(entry, gil_entries(figures));
    return entry;
}

/* The keys of run_entry where they mean the same. */
static json_t *python_entry(const struct python_row *row)
{
    const bool processes = row->mode == LESSON_PROCESSES;
    const double cpu = row->cores_busy * row->wall;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i, s:s?, s:i, s:{s:f, s:f, s:f}, s:{s:o}, s:o, s:f, s:f, s:b, "
        "s:o, s:b, s:o, s:o, s:I, s:o}",
        "workload", row->workload, "language", "python", "python", row->python, "name", row->name,
        "mode", lesson_mode_names[row->mode], "workers", row->workers, "transfer",
        processes ? lesson_transfer_names[row->transfer] : NULL, "repeats", row->repeats, "wall_s",
        "min", row->wall_min, "median", row->wall, "max", row->wall_max, "cpu_s", "median",
        number_or_null(cpu), "cores_busy", number_or_null(row->cores_busy), "speedup", row->speedup,
        "efficiency", row->speedup / row->workers, "matches_sequential", row->matches_sequential,
        "matches_c", row->compared ? json_boolean(row->matches_c) : json_null(), "sample",
        row->sample, "startup_s", number_or_null(row->startup), "whole_s",
        number_or_null(row->whole), "tasks", (json_int_t)row->tasks, "c_speedup",
        number_or_null(row->c_speedup));
}

json_t *output_document(struct lesson *lesson)
{
    json_t *runs = json_array();
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next)
        for (size_t i = 0; i < measured->results.count; i++)
            json_array_append_new(runs, run_entry(lesson, measured->name, &measured->figures[i]));
    for (const struct python_row *row = lesson->python_rows; row; row = row->next)
        json_array_append_new(runs, python_entry(row));
    json_t *document =
        json_pack("{s:s, s:s, s:I, s:o, s:o, s:o}", "chapter", lesson->chapter->name, "version",
                  FORKJOIN_VERSION, "seed", (json_int_t)lesson->options->seed, "machine",
                  machine(lesson), "parameters", parameters(lesson), "runs", runs);
    json_t *conclusions = lesson->conclusions ? json_object() : NULL;
    for (const struct conclusion *c = lesson->conclusions; c; c = c->next)
        json_object_set_new(conclusions, c->name, text_value(c->text));
    if (document && conclusions)
        json_object_set_new(document, "conclusions", conclusions);
    if (!document)
        lesson_die(lesson, "the report as JSON: out of memory, or a text is not UTF-8");
    json_t *series = series_document(lesson);
    if (json_array_size(series) > 0)
        json_object_set(document, "series", series);
    json_decref(series);
    if (lesson->ladder)
        json_object_set(document, "ladder", lesson->ladder);
    if (lesson->predictions)
        json_object_set(document, "predictions", lesson->predictions);
    if (lesson->ended_early)
        json_object_set_new(document, "ended_early", json_true());
    if (lesson->notebook)
        json_object_set(document, "notebook", lesson->notebook);
    if (lesson->python_reports)
        json_object_set(document, "python", lesson->python_reports);
    return document;
}

void output_json(struct lesson *lesson, FILE *stream)
{
    json_t *document = output_document(lesson);
    json_dumpf(document, stream, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
    fputc('\n', stream);
    json_decref(document);
}
