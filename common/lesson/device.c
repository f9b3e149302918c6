#include "common/lesson/lesson.h"
#include <math.h>
#include <sys/prctl.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void lesson_device_start(struct lesson_run *run)
{
    run->device_since = now();
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
    run->device += now() - run->device_since;
}
