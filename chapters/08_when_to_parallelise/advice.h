/* advice.h - the decision tree of chapter 8, and the rules by which measured figures answer it.
 * (Files of their own, so that a test can put made-up figures to the rules.)
 */
#ifndef ADVICE_H
#define ADVICE_H

#include "common/lesson/evidence.h"

enum { INDEPENDENT, HEAVY, LARGE, QUESTIONS };
enum { UNKNOWN = -1, YES, NO }; /* answers, as of the options */
extern const struct lesson_question questions[QUESTIONS];

enum advice {
    NOT_JUDGED,
    OTHER_MEANS,
    VECTORISE,
    BATCH,
    THREADS,
    PROCESSES,
    SHARED_MEMORY,
    LEAVE_ALONE,
};

/* Each, and its reason; the figures of the case follow it in print. */
extern const char *const advice_words[][2];

/* Answers the questions, as far as the figures do, and says what is to be done. */
enum advice advise(int answers[QUESTIONS], const struct lesson_evidence *e);

#endif
