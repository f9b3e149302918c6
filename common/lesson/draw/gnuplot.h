/* gnuplot.h - what gnuplot.c, gnuplot_panel.c and gnuplot_axes.c share; others use draw.h. */
#ifndef LESSON_GNUPLOT_H
#define LESSON_GNUPLOT_H

#include "common/lesson/draw/draw.h"

#define MOST_NAME      44 /* characters of a name in the key or beside a row */
#define MOST_TEXT_ROWS 200
#define MOST_TEXT_NAME 28 /* characters beside a row of characters */

struct range {
    double low, high;
};

/* 0xRRGGBB; the character of a terminal; gnuplot's number of a mark. */
unsigned gnuplot_colour(enum chart_colour colour, const struct chart_look *look);
char gnuplot_mark(enum chart_colour colour);
int gnuplot_point_type(enum chart_colour colour);

/* Can this number stand on an axis? */
bool chart_fits(double value, bool logarithmic);

/* Has the series anything to draw? */
bool chart_draws(const struct chart *chart, const struct chart_series *series);

/* What the x axis shows. */
struct range chart_x_range(const struct chart *chart);

/* The scales and ranges of both axes, and the thin lines of the chart. */
void gnuplot_axes(FILE *script, const struct chart *chart, const struct chart_look *look);

/* Data and plot command of each kind; and how many lines of text a picture takes. */
void gnuplot_lines(FILE *script, const struct chart *chart, const struct chart_look *look);
void gnuplot_rows(FILE *script, const struct chart *chart, const struct chart_look *look);
void gnuplot_picture(FILE *script, const struct chart *chart, const struct chart_look *look);
int gnuplot_picture_lines(const struct chart *chart, int columns);

#endif
