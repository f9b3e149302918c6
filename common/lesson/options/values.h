/* values.h - what the files of the command line share.
 *
 *   options.c        the options of all chapters, and argp
 *   own_options.c    the chapter's own
 *   option_values.c  values, and how a wrong one is refused
 */
#ifndef LESSON_VALUES_H
#define LESSON_VALUES_H

#include "common/lesson/options/options.h"

/* ---- option_values.c ------------------------------------------------------------------------- */

/* Ends the program: "--option: 'given' is not allowed; it must be ALLOWED". */
__attribute__((noreturn)) void refuse_value(struct lesson *lesson, const char *option,
                                            const char *given, const char *allowed);

/* "WHAT from 1 to 1000", in a static buffer. */
const char *range_words(const char *what, int64_t minimum, int64_t maximum);

/* The value that the text of this option says; each refuses any other text. */
int64_t whole_number(struct lesson *lesson, const char *option, const char *text, int64_t minimum,
                     int64_t maximum);
double real_number(struct lesson *lesson, const char *option, const char *text, double minimum,
                   double maximum);
const char *file_name(struct lesson *lesson, const char *option, const char *text);
/* An index of names[count]; words: all of them. */
int one_of(struct lesson *lesson, const char *option, const char *text, const char *const *names,
           int count, const char *words);

/* ---- own_options.c --------------------------------------------------------------------------- */

/* The option that takes the words without an option, or NULL; and one such word more. */
const struct lesson_option *paths_option(const struct lesson *lesson);
void add_path(struct lesson *lesson, const struct lesson_option *option, const char *path);

void parse_own_option(struct lesson *lesson, const struct lesson_option *option, const char *text);

/* Dies where options exclude one another, or one is missing. */
void check_combinations(struct lesson *lesson);

/* " (default 100)" for --help, or "". */
void default_words(char *words, size_t size, const struct lesson_option *option);

#endif
