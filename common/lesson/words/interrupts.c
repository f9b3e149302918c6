/* What has to be done when a signal ends the program: lines are taken from the terminal, another
 * program is ended, a directory is removed. There is one handler for all of them; it ends the
 * program by the signal, as without it. */
#include "common/lesson/words/words.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define MOST 4

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define SIGNALS (sizeof signals / sizeof *signals)

static struct sigaction actions_before[SIGNALS];
static void (*duties[MOST])(void);
static volatile sig_atomic_t count;
static pid_t owner; /* a child that was just forked has no duties */

static void do_duties_and_end(int number)
{
    if (getpid() == owner)
        for (int i = count; i-- > 0;)
            duties[i]();
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i] == number)
            sigaction(number, &actions_before[i], NULL);
    raise(number);
}

static void watch(bool on)
{
    const struct sigaction action = {.sa_handler = do_duties_and_end};
    for (size_t i = 0; i < SIGNALS; i++) {
        if (on)
            sigaction(signals[i], NULL, &actions_before[i]);
        if (actions_before[i].sa_handler != SIG_IGN) /* who ignores it goes on */
            sigaction(signals[i], on ? &action : &actions_before[i], NULL);
    }
}

/* While the list changes, no signal of this thread looks at it. (One that another thread takes may
 * call a duty that is just being removed, which finds nothing to do.) */
static sigset_t block_signals(void)
{
    sigset_t set, mask_before;
    sigemptyset(&set);
    for (size_t i = 0; i < SIGNALS; i++)
        sigaddset(&set, signals[i]);
    pthread_sigmask(SIG_BLOCK, &set, &mask_before);
    return mask_before;
}

void interrupts_add(void (*duty)(void))
{
    const sigset_t mask = block_signals();
    if (count == 0) {
        owner = getpid();
        watch(true);
    }
    if (count < MOST)
        duties[count++] = duty;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

void interrupts_remove(void (*duty)(void))
{
    const sigset_t mask = block_signals();
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (duties[i] != duty)
            duties[kept++] = duties[i];
    if (count > 0 && kept == 0)
        watch(false);
    count = kept;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
}
