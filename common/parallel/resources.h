/* resources.h - what this process may use of the machine.
 *
 * A container or a batch system gives a process less than the machine has, by control groups
 * (versions 1 and 2); the limit may be set on the process's own group or on any above it.
 */
#ifndef PARALLEL_RESOURCES_H
#define PARALLEL_RESOURCES_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

/* Bytes that can still be used: what the machine has available, or the least that its groups still
 * allow it, less a margin. */
size_t resources_memory(void);

/* Cores' worth of CPU time that its groups allow it; INFINITY if they do not limit it. */
double resources_cpus(void);

/* Bytes of address space that its limit (RLIMIT_AS, ulimit -v) still leaves; SIZE_MAX: there is no
 * limit. */
size_t resources_address_space(void);

/* The processors that this process may run on: those of its first thread, or, if OMP_PROC_BIND has
 * bound that to one of them, all the same. *size is the set's, for CPU_COUNT_S and the like. The
 * caller frees it with CPU_FREE; NULL: not known. */
cpu_set_t *resources_processors(size_t *size);

/* How many processors OpenMP's places name, by GOMP_CPU_AFFINITY, that are not there. */
int resources_missing_processors(void);

/* How many cores that makes, CPU quota of its groups included; at least 1. */
int resources_cores(void);

/* Lets the calling thread run on all of resources_processors, whatever OMP_PROC_BIND has done. */
void resources_unbind(void);

/* The kernel may wake a thread on the core of the thread that wakes it, and need milliseconds to
 * see that another core is idle. These put threads apart. An index counts the processors of
 * resources_processors, round and round.
 * place: moves the calling thread there and lets it move on; bind, not for the first thread of the
 * process: it stays there until resources_unbind; here: the index of the processor that the calling
 * thread is on. */
void resources_place(int index);
void resources_bind(int index);
int resources_here(void);

/* May the calling thread run on fewer processors than that? Somebody has chosen them. */
bool resources_is_bound(void);

/* For tests, the parsing of what the kernel shows. Cores from cpu.max of version 2 ("150000
 * 100000", "max 100000"), from cpu.cfs_quota_us and cpu.cfs_period_us of version 1 ("-1",
 * "100000"); and the path of this process for a controller ("": version 2) from the text of
 * /proc/self/cgroup. */
double cgroup_cpus(const char *cpu_max);
double cgroup_v1_cpus(const char *quota, const char *period);
bool cgroup_path(const char *text, const char *controller, char *path, size_t size);

#endif
