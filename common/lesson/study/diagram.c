/* Boxes that show who ran tasks, and whose memory is shared with whom. */
#include "common/lesson/study/study.h"
#include <stdlib.h>
#include <unistd.h>

#define BOXES_IN_A_ROW 4
#define BOX_WIDTH      19 /* inside */

/* One box: a thread that ran tasks, and what it last saw. */
struct box {
    struct lesson_visit visit;
    size_t tasks;
};

/* The threads in the order of their first task. Returns how many there are. */
static size_t collect(struct box *boxes, const struct lesson_visit *visits, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t b = 0;
        while (b < found && boxes[b].visit.thread != visits[i].thread)
            b++;
        if (b == found)
            boxes[found++] = (struct box){.visit = visits[i]};
        boxes[b].tasks++;
        if (visits[i].counter > boxes[b].visit.counter)
            boxes[b].visit = visits[i];
    }
    return found;
}

/* A row of cells, each with its own walls, or walls in common: a memory in common. */
static void line(struct lesson *lesson, size_t cells, bool joined, char corner, char fill)
{
    lesson_print(lesson, "  ");
    for (size_t c = 0; c < cells; c++) {
        lesson_print(lesson, "%s%c", c > 0 && !joined ? " " : "", corner);
        for (int i = 0; i < BOX_WIDTH + 2; i++)
            lesson_print(lesson, "%c", fill);
        if (!joined || c + 1 == cells)
            lesson_print(lesson, "%c", corner);
    }
    lesson_print(lesson, "\n");
}

static void cell(struct lesson *lesson, size_t c, size_t cells, bool joined, const char *text)
{
    lesson_print(lesson, "%s| %-*s %s",
                 c == 0   ? "  "
                 : joined ? ""
                          : " ",
                 BOX_WIDTH, text, !joined || c + 1 == cells ? "|" : "");
    if (c + 1 == cells)
        lesson_print(lesson, "\n");
}

enum cell_line { WHO, CORE, TASKS, COUNTER };

static void cells(struct lesson *lesson, const struct box *boxes, size_t count, bool joined,
                  enum cell_line what)
{
    char text[64];
    for (size_t c = 0; c < count; c++) {
        const struct lesson_visit *visit = &boxes[c].visit;
        if (what == WHO)
            snprintf(text, sizeof text, joined ? "thread %d" : "process %d",
                     (int)(joined ? visit->thread : visit->process));
        else if (what == CORE && visit->core < 0)
            snprintf(text, sizeof text, "the program itself");
        else if (what == CORE)
            snprintf(text, sizeof text, "on core %d", visit->core);
        else if (what == TASKS)
            snprintf(text, sizeof text, "%zu task%s", boxes[c].tasks, plural(boxes[c].tasks));
        else
            snprintf(text, sizeof text, "counter = %ld", visit->counter);
        cell(lesson, c, count, joined, text);
    }
}

static void draw_threads(struct lesson *lesson, const struct box *boxes, size_t count, long counter)
{
    size_t width = count < BOXES_IN_A_ROW ? count : BOXES_IN_A_ROW;
    for (size_t from = 0; from < count; from += width) {
        const size_t row = count - from < width ? count - from : width;
        line(lesson, row, true, '+', '-');
        cells(lesson, boxes + from, row, true, WHO);
        cells(lesson, boxes + from, row, true, CORE);
        cells(lesson, boxes + from, row, true, TASKS);
    }
    char text[64];
    snprintf(text, sizeof text, "memory of process %d: counter = %ld", (int)getpid(), counter);
    const int inside = (int)width * (BOX_WIDTH + 3) - 3;
    line(lesson, width, true, '+', '-');
    if (inside < (int)strlen(text)) /* one box alone is too narrow for that */
        snprintf(text, sizeof text, "counter = %ld", counter);
    lesson_print(lesson, "  | %-*s |\n", inside, text);
    line(lesson, width, true, '+', '-');
}

static void draw_processes(struct lesson *lesson, const struct box *boxes, size_t count)
{
    for (size_t from = 0; from < count; from += BOXES_IN_A_ROW) {
        const size_t row = count - from < BOXES_IN_A_ROW ? count - from : BOXES_IN_A_ROW;
        line(lesson, row, false, '+', '-');
        cells(lesson, boxes + from, row, false, WHO);
        cells(lesson, boxes + from, row, false, CORE);
        cells(lesson, boxes + from, row, false, TASKS);
        line(lesson, row, false, '|', '-');
        cells(lesson, boxes + from, row, false, COUNTER);
        line(lesson, row, false, '+', '-');
    }
}

void lesson_draw_visits(struct lesson *lesson, const struct lesson_visit *visits, size_t count,
                        long counter)
{
    struct box *boxes = lesson_allocate(lesson, count + 1, sizeof *boxes);
    const bool threads = count > 0 && visits[0].process == getpid();
    lesson_print(lesson, threads ? "Threads share the memory of their process:\n"
                                 : "Processes have a memory each:\n");
    if (threads) {
        draw_threads(lesson, boxes, collect(boxes, visits, count), counter);
    } else {
        const size_t found = collect(boxes + 1, visits, count);
        boxes[0].visit = (struct lesson_visit){.process = getpid(), .core = -1, .counter = counter};
        draw_processes(lesson, boxes, found + 1);
    }
    free(boxes);
}
