/* workloads.h - what chapter 8 measures: tasks of the chapters before, and commands; which of them,
 * how many and how large, and what they find in memory.
 *
 * All have one form, so that the loops that run them need not know which they are: a task makes
 * result_size bytes from input_size bytes, and knows of no other task. The inputs of commands are
 * their words, which differ in length.
 */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include "common/lesson/command.h"

enum kind { X_PLUS_1, PYTHON_LIKE, LARGE_DATA, IMAGE, MATRIX, COMMAND, KINDS };
extern const char *const names[KINDS];

struct work {
    enum kind kind;
    size_t tasks, size;             /* size: turns, side of a picture, numbers, order */
    size_t input_size, result_size; /* bytes of each task's */
    enum npy_type result_type;
    void *inputs, *results;
    struct lesson_command command;
};

/* Which workload it is, of how many tasks, how large each is, and so how many bytes; but for the
 * words of commands. */
void choose(struct work *work, enum kind kind, size_t tasks, size_t size);

/* Seeded inputs, and results: a workload's prepare */
void make_inputs(struct lesson *lesson, void *context);

/* One line about it */
const char *title(const struct work *work);

/* Does a task keep Python's lock from its beginning to its end? NumPy's kernels give it back, and
 * so does who waits for a command. */
bool keeps_gil(const struct work *work);

static inline const void *input_of(const struct work *work, size_t i)
{
    const size_t at = work->kind == COMMAND ? work->command.at[i] : i * work->input_size;
    return (const char *)work->inputs + at;
}

static inline void *result_of(const struct work *work, size_t i)
{
    return (char *)work->results + i * work->result_size;
}

#endif
