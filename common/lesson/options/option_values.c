/* The value of an option, strictly; and how a wrong one is refused. */
#include "common/lesson/options/options.h"
#include "common/lesson/options/values.h"
#include <inttypes.h>

void refuse_value(struct lesson *lesson, const char *option, const char *given, const char *allowed)
{
    lesson_usage(lesson, "--%s: '%s' is not allowed; it must be %s", option, given, allowed);
}

const char *range_words(const char *what, int64_t minimum, int64_t maximum)
{
    static char words[128];
    if (maximum == INT64_MAX)
        snprintf(words, sizeof words, "%s, at least %" PRId64, what, minimum);
    else
        snprintf(words, sizeof words, "%s from %" PRId64 " to %" PRId64, what, minimum, maximum);
    return words;
}

int64_t whole_number(struct lesson *lesson, const char *option, const char *text, int64_t minimum,
                     int64_t maximum)
{
    int64_t value = 0;
    if (parse_integer(text, minimum, maximum, &value))
        refuse_value(lesson, option, text, range_words("a whole number", minimum, maximum));
    return value;
}

double real_number(struct lesson *lesson, const char *option, const char *text, double minimum,
                   double maximum)
{
    double value = 0.0;
    if (parse_real(text, minimum, maximum, &value)) {
        char words[80];
        snprintf(words, sizeof words, "a number from %g to %g", minimum, maximum);
        refuse_value(lesson, option, text, words);
    }
    return value;
}

int one_of(struct lesson *lesson, const char *option, const char *text, const char *const *names,
           int count, const char *words)
{
    const int index = parse_name(text, names, count);
    if (index < 0)
        refuse_value(lesson, option, text, words);
    return index;
}

const char *file_name(struct lesson *lesson, const char *option, const char *text)
{
    if (!*text)
        refuse_value(lesson, option, text, "the name of a file or directory");
    return text;
}
