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
#include <stdlib.h>
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

/* Copies `text` to to[size], size at least 64. Of one that is too long the middle is left out,
 * where a long path has what is least missed: "/home/.../photo.png: not a picture". How it begins,
 * how the path ends and the reason behind it stay whole; so do characters of UTF-8. */
static inline void error_shorten(char *to, size_t size, const char *text)
{
    static const char gap[] = "...";
    const size_t length = strlen(text);
    size_t begin = size / 4;
    if (length < size) {
        memcpy(to, text, length + 1);
        return;
    }
    /* A whole component, if it is a short one */
    size_t slash = begin;
    while (slash > begin - begin / 3 && text[slash - 1] != '/')
        slash--;
    const int whole = text[slash - 1] == '/';
    if (whole)
        begin = slash;
    while (begin > 0 && ((unsigned char)text[begin] & 0xC0) == 0x80)
        begin--;
    const char *end = text + length - (size - sizeof gap - begin);
    const char *const next = (const char *)memchr(end, '/', size / 4);
    if (whole && next)
        end = next;
    while (((unsigned char)*end & 0xC0) == 0x80)
        end++;
    memcpy(to, text, begin);
    memcpy(to + begin, gap, sizeof gap - 1);
    memcpy(to + begin + sizeof gap - 1, end, strlen(end) + 1);
}

/* The same of what vsnprintf would write. */
__attribute__((format(printf, 3, 0))) static inline void error_format(char *to, size_t size,
                                                                      const char *format,
                                                                      va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    const int length = vsnprintf(to, size, format, arguments);
    char *text = length >= (int)size ? (char *)malloc((size_t)length + 1) : NULL;
    if (text) {
        vsnprintf(text, (size_t)length + 1, format, again);
        error_shorten(to, size, text);
        free(text);
    }
    va_end(again);
}

/* Fills *error (unless NULL) and returns -1, so that a caller can write
 * `return error_set(error, ERROR_INVALID, "...")`. A longer message is shortened as above. */
__attribute__((format(printf, 3, 4))) static inline int error_set(struct error *error,
                                                                  enum error_code code,
                                                                  const char *format, ...)
{
    if (error) {
        va_list arguments;
        *error = (struct error){.code = code};
        va_start(arguments, format);
        error_format(error->message, sizeof error->message, format, arguments);
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
        char what[sizeof error->message - 64]; /* glibc's longest text has 49 bytes */
        va_start(arguments, format);
        error_format(what, sizeof what, format, arguments);
        va_end(arguments);
        error_set(error, ERROR_SYSTEM, "%s: %s", what, strerror(number));
        error->system_errno = number;
    }
    errno = number;
    return -1;
}

#endif
