/* Text as UTF-8 has it. */
#include "common/lesson/words/words.h"

size_t utf8_character(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    if (byte[0] < 0x80)
        return byte[0] >= ' ' && byte[0] != 0x7f;
    if (byte[0] < 0xc2 || byte[0] > 0xf4)
        return 0;
    const size_t length = byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < length; i++)
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    /* U+0080 to U+009F are controls; then longer forms than needed, surrogates, beyond U+10FFFF */
    if ((byte[0] == 0xc2 && byte[1] < 0xa0) || (byte[0] == 0xe0 && byte[1] < 0xa0) ||
        (byte[0] == 0xed && byte[1] >= 0xa0) || (byte[0] == 0xf0 && byte[1] < 0x90) ||
        (byte[0] == 0xf4 && byte[1] >= 0x90))
        return 0;
    return length;
}

size_t utf8_length(const char *text)
{
    size_t count = 0;
    for (size_t length; *text; text += length, count++) {
        length = utf8_character(text);
        length += length == 0;
    }
    return count;
}
