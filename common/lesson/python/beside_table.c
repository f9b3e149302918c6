/* The tables of --python: a workload's rows in Python, beside those in C, and why they differ. */
#include "common/lesson/python/python.h"
#include <math.h>
#include <stdlib.h>

#define SHORT 5e-3 /* seconds: a switch interval, Python's and the model's */
#define ALONE 0.8  /* cores busy in a plain loop below which others took part */

/* C's time for as many tasks as Python had. */
static double seconds_in_c(const struct python_row *row)
{
    return row->wall / row->c_speedup;
}

static void print_row(struct lesson *lesson, const struct python_row *row)
{
    const struct lesson_figures *c = row->c;
    lesson_print(lesson, "%-10s %7d %10s %10s %9s %11s %6s %8s %7s %12s\n",
                 lesson_mode_names[row->mode], row->workers, lesson_time_text(row->wall),
                 isnan(row->c_speedup) ? "-" : lesson_time_text(seconds_in_c(row)),
                 digits_text(row->c_speedup, "x"), digits_text(row->cores_busy, ""),
                 digits_text(c ? c->cores_busy : NAN, ""), digits_text(row->speedup, "x"),
                 digits_text(c ? c->speedup : NAN, "x"), row->matches ? "yes" : "NO");
}

static bool same_workload(const struct python_row *a, const struct python_row *b)
{
    return a && b && strcmp(a->name, b->name) == 0;
}

static bool has_partner(const struct python_row *first)
{
    for (const struct python_row *row = first; same_workload(row, first); row = row->next)
        if (row->c)
            return true;
    return false;
}

/* "fused: numpy_slices" */
static void print_name(struct lesson *lesson, const struct python_row *row)
{
    lesson_print(lesson, "%s%s%s", bold(lesson), row->workload, plain(lesson));
    if (strcmp(row->workload, row->name) != 0)
        lesson_print(lesson, ", in Python %s", row->name);
    if (row->sample && row->c && row->tasks < row->c->tasks)
        lesson_print(lesson, "; %zu of the %zu tasks, and C's time for as many", row->tasks,
                     row->c->tasks);
    else if (!has_partner(row))
        lesson_print(lesson, ": only in Python");
    lesson_print(lesson, "\n");
}

static void print_terms(struct lesson *lesson, const struct python_row *first)
{
    static bool told;
    bool compared = true, gil = false;
    for (const struct python_row *row = first; row; row = row->next) {
        compared = compared && row->compared;
        gil = gil || row->mode == LESSON_GIL;
    }
    if (!told) {
        lesson_print(lesson, "  in Python, in C  wall, a pool's start-up apart; cores busy and "
                             "speedup of both side by side\n"
                             "  speedup          of Python over its own sequential row\n"
                             "  same result?     as Python's sequential row, and as C's (rtol = "
                             "atol = 1e-5; integers exactly)\n");
        if (gil)
            lesson_print(lesson, "  gil              Python's threads with the real GIL; C's with "
                                 "its model\n");
    }
    if (!compared)
        lesson_print(lesson, "  same result?     where C saved no results: as Python's sequential "
                             "row\n");
    told = true;
}

/* ---- Why ------------------------------------------------------------------------------------- */

/* The row with this mode and the most workers, at least `least`; NULL: there is none. */
static const struct python_row *largest(const struct python_row *first, enum lesson_mode mode,
                                        int least)
{
    const struct python_row *found = NULL;
    for (const struct python_row *row = first; same_workload(row, first); row = row->next)
        if (row->mode == mode && row->workers >= (found ? found->workers : least))
            found = row;
    return found;
}

/* What the two figures show; "" where that is not clear. */
static const char *explain_gil(const struct python_row *gil, const struct python_row *sequential)
{
    const struct lesson_figures *c = gil->c;
    const bool one = gil->cores_busy <= ONE_CORE_BUSY, back = c && gives_lock_back(c);
    if (c && c->device > 0) /* they wait for it, too */
        return "";
    if (sequential->cores_busy < ALONE)
        return "; but other programs used the cores, too: the plain loop did not have one to "
               "itself";
    if (gil->wall < SHORT)
        return "; so short a run says little";
    if (!one)
        return back ? ": NumPy gives the GIL back while it computes" : "";
    if (!c || c->cores_busy <= ONE_CORE_BUSY)
        return ": one thread at a time had the GIL";
    if (back)
        return ": a task in C gives the GIL back for all of its work, one in Python only inside of "
               "calls of NumPy, and holds it between them";
    return "";
}

static void say_threads(const struct lesson *lesson, const struct python_row *first, FILE *text)
{
    const struct python_row *gil = largest(first, LESSON_GIL, 2);
    const struct python_row *free_ones = largest(first, LESSON_THREADS, 2);
    if (lesson->machine->cores < 2)
        return;
    if (gil && !isnan(gil->cores_busy)) {
        fprintf(text, " Python's %d threads kept %.2f cores busy", gil->workers, gil->cores_busy);
        if (gil->c)
            fprintf(text, ", those of C's model %.2f", gil->c->cores_busy);
        fprintf(text, "%s.", explain_gil(gil, first));
    }
    if (free_ones && !isnan(free_ones->cores_busy))
        fprintf(text, " Without a GIL its %d threads kept %.2f cores busy.", free_ones->workers,
                free_ones->cores_busy);
}

/* Better code beside more cores. */
static void say_speed(const struct python_row *first, FILE *text)
{
    const struct python_row *best = NULL;
    for (const struct python_row *row = first; same_workload(row, first); row = row->next)
        if (row->mode != LESSON_SEQUENTIAL && (!best || row->speedup > best->speedup))
            best = row;
    const bool both = best && !isnan(first->c_speedup);
    if (!isnan(first->c_speedup))
        fprintf(text, " one core of C is %s as fast as one of Python%s",
                digits_text(first->c_speedup, " times"), both ? "; " : ".");
    if (best)
        fprintf(text, "%sPython's best pool (%s, %d) is %s as fast as its loop.", both ? "" : " ",
                best->mode == LESSON_PROCESSES ? "processes" : "threads", best->workers,
                digits_text(best->speedup, " times"));
}

static void why_workload(struct lesson *lesson, const struct python_row *first)
{
    struct paragraph paragraph;
    paragraph_begin(lesson, &paragraph);
    FILE *const stream = paragraph.stream;
    fprintf(stream, "Why %s:", first->workload);
    say_speed(first, stream);
    say_threads(lesson, first, stream);
    paragraph_end(lesson, &paragraph, PAGE_COLUMNS);
}

void beside_table(struct lesson *lesson, const struct python_row *first, const char *command)
{
    char title[96];
    snprintf(title, sizeof title, "The same in %.80s", first->python);
    lesson_heading(lesson, title);
    lesson_paragraph(lesson, "%s", command);
    lesson_print(lesson, "%s%-10s %7s %10s %10s %9s %11s %6s %8s %7s %12s%s\n", bold(lesson),
                 "mode", "workers", "in Python", "in C", "C faster", "cores busy", "in C",
                 "speedup", "in C", "same result?", plain(lesson));
    for (const struct python_row *row = first, *before = NULL; row; before = row, row = row->next) {
        if (!same_workload(before, row))
            print_name(lesson, row);
        print_row(lesson, row);
    }
    print_terms(lesson, first);
    for (const struct python_row *row = first, *before = NULL; row; before = row, row = row->next)
        if (!same_workload(before, row) && has_partner(row))
            why_workload(lesson, row);
}
