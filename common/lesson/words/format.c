/* Figures as text. */
#include "common/lesson/words/words.h"
#include <math.h>

const char *const lesson_mode_names[LESSON_MODES] = {"sequential", "threads", "gil", "processes"};
const char *const lesson_transfer_names[LESSON_BOTH + 1] = {"default", "copy", "shared", "both"};

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

const char *digits_text(double value, const char *unit)
{
    size_t size;
    char *text = ring_text(&size);
    if (isnan(value))
        return "-";
    snprintf(text, size, "%.*f%s", value < 0.095 ? 3 : decimals(value), value, unit);
    return text;
}

const char *factor_text(double factor)
{
    size_t size;
    char *text = ring_text(&size);
    if (isnan(factor))
        return "-";
    snprintf(text, size, "%.*fx", factor < 0.095 ? 3 : 2, factor);
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
