/* base.h - what the rest of this room stands on: the clock, sleeping on a word of memory, threads.
 *
 * The lowest file of the room (README of its order: internal.h).
 */
#ifndef PARALLEL_BASE_H
#define PARALLEL_BASE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define SPIN 50e-6 /* seconds to look again before going to sleep, where a core is idle */

double now(void); /* CLOCK_MONOTONIC, in seconds */
uint64_t now_ns(void);
double deadline_after(double timeout); /* as of now(); INFINITY for a time-out below 0 */

/* The system call: FUTEX_WAIT sleeps while *word is `value`, FUTEX_WAKE wakes so many sleepers;
 * also between processes, where the word lies in shared memory. timeout in seconds, INFINITY: none.
 */
long futex(_Atomic uint32_t *word, int operation, uint32_t value, double timeout);

/* Within a loop that waits for a word to change: lets the core's other thread go first. */
static inline void cpu_relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* A thread in which no handler of the program runs: all signals are blocked. 0 or an errno. */
int thread_start(pthread_t *thread, void *(*function)(void *), void *argument);

#endif
