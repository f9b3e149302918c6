/* answers.h - what step.c, which asks, and answers.c, which reads and finds answers, share. */
#ifndef LESSON_ANSWERS_H
#define LESSON_ANSWERS_H

#include "common/lesson/step/step.h"

#define ANSWER_WORDS 4 /* of a line before the colon */

enum kind { NOTHING, FACTOR, SLOWER, SAME, FASTER_THAN };
extern const char *const kind_words[]; /* "slower", "same", "faster" */

struct prediction {
    enum kind kind;
    double factor;
};

/* A line of --answers. */
struct answer {
    char *line; /* of the file, cut into words */
    const char *words[ANSWER_WORDS];
    struct prediction prediction;
    struct answer *next;
};

struct step {
    struct answer *answers; /* in the order of the file */
    bool told;              /* that an answer is missing */
    struct prediction prediction;
    int asked;
};

/* Cuts blanks off at both ends, in place. */
char *trim(char *text);

/* "1.8", "1,8", "2x", "2 times"; "slower", "same", "faster"; or nothing. -1: none of these. */
int parse_answer(char *text, struct prediction *prediction);
extern const char allowed_answers[]; /* that, in words */

/* Reads --answers; dies of a wrong line. */
void read_answers(struct lesson *lesson);

/* The first that fits, or NULL. */
const struct answer *find_answer(const struct lesson *lesson, const char *workload,
                                 const struct lesson_figures *row);

#endif
