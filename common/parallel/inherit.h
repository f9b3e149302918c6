/* inherit.h - what a worker takes over from its program, as it is when the pool is created.
 *
 * A worker is forked by the helper, which is a copy of the program from an earlier time. What the
 * kernel knows of a process (not its memory) is brought up to date in each new worker: signals that
 * are ignored, the user and groups and what they may do, limits, nice value, processors and umask.
 */
#ifndef PARALLEL_INHERIT_H
#define PARALLEL_INHERIT_H

#include "common/error.h"
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define MOST_GROUPS 256 /* where there are more they are not looked at */
#define NO_UMASK    ((mode_t)-1)

struct inherited {
    sigset_t ignored; /* signals ... */
    sigset_t handled; /* ... for which the program has a function */
    uid_t uids[3];    /* real, effective, saved */
    gid_t gids[3];
    int group_count;
    gid_t groups[MOST_GROUPS];
    uint64_t capabilities[3]; /* effective, permitted, inheritable; as bits */
    bool no_new_privileges;
    int seccomp, filters; /* its mode, and how many filters */
    dev_t root_device;
    ino_t root_inode;
    struct rlimit limits[RLIM_NLIMITS];
    int nice;
    mode_t umask;                   /* NO_UMASK: not known */
    size_t processors_size;         /* 0: not known */
    unsigned char processors[1024]; /* as sched_setaffinity has them */
};

/* As this process is now. */
void inherit_note(struct inherited *inherited);

/* In a helper that is older than the pools it will serve: how it is confined, and so its workers
 * are. */
void inherit_remember(void);

/* In a new worker; in a fresh copy of the program once more. -1 with *error: what the program gave
 * up cannot be given up here, so there can be no such worker. What the system does not allow
 * otherwise (a better nice value, say) is left as it is. */
int inherit_take(const struct inherited *inherited, struct error *error);

#endif
