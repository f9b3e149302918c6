/* picture.h - PNG and JPEG pictures as float32 grey images, and back.
 *
 * Reading turns any PNG (grey, colour, palette, alpha, 1 to 16 bits) or JPEG (grey, colour) into
 * one float per pixel in 0..255, row by row: colour is weighted 0.299 R + 0.587 G + 0.114 B
 * (ITU-R BT.601, as most libraries' grey; in a JPEG that is the Y it stores), 16-bit values are
 * divided by 257, transparency and Exif orientation are ignored. A JPEG in CMYK is refused. Writing
 * is PNG, 8 bits grey.
 *
 * A truncated picture is an error, not a half-grey image, and so is a damaged PNG: it has
 * checksums. (Where only bytes behind the last pixel are wrong or missing, a library may pass over
 * them; then the pixels are exactly those of the whole picture.) A JPEG has none: damage that can
 * still be decoded is not seen.
 */
#ifndef DATA_PICTURE_H
#define DATA_PICTURE_H

#include "common/error.h"
#include <stdbool.h>
#include <stddef.h>

struct picture {
    size_t height, width;
    float *pixels; /* [height][width], 0..255; owned by the picture */
};

/* The kind is told by the file's first byte, not by its name. Nothing in *picture needs freeing
 * on failure: ERROR_SYSTEM (cannot be opened or read), ERROR_FORMAT (empty, truncated, not a
 * picture, in CMYK, or larger than PICTURE_MAX_PIXELS), ERROR_MEMORY; each names path. */
int picture_read(const char *path, struct picture *picture, struct error *error);

/* The same for its height and width alone, without pixels: reads no more than the header, so of the
 * rest of the file nothing is known. */
int picture_read_size(const char *path, struct picture *picture, struct error *error);

void picture_free(struct picture *picture);

#define PICTURE_MAX_PIXELS ((size_t)1 << 28)

/* Writes pixels[height][width] to path as an 8-bit grey PNG, whole or not at all: value v becomes
 * round(v * scale) limited to 0..255, and NaN 0. ERROR_SYSTEM, ERROR_MEMORY, or ERROR_INVALID for
 * a size that PNG does not know (0, or 2^31 and more), each naming path. */
int picture_write(const char *path, const float *pixels, size_t height, size_t width, float scale,
                  struct error *error);

struct picture_file {
    char *path;
    bool found; /* in a directory, not named by the caller: it may be no file at all, but a pipe */
};

/* The picture files among `paths`: a file is taken as it is, a directory gives all entries whose
 * name ends in .png, .jpg or .jpeg (any case), sorted by name, whatever they are; it does not go
 * into subdirectories. Fills *count and returns a list, freed by picture_free_list. NULL with
 * *error when a path does not exist or a directory cannot be read. An empty list is an
 * ERROR_INVALID. */
struct picture_file *picture_list(const char *const *paths, size_t path_count, size_t *count,
                                  struct error *error);
void picture_free_list(struct picture_file *list, size_t count);

#endif
