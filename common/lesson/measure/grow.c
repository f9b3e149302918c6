/* --seconds: the size of the work, by how long it takes. */
#include "common/lesson/measure/measurement.h"
#include <math.h>

#define MOST_GROWN ((double)(1 << 29)) /* bytes that --seconds may let the arrays grow to */

/* By what to multiply the size, for so many times the work. (Memory grows no faster than the work
 * that is done on it.) */
static double as_size(const struct measurement *measurement, double factor)
{
    const int power = measurement->workload->grow_power;
    return power > 1 ? pow(factor, 1.0 / power) : factor;
}

/* What the size may become: within the option's range, and such that memory suffices and the
 * inputs do not take longer to make than to work on. */
static size_t limited_size(const struct measurement *measurement, double wanted)
{
    const struct array_set *arrays = measurement->arrays;
    const size_t *grow = measurement->workload->grow;
    const struct lesson_option *option = options_find(measurement->lesson, grow);
    const double most = fmin(0.25 * arrays->available, MOST_GROWN);
    const double fitting =
        arrays->needed > 0.0
            ? (double)*grow * as_size(measurement, fmax(1.0, most / arrays->needed))
            : 1e15;
    double size = fmin(fmin(wanted, 1e15), fitting);
    if (option && option->maximum > 0)
        size = fmin(size, (double)option->maximum);
    if (measurement->workload->grow_most > 0)
        size = fmin(size, fmax((double)*grow, (double)measurement->workload->grow_most));
    return (size_t)fmax(round(size), option && option->minimum > 1 ? (double)option->minimum : 1.0);
}

/* Changes the size that workload->grow names until a sequential run takes about --seconds. */
void grow_workload(struct measurement *measurement)
{
    struct lesson *lesson = measurement->lesson;
    const struct lesson_workload *workload = measurement->workload;
    const double seconds = lesson->options->seconds;
    if (seconds <= 0.0 || !workload->grow || *workload->grow == 0)
        return;
    lesson->grown = true;
    for (int step = 0; step < 6; step++) {
        struct sample first, second;
        progress_show(lesson, "%s: looking for a size that takes %s", workload->name,
                      lesson_time_text(seconds));
        run_once(measurement, &measurement->configurations[0], &first);
        double wall = first.wall;
        if (wall < seconds / 4.0) { /* a short run suffers from first touches: once more */
            run_once(measurement, &measurement->configurations[0], &second);
            wall = fmin(wall, second.wall);
        }
        if (fabs(wall - seconds) <= 0.1 * seconds)
            break;
        const double factor = fmin(fmax(seconds / fmax(wall, 1e-9), 0.01), 100.0);
        const size_t size =
            limited_size(measurement, (double)*workload->grow * as_size(measurement, factor));
        if (size == *workload->grow)
            break;
        *workload->grow = size;
        measurement->arrays = arrays_prepare(lesson, workload);
    }
}

void lesson_grow(struct lesson *lesson, const struct lesson_workload *workload)
{
    struct measurement measurement = {.lesson = lesson, .workload = workload};
    if (lesson->options->seconds <= 0.0)
        return;
    measurement.arrays = arrays_prepare(lesson, workload);
    add_configuration(&measurement, LESSON_SEQUENTIAL, 1, LESSON_DEFAULT_TRANSFER);
    grow_workload(&measurement);
    close_configurations(&measurement);
    progress_clear(lesson);
}
