/* The measurement of one or several workloads, in turns. */
#include "common/lesson/measure/measurement.h"
#include <stdlib.h>

/* The warm-up (repeat -1; sequential has had it) or one timed run of all configurations. */
static void run_each(struct measurement *measurement, int repeat)
{
    for (size_t i = repeat < 0 ? 1 : 0; i < measurement->count; i++) {
        struct configuration *configuration = &measurement->configurations[i];
        struct sample warm_up;
        show_run(measurement, configuration, repeat);
        if (repeat < 0)
            run_and_compare(measurement, configuration, &warm_up);
        else
            run_with_twins(measurement, configuration, repeat);
    }
}

static void measure(struct lesson *lesson, const struct lesson_workload *workloads, size_t count,
                    bool alone, const struct lesson_results **results)
{
    struct measurement *measurements = lesson_allocate(lesson, count, sizeof *measurements);
    for (size_t i = 0; i < count; i++)
        measurements[i] = begin_measurement(lesson, &workloads[i], alone);
    /* Warm-up of all, then A B C, A B C, ...: a disturbance from outside hits all of them alike. */
    for (int repeat = -1; repeat < lesson->options->repeats; repeat++)
        for (size_t i = 0; i < count; i++)
            run_each(&measurements[i], repeat);
    for (size_t i = 0; i < count; i++)
        results[i] = end_measurement(&measurements[i]);
    free(measurements);
}

void lesson_measure_in_turns(struct lesson *lesson, const struct lesson_workload *workloads,
                             size_t count, const struct lesson_results **results)
{
    measure(lesson, workloads, count, false, results);
}

const struct lesson_results *measure_workload(struct lesson *lesson,
                                              const struct lesson_workload *workload)
{
    const struct lesson_results *results;
    measure(lesson, workload, 1, true, &results);
    return results;
}
