#include "common/lesson/internal.h"
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

const char *const lesson_mode_names[LESSON_MODES] = {"sequential", "threads", "gil", "processes"};
const char *const lesson_transfer_names[LESSON_BOTH + 1] = {"default", "copy", "shared", "both"};

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

/* Several texts may be arguments of one printf. */
static char *ring_text(size_t *size)
{
    static char ring[16][64];
    static unsigned next;
    *size = sizeof ring[0];
    return ring[next++ % 16];
}

/* Three digits: 1.23, 12.3, 123. */
static int decimals(double value)
{
    return value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
}

static const struct unit {
    double seconds;
    const char *name;
} time_units[] = {{1e-9, "ns"}, {1e-6, "us"}, {1e-3, "ms"}, {1.0, "s"}};

/* The largest unit in which the time, as it will be printed, is at least 1. */
static struct unit time_unit(double seconds)
{
    int unit = 0;
    while (unit < 3 && seconds / time_units[unit].seconds >= 999.5)
        unit++;
    return time_units[unit];
}

const char *lesson_time_text(double seconds)
{
    size_t size;
    char *text = ring_text(&size);
    if (seconds < 0.0) {
        snprintf(text, size, "-%s", lesson_time_text(-seconds));
    } else if (seconds == 0.0) {
        snprintf(text, size, "0 s");
    } else {
        const struct unit unit = time_unit(seconds);
        const double value = seconds / unit.seconds;
        snprintf(text, size, "%.*f %s", decimals(value), value, unit.name);
    }
    return text;
}

const char *lesson_range_text(double middle, double minimum, double maximum)
{
    size_t size;
    char *text = ring_text(&size);
    const struct unit unit = time_unit(middle);
    const double m = middle / unit.seconds, low = minimum / unit.seconds,
                 high = maximum / unit.seconds;
    snprintf(text, size, "%.*f [%.*f - %.*f] %s", decimals(m), m, decimals(low), low,
             decimals(high), high, unit.name);
    return text;
}

const char *lesson_bytes_text(double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    size_t size, unit = 0;
    char *text = ring_text(&size);
    while (unit < 6 && bytes >= 999.5) {
        bytes /= 1000.0;
        unit++;
    }
    snprintf(text, size, "%.*f %s", unit > 0 && bytes < 9.95 ? 1 : 0, bytes, units[unit]);
    return text;
}

const char *plural(double count)
{
    return count == 1.0 ? "" : "s";
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return (values[(count - 1) / 2] + values[count / 2]) / 2.0;
}
