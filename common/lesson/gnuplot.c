/* A chart as commands of gnuplot.
 *
 * Data stand in the script itself ($data <<END), and all text in single quotes, in which gnuplot
 * replaces nothing. Ranges are computed here: gnuplot's own would fail for a single point, and do
 * not know of error bars. A terminal of characters cannot fill a box, so there a box is a row of
 * points, each a character.
 */
#include "common/lesson/charts.h"
#include <math.h>
#include <stdlib.h>

#define PANEL_WIDTH  640 /* pixels */
#define PANEL_HEIGHT 400
#define TOP          44 /* of a page: its title, */
#define FOOT         30 /*   and the line at its foot */
#define MOST_TICKS   12
#define MOST_TITLE   72 /* characters in a panel's width */
#define MOST_NAME    44

#define LIGHT_INK "#1a1a1a" /* of text and axes */
#define DARK_INK  "#d8d8d8"

struct range {
    double low, high;
};

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
    [COLOUR_CHUNK] = {0xbfdff2, 0x27506b, '-', 1},
    [COLOUR_HELD] = {0xf7dfaa, 0x6b5310, '=', 1},
};

static unsigned colour_of(enum chart_colour colour, const struct chart_look *look)
{
    return look->dark ? colours[colour].dark : colours[colour].light;
}

/* The same, half way to white. */
static unsigned pale(unsigned colour)
{
    return 0x7f7f7f + ((colour >> 1) & 0x7f7f7f);
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* The length of the UTF-8 character that begins here; 0: there is none, or it is a control. */
static size_t character_at(const unsigned char *text)
{
    const size_t length = *text < 0x80                    ? 1
                          : *text >= 0xc2 && *text < 0xe0 ? 2
                          : *text >= 0xe0 && *text < 0xf0 ? 3
                          : *text >= 0xf0 && *text < 0xf5 ? 4
                                                          : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((length == 1 && (*text < ' ' || *text == 0x7f)) ||
        (length == 2 && *text == 0xc2 && text[1] < 0xa0))
        return 0;
    if (length == 3 && ((*text == 0xe0 && text[1] < 0xa0) || (*text == 0xed && text[1] >= 0xa0)))
        return 0;
    return length == 4 && ((*text == 0xf0 && text[1] < 0x90) || (*text == 0xf4 && text[1] >= 0x90))
               ? 0
               : length;
}

static size_t character_count(const char *text)
{
    size_t count = 0;
    for (size_t length; *text; text += length, count++) {
        length = character_at((const unsigned char *)text);
        length += length == 0;
    }
    return count;
}

void gnuplot_string(FILE *script, const char *text, size_t most, bool utf8)
{
    const bool cut = character_count(text) > most;
    fputc('\'', script);
    for (size_t length, i = 0; *text && i < (cut ? most - 3 : most); text += length, i++) {
        length = character_at((const unsigned char *)text);
        if (length == 0 || (length > 1 && !utf8))
            fputc('?', script);
        else
            fprintf(script, "%s%.*s", *text == '\'' ? "'" : "", (int)length, text);
        length += length == 0;
    }
    fprintf(script, "%s'", cut ? "..." : "");
}

static void write_text(FILE *script, const char *command, const char *text, size_t most,
                       const struct chart_look *look)
{
    if (!text)
        return;
    fprintf(script, "%s ", command);
    gnuplot_string(script, text, most, look->utf8);
    fputc('\n', script);
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

static bool fits(double value, bool logarithmic)
{
    return isfinite(value) && (!logarithmic || value > 0.0);
}

static void widen(struct range *range, double value, bool logarithmic)
{
    if (fits(value, logarithmic)) {
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

static struct range x_range(const struct chart *chart)
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
                    ? fits(point->low, chart->x_log) && fits(point->high, chart->x_log)
                    : fits(point->x, chart->x_log) && fits(point->y, chart->y_log))
                return false;
        }
    return !chart->pixels;
}

/* ---- What all have --------------------------------------------------------------------------- */

static bool is_drawn(const struct chart *chart, const struct chart_series *series)
{
    const struct chart only = {
        .kind = chart->kind,
        .x_log = chart->x_log,
        .y_log = chart->y_log,
        .series = &(struct chart_series){.count = series->count, .points = series->points}};
    return !chart_is_empty(&only);
}

/* Below the axis, in as many columns as the names leave room for, and room for it there. (gnuplot
 * does not know how wide a panel is that is one of several.) */
static void write_key(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    size_t longest = 0, count = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (series->name && is_drawn(chart, series)) {
            const size_t length = character_count(series->name);
            longest = length > longest ? length : longest;
            count++;
        }
    const size_t width = 8 * (longest < MOST_NAME ? longest : MOST_NAME) + 50;
    const size_t columns = width < PANEL_WIDTH / 2 ? PANEL_WIDTH / width : 1;
    const size_t lines = (count + columns - 1) / columns;
    fprintf(script, "set bmargin %.1f\n", (chart->x_title ? 3.4 : 2.0) + 1.2 * (double)lines);
    fprintf(script,
            "set key at screen %.6f, screen %.6f center bottom horizontal Left reverse samplen 1.5 "
            "maxcols %zu textcolor rgb '%s'\n",
            look->key_x, look->key_y, columns, look->dark ? DARK_INK : LIGHT_INK);
}

static void write_frame(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    const size_t most = look->text ? (size_t)look->columns - 4 : MOST_TITLE;
    const char *ink = look->dark ? DARK_INK : LIGHT_INK;
    const char *grid = look->dark ? "#444444" : "#d8d8d8";
    fprintf(script, "set encoding utf8\n");
    write_text(script, "set title", chart->title, most, look);
    write_text(script, "set xlabel", chart->x_title, most, look);
    write_text(script, "set ylabel", chart->y_title, look->text ? 20 : MOST_NAME, look);
    if (look->text) {
        fprintf(script, "set key bmargin center horizontal\nset tics nomirror\n");
        return;
    }
    fprintf(script,
            "set title textcolor rgb '%s' font ',12'\n"
            "set xlabel textcolor rgb '%s'\nset ylabel textcolor rgb '%s'\n"
            "set border 3 linecolor rgb '%s'\nset tics nomirror textcolor rgb '%s'\n"
            "set grid linetype 1 linecolor rgb '%s' linewidth 0.5\nset rmargin 3\n",
            ink, ink, ink, ink, ink, grid);
    write_key(script, chart, look);
}

static void write_line(FILE *script, const char *from_to, double value,
                       const struct chart_look *look)
{
    fprintf(script, from_to, value, value);
    if (look->text)
        fprintf(script, " nohead\n");
    else
        fprintf(script, " nohead dashtype 3 linewidth 1.5 linecolor rgb '#%06x'\n",
                colour_of(COLOUR_IDEAL, look));
}

static void write_axes(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    const struct range x = x_range(chart), y = y_range(chart);
    if (chart->x_log)
        fprintf(script, "set logscale x\n");
    if (chart->y_log)
        fprintf(script, "set logscale y\n");
    fprintf(script, "set xrange [%.9g:%.9g]\n", x.low, x.high);
    if (chart->kind == CHART_ROWS)
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

static void begin_series(FILE *script, const struct chart_series *series, int number,
                         const struct chart_look *look)
{
    fprintf(script, "%s$data%d ", number == 0 ? "plot " : ", \\\n  ", number);
    (void)series;
    (void)look;
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

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Where there was a measurement is a mark on the axis, if they are few. */
static void write_x_ticks(FILE *script, const struct chart *chart)
{
    double ticks[256];
    size_t count = 0, kept = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        for (size_t i = 0; series->style == CHART_MARKED && i < series->count; i++)
            if (count < sizeof ticks / sizeof *ticks && fits(series->points[i].x, chart->x_log))
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
        if (fits(point->x, chart->x_log) && fits(point->y, chart->y_log))
            fprintf(script, "%.9g %.9g %.9g %.9g\n", point->x, point->y,
                    fits(point->low, chart->y_log) ? point->low : point->y,
                    fits(point->high, chart->y_log) ? point->high : point->y);
    }
    fprintf(script, "END\n");
}

static void write_line_style(FILE *script, const struct chart_series *series,
                             const struct chart_look *look)
{
    const bool marked = series->style == CHART_MARKED;
    if (look->text && marked)
        fprintf(script, "using 1:2 with points pointtype '%c'", colours[series->colour].mark);
    else if (look->text)
        fprintf(script, "using 1:2 with lines linetype %d", series->name ? 1 : 2);
    else if (marked)
        fprintf(script,
                "using 1:2:3:4 with yerrorlines linewidth 2 pointtype %d pointsize 0.9 "
                "linecolor rgb '#%06x'",
                colours[series->colour].point, colour_of(series->colour, look));
    else
        fprintf(script, "using 1:2 with lines dashtype 2 linewidth 1.5 linecolor rgb '#%06x'",
                colour_of(series->colour, look));
}

static void write_lines(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    int number = 0;
    write_axes(script, chart, look);
    write_x_ticks(script, chart);
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (is_drawn(chart, series))
            write_line_data(script, chart, series, number++);
    number = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (is_drawn(chart, series)) {
            begin_series(script, series, number++, look);
            write_line_style(script, series, look);
            end_series(script, series, look);
        }
    fputc('\n', script);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

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

/* As a row of characters; one at least. */
static void write_box_as_points(FILE *script, const struct chart_point *point,
                                const struct chart *chart, struct range range, int columns)
{
    const double low = part_of(point->low, range, chart->x_log) * columns;
    const double high = part_of(point->high, range, chart->x_log) * columns;
    int column = (int)ceil(low);
    do {
        fprintf(script, "%.9g %g\n", value_at(fmin(column, high) / columns, range, chart->x_log),
                point->y);
        column++;
    } while (column < high);
}

static void write_row_data(FILE *script, const struct chart *chart,
                           const struct chart_series *series, int number,
                           const struct chart_look *look)
{
    const struct range range = x_range(chart);
    const double half = series->style == CHART_FRAME ? 0.44 : 0.34;
    const unsigned colour = colour_of(series->colour, look);
    fprintf(script, "$data%d << END\n", number);
    for (size_t i = 0; i < series->count; i++) {
        const struct chart_point *point = &series->points[i];
        if (!fits(point->low, chart->x_log) || !fits(point->high, chart->x_log))
            continue;
        if (look->text)
            write_box_as_points(script, point, chart, range, look->columns);
        else
            fprintf(script, "%.9g %g %.9g %.9g %g %g %u\n", (point->low + point->high) / 2,
                    point->y, point->low, point->high, point->y - half, point->y + half,
                    series->striped && i % 2 ? pale(colour) : colour);
    }
    fprintf(script, "END\n");
}

static void write_row_style(FILE *script, const struct chart_series *series,
                            const struct chart_look *look)
{
    if (look->text)
        fprintf(script, "using 1:2 with points pointtype '%c'", colours[series->colour].mark);
    else if (series->style == CHART_WHISKER)
        fprintf(script,
                "using 1:2:3:4 with xerrorbars pointtype -1 linewidth 1.5 linecolor rgb '#%06x'",
                colour_of(series->colour, look));
    else
        fprintf(script,
                "using 1:2:3:4:5:6%s with boxxyerror fillstyle solid 1.0 noborder linecolor rgb ",
                series->striped ? ":7" : "");
    if (!look->text && series->style != CHART_WHISKER && series->striped)
        fprintf(script, "variable");
    else if (!look->text && series->style != CHART_WHISKER)
        fprintf(script, "'#%06x'", colour_of(series->colour, look));
}

static void write_rows(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    const size_t step = chart->row_count / 32 + 1; /* or names would lie over each other */
    int number = 0;
    write_axes(script, chart, look);
    fprintf(script, "set grid noytics\nset ytics scale 0 (");
    for (size_t i = 0; i < chart->row_count; i += step) {
        fprintf(script, "%s", i ? ", " : "");
        gnuplot_string(script, chart->rows[i], look->text ? 28 : MOST_NAME, look->utf8);
        fprintf(script, " %zu", i);
    }
    fprintf(script, ")\n");
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (is_drawn(chart, series))
            write_row_data(script, chart, series, number++, look);
    number = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (is_drawn(chart, series)) {
            begin_series(script, series, number++, look);
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

static int text_lines(const struct chart *chart, int columns)
{
    const double lines =
        text_width(chart, columns) * (double)chart->height / (double)chart->width / 2.0;
    return lines < 1.0 ? 1 : lines > 200.0 ? 200 : (int)lines;
}

/* Characters from dark to bright, each of them all points of its own. The margins leave one
 * character for each point. */
static void write_picture_as_text(FILE *script, const struct chart *chart, int columns)
{
    static const char marks[] = ".:-=+*#%@";
    const int wide = text_width(chart, columns), high = text_lines(chart, columns);
    fprintf(script,
            "set lmargin 2\nset rmargin %d\nset tmargin 2\nset bmargin 1\n"
            "set xrange [0:%d]\nset yrange [%d:0]\n",
            columns - 2 - wide, wide > 1 ? wide - 1 : 1, high > 1 ? high - 1 : 1);
    for (int level = 0; marks[level]; level++) {
        fprintf(script, "$data%d << END\n-1 -1\n", level);
        for (int i = 0; i < wide * high; i++) {
            const size_t y = (size_t)((i / wide + 0.5) * (double)chart->height / high);
            const size_t x = (size_t)((i % wide + 0.5) * (double)chart->width / wide);
            if (chart->pixels[y * chart->width + x] * 10 / 256 == level + 1)
                fprintf(script, "%d %d\n", i % wide, i / wide);
        }
        fprintf(script, "END\n");
    }
    for (int level = 0; marks[level]; level++)
        fprintf(script, "%s$data%d with points pointtype '%c' notitle", level ? ", " : "plot ",
                level, marks[level]);
    fputc('\n', script);
}

static void write_picture(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    fprintf(script, "set xrange [-0.5:%.1f]\nset yrange [%.1f:-0.5]\nunset key\n",
            (double)chart->width - 0.5, (double)chart->height - 0.5);
    fprintf(script, "unset tics\nunset border\nunset grid\n");
    if (look->text) {
        write_picture_as_text(script, chart, look->columns);
        return;
    }
    fprintf(script, "set size ratio -1\nset palette gray\nset cbrange [0:255]\nunset colorbox\n"
                    "$data0 << END\n");
    for (size_t i = 0; i < chart->height * chart->width; i++)
        fprintf(script, "%u%c", chart->pixels[i], (i + 1) % chart->width ? ' ' : '\n');
    fprintf(script, "END\nplot $data0 matrix with image\n");
}

/* ---- A chart, a page ------------------------------------------------------------------------- */

void gnuplot_chart(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    write_frame(script, chart, look);
    switch (chart->kind) {
    case CHART_LINES:
        write_lines(script, chart, look);
        break;
    case CHART_ROWS:
        write_rows(script, chart, look);
        break;
    case CHART_PICTURE:
        write_picture(script, chart, look);
        break;
    }
}

static int count_charts(const struct chart *charts)
{
    int count = 0;
    for (const struct chart *chart = charts; chart; chart = chart->next)
        count += !chart_is_empty(chart);
    return count;
}

static void write_terminal(FILE *script, const char *terminal, int width, int height)
{
    if (strcmp(terminal, "svg") == 0)
        fprintf(script,
                "set terminal svg noenhanced size %d,%d font 'sans-serif,12' background rgb "
                "'white'\n",
                width, height);
    else if (strcmp(terminal, "pdfcairo") == 0)
        fprintf(script, "set terminal pdfcairo noenhanced size %.3fin,%.3fin font 'sans,9'\n",
                width / 96.0, height / 96.0);
    else if (strcmp(terminal, "pngcairo") == 0)
        fprintf(script,
                "set terminal pngcairo noenhanced size %d,%d font 'sans,10' background rgb "
                "'white'\n",
                width, height);
    else
        fprintf(script, "set terminal %s noenhanced size %d,%d\n", terminal, width, height);
}

void gnuplot_page(FILE *script, const struct chart *charts, const char *terminal, const char *title,
                  const char *foot)
{
    struct chart_look look = {.utf8 = true};
    const int count = count_charts(charts);
    const int columns = count < 2 ? 1 : count <= 16 ? 2 : count <= 36 ? 3 : 4;
    const int rows = (count + columns - 1) / columns;
    const double width = columns * PANEL_WIDTH, height = rows * PANEL_HEIGHT + TOP + FOOT;
    int panel = 0;
    write_terminal(script, terminal, (int)width, (int)height);
    fprintf(script, "set multiplot\n");
    for (const struct chart *chart = charts; chart; chart = chart->next) {
        if (chart_is_empty(chart))
            continue;
        fprintf(script, "reset\nset encoding utf8\n");
        if (panel == 0) {
            fprintf(script, "set label 1 ");
            gnuplot_string(script, title, (size_t)columns * 60, true);
            fprintf(script, " at screen 0.5, screen %.5f center font ',14'\nset label 2 ",
                    1.0 - TOP / 2.0 / height);
            gnuplot_string(script, foot, (size_t)columns * 100, true);
            fprintf(script, " at screen 0.01, screen %.5f left font ',8'\n", FOOT / 2.0 / height);
        }
        fprintf(script, "set origin %.6f, %.6f\nset size %.6f, %.6f\n",
                panel % columns * PANEL_WIDTH / width,
                (FOOT + (rows - 1 - panel / columns) * PANEL_HEIGHT) / height, PANEL_WIDTH / width,
                PANEL_HEIGHT / height);
        look.key_x = (panel % columns + 0.5) * PANEL_WIDTH / width;
        look.key_y = (FOOT + (rows - 1 - panel / columns) * PANEL_HEIGHT + 4) / height;
        gnuplot_chart(script, chart, &look);
        panel++;
    }
    fprintf(script, "unset multiplot\n");
}

/* Lines enough for what the panel shows. */
static int text_height(const struct chart *chart, int columns)
{
    if (chart->kind == CHART_LINES)
        return 24;
    if (chart->kind == CHART_ROWS)
        return 10 + (int)(chart->row_count < 60 ? chart->row_count * 2 : 120);
    return 3 + text_lines(chart, columns);
}

void gnuplot_text(FILE *script, const struct chart *charts, const struct chart_look *look)
{
    for (const struct chart *chart = charts; chart; chart = chart->next) {
        if (chart_is_empty(chart))
            continue;
        fprintf(script, "set terminal dumb %s noenhanced nofeed size %d,%d\nreset\n",
                look->colour ? "ansi" : "mono", look->columns, text_height(chart, look->columns));
        gnuplot_chart(script, chart, look);
    }
}
