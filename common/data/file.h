/* file.h - files that are written whole or not at all.
 *
 * file_create opens an unnamed or temporary file in the directory of `path`; file_commit checks
 * that all was written and gives it its name; file_abandon throws it away. A full disk, a signal or
 * an error in between leaves nothing under the final name, and an older file there untouched.
 * If `path` already names something that is not a regular file (a device, a pipe), it is written
 * directly. Of a symbolic link the file it leads to is replaced; a replaced file keeps its
 * permissions, a new one follows the umask. A file size limit and a pipe without a reader are
 * errors of file_commit here, not signals.
 */
#ifndef DATA_FILE_H
#define DATA_FILE_H

#include "common/error.h"
#include <stdio.h>

struct file;

/* NULL with *error: ERROR_SYSTEM, naming path. */
struct file *file_create(const char *path, struct error *error);

/* The stream to write to. Errors need not be checked at each write: file_commit checks. */
FILE *file_stream(struct file *file);

/* Ends the file and frees `file` either way. On any earlier write error: ERROR_SYSTEM naming the
 * path, and nothing is left. */
int file_commit(struct file *file, struct error *error);

/* Frees `file`, leaves nothing. NULL is allowed. */
void file_abandon(struct file *file);

/* A directory and its parents, as mkdir -p; fine if it exists and can be written. */
int file_make_directory(const char *path, struct error *error);

#endif
