/* Series: a name, columns, rows of numbers, ready for a plot. Those of the numbers of workers are
 * made of the figures that are kept anyway. */
#include "common/lesson/evidence.h"
#include "common/lesson/write/write.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

void series_note_size(struct lesson *lesson, const struct lesson_results *results,
                      const char *size_name, size_t size)
{
    struct measured *measured = measured_of(lesson, results);
    measured->size = size;
    measured->size_name = strdup(size_name);
    if (!measured->size_name)
        lesson_die(lesson, "out of memory");
}

void series_add(struct lesson *lesson, json_t *series)
{
    if (!lesson->series)
        lesson->series = json_array();
    if (json_array_append_new(lesson->series, series) != 0)
        lesson_die(lesson, "out of memory");
}

/* One way over its numbers of workers, with Amdahl's fit; NULL where there is only one. */
static json_t *worker_series(const struct lesson *lesson, const struct measured *measured,
                             size_t first)
{
    const struct lesson_figures *figures = measured->figures;
    const int cores = lesson->machine->cores;
    const struct lesson_scaling fit =
        lesson_fit_rows(&measured->results, figures[first].name, cores);
    json_t *rows = json_array();
    for (size_t i = first; i < measured->results.count; i++)
        if (strcmp(figures[i].name, figures[first].name) == 0)
            json_array_append_new(
                rows,
                json_pack(
                    "[i, f, f, f, o, o, i, o]", figures[i].workers, figures[i].wall_median,
                    figures[i].wall_min, figures[i].wall_max, number_or_null(figures[i].speedup),
                    number_or_null(figures[i].efficiency), figures[i].workers,
                    number_or_null(fit.one_core *
                                   lesson_amdahl(fit.serial, fmin(figures[i].workers, cores)))));
    if (json_array_size(rows) < 2) {
        json_decref(rows);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:[s, s, s, s, s, s, s, s], s:o, s:o}", "name",
                     measured->name, "kind", "workers", "mode", figures[first].name, "x", "workers",
                     "columns", "workers", "wall_s", "wall_min_s", "wall_max_s", "speedup",
                     "efficiency", "ideal_speedup", "fitted_speedup", "serial_part",
                     number_or_null(fit.serial), "rows", rows);
}

json_t *series_document(struct lesson *lesson)
{
    json_t *all = json_array();
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next)
        for (size_t i = 1; !measured->quiet && i < measured->results.count; i++) {
            json_t *series =
                is_first_of_name(&measured->results, i) ? worker_series(lesson, measured, i) : NULL;
            if (series)
                json_array_append_new(all, series);
        }
    json_array_extend(all, lesson->series);
    return all;
}
