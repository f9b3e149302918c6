/* fake_machine.c - for LD_PRELOAD: a machine that is not this one, to the C library's callers.
 *
 * FAKE_CORES=64: this process may run on so many processors. FAKE_PAGE=65536: the size of a page.
 * FAKE_NO_CPU_CLOCK: no clock tells the CPU time of a thread or of the process.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long fake(const char *name)
{
    const char *value = getenv(name);
    return value ? atol(value) : 0;
}

long sysconf(int name)
{
    long (*real)(int) = NULL;
    void *address = dlsym(RTLD_NEXT, "sysconf");
    memcpy(&real, &address, sizeof address);
    const long value = name == _SC_NPROCESSORS_ONLN ? fake("FAKE_CORES")
                       : name == _SC_PAGESIZE       ? fake("FAKE_PAGE")
                                                    : 0;
    return value > 0 ? value : real(name);
}

int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
    const long cores = fake("FAKE_CORES");
    memset(set, 0, size);
    if (cores == 0)
        return syscall(SYS_sched_getaffinity, pid, size, set) < 0 ? -1 : 0;
    for (long core = 0; core < cores; core++)
        CPU_SET_S((size_t)core, size, set);
    return 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    const int is_cpu = clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_PROCESS_CPUTIME_ID;
    if (is_cpu && getenv("FAKE_NO_CPU_CLOCK")) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_clock_gettime, clock, now);
}
