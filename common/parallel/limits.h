/* limits.h - what this process may use of the machine.
 *
 * A container or a batch system gives a process less than the machine has, by control groups
 * (versions 1 and 2); the limit may be set on the process's own group or on any above it.
 */
#ifndef PARALLEL_LIMITS_H
#define PARALLEL_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that can still be used: what the machine has available, or the least that its groups still
 * allow it, less a margin. */
size_t limits_memory(void);

/* Cores' worth of CPU time that its groups allow it; INFINITY if they do not limit it. */
double limits_cpus(void);

/* For tests, the parsing of what the kernel shows. Cores from cpu.max of version 2 ("150000
 * 100000", "max 100000"), from cpu.cfs_quota_us and cpu.cfs_period_us of version 1 ("-1",
 * "100000"); and the path of this process for a controller ("": version 2) from the text of
 * /proc/self/cgroup. */
double cgroup_cpus(const char *cpu_max);
double cgroup_v1_cpus(const char *quota, const char *period);
bool cgroup_path(const char *text, const char *controller, char *path, size_t size);

#endif
