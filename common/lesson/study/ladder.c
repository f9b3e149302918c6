/* A ladder of improvements. Factors multiply, so a stage's share of the whole is that of its
 * logarithm: two stages of 10x are half of 100x each. */
#include "common/lesson/study/study.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define MOST_RUNGS 16

struct stage {
    const char *name;
    double factor;
};

static double factor_of(const struct lesson_rung *rungs, int i)
{
    return rungs[i].below < 0 ? 1.0 : rungs[rungs[i].below].seconds / rungs[i].seconds;
}

/* All factors from the start to here. */
static double product_of(const struct lesson_rung *rungs, int i)
{
    return rungs[i].below < 0 ? 1.0 : factor_of(rungs, i) * product_of(rungs, rungs[i].below);
}

/* Was every time on the way long enough for the clock? */
static bool is_known(double factor)
{
    return isfinite(factor) && factor > 0.0;
}

static const char *known_text(double factor)
{
    return is_known(factor) ? digits_text(factor, "x") : "-";
}

static void print_rungs(struct lesson *lesson, const char *task, const struct lesson_rung *rungs,
                        int count)
{
    char time[32];
    snprintf(time, sizeof time, "time per %s", task);
    lesson_print(lesson, "%-23s %15s %11s %11s  %s\n", "rung", time, "own factor", "product",
                 "what is new");
    for (int i = 0; i < count; i++)
        lesson_print(lesson, "%-23s %15s %11s %11s  %s\n", rungs[i].name,
                     lesson_time_text(rungs[i].seconds),
                     rungs[i].below < 0 ? "-" : known_text(factor_of(rungs, i)),
                     known_text(product_of(rungs, i)), rungs[i].news);
    lesson_print(lesson, "  own factor    how many times as fast as the rung above");
    for (int i = 1; i < count; i++)
        if (rungs[i].below != i - 1)
            lesson_print(lesson, "; %s: as %s", rungs[i].name, rungs[rungs[i].below].name);
    lesson_print(lesson,
                 "\n                0.9 to 1.1 may be luck: where memory lies, and who else "
                 "used the cores");
    lesson_print(lesson, "\n  product       of all factors so far: how many times as fast as %s\n",
                 rungs[0].name);
}

/* The stages that lead to a rung, the first one first. */
static int stages_to(struct stage *stages, const struct lesson_rung *rungs, int i)
{
    if (rungs[i].below < 0)
        return 0;
    const int before = stages_to(stages, rungs, rungs[i].below);
    stages[before] = (struct stage){rungs[i].step, factor_of(rungs, i)};
    return before + 1;
}

static int top_of(const struct lesson_rung *rungs, int count)
{
    int top = count - 1;
    for (int i = count - 1; i >= 0; i--) /* those beside the last one */
        if (rungs[i].below == rungs[count - 1].below && rungs[i].seconds < rungs[top].seconds)
            top = i;
    return top;
}

static void print_shares(struct lesson *lesson, const struct stage *stages, int count,
                         const char *first, const char *top)
{
    double product = 1.0;
    struct paragraph paragraph;
    paragraph_begin(lesson, &paragraph);
    FILE *const stream = paragraph.stream;
    for (int i = 0; i < count; i++)
        product *= stages[i].factor;
    const bool shares = is_known(product) && product > 1.5;
    fprintf(stream, "From %s to %s: %s", first, top, known_text(product));
    for (int i = 0; i < count; i++) {
        fprintf(stream, "%s %s %s", i == 0 ? " =" : " *", stages[i].name,
                known_text(stages[i].factor));
        if (shares) /* + 0: no "-0" */
            fprintf(stream, " (%.0f %%)",
                    round(100.0 * log(stages[i].factor) / log(product)) + 0.0);
    }
    fprintf(stream, ".%s",
            shares ? " In brackets: the share of the way, on a scale on which "
                     "each doubling is as long."
                   : "");
    paragraph_end(lesson, &paragraph, PAGE_COLUMNS);
}

static int larger_factor_first(const void *a, const void *b)
{
    const double x = ((const struct stage *)a)->factor, y = ((const struct stage *)b)->factor;
    return (x < y) - (x > y);
}

/* Of the stages that the notebook has in an order: which they came in. */
static void print_order(struct lesson *lesson, const struct stage *stages, int count,
                        const char *const *order)
{
    struct stage sorted[MOST_RUNGS];
    char wanted[256] = "", found[256] = "";
    int known = 0;
    for (int e = 0; order[e]; e++)
        for (int i = 0; i < count; i++)
            if (strcmp(stages[i].name, order[e]) == 0 && is_known(stages[i].factor))
                sorted[known++] = stages[i];
    if (known < 2)
        return;
    bool held = true;
    for (int i = 0; i < known; i++) {
        const size_t used = strlen(wanted);
        snprintf(wanted + used, sizeof wanted - used, "%s%s", i ? " > " : "", sorted[i].name);
        held = held && (i == 0 || sorted[i - 1].factor > sorted[i].factor);
    }
    qsort(sorted, (size_t)known, sizeof *sorted, larger_factor_first);
    for (int i = 0; i < known; i++) {
        const size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%s %s", i ? " > " : "", sorted[i].name,
                 known_text(sorted[i].factor));
    }
    lesson_paragraph(lesson, "The notebook's order, %s, %s in this run: %s.", wanted,
                     held ? "held" : "did not hold", found);
}

static void keep_rungs(struct lesson *lesson, const struct lesson_rung *rungs, int count)
{
    json_decref(lesson->ladder);
    lesson->ladder = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(lesson->ladder,
                              json_pack("{s:s, s:s?, s:o, s:o, s:o}", "rung", rungs[i].name, "step",
                                        rungs[i].step, "task_s", number_or_null(rungs[i].seconds),
                                        "factor", number_or_null(factor_of(rungs, i)), "product",
                                        number_or_null(product_of(rungs, i))));
}

/* A bar for each rung, on a scale on which each doubling is as long. */
static void draw_rungs(struct lesson *lesson, const char *title, const char *task,
                       const struct lesson_rung *rungs, int count)
{
    char x_title[96], name[96];
    double most = 0.0;
    if (!charts_wanted(lesson))
        return;
    snprintf(x_title, sizeof x_title, "how many times as fast as %s, per %s", rungs[0].name, task);
    struct chart *chart = chart_add(lesson, CHART_ROWS, title, x_title, NULL);
    chart->x_log = true;
    chart->upright = 1.0;
    for (int i = 0; i < count; i++)
        if (is_known(product_of(rungs, i)))
            most = fmax(most, product_of(rungs, i));
    struct chart_series *bars = chart_series(lesson, chart, NULL, CHART_BOX, COLOUR_COMPUTE);
    for (int i = 0; i < count; i++) {
        const double product = product_of(rungs, i);
        snprintf(name, sizeof name, "%s: %s", rungs[i].name, known_text(product));
        chart_point(lesson, bars,
                    (struct chart_point){NAN, (double)chart_row(lesson, chart, name),
                                         fmin(1.0, product) / pow(most, 0.02), product, 0, false});
    }
}

void lesson_ladder(struct lesson *lesson, const char *title, const char *task,
                   const struct lesson_rung *rungs, int count, const char *const *order)
{
    struct stage stages[MOST_RUNGS];
    if (count < 1 || count > MOST_RUNGS)
        lesson_die(lesson, "a ladder of %d rungs", count);
    const int top = top_of(rungs, count), stage_count = stages_to(stages, rungs, top);
    keep_rungs(lesson, rungs, count);
    lesson_heading(lesson, title);
    print_rungs(lesson, task, rungs, count);
    lesson_print(lesson, "\n");
    print_shares(lesson, stages, stage_count, rungs[0].name, rungs[top].name);
    print_order(lesson, stages, stage_count, order);
    draw_rungs(lesson, title, task, rungs, count);
}
