/* command.h - a command of the user's own, run for each of several files, as a task like any other.
 */
#ifndef LESSON_COMMAND_H
#define LESSON_COMMAND_H

#include "common/lesson/lesson.h"

/* A command for each of several files. */
struct lesson_command {
    const char *text; /* as it was given */
    size_t count;
    char *words; /* of all; of each the number of texts, the program's path, its words, each text
                    ended by '\0' */
    size_t *at;  /* [count + 1]: where each command begins, in bytes */
};

/* Makes the commands from a text like "convert {} -resize 50% small/{/}". It is split into words as
 * a shell does (quotes, $VARIABLES, ~, *), but no shell runs it. Then in every word {} becomes the
 * file's name, {/} its last component, {.} the name without its extension, {/.} both, as GNU
 * parallel has them; without any of these the name is the last word. Ends the program, with status
 * 2, for a text that cannot be split, a program that is not found, a file that is not there. Since
 * commands take long, --repeats is 2 unless it was given; says how often each will run.
 * option, files_option: what the message names. The lesson owns what *command points to. */
void lesson_command(struct lesson *lesson, struct lesson_command *command, const char *option,
                    const char *text, const char *files_option, const struct lesson_paths *files);

/* Runs one of them, words + at[i], and waits: its exit status (127: it could not be started), or
 * -signal, as Python's subprocess has it. Its input, output and errors are /dev/null; if the
 * calling thread or its process ends, it is killed. *cpu: the CPU time it took, with what it waited
 * for itself; NULL is allowed. In any thread, in a worker, too. */
int lesson_command_run(const char *words, double *cpu);

/* Names the files whose status is not 0, as lesson_fail does, a line each. */
void lesson_command_failures(struct lesson *lesson, const struct lesson_paths *files,
                             const int64_t *status);

#endif
