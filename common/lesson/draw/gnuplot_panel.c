/* What stands in a panel: lines, boxes in rows, or a picture; each its data first, then how to draw
 * them. A terminal of characters cannot fill a box, so there a box is a row of points, each a
 * character. */
#include "common/lesson/draw/draw.h"
#include "common/lesson/draw/gnuplot.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#define MOST_TICKS   12
#define RIGHT_MARGIN 3 /* characters */

static void begin_series(FILE *script, int number)
{
    fprintf(script, "%s$data%d ", number == 0 ? "plot " : ", \\\n  ", number);
}

static void end_series(FILE *script, const struct chart_series *series,
                       const struct chart_look *look)
{
    if (series->name) {
        fprintf(script, " title ");
        gnuplot_string(script, series->name, MOST_NAME, look->utf8);
    } else {
        fprintf(script, " notitle");
    }
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static bool has_place(const struct chart *chart, const struct chart_point *point)
{
    return chart_fits(point->x, chart->x_log) && chart_fits(point->y, chart->y_log);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Where there was a measurement is a mark on the axis, if they are few. */
static void write_x_ticks(FILE *script, const struct chart *chart)
{
    double ticks[256] = {0};
    size_t count = 0, kept = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        for (size_t i = 0; series->style == CHART_MARKED && i < series->count; i++)
            if (count < sizeof ticks / sizeof *ticks && has_place(chart, &series->points[i]))
                ticks[count++] = series->points[i].x;
    qsort(ticks, count, sizeof *ticks, compare);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || ticks[i] > ticks[kept - 1])
            ticks[kept++] = ticks[i];
    if (kept == 0 || kept > MOST_TICKS)
        return;
    fprintf(script, "set xtics (");
    for (size_t i = 0; i < kept; i++)
        fprintf(script, "%s'%g' %.9g", i ? ", " : "", ticks[i], ticks[i]);
    fprintf(script, ")\n");
}

static void write_line_data(FILE *script, const struct chart *chart,
                            const struct chart_series *series, int number)
{
    fprintf(script, "$data%d << END\n", number);
    for (size_t i = 0; i < series->count; i++) {
        const struct chart_point *point = &series->points[i];
        if (has_place(chart, point))
            fprintf(script, "%.9g %.9g %.9g %.9g\n", point->x, point->y,
                    chart_fits(point->low, chart->y_log) ? point->low : point->y,
                    chart_fits(point->high, chart->y_log) ? point->high : point->y);
    }
    fprintf(script, "END\n");
}

/* How many series before it have its colour, as those of several GIL intervals have. */
static int same_before(const struct chart *chart, const struct chart_series *series)
{
    int count = 0;
    for (const struct chart_series *before = chart->series; before != series; before = before->next)
        count += before->style == series->style && before->colour == series->colour;
    return count;
}

static void write_line_style(FILE *script, const struct chart *chart,
                             const struct chart_series *series, const struct chart_look *look)
{
    const bool marked = series->style == CHART_MARKED;
    const int same = same_before(chart, series);
    if (look->text && marked)
        fprintf(script, "using 1:2 with points pointtype '%c'", gnuplot_mark(series->colour));
    else if (look->text && !series->name) /* a fit: small letters */
        fprintf(script, "using 1:2 with points pointtype '%c'",
                tolower(gnuplot_mark(series->colour)));
    else if (look->text)
        fprintf(script, "using 1:2 with lines linetype 1");
    else if (marked) /* 4 to 13: squares, circles, triangles up and down, diamonds */
        fprintf(script,
                "using 1:2:3:4 with yerrorlines linewidth 2 dashtype %d pointtype %d "
                "pointsize 0.9 linecolor rgb '#%06x'",
                same ? 3 + same % 3 : 1, 4 + (gnuplot_point_type(series->colour) - 4 + same) % 10,
                gnuplot_colour(series->colour, look));
    else
        fprintf(script, "using 1:2 with lines dashtype 2 linewidth 1.5 linecolor rgb '#%06x'",
                gnuplot_colour(series->colour, look));
}

void gnuplot_lines(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    int number = 0;
    gnuplot_axes(script, chart, look);
    write_x_ticks(script, chart);
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (chart_draws(chart, series))
            write_line_data(script, chart, series, number++);
    number = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (chart_draws(chart, series)) {
            begin_series(script, number++);
            write_line_style(script, chart, series, look);
            end_series(script, series, look);
        }
    fputc('\n', script);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* The other shade of boxes in two shades: half way to white, or on a dark page a little to black.
 */
static unsigned other_shade(unsigned colour, const struct chart_look *look)
{
    const unsigned half = (colour >> 1) & 0x7f7f7f;
    return look->dark ? half + ((colour >> 2) & 0x3f3f3f) : half + 0x7f7f7f;
}

/* As text, the margins, so that it is known how many characters wide the axis is. */
static int left_margin(const struct chart *chart)
{
    size_t longest = 0;
    for (size_t i = 0; i < chart->row_count; i++) {
        const size_t length = utf8_length(chart->rows[i]);
        longest = length > longest ? length : longest;
    }
    return 2 + (int)(longest < MOST_TEXT_NAME ? longest : MOST_TEXT_NAME);
}

static int axis_steps(const struct chart *chart, const struct chart_look *look)
{
    const int steps = look->columns - 1 - left_margin(chart) - RIGHT_MARGIN;
    return steps > 1 ? steps : 1;
}

static double part_of(double value, struct range range, bool logarithmic)
{
    return logarithmic ? log(value / range.low) / log(range.high / range.low)
                       : (value - range.low) / (range.high - range.low);
}

static double value_at(double part, struct range range, bool logarithmic)
{
    return logarithmic ? range.low * pow(range.high / range.low, part)
                       : range.low + part * (range.high - range.low);
}

/* As a row of characters; one at least, unless the series is momentary. */
static void write_box_as_points(FILE *script, const struct chart_point *point,
                                const struct chart *chart, bool momentary, struct range range,
                                int steps)
{
    const double low = part_of(point->low, range, chart->x_log) * steps;
    const double high = part_of(point->high, range, chart->x_log) * steps;
    int column = (int)ceil(low);
    if (momentary && column >= high)
        return;
    do {
        fprintf(script, "%.9g %g\n", value_at(fmin(column, high) / steps, range, chart->x_log),
                point->y);
        column++;
    } while (column < high);
}

/* What is not filled is left out above, or, of a hanging box, below. The first row is on top. */
static void write_box(FILE *script, const struct chart_point *point, bool hanging, double half,
                      unsigned colour)
{
    const double height = 2 * half * (point->part > 0.0 ? point->part : 1.0);
    const double top = hanging ? point->y - half : point->y + half - height;
    fprintf(script, "%.9g %g %.9g %.9g %.6g %.6g %u\n", (point->low + point->high) / 2, point->y,
            point->low, point->high, top, top + height, colour);
}

static bool has_shades(const struct chart_series *series)
{
    for (size_t i = 0; i < series->count; i++)
        if (series->points[i].shaded)
            return true;
    return false;
}

static void write_row_data(FILE *script, const struct chart *chart,
                           const struct chart_series *series, int number,
                           const struct chart_look *look)
{
    const struct range range = chart_x_range(chart);
    const double half = series->style == CHART_FRAME ? 0.44 : 0.34;
    const unsigned colour = gnuplot_colour(series->colour, look);
    fprintf(script, "$data%d << END\n", number);
    for (size_t i = 0; i < series->count; i++) {
        const struct chart_point *point = &series->points[i];
        if (!chart_fits(point->low, chart->x_log) || !chart_fits(point->high, chart->x_log))
            continue;
        if (look->text)
            write_box_as_points(script, point, chart, series->momentary, range,
                                axis_steps(chart, look));
        else
            write_box(script, point, series->style == CHART_HANGING, half,
                      point->shaded ? other_shade(colour, look) : colour);
    }
    fprintf(script, "END\n");
}

static void write_row_style(FILE *script, const struct chart_series *series,
                            const struct chart_look *look)
{
    if (look->text)
        fprintf(script, "using 1:2 with points pointtype '%c'", gnuplot_mark(series->colour));
    else if (series->style == CHART_WHISKER)
        fprintf(script,
                "using 1:2:3:4 with xerrorbars pointtype -1 linewidth 1.5 linecolor rgb '#%06x'",
                gnuplot_colour(series->colour, look));
    else
        fprintf(script,
                "using 1:2:3:4:5:6%s with boxxyerror fillstyle solid 1.0 noborder linecolor rgb ",
                has_shades(series) ? ":7" : "");
    if (!look->text && series->style != CHART_WHISKER && has_shades(series))
        fprintf(script, "variable");
    else if (!look->text && series->style != CHART_WHISKER)
        fprintf(script, "'#%06x'", gnuplot_colour(series->colour, look));
}

void gnuplot_rows(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    const size_t most = look->text ? MOST_TEXT_ROWS : 36; /* more would lie over each other */
    const size_t step = (chart->row_count + most - 1) / most;
    const char *font = look->text || chart->row_count <= 16 ? ""
                       : chart->row_count <= 24             ? "font ',8' "
                                                            : "font ',6' ";
    int number = 0;
    gnuplot_axes(script, chart, look);
    if (look->text)
        fprintf(script, "set lmargin %d\nset rmargin %d\n", left_margin(chart), RIGHT_MARGIN);
    fprintf(script, "set grid noytics\nset ytics scale 0 %s(", font);
    for (size_t i = 0; i < chart->row_count; i += step) {
        fprintf(script, "%s", i ? ", " : "");
        gnuplot_format(script, chart->rows[i], look->text ? MOST_TEXT_NAME : MOST_NAME, look->utf8);
        fprintf(script, " %zu", i);
    }
    fprintf(script, ")\n");
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (chart_draws(chart, series))
            write_row_data(script, chart, series, number++, look);
    number = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (chart_draws(chart, series)) {
            begin_series(script, number++);
            write_row_style(script, series, look);
            end_series(script, series, look);
        }
    fputc('\n', script);
}

/* ---- Pictures -------------------------------------------------------------------------------- */

/* How many characters wide and high; one is twice as high as wide. */
static int text_width(const struct chart *chart, int columns)
{
    return columns - 4 < (int)chart->width ? columns - 4 : (int)chart->width;
}

int gnuplot_picture_lines(const struct chart *chart, int columns)
{
    const double lines =
        text_width(chart, columns) * (double)chart->height / (double)chart->width / 2.0;
    return lines < 1.0 ? 1 : lines > 200.0 ? 200 : (int)lines;
}

/* The brightness, 0 to 9, of the pixel in the middle of what a character stands for. */
static int level_at(const struct chart *chart, int row, int column, int high, int wide)
{
    const size_t y = (size_t)((row + 0.5) * (double)chart->height / high);
    const size_t x = (size_t)((column + 0.5) * (double)chart->width / wide);
    return chart->pixels[y * chart->width + x] * 10 / 256;
}

/* Characters from dark to bright, each of them all points of its own. The margins leave one
 * character for each point. */
static void write_picture_as_text(FILE *script, const struct chart *chart, int columns)
{
    static const char marks[] = " .:-=+*#%@";
    const int wide = text_width(chart, columns), high = gnuplot_picture_lines(chart, columns);
    fprintf(script,
            "set lmargin 2\nset rmargin %d\nset tmargin 2\nset bmargin 1\n"
            "set xrange [0:%d]\nset yrange [%d:0]\n",
            columns - 2 - wide, wide > 1 ? wide - 1 : 1, high > 1 ? high - 1 : 1);
    for (int level = 1; marks[level]; level++) {
        fprintf(script, "$data%d << END\n-1 -1\n", level);
        for (int row = 0; row < high; row++)
            for (int column = 0; column < wide; column++)
                if (level_at(chart, row, column, high, wide) == level)
                    fprintf(script, "%d %d\n", column, row);
        fprintf(script, "END\n");
    }
    for (int level = 1; marks[level]; level++)
        fprintf(script, "%s$data%d with points pointtype '%c' notitle", level > 1 ? ", " : "plot ",
                level, marks[level]);
    fputc('\n', script);
}

/* gnuplot's images are at least 2 x 2; a picture that is not gets its last row or column twice. */
void gnuplot_picture(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    const size_t high = chart->height > 1 ? chart->height : 2;
    const size_t wide = chart->width > 1 ? chart->width : 2;
    fprintf(script, "unset key\nunset tics\nunset border\nunset grid\n");
    if (look->text) {
        write_picture_as_text(script, chart, look->columns);
        return;
    }
    fprintf(script,
            "set xrange [-0.5:%.1f]\nset yrange [%.1f:-0.5]\nset size ratio -1\n"
            "set palette gray\nset cbrange [0:255]\nunset colorbox\n$data0 << END\n",
            (double)wide - 0.5, (double)high - 0.5);
    for (size_t i = 0; i < high * wide; i++) {
        const size_t y = i / wide < chart->height ? i / wide : chart->height - 1;
        const size_t x = i % wide < chart->width ? i % wide : chart->width - 1;
        fprintf(script, "%u%c", chart->pixels[y * chart->width + x], (i + 1) % wide ? ' ' : '\n');
    }
    fprintf(script, "END\nplot $data0 matrix with image\n");
}
