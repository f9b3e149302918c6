/* step.h - --step: what the room expects, beside what is measured.
 *
 *   measure_steps.c   a measurement row by row, and before each the question
 *   step.c            asks, shows, keeps the score
 *   answers.c         reads and finds answers (answers.h)
 */
#ifndef LESSON_STEP_H
#define LESSON_STEP_H

#include "common/lesson/explain/explain.h"

/* ---- measure_steps.c ------------------------------------------------------------------------- */

const struct lesson_results *measure_in_steps(struct lesson *lesson,
                                              const struct lesson_workload *workload);

/* ---- step.c: --step, what the room expects beside what is measured --------------------------- */

/* Reads --answers; dies of a wrong line, or if there is nobody to ask. */
void step_prepare(struct lesson *lesson);
void step_free(struct lesson *lesson);

/* Of one workload, one after the other: the sequential run is shown; a row, of which mode, workers
 * and name are known, is asked for; it is shown beside what was expected, and why, when it and the
 * sequential runs beside it are measured; the table will follow. */
void step_sequential(struct lesson *lesson, const struct lesson_workload *workload,
                     const struct lesson_figures *sequential);
void step_ask(struct lesson *lesson, const struct lesson_workload *workload,
              const struct lesson_figures *row);
void step_compare(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_figures *row, const struct lesson_figures *sequential);
void step_pause(struct lesson *lesson);

/* All predictions of the chapter, at its end; nothing without --step. */
void step_score(struct lesson *lesson);

#endif
