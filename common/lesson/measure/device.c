/* A device that computes beside the cores, as a GPU would: somebody waits for it, and it takes no
 * core's time. */
#include "common/lesson/measure/measurement.h"
#include <math.h>
#include <sys/prctl.h>
#include <time.h>

void lesson_device_start(struct lesson_run *run)
{
    run->device_since = wall_clock();
}

/* The kernel may wake a thread up to its timer slack late, 50 us unless told otherwise. */
void lesson_device_wait(struct lesson_run *run, double seconds)
{
    static _Thread_local bool punctual;
    const double end = run->device_since + seconds;
    const struct timespec until = {.tv_sec = (time_t)end,
                                   .tv_nsec = (long)((end - floor(end)) * 1e9)};
    if (!punctual)
        punctual = prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) == 0;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    run->device += wall_clock() - run->device_since;
}
