/* --step: a measurement row by row, and before each the question of step.c. */
#include "common/lesson/measure/measurement.h"
#include "common/lesson/step/step.h"
#include <stdlib.h>

/* The row's runs in turn with sequential runs of its own, A B, A B: their ratio is as honest as in
 * one measurement of all. */
static void measure_row(struct measurement *measurement, struct configuration *configuration,
                        struct lesson_figures *row, struct lesson_figures *beside)
{
    struct lesson *lesson = measurement->lesson;
    struct configuration *sequential = &measurement->configurations[0];
    struct sample *own = sequential->samples, warm_up;
    sequential->samples =
        lesson_allocate(lesson, (size_t)lesson->options->repeats, sizeof *sequential->samples);
    show_run(measurement, configuration, -1);
    run_and_compare(measurement, configuration, &warm_up);
    for (int repeat = 0; repeat < lesson->options->repeats; repeat++) {
        show_run(measurement, sequential, repeat);
        run_with_twins(measurement, sequential, repeat);
        show_run(measurement, configuration, repeat);
        run_with_twins(measurement, configuration, repeat);
    }
    *beside = summarise(measurement, sequential);
    *row = summarise(measurement, configuration);
    free(sequential->samples);
    sequential->samples = own;
    configuration->base = beside->wall_median;
    set_speedup(row, configuration->base);
}

const struct lesson_results *measure_in_steps(struct lesson *lesson,
                                              const struct lesson_workload *workload)
{
    struct measurement measurement = begin_measurement(lesson, workload, true);
    struct lesson_figures row, beside;
    for (int repeat = 0; repeat < lesson->options->repeats; repeat++) {
        show_run(&measurement, &measurement.configurations[0], repeat);
        run_with_twins(&measurement, &measurement.configurations[0], repeat);
    }
    row = summarise(&measurement, &measurement.configurations[0]);
    step_sequential(lesson, workload, &row);
    for (size_t i = 1; i < measurement.count; i++) {
        struct configuration *configuration = &measurement.configurations[i];
        row =
            (struct lesson_figures){.mode = configuration->mode, .workers = configuration->workers};
        name_row(&measurement, configuration, row.name, sizeof row.name);
        step_ask(lesson, workload, &row);
        measure_row(&measurement, configuration, &row, &beside);
        step_compare(lesson, workload, &row, &beside);
    }
    if (measurement.count > 1)
        step_pause(lesson);
    return end_measurement(&measurement);
}
