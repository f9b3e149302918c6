/* measure.h - workloads, run in several ways and timed; what the figures are.
 *
 * A measurement takes one workload and runs it in several ways, its configurations, of which the
 * first is sequential. measurement.h has what the files of this room share.
 */
#ifndef LESSON_MEASURE_H
#define LESSON_MEASURE_H

#include "common/lesson/options/options.h"

/* ---- measure.c ------------------------------------------------------------------------------- */

/* One workload, all its configurations in turns; nothing is shown. */
const struct lesson_results *measure_workload(struct lesson *lesson,
                                              const struct lesson_workload *workload);

/* ---- figures.c
 * ------------------------------------------------------------------------------------ */

/* The results of one workload, kept for JSON, CSV and the report page. */
struct measured {
    struct lesson_results results;
    lesson_function *run[LESSON_MODES]; /* the workload's */
    struct lesson_figures *figures;
    char *name, *title; /* the workload's; title may be NULL */
    bool quiet;         /* it was not shown: its timeline is drawn at the end */
    char *size_name;    /* of a step of lesson_sweep: what was varied, and its size; else NULL */
    size_t size;
    struct measured *next;
};

/* What was kept with these results; NULL: they are none of the lesson's. */
struct measured *measured_of(struct lesson *lesson, const struct lesson_results *results);

/* The rows of a way have one name, with several numbers of workers; is this the first of them? */
bool is_first_of_name(const struct lesson_results *results, size_t i);

/* Up to here one thread computed at a time. */
#define ONE_CORE_BUSY 1.2

/* Was the lock given back for each task, as NumPy's kernels do? That lets tasks run side by side:
 * then what is true of threads is true of mode gil. */
bool gives_lock_back(const struct lesson_figures *figures);

/* Frees all arrays of all workloads (arrays.c); what was recorded of a row (record.c). */
void arrays_free_all(struct lesson *lesson);
void record_free(const struct lesson_timeline *timeline);

/* ---- team.c: the threads that were asked for and those that ran -------------------------------
 */

/* The threads or processes that did the row's work. */
int at_work(const struct lesson_figures *figures);

/* Did fewer threads run than were asked for? */
bool is_short_handed(const struct lesson_figures *figures);

/* The workers as tables show them: "4", or "4*" where fewer ran; and, below the table, a line for
 * each such number: "  * 4 workers   only 2 threads ran: OMP_THREAD_LIMIT allows no more". */
const char *team_text(const struct lesson_figures *figures);
void team_notes(struct lesson *lesson, const struct lesson_results *results);

/* What allowed a team of no more than so many threads: "OMP_THREAD_LIMIT allows no more". */
const char *team_limit_text(int threads);

#endif
