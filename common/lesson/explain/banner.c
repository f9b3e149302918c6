/* The lines that a lesson begins with: the machine, and how it is used. */
#include "common/lesson/explain/explain.h"
#include <math.h>

static void print_workers(struct lesson *lesson)
{
    static const char *const rules[] = {[WORKERS_BY_CORES] = "as many as usable cores",
                                        [WORKERS_BY_OMP_NUM_THREADS] =
                                            "OMP_NUM_THREADS says so; --workers would beat it",
                                        [WORKERS_BY_OPTION] = "--workers says so"};
    const struct options *options = lesson->options;
    const int most = options_most_workers(options);
    lesson_print(lesson, "  workers    ");
    for (size_t i = 0; i < options->worker_count; i++)
        lesson_print(lesson, "%s%d", i ? ", " : "", options->workers[i]);
    lesson_print(lesson, " (%s)\n", rules[options->worker_rule]);
    if (most > lesson->machine->cores)
        lesson_print(lesson,
                     "             %d workers are more than the cores (%d): they take turns\n",
                     most, lesson->machine->cores);
}

static void print_openmp(struct lesson *lesson)
{
    const struct machine *machine = lesson->machine;
    if (machine->openmp_threads > 1)
        lesson_print(lesson, "  OpenMP     on, version %d\n", machine->openmp);
    else
        lesson_print(lesson,
                     "  OpenMP     OFF: a team of 2 threads got 1 (%s)\n"
                     "             THE MODES threads AND gil RUN ON ONE THREAD, WHATEVER --workers "
                     "SAYS\n",
                     machine->openmp ? "OMP_THREAD_LIMIT or another setting forbids more"
                                     : "the program was compiled without it");
}

static void print_blas(struct lesson *lesson)
{
    const struct machine *machine = lesson->machine;
    lesson_print(lesson, "  BLAS       %s", machine->blas);
    if (*machine->core)
        lesson_print(lesson, ", %s kernels", machine->core);
    if (machine->blas_threads > 0)
        lesson_print(lesson, ", %d thread%s\n", machine->blas_threads,
                     plural(machine->blas_threads));
    else
        lesson_print(lesson, "; it does not say how many threads it uses\n");
    if (machine->blas_threads > 1)
        lesson_print(lesson,
                     "             THEY COULD NOT BE MADE ONE: RESULTS MAY DIFFER IN LAST BITS\n");
    if (*environment_blas_note())
        report_paragraph(lesson, 13, environment_blas_note());
}

void banner_print(struct lesson *lesson)
{
    const struct machine *machine = lesson->machine;
    const struct options *options = lesson->options;
    lesson_print(lesson, "%s%s%s\n", bold(lesson), lesson->chapter->title, plain(lesson));
    lesson_print(lesson, "  cores      %d usable of %d", machine->cores, machine->machine_cores);
    if (ceil(machine->quota) <= machine->cores)
        lesson_print(lesson, " (the cgroup's quota is %.3g)", machine->quota);
    lesson_print(lesson, ": %s, %s\n", machine->cpu, machine->best_isa);
    if (machine->isa_chosen)
        lesson_print(lesson, "  kernels    %s (FORKJOIN_ISA says so)\n", machine->isa);
    print_workers(lesson);
    lesson_print(lesson, "  compiler   %s\n", machine->compiler);
    print_openmp(lesson);
    if (*environment_openmp_note())
        report_paragraph(lesson, 13, environment_openmp_note());
    print_blas(lesson);
    lesson_print(lesson, "  run        seed %u, %d repeat%s, start method %s\n", options->seed,
                 options->repeats, plural(options->repeats),
                 pool_start_method_name(options->start_method));
}
