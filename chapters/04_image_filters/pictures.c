#include "chapters/04_image_filters/pictures.h"
#include "common/kernels/kernels.h"
#include <stdlib.h>

/* All that there will be at a time: the pictures as they were read; inputs; results, and those of
 * the sequential run to compare with; and for processes inputs and results in shared memory. */
static double bytes_needed(const struct lesson *lesson, const struct picture_set *set)
{
    const double copies = lesson_runs(lesson, LESSON_PROCESSES) ? 1 : 0;
    double pixels = 0, edges = 0;
    for (size_t i = 0; i < set->count; i++) {
        const double height = (double)set->pictures[i].height;
        const double width = (double)set->pictures[i].width;
        pixels += height * width;
        edges += (height - 4) * (width - 4);
    }
    return sizeof(float) * (pixels * (2 + copies) + edges * (2 + copies));
}

void pictures_read(struct lesson *lesson, struct picture_set *set, const struct lesson_paths *input)
{
    struct error error;
    if (picture_set_open(set, input->paths, input->count, IMAGE_MIN_SIZE, &error) != 0)
        lesson_usage(lesson, "--input: %s", error.message);
    lesson_require(lesson, bytes_needed(lesson, set));
    picture_set_load(set);
    for (size_t i = 0; i < set->bad_count; i++)
        lesson_fail(lesson, "%s", set->bad[i].message);
    if (set->count == 0)
        lesson_die(lesson, "--input: none of %zu pictures can be used", set->bad_count);
}

void pictures_write_edges(struct lesson *lesson, const struct picture_set *set, const float *edges,
                          const size_t *edges_at, const char *directory)
{
    size_t written = 0;
    struct error error;
    for (size_t i = 0; i < set->count; i++) {
        const float *own = edges + edges_at[i] / sizeof *edges;
        const size_t height = set->pictures[i].height - 4, width = set->pictures[i].width - 4;
        float strongest = 0;
        for (size_t p = 0; p < height * width; p++)
            strongest = own[p] > strongest ? own[p] : strongest;
        char *path = picture_set_output(set, i, directory, "_edges");
        if (!path)
            lesson_die(lesson, "--output: no memory");
        if (picture_write(path, own, height, width, strongest > 0 ? 255 / strongest : 0, &error) ==
            0)
            written++;
        else
            lesson_output_failed(lesson, "output", &error);
        free(path);
    }
    if (written == set->count)
        lesson_print(lesson, "%zu pictures of edges are in %s\n", written, directory);
    else
        lesson_print(lesson, "%zu of %zu pictures of edges are in %s\n", written, set->count,
                     directory);
}
