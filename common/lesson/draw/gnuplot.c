/* A chart as commands of gnuplot: the frame around a panel, and pages of them. Data stand in the
 * script itself ($data <<END). */
#include "common/lesson/draw/gnuplot.h"
#include "common/lesson/draw/draw.h"
#include <math.h>
#include <stdlib.h>

#define PANEL_WIDTH  640 /* pixels */
#define PANEL_HEIGHT 400
#define TOP          44 /* of a page: its title, */
#define FOOT         30 /*   and the line at its foot */
#define MOST_TITLE   72 /* characters in a panel's width */

#define LIGHT_INK "#1a1a1a" /* of text and axes */
#define DARK_INK  "#d8d8d8"

static void write_text(FILE *script, const char *command, const char *text, size_t most,
                       const struct chart_look *look)
{
    if (!text)
        return;
    fprintf(script, "%s ", command);
    gnuplot_string(script, text, most, look->utf8);
    fputc('\n', script);
}

/* Below the axis, in as many columns as the names leave room for, and room for it there. (gnuplot
 * does not know how wide a panel is that is one of several.) */
static void write_key(FILE *script, const struct chart *chart, const struct chart_look *look)
{
    size_t longest = 0, count = 0;
    for (const struct chart_series *series = chart->series; series; series = series->next)
        if (series->name && chart_draws(chart, series)) {
            const size_t length = utf8_length(series->name);
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
