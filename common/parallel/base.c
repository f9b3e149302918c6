/* base.c - see base.h. One clock for everything that waits or is measured, and one way to sleep. */
#include "common/parallel/base.h"
#include <linux/futex.h>
#include <math.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

long futex(_Atomic uint32_t *word, int operation, uint32_t value, double timeout)
{
    struct timespec time = {0};
    if (timeout < 1e9) { /* thirty years are as good as for ever */
        time.tv_sec = (time_t)timeout;
        time.tv_nsec = (long)((timeout - (double)time.tv_sec) * 1e9);
    }
    return syscall(SYS_futex, word, operation, value, timeout < 1e9 ? &time : NULL, NULL, 0);
}

uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

double now(void)
{
    return 1e-9 * (double)now_ns();
}

double deadline_after(double timeout)
{
    return timeout >= 0 ? now() + timeout : INFINITY;
}

int thread_start(pthread_t *thread, void *(*function)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all); /* the program's handlers run in the program's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(thread, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}
