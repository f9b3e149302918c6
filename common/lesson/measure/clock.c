/* The clocks of a measurement, and the quiet that they need. */
#include "common/lesson/measure/measurement.h"
#include "common/parallel/resources.h"
#include <math.h>
#include <omp.h>
#include <sys/resource.h>
#include <time.h>

static double read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double wall_clock(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static double used_cpu(int who)
{
    struct rusage used;
    getrusage(who, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* A clock of CPU time; where a sandbox has none, what the kernel counts for the same, which may be
 * ticks of milliseconds. */
static double read_cpu(clockid_t clock, int who)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0)
        return used_cpu(who);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* CPU time of this thread, exact at any moment. */
double own_cpu(void)
{
    return read_cpu(CLOCK_THREAD_CPUTIME_ID, RUSAGE_THREAD);
}

/* CPU time of the programs that this process has started and waited for. */
static double children_cpu(void)
{
    return used_cpu(RUSAGE_CHILDREN);
}

/* CPU time of all others: the other threads of this process, the workers, and programs that tasks
 * have run. The kernel adds up the time of a thread on another core only when it stops or the timer
 * ticks, milliseconds later, so this is right only while they rest. */
double others_cpu(struct pool *pool)
{
    return read_cpu(CLOCK_PROCESS_CPUTIME_ID, RUSAGE_SELF) - own_cpu() + children_cpu() +
           (pool ? pool_cpu_seconds(pool) : 0.0);
}

/* The CPU time that reading the clocks takes itself, which would be much of a very short run's. */
double clock_cost(void)
{
    static double least = INFINITY;
    static int readings;
    for (; readings < 20; readings++) {
        const double start = own_cpu();
        wall_clock();
        wall_clock();
        least = fmin(least, own_cpu() - start);
    }
    return least;
}

/* An idle thread of OpenMP or BLAS spins for a while before it sleeps, which would be counted as
 * work of the next run. Wait until the others have twice been found to use no CPU time, 50 ms at
 * most. Have they? With OMP_WAIT_POLICY=active they never do. */
bool settle(struct pool *pool)
{
    const struct timespec millisecond = {.tv_nsec = 1000000};
    double last = others_cpu(pool);
    int still = 0;
    for (int i = 0; i < 50 && still < 2; i++) {
        nanosleep(&millisecond, NULL);
        const double now = others_cpu(pool);
        still = now - last < 20e-6 ? still + 1 : 0;
        last = now;
    }
    return still >= 2;
}

/* A limit (OMP_THREAD_LIMIT and the like) is not told of: one has to look. */
int team_of(int workers)
{
    int team = 1;
#pragma omp parallel num_threads(workers)
    if (omp_get_thread_num() == 0)
        team = omp_get_num_threads();
    return team;
}

/* Where there is a core for each thread, each is on its own while it is measured: the main thread
 * where it is, the others of its team on those beside it. A short run would else show where the
 * kernel happened to wake them. The main thread stays free, for what it starts inherits its
 * affinity. OMP_PROC_BIND goes before. */
void bind_team(const struct lesson *lesson, int workers, bool bind)
{
    if (workers == 1 || workers > lesson->machine->cores ||
        omp_get_proc_bind() != omp_proc_bind_false)
        return;
    const int here = resources_here();
#pragma omp parallel num_threads(workers)
    if (omp_get_thread_num() > 0) {
        if (bind)
            resources_bind(here + omp_get_thread_num());
        else
            resources_unbind();
    }
    if (bind) /* the end of that region may have woken the main thread beside another */
        resources_place(here);
}
