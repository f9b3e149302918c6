/* The chart of a workload's timelines: a row for each thread or process, its events as boxes.
 *
 * What is too short to be seen becomes one box with its neighbours, which is filled to the height
 * of their share of its time. A task that waits for the GIL does not compute: its box is cut there,
 * and what is left out of it hangs from above as the wait.
 */
#include "common/lesson/draw/draw.h"
#include "common/lesson/evidence.h"
#include <math.h>

#define RESOLUTION         1500 /* the width: shorter gaps are not seen */
#define MEAN               32   /* so many of those make a box of its own height */
#define MOST_TIMELINE_ROWS 32   /* of one run */

static const struct {
    const char *name;
    enum chart_style style;
    enum chart_colour colour;
} looks[TIMELINE_KINDS] = {
    [TIMELINE_TASK] = {"task", CHART_BOX, COLOUR_COMPUTE},
    [TIMELINE_CHUNK] = {"chunk", CHART_FRAME, COLOUR_CHUNK},
    [TIMELINE_COPY_IN] = {"copy in", CHART_BOX, COLOUR_SEND},
    [TIMELINE_COPY_OUT] = {"copy out", CHART_BOX, COLOUR_RECEIVE},
    [TIMELINE_GIL_WAIT] = {"GIL wait", CHART_HANGING, COLOUR_GIL_WAIT},
    [TIMELINE_GIL_HELD] = {"GIL held", CHART_FRAME, COLOUR_HELD},
};

/* Frames first, so that what lies inside is drawn over them. */
static const enum timeline_kind drawing_order[TIMELINE_KINDS] = {
    TIMELINE_CHUNK, TIMELINE_GIL_HELD, TIMELINE_GIL_WAIT,
    TIMELINE_TASK,  TIMELINE_COPY_IN,  TIMELINE_COPY_OUT};

/* The timelines of one chart. */
struct drawing {
    struct lesson *lesson;
    struct chart *chart;
    struct chart_series *series[TIMELINE_KINDS];
    double factor, least;          /* to the axis's unit; there, what can just be seen */
    double first;                  /* row of this timeline */
    double filled[TIMELINE_KINDS]; /* of each kind's last box, so much of its time */
    bool small[TIMELINE_KINDS];    /* is it of what is too short to be seen? */
};

/* Does a box that begins here go into the kind's last one? One that is not full ends now and then,
 * for its height is a mean. */
static bool joins(const struct drawing *drawing, enum timeline_kind kind,
                  const struct chart_point *last, double row, double begin)
{
    const double length = last->high - last->low;
    return drawing->small[kind] && last->y == row && begin - last->high < drawing->least &&
           (length < MEAN * drawing->least || drawing->filled[kind] > 0.9 * length);
}

/* A part of an event becomes a box, or part of the one before it where neither they nor the gap
 * between them would be seen: a thousand short tasks are one bar. */
static void add_box(struct drawing *drawing, const struct lesson_event *event, double begin,
                    double end, bool shaded)
{
    struct chart_series *series = drawing->series[event->kind];
    struct chart_point *last = series->count ? &series->points[series->count - 1] : NULL;
    double *filled = &drawing->filled[event->kind];
    const double row = drawing->first + event->row;
    begin *= drawing->factor;
    end *= drawing->factor;
    const bool small = end - begin < 4 * drawing->least;
    if (last && small && joins(drawing, event->kind, last, row, begin)) {
        *filled += end - begin;
        last->high = fmax(last->high, end);
        last->part = *filled < last->high - last->low ? *filled / (last->high - last->low) : 0.0;
        return;
    }
    *filled = end - begin;
    drawing->small[event->kind] = small;
    chart_point(
        drawing->lesson, series,
        (struct chart_point){.x = NAN, .y = row, .low = begin, .high = end, .shaded = shaded});
}

/* Without the waits for the GIL in it, which are among the events after it. */
static void add_task(struct drawing *drawing, const struct lesson_event *task,
                     const struct lesson_event *end, bool shaded)
{
    double at = task->begin;
    for (const struct lesson_event *event = task + 1;
         event < end && event->row == task->row && event->begin < task->end; event++) {
        if (event->kind != TIMELINE_GIL_WAIT)
            continue;
        if (event->begin > at)
            add_box(drawing, task, at, event->begin, shaded);
        at = fmax(at, event->end);
    }
    if (at < task->end || at == task->begin)
        add_box(drawing, task, at, task->end, shaded);
}

static void add_timeline(struct drawing *drawing, const struct lesson_figures *figures)
{
    const struct lesson_timeline *timeline = figures->timeline;
    const struct lesson_event *const end = timeline->events + timeline->count;
    bool shaded[TIMELINE_KINDS] = {false};
    char name[96];
    drawing->first = (double)drawing->chart->row_count;
    for (int row = 0; row < timeline->rows && row < MOST_TIMELINE_ROWS; row++) {
        snprintf(name, sizeof name, "%s: %s", figures->name, timeline->names[row]);
        chart_row(drawing->lesson, drawing->chart, name);
    }
    for (const struct lesson_event *event = timeline->events; event < end; event++) {
        if (event->row >= MOST_TIMELINE_ROWS)
            continue;
        if (event->kind == TIMELINE_TASK)
            add_task(drawing, event, end, shaded[TIMELINE_TASK]);
        else
            add_box(drawing, event, event->begin, event->end,
                    event->kind == TIMELINE_CHUNK && shaded[TIMELINE_CHUNK]);
        shaded[event->kind] = !shaded[event->kind];
    }
}

/* Of two threads that take turns within a character's width each would seem to compute all the
 * time. */
static void show_turns(struct drawing *drawing)
{
    const bool turns = drawing->series[TIMELINE_GIL_WAIT]->count > 0;
    drawing->series[TIMELINE_GIL_WAIT]->momentary = drawing->series[TIMELINE_TASK]->momentary =
        turns;
}

/* All ways on one scale of time, with the most workers that have a core each. */
void charts_add_timelines(struct lesson *lesson, const struct measured *measured)
{
    const struct lesson_results *results = &measured->results;
    const int workers = lesson_chosen_workers(results, lesson->machine->cores);
    struct drawing drawing = {.lesson = lesson};
    double longest = 0.0;
    char x_title[64];
    for (size_t i = 0; i < results->count; i++)
        if (results->figures[i].timeline)
            longest = fmax(longest, results->figures[i].timeline->wall);
    if (longest <= 0.0)
        return;
    const char *unit = chart_time_unit(longest, &drawing.factor);
    drawing.least = drawing.factor * longest / RESOLUTION;
    snprintf(x_title, sizeof x_title, "time since the run began, %s", unit);
    drawing.chart =
        chart_of_workload(lesson, measured->name, CHART_ROWS, "who did what when", x_title, NULL);
    for (int k = 0; k < TIMELINE_KINDS; k++) {
        const enum timeline_kind kind = drawing_order[k];
        drawing.series[kind] = chart_series(lesson, drawing.chart, looks[kind].name,
                                            looks[kind].style, looks[kind].colour);
    }
    for (size_t i = 0; i < results->count; i++)
        if (results->figures[i].timeline && (i == 0 || results->figures[i].workers == workers))
            add_timeline(&drawing, &results->figures[i]);
    show_turns(&drawing);
}
