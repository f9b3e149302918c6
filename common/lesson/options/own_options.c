/* The chapter's own options: the values they are given, and those they have. */
#include "common/lesson/options/options.h"
#include "common/lesson/options/values.h"
#include <inttypes.h>
#include <stdlib.h>

const struct lesson_option *paths_option(const struct lesson *lesson)
{
    for (const struct lesson_option *option = lesson->chapter->options; option && option->name;
         option++)
        if (option->kind == LESSON_PATHS)
            return option;
    return NULL;
}

/* What a complaint about memory names later: an option, and its text if that is a size. */
static void note_size(struct lesson *lesson, const struct lesson_option *option, const char *text)
{
    const size_t used = strlen(lesson->sizes);
    snprintf(lesson->sizes + used, sizeof lesson->sizes - used, "%s--%s%s%s", used ? ", " : "",
             option->name, text ? " " : "", text ? text : "");
}

static uint64_t bit_of(const struct lesson *lesson, const struct lesson_option *option)
{
    return UINT64_C(1) << (option - lesson->chapter->options) % 64;
}

void add_path(struct lesson *lesson, const struct lesson_option *option, const char *path)
{
    struct lesson_paths *paths = option->value;
    const char *checked = file_name(lesson, option->name, path);
    const char **list = reallocarray(lesson->paths, paths->count + 1, sizeof *list);
    if (!list)
        lesson_die(lesson, "out of memory");
    lesson->options->given |= bit_of(lesson, option);
    if (paths->count == 0)
        note_size(lesson, option, NULL); /* how large they are, they say themselves */
    list[paths->count] = checked;
    lesson->paths = list;
    paths->paths = list;
    paths->count++;
}

/* The largest value of an option, where 0 stands for "no limit of its own". */
static int64_t option_maximum(const struct lesson_option *option)
{
    return option->maximum > 0 || option->minimum < 0 ? option->maximum : INT64_MAX;
}

static void parse_integer_option(struct lesson *lesson, const struct lesson_option *option,
                                 const char *text)
{
    const bool any = option->minimum == 0 && option->maximum == 0;
    const int64_t minimum = any ? INT64_MIN : option->minimum;
    const int64_t maximum = any ? INT64_MAX : option->maximum;
    int64_t value = 0;
    if (parse_integer(text, minimum, maximum, &value))
        refuse_value(lesson, option->name, text,
                     any ? "a whole number of 64 bits"
                         : range_words("a whole number", minimum, maximum));
    memcpy(option->value, &value, sizeof value);
}

static void parse_shape_option(struct lesson *lesson, const struct lesson_option *option,
                               const char *text)
{
    const int sides = option->kind == LESSON_SHAPE ? 2 : 3;
    if (parse_shape(text, option->minimum, option_maximum(option), option->value, sides))
        refuse_value(lesson, option->name, text,
                     range_words(sides == 2 ? "HEIGHTxWIDTH or one number for both, each"
                                            : "DEPTHxHEIGHTxWIDTH or one number for all, each",
                                 option->minimum, option_maximum(option)));
    note_size(lesson, option, text);
}

/* "yes|no|maybe" as "yes, no or maybe", in a static buffer. */
static const char *choice_words(const char *words)
{
    static char text[128];
    size_t used = 0;
    const char *last = strrchr(words, '|');
    for (const char *c = words; *c && used + 5 < sizeof text; c++)
        if (*c == '|')
            used += (size_t)snprintf(text + used, sizeof text - used, c == last ? " or " : ", ");
        else
            text[used++] = *c;
    text[used] = '\0';
    return text;
}

void parse_own_option(struct lesson *lesson, const struct lesson_option *option, const char *text)
{
    const int64_t maximum = option_maximum(option);
    switch (option->kind) {
    case LESSON_COUNT:
        *(size_t *)option->value =
            (size_t)whole_number(lesson, option->name, text, option->minimum, maximum);
        note_size(lesson, option, text);
        break;
    case LESSON_INTEGER:
        parse_integer_option(lesson, option, text);
        break;
    case LESSON_REAL:
        *(double *)option->value = real_number(lesson, option->name, text, (double)option->minimum,
                                               (double)option->maximum);
        break;
    case LESSON_SHAPE:
    case LESSON_SHAPE3:
        parse_shape_option(lesson, option, text);
        break;
    case LESSON_CHOICE:
        *(int *)option->value = parse_choice(text, option->argument);
        if (*(int *)option->value < 0)
            refuse_value(lesson, option->name, text, choice_words(option->argument));
        break;
    case LESSON_TEXT:
        if (!*text)
            refuse_value(lesson, option->name, text, "some text");
        *(const char **)option->value = text;
        break;
    case LESSON_PATH:
        *(const char **)option->value = file_name(lesson, option->name, text);
        break;
    case LESSON_PATHS:
        add_path(lesson, option, text);
        break;
    case LESSON_FLAG:
        *(bool *)option->value = true;
        break;
    }
}

const struct lesson_option *options_find(const struct lesson *lesson, const void *value)
{
    for (const struct lesson_option *option = lesson->chapter->options; option && option->name;
         option++)
        if (option->value == value)
            return option;
    return NULL;
}

bool lesson_given(const struct lesson *lesson, const void *value)
{
    const struct lesson_option *option = options_find(lesson, value);
    return option && lesson->options->given & bit_of(lesson, option);
}

/* Is the word one of the list's? */
static bool is_among(const char *word, const char *list)
{
    const size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at++)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

/* The first option with one of these names that was given, or that was not; or NULL. */
static const char *first_of(const struct lesson *lesson, const char *names, bool given)
{
    for (const struct lesson_option *option = lesson->chapter->options; option && option->name;
         option++)
        if (is_among(option->name, names) &&
            ((lesson->options->given & bit_of(lesson, option)) != 0) == given)
            return option->name;
    return NULL;
}

bool lesson_any_given(const struct lesson *lesson, const char *names)
{
    return first_of(lesson, names, true) != NULL;
}

void check_combinations(struct lesson *lesson)
{
    const struct lesson_chapter *chapter = lesson->chapter;
    for (const struct lesson_exclusion *pair = chapter->exclusive; pair && pair->these; pair++) {
        const char *one = first_of(lesson, pair->these, true);
        const char *other = first_of(lesson, pair->those, true);
        if (one && other)
            lesson_usage(lesson, "--%s and --%s exclude one another", one, other);
    }
    const char *given = chapter->together ? first_of(lesson, chapter->together, true) : NULL;
    const char *missing = given ? first_of(lesson, chapter->together, false) : NULL;
    if (missing)
        lesson_usage(lesson, "--%s needs --%s, which is missing", given, missing);
}

void default_words(char *words, size_t size, const struct lesson_option *option)
{
    const size_t *shape = option->value;
    switch (option->kind) {
    case LESSON_COUNT:
        snprintf(words, size, " (default %zu)", *(const size_t *)option->value);
        break;
    case LESSON_INTEGER:
        snprintf(words, size, " (default %" PRId64 ")", *(const int64_t *)option->value);
        break;
    case LESSON_REAL:
        snprintf(words, size, " (default %g)", *(const double *)option->value);
        break;
    case LESSON_SHAPE:
        snprintf(words, size, " (default %zux%zu)", shape[0], shape[1]);
        break;
    case LESSON_SHAPE3:
        snprintf(words, size, " (default %zux%zux%zu)", shape[0], shape[1], shape[2]);
        break;
    default:
        *words = '\0';
    }
}
