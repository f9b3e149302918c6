/* What every measurement begins and ends with, whether it goes in turns or row by row. */
#include "common/lesson/measure/measurement.h"

void show_run(const struct measurement *measurement, const struct configuration *configuration,
              int repeat)
{
    char run[32] = "warm-up";
    if (repeat >= 0)
        snprintf(run, sizeof run, "run %d of %d", repeat + 1,
                 measurement->lesson->options->repeats);
    progress_show(measurement->lesson, "%s: %s, %s, %d worker%s", measurement->workload->name, run,
                  lesson_mode_names[configuration->mode], configuration->workers,
                  plural(configuration->workers));
}

/* Everything before the first of the runs that are interleaved. */
struct measurement begin_measurement(struct lesson *lesson, const struct lesson_workload *workload,
                                     bool alone)
{
    struct measurement measurement = {.lesson = lesson, .workload = workload};
    measurement.records =
        record_wanted(lesson) && (workload->recorded || (alone && !workload->quiet));
    struct sample warm_up;
    if (!workload->run[LESSON_SEQUENTIAL])
        lesson_die(lesson, "%s has no sequential version to compare with", workload->name);
    measurement.arrays = arrays_prepare(lesson, workload);
    arrays_check_tolerance(lesson, measurement.arrays, workload);
    before_output(lesson);
    lesson_flush(lesson);
    add_configuration(&measurement, LESSON_SEQUENTIAL, 1, LESSON_DEFAULT_TRANSFER);
    grow_workload(&measurement);
    run_once(&measurement, &measurement.configurations[0], &warm_up);
    arrays_keep_reference(lesson, measurement.arrays);

    list_configurations(&measurement);
    open_configurations(&measurement);
    return measurement;
}

const struct lesson_results *end_measurement(struct measurement *measurement)
{
    const struct lesson_results *results = keep_results(measurement);
    close_configurations(measurement);
    arrays_restore(measurement->arrays);
    progress_clear(measurement->lesson);
    return results;
}
