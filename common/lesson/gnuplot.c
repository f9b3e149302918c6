/* A chart as commands of gnuplot.
 *
 * Data stand in the script itself ($data <<END), and all text as strings without anything in them
 * that gnuplot would obey. Ranges are computed here: gnuplot's own would fail for a single point,
 * and do not know of error bars.
 */
#include "common/lesson/gnuplot.h"
#include <math.h>
#include <stdlib.h>

#define PANEL_WIDTH  640 /* pixels */
#define PANEL_HEIGHT 400
#define TOP          44 /* of a page: its title, */
#define FOOT         30 /*   and the line at its foot */
#define MOST_TITLE   72 /* characters in a panel's width */

#define LIGHT_INK "#1a1a1a" /* of text and axes */
#define DARK_INK  "#d8d8d8"

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

size_t gnuplot_character(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80)
        return byte[0] >= ' ' && byte[0] != 0x7f;
    if (byte[0] < 0xc2 || byte[0] > 0xf4)
        return 0;
    const size_t length = byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < length; i++)
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    /* U+0080 to U+009F are controls; then longer forms than needed, surrogates, beyond U+10FFFF */
    if ((byte[0] == 0xc2 && byte[1] < 0xa0) || (byte[0] == 0xe0 && byte[1] < 0xa0) ||
        (byte[0] == 0xed && byte[1] >= 0xa0) || (byte[0] == 0xf0 && byte[1] < 0x90) ||
        (byte[0] == 0xf4 && byte[1] >= 0x90))
        return 0;
    return length;
}

size_t gnuplot_length(const char *text)
{
    size_t count = 0;
    for (size_t length; *text; text += length, count++) {
        length = gnuplot_character(text);
        length += length == 0;
    }
    return count;
}

/* Nothing that gnuplot replaces in double quotes stands there as itself. (In single quotes it
 * replaces nothing, but cannot read a quote at the beginning.) A tick's label is a format. */
static void write_string(FILE *script, const char *text, size_t most, bool utf8, bool format)
{
    const bool cut = gnuplot_length(text) > most;
    fputc('"', script);
    for (size_t length, i = 0; *text && i < (cut ? most - 3 : most); text += length, i++) {
        length = gnuplot_character(text);
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

/* ---- What all have --------------------------------------------------------------------------- */

bool chart_draws(const struct chart *chart, const struct chart_series *series)
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
        if (series->name && chart_draws(chart, series)) {
            const size_t length = gnuplot_length(series->name);
            longest = length > longest ? length : longest;
            count++;
        }
    const size_t width = 8 * (longest < MOST_NAME ? longest : MOST_NAME) + 45; /* pixels */
    const size_t columns = width < PANEL_WIDTH ? PANEL_WIDTH / width : 1;
    const size_t lines = (count + columns - 1) / columns;
    fprintf(script, "set bmargin %.1f\n", (chart->x_title ? 3.6 : 2.0) + 1.3 * (double)lines);
    fprintf(script,
            "set key at screen %.6f, screen %.6f center bottom horizontal Left reverse samplen 1.5 "
            "maxcols %zu textcolor rgb '%s'\n",
            look->key_x, look->key_y, columns, look->dark ? DARK_INK : LIGHT_INK);
}

/* As text: lines below a panel's axis, and in all. A row of boxes is a line. */
static int text_foot(const struct chart *chart)
{
    int names = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        names += series->name && chart_draws(chart, series);
    return 3 + (chart->kind == CHART_LINES ? names : (names + 1) / 2);
}

static int text_rows(const struct chart *chart)
{
    return chart->row_count < MOST_TEXT_ROWS ? (int)chart->row_count : MOST_TEXT_ROWS;
}

static void write_frame(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    const size_t most = look->text ? (size_t)look->columns - 4 : MOST_TITLE;
    const char *ink = look->dark ? DARK_INK : LIGHT_INK;
    const char *grid = look->dark ? "#444444" : "#d8d8d8";
    fprintf(script, "set encoding utf8\nset format x '%%g'\n");
    write_text(script, "set title", chart->title, most, look);
    write_text(script, "set xlabel", chart->x_title, most, look);
    write_text(script, "set ylabel", chart->y_title, look->text ? 20 : MOST_NAME, look);
    if (look->text) {
        fprintf(script,
                "set key bmargin center horizontal\nset border 3\n"
                "set tics nomirror scale 0\nset tmargin 2\nset bmargin %d\n",
                text_foot(chart));
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

/* ---- A chart, a page ------------------------------------------------------------------------- */

void gnuplot_chart(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    write_frame(script, chart, look);
    switch (chart->kind) {
    case CHART_LINES:
        gnuplot_lines(script, chart, look);
        break;
    case CHART_ROWS:
        gnuplot_rows(script, chart, look);
        break;
    case CHART_PICTURE:
        gnuplot_picture(script, chart, look);
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
        fprintf(script, "set terminal pdfcairo noenhanced size %.3fin,%.3fin font 'sans,10'\n",
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
        const int row = panel / columns, column = panel % columns;
        const double x = column * PANEL_WIDTH / width;
        const double y = (FOOT + (rows - 1 - row) * PANEL_HEIGHT) / height;
        fprintf(script, "set origin %.6f, %.6f\nset size %.6f, %.6f\n", x, y, PANEL_WIDTH / width,
                PANEL_HEIGHT / height);
        look.key_x = x + PANEL_WIDTH / width / 2.0;
        look.key_y = y + 4.0 / height;
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
        return 2 + text_rows(chart) + 1 + text_foot(chart);
    return 3 + gnuplot_picture_lines(chart, columns);
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
