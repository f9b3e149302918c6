/* explain.h - what a measurement says: the table and why it came out so, who did what when, whether
 * it is worth it. (evidence.c's contract is in evidence.h, which chapters use.)
 */
#ifndef LESSON_EXPLAIN_H
#define LESSON_EXPLAIN_H

#include "common/lesson/measure/measure.h"

/* ---- banner.c
 * ------------------------------------------------------------------------------------- */

/* The machine, and how it is used. */
void banner_print(struct lesson *lesson);

/* ---- report.c, why.c ------------------------------------------------------------------------- */

void report_table(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_results *results);

/* Why this row came out as it did, as one sentence or two; the caller frees it. NULL: out of
 * memory. */
char *why_text(const struct lesson_figures *figures, const struct lesson_figures *sequential,
               int cores);

void why_print(struct lesson *lesson, const struct lesson_results *results);

/* ---- strips.c -------------------------------------------------------------------------------- */

/* What --timeline draws of a workload's recorded runs, if it was asked for. */
void timeline_draw(struct lesson *lesson, const char *name, const struct lesson_results *results);

/* ... and of all workloads that were measured quietly. */
void timeline_draw_quiet(struct lesson *lesson);

/* ---- evidence.c
 * ----------------------------------------------------------------------------------- */

/* What lesson_conclude was told. */
struct conclusion {
    char *name, *text;
    struct conclusion *next;
};

#endif
