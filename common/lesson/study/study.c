/* A workload is measured, in turns or, with --step, row by row, and shown. */
#include "common/lesson/study/study.h"
#include "common/lesson/measure/measurement.h"

const struct lesson_results *lesson_measure(struct lesson *lesson,
                                            const struct lesson_workload *workload)
{
    const struct lesson_results *results;
    if (lesson->options->step && (!workload->quiet || workload->step))
        results = measure_in_steps(lesson, workload);
    else
        results = measure_workload(lesson, workload);
    if (!workload->quiet) {
        measured_of(lesson, results)->quiet = false;
        report_table(lesson, workload, results);
        why_print(lesson, results);
        timeline_draw(lesson, workload->name, results);
        lesson_flush(lesson);
    }
    return results;
}
