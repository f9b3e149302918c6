/* advice.c - the rules by which measured figures answer the notebook's three questions.
 *
 * The notebook's questions are about a feeling: "independent", "heavy enough", "large". Each has a
 * figure here. Independent: every mode gave the sequential result. Heavy enough: sharing a task's
 * work out saves more than handing the task over costs; and there is no better code. Large: copying
 * a task's data costs more than a part of its work. What was not measured is NAN, of which every
 * comparison is false.
 */
#include "advice.h"
#include <math.h>

#define WORTH      1.1  /* a speedup below this is not worth the trouble */
#define AS_GOOD    0.85 /* of the best: about as fast, and simpler */
#define LARGE_PART 0.2  /* of a task's work: what copying its data may cost */

static void answer(int answers[QUESTIONS], const struct lesson_evidence *e, double best)
{
    const double least = lesson_break_even_work(e->handing_over, e->parallel);
    const bool better =
        e->vectorised > WORTH || (e->library > WORTH && e->library > AS_GOOD * best);
    answers[INDEPENDENT] = e->same ? YES : NO;
    answers[HEAVY] = better ? NO : isnan(least) ? UNKNOWN : e->task > least ? YES : NO;
    answers[LARGE] = isnan(e->transfer) ? UNKNOWN : e->transfer > LARGE_PART * e->task ? YES : NO;
}

enum advice advise(int answers[QUESTIONS], const struct lesson_evidence *e)
{
    const double *speedup = e->speedup;
    const double best = fmax(fmax(speedup[LESSON_BY_THREADS], speedup[LESSON_BY_GIL]),
                             fmax(speedup[LESSON_BY_COPY], speedup[LESSON_BY_SHARED]));
    answer(answers, e, best);
    if (answers[INDEPENDENT] == NO)
        return OTHER_MEANS;
    if (e->vectorised > WORTH)
        return VECTORISE;
    if (answers[HEAVY] == UNKNOWN)
        return NOT_JUDGED;
    if (answers[HEAVY] == NO) /* if the data are no hindrance, more tasks at a time will do */
        return e->transfer < e->task - e->task / e->parallel && !(e->library > WORTH) ? BATCH
                                                                                      : LEAVE_ALONE;
    if (speedup[LESSON_BY_GIL] > WORTH && speedup[LESSON_BY_GIL] > AS_GOOD * best)
        return THREADS;
    if (answers[LARGE] != NO && speedup[LESSON_BY_SHARED] > WORTH)
        return SHARED_MEMORY;
    if (fmax(speedup[LESSON_BY_COPY], speedup[LESSON_BY_SHARED]) > WORTH)
        return PROCESSES;
    return LEAVE_ALONE;
}

/* ---- In words -------------------------------------------------------------------------------- */

const struct lesson_question questions[QUESTIONS] = {
    {"independent",
     "Are the tasks independent of one another?",
     "No task needs the result of another, or changes what another reads.",
     {NULL, "other means: waiting threads, a GPU, a pipeline"}},
    {"heavy",
     "Is one task heavy enough, and well written?",
     "Some 100 us of work, or far more than waking up a worker; in NumPy, not in Python loops.",
     {NULL, "vectorise, batch, or leave it alone"}},
    {"large",
     "Is there much data for the work?",
     "Megabytes to a task of some milliseconds, say: copying them would take a part of that.",
     {"shared memory; or threads", "processes (Pool.map); or threads"}},
};

const char *const advice_words[][2] = {
    [NOT_JUDGED] = {"not judged", "It takes two tasks, two workers, two cores and mode processes"},
    [OTHER_MEANS] = {"other means", "Not every mode gave the sequential results"},
    [VECTORISE] = {"vectorise", "Not processes: better code on one core comes before more cores"},
    [BATCH] = {"batch", "Not processes for one such task each: handing it over costs more than "
                        "sharing it out saves, so give a pool many at a time"},
    [THREADS] = {"threads", "They win under the GIL, too, because the tasks give it back; nothing "
                            "needs to be sent, and no pool to be started"},
    [PROCESSES] = {"processes", "Threads under the GIL win less or nothing, as far as they were "
                                "measured; processes win, and the data are few"},
    [SHARED_MEMORY] = {"shared memory", "Threads under the GIL win less or nothing, as far as they "
                                        "were measured; processes win if nothing is copied"},
    [LEAVE_ALONE] = {"leave it alone", "Neither threads under the GIL nor processes were worth "
                                       "their trouble, or a library uses the cores already"},
};
