/* resources.c - what this process may use: memory, processors and CPU time, as the kernel's files
 * and limits say it. The least of all limits counts: of the machine, and of each control group from
 * the process's own up to the root. What cannot be read does not limit. */
#include "common/parallel/resources.h"
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MEMORY_MARGIN ((double)(64 << 20)) /* for everybody else on the machine */

/* The first bytes of a file as a string; false if it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const size_t length = fread(text, 1, size - 1, file);
    const bool good = !ferror(file);
    text[length] = '\0';
    fclose(file);
    return good;
}

bool cgroup_path(const char *text, const char *controller, char *path, size_t size)
{
    char line[1024];
    for (const char *next = text; *next;) { /* each line: number:controllers:path */
        const size_t length = strcspn(next, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, next);
        next += length + (next[length] == '\n');
        char *controllers = strchr(line, ':');
        char *found = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!found || length >= sizeof line)
            continue;
        *found = '\0';
        bool matches = !*controller && !controllers[1];
        char *rest = NULL;
        for (char *name = strtok_r(controllers + 1, ",", &rest); name && *controller;
             name = strtok_r(NULL, ",", &rest))
            matches |= strcmp(name, controller) == 0;
        if (matches)
            return snprintf(path, size, "%s", found + 1) < (int)size;
    }
    return false;
}

double cgroup_cpus(const char *cpu_max)
{
    double quota, period;
    return sscanf(cpu_max, "%lf %lf", &quota, &period) == 2 && quota > 0.0 && period > 0.0
               ? quota / period
               : INFINITY;
}

double cgroup_v1_cpus(const char *quota, const char *period)
{
    char both[128];
    snprintf(both, sizeof both, "%.60s %.60s", quota, period);
    return cgroup_cpus(both);
}

static bool read_in(const char *directory, const char *file, char *text, size_t size)
{
    char path[4096];
    return snprintf(path, sizeof path, "%s/%s", directory, file) < (int)sizeof path &&
           read_text(path, text, size);
}

static double directory_cpus(const char *directory)
{
    char quota[128], period[128];
    if (read_in(directory, "cpu.max", quota, sizeof quota))
        return cgroup_cpus(quota);
    if (read_in(directory, "cpu.cfs_quota_us", quota, sizeof quota) &&
        read_in(directory, "cpu.cfs_period_us", period, sizeof period))
        return cgroup_v1_cpus(quota, period);
    return INFINITY;
}

/* The number after `key` at the start of a line, or 0. */
static double keyed_number(const char *text, const char *key)
{
    const size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0)
            return strtod(line + length, NULL);
    }
    return 0.0;
}

/* What the group may still take: its limit less its use, of which cached files do not count. */
static double directory_memory(const char *directory)
{
    char limit[64], use[64], statistics[8192];
    const char *key = "inactive_file ";
    if (!read_in(directory, "memory.max", limit, sizeof limit) ||
        !read_in(directory, "memory.current", use, sizeof use)) {
        key = "total_inactive_file ";
        if (!read_in(directory, "memory.limit_in_bytes", limit, sizeof limit) ||
            !read_in(directory, "memory.usage_in_bytes", use, sizeof use))
            return INFINITY;
    }
    if (strncmp(limit, "max", 3) == 0)
        return INFINITY;
    const double cached = read_in(directory, "memory.stat", statistics, sizeof statistics)
                              ? keyed_number(statistics, key)
                              : 0.0;
    return fmax(0.0, strtod(limit, NULL) - strtod(use, NULL) + cached);
}

/* The least value of this process's group and all groups above it: each of them limits. */
static double group_limit(const char *controller, double value(const char *directory))
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char text[8192], path[2048], root[256], directory[4096];
    double least = INFINITY;
    if (!read_text("/proc/self/cgroup", text, sizeof text))
        return least;
    for (int i = 0; i < 3; i++) { /* v2 alone, v2 beside v1, v1 */
        if (i < 2)
            snprintf(root, sizeof root, "%s", mounts[i]);
        else
            snprintf(root, sizeof root, "%s/%s", mounts[0], controller);
        if (!cgroup_path(text, i < 2 ? "" : controller, path, sizeof path))
            continue;
        for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
            *end = '\0';
            snprintf(directory, sizeof directory, "%s%s", root, path);
            least = fmin(least, value(directory));
        }
    }
    return least;
}

size_t resources_memory(void)
{
    char text[8192];
    const double kilobytes =
        read_text("/proc/meminfo", text, sizeof text) ? keyed_number(text, "MemAvailable:") : 0.0;
    const double machine = kilobytes > 0.0
                               ? kilobytes * 1024.0
                               : (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    const double available = fmin(machine, group_limit("memory", directory_memory));
    return available > MEMORY_MARGIN ? (size_t)(available - MEMORY_MARGIN) : 0;
}

size_t resources_address_space(void)
{
    char text[128];
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    const double pages = read_text("/proc/self/statm", text, sizeof text) ? strtod(text, NULL) : 0;
    return (size_t)fmax(0.0, (double)limit.rlim_cur - pages * (double)sysconf(_SC_PAGESIZE));
}

double resources_cpus(void)
{
    return group_limit("cpu", directory_cpus);
}

/* ---- Processors ------------------------------------------------------------------------------ */

#define MOST_PROCESSORS (1 << 16) /* more than any kernel is configured for */

static cpu_set_t *no_processors(size_t *size)
{
    cpu_set_t *set = CPU_ALLOC(MOST_PROCESSORS);
    *size = CPU_ALLOC_SIZE(MOST_PROCESSORS);
    if (set)
        CPU_ZERO_S(*size, set);
    return set;
}

/* All that the kernel would let the calling thread run on, however it is bound now. */
static cpu_set_t *existing_processors(void)
{
    size_t size;
    cpu_set_t *now = no_processors(&size), *all = no_processors(&size);
    bool known = false;
    if (now && all && sched_getaffinity(0, size, now) == 0) {
        memset(all, 0xff, size);
        known = sched_setaffinity(0, size, all) == 0 && sched_getaffinity(0, size, all) == 0;
        sched_setaffinity(0, size, now);
    }
    CPU_FREE(now);
    if (!known) {
        CPU_FREE(all);
        all = NULL;
    }
    return all;
}

/* OMP_PROC_BIND binds the first thread to one core when the program is loaded, so the affinity mask
 * tells too little then; the places tell what OpenMP may use. With GOMP_CPU_AFFINITY they tell too
 * much: libgomp takes what it says. Returns how many of them are not there, or -1. */
static int add_openmp_places(cpu_set_t *set, size_t size)
{
    const int places = omp_get_num_places();
    cpu_set_t *existing = places > 0 ? existing_processors() : NULL;
    int missing = existing || places <= 0 ? 0 : -1;
    for (int place = 0; place < places && missing >= 0; place++) {
        const int count = omp_get_place_num_procs(place);
        int *ids = calloc((size_t)count + 1, sizeof *ids);
        if (ids)
            omp_get_place_proc_ids(place, ids);
        for (int i = 0; ids && i < count; i++)
            if (CPU_ISSET_S((size_t)ids[i], size, existing))
                CPU_SET_S((size_t)ids[i], size, set);
            else
                missing++;
        missing = ids ? missing : -1;
        free(ids);
    }
    CPU_FREE(existing);
    return missing;
}

cpu_set_t *resources_processors(size_t *size)
{
    cpu_set_t *set = no_processors(size);
    if (!set)
        return NULL;
    if ((add_openmp_places(set, *size) < 0 || CPU_COUNT_S(*size, set) == 0) &&
        sched_getaffinity(getpid(), *size, set) != 0) {
        CPU_FREE(set);
        return NULL;
    }
    return set;
}

int resources_missing_processors(void)
{
    size_t size;
    cpu_set_t *set = no_processors(&size);
    const int missing = set ? add_openmp_places(set, size) : 0;
    CPU_FREE(set);
    return missing > 0 ? missing : 0;
}

int resources_cores(void)
{
    size_t size;
    cpu_set_t *set = resources_processors(&size);
    const double processors = set ? CPU_COUNT_S(size, set) : (double)sysconf(_SC_NPROCESSORS_ONLN);
    CPU_FREE(set);
    return (int)fmax(1.0, fmin(processors, ceil(resources_cpus())));
}

void resources_unbind(void)
{
    size_t size;
    cpu_set_t *set = resources_processors(&size);
    if (set)
        sched_setaffinity(0, size, set); /* if it fails, the thread stays where it is */
    CPU_FREE(set);
}

/* Binds the calling thread to the index-th of the processors in `all`, counted round. */
static int bind_to(int index, const cpu_set_t *all, size_t size)
{
    cpu_set_t *one = CPU_ALLOC(MOST_PROCESSORS);
    int skip = index % CPU_COUNT_S(size, all), status = -1;
    size_t processor = 0;
    while (!CPU_ISSET_S(processor, size, all) || skip-- > 0)
        processor++;
    if (one) {
        CPU_ZERO_S(size, one);
        CPU_SET_S(processor, size, one);
        status = sched_setaffinity(0, size, one);
    }
    CPU_FREE(one);
    return status;
}

int resources_here(void)
{
    size_t size;
    cpu_set_t *all = resources_processors(&size);
    const int here = sched_getcpu();
    int index = 0;
    for (int processor = 0; all && processor < here; processor++)
        index += CPU_ISSET_S((size_t)processor, size, all) != 0;
    CPU_FREE(all);
    return index;
}

void resources_bind(int index)
{
    size_t size;
    cpu_set_t *all = resources_processors(&size);
    if (all)
        bind_to(index, all, size); /* if it fails, the kernel places the thread as ever */
    CPU_FREE(all);
}

void resources_place(int index)
{
    size_t size;
    cpu_set_t *all = resources_processors(&size);
    if (all && bind_to(index, all, size) == 0)
        sched_setaffinity(0, size, all);
    CPU_FREE(all);
}

bool resources_is_bound(void)
{
    size_t size, own_size;
    cpu_set_t *all = resources_processors(&size), *own = no_processors(&own_size);
    const bool bound = all && own && sched_getaffinity(0, own_size, own) == 0 &&
                       CPU_COUNT_S(own_size, own) < CPU_COUNT_S(size, all);
    CPU_FREE(all);
    CPU_FREE(own);
    return bound;
}
