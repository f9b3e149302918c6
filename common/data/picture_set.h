/* picture_set.h - many pictures at once, of which some may be broken.
 *
 * One bad file in a folder of a thousand must not cost the other 999: reading a set goes on, and
 * says of each picture that could not be used why. Sizes come first, pixels later: in between one
 * can look whether there is memory for all of them.
 */
#ifndef DATA_PICTURE_SET_H
#define DATA_PICTURE_SET_H

#include "common/data/picture.h"

struct picture_set {
    size_t count;
    struct picture *pictures; /* [count]: sizes at first, then their pixels too */
    char **names;             /* [count]: the files they came from */
    size_t bad_count;
    struct error *bad; /* [bad_count]: each names its file */
    size_t minimum_side;
};

/* Reads how large the pictures of picture_list(paths) are. One with a side below minimum_side
 * counts as bad, and so does what is no regular file, but was found in a directory: opening a pipe
 * would wait for somebody to write. A pipe that `paths` names is read at once, pixels and all, for
 * it can be read only once. -1 with *error only if there is nothing to read (see picture_list) or
 * no memory. The caller frees the set. */
int picture_set_open(struct picture_set *set, const char *const *paths, size_t path_count,
                     size_t minimum_side, struct error *error);

/* Reads their pixels. Those that turn out to be bad leave the set. */
void picture_set_load(struct picture_set *set);
void picture_set_free(struct picture_set *set);

/* The file in `directory` for what became of picture i: DIR/NAMEsuffix.png, and where an earlier
 * picture of the set has the same name, DIR/NAMEsuffix-2.png and so on. The suffix keeps it apart
 * from the picture itself. The caller frees it; NULL: no memory. */
char *picture_set_output(const struct picture_set *set, size_t i, const char *directory,
                         const char *suffix);

#endif
