/* Values that JSON cannot hold as they are. */
#include "common/lesson/words/words.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *text_value(const char *text)
{
    char *readable = strdup(text);
    if (!readable)
        return NULL;
    for (char *c = readable; *c; c++)
        if (utf8_character(c) > 1)
            c += utf8_character(c) - 1;
        else if ((unsigned char)*c >= 0x7f)
            *c = '?';
    json_t *value = json_string(readable);
    free(readable);
    return value;
}
