/* The chart of where a workload's time went. */
#include "common/lesson/draw/draw.h"
#include <math.h>

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

void charts_add_time(struct lesson *lesson, const struct measured *measured)
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
