/* evidence.h - is it worth it? What a lesson's figures say about a workload, and a tree of
 * questions.
 *
 * Of the rows that lesson_measure gave, lesson_evidence makes what a decision needs: the work of
 * one task, what handing it over costs, from where that pays, and, by Amdahl's law, what more cores
 * would bring. What follows from it is the chapter's own rule. A decision tree of yes-no questions
 * is asked on a terminal, and drawn with the way that was taken.
 */
#ifndef LESSON_EVIDENCE_H
#define LESSON_EVIDENCE_H

#include "common/lesson/lesson.h"

/* The ways that are set against the plain loop. */
enum lesson_way { LESSON_BY_THREADS, LESSON_BY_GIL, LESSON_BY_COPY, LESSON_BY_SHARED, LESSON_WAYS };

/* Amdahl's law for one way: speedup on p cores = one_core / (serial + (1 - serial) / p). */
struct lesson_scaling {
    double one_core; /* the speedup that this way has on one core: below 1 for what it adds */
    double serial;   /* the part of its time on one core that more cores do not shorten, 0 to 1 */
};

/* What a workload's rows say about one of its tasks; seconds; NAN: nothing was measured that could
 * say it. The rows are those of one number of workers: the most that have a core each; where all
 * have more than that, the fewest. */
struct lesson_evidence {
    size_t tasks;
    int workers, cores; /* of those rows; that this process may use */
    double busy; /* cores that the plain loop kept busy: below 1, it waited, or others used them */
    double parallel; /* how many tasks at a time that makes, on average: tasks / the most that
                        one core gets */
    bool same;       /* every row gave the sequential result */
    double task;     /* the work of one task: its time in the plain loop */
    double bytes;    /* copied for it to a worker and back, */
    double transfer; /*   and what that takes: send + receive */
    double
        handing_over; /* waking up, dealing out, waiting for the last: wait, shared if measured */
    double startup;   /* of the pool */
    double speedup[LESSON_WAYS];
    struct lesson_scaling scaling[LESSON_WAYS];

    /* Speedups that the chapter measures beside and enters itself; NAN: none. */
    double vectorised; /* of better code, on one core */
    double library;    /* of a library that shares out each task itself */
};
struct lesson_evidence lesson_evidence(const struct lesson *lesson,
                                       const struct lesson_results *results);

/* Amdahl's law: the speedup on so many cores of work whose part `serial`, 0 to 1, does not get
 * shorter. (G. M. Amdahl, AFIPS 1967.) */
double lesson_amdahl(double serial, double cores);

/* The serial part that a measured speedup shows; NAN on one core, which shows nothing. Below 0: the
 * speedup is greater than cores; above 1: it is below 1. (Karp and Flatt, CACM 33(5), 1990.) */
double lesson_karp_flatt(double speedup, double cores);

/* Amdahl's law as it fits several measured speedups best: least squares of 1 / speedup, which is a
 * straight line over 1 / cores. Without two different numbers of cores nothing can be fitted: NAN.
 */
struct lesson_scaling lesson_amdahl_fit(const double *cores, const double *speedups, size_t count);

/* The same for the rows with this name (of lesson_figures) that have a core for each worker. */
struct lesson_scaling lesson_fit_rows(const struct lesson_results *results, const char *name,
                                      int cores);

/* The number of workers that evidence is about: see above. */
int lesson_chosen_workers(const struct lesson_results *results, int cores);

/* From how much work in a task on it pays to hand it over, where each is done by one of `parallel`
 * hands, for so much overhead: w - w / parallel > overhead. NAN for one hand. */
double lesson_break_even_work(double overhead, double parallel);

/* From how many tasks on a start pays that makes each so much shorter; INFINITY: never. */
double lesson_break_even_tasks(double startup, double task, double parallel_task);

/* Amdahl's law for a way of `evidence`, on so many cores, which at most one task each can use. It
 * is a prediction: it gives the measured speedup where it was measured (unless that was more than
 * the cores), and says what follows if nothing else changes. NAN: the way was not measured. */
double lesson_predict(const struct lesson_evidence *evidence, enum lesson_way way, int cores);

/* All of it, the predictions for 2, 4, 8, 16 and 64 cores included. */
void lesson_print_evidence(struct lesson *lesson, const struct lesson_evidence *evidence);

/* A workload, what was found of it, and what follows: "processes", because of `reason`. */
struct lesson_case {
    const char *name;
    struct lesson_evidence evidence;
    const char *advice, *reason;
};

/* The advice with its reason and the figures; and a table of several, a line each. */
void lesson_print_advice(struct lesson *lesson, const struct lesson_case *one);
void lesson_print_cases(struct lesson *lesson, const struct lesson_case *cases, size_t count);

/* A decision tree: each answer, yes or no, leads to a conclusion or (NULL) to the next question. */
struct lesson_question {
    const char *name;    /* of the option that answers it, "independent" */
    const char *text;    /* "Are the tasks independent of one another?" */
    const char *help;    /* a line below it, for who is asked */
    const char *then[2]; /* conclusions of yes [0] and no [1], as of a LESSON_CHOICE yes|no */
};

/* A way through the tree: an answer to each question, 0: yes, 1: no, below 0: not known. */
struct lesson_path {
    const char *name; /* who takes it: shown where it ends, if there are several */
    const int *answers;
};

/* Draws the tree, the paths marked that are taken. */
void lesson_draw_tree(struct lesson *lesson, const struct lesson_question *questions, size_t count,
                      const struct lesson_path *paths, size_t path_count);

/* May somebody be asked: are standard input and output a terminal, and neither --quiet nor output
 * for another program wanted? */
bool lesson_can_ask(const struct lesson *lesson);

/* Asks until the answer is yes (0) or no (1). Ends the program, with status 1, at the end of input.
 */
int lesson_ask(struct lesson *lesson, const struct lesson_question *question);

/* What follows from a workload's figures, in a word, for JSON: "conclusions": {NAME: TEXT}. */
void lesson_conclude(struct lesson *lesson, const char *name, const char *text);

#endif
