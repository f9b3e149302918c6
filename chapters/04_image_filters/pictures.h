/* pictures.h - the reader's own pictures, from --input and to --output. */
#ifndef PICTURES_H
#define PICTURES_H

#include "common/data/picture_set.h"
#include "common/lesson/lesson.h"

/* Reads what can be read. What cannot is named, and makes the exit status 1. If there is no memory
 * for all of it, the program ends before it has read more than how large the pictures are. */
void pictures_read(struct lesson *lesson, struct picture_set *set,
                   const struct lesson_paths *input);

/* The edges of each picture as a picture in this directory, its strongest edge white. edges_at:
 * where each begins, in bytes. One that cannot be written is named, and makes the exit status 1. */
void pictures_write_edges(struct lesson *lesson, const struct picture_set *set, const float *edges,
                          const size_t *edges_at, const char *directory);

#endif
