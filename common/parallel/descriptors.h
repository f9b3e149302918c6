/* descriptors.h - the descriptors that the pools of this process have.
 *
 * A worker of the start method "fork" has the program's descriptors, as in Python; but not these:
 * one that kept a pool's life line or socket open would keep others from hearing that it hangs up.
 */
#ifndef PARALLEL_DESCRIPTORS_H
#define PARALLEL_DESCRIPTORS_H

#include <stdbool.h>

/* fd is a pool's from now on; below 0 nothing is done. With the lock held, under which it was made:
 * a fork between the two would not know of it. */
void descriptors_own(int fd);

/* Closes it and takes it off the list. Takes the lock. */
void descriptors_close(int fd);

/* Around a fork, so that the copy has a whole list; in the copy forget_lock instead, as in any that
 * is made by fork. */
void descriptors_lock(void);
void descriptors_unlock(void);
void descriptors_forget_lock(void);

/* In a new process: closes all that pools have, but these two, and begins with an empty list. */
void descriptors_close_own(int keep1, int keep2);

/* ... or all there are, from 3 on, but those in keep[count]. */
void descriptors_close_all_but(const int *keep, int count);

/* The same descriptor under a number that tasks hardly come to, who count from the lowest; `fd`
 * itself where there is none. Closed when another program is executed. */
int descriptors_move_away(int fd);

#endif
