/* All charts of a lesson: those of the workloads, then what others have added. */
#include "common/lesson/draw/draw.h"

void charts_complete(struct lesson *lesson)
{
    struct chart *others = lesson->charts, **end = &lesson->charts;
    if (lesson->charts_complete || !charts_wanted(lesson))
        return;
    lesson->charts = NULL;
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next) {
        if (measured->quiet)
            continue;
        charts_add_speedup(lesson, measured);
        charts_add_time(lesson, measured);
        charts_add_timelines(lesson, measured);
    }
    charts_add_python(lesson);
    while (*end)
        end = &(*end)->next;
    *end = others;
    lesson->charts_complete = true;
}
