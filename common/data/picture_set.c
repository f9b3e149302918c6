/* picture_set.c - many pictures, each of its own size (picture_set.h): first the sizes of all are
 * read, so that what is no picture, too small, or too much for the memory is known before the first
 * pixel is decoded; then one after the other is decoded into its place. */
#include "common/data/picture_set.h"
#include <stdlib.h>
#include <sys/stat.h>

/* What a file that was found in a directory must be; 0, or -1 with *error. */
static int check_regular(const char *path, const struct stat *status, struct error *error)
{
    const mode_t mode = status->st_mode;
    if (S_ISREG(mode))
        return 0;
    return error_set(error, ERROR_FORMAT, "%s: %s, no regular file", path,
                     S_ISDIR(mode)    ? "a directory"
                     : S_ISFIFO(mode) ? "a pipe"
                     : S_ISSOCK(mode) ? "a socket"
                                      : "a device");
}

static int check_size(const char *path, const struct picture *picture, size_t minimum,
                      struct error *error)
{
    if (picture->height >= minimum && picture->width >= minimum)
        return 0;
    return error_set(error, ERROR_FORMAT, "%s: %zu x %zu pixels are too few, %zu x %zu are needed",
                     path, picture->height, picture->width, minimum, minimum);
}

/* The picture's size, or all of it if it cannot be read a second time. */
static int open_picture(const struct picture_file *file, struct picture *picture, size_t minimum,
                        struct error *error)
{
    struct stat status;
    *picture = (struct picture){0};
    if (stat(file->path, &status) != 0)
        return error_set_errno(error, file->found ? "%s: what it leads to" : "%s", file->path);
    if (file->found && check_regular(file->path, &status, error) != 0)
        return -1;
    const int result = S_ISREG(status.st_mode) ? picture_read_size(file->path, picture, error)
                                               : picture_read(file->path, picture, error);
    if (result != 0)
        return -1;
    if (check_size(file->path, picture, minimum, error) == 0)
        return 0;
    picture_free(picture);
    return -1;
}

int picture_set_open(struct picture_set *set, const char *const *paths, size_t path_count,
                     size_t minimum_side, struct error *error)
{
    size_t found;
    *set = (struct picture_set){.minimum_side = minimum_side};
    struct picture_file *files = picture_list(paths, path_count, &found, error);
    if (!files)
        return -1;
    set->names = calloc(found, sizeof *set->names);
    set->pictures = calloc(found, sizeof *set->pictures);
    set->bad = calloc(found, sizeof *set->bad);
    if (!set->names || !set->pictures || !set->bad) {
        error_set(error, ERROR_MEMORY, "no memory for %zu pictures", found);
        picture_free_list(files, found);
        picture_set_free(set);
        return -1;
    }
    for (size_t i = 0; i < found; i++) {
        if (open_picture(&files[i], &set->pictures[set->count], minimum_side,
                         &set->bad[set->bad_count]) != 0) {
            set->bad_count++;
        } else {
            set->names[set->count++] = files[i].path;
            files[i].path = NULL; /* the set has it now */
        }
    }
    picture_free_list(files, found);
    return 0;
}

void picture_set_load(struct picture_set *set)
{
    size_t good = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct picture picture = set->pictures[i];
        char *name = set->names[i];
        struct error *bad = &set->bad[set->bad_count];
        if (!picture.pixels && (picture_read(name, &picture, bad) != 0 ||
                                check_size(name, &picture, set->minimum_side, bad) != 0)) {
            picture_free(&picture);
            free(name);
            set->bad_count++;
        } else {
            set->pictures[good] = picture;
            set->names[good++] = name;
        }
    }
    set->count = good;
}

void picture_set_free(struct picture_set *set)
{
    for (size_t i = 0; set->pictures && set->names && i < set->count; i++) {
        picture_free(&set->pictures[i]);
        free(set->names[i]);
    }
    free(set->names);
    free(set->pictures);
    free(set->bad);
    *set = (struct picture_set){0};
}

/* The name without folder and ending: "photo" of "holiday/photo.jpg". Points into path. */
static const char *stem(const char *path, int *length)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    *length = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    return name;
}

char *picture_set_output(const struct picture_set *set, size_t i, const char *directory,
                         const char *suffix)
{
    int length, other_length, number = 1;
    char *path;
    const char *name = stem(set->names[i], &length);
    for (size_t j = 0; j < i; j++) {
        const char *other = stem(set->names[j], &other_length);
        number += other_length == length && memcmp(other, name, (size_t)length) == 0;
    }
    const int written =
        number == 1 ? asprintf(&path, "%s/%.*s%s.png", directory, length, name, suffix)
                    : asprintf(&path, "%s/%.*s%s-%d.png", directory, length, name, suffix, number);
    return written < 0 ? NULL : path;
}
