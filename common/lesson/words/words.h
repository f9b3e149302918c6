/* words.h - what everything is said with: complaints, text, figures, a terminal's lines.
 *
 * The lowest room of common/lesson: it knows none of the others.
 *
 *   message.c      complaints on standard error, text on standard output, paragraphs
 *   format.c       figures as text
 *   utf8.c, json_values.c  text that others shall read
 *   terminal.c     what a terminal is like; a line from it
 *   interrupts.c   what has to be done when a signal ends the program
 *   progress.c     lines in place, taken away before anything else is printed
 */
#ifndef LESSON_WORDS_H
#define LESSON_WORDS_H

#include "common/lesson/state.h"
#include <stdio.h>

/* ---- message.c (and lesson_print, lesson_die, ... of lesson.h)
 * ------------------------------------ */

/* Ends the program when memory for the lesson's own small things is short. */
void *lesson_allocate(struct lesson *lesson, size_t count, size_t size);

/* One line on standard error, which is no failure. */
__attribute__((format(printf, 2, 3))) void lesson_note(struct lesson *lesson, const char *format,
                                                       ...);

/* What was to be done before the first output, now: an end, or inputs, come first. */
void before_output(struct lesson *lesson);

/* Flushes standard output; ends the program when it cannot be written. */
void lesson_flush(struct lesson *lesson);

/* At exit: output that was lost is an error. */
void check_standard_output(void);

/* Before and after what is bold; nothing where there are no colours. */
const char *bold(const struct lesson *lesson);
const char *plain(const struct lesson *lesson);

/* Text that is broken into lines of at most 100 columns, the later ones indented. */
void report_paragraph(struct lesson *lesson, int indent, const char *text);
void report_paragraph_within(struct lesson *lesson, int columns, int indent, const char *text);

/* ... that is put together piece by piece: what is written to the stream. */
struct paragraph {
    FILE *stream;
    char *text;
    size_t size;
};
#define PAGE_COLUMNS 100 /* as wide as tables are */
void paragraph_begin(struct lesson *lesson, struct paragraph *paragraph);
void paragraph_end(struct lesson *lesson, struct paragraph *paragraph, int columns);

/* ---- format.c
 * ------------------------------------------------------------------------------------- */

extern const char *const lesson_mode_names[LESSON_MODES];
extern const char *const lesson_transfer_names[LESSON_BOTH + 1];

/* "12.3 [12.1 - 13.0] ms": three times in the unit of the first. */
const char *lesson_range_text(double middle, double minimum, double maximum);

/* How many times as fast, as tables have it: "1.98x", "128.00x", "0.042x"; NAN: "-". */
const char *factor_text(double factor);

/* Three digits and the unit: "1.98x", "128 times", "0.042"; NAN: "-". */
const char *digits_text(double value, const char *unit);

/* "" for one, else "s". */
const char *plural(double count);

/* ---- utf8.c
 * --------------------------------------------------------------------------------------- */

/* The length of the UTF-8 character that begins here; 0: there is none, or it is a control. */
size_t utf8_character(const char *text);

/* So many characters. */
size_t utf8_length(const char *text);

/* ---- json_values.c --------------------------------------------------------------------------- */

/* Infinity and NAN, which are no numbers in JSON, become null. */
struct json_t *number_or_null(double value);

/* Text that may hold a path, with ? for what is not UTF-8. NULL: out of memory. */
struct json_t *text_value(const char *text);

/* ---- terminal.c ------------------------------------------------------------------------------ */

/* Rows and columns, at least 1; 24 and 80 if the terminal does not say, or if it is none. */
struct winsize;
struct winsize terminal_window(int fd);
int terminal_columns(int fd);

/* How wide what is drawn on standard output may be: COLUMNS says so, or the terminal. */
int window_columns(int least, int most);

/* Is text UTF-8 where this program was started? */
bool terminal_is_utf8(void);

/* One line of standard input; one that is too long begins with "?". False at the end of input. */
bool read_line(char *line, int size);

/* ---- interrupts.c ------------------------------------------------------------------------------
 */

/* A duty is called when a signal ends the program (SIGINT, SIGTERM, SIGHUP, SIGQUIT), unless it is
 * ignored; the last that was added comes first. Since the signal may have interrupted anything, it
 * may only make system calls; and it may be called when there is nothing to do. Few at a time. */
void interrupts_add(void (*duty)(void));
void interrupts_remove(void (*duty)(void));

/* ---- progress.c: lines in place, on a terminal's standard error --------------------------------
 */

/* A heading in place, unless something was drawn in the last tenth of a second; progress_clear
 * takes it away, and so does a signal that ends the program. */
__attribute__((format(printf, 2, 3))) void progress_show(struct lesson *lesson, const char *format,
                                                         ...);
void progress_clear(struct lesson *lesson);
const char *progress_heading(void);

/* Draws these lines in place of those that are there, cut to the window's width. */
#define PROGRESS_COLUMNS 160
#define PROGRESS_LINES   17
void progress_draw(char lines[][PROGRESS_COLUMNS], int count);

/* Is a tenth of a second over since the last drawing? */
bool progress_due(void);
double coarse_clock(void); /* CLOCK_MONOTONIC_COARSE, in seconds */

#endif
