/* The command line: the options that all chapters have, and argp, which reads all. */
#include "common/lesson/options/options.h"
#include "common/lesson/options/values.h"
#include <argp.h>
#include <limits.h>
#include <omp.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Keys of options without a short name; a chapter's own follow from KEY_CHAPTER on. */
enum {
    KEY_SECONDS = 0x100,
    KEY_SEED,
    KEY_SCHEDULE,
    KEY_CHUNKSIZE,
    KEY_START_METHOD,
    KEY_TRANSFER,
    KEY_SWITCH_INTERVAL,
    KEY_SAVE,
    KEY_JSON,
    KEY_CSV,
    KEY_TIMELINE,
    KEY_TRACE,
    KEY_PLOT,
    KEY_REPORT,
    KEY_STEP,
    KEY_ANSWERS,
    KEY_PYTHON,
    KEY_QUIET,
    KEY_NO_PROGRESS,
    KEY_CHAPTER = 0x1000,
};

static const struct argp_option common_options[] = {
    {NULL, 0, NULL, 0, "Common to all chapters:", 2},
    {"mode", 'm', "LIST", 0, "sequential,threads,gil,processes or all (default all)", 2},
    {"workers", 'w', "LIST", 0,
     "numbers of workers to try, such as 1,2,4 (default: OMP_NUM_THREADS, or else the cores that "
     "this process may use)",
     2},
    {"repeats", 'r', "N", 0, "timed repeats after one warm-up (default 5)", 2},
    {"seconds", KEY_SECONDS, "S", 0,
     "change the size of the work until a sequential run takes about S seconds; all runs of a "
     "workload together take some 20 times as long",
     2},
    {"seed", KEY_SEED, "N", 0, "of the random inputs, as np.random.seed (default 42)", 2},
    {"schedule", KEY_SCHEDULE, "KIND[,CHUNK]", 0,
     "how OpenMP deals out the loops: static, dynamic, guided, auto (default static)", 2},
    {"chunksize", KEY_CHUNKSIZE, "N", 0,
     "tasks in a chunk of the process pool (default: Python's rule, ceil(tasks / (4 workers)))", 2},
    {"start-method", KEY_START_METHOD, "M", 0,
     "how processes are started: forkserver, fork, spawn (default forkserver)", 2},
    {"transfer", KEY_TRANSFER, "HOW", 0,
     "how data reach the processes: copy, shared, both (default: as the chapter teaches)", 2},
    {"switch-interval", KEY_SWITCH_INTERVAL, "LIST", 0,
     "seconds a thread waits for the GIL before it asks for it; several, such as "
     "0.0005,0.005,0.05, "
     "are compared (default 0.005)",
     2},
    {"save", KEY_SAVE, "DIR", 0, "write inputs and results there as .npy files", 2},
    {"json", KEY_JSON, "FILE", 0, "write the results as JSON; - is standard output", 2},
    {"csv", KEY_CSV, "FILE", 0, "write the tables as CSV; - is standard output", 2},
    {"timeline", KEY_TIMELINE, NULL, 0, "draw what each worker did when", 2},
    {"trace", KEY_TRACE, "FILE", 0,
     "write what each worker did when, for Perfetto and chrome://tracing", 2},
    {"plot", KEY_PLOT, "FILE", 0,
     "draw charts with gnuplot, as .svg, .png or .pdf; - is the terminal", 2},
    {"report", KEY_REPORT, "DIR", 0, "write a page with everything, DIR/index.html", 2},
    {"step", KEY_STEP, NULL, 0, "ask before each mode what you expect, then show it beside", 2},
    {"answers", KEY_ANSWERS, "FILE", 0,
     "take the answers to --step from a file: CHAPTER WORKLOAD MODE WORKERS: ANSWER", 2},
    {"python", KEY_PYTHON, NULL, 0, "run the chapter's notebook.py as well and compare", 2},
    {"no-progress", KEY_NO_PROGRESS, NULL, 0, "no progress on a terminal", 2},
    {"quiet", KEY_QUIET, NULL, 0, "no banner, tables, reasons and progress", 2},
    {0}};

enum { COMMON_COUNT = sizeof common_options / sizeof *common_options };

static void parse_schedule(struct lesson *lesson, const char *text)
{
    static const char *const names[] = {"static", "dynamic", "guided", "auto"};
    static const omp_sched_t kinds[] = {omp_sched_static, omp_sched_dynamic, omp_sched_guided,
                                        omp_sched_auto};
    static const char words[] = "static, dynamic, guided or auto, and after a comma a chunk size "
                                "of at least 1 if you like";
    char kind[16];
    int64_t chunk = 0;
    const size_t length = strcspn(text, ",");
    if (length >= sizeof kind)
        refuse_value(lesson, "schedule", text, words);
    memcpy(kind, text, length);
    kind[length] = '\0';
    const int index = parse_name(kind, names, 4);
    if (index < 0 || (text[length] && parse_integer(text + length + 1, 1, INT_MAX, &chunk)))
        refuse_value(lesson, "schedule", text, words);
    lesson->options->schedule = (int)kinds[index];
    lesson->options->schedule_chunk = (int)chunk;
}

/* ---- argp ------------------------------------------------------------------------------------ */

static void parse_worker_list(struct lesson *lesson, const char *text)
{
    struct options *options = lesson->options;
    if (parse_workers(text, options->workers, &options->worker_count))
        refuse_value(lesson, "workers", text,
                     range_words("a list such as 1,2,4 of whole numbers", 1, POOL_MAX_WORKERS));
    options->worker_rule = WORKERS_BY_OPTION;
}

static void parse_interval_list(struct lesson *lesson, const char *text)
{
    struct options *options = lesson->options;
    char words[128];
    snprintf(words, sizeof words, "one number from %g to %g, or a list of at most %d such as %s",
             LEAST_INTERVAL, LONGEST_INTERVAL, MOST_INTERVALS, "0.0005,0.005,0.05");
    if (parse_intervals(text, options->intervals, &options->interval_count))
        refuse_value(lesson, "switch-interval", text, words);
}

enum plot_format plot_format(const char *path)
{
    static const char *const endings[] = {
        [PLOT_SVG] = ".svg", [PLOT_PNG] = ".png", [PLOT_PDF] = ".pdf"};
    const char *slash = strrchr(path, '/'), *ending = strrchr(path, '.');
    if (strcmp(path, "-") == 0)
        return PLOT_TERMINAL;
    for (enum plot_format format = PLOT_SVG; format < PLOT_UNKNOWN; format++)
        if (ending && ending > path && (!slash || ending > slash + 1) &&
            strcasecmp(ending, endings[format]) == 0)
            return format;
    return PLOT_UNKNOWN;
}

static const char *plot_name(struct lesson *lesson, const char *text)
{
    if (plot_format(text) == PLOT_UNKNOWN)
        refuse_value(lesson, "plot", text, "a file's name that ends in .svg, .png or .pdf, or -");
    return text;
}

/* What a run leaves behind, and how much it says; false for a key that is none of these. */
static bool parse_output_option(struct lesson *lesson, int key, const char *text)
{
    struct options *options = lesson->options;
    switch (key) {
    case KEY_SAVE:
        options->save = file_name(lesson, "save", text);
        return true;
    case KEY_JSON:
        options->json = file_name(lesson, "json", text);
        return true;
    case KEY_CSV:
        options->csv = file_name(lesson, "csv", text);
        return true;
    case KEY_TIMELINE:
        options->timeline = true;
        return true;
    case KEY_TRACE:
        options->trace = file_name(lesson, "trace", text);
        return true;
    case KEY_PLOT:
        options->plot = plot_name(lesson, text);
        return true;
    case KEY_REPORT:
        options->report = file_name(lesson, "report", text);
        return true;
    case KEY_STEP:
        options->step = true;
        return true;
    case KEY_ANSWERS:
        options->answers = file_name(lesson, "answers", text);
        options->step = true;
        return true;
    case KEY_PYTHON:
        options->python = true;
        return true;
    case KEY_QUIET:
        options->quiet = true;
        return true;
    case KEY_NO_PROGRESS:
        options->no_progress = true;
        return true;
    default:
        return false;
    }
}

/* The options of the table above; false for a key that is none of them. */
static bool parse_common_option(struct lesson *lesson, int key, const char *text)
{
    static const char *const methods[] = {"forkserver", "fork", "spawn"};
    static const enum pool_start_method method_values[] = {POOL_FORKSERVER, POOL_FORK, POOL_SPAWN};
    struct options *options = lesson->options;
    switch (key) {
    case 'm':
        if (parse_modes(text, options->modes))
            refuse_value(lesson, "mode", text,
                         "all, or a list of sequential, threads, gil and processes with commas");
        return true;
    case 'w':
        parse_worker_list(lesson, text);
        return true;
    case 'r':
        options->repeats = (int)whole_number(lesson, "repeats", text, 1, 1000);
        options->repeats_given = true;
        return true;
    case KEY_SECONDS:
        options->seconds = real_number(lesson, "seconds", text, 0.001, 3600.0);
        return true;
    case KEY_SEED:
        options->seed = (uint32_t)whole_number(lesson, "seed", text, 0, UINT32_MAX);
        return true;
    case KEY_SCHEDULE:
        parse_schedule(lesson, text);
        return true;
    case KEY_CHUNKSIZE:
        options->chunksize = (size_t)whole_number(lesson, "chunksize", text, 1, INT64_MAX);
        return true;
    case KEY_START_METHOD:
        options->start_method = method_values[one_of(lesson, "start-method", text, methods, 3,
                                                     "forkserver, fork or spawn")];
        return true;
    case KEY_TRANSFER:
        options->transfer = (enum lesson_transfer)(
            LESSON_COPY + one_of(lesson, "transfer", text, &lesson_transfer_names[LESSON_COPY], 3,
                                 "copy, shared or both"));
        return true;
    case KEY_SWITCH_INTERVAL:
        parse_interval_list(lesson, text);
        return true;
    default:
        return parse_output_option(lesson, key, text);
    }
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct lesson *lesson = state->input;
    const struct lesson_option *paths = NULL;
    if (key >= KEY_CHAPTER && key < 0x100000) {
        lesson->options->given |= UINT64_C(1) << ((key - KEY_CHAPTER) % 64);
        parse_own_option(lesson, &lesson->chapter->options[key - KEY_CHAPTER], text);
        return 0;
    }
    switch (key) {
    case ARGP_KEY_INIT:
        state->name = program_invocation_short_name;
        state->err_stream = NULL; /* getopt has said what is wrong; one line is enough */
        return 0;
    case ARGP_KEY_ARG:
        paths = paths_option(lesson);
        if (!paths)
            lesson_usage(lesson, "'%s' is not an option; options begin with -- (see --help)", text);
        add_path(lesson, paths, text);
        return 0;
    default:
        return parse_common_option(lesson, key, text) ? 0 : ARGP_ERR_UNKNOWN;
    }
}

/* argp's table: the chapter's options first, then the common ones. The help texts are on the heap
 * as long as the table. */
static struct argp_option *option_table(struct lesson *lesson, size_t *own_count)
{
    const struct lesson_option *own = lesson->chapter->options;
    size_t count = 0;
    while (own && own[count].name)
        count++;
    struct argp_option *table = lesson_allocate(lesson, count + 1 + COMMON_COUNT, sizeof *table);
    table[0] = (struct argp_option){.doc = "Of this chapter:", .group = 1};
    for (size_t i = 0; i < count; i++) {
        char words[64], *doc;
        default_words(words, sizeof words, &own[i]);
        if (asprintf(&doc, "%s%s", own[i].help ? own[i].help : "", words) < 0)
            lesson_die(lesson, "out of memory");
        table[1 + i] = (struct argp_option){.name = own[i].name,
                                            .key = KEY_CHAPTER + (int)i,
                                            .arg = own[i].kind == LESSON_FLAG ? NULL
                                                   : own[i].argument          ? own[i].argument
                                                                              : "N",
                                            .doc = doc,
                                            .group = 1};
    }
    const size_t first = count ? count + 1 : 0; /* no heading over nothing */
    memcpy(&table[first], common_options, sizeof common_options);
    *own_count = count;
    return table;
}

/* How many workers if the command line does not say. */
static void default_workers(struct lesson *lesson)
{
    struct options *options = lesson->options;
    const char *asked = getenv("OMP_NUM_THREADS");
    char first[32] = "";
    int64_t number = 0;
    if (asked) /* a list has one number for each level of nesting */
        snprintf(first, sizeof first, "%.*s", (int)strcspn(asked + strspn(asked, " "), ", "),
                 asked + strspn(asked, " "));
    const bool valid = parse_integer(first, 1, POOL_MAX_WORKERS, &number) == 0;
    options->worker_rule = valid ? WORKERS_BY_OMP_NUM_THREADS : WORKERS_BY_CORES;
    const int cores = lesson->machine->cores;
    options->workers[0] = valid ? (int)number : cores < POOL_MAX_WORKERS ? cores : POOL_MAX_WORKERS;
    options->worker_count = 1;
}

/* The directory that a path leads to; false: there is none. */
static bool parent_status(const char *path, struct stat *status)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash ? strndup(path, (size_t)(slash + 1 - path)) : strdup(".");
    const bool found = parent && stat(parent, status) == 0;
    free(parent);
    return found;
}

/* Do they name one file, which may be written in several ways, and which may not exist yet? */
static bool same_file(const char *a, const char *b)
{
    struct stat one, other;
    if (strcmp(a, b) == 0)
        return true;
    if (strcmp(a, "-") == 0 || strcmp(b, "-") == 0)
        return false;
    const int missing = (stat(a, &one) != 0) + (stat(b, &other) != 0);
    if (missing == 1 || (missing == 0 && !S_ISREG(one.st_mode)))
        return false;
    if (missing == 2 && (strcmp(basename(a), basename(b)) != 0 || !parent_status(a, &one) ||
                         !parent_status(b, &other)))
        return false;
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* Two results cannot be written to one place. */
static void refuse_same_file(struct lesson *lesson)
{
    const struct options *options = lesson->options;
    char *page = NULL;
    if (options->report && asprintf(&page, "%s/index.html", options->report) < 0)
        lesson_die(lesson, "out of memory");
    const struct {
        const char *name, *path;
    } files[] = {{"json", options->json},
                 {"csv", options->csv},
                 {"trace", options->trace},
                 {"plot", options->plot},
                 {"report", page}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (size_t j = i + 1; j < sizeof files / sizeof *files; j++)
            if (files[i].path && files[j].path && same_file(files[i].path, files[j].path))
                lesson_usage(lesson, "--%s and --%s: both name '%s'; they must differ",
                             files[i].name, files[j].name, files[i].path);
    free(page);
}

void options_parse(struct lesson *lesson, int argc, char **argv)
{
    *lesson->options = (struct options){.modes = {true, true, true, true},
                                        .repeats = 5,
                                        .seed = 42,
                                        .start_method = POOL_FORKSERVER,
                                        .transfer = LESSON_DEFAULT_TRANSFER,
                                        .intervals = {GIL_SWITCH_INTERVAL},
                                        .interval_count = 1};
    struct options *options = lesson->options;
    options->workers = lesson_allocate(lesson, POOL_MAX_WORKERS, sizeof *options->workers);
    static char version[128];
    default_workers(lesson);

    size_t own_count;
    struct argp_option *table = option_table(lesson, &own_count);
    char *doc, **arguments = lesson_allocate(lesson, (size_t)argc + 2, sizeof *arguments);
    if (asprintf(&doc, "%s: %s", lesson->chapter->name, lesson->chapter->title) < 0)
        lesson_die(lesson, "out of memory");
    const char *positional = paths_option(lesson) ? "[PATH...]" : NULL;
    const struct argp argp = {
        .options = table, .parser = parse_option, .args_doc = positional, .doc = doc};
    memcpy(arguments, argv, (size_t)argc * sizeof *argv);
    arguments[0] = (char *)lesson->chapter->name; /* getopt's messages begin with it */
    argp_err_exit_status = 2;
    snprintf(version, sizeof version, "%s (forkjoin) %s", lesson->chapter->name, FORKJOIN_VERSION);
    argp_program_version = version;
    /* ARGP_IN_ORDER: else, where POSIXLY_CORRECT is set, options behind a path would be paths, too
     */
    if (argp_parse(&argp, argc > 0 ? argc : 1, arguments, ARGP_IN_ORDER, NULL, lesson))
        exit(2);
    check_combinations(lesson);
    refuse_same_file(lesson);
    for (size_t i = 0; i < own_count; i++)
        free((char *)table[1 + i].doc);
    free(table);
    free(doc);
    free(arguments);
}

void options_free(struct lesson *lesson)
{
    free(lesson->options->workers);
    free(lesson->paths);
}

/* ---- What the common options say ------------------------------------------------------------- */

uint32_t lesson_seed(const struct lesson *lesson)
{
    return lesson->options->seed;
}

const int *lesson_workers(const struct lesson *lesson, size_t *count)
{
    *count = lesson->options->worker_count;
    return lesson->options->workers;
}

bool lesson_python(const struct lesson *lesson)
{
    return lesson->options->python;
}

int options_most_workers(const struct options *options)
{
    int most = 1;
    for (size_t i = 0; i < options->worker_count; i++)
        most = options->workers[i] > most ? options->workers[i] : most;
    return most;
}

bool lesson_runs(const struct lesson *lesson, enum lesson_mode mode)
{
    return lesson->options->modes[mode];
}
