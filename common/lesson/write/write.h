/* write.h - all that a run writes into files.
 *
 *   output.c   before the work, whether it can; after it, the files; arrays
 *   json.c, csv.c, trace.c, series.c   what each holds
 *   page.c     the report page, source.c the functions' text on it
 */
#ifndef LESSON_WRITE_H
#define LESSON_WRITE_H

#include "common/lesson/draw/draw.h"
#include "common/lesson/python/python.h"
#include "common/lesson/step/step.h"

/* ---- output.c, json.c, csv.c, trace.c -------------------------------------------------------- */

/* Dies if the files that were asked for could not be written later. */
void output_check(struct lesson *lesson);
void output_prepare(struct lesson *lesson); /* makes the --save directory */
void output_write(struct lesson *lesson); /* all files, --plot, and what goes to standard output */

/* Everything that --json writes, as a document of the caller's. Dies when memory is short. */
struct json_t *output_document(struct lesson *lesson);
void output_json(struct lesson *lesson, FILE *stream);

/* What --csv writes. */
void output_csv(struct lesson *lesson, FILE *stream);

/* What --trace writes. */
void trace_write(struct lesson *lesson, FILE *stream);

/* ---- page.c: --report, one page that needs nothing else
 * ------------------------------------------- */

/*
 * page/page.html, .css and the scripts are the page; page/embed.py joins them when the program is
 * compiled, in two halves, so that the program carries them. What was measured goes between the
 * halves as one block of JSON, {"chapters": [...]}: each is what --json writes and more, and
 * page.js shows them. `./run report` joins the blocks of several pages into one.
 */
void page_check(struct lesson *lesson);   /* dies if the page could not be written later */
void page_prepare(struct lesson *lesson); /* makes its directory */
void page_write(struct lesson *lesson);

/* The halves. */
extern const unsigned char page_head[], page_tail[];
extern const size_t page_head_size, page_tail_size;

/* ---- source.c: the text of a function, from the project's own files
 * ------------------------------- */

/*
 * The name of a mode's function is in the symbol table of the program itself, and of a static
 * function also the file that it stands in. The definition is then found as a reader finds it:
 * clang-format puts the function's name into a line that begins at the margin, "{" and "}" into
 * lines of their own. So no debug information is needed, and no parser of C.
 */
/* The function's text with the comment above it: {"function", "file", "line", "text", "names":
 * [{"function", "line", "text"}, ...]}; names are the functions of the same file that it calls or
 * gives to a pool, and those that these name. If it is not found: {"error": in words}, and
 * "function" if its name is known. NULL: out of memory. */
struct json_t *source_of(const struct lesson *lesson, lesson_function *function);

/* The comment at the top of the chapter's source, as text; null if it is not found. */
struct json_t *source_introduction(const struct lesson *lesson);

/* ---- series.c: what a class can plot by itself ----------------------------------------------- */

/* These results are a step of a sweep: what was varied, and its size there. */
void series_note_size(struct lesson *lesson, const struct lesson_results *results,
                      const char *size_name, size_t size);

/* Takes an entry for "series" of --json, the caller's reference with it. */
void series_add(struct lesson *lesson, struct json_t *series);

/* The "series" of --json: what was added, and, of each workload that was shown with several
 * numbers of workers, one for each way. */
struct json_t *series_document(struct lesson *lesson);

#endif
