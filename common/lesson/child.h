/* child.h - another program, run to its end: notebook.py, gnuplot.
 *
 * The process leads a group, so that whatever it starts can be ended with it: when its time is
 * over, and when somebody interrupts this program. If this program is killed, the kernel kills the
 * child. Of the environment it gets all but what would change what gnuplot or Python do. One at a
 * time; these functions never print and never exit.
 */
#ifndef LESSON_CHILD_H
#define LESSON_CHILD_H

#include "common/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum stream { OUTPUT, COMPLAINTS, STREAMS };

struct child {
    const char *name; /* in messages */
    pid_t pid;
    int pipes[STREAMS]; /* to read from; -1: at its end */
    char *text[STREAMS];
    size_t length[STREAMS];
    int status;
};

/* While on, a signal that would end this program ends the child's group first. */
void watch_interrupts(bool on);

/* Starts arguments[0], a path, whose output can then be read from two pipes. Its standard input is
 * the descriptor `input`, or below 0 empty. 0, or -1 with *error and nothing is left. */
int start_child(struct child *child, const char *const *arguments, int input, struct error *error);

/* Reads until the process has ended and its pipes with it, for at most so many seconds. */
int follow_child(struct child *child, double limit, struct error *error);

/* Ends what has not ended, also what the process has left behind. */
void end_child(struct child *child);

/* Frees the texts. */
void free_child(struct child *child);

/* Was the status 0? Else *error has it, with the last line of the child's complaints. */
int check_status(const struct child *child, struct error *error);

/* All of it: runs a program to its end, which must be status 0; 2 is ERROR_INVALID. If it ended,
 * its standard output is in *output, the caller's, else NULL, as if there was none; it is a string,
 * of *length bytes if it is binary (NULL: the caller does not ask). `text`, of `size` bytes, is its
 * standard input; NULL: none. */
int run_program_with(const char *const *arguments, const char *text, size_t size, double limit,
                     char **output, size_t *length, struct error *error);
int run_program(const char *const *arguments, double limit, char **output, struct error *error);

#endif
