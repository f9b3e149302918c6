/* state.h - a lesson: what its rooms know of each other. Each room's header says what a part is.
 *
 * The rooms, from the top; a room may use what stands below it:
 *
 *   lesson.c   begins and ends a lesson
 *   study/     what chapters measure with: one workload, sweeps, variants, ladders, trees, commands
 *   write/     what a run writes into files
 *   step/      --step: what the room expects
 *   draw/      charts
 *   python/    --python: notebook.py beside the chapter
 *   explain/   the table, why, timelines, evidence
 *   measure/   runs, clocks, figures
 *   options/   the command line
 *   host/      the machine, the environment, other programs
 *   words/     what everything is said with
 *
 * What goes up all the same are two calls of what lesson_begin has put here: before_output, since
 * the first text brings the banner with it, and end, since an answer to --step may end the lesson.
 */
#ifndef LESSON_STATE_H
#define LESSON_STATE_H

#include "common/lesson/lesson.h"

struct array_set;
struct chart;
struct conclusion;
struct json_t;
struct machine;
struct measured;
struct options;
struct python_row;
struct saved_array;
struct step;
struct timeline;

/* Who wants to know of the tasks of a run: lesson_run.watched. */
struct lesson_watch {
    bool recorded;     /* the recording */
    struct live *live; /* the live view, or NULL */
};

struct lesson {
    const struct lesson_chapter *chapter;
    struct machine *machine;
    struct options *options;
    const char **paths;  /* of the chapter's LESSON_PATHS option */
    char sizes[256];     /* the sizes that the command line gave: "--tasks 100, --size 5x5" */
    char *command_words; /* of lesson_command */
    size_t *command_at;

    /* How to speak */
    bool silent;   /* nothing on standard output but what --json - and --csv - ask for */
    bool colour;   /* standard output is a terminal */
    bool progress; /* standard error is one */
    void (*before_output)(struct lesson *lesson); /* NULL: it has been done */
    bool terms_told, phases_told;

    /* What is measured */
    struct array_set *sets;      /* of all workloads */
    struct array_set *preparing; /* while a workload's prepare runs */
    struct measured *measured, **last_measured;
    bool restless; /* idle threads kept computing, so CPU times have too much in them */
    bool grown;    /* a workload followed --seconds */
    bool failed;
    struct lesson_watch watch;
    struct timeline *recording; /* the buffers, NULL until there is a run to record, ... */
    int recorded_workers;       /* ... for so many */

    /* What is made of it */
    struct conclusion *conclusions, **last_conclusion;
    struct chart *charts; /* what is drawn; charts_complete adds the workloads' */
    bool charts_complete;
    struct json_t *series; /* of lesson_sweep */
    struct json_t *ladder; /* the rows of lesson_ladder */

    /* What could not be written for reasons that others will share */
    struct lost_output {
        const char *option;
        int reason;
    } lost[8];
    size_t lost_count;

    /* --step */
    struct step *step;                 /* or NULL */
    struct json_t *predictions;        /* asked for and answered, or NULL */
    bool ended_early;                  /* by an answer, through ... */
    int (*end)(struct lesson *lesson); /* lesson_end */

    /* Python */
    struct json_t *notebook; /* what notebook.py reported, or its error; NULL: it was not run */
    struct saved_array *saved, **last_saved;
    struct python_row *python_rows, **last_python; /* in the order of Pythons, workloads, modes */
    struct json_t *python_reports; /* an object for each Python, or its error; NULL: no --python */
};

#endif
