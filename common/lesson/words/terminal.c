/* What a terminal shows: its size, and UTF-8. */
#include "common/lesson/words/words.h"
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct winsize terminal_window(int fd)
{
    struct winsize window = {0};
    if (ioctl(fd, TIOCGWINSZ, &window) || window.ws_col == 0)
        window = (struct winsize){.ws_row = 24, .ws_col = 80};
    return window;
}

int terminal_columns(int fd)
{
    return terminal_window(fd).ws_col;
}

int window_columns(int least, int most)
{
    const char *said = getenv("COLUMNS");
    char *end = NULL;
    const long number = said ? strtol(said, &end, 10) : 0;
    const bool understood = end && end > said && *end == '\0' && number > 0;
    const long columns = understood ? number : terminal_columns(STDOUT_FILENO);
    return (int)(columns < least ? least : columns > most ? most : columns);
}

/* Only asked, not set for the program: numbers keep their points. */
bool terminal_is_utf8(void)
{
    const locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    if (!locale)
        return false;
    const bool utf8 = strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
    freelocale(locale);
    return utf8;
}

bool read_line(char *line, int size)
{
    if (!fgets(line, size, stdin))
        return false;
    for (int c = 0; !strchr(line, '\n') && c != '\n' && c != EOF;)
        if ((c = getchar()) != '\n')
            *line = '?'; /* and no answer */
    return true;
}
