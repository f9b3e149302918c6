/* 08_when_to_parallelise - is it worth it? three questions, answered by you or by measuring
 *
 * Are the tasks independent, is one of them heavy enough, is there much data for the work? On a
 * terminal it asks. Or it measures: workloads of this book, or your command for each of some files;
 * then the figures and the rules in advice.h tell. Read those first.
 *
 * Notebook: part 6, the decision tree.
 * Usage: when_to_parallelise [--independent yes|no] [--heavy yes|no] [--large yes|no]
 *        when_to_parallelise --workload x_plus_1|python_like|large_data|image|matrix|all
 *        when_to_parallelise --command 'convert {} -resize 50% small/{/}' FILE...
 *
 * Watch for:
 *   - x + 1: handing a task over takes longer than doing it, so better code comes first.
 *   - python_like: heavy, and never gives the GIL back; image: gives it back.
 *   - "predicted": what Amdahl's law makes of these figures for machines you do not have.
 *
 * Try:
 *   1. --workload x_plus_1 --light-tasks 10000000: does the advice change? Why?
 *   2. --workload python_like --iterations 1000: from how much work on is it processes?
 *   3. Change WORTH or LARGE_PART in advice.h: whose advice changes first?
 */
#include "advice.h"
#include "workloads.h"

/* ---- Four ways to run them ----------------------------------------------------------------- */

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->tasks; i++)
        do_ith(run, i, NULL);
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->tasks; i++)
        do_ith(run, i, NULL);
}

static void run_threads_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
    const bool held = keeps_gil(work);
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->tasks; i++) {
            if (!held)
                gil_release(run->gil);
            do_ith(run, i, held ? run->gil : NULL);
            if (!held)
                gil_acquire(run->gil);
            gil_checkpoint(run->gil);
        }
        gil_release(run->gil);
    }
}

static int any_task(const void *const *arguments, void *result, struct pool_task *task)
{
    const enum kind *kind = arguments[1];
    const size_t *size = arguments[2];
    pool_task_add_cpu(task, do_task(result, arguments[0], *kind, *size, NULL));
    return 0;
}
POOL_TASK(any_task);

static void run_processes(struct lesson_run *run)
{
    struct work *work = run->work;
    const struct pool_column columns[] = {
        {.data = work->inputs, .size = work->input_size, .offsets = work->command.at},
        {.data = &work->kind, .size = sizeof work->kind, .constant = true},
        {.data = &work->size, .size = sizeof work->size, .constant = true},
    };
    const struct pool_results results = {.data = work->results, .size = work->result_size};
    pool_starmap(run->pool, any_task, columns, 3, &results, work->tasks, run->chunksize,
                 &run->error);
}

/* x + 1 without a call for each: a loop that the compiler turns into vector instructions. */
static void run_vectorised(struct lesson_run *run)
{
    const struct work *work = run->work;
    const int64_t *restrict x = work->inputs;
    int64_t *restrict incremented = work->results;
#pragma omp simd
    for (size_t i = 0; i < work->tasks; i++)
        incremented[i] = x[i] + 1;
}

/* ---- Measuring ----------------------------------------------------------------------------- */

/* What else is to be known of a task: the speedup of better code, or of BLAS's own threads. */
static double speedup_of(struct lesson *lesson, struct lesson_workload other, const char *name,
                         enum lesson_mode mode)
{
    other.name = name, other.modes = 1u << mode;
    other.grow = NULL, other.recorded = other.step = false;
    other.transfer = LESSON_SHARED, other.fixed_transfer = other.quiet = true;
    other.workers = (const int[]){1, 0};
    return lesson_measure(lesson, &other)->figures[1].speedup;
}

static void measure(struct lesson *lesson, struct work *work, struct lesson_case *found,
                    int answers[QUESTIONS], const char *title)
{
    struct lesson_workload workload = {
        .name = names[work->kind],
        .title = title,
        .work = work,
        .prepare = make_inputs,
        .run = {run_sequential, run_threads, run_threads_under_gil, run_processes},
        .tasks = &work->tasks,
        .grow = work->kind == PYTHON_LIKE || (title && work->kind != COMMAND) ? &work->tasks : NULL,
        .transfer = work->kind == COMMAND ? LESSON_COPY : LESSON_BOTH,
        .quiet = !title,
        .recorded = true,
        .step = true,
    };
    char file[32];
    snprintf(file, sizeof file, "%s.npy", workload.name);
    found->name = workload.name;
    found->evidence = lesson_evidence(lesson, lesson_measure(lesson, &workload));
    if (work->kind <= PYTHON_LIKE || work->kind == COMMAND)
        lesson_save(lesson, file, NPY_INT64, 1, &work->tasks, work->results);
    if (work->kind == X_PLUS_1) {
        workload.run[LESSON_THREADS] = run_vectorised;
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

/* One workload with everything there is to see, or several with a table of what was found. */
static void measure_all(struct lesson *lesson, struct work *work, enum kind first, enum kind last,
                        size_t tasks[KINDS], const size_t sizes[KINDS])
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
        measure(lesson, work, &found[i], answers[i], count > 1 ? NULL : title(work));
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

/* ---- Asking -------------------------------------------------------------------------------- */

static void ask(struct lesson *lesson, int answers[QUESTIONS])
{
    const char *conclusion = NULL;
    for (int q = 0; q < QUESTIONS && !conclusion; q++) {
        if (answers[q] == UNKNOWN && !lesson_can_ask(lesson))
            lesson_usage(lesson, "--%s yes|no is missing, and there is no terminal to ask on",
                         questions[q].name);
        if (answers[q] == UNKNOWN)
            answers[q] = lesson_ask(lesson, &questions[q]);
        conclusion = questions[q].then[answers[q]];
    }
    lesson_draw_tree(lesson, questions, QUESTIONS, &(struct lesson_path){"", answers}, 1);
    lesson_print(lesson, "\nAdvice: %s. (--workload and --command measure.)\n", conclusion);
    lesson_conclude(lesson, "answers", conclusion);
}

int main(int argc, char **argv)
{
    size_t tasks[KINDS] = {10000, 24}, sizes[KINDS] = {0, 10000000, 250000, 512, 400, 0};
    int answers[QUESTIONS] = {UNKNOWN, UNKNOWN, UNKNOWN}, chosen = UNKNOWN;
    const char *command = NULL;
    struct lesson_paths files = {0};
    struct work work = {0};
    const struct lesson_option options[] = {
        {"independent", "yes|no", questions[0].text, LESSON_CHOICE, &answers[0], 0, 0},
        {"heavy", "yes|no", questions[1].text, LESSON_CHOICE, &answers[1], 0, 0},
        {"large", "yes|no", questions[2].text, LESSON_CHOICE, &answers[2], 0, 0},
        {"workload", "x_plus_1|python_like|large_data|image|matrix|all", "measure this workload",
         LESSON_CHOICE, &chosen, 0, 0},
        {"command", "TEXT",
         "measure this command for each PATH: {} is its name, {/} without directory, {.} without "
         "extension, {/.} both. No shell runs it, no output is kept. Each mode runs it once and "
         "--repeats times (then 2 unless given)",
         LESSON_TEXT, &command, 0, 0},
        {"files", "PATH...", "that --command is run for", LESSON_PATHS, &files, 0, 0},
        {"light-tasks", "N", "tasks of x_plus_1", LESSON_COUNT, &tasks[X_PLUS_1], 1, 1 << 28},
        {"tasks", "N", "tasks of every other", LESSON_COUNT, &tasks[PYTHON_LIKE], 1, 1 << 24},
        {"iterations", "N", "in python_like", LESSON_COUNT, &sizes[PYTHON_LIKE], 1, 100000000},
        {"numbers", "N", "in large_data", LESSON_COUNT, &sizes[LARGE_DATA], 1, 1 << 28},
        {"side", "N", "of each image", LESSON_COUNT, &sizes[IMAGE], IMAGE_MIN_SIZE, 1 << 14},
        {"order", "N", "of each matrix", LESSON_COUNT, &sizes[MATRIX], 1, 1 << 14},
        {0}};
    const struct lesson_chapter chapter = {.name = "08_when_to_parallelise",
                                           .title = "When to parallelise: three questions",
                                           .options = options,
                                           .blas = true};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    const bool answered = answers[0] >= 0 || answers[1] >= 0 || answers[2] >= 0;
    bool sized = false;
    for (size_t i = 0; options[i].name; i++)
        sized |= options[i].kind == LESSON_COUNT && lesson_given(lesson, options[i].value);
    if (!command != !files.count)
        lesson_usage(lesson, "--command TEXT and its files (words, or --files) belong together");
    if ((command != NULL) + (chosen != UNKNOWN) + answered > 1)
        lesson_usage(lesson, "--command, --workload, and answers as --heavy exclude one another");
    if (sized && command)
        lesson_usage(lesson, "--tasks and other sizes are for workloads, not for --command");
    tasks[LARGE_DATA] = tasks[IMAGE] = tasks[MATRIX] = tasks[PYTHON_LIKE];
    tasks[COMMAND] = files.count;
    if (lesson_python(lesson) && !lesson_given(lesson, &sizes[PYTHON_LIKE]))
        sizes[PYTHON_LIKE] /= 10; /* each way takes Python long enough */
    if (answered || (chosen == UNKNOWN && !command && !sized && !lesson_python(lesson) &&
                     lesson_can_ask(lesson))) {
        ask(lesson, answers);
    } else if (command) {
        lesson_command(lesson, &work.command, "command", command, "files", &files);
        measure_all(lesson, &work, COMMAND, COMMAND, tasks, sizes);
        lesson_command_failures(lesson, &files, work.results);
    } else if (chosen == UNKNOWN || chosen > MATRIX) {
        measure_all(lesson, &work, X_PLUS_1, MATRIX, tasks, sizes);
    } else {
        measure_all(lesson, &work, (enum kind)chosen, (enum kind)chosen, tasks, sizes);
    }
    return lesson_end(lesson);
}
