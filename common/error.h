/* error.h - how a function of common/ says what went wrong.
 *
 * A function that can fail returns 0 or -1 (or a pointer or NULL) and, on failure, fills the
 * `struct error` its caller passed: what kind of failure, and one line that names the culprit.
 * The functions of common/ never print and never exit; a program's main decides that, through
 * lesson_. Passing NULL is allowed: the return value alone then tells.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

enum error_code {
    ERROR_NONE = 0,
    ERROR_INVALID,      /* an argument is out of its range */
    ERROR_SYSTEM,       /* a system call failed: system_errno says how */
    ERROR_FORMAT,       /* a file does not hold what it should */
    ERROR_MEMORY,       /* there is not enough memory */
    ERROR_UNREGISTERED, /* a task that no other process could find by name */
    ERROR_TASK,         /* a task returned an error: task tells which */
    ERROR_WORKER_LOST,  /* a worker died and its tasks with it: task, worker */
    ERROR_BROKEN,       /* the pool can do no more work */
    ERROR_TIMEOUT,      /* it was not done in time */
    ERROR_CANCELLED,    /* it was withdrawn before it began */
    ERROR_NOT_RUN,      /* a task before it failed, and that ended their chunk */
    ERROR_CLOSED,       /* the pool takes, or does, no more work because somebody closed it */
    ERROR_INTERRUPTED,  /* pool_interrupt was called */
};

struct error {
    enum error_code code;
    int system_errno; /* of ERROR_SYSTEM, else 0 */
    size_t task;      /* of ERROR_TASK, _WORKER_LOST, _TIMEOUT: the lowest index concerned */
    pid_t worker;     /* of ERROR_WORKER_LOST, ERROR_TIMEOUT: the process that died */
    char message[256];
};

/* Fills *error (unless NULL) and returns -1, so that a caller can write
 * `return error_set(error, ERROR_INVALID, "...")`. A longer message is cut. */
__attribute__((format(printf, 3, 4))) static inline int error_set(struct error *error,
                                                                  enum error_code code,
                                                                  const char *format, ...)
{
    if (error) {
        va_list arguments;
        *error = (struct error){.code = code};
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return -1;
}

/* The same for a failed system call: keeps errno and appends its text to the message. */
__attribute__((format(printf, 2, 3))) static inline int error_set_errno(struct error *error,
                                                                        const char *format, ...)
{
    const int number = errno;
    if (error) {
        va_list arguments;
        *error = (struct error){.code = ERROR_SYSTEM, .system_errno = number};
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
        const size_t used = strlen(error->message);
        char text[128] = "";
        snprintf(error->message + used, sizeof error->message - used, ": %s",
                 strerror_r(number, text, sizeof text));
    }
    errno = number;
    return -1;
}

#endif
