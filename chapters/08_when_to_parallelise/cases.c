/* cases.c - see cases.h: a measurement gives the figures of a case, and the rules of advice.c judge
 * it.
 */
#include "cases.h"
#include "advice.h"

/* What else is to be known of a task: the speedup of better code, or of BLAS's own threads. */
static double speedup_of(struct lesson *lesson, struct lesson_workload other, const char *name,
                         enum lesson_mode mode)
{
    other.name = name;
    other.modes = 1u << mode;
    other.workers = (const int[]){1, 0};
    other.transfer = LESSON_SHARED;
    other.fixed_transfer = true;
    other.grow = NULL;
    other.recorded = false;
    other.step = false;
    other.quiet = true;
    return lesson_measure(lesson, &other)->figures[1].speedup;
}

static struct lesson_workload describe(struct work *work, const char *title,
                                       lesson_function *const run[LESSON_MODES])
{
    return (struct lesson_workload){
        .name = names[work->kind],
        .title = title,
        .work = work,
        .prepare = make_inputs,
        .run = {run[0], run[1], run[2], run[3]},
        .tasks = &work->tasks,
        .grow = work->kind == PYTHON_LIKE || (title && work->kind != COMMAND) ? &work->tasks : NULL,
        .transfer = work->kind == COMMAND ? LESSON_COPY : LESSON_BOTH,
        .quiet = !title,
        .recorded = true,
        .step = true,
    };
}

static void measure(struct lesson *lesson, struct work *work, struct lesson_case *found,
                    int answers[QUESTIONS], const char *title, const struct ways *ways)
{
    struct lesson_workload workload = describe(work, title, ways->run);
    char file[32];
    snprintf(file, sizeof file, "%s.npy", workload.name);
    found->name = workload.name;
    found->evidence = lesson_evidence(lesson, lesson_measure(lesson, &workload));
    if (work->kind <= PYTHON_LIKE || work->kind == COMMAND)
        lesson_save(lesson, file, NPY_INT64, 1, &work->tasks, work->results);
    if (work->kind == X_PLUS_1) {
        workload.run[LESSON_THREADS] = ways->vectorised;
        found->evidence.vectorised =
            speedup_of(lesson, workload, "x_plus_1, vectorised", LESSON_THREADS);
    }
    if (work->kind == MATRIX && lesson_runs(lesson, LESSON_PROCESSES)) {
        workload.threads_per_worker = lesson_cores(lesson);
        workload.tolerance = 1e-5; /* BLAS may add in another order */
        found->evidence.library =
            speedup_of(lesson, workload, "matrix, BLAS threads", LESSON_PROCESSES);
    }
    const enum advice advice = advise(answers, &found->evidence);
    found->advice = advice_words[advice][0];
    found->reason = advice_words[advice][1];
    lesson_conclude(lesson, found->name, found->advice);
}

void measure_all(struct lesson *lesson, struct work *work, enum kind first, enum kind last,
                 size_t tasks[KINDS], const size_t sizes[KINDS], const struct ways *ways)
{
    struct lesson_case found[KINDS] = {0};
    struct lesson_path paths[KINDS];
    int answers[KINDS][QUESTIONS];
    const size_t count = last - first + 1;
    for (enum kind kind = first; kind <= last; kind++) {
        choose(work, kind, tasks[kind], sizes[kind]);
        lesson_require(lesson, (double)work->tasks * (2.0 * (double)work->input_size +
                                                      3.0 * (double)work->result_size));
    }
    for (size_t i = 0; i < count; i++) {
        choose(work, first + i, tasks[first + i], sizes[first + i]);
        measure(lesson, work, &found[i], answers[i], count > 1 ? NULL : title(work), ways);
        tasks[first + i] = work->tasks; /* after --seconds */
        paths[i] = (struct lesson_path){found[i].name, answers[i]};
    }
    if (count > 1)
        lesson_print_cases(lesson, found, count);
    else
        lesson_print_evidence(lesson, &found->evidence);
    for (size_t i = 0; i < count; i++)
        lesson_print_advice(lesson, &found[i]);
    lesson_draw_tree(lesson, questions, QUESTIONS, paths, count);
}
