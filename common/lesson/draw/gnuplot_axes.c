/* What every panel needs: colours, text, ranges, axes.
 *
 * All text stands in strings without anything in them that gnuplot would obey. Ranges are computed
 * here: gnuplot's own would fail for a single point, and do not know of error bars.
 */
#include "common/lesson/draw/draw.h"
#include "common/lesson/draw/gnuplot.h"
#include <math.h>
#include <stdlib.h>

/* Okabe and Ito's colours, which the colour-blind tell apart; on a dark page, lighter. */
static const struct {
    unsigned light, dark; /* 0xRRGGBB */
    char mark;            /* of a terminal */
    int point;            /* gnuplot's point type */
} colours[CHART_COLOURS] = {
    [COLOUR_SEQUENTIAL] = {0x1a1a1a, 0xe0e0e0, 'q', 5},
    [COLOUR_THREADS] = {0x0072b2, 0x56b4e9, 'T', 7},
    [COLOUR_GIL] = {0xe69f00, 0xe69f00, 'G', 9},
    [COLOUR_COPY] = {0x009e73, 0x2fc79b, 'C', 5},
    [COLOUR_SHARED] = {0xcc79a7, 0xcc79a7, 'S', 13},
    [COLOUR_IDEAL] = {0x808080, 0x9a9a9a, '.', 1},
    [COLOUR_STARTUP] = {0xcc79a7, 0xcc79a7, '^', 1},
    [COLOUR_SEND] = {0xe69f00, 0xe69f00, '>', 1},
    [COLOUR_COMPUTE] = {0x0072b2, 0x3f9fdc, '#', 1},
    [COLOUR_RECEIVE] = {0x009e73, 0x2fc79b, '<', 1},
    [COLOUR_WAIT] = {0xd0d0d0, 0x585858, '.', 1},
    [COLOUR_GIL_WAIT] = {0xf0a27c, 0x9a4a20, '!', 1},
    [COLOUR_CHUNK] = {0xbfdff2, 0x27506b, '-', 1},
    [COLOUR_HELD] = {0xf7dfaa, 0x6b5310, '=', 1},
};

unsigned gnuplot_colour(enum chart_colour colour, const struct chart_look *look)
{
    return look->dark ? colours[colour].dark : colours[colour].light;
}

char gnuplot_mark(enum chart_colour colour)
{
    return colours[colour].mark;
}

int gnuplot_point_type(enum chart_colour colour)
{
    return colours[colour].point;
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* Nothing that gnuplot replaces in double quotes stands there as itself. (In single quotes it
 * replaces nothing, but cannot read a quote at the beginning.) A tick's label is a format. */
static void write_string(FILE *script, const char *text, size_t most, bool utf8, bool format)
{
    const bool cut = utf8_length(text) > most;
    fputc('"', script);
    for (size_t length, i = 0; *text && i < (cut ? most - 3 : most); text += length, i++) {
        length = utf8_character(text);
        if (length == 0 || (length > 1 && !utf8))
            fputc('?', script);
        else if (strchr("\"\\`'$@", *text))
            fprintf(script, "\\%03o", (unsigned)(unsigned char)*text);
        else
            fprintf(script, "%s%.*s", format && *text == '%' ? "%" : "", (int)length, text);
        length += length == 0;
    }
    fprintf(script, "%s\"", cut ? "..." : "");
}

void gnuplot_string(FILE *script, const char *text, size_t most, bool utf8)
{
    write_string(script, text, most, utf8, false);
}

void gnuplot_format(FILE *script, const char *text, size_t most, bool utf8)
{
    write_string(script, text, most, utf8, true);
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

bool chart_fits(double value, bool logarithmic)
{
    return isfinite(value) && (!logarithmic || value > 0.0);
}

static void widen(struct range *range, double value, bool logarithmic)
{
    if (chart_fits(value, logarithmic)) {
        range->low = fmin(range->low, value);
        range->high = fmax(range->high, value);
    }
}

/* A little more than the values; never empty; from 0 on where it is said. */
static struct range rounded(struct range range, bool logarithmic, bool from_zero)
{
    if (range.low > range.high)
        return (struct range){logarithmic ? 0.1 : 0.0, 1.0};
    if (logarithmic)
        return (struct range){range.low / 1.15, range.high * 1.15};
    if (from_zero)
        range.low = fmin(range.low, 0.0);
    const double width = range.high > range.low ? range.high - range.low : 1.0;
    return (struct range){from_zero && range.low >= 0.0 ? 0.0 : range.low - 0.05 * width,
                          range.high + 0.05 * width};
}

struct range chart_x_range(const struct chart *chart)
{
    const bool rows = chart->kind == CHART_ROWS;
    struct range range = {INFINITY, -INFINITY};
    widen(&range, chart->upright, chart->x_log);
    for (const struct chart_series *series = chart->series; series; series = series->next)
        for (size_t i = 0; i < series->count; i++) {
            widen(&range, rows ? series->points[i].low : series->points[i].x, chart->x_log);
            widen(&range, rows ? series->points[i].high : series->points[i].x, chart->x_log);
        }
    return rounded(range, chart->x_log, rows);
}

static struct range y_range(const struct chart *chart)
{
    struct range range = {INFINITY, -INFINITY};
    widen(&range, chart->level, chart->y_log);
    for (const struct chart_series *series = chart->series; series; series = series->next)
        for (size_t i = 0; i < series->count; i++) {
            widen(&range, series->points[i].y, chart->y_log);
            widen(&range, series->points[i].low, chart->y_log);
            widen(&range, series->points[i].high, chart->y_log);
        }
    return rounded(range, chart->y_log, true);
}

bool chart_is_empty(const struct chart *chart)
{
    for (const struct chart_series *series = chart->series; series; series = series->next)
        for (size_t i = 0; i < series->count; i++) {
            const struct chart_point *point = &series->points[i];
            if (chart->kind == CHART_ROWS
                    ? chart_fits(point->low, chart->x_log) && chart_fits(point->high, chart->x_log)
                    : chart_fits(point->x, chart->x_log) && chart_fits(point->y, chart->y_log))
                return false;
        }
    return !chart->pixels;
}

/* ---- Axes --------------------------------------------------------------------------- */

bool chart_draws(const struct chart *chart, const struct chart_series *series)
{
    const struct chart only = {
        .kind = chart->kind,
        .x_log = chart->x_log,
        .y_log = chart->y_log,
        .series = &(struct chart_series){.count = series->count, .points = series->points}};
    return !chart_is_empty(&only);
}

static void write_line(FILE *script, const char *from_to, double value,
                       const struct chart_look *look)
{
    fprintf(script, from_to, value, value);
    if (look->text)
        fprintf(script, " nohead\n");
    else
        fprintf(script, " nohead dashtype 3 linewidth 1.5 linecolor rgb '#%06x'\n",
                gnuplot_colour(COLOUR_IDEAL, look));
}

void gnuplot_axes(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    const struct range x = chart_x_range(chart), y = y_range(chart);
    if (chart->x_log)
        fprintf(script, "set logscale x\n");
    if (chart->y_log)
        fprintf(script, "set logscale y 2\nset format y '%%g'\n");
    fprintf(script, "set xrange [%.9g:%.9g]\n", x.low, x.high);
    if (chart->kind == CHART_ROWS && look->text) /* the last line is the axis */
        fprintf(script, "set yrange [%zu:0]\n", chart->row_count);
    else if (chart->kind == CHART_ROWS)
        fprintf(script, "set yrange [%.1f:-0.5]\n", (double)chart->row_count - 0.5);
    else
        fprintf(script, "set yrange [%.9g:%.9g]\n", y.low, y.high);
    if (isfinite(chart->level))
        write_line(script, "set arrow from graph 0, first %.9g to graph 1, first %.9g",
                   chart->level, look);
    if (isfinite(chart->upright))
        write_line(script, "set arrow from first %.9g, graph 0 to first %.9g, graph 1",
                   chart->upright, look);
}
