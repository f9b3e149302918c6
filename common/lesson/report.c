#include "common/lesson/internal.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define COLUMNS 100

/* ---- Progress: one line on a terminal's standard error --------------------------------------- */

static const char erase_line[] = "\r\033[K";
static bool line_is_shown;

/* The program ends by the signal as it would anyway, but leaves a clean line. */
static void erase_and_end(int number)
{
    if (write(STDERR_FILENO, erase_line, sizeof erase_line - 1) < 0)
        _exit(128 + number);
    raise(number); /* its action is the default again (SA_RESETHAND) */
}

static void catch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    static bool caught;
    for (size_t i = 0; !caught && i < sizeof numbers / sizeof *numbers; i++) {
        const struct sigaction action = {.sa_handler = erase_and_end, .sa_flags = SA_RESETHAND};
        struct sigaction old;
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(numbers[i], &action, NULL);
    }
    caught = true;
}

void progress_show(struct lesson *lesson, const char *format, ...)
{
    char text[COLUMNS];
    va_list arguments;
    if (!lesson->progress)
        return;
    catch_signals();
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s%.79s", erase_line, text);
    line_is_shown = true;
}

void progress_clear(struct lesson *lesson)
{
    (void)lesson;
    if (line_is_shown)
        fputs(erase_line, stderr);
    line_is_shown = false;
}

/* ---- Text ------------------------------------------------------------------------------------ */

void report_paragraph(struct lesson *lesson, int indent, const char *text)
{
    int column = indent;
    lesson_print(lesson, "%*s", indent, "");
    while (*text) {
        const size_t blanks = strspn(text, " "), word = strcspn(text + blanks, " ");
        if (column + (int)(blanks + word) > COLUMNS && column > indent) {
            lesson_print(lesson, "\n%*s", indent, "");
            column = indent;
        } else {
            lesson_print(lesson, "%.*s", (int)blanks, text);
            column += (int)blanks;
        }
        lesson_print(lesson, "%.*s", (int)word, text + blanks);
        column += (int)word;
        text += blanks + word;
    }
    lesson_print(lesson, "\n");
}

const char *report_mode(const struct lesson_figures *figures)
{
    if (figures->mode != LESSON_PROCESSES)
        return lesson_mode_names[figures->mode];
    return figures->transfer == LESSON_SHARED ? "processes, shared" : "processes, copy";
}

/* ---- The table ------------------------------------------------------------------------------- */

static const char *colour(const struct lesson *lesson, const char *code)
{
    return lesson->colour ? code : "";
}

static void print_row(struct lesson *lesson, const struct lesson_figures *figures)
{
    const char *start = "", *end = "";
    if (!figures->matches || (figures->mode != LESSON_SEQUENTIAL && figures->speedup < 0.95))
        start = colour(lesson, "\033[31m");
    else if (figures->speedup > 1.05)
        start = colour(lesson, "\033[32m");
    if (*start)
        end = colour(lesson, "\033[0m");
    lesson_print(lesson, "%-17s %7d %22s %8s %10.2f ", report_mode(figures), figures->workers,
                 lesson_range_text(figures->wall_median, figures->wall_min, figures->wall_max),
                 lesson_time_text(figures->cpu_median), figures->cores_busy);
    lesson_print(lesson, "%s%6.*fx %8.0f %% %12s%s\n", start, figures->speedup < 0.095 ? 3 : 2,
                 figures->speedup, 100.0 * figures->efficiency, figures->matches ? "yes" : "NO",
                 end);
}

static void print_rows(struct lesson *lesson, const struct lesson_results *results)
{
    lesson_print(lesson, "%s%-17s %7s %22s %8s %10s %7s %10s %12s%s\n", colour(lesson, "\033[1m"),
                 "mode", "workers", "wall [min - max]", "CPU", "cores busy", "speedup",
                 "efficiency", "same result?", colour(lesson, "\033[0m"));
    for (size_t i = 0; i < results->count; i++)
        print_row(lesson, &results->figures[i]);
}

/* Each term once in a program. */
static void print_terms(struct lesson *lesson, const struct lesson_results *results)
{
    if (lesson->terms_told)
        return;
    lesson->terms_told = true;
    lesson_print(
        lesson,
        "  wall          time on the clock: median of %d runs [fastest - slowest]; a "
        "pool's start-up is apart\n"
        "  CPU           computing time of all threads and processes, added up\n"
        "  cores busy    CPU / wall: how many cores computed at the same time, on average\n"
        "  speedup       wall of sequential / wall;  efficiency: speedup / workers\n"
        "  same result?  every run gave the sequential result, to the last bit\n",
        results->figures[0].repeats);
}

/* Where the time of the process modes went. */
static void print_phases(struct lesson *lesson, const struct lesson_results *results)
{
    if (!lesson_find(results, LESSON_PROCESSES, 0, LESSON_DEFAULT_TRANSFER))
        return;
    lesson_print(lesson, "\n%s%-17s %7s %10s %8s %8s %8s %8s %8s %7s %7s%s\n",
                 colour(lesson, "\033[1m"), "where time went", "workers", "with start", "start-up",
                 "send", "compute", "receive", "wait", "copied", "chunks",
                 colour(lesson, "\033[0m"));
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode != LESSON_PROCESSES)
            continue;
        lesson_print(lesson, "%-17s %7d %10s %8s %8s %8s %8s %8s %7s %7zu\n", report_mode(figures),
                     figures->workers, lesson_time_text(figures->startup + figures->wall_median),
                     lesson_time_text(figures->startup), lesson_time_text(figures->phases.send),
                     lesson_time_text(figures->phases.compute),
                     lesson_time_text(figures->phases.receive),
                     lesson_time_text(figures->phases.wait),
                     lesson_bytes_text((double)figures->bytes_copied), figures->chunks);
    }
    if (lesson->phases_told)
        return;
    lesson->phases_told = true;
    lesson_print(
        lesson,
        "  start-up      starting the workers, once for all runs;  with start: start-up + wall\n"
        "  send, receive copying arguments to the workers and results back (copied: how much)\n"
        "  compute       time inside tasks, of the worker that had most of it\n"
        "  wait          the rest: waking up, handing out chunks, one waiting for another\n"
        "  chunks        tasks are handed out in chunks; figures of the run with the median "
        "wall\n");
}

static void print_gil(struct lesson *lesson, const struct lesson_results *results)
{
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode == LESSON_GIL && figures->workers > 1)
            lesson_print(lesson,
                         "%sgil, %d worker%s: the GIL changed hands %llu times (%llu forced by a "
                         "waiting thread)\n",
                         i > 0 && figures[-1].mode != LESSON_GIL ? "\n" : "", figures->workers,
                         figures->workers == 1 ? "" : "s",
                         (unsigned long long)figures->gil.switches,
                         (unsigned long long)figures->gil.forced);
    }
}

void report_table(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_results *results)
{
    lesson_heading(lesson, workload->title ? workload->title : workload->name);
    print_rows(lesson, results);
    print_terms(lesson, results);
    print_gil(lesson, results);
    print_phases(lesson, results);
    lesson_print(lesson, "\n");
}
