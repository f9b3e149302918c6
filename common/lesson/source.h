/* source.h - the project's own files, and the text of a function in them; private to common/lesson.
 *
 * The name of a mode's function is in the symbol table of the program itself, and of a static
 * function also the file that it stands in. The definition is then found as a reader finds it:
 * clang-format puts the function's name into a line that begins at the margin, "{" and "}" into
 * lines of their own. So no debug information is needed, and no parser of C.
 */
#ifndef LESSON_SOURCE_H
#define LESSON_SOURCE_H

#include "common/lesson/lesson.h"
#include <limits.h>

/* The function's text with the comment above it: {"function", "file", "line", "text", "names":
 * [{"function", "line", "text"}, ...]}; names are the functions of the same file that it calls or
 * gives to a pool, and those that these name. If it is not found: {"error": in words}, and
 * "function" if its name is known. NULL: out of memory. */
struct json_t *source_of(const struct lesson *lesson, lesson_function *function);

/* The comment at the top of the chapter's source, as text; null if it is not found. */
struct json_t *source_introduction(const struct lesson *lesson);

#endif
