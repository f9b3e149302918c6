/* Numbers and names from text, strictly. */
#include "common/lesson/options/options.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

int parse_integer(const char *text, int64_t minimum, int64_t maximum, int64_t *value)
{
    const char *digits = text + (*text == '-');
    if (!isdigit((unsigned char)*digits))
        return -1;
    char *end = NULL;
    errno = 0;
    const intmax_t number = strtoimax(text, &end, 10);
    if (errno || *end || number < minimum || number > maximum)
        return -1;
    *value = number;
    return 0;
}

int parse_real(const char *text, double minimum, double maximum, double *value)
{
    /* strtod would also take blanks, hexadecimal, "inf" and "nan" */
    if (!*text || text[strspn(text, "0123456789.eE+-")] || *text == '+')
        return -1;
    char *end = NULL;
    errno = 0;
    const double number = strtod(text, &end);
    if (errno || end == text || *end || !(number >= minimum && number <= maximum))
        return -1;
    *value = number;
    return 0;
}

int parse_shape(const char *text, int64_t minimum, int64_t maximum, size_t *shape, int sides)
{
    size_t read[3];
    int found = 0;
    for (const char *at = text; at; found++) {
        char side[32];
        int64_t value;
        const char *cross = strchr(at, 'x');
        const size_t length = cross ? (size_t)(cross - at) : strlen(at);
        if (length >= sizeof side || found == sides)
            return -1;
        memcpy(side, at, length);
        side[length] = '\0';
        if (parse_integer(side, minimum, maximum, &value))
            return -1;
        read[found] = (size_t)value;
        at = cross ? cross + 1 : NULL;
    }
    if (found != 1 && found != sides)
        return -1;
    for (int i = 0; i < sides; i++)
        shape[i] = read[found == 1 ? 0 : i];
    return 0;
}

int parse_choice(const char *text, const char *words)
{
    for (int i = 0; words; i++) {
        const char *bar = strchr(words, '|');
        const size_t length = bar ? (size_t)(bar - words) : strlen(words);
        if (strlen(text) == length && strncmp(text, words, length) == 0)
            return i;
        words = bar ? bar + 1 : NULL;
    }
    return -1;
}

int parse_name(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

/* Copies the item at *text, which ends at a comma or the end, and moves *text behind it; false
 * when it is empty or longer than any valid one. At the end *text is NULL. */
static bool next_item(const char **text, char *item, size_t size)
{
    const char *comma = strchr(*text, ',');
    const size_t length = comma ? (size_t)(comma - *text) : strlen(*text);
    if (length == 0 || length >= size)
        return false;
    memcpy(item, *text, length);
    item[length] = '\0';
    *text = comma ? comma + 1 : NULL;
    return true;
}

int parse_workers(const char *text, int *workers, size_t *count)
{
    bool seen[POOL_MAX_WORKERS + 1] = {false};
    size_t n = 0;
    while (text) {
        char item[32];
        int64_t value;
        if (!next_item(&text, item, sizeof item) ||
            parse_integer(item, 1, POOL_MAX_WORKERS, &value))
            return -1;
        if (!seen[value])
            workers[n++] = (int)value;
        seen[value] = true;
    }
    *count = n;
    return 0;
}

int parse_intervals(const char *text, double intervals[MOST_INTERVALS], size_t *count)
{
    double chosen[MOST_INTERVALS] = {0};
    size_t n = 0;
    while (text) {
        char item[32];
        double value;
        size_t i = 0;
        if (!next_item(&text, item, sizeof item) ||
            parse_real(item, LEAST_INTERVAL, LONGEST_INTERVAL, &value))
            return -1;
        while (i < n && chosen[i] != value)
            i++;
        if (i == MOST_INTERVALS)
            return -1;
        chosen[i] = value;
        n = i == n ? n + 1 : n;
    }
    memcpy(intervals, chosen, n * sizeof *chosen);
    *count = n;
    return 0;
}

int parse_modes(const char *text, bool *modes)
{
    bool chosen[LESSON_MODES] = {false};
    if (strcmp(text, "all") == 0) {
        for (int mode = 0; mode < LESSON_MODES; mode++)
            modes[mode] = true;
        return 0;
    }
    while (text) {
        char item[32];
        if (!next_item(&text, item, sizeof item))
            return -1;
        const int mode = parse_name(item, lesson_mode_names, LESSON_MODES);
        if (mode < 0)
            return -1;
        chosen[mode] = true;
    }
    memcpy(modes, chosen, sizeof chosen);
    return 0;
}
