/* helper.h - the small process that forks all workers, reaps them and reports their deaths. */
#ifndef PARALLEL_HELPER_H
#define PARALLEL_HELPER_H

#include "common/parallel/worker.h"
#include <sys/types.h>

#define PATIENCE                                                                                   \
    2.0 /* seconds that a helper has to end; then it is stopped or stuck, and killed               \
         */

/* Forks a helper from this process as it is: its pid, and *connection, the first socket to it,
 * with whose hang-up it ends. It is nobody's child: a program that waits for all of its children
 * does not wait for it (unless orphans come to that program, as to a container's first process).
 * keep_descriptors: it has the program's, and so have its workers. -1 with *error. */
pid_t helper_start(int *connection, bool keep_descriptors, struct error *error);

/* Kills a helper that does not read, if this is one. */
bool helper_kill(pid_t helper);

/* Ends a helper and all that it has started, and waits until it has; *connection -1, *helper 0. */
void helper_stop(pid_t *helper, int *connection);

/* Asks for one more connection, over another: -1 with *error. What was started over a connection
 * is reported over it, and killed when it hangs up. */
int helper_connect(int first, struct error *error);

/* What the helper tells: a worker has been started, or could not be, or has died. */
struct helper_report {
    bool died;
    int slot; /* which worker */
    uint32_t id;
    pid_t pid;
    int error_number; /* not started: why */
    int status;       /* died: as from wait */
    double cpu_seconds;
};

/* Asks the helper to start one worker, which gets copies of start's descriptors; `spawn`: as a
 * fresh copy of the program. A report follows. 1; 0 if the helper has reports to be received
 * first; -1 if it is gone. */
int helper_start_worker(int socket, const struct worker_start *start, bool spawn);

/* Asks the helper to send a signal to the worker in this slot, or to all of them (slot -1).
 * Answers as helper_start_worker. */
int helper_signal(int socket, int slot, int number);

/* Takes one report if one is there: 1, 0 if none is waiting, -1 if the helper is gone. */
int helper_receive(int socket, struct helper_report *report);

#endif
