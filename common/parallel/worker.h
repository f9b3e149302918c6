/* worker.h - a worker process: how it is told what to do, and its life. */
#ifndef PARALLEL_WORKER_H
#define PARALLEL_WORKER_H

#include "common/parallel/board.h"

/* What a new worker process is told. */
struct worker_start {
    struct board *board;
    int slot;
    uint32_t id;
    int life_fd;  /* hangs up when the parent is gone or wants the worker to end */
    int event_fd; /* wakes the parent */
};

/* Does not return: runs tasks until the life line hangs up. */
_Noreturn void worker_main(const struct worker_start *start);

/* In a new worker that cannot go on: the program is told why. */
_Noreturn void worker_unable(const struct worker_start *start, const struct error *error);

/* spawn.c. In a fresh copy of the program: the start that its environment describes. False if none
 * is there; does not return if it is there and is wrong. */
bool worker_start_from_environment(struct worker_start *start);
int worker_start_to_environment(const struct worker_start *start);

/* Is this process a worker, and how many levels of pools may it have? Elsewhere, all there are. */
bool is_worker(void);
int nesting_allowed(void);
#define WORKER_ENVIRONMENT "FORKJOIN_WORKER"

#endif
