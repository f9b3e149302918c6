/* OpenMP may give a team fewer threads than it was asked for, and says so to nobody but the team.
 */
#include "common/lesson/measure/measurement.h"
#include <omp.h>
#include <stdlib.h>

int at_work(const struct lesson_figures *figures)
{
    return figures->threads > 0 ? figures->threads : figures->workers;
}

bool is_short_handed(const struct lesson_figures *figures)
{
    return at_work(figures) < figures->workers;
}

const char *team_text(const struct lesson_figures *figures)
{
    static char text[16];
    snprintf(text, sizeof text, "%d%s", figures->workers, is_short_handed(figures) ? "*" : "");
    return text;
}

void team_notes(struct lesson *lesson, const struct lesson_results *results)
{
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        const int threads = at_work(figures);
        bool told = false;
        for (size_t before = 0; before < i; before++)
            told |= results->figures[before].workers == figures->workers &&
                    is_short_handed(&results->figures[before]);
        if (is_short_handed(figures) && !told)
            lesson_print(
                lesson, "  * %d workers   only %d thread%s ran: %s; efficiency: speedup / %d\n",
                figures->workers, threads, plural(threads), team_limit_text(threads), threads);
    }
}

const char *team_limit_text(int threads)
{
    /* libomp's own, which omp_get_thread_limit does not tell */
    static const char *const limits[] = {"KMP_DEVICE_THREAD_LIMIT", "KMP_ALL_THREADS",
                                         "KMP_TEAMS_THREAD_LIMIT"};
    static char text[64];
#if !defined _OPENMP
    return "the program was compiled without OpenMP";
#endif
    if (omp_get_max_active_levels() < 1)
        return "OMP_MAX_ACTIVE_LEVELS allows no team";
    if (omp_get_thread_limit() <= threads)
        return "OMP_THREAD_LIMIT allows no more";
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (getenv(limits[i])) {
            snprintf(text, sizeof text, "%s allows no more", limits[i]);
            return text;
        }
    return omp_get_dynamic() ? "OMP_DYNAMIC lets OpenMP choose" : "OpenMP gave no more";
}
