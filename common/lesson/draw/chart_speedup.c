/* The chart of a workload's speed-up: over the workers, or a bar for each way. */
#include "common/lesson/draw/draw.h"
#include "common/lesson/evidence.h"
#include <math.h>
#include <stdlib.h>

#define MOST_WORKERS_LINEAR 12 /* beyond, both axes of a speed-up are logarithmic */
#define STEPS               60 /* of a curve */

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

static void add_way(struct lesson *lesson, struct chart *chart,
                    const struct lesson_results *results, size_t first, int most)
{
    const struct lesson_figures *figures = &results->figures[first];
    const struct lesson_scaling fit =
        lesson_fit_rows(results, figures->name, lesson->machine->cores);
    char name[80];
    if (isnan(fit.serial))
        snprintf(name, sizeof name, "%s", figures->name);
    else
        snprintf(name, sizeof name, "%s (serial %.0f %%)", figures->name, 100.0 * fit.serial);
    struct chart_series *curve =
        chart_series(lesson, chart, NULL, CHART_DASHED, colour_of(figures));
    for (int i = 0; i <= STEPS && !isnan(fit.serial); i++) {
        const double x = 1.0 + (most - 1.0) * i / STEPS;
        const double cores = fmin(x, lesson->machine->cores);
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
    if (most > lesson->machine->cores)
        chart->upright = lesson->machine->cores;
    struct chart_series *ideal = chart_series(lesson, chart, "ideal", CHART_DASHED, COLOUR_IDEAL);
    chart_point(lesson, ideal, (struct chart_point){1.0, 1.0, NAN, NAN, 0, false});
    chart_point(lesson, ideal, (struct chart_point){most, most, NAN, NAN, 0, false});
    for (size_t i = 1; i < results->count; i++)
        if (is_first_of_name(results, i))
            add_way(lesson, chart, results, i, most);
}

/* One number of workers: a bar for each way. */
static void add_speedup_bars(struct lesson *lesson, const struct measured *measured, int workers)
{
    const struct lesson_results *results = &measured->results;
    char title[64], name[80];
    snprintf(title, sizeof title, "speed-up with %d worker%s", workers, plural(workers));
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

void charts_add_speedup(struct lesson *lesson, const struct measured *measured)
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
