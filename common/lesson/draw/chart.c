/* A chart: what it is made of. */
#include "common/lesson/draw/draw.h"
#include <math.h>
#include <stdlib.h>

static char *copy(struct lesson *lesson, const char *text)
{
    char *copied = text ? strdup(text) : NULL;
    if (text && !copied)
        lesson_die(lesson, "out of memory");
    return copied;
}

bool charts_wanted(const struct lesson *lesson)
{
    return lesson->options->plot || lesson->options->report;
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
