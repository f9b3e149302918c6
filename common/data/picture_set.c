#include "common/data/picture_set.h"
#include <stdlib.h>

int picture_set_read(struct picture_set *set, const char *const *paths, size_t path_count,
                     size_t minimum_side, struct error *error)
{
    size_t found;
    *set = (struct picture_set){0};
    char **names = picture_list(paths, path_count, &found, error);
    if (!names)
        return -1;
    set->names = calloc(found, sizeof *set->names);
    set->pictures = calloc(found, sizeof *set->pictures);
    set->bad = calloc(found, sizeof *set->bad);
    if (!set->names || !set->pictures || !set->bad) {
        error_set(error, ERROR_MEMORY, "no memory for %zu pictures", found);
        picture_free_list(names, found);
        picture_set_free(set);
        return -1;
    }
    for (size_t i = 0; i < found; i++) {
        struct picture *picture = &set->pictures[set->count];
        struct error *bad = &set->bad[set->bad_count];
        if (picture_read(names[i], picture, bad) != 0) {
            set->bad_count++;
        } else if (picture->height < minimum_side || picture->width < minimum_side) {
            error_set(bad, ERROR_FORMAT, "%s: %zu x %zu pixels are too few, %zu x %zu are needed",
                      names[i], picture->height, picture->width, minimum_side, minimum_side);
            set->bad_count++;
            picture_free(picture);
        } else {
            set->names[set->count++] = names[i];
            names[i] = NULL; /* the set has it now */
        }
    }
    picture_free_list(names, found);
    return 0;
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
