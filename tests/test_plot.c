/* test_plot.c - charts: what is made of the figures, what gnuplot is told, and what it draws, where
 * there is a gnuplot. test_plot.py has --plot as a whole. */
#include "common/lesson/draw/gnuplot.h"
#include "common/lesson/evidence.h"
#include "common/lesson/write/write.h"
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const struct lesson_chapter chapter = {.name = "00_test", .title = "A test"};
static struct machine machine;
static struct options options;
static struct lesson lesson;

static void begin(void)
{
    machine = (struct machine){.cores = 4, .machine_cores = 4};
    options = (struct options){.plot = "wanted.svg"};
    lesson = (struct lesson){.chapter = &chapter, .machine = &machine, .options = &options};
    lesson.last_measured = &lesson.measured;
}

static void end(void)
{
    charts_free(&lesson);
    json_decref(lesson.series);
}

static bool has_gnuplot(void)
{
    char *path = find_program("gnuplot");
    free(path);
    if (!path)
        fprintf(stderr, "skipped: gnuplot is not installed\n");
    return path != NULL;
}

/* What a function writes; the caller frees it. */
static char *written(void write(FILE *stream, const void *what), const void *what)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(stream);
    write(stream, what);
    ck_assert_int_eq(fclose(stream), 0);
    return text;
}

static void write_chart(FILE *stream, const void *chart)
{
    gnuplot_chart(stream, chart, &(struct chart_look){.utf8 = true});
}

static void write_chart_as_text(FILE *stream, const void *chart)
{
    gnuplot_text(stream, chart, &(struct chart_look){.text = true, .columns = 80});
}

static void write_page(FILE *stream, const void *chart)
{
    gnuplot_page(stream, chart, "svg", "A page", "its foot");
}

/* gnuplot obeys the script without a complaint; its output, the caller's. */
static char *obey(const char *script)
{
    struct error error;
    static char *output;
    char *path = find_program("gnuplot");
    const char *const arguments[] = {path, "-d", NULL};
    ck_assert_msg(
        run_program_with(arguments, script, strlen(script), 60.0, &output, NULL, &error) == 0, "%s",
        error.message);
    free(path);
    return output;
}

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

/* ---- Text ------------------------------------------------------------------------------------ */

static const struct {
    const char *text, *quoted;
    size_t most;
    bool utf8;
} strings[] = {
    {"plain", "\"plain\"", 10, false},
    {"", "\"\"", 10, false},
    {"it's", "\"it\\047s\"", 10, false},
    {"\"", "\"\\042\"", 10, false},
    {"`ls` @x {a_b} \\n %s", "\"\\140ls\\140 \\100x {a_b} \\134n %s\"", 40, false},
    {"two\nlines\t\x7f",
     "\"two?lines?"
     "?\"",
     20, false},
    {"\x1b[31m", "\"?[31m\"", 20, true},
    {"caf\xc3\xa9", "\"caf\xc3\xa9\"", 10, true},
    {"caf\xc3\xa9", "\"caf?\"", 10, false},
    {"\xff\xc3",
     "\"?"
     "?\"",
     10, true},
    {"\xc0\x80\xed\xa0\x80",
     "\"?"
     "?"
     "?"
     "?"
     "?\"",
     10, true}, /* too long, a surrogate */
    {"\xc2\x9b",
     "\"?"
     "?\"",
     10, true}, /* a control of a terminal's */
    {"0123456789", "\"0123456789\"", 10, false},
    {"0123456789a", "\"0123456...\"", 10, false},
    {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "\"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\"", 3, true},
    {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"", 3, true},
};

static void write_string(FILE *stream, const void *index)
{
    const size_t i = *(const size_t *)index;
    gnuplot_string(stream, strings[i].text, strings[i].most, strings[i].utf8);
}

static void write_format(FILE *stream, const void *text)
{
    gnuplot_format(stream, text, 20, false);
}

START_TEST(strings_hold_whatever_the_text_holds)
{
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        char *text = written(write_string, &i);
        ck_assert_str_eq(text, strings[i].quoted);
        free(text);
    }
    char *format = written(write_format, "50 %d");
    ck_assert_str_eq(format, "\"50 %%d\"");
    free(format);
}
END_TEST

START_TEST(formats_are_told_by_the_end_of_the_name)
{
    static const char *const unknown[] = {"",       "x",        "x.gif", ".svg", "a/.png", "svg",
                                          "x.svg/", "x.svg.gz", "-.",    "--",   "x.pn"};
    ck_assert_int_eq(plot_format("-"), PLOT_TERMINAL);
    ck_assert_int_eq(plot_format("x.svg"), PLOT_SVG);
    ck_assert_int_eq(plot_format("a.b/x.PNG"), PLOT_PNG);
    ck_assert_int_eq(plot_format("/tmp/x.y.pdf"), PLOT_PDF);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        ck_assert_msg(plot_format(unknown[i]) == PLOT_UNKNOWN, "'%s' was taken", unknown[i]);
}
END_TEST

/* ---- Charts that are hardly any -------------------------------------------------------------- */

static struct chart *lines(bool logarithmic)
{
    struct chart *chart = chart_add(&lesson, CHART_LINES, "lines", "x", "y");
    chart->x_log = chart->y_log = logarithmic;
    return chart;
}

static void add(struct chart *chart, const char *name, double x, double y)
{
    chart_point(&lesson, chart_series(&lesson, chart, name, CHART_MARKED, COLOUR_THREADS),
                (struct chart_point){x, y, NAN, NAN, 0, false});
}

START_TEST(charts_without_data_are_not_drawn)
{
    begin();
    struct chart *none = lines(false);
    ck_assert(chart_is_empty(none));
    add(none, "not a number", NAN, 1.0);
    add(none, "neither", 1.0, INFINITY);
    ck_assert(chart_is_empty(none));
    struct chart *logarithm = lines(true);
    add(logarithm, "has no logarithm", 0.0, 1.0);
    add(logarithm, "nor has this", 1.0, -1.0);
    ck_assert(chart_is_empty(logarithm));
    struct chart *rows = chart_add(&lesson, CHART_ROWS, "rows", NULL, NULL);
    chart_row(&lesson, rows, "an empty row");
    ck_assert(chart_is_empty(rows));
    char *page = written(write_page, lesson.charts);
    ck_assert_ptr_null(strstr(page, "plot $"));
    free(page);

    struct error error;
    ck_assert_ptr_null(plot_svg(&lesson, none, false, &error));
    ck_assert_int_eq(error.code, ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "nothing to draw"));
    add(none, "something", 1.0, 2.0);
    ck_assert(!chart_is_empty(none));
    end();
}
END_TEST

START_TEST(what_is_no_number_is_left_out)
{
    begin();
    struct chart *chart = lines(false);
    add(chart, "gone", NAN, NAN);
    struct chart_series *series = chart_series(&lesson, chart, "stays", CHART_MARKED, COLOUR_GIL);
    chart_point(&lesson, series, (struct chart_point){1.0, 2.0, 1.5, NAN, 0, false});
    chart_point(&lesson, series, (struct chart_point){2.0, NAN, 1.5, 3.0, 0, false});
    chart_point(&lesson, series, (struct chart_point){3.0, 4.0, NAN, 4.5, 0, false});
    char *script = written(write_chart, chart);
    ck_assert_ptr_null(strstr(script, "gone"));
    ck_assert_ptr_null(strcasestr(script, "nan"));
    ck_assert_ptr_nonnull(strstr(script, "\n1 2 1.5 2\n3 4 4 4.5\nEND\n"));
    ck_assert_msg(strstr(script, "set xtics ('1' 1, '3' 3)") != NULL, "%.800s", script);
    free(script);
    end();
}
END_TEST

/* ---- Amdahl's fit ---------------------------------------------------------------------------- */

START_TEST(the_fit_finds_the_law)
{
    const double cores[] = {1, 2, 4, 8};
    double speedups[4];
    for (int i = 0; i < 4; i++)
        speedups[i] = 0.8 * lesson_amdahl(0.1, cores[i]);
    struct lesson_scaling fit = lesson_amdahl_fit(cores, speedups, 4);
    ck_assert_double_eq_tol(fit.serial, 0.1, 1e-12);
    ck_assert_double_eq_tol(fit.one_core, 0.8, 1e-12);

    fit = lesson_amdahl_fit(cores, speedups, 1); /* one number of cores, once and twice: nothing */
    ck_assert(isnan(fit.serial) && isnan(fit.one_core));
    fit = lesson_amdahl_fit((const double[]){2, 2}, (const double[]){1.5, 1.6}, 2);
    ck_assert(isnan(fit.serial));
    fit = lesson_amdahl_fit(cores, (const double[]){1, 0, 1, 1}, 4);
    ck_assert(isnan(fit.serial));

    fit = lesson_amdahl_fit(cores, (const double[]){1, 2.5, 7, 20}, 4); /* better than cores */
    ck_assert_double_eq(fit.serial, 0.0);
    fit = lesson_amdahl_fit(cores, (const double[]){1, 0.9, 0.8, 0.7}, 4); /* ever worse */
    ck_assert_double_eq(fit.serial, 1.0);
    ck_assert(fit.one_core > 0.7 && fit.one_core < 1.0);
}
END_TEST

/* ---- A lesson with figures ------------------------------------------------------------------- */

#define MOST_FIGURES 16
static struct lesson_figures figures[MOST_FIGURES];
static struct measured measured;

static struct lesson_figures *add_figures(enum lesson_mode mode, const char *name, int workers,
                                          double wall)
{
    struct lesson_figures *one = &figures[measured.results.count++];
    *one = (struct lesson_figures){.mode = mode,
                                   .workers = workers,
                                   .transfer = LESSON_COPY,
                                   .repeats = 3,
                                   .wall_min = 0.9 * wall,
                                   .wall_median = wall,
                                   .wall_max = 1.2 * wall,
                                   .cpu_median = workers * wall / 2,
                                   .speedup = figures[0].wall_median / wall,
                                   .efficiency = figures[0].wall_median / wall / workers,
                                   .matches = true,
                                   .tasks = 100};
    snprintf(one->name, sizeof one->name, "%s", name);
    return one;
}

/* Sequential, and threads, gil and processes with some numbers of workers. */
static void measure(const int *workers, int count)
{
    begin();
    measured = (struct measured){.figures = figures, .name = (char *)"it's \"a\" <task> & `x`"};
    measured.results.figures = figures;
    add_figures(LESSON_SEQUENTIAL, "sequential", 1, 8e-3)->speedup = 1.0;
    for (int i = 0; i < count; i++)
        add_figures(LESSON_THREADS, "threads", workers[i], 8e-3 * (0.1 + 0.9 / workers[i]));
    for (int i = 0; i < count; i++) {
        struct lesson_figures *one = add_figures(LESSON_PROCESSES, "processes, copy", workers[i],
                                                 8e-3 * (0.2 + 0.8 / workers[i]));
        one->startup = 2e-3;
        one->phases =
            (struct pool_phases){.send = 1e-4, .compute = 5e-3, .receive = 2e-4, .wait = 3e-4};
    }
    lesson.measured = &measured;
}

START_TEST(several_numbers_of_workers_make_lines)
{
    measure((const int[]){1, 2, 4, 8}, 4);
    charts_complete(&lesson);
    charts_complete(&lesson); /* once is enough */
    const struct chart *speedup = lesson.charts, *parts = speedup->next;
    ck_assert_ptr_null(parts->next);
    ck_assert_str_eq(speedup->workload, measured.name);
    ck_assert_int_eq(speedup->kind, CHART_LINES);
    ck_assert_double_eq(speedup->upright, 4.0); /* more workers than cores */
    ck_assert_ptr_nonnull(strstr(speedup->title, "speed-up against workers"));
    const struct chart_series *ideal = speedup->series, *threads = ideal->next->next;
    ck_assert_str_eq(ideal->name, "ideal");
    ck_assert_str_eq(threads->name, "threads (serial 10 %)");
    ck_assert_uint_eq(threads->count, 4);
    ck_assert_double_eq_tol(threads->points[1].y, 1 / 0.55, 1e-9);
    ck_assert_double_eq_tol(threads->points[1].low, 1 / 0.55 / 1.2, 1e-9);
    ck_assert_double_eq_tol(threads->points[1].high, 1 / 0.55 / 0.9, 1e-9);
    ck_assert_str_eq(threads->next->next->name, "processes, copy (serial 20 %)");

    ck_assert_uint_eq(parts->row_count, 9);
    ck_assert_str_eq(parts->rows[0], "sequential");
    ck_assert_str_eq(parts->rows[8], "processes, copy, 8");
    ck_assert_str_eq(parts->series->name, "start-up");
    ck_assert_uint_eq(parts->series->count, 4);                        /* of processes only */
    ck_assert_double_eq_tol(parts->series->points[0].high, 2.0, 1e-9); /* milliseconds */
    end();
}
END_TEST

START_TEST(one_number_of_workers_makes_bars)
{
    measure((const int[]){2}, 1);
    charts_complete(&lesson);
    ck_assert_int_eq(lesson.charts->kind, CHART_ROWS);
    ck_assert_uint_eq(lesson.charts->row_count, 2);
    ck_assert_str_eq(lesson.charts->rows[0], "threads: 1.82x");
    end();
    measured.quiet = true; /* what was not shown is not drawn */
    lesson.charts_complete = false;
    charts_complete(&lesson);
    ck_assert_ptr_null(lesson.charts);
    options.plot = NULL; /* nor what nobody wants */
    measured.quiet = false;
    charts_complete(&lesson);
    lesson_chart_picture(&lesson, "unwanted", (const float[]){1}, 1, 1);
    ck_assert_ptr_null(lesson.charts);
    end();
}
END_TEST

START_TEST(workers_make_series)
{
    measure((const int[]){1, 2, 8}, 3);
    json_t *series = series_document(&lesson);
    ck_assert_uint_eq(json_array_size(series), 2);
    const json_t *threads = json_array_get(series, 0);
    ck_assert_str_eq(json_string_value(json_object_get(threads, "mode")), "threads");
    ck_assert_uint_eq(json_array_size(json_object_get(threads, "columns")), 8);
    ck_assert_uint_eq(json_array_size(json_object_get(threads, "rows")), 3);
    ck_assert_double_eq(lesson_notebook_number(threads, "rows.2.0"), 8.0);
    ck_assert_double_eq_tol(lesson_notebook_number(threads, "rows.1.4"), 1 / 0.55, 1e-9);
    ck_assert_double_eq(lesson_notebook_number(threads, "rows.2.6"), 8.0);
    ck_assert_double_eq_tol(lesson_notebook_number(threads, "serial_part"), 0.1, 1e-9);
    /* 8 workers have 4 cores */
    ck_assert_double_eq_tol(lesson_notebook_number(threads, "rows.2.7"), 1 / 0.325, 1e-9);
    json_decref(series);
    end();
    measure((const int[]){2}, 1); /* nothing to plot over */
    series = series_document(&lesson);
    ck_assert_uint_eq(json_array_size(series), 0);
    json_decref(series);
    end();
}
END_TEST

/* ---- Timelines ------------------------------------------------------------------------------- */

#define TASKS 20000

/* Two rows: ten long tasks in two chunks, and very many short ones, without a gap. */
static void record(struct lesson_timeline *timeline)
{
    static struct lesson_event events[13 + TASKS];
    static char names[2][32] = {"worker 0, pid 11", "worker 1, pid 12"};
    size_t count = 0;
    for (int chunk = 0; chunk < 2; chunk++) {
        const double begin = 5e-3 * chunk;
        events[count++] =
            (struct lesson_event){.begin = begin, .end = begin + 5e-3, .kind = TIMELINE_CHUNK};
        for (int i = 0; i < 5; i++)
            events[count++] = (struct lesson_event){
                .begin = begin + 1e-3 * i, .end = begin + 1e-3 * i + 0.9e-3, .kind = TIMELINE_TASK};
    }
    for (size_t i = 0; i < TASKS; i++)
        events[count++] = (struct lesson_event){.begin = 1e-2 * (double)i / TASKS,
                                                .end = 1e-2 * (double)(i + 1) / TASKS,
                                                .row = 1,
                                                .kind = TIMELINE_TASK,
                                                .index = i};
    *timeline = (struct lesson_timeline){
        .wall = 1e-2, .rows = 2, .names = names, .count = count, .events = events};
}

START_TEST(timelines_are_boxes)
{
    struct lesson_timeline timeline;
    record(&timeline);
    measure((const int[]){2}, 1);
    figures[1].timeline = figures[2].timeline = &timeline;
    charts_complete(&lesson);
    const struct chart *chart = lesson.charts->next->next;
    ck_assert_ptr_nonnull(strstr(chart->title, "who did what when"));
    ck_assert_uint_eq(chart->row_count, 4);
    ck_assert_str_eq(chart->rows[3], "processes, copy: worker 1, pid 12");
    const struct chart_series *chunks = chart->series, *tasks = chunks->next->next->next;
    ck_assert_str_eq(chunks->name, "chunk");
    ck_assert_uint_eq(chunks->count, 4);
    ck_assert_str_eq(tasks->name, "task");
    ck_assert_uint_eq(tasks->count, 22); /* twice 10, and the many as one */
    ck_assert_double_eq_tol(tasks->points[10].high, 10.0, 1e-9);
    ck_assert(tasks->points[10].part == 0.0 || tasks->points[10].part > 0.999);
    ck_assert(tasks->points[0].shaded != tasks->points[1].shaded);
    end();
}
END_TEST

/* In turns of 1 ms, then of 1 us: one task for each of two threads. */
static void record_turns(struct lesson_timeline *timeline)
{
    static struct lesson_event events[2 * (1 + 5 + 2500)];
    static char names[2][32] = {"thread 0", "thread 1"};
    size_t count = 0;
    for (int row = 0; row < 2; row++) {
        events[count++] = (struct lesson_event){.end = 15e-3, .row = row, .kind = TIMELINE_TASK};
        for (int i = 0; i < 5; i++)
            events[count++] = (struct lesson_event){.begin = 1e-3 * (2 * i + row),
                                                    .end = 1e-3 * (2 * i + row + 1),
                                                    .row = row,
                                                    .kind = TIMELINE_GIL_WAIT};
        for (int i = 0; i < 2500; i++)
            events[count++] = (struct lesson_event){.begin = 10e-3 + 1e-6 * (2 * i + row),
                                                    .end = 10e-3 + 1e-6 * (2 * i + row + 1),
                                                    .row = row,
                                                    .kind = TIMELINE_GIL_WAIT};
    }
    *timeline = (struct lesson_timeline){
        .wall = 15e-3, .rows = 2, .names = names, .count = count, .events = events};
}

/* How much of this time the row is drawn as computing, or as waiting. */
static double drawn(const struct chart_series *series, double row, double begin, double end)
{
    double sum = 0.0;
    for (size_t i = 0; i < series->count; i++) {
        const struct chart_point *box = &series->points[i];
        const double length = fmin(box->high, end) - fmax(box->low, begin);
        if (box->y == row && length > 0.0)
            sum += length * (box->part > 0.0 ? box->part : 1.0);
    }
    return sum;
}

/* Where the turns are longer than a character, only one of the rows has a task there. */
static void check_turns(const char *text)
{
    const size_t first = (size_t)(strstr(text, "thread 0 ") - text);
    const size_t second = (size_t)(strstr(text, "thread 1 ") - text);
    for (size_t i = 10; i < 30; i++)
        ck_assert_msg((text[first + i] == '#') != (text[second + i] == '#'), "%s", text);
}

START_TEST(who_waits_for_the_gil_does_not_compute)
{
    struct lesson_timeline timeline;
    record_turns(&timeline);
    measure((const int[]){2}, 1);
    figures[1].timeline = &timeline;
    charts_complete(&lesson);
    const struct chart *chart = lesson.charts->next->next;
    const struct chart_series *waits = chart->series->next->next, *tasks = waits->next;
    ck_assert_str_eq(waits->name, "GIL wait");
    ck_assert_int_eq(waits->style, CHART_HANGING);
    ck_assert_str_eq(tasks->name, "task");
    for (int i = 0; i < 10; i++)
        for (int row = 0; row < 2; row++) {
            const double computes = (i + row) % 2;
            ck_assert_double_eq_tol(drawn(tasks, row, i, i + 1), computes, 0.01);
            ck_assert_double_eq_tol(drawn(waits, row, i, i + 1), 1.0 - computes, 0.01);
        }
    for (int row = 0; row < 2; row++) { /* too short to be seen: half of the height each */
        ck_assert_double_eq_tol(drawn(tasks, row, 10.0, 15.0), 2.5, 0.05);
        ck_assert_double_eq_tol(drawn(waits, row, 10.0, 15.0), 2.5, 0.05);
    }
    ck_assert_uint_lt(tasks->count, 60);
    for (size_t i = 1; i < tasks->count; i++) /* one task, one shade */
        ck_assert((tasks->points[i].shaded == tasks->points[i - 1].shaded) ==
                  (tasks->points[i].y == tasks->points[i - 1].y));
    if (has_gnuplot()) {
        char *script = written(write_chart_as_text, chart), *text = obey(script);
        check_turns(text);
        free(script);
        free(text);
    }
    end();
}
END_TEST

/* ---- Python beside C ------------------------------------------------------------------------- */

START_TEST(python_beside_c)
{
    struct python_row rows[] = {
        {.mode = LESSON_SEQUENTIAL, .wall = 0.8, .c_speedup = 100.0},
        {.mode = LESSON_GIL, .workers = 2, .wall = 1.0, .c_speedup = 80.0},
        {.mode = LESSON_PROCESSES, .workers = 2, .wall = 0.4, .c_speedup = NAN},
        {.mode = LESSON_SEQUENTIAL, .wall = 2e-3, .c_speedup = NAN}};
    for (int i = 0; i < 4; i++) {
        rows[i].python = (char *)"Python 3.11.2";
        rows[i].workload = rows[i].name = i < 3 ? measured.name : (char *)"only in Python";
        rows[i].next = i < 3 ? &rows[i + 1] : NULL;
    }
    measure((const int[]){2}, 1);
    for (int i = 0; i < 3; i++)
        rows[i].workload = rows[i].name = measured.name;
    lesson.python_rows = rows;
    charts_complete(&lesson);
    const struct chart *chart = lesson.charts->next->next;
    ck_assert_str_eq(chart->workload, measured.name);
    ck_assert_ptr_nonnull(strstr(chart->title, "Python 3.11.2 beside C"));
    ck_assert(chart->x_log);
    ck_assert_uint_eq(chart->row_count, 5);
    ck_assert_str_eq(chart->rows[0], "sequential, Python: 800 ms");
    ck_assert_str_eq(chart->rows[1], "sequential, C: 8.00 ms");
    ck_assert_str_eq(chart->rows[4], "processes, 2, Python: 400 ms");
    ck_assert_double_eq_tol(chart->series->points[1].high, 1.0, 1e-9);
    ck_assert_double_eq_tol(chart->series->points[1].low, 4e-3, 1e-9);
    ck_assert_uint_eq(chart->series->next->count, 2);
    ck_assert_str_eq(chart->next->workload, "only in Python");
    ck_assert_uint_eq(chart->next->row_count, 1);
    end();
}
END_TEST

/* ---- Ladders --------------------------------------------------------------------------------- */

START_TEST(a_rung_that_took_no_time)
{
    static const struct lesson_rung rungs[] = {{"a", "first", NULL, 1e-3, -1},
                                               {"b", "second", "better", 1e-4, 0},
                                               {"c", "third", "much better", 0.0, 1},
                                               {"d", "fourth", "slow again", 1e-4, 2}};
    begin();
    lesson.silent = true;
    lesson_ladder(&lesson, "A ladder", "task", rungs, 4,
                  (const char *const[]){"better", "much better", NULL});
    ck_assert_uint_eq(json_array_size(lesson.ladder), 4);
    const json_t *none = json_array_get(lesson.ladder, 2);
    ck_assert_double_eq(json_number_value(json_object_get(none, "task_s")), 0.0);
    ck_assert(json_is_null(json_object_get(none, "factor")));
    ck_assert(json_is_null(json_object_get(none, "product")));
    ck_assert(chart_draws(lesson.charts, lesson.charts->series));
    ck_assert_double_eq_tol(lesson.charts->series->points[1].high, 10.0, 1e-9);
    ck_assert(lesson.charts->series->points[1].low > 0.0);
    ck_assert_ptr_nonnull(strstr(lesson.charts->rows[2], ": -"));
    json_decref(lesson.ladder);
    end();
}
END_TEST

/* ---- Pictures -------------------------------------------------------------------------------- */

START_TEST(pictures_are_grey_and_not_too_large)
{
    begin();
    const size_t high = 1300, wide = 700;
    float *pixels = calloc(high * wide, sizeof *pixels);
    ck_assert_ptr_nonnull(pixels);
    for (size_t i = 0; i < high; i++)
        for (size_t j = 0; j < wide; j++)
            pixels[i * wide + j] = (float)i - 100;
    lesson_chart_picture(&lesson, "a picture", pixels, high, wide);
    const struct chart *chart = lesson.charts;
    ck_assert_uint_eq(chart->scale, 3);
    ck_assert_uint_eq(chart->height, 434);
    ck_assert_uint_eq(chart->width, 234);
    ck_assert_uint_eq(chart->pixels[0], 0);
    ck_assert_uint_eq(chart->pixels[chart->height * chart->width - 1], 255);
    ck_assert(!chart_is_empty(chart));
    lesson_chart_picture(&lesson, "one colour", pixels, 1, 1);
    pixels[5] = NAN;
    lesson_chart_picture(&lesson, "not all numbers", pixels, 3, 4);
    lesson_chart_picture(&lesson, "none", pixels, 0, 4);
    ck_assert_ptr_null(chart->next->next->next);
    free(pixels);
    end();
}
END_TEST

/* ---- gnuplot itself -------------------------------------------------------------------------- */

/* Everything on a page, with single points, hostile names, error bars, logarithms. */
START_TEST(gnuplot_draws_all_of_them)
{
    struct lesson_timeline timeline;
    record(&timeline);
    measure((const int[]){1, 2, 4, 8, 64}, 5);
    figures[3].timeline = &timeline; /* of threads on all cores */
    struct chart *one = lines(true);
    add(one, "'; system('touch hostile') #", 16.0, 0.5);
    add(lines(false), "`touch hostile`", -3.0, -2.0);
    struct chart *rows = chart_add(&lesson, CHART_ROWS, "", "", NULL);
    chart_point(&lesson, chart_series(&lesson, rows, "'%d`'", CHART_BOX, COLOUR_WAIT),
                (struct chart_point){NAN, (double)chart_row(&lesson, rows, "'%d %' `x` \"\\"), 1, 1,
                                     0, false});
    lesson_chart_picture(&lesson, "a picture", (const float[]){1, 2, 3, 4, 5, 6}, 2, 3);
    lesson_chart_picture(&lesson, "a pixel", (const float[]){1}, 1, 1);
    charts_complete(&lesson);
    if (has_gnuplot()) {
        char *script = written(write_page, lesson.charts), *svg = obey(script);
        ck_assert_uint_eq(count_of(script, "plot $"), 8);
        ck_assert_ptr_nonnull(strstr(svg, "</svg>"));
        ck_assert_ptr_nonnull(strstr(svg, "it's \"a\" &lt;task> &amp; `x`: speed-up"));
        ck_assert_ptr_nonnull(strstr(svg, "its foot"));
        ck_assert_ptr_nonnull(strstr(svg, "'%d %' `x` \"\\"));
        free(script);
        free(svg);
        script = written(write_chart_as_text, lesson.charts);
        char *text = obey(script);
        ck_assert_ptr_nonnull(strstr(text, "where the time went"));
        ck_assert_uint_eq(count_of(text, "ideal"), 1);
        free(script);
        free(text);
        ck_assert_int_ne(access("hostile", F_OK), 0);
    }
    end();
}
END_TEST

START_TEST(svg_for_a_page)
{
    struct error error;
    if (!has_gnuplot())
        return;
    measure((const int[]){1, 2}, 2);
    charts_complete(&lesson);
    char *light = plot_svg(&lesson, lesson.charts, false, &error);
    char *dark = plot_svg(&lesson, lesson.charts, true, &error);
    ck_assert_msg(light && dark, "%s", error.message);
    ck_assert_int_eq(strncmp(light, "<svg", 4), 0);
    ck_assert_ptr_nonnull(strstr(light, "viewBox=\"0 0 640 400\""));
    const char *tag = strchr(light, '>'), *width = strstr(light, " width=");
    ck_assert(width == NULL || width > tag); /* as wide as the page lets it be */
    ck_assert_ptr_nonnull(strstr(light, "id='chart1_gpDot'"));
    ck_assert_ptr_nonnull(strstr(light, "href='#chart1_gpPt"));
    ck_assert_ptr_nonnull(strstr(dark, "id='chart2_gpDot'"));
    ck_assert_ptr_null(strstr(dark, "'#gpPt"));
    ck_assert_str_ne(light + 400, dark + 400);
    ck_assert_ptr_null(strstr(light, "fill = 'white'"));
    free(light);
    free(dark);
    end();
}
END_TEST

START_TEST(a_gnuplot_that_is_not_there)
{
    struct error error;
    setenv("GNUPLOT", "/nonexistent/gnuplot", 1);
    measure((const int[]){1, 2}, 2);
    charts_complete(&lesson);
    ck_assert_ptr_null(plot_svg(&lesson, lesson.charts, false, &error));
    ck_assert_str_eq(error.message, "GNUPLOT names '/nonexistent/gnuplot', which is no program");
    setenv("GNUPLOT", "/bin/true", 1);
    ck_assert_ptr_null(plot_svg(&lesson, lesson.charts, false, &error));
    ck_assert_str_eq(error.message, "gnuplot drew nothing");
    setenv("GNUPLOT", "/bin/echo", 1);
    ck_assert_ptr_null(plot_svg(&lesson, lesson.charts, false, &error));
    ck_assert_str_eq(error.message, "gnuplot wrote no SVG");
    unsetenv("GNUPLOT");
    setenv("PATH", "/nonexistent", 1);
    ck_assert_ptr_null(plot_svg(&lesson, lesson.charts, false, &error));
    ck_assert_ptr_nonnull(strstr(error.message, "install gnuplot-nox"));
    end();
}
END_TEST

/* ---- A child's input ------------------------------------------------------------------------- */

START_TEST(a_child_reads_its_input_and_all_its_output_comes)
{
    enum { SIZE = 3000000 };
    char *text = malloc(SIZE), *output;
    struct error error;
    size_t length = 0;
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (char)(i * 7 % 251); /* zeros among them */
    const char *const copy[] = {"/bin/cat", NULL}, *const ignore[] = {"/bin/true", NULL};
    ck_assert_int_eq(run_program_with(copy, text, SIZE, 60.0, &output, &length, &error), 0);
    ck_assert_uint_eq(length, SIZE);
    ck_assert_int_eq(memcmp(output, text, SIZE), 0);
    free(output);
    ck_assert_int_eq(run_program_with(ignore, text, SIZE, 60.0, &output, &length, &error), 0);
    ck_assert_ptr_null(output);
    ck_assert_int_eq(run_program(copy, 60.0, &output, &error), 0); /* no input: its end at once */
    ck_assert_ptr_null(output);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plot");
    TCase *charts = tcase_create("charts");
    tcase_set_timeout(charts, 100);
    tcase_add_test(charts, strings_hold_whatever_the_text_holds);
    tcase_add_test(charts, formats_are_told_by_the_end_of_the_name);
    tcase_add_test(charts, charts_without_data_are_not_drawn);
    tcase_add_test(charts, what_is_no_number_is_left_out);
    tcase_add_test(charts, the_fit_finds_the_law);
    tcase_add_test(charts, several_numbers_of_workers_make_lines);
    tcase_add_test(charts, one_number_of_workers_makes_bars);
    tcase_add_test(charts, workers_make_series);
    tcase_add_test(charts, timelines_are_boxes);
    tcase_add_test(charts, who_waits_for_the_gil_does_not_compute);
    tcase_add_test(charts, python_beside_c);
    tcase_add_test(charts, a_rung_that_took_no_time);
    tcase_add_test(charts, pictures_are_grey_and_not_too_large);
    tcase_add_test(charts, gnuplot_draws_all_of_them);
    tcase_add_test(charts, svg_for_a_page);
    tcase_add_test(charts, a_gnuplot_that_is_not_there);
    tcase_add_test(charts, a_child_reads_its_input_and_all_its_output_comes);
    suite_add_tcase(suite, charts);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
