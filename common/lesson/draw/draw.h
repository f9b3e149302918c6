/* draw.h - what is drawn of a lesson, and how gnuplot is told to; private to common/lesson.
 *
 * A chart is one panel: lines over an axis, boxes in rows, or a picture (chart.c). chart_speedup.c
 * and its kin make those of the workloads from their figures, and what chapters measure with adds
 * its own (sweep.c, ladder.c, lesson_chart_picture); charts.c has all. gnuplot.c writes a chart as
 * a script. plot.c runs gnuplot, for --plot and for a page that embeds SVG.
 */
#ifndef LESSON_DRAW_H
#define LESSON_DRAW_H

#include "common/lesson/python/python.h"
#include <stdio.h>

enum chart_kind { CHART_LINES, CHART_ROWS, CHART_PICTURE };

/* Colours by what they stand for, the same in every chart. */
enum chart_colour {
    COLOUR_SEQUENTIAL,
    COLOUR_THREADS,
    COLOUR_GIL,
    COLOUR_COPY,
    COLOUR_SHARED,
    COLOUR_IDEAL,
    COLOUR_STARTUP,
    COLOUR_SEND,
    COLOUR_COMPUTE,
    COLOUR_RECEIVE,
    COLOUR_WAIT,
    COLOUR_GIL_WAIT,
    COLOUR_CHUNK,
    COLOUR_HELD,
    CHART_COLOURS
};

enum chart_style {
    CHART_MARKED,  /* of lines: marks that a line joins, from low to high in y */
    CHART_DASHED,  /* of lines: a dashed line */
    CHART_BOX,     /* of rows: a box from low to high in x, in row y */
    CHART_FRAME,   /* of rows: the same, taller and pale: other boxes lie inside */
    CHART_HANGING, /* of rows: the same; what is filled of its height hangs from above */
    CHART_WHISKER, /* of rows: a thin line from low to high */
};

/* NAN: there is none. */
struct chart_point {
    double x, y, low, high;
    double part; /* of a box's height, that is filled; 0: all of it */
    bool shaded; /* a box in the other shade of the colour, so that neighbours are told apart */
};

struct chart_series {
    char *name; /* NULL: not in the key */
    enum chart_style style;
    enum chart_colour colour;
    bool momentary; /* of rows, as text: only the boxes in which a column's moment lies */
    size_t count, room;
    struct chart_point *points;
    struct chart_series *next;
};

struct chart {
    enum chart_kind kind;
    char *title, *x_title, *y_title; /* x_title, y_title: NULL for none */
    char *workload;                  /* whose figures these are; NULL: of none */
    bool x_log, y_log;
    double level, upright; /* a thin line at this y, at this x; NAN: none */
    struct chart_series *series;
    size_t row_count;
    char **rows;                 /* names, from the top */
    size_t height, width, scale; /* of a picture, grey; each pixel shows scale x scale of them */
    unsigned char *pixels;
    struct chart *next;
};

/* ---- chart.c, charts.c
 * -------------------------------------------------------------------------------- */

/* Does somebody want charts: --plot, --report? Otherwise none need be made. */
bool charts_wanted(const struct lesson *lesson);

/* A new chart at the end of lesson->charts; an axis's title may be NULL. */
struct chart *chart_add(struct lesson *lesson, enum chart_kind kind, const char *title,
                        const char *x_title, const char *y_title);

/* A new series at its end; name may be NULL. It lives as long as the chart. */
struct chart_series *chart_series(struct lesson *lesson, struct chart *chart, const char *name,
                                  enum chart_style style, enum chart_colour colour);
void chart_point(struct lesson *lesson, struct chart_series *series, struct chart_point point);

/* A new row below the others: its index. */
size_t chart_row(struct lesson *lesson, struct chart *chart, const char *name);

/* A new chart of one workload's figures; its title says what of them. */
struct chart *chart_of_workload(struct lesson *lesson, const char *workload, enum chart_kind kind,
                                const char *what, const char *x_title, const char *y_title);

/* The unit in which so many seconds are a handy number, and how many make a second. */
const char *chart_time_unit(double seconds, double *factor);

/* Adds those of every workload that was shown, before all that are there; once. */
void charts_complete(struct lesson *lesson);
void charts_free(struct lesson *lesson);

/* ---- chart_speedup.c and others ------------------------------------------------------ */

/* Of a workload that was shown: speed-up, and where the time went. */
void charts_add_speedup(struct lesson *lesson, const struct measured *measured);
void charts_add_time(struct lesson *lesson, const struct measured *measured);

/* Who did what when, of a workload's recorded runs, if there are any. */
void charts_add_timelines(struct lesson *lesson, const struct measured *measured);

/* The same in Python, beside C: a chart for each Python and workload. */
void charts_add_python(struct lesson *lesson);

/* ---- gnuplot.c ------------------------------------------------------------------------------- */

/* Where a chart is drawn: white paper, a dark page, or a terminal's characters. */
struct chart_look {
    bool dark;
    double key_x, key_y; /* the middle of the key's lower edge, in parts of the page */
    bool text;           /* characters, so many in a line, */
    int columns;
    bool utf8;   /*   ASCII unless this is set, */
    bool colour; /*   with colours */
};

/* A string of gnuplot's, in quotes, whatever the text holds: at most so many characters. The same
 * where gnuplot would take it for a format. */
void gnuplot_string(FILE *script, const char *text, size_t most, bool utf8);
void gnuplot_format(FILE *script, const char *text, size_t most, bool utf8);

/* Has it anything to draw? */
bool chart_is_empty(const struct chart *chart);

/* The commands that draw a chart, from the state after `reset`. */
void gnuplot_chart(FILE *script, const struct chart *chart, const struct chart_look *look);

/* All commands: all charts of the list that are not empty on a page of paper, with a title and a
 * line at its foot, by a terminal of this name; or one below the other, as text. */
void gnuplot_page(FILE *script, const struct chart *charts, const char *terminal, const char *title,
                  const char *foot);
void gnuplot_text(FILE *script, const struct chart *charts, const struct chart_look *look);

/* ---- plot.c ---------------------------------------------------------------------------------- */

/* Dies if gnuplot cannot draw what was asked for. */
void plot_check(struct lesson *lesson);
void plot_write(struct lesson *lesson);

/* One chart as an <svg> element for a page, without a background and as wide as the page lets it
 * be; its ids are like no other chart's. The caller frees it. NULL with *error. */
char *plot_svg(struct lesson *lesson, const struct chart *chart, bool dark, struct error *error);

#endif
