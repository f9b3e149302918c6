/* The command line of notebook.py, which says the same as the chapter's own. */
#include "common/lesson/python/python.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

void words_add(struct lesson *lesson, struct words *words, const char *format, ...)
{
    va_list arguments;
    if (words->count == MOST_WORDS)
        lesson_die(lesson, "--python: more than %d options for notebook.py", MOST_WORDS);
    va_start(arguments, format);
    const int length = vasprintf(&words->list[words->count], format, arguments);
    va_end(arguments);
    if (length < 0)
        lesson_die(lesson, "out of memory");
    words->count++;
}

void words_free(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->list[i]);
}

/* Does --name stand in the help, and not only as the beginning of another? */
static bool takes(const char *help, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = help; (at = strstr(at, "--")); at += 2)
        if (strncmp(at + 2, name, length) == 0 && !isalnum((unsigned char)at[2 + length]) &&
            at[2 + length] != '-')
            return true;
    return false;
}

/* The option as it is now, which --seconds may have changed. */
static void add_option(struct lesson *lesson, struct words *words,
                       const struct lesson_option *option)
{
    const char *name = option->name, *choice = option->argument;
    const size_t *shape = option->value;
    switch (option->kind) {
    case LESSON_COUNT:
        words_add(lesson, words, "--%s=%zu", name, *shape);
        break;
    case LESSON_INTEGER:
        words_add(lesson, words, "--%s=%" PRId64, name, *(const int64_t *)option->value);
        break;
    case LESSON_REAL:
        words_add(lesson, words, "--%s=%.15g", name, *(const double *)option->value);
        break;
    case LESSON_SHAPE:
        words_add(lesson, words, "--%s=%zux%zu", name, shape[0], shape[1]);
        break;
    case LESSON_SHAPE3:
        words_add(lesson, words, "--%s=%zux%zux%zu", name, shape[0], shape[1], shape[2]);
        break;
    case LESSON_CHOICE:
        for (int i = *(const int *)option->value; i > 0; i--)
            choice = strchr(choice, '|') + 1;
        if (*(const int *)option->value >= 0)
            words_add(lesson, words, "--%s=%.*s", name, (int)strcspn(choice, "|"), choice);
        break;
    case LESSON_TEXT:
    case LESSON_PATH:
        if (*(const char *const *)option->value)
            words_add(lesson, words, "--%s=%s", name, *(const char *const *)option->value);
        break;
    case LESSON_FLAG:
        if (*(const bool *)option->value)
            words_add(lesson, words, "--%s", name);
        break;
    case LESSON_PATHS: /* see beside.c */
        break;
    }
}

static void add_workers(struct lesson *lesson, struct words *words)
{
    char list[8 * POOL_MAX_WORKERS] = "";
    size_t used = 0;
    for (size_t i = 0; i < lesson->options->worker_count; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, i ? ",%d" : "%d",
                                 lesson->options->workers[i]);
    words_add(lesson, words, "--workers=%s", list);
}

/* Python is slow: once there takes longer than all the repeats in C. */
void words_add_options(struct lesson *lesson, struct words *words, const char *help)
{
    const struct options *options = lesson->options;
    for (const struct lesson_option *option = lesson->chapter->options; option && option->name;
         option++)
        if (takes(help, option->name))
            add_option(lesson, words, option);
    add_workers(lesson, words);
    words_add(lesson, words, "--repeats=%d", options->repeats_given ? options->repeats : 1);
    words_add(lesson, words, "--seed=%lu", (unsigned long)options->seed);
}

char *words_text(struct lesson *lesson, const struct words *words)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        lesson_die(lesson, "out of memory");
    fputs("notebook.py", stream);
    for (size_t i = 0; i < words->count; i++)
        fprintf(stream, " %s", words->list[i]);
    if (fclose(stream))
        lesson_die(lesson, "out of memory");
    return text;
}

const char *words_sizes(const struct lesson *lesson, const char *help)
{
    static char names[256];
    size_t used = 0;
    *names = '\0';
    for (const struct lesson_option *option = lesson->chapter->options; option && option->name;
         option++)
        if ((option->kind == LESSON_COUNT || option->kind == LESSON_SHAPE ||
             option->kind == LESSON_SHAPE3) &&
            takes(help, option->name) && used + strlen(option->name) + 8 < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s--%s", used ? ", " : "",
                                     option->name);
    return names;
}
