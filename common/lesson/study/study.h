/* study.h - what the files share with which chapters measure besides lesson_measure; their
 * contracts are in lesson.h, evidence.h and command.h.
 */
#ifndef LESSON_STUDY_H
#define LESSON_STUDY_H

#include "common/lesson/write/write.h"

/* ---- command.c ------------------------------------------------------------------------------- */

/* `text` with {}, {/}, {.} and {/.} replaced for the file; the caller frees it. NULL: no memory. */
char *command_word(const char *text, const char *file);

#endif
