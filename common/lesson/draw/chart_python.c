/* The charts of --python: how long a workload takes in each way, in Python and in C. */
#include "common/lesson/draw/draw.h"
#include <math.h>

/* Where the axis begins, which has no 0. */
#define BEFORE_ALL 0.5 /* of the shortest time */

struct bars {
    struct lesson *lesson;
    struct chart *chart;
    struct chart_series *python, *c;
    double begin, factor;
};

static bool same_chart(const struct python_row *a, const struct python_row *b)
{
    return b && strcmp(a->python, b->python) == 0 && strcmp(a->name, b->name) == 0;
}

/* C's time for as many tasks; NAN: it has no such row. */
static double seconds_in_c(const struct python_row *row)
{
    return row->wall / row->c_speedup;
}

static void add_bar(struct bars *bars, struct chart_series *series, const struct python_row *row,
                    const char *language, double seconds)
{
    char name[128], workers[16] = "";
    if (!isfinite(seconds) || seconds <= 0.0)
        return;
    if (row->mode != LESSON_SEQUENTIAL)
        snprintf(workers, sizeof workers, ", %d", row->workers);
    snprintf(name, sizeof name, "%s%s, %s: %s", lesson_mode_names[row->mode], workers, language,
             lesson_time_text(seconds));
    chart_point(bars->lesson, series,
                (struct chart_point){.x = NAN,
                                     .y = (double)chart_row(bars->lesson, bars->chart, name),
                                     .low = bars->factor * bars->begin,
                                     .high = bars->factor * seconds});
}

static void add_chart(struct lesson *lesson, const struct python_row *first)
{
    struct bars bars = {.lesson = lesson};
    double least = INFINITY, most = 0.0;
    char what[128], x_title[64];
    for (const struct python_row *row = first; same_chart(first, row); row = row->next) {
        least = fmin(least, fmin(row->wall, seconds_in_c(row))); /* fmin, fmax: not of NAN */
        most = fmax(most, fmax(row->wall, seconds_in_c(row)));
    }
    const char *unit = chart_time_unit(most, &bars.factor);
    bars.begin = BEFORE_ALL * least;
    snprintf(what, sizeof what, "%.40s%s%.40s beside C", first->python,
             strcmp(first->workload, first->name) == 0 ? "" : ", ",
             strcmp(first->workload, first->name) == 0 ? "" : first->name);
    snprintf(x_title, sizeof x_title, "wall, %s; each mark is ten times the one before", unit);
    bars.chart = chart_of_workload(lesson, first->workload, CHART_ROWS, what, x_title, NULL);
    bars.chart->x_log = true;
    bars.python = chart_series(lesson, bars.chart, "Python", CHART_BOX, COLOUR_GIL);
    bars.c = chart_series(lesson, bars.chart, "C", CHART_BOX, COLOUR_COMPUTE);
    for (const struct python_row *row = first; same_chart(first, row); row = row->next) {
        add_bar(&bars, bars.python, row, "Python", row->wall);
        add_bar(&bars, bars.c, row, "C", seconds_in_c(row));
    }
}

void charts_add_python(struct lesson *lesson)
{
    const struct python_row *before = NULL;
    for (const struct python_row *row = lesson->python_rows; row; before = row, row = row->next)
        if (!before || !same_chart(before, row))
            add_chart(lesson, row);
}
