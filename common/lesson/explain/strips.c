/* --timeline on the terminal: a row for each worker or thread, its time cut into as many cells as
 * the window is wide, and in each what filled most of it. */
#include "common/lesson/explain/explain.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define NARROWEST 20
#define WIDEST    1000
#define SHARE     5 /* columns: " 100%" */

/* ---- What fills most of a cell --------------------------------------------------------------- */

enum filling { COMPUTING, WAITING, COPYING, IDLE, FILLINGS };

struct look {
    const char *ascii, *block, *colour, *meaning;
};

static const struct look looks[FILLINGS] = {
    [COMPUTING] = {"#", "█", "\033[32m", "computing"},
    [WAITING] = {"-", "░", "\033[31m", "waiting for the GIL"},
    [COPYING] = {"=", "▒", "\033[33m", "copying arguments or results"},
    [IDLE] = {".", "·", "", "idle"},
};

/* One row: the seconds of each filling in each cell, and in all. */
struct strip {
    double cell; /* seconds */
    int cells;
    double (*in)[FILLINGS]; /* [cells] */
    double all[FILLINGS];
};

static void fill(struct strip *strip, enum filling filling, double begin, double end, double sign)
{
    strip->all[filling] += sign * (end - begin);
    for (int i = (int)(begin / strip->cell); i < strip->cells && i * strip->cell < end; i++) {
        const double from = fmax(begin, i * strip->cell), to = fmin(end, (i + 1) * strip->cell);
        if (to > from)
            strip->in[i][filling] += sign * (to - from);
    }
}

/* A task computes, but for the time in which it waits for the GIL. Where there are no tasks, who
 * holds the GIL computes. */
static void fill_strip(struct strip *strip, const struct lesson_timeline *timeline, int row)
{
    double task_end = -1.0;
    memset(strip->in, 0, (size_t)strip->cells * sizeof *strip->in);
    memset(strip->all, 0, sizeof strip->all);
    for (size_t i = 0; i < timeline->count; i++) {
        const struct lesson_event *event = &timeline->events[i];
        if (event->row != row)
            continue;
        switch (event->kind) {
        case TIMELINE_TASK:
            fill(strip, COMPUTING, event->begin, event->end, 1.0);
            task_end = event->end;
            break;
        case TIMELINE_GIL_WAIT:
            fill(strip, WAITING, event->begin, event->end, 1.0);
            if (event->begin < task_end)
                fill(strip, COMPUTING, event->begin, event->end, -1.0);
            break;
        case TIMELINE_GIL_HELD:
            if (timeline->whole)
                fill(strip, COMPUTING, event->begin, event->end, 1.0);
            break;
        case TIMELINE_COPY_IN:
        case TIMELINE_COPY_OUT:
            fill(strip, COPYING, event->begin, event->end, 1.0);
            break;
        case TIMELINE_CHUNK:
        case TIMELINE_KINDS:
            break;
        }
    }
}

static enum filling most_of(const struct strip *strip, int i)
{
    const double *in = strip->in[i];
    double idle = strip->cell, most = 0.0;
    enum filling filling = COMPUTING;
    for (int f = COMPUTING; f < IDLE; f++) {
        idle -= in[f];
        if (in[f] > most) {
            most = in[f];
            filling = (enum filling)f;
        }
    }
    return idle > most ? IDLE : filling;
}

/* ---- Drawing --------------------------------------------------------------------------------- */

struct canvas {
    struct lesson *lesson;
    int columns, label; /* of all, and of the rows' names */
    bool utf8;
    bool used[FILLINGS];
    struct strip strip;
};

static void draw_filling(struct canvas *canvas, enum filling filling, enum filling previous)
{
    const struct look *look = &looks[filling];
    if (canvas->lesson->colour && filling != previous)
        lesson_print(canvas->lesson, "\033[0m%s", look->colour);
    lesson_print(canvas->lesson, "%s", canvas->utf8 ? look->block : look->ascii);
    canvas->used[filling] = true;
}

/* "worker 1, pid 4711", or "worker 1", or "w1". */
static void draw_label(const struct canvas *canvas, const char *name)
{
    char text[32];
    const char *number = strpbrk(name, "0123456789");
    snprintf(text, sizeof text, "%s", name);
    if ((int)strlen(text) > canvas->label)
        text[strcspn(text, ",")] = '\0';
    if ((int)strlen(text) > canvas->label)
        snprintf(text, sizeof text, "%c%.*s", name[0],
                 number ? (int)strspn(number, "0123456789") : 0, number ? number : "");
    lesson_print(canvas->lesson, "%-*.*s ", canvas->label, canvas->label, text);
}

static void draw_row(struct canvas *canvas, const struct lesson_timeline *timeline, int row)
{
    struct strip *strip = &canvas->strip;
    fill_strip(strip, timeline, row);
    draw_label(canvas, timeline->names[row]);
    enum filling previous = FILLINGS;
    for (int i = 0; i < strip->cells; i++) {
        const enum filling filling = most_of(strip, i);
        draw_filling(canvas, filling, previous);
        previous = filling;
    }
    const double share = timeline->wall > 0.0 ? strip->all[COMPUTING] / timeline->wall : 0.0;
    lesson_print(canvas->lesson, "%s%4.0f%%\n", plain(canvas->lesson),
                 100.0 * fmin(fmax(share, 0.0), 1.0));
}

/* "0          2.85 ms" under the cells. */
static void draw_scale(const struct canvas *canvas, double wall)
{
    const char *end = lesson_time_text(wall);
    lesson_print(canvas->lesson, "%*s 0%*s\n", canvas->label, "", canvas->strip.cells - 1, end);
}

static void draw_run(struct canvas *canvas, const struct lesson_figures *figures)
{
    struct lesson *lesson = canvas->lesson;
    const struct lesson_timeline *timeline = figures->timeline;
    char text[256];
    int longest = 0;
    for (int row = 0; row < timeline->rows; row++)
        longest = (int)fmax(longest, (double)strlen(timeline->names[row]));
    canvas->label = canvas->columns >= 80 ? longest : canvas->columns >= 40 ? 9 : 3;
    canvas->strip.cells = canvas->columns - 1 - canvas->label - SHARE;
    canvas->strip.cell = fmax(timeline->wall, 1e-9) / canvas->strip.cells;
    canvas->strip.in =
        lesson_allocate(lesson, (size_t)canvas->strip.cells, sizeof *canvas->strip.in);
    snprintf(text, sizeof text, "%s, %d worker%s%s", figures->name, figures->workers,
             plural(figures->workers),
             timeline->whole ? ": as a whole; its tasks were not recorded one by one" : "");
    report_paragraph_within(lesson, canvas->columns, 0, text);
    for (int row = 0; row < timeline->rows; row++)
        draw_row(canvas, timeline, row);
    draw_scale(canvas, timeline->wall);
    if (timeline->lost > 0) {
        snprintf(text, sizeof text, "%zu more events did not fit into the buffers", timeline->lost);
        report_paragraph_within(lesson, canvas->columns, 0, text);
    }
    free(canvas->strip.in);
}

/* "Recording cost 0.4 % (sequential), ...". Against the runs beside them, which stand in the table.
 */
static void draw_costs(const struct canvas *canvas, const struct lesson_results *results)
{
    struct lesson *lesson = canvas->lesson;
    const char *between = "Recording cost";
    struct paragraph paragraph;
    paragraph_begin(lesson, &paragraph);
    FILE *const stream = paragraph.stream;
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->timeline)
            fprintf(stream, "%s %.1f %% (%s %d)", between, 100.0 * figures->timeline->cost,
                    figures->name, figures->workers);
        between = ",";
    }
    const int pairs = results->figures[0].repeats;
    fprintf(stream, "; medians of %d pair%s of runs, below 0 by chance; the table has the others",
            pairs, plural(pairs));
    paragraph_end(lesson, &paragraph, canvas->columns);
}

static void draw_legend(const struct canvas *canvas)
{
    for (int f = 0; f < FILLINGS; f++) {
        const struct look *look = &looks[f];
        char text[96];
        if (!canvas->used[f])
            continue;
        snprintf(text, sizeof text, "%s %s", canvas->utf8 ? look->block : look->ascii,
                 look->meaning);
        report_paragraph_within(canvas->lesson, canvas->columns, 2, text);
    }
    report_paragraph_within(canvas->lesson, canvas->columns, 2, "% of the time, computing");
}

void timeline_draw(struct lesson *lesson, const char *name, const struct lesson_results *results)
{
    struct canvas canvas = {
        .lesson = lesson, .columns = window_columns(NARROWEST, WIDEST), .utf8 = terminal_is_utf8()};
    bool any = false;
    char heading[128];
    for (size_t i = 0; i < results->count; i++)
        any |= results->figures[i].timeline != NULL;
    if (!any || !lesson->options->timeline || lesson->silent)
        return;
    snprintf(heading, sizeof heading, "Timeline: %s", name);
    lesson_heading(lesson, heading);
    for (size_t i = 0; i < results->count; i++)
        if (results->figures[i].timeline)
            draw_run(&canvas, &results->figures[i]);
    draw_legend(&canvas);
    draw_costs(&canvas, results);
}

void timeline_draw_quiet(struct lesson *lesson)
{
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next)
        if (measured->quiet)
            timeline_draw(lesson, measured->name, &measured->results);
}
