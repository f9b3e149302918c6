/* Lines on a terminal's standard error that are drawn again in place, and taken away before
 * anything else is printed. Nothing is drawn that a window cannot hold, or while the terminal takes
 * nothing.
 */
#include "common/lesson/words/words.h"
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL 0.1 /* seconds between two drawings, at least */

static struct {
    char heading[PROGRESS_COLUMNS];
    int lengths[PROGRESS_LINES]; /* of the lines that are on the screen, */
    volatile sig_atomic_t shown; /*   which are so many */
    double drawn;                /* when */
} screen;

double coarse_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool progress_due(void)
{
    return screen.drawn == 0.0 || coarse_clock() - screen.drawn >= INTERVAL;
}

/* Erases the line where the cursor is, and those above. */
static const char erase_line[] = "\r\033[K", erase_above[] = "\033[A\033[K";

/* When a signal ends the program, it leaves a clean screen. */
static void erase_lines(void)
{
    ssize_t written = 0;
    for (int i = 0; i < screen.shown && written >= 0; i++)
        written = i ? write(STDERR_FILENO, erase_above, sizeof erase_above - 1)
                    : write(STDERR_FILENO, erase_line, sizeof erase_line - 1);
}

/* Stopped, the program has lost its lines: the shell has written below them. */
static void leave_lines(int number)
{
    (void)number;
    screen.shown = 0;
}

/* In the background the terminal is another's. */
static bool in_background(void)
{
    const pid_t front = tcgetpgrp(STDERR_FILENO);
    return front >= 0 && front != getpgrp();
}

static void catch_signals(void)
{
    static const struct sigaction go_on = {.sa_handler = leave_lines, .sa_flags = SA_RESTART};
    static bool caught;
    if (caught)
        return;
    sigaction(SIGCONT, &go_on, NULL);
    interrupts_add(erase_lines);
    caught = true;
}

/* In a window that has become narrower, lines were broken. */
static int rows_on_screen(int columns)
{
    int rows = 0;
    for (int i = 0; i < screen.shown; i++) {
        rows += screen.lengths[i] > columns ? (screen.lengths[i] + columns - 1) / columns : 1;
    }
    return rows;
}

static void put_erase(FILE *out, int columns)
{
    const int rows = rows_on_screen(columns);
    if (rows > 0)
        fputs(erase_line, out);
    for (int i = 1; i < rows; i++)
        fputs(erase_above, out);
}

/* In one write, and only if the terminal takes it: with Ctrl-S, or over a line that is slow, the
 * run must not wait for it. */
void progress_draw(char lines[][PROGRESS_COLUMNS], int count)
{
    char text[PROGRESS_LINES * (PROGRESS_COLUMNS + 8)];
    struct pollfd terminal = {.fd = STDERR_FILENO, .events = POLLOUT};
    screen.drawn = coarse_clock();
    if (in_background() || poll(&terminal, 1, 0) != 1 || !(terminal.revents & POLLOUT))
        return;
    FILE *out = fmemopen(text, sizeof text, "w");
    if (!out)
        return;
    catch_signals();
    const int columns = terminal_window(STDERR_FILENO).ws_col;
    if (screen.shown)
        put_erase(out, columns);
    else
        fputs(erase_line, out);
    for (int i = 0; i < count; i++) {
        if (columns <= PROGRESS_COLUMNS) /* a line that wraps would stay */
            lines[i][columns - 1] = '\0';
        screen.lengths[i] = (int)strlen(lines[i]);
        fprintf(out, "%s%s", i ? "\n" : "", lines[i]);
    }
    const long length = ftell(out);
    screen.shown = count;
    if (fclose(out) == 0 && length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        screen.shown = 0;
}

const char *progress_heading(void)
{
    return screen.heading;
}

void progress_show(struct lesson *lesson, const char *format, ...)
{
    va_list arguments;
    if (!lesson->progress)
        return;
    va_start(arguments, format);
    vsnprintf(screen.heading, sizeof screen.heading, format, arguments);
    va_end(arguments);
    if (!progress_due())
        return;
    char lines[1][PROGRESS_COLUMNS];
    memcpy(lines[0], screen.heading, sizeof screen.heading);
    progress_draw(lines, 1);
}

void progress_clear(struct lesson *lesson)
{
    (void)lesson;
    if (screen.shown)
        put_erase(stderr, terminal_window(STDERR_FILENO).ws_col);
    screen.shown = 0;
}
