#include "common/lesson/charts.h"
#include "common/lesson/evidence.h"
#include "common/lesson/internal.h"
#include <math.h>
#include <stdlib.h>

#define MOST_WORKERS_LINEAR 12  /* beyond, both axes of a speed-up are logarithmic */
#define STEPS               60  /* of a curve */
#define MOST_PIXELS         512 /* of a picture's side */

/* ---- A chart --------------------------------------------------------------------------------- */

static char *copy(struct lesson *lesson, const char *text)
{
    char *copied = text ? strdup(text) : NULL;
    if (text && !copied)
        lesson_die(lesson, "out of memory");
    return copied;
}

bool charts_wanted(const struct lesson *lesson)
{
    return lesson->options.plot || lesson->options.report;
}

struct chart *chart_add(struct lesson *lesson, enum chart_kind kind, const char *title,
                        const char *x_title, const char *y_title)
{
    struct chart *chart = lesson_allocate(lesson, 1, sizeof *chart), **end = &lesson->charts;
    *chart = (struct chart){.kind = kind,
                            .title = copy(lesson, title),
                            .x_title = copy(lesson, x_title),
                            .y_title = copy(lesson, y_title),
                            .level = NAN,
                            .upright = NAN};
    while (*end)
        end = &(*end)->next;
    *end = chart;
    return chart;
}

struct chart_series *chart_series(struct lesson *lesson, struct chart *chart, const char *name,
                                  enum chart_style style, enum chart_colour colour)
{
    struct chart_series *series = lesson_allocate(lesson, 1, sizeof *series), **end;
    *series = (struct chart_series){.name = copy(lesson, name), .style = style, .colour = colour};
    for (end = &chart->series; *end; end = &(*end)->next)
        ;
    *end = series;
    return series;
}

void chart_point(struct lesson *lesson, struct chart_series *series, struct chart_point point)
{
    if (!series->points || series->count == series->room) {
        series->room = series->room ? 2 * series->room : 16;
        series->points = reallocarray(series->points, series->room, sizeof *series->points);
        if (!series->points)
            lesson_die(lesson, "out of memory");
    }
    series->points[series->count++] = point;
}

size_t chart_row(struct lesson *lesson, struct chart *chart, const char *name)
{
    chart->rows = reallocarray(chart->rows, chart->row_count + 1, sizeof *chart->rows);
    if (!chart->rows)
        lesson_die(lesson, "out of memory");
    chart->rows[chart->row_count] = copy(lesson, name);
    return chart->row_count++;
}

static void free_chart(struct chart *chart)
{
    for (struct chart_series *series = chart->series, *next; series; series = next) {
        next = series->next;
        free(series->name);
        free(series->points);
        free(series);
    }
    for (size_t i = 0; i < chart->row_count; i++)
        free(chart->rows[i]);
    free(chart->rows);
    free(chart->pixels);
    free(chart->title);
    free(chart->x_title);
    free(chart->y_title);
    free(chart->workload);
    free(chart);
}

void charts_free(struct lesson *lesson)
{
    while (lesson->charts) {
        struct chart *chart = lesson->charts;
        lesson->charts = chart->next;
        free_chart(chart);
    }
}

const char *chart_time_unit(double seconds, double *factor)
{
    *factor = seconds >= 1.0 ? 1.0 : seconds >= 1e-3 ? 1e3 : seconds >= 1e-6 ? 1e6 : 1e9;
    return *factor == 1.0 ? "s" : *factor == 1e3 ? "ms" : *factor == 1e6 ? "us" : "ns";
}

struct chart *chart_of_workload(struct lesson *lesson, const char *workload, enum chart_kind kind,
                                const char *what, const char *x_title, const char *y_title)
{
    char title[256];
    snprintf(title, sizeof title, "%s: %s", workload, what);
    struct chart *chart = chart_add(lesson, kind, title, x_title, y_title);
    chart->workload = copy(lesson, workload);
    return chart;
}

/* ---- Of one workload: speed-up --------------------------------------------------------------- */

static enum chart_colour colour_of(const struct lesson_figures *figures)
{
    static const enum chart_colour colours[LESSON_MODES] = {COLOUR_SEQUENTIAL, COLOUR_THREADS,
                                                            COLOUR_GIL, COLOUR_COPY};
    return figures->mode == LESSON_PROCESSES && figures->transfer == LESSON_SHARED
               ? COLOUR_SHARED
               : colours[figures->mode];
}

/* The speedup, with what the fastest and the slowest run would make of it. */
static struct chart_point speedup_point(const struct lesson_results *results, size_t i)
{
    const struct lesson_figures *figures = &results->figures[i];
    const double base = results->figures[0].wall_median;
    return (struct chart_point){.x = figures->workers,
                                .y = figures->speedup,
                                .low = base / figures->wall_max,
                                .high = base / figures->wall_min};
}

/* The rows of a way have one name; is this the first of them? */
static bool is_first(const struct lesson_results *results, size_t i)
{
    for (size_t before = 1; before < i; before++)
        if (strcmp(results->figures[before].name, results->figures[i].name) == 0)
            return false;
    return true;
}

static void add_way(struct lesson *lesson, struct chart *chart,
                    const struct lesson_results *results, size_t first, int most)
{
    const struct lesson_figures *figures = &results->figures[first];
    const struct lesson_scaling fit =
        lesson_fit_rows(results, figures->name, lesson->machine.cores);
    char name[80];
    if (isnan(fit.serial))
        snprintf(name, sizeof name, "%s", figures->name);
    else
        snprintf(name, sizeof name, "%s (serial %.0f %%)", figures->name, 100.0 * fit.serial);
    struct chart_series *curve =
        chart_series(lesson, chart, NULL, CHART_DASHED, colour_of(figures));
    for (int i = 0; i <= STEPS && !isnan(fit.serial); i++) {
        const double x = 1.0 + (most - 1.0) * i / STEPS;
        const double cores = fmin(x, lesson->machine.cores);
        chart_point(lesson, curve,
                    (struct chart_point){x, fit.one_core * lesson_amdahl(fit.serial, cores), NAN,
                                         NAN, 0, false});
    }
    struct chart_series *series =
        chart_series(lesson, chart, name, CHART_MARKED, colour_of(figures));
    for (size_t i = first; i < results->count; i++)
        if (strcmp(results->figures[i].name, figures->name) == 0)
            chart_point(lesson, series, speedup_point(results, i));
}

/* Several numbers of workers: lines. */
static void add_speedup_lines(struct lesson *lesson, const struct measured *measured, int most)
{
    const struct lesson_results *results = &measured->results;
    struct chart *chart =
        chart_of_workload(lesson, measured->name, CHART_LINES, "speed-up against workers",
                          "workers", "speed-up (dashed: Amdahl)");
    chart->x_log = chart->y_log = most > MOST_WORKERS_LINEAR;
    chart->level = 1.0;
    if (most > lesson->machine.cores)
        chart->upright = lesson->machine.cores;
    struct chart_series *ideal = chart_series(lesson, chart, "ideal", CHART_DASHED, COLOUR_IDEAL);
    chart_point(lesson, ideal, (struct chart_point){1.0, 1.0, NAN, NAN, 0, false});
    chart_point(lesson, ideal, (struct chart_point){most, most, NAN, NAN, 0, false});
    for (size_t i = 1; i < results->count; i++)
        if (is_first(results, i))
            add_way(lesson, chart, results, i, most);
}

/* One number of workers: a bar for each way. */
static void add_speedup_bars(struct lesson *lesson, const struct measured *measured, int workers)
{
    const struct lesson_results *results = &measured->results;
    char title[64], name[80];
    snprintf(title, sizeof title, "speed-up with %d worker%s", workers, workers == 1 ? "" : "s");
    struct chart *chart = chart_of_workload(lesson, measured->name, CHART_ROWS, title,
                                            "speed-up (line: fastest and slowest run)", NULL);
    chart->upright = 1.0;
    for (size_t i = 1; i < results->count; i++) {
        const struct chart_point point = speedup_point(results, i);
        snprintf(name, sizeof name, "%s: %.2fx", results->figures[i].name, point.y);
        const double row = (double)chart_row(lesson, chart, name);
        struct chart_series *series =
            chart_series(lesson, chart, NULL, CHART_BOX, colour_of(&results->figures[i]));
        chart_point(lesson, series, (struct chart_point){NAN, row, 0.0, point.y, 0, false});
        series = chart_series(lesson, chart, NULL, CHART_WHISKER, COLOUR_SEQUENTIAL);
        chart_point(lesson, series,
                    (struct chart_point){NAN, row, point.low, point.high, 0, false});
    }
}

static void add_speedup(struct lesson *lesson, const struct measured *measured)
{
    int least = 0, most = 0;
    for (size_t i = 1; i < measured->results.count; i++) {
        const int workers = measured->results.figures[i].workers;
        least = least == 0 || workers < least ? workers : least;
        most = workers > most ? workers : most;
    }
    if (most > least)
        add_speedup_lines(lesson, measured, most);
    else if (most > 0)
        add_speedup_bars(lesson, measured, most);
}

/* ---- Of one workload: where the time went ---------------------------------------------------- */

enum part { STARTUP, SEND, COMPUTE, RECEIVE, WAIT, PARTS };

/* Of processes as the pool measured it. Of others a worker computed, on average, for the CPU time
 * divided by the workers that ran, and waited for the rest. */
static void parts_of(const struct lesson_figures *figures, double parts[PARTS])
{
    const double busy = fmin(figures->cpu_median / at_work(figures), figures->wall_median);
    memset(parts, 0, PARTS * sizeof *parts);
    if (figures->mode == LESSON_PROCESSES) {
        parts[STARTUP] = figures->startup;
        parts[SEND] = figures->phases.send;
        parts[COMPUTE] = figures->phases.compute;
        parts[RECEIVE] = figures->phases.receive;
        parts[WAIT] = figures->phases.wait;
    } else {
        parts[COMPUTE] = busy;
        parts[WAIT] = figures->wall_median - busy;
    }
}

static void add_parts(struct lesson *lesson, const struct measured *measured)
{
    static const char *const names[PARTS] = {"start-up", "send", "compute", "receive", "wait"};
    struct chart_series *series[PARTS];
    double longest = 0.0, factor, parts[PARTS];
    char x_title[64], name[80];
    for (size_t i = 0; i < measured->results.count; i++) {
        double sum = 0.0;
        parts_of(&measured->results.figures[i], parts);
        for (enum part p = 0; p < PARTS; p++)
            sum += parts[p];
        longest = fmax(longest, sum);
    }
    const char *unit = chart_time_unit(longest, &factor);
    snprintf(x_title, sizeof x_title, "time, %s", unit);
    struct chart *chart =
        chart_of_workload(lesson, measured->name, CHART_ROWS, "where the time went", x_title, NULL);
    for (enum part p = 0; p < PARTS; p++)
        series[p] = chart_series(lesson, chart, names[p], CHART_BOX, COLOUR_STARTUP + p);
    for (size_t i = 0; i < measured->results.count; i++) {
        const struct lesson_figures *figures = &measured->results.figures[i];
        double at = 0.0;
        snprintf(name, sizeof name, i == 0 ? "%s" : "%s, %d", figures->name, figures->workers);
        const double row = (double)chart_row(lesson, chart, name);
        parts_of(figures, parts);
        for (enum part p = 0; p < PARTS; p++) {
            if (parts[p] > 0.0)
                chart_point(lesson, series[p],
                            (struct chart_point){NAN, row, factor * at, factor * (at + parts[p]), 0,
                                                 false});
            at += parts[p];
        }
    }
}

void charts_complete(struct lesson *lesson)
{
    struct chart *others = lesson->charts, **end = &lesson->charts;
    if (lesson->charts_complete || !charts_wanted(lesson))
        return;
    lesson->charts = NULL;
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next) {
        if (measured->quiet)
            continue;
        add_speedup(lesson, measured);
        add_parts(lesson, measured);
        charts_add_timelines(lesson, measured);
    }
    charts_add_python(lesson);
    while (*end)
        end = &(*end)->next;
    *end = others;
    lesson->charts_complete = true;
}

/* ---- Pictures -------------------------------------------------------------------------------- */

/* The mean of the pixels that one of the chart's stands for. */
static double mean(const float *pixels, size_t height, size_t width, size_t row, size_t column,
                   size_t scale)
{
    double sum = 0.0;
    size_t count = 0;
    for (size_t y = row * scale; y < (row + 1) * scale && y < height; y++)
        for (size_t x = column * scale; x < (column + 1) * scale && x < width; x++, count++)
            sum += pixels[y * width + x];
    return sum / (double)count;
}

void lesson_chart_picture(struct lesson *lesson, const char *title, const float *pixels,
                          size_t height, size_t width)
{
    float least = INFINITY, most = -INFINITY;
    if (!charts_wanted(lesson) || height == 0 || width == 0)
        return;
    struct chart *chart = chart_add(lesson, CHART_PICTURE, title, NULL, NULL);
    const size_t longer = height > width ? height : width;
    const size_t scale = (longer + MOST_PIXELS - 1) / MOST_PIXELS;
    chart->scale = scale;
    chart->height = (height + scale - 1) / scale;
    chart->width = (width + scale - 1) / scale;
    chart->pixels = lesson_allocate(lesson, chart->height * chart->width, 1);
    for (size_t i = 0; i < height * width; i++) {
        least = fminf(least, pixels[i]);
        most = fmaxf(most, pixels[i]);
    }
    for (size_t i = 0; i < chart->height * chart->width && most > least; i++) {
        const double value = mean(pixels, height, width, i / chart->width, i % chart->width, scale);
        const double grey = 255.0 * (value - least) / ((double)most - least);
        chart->pixels[i] = grey >= 0.0 && grey <= 255.0 ? (unsigned char)lrint(grey) : 0;
    }
}
