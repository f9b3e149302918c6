/* 08_when_to_parallelise - is it worth it? three questions, answered by you or by measuring
 *
 * Are the tasks independent, is one of them heavy enough, is there much data for the work? On a
 * terminal it asks. Or it measures: workloads of this book, all of them where there is nobody to
 * ask, or your command for each of some files; then the rules in advice.c make advice of the
 * figures.
 *
 * Notebook: part 6, the decision tree.
 * Usage: when_to_parallelise [--independent yes|no] [--heavy yes|no] [--large yes|no]
 *        when_to_parallelise --workload x_plus_1|python_like|large_data|image|matrix|all
 *        when_to_parallelise --command 'convert {} -resize 50% small/{/}' FILE...
 *
 * Watch for:
 *   - x + 1: handing a task over takes longer than doing it, so a better loop comes first.
 *   - python_like: heavy, and computes with the GIL in its hands; image: gives it back meanwhile.
 *   - "predicted": what Amdahl's law makes of these figures for machines you do not have.
 *
 * Try:
 *   1. --workload x_plus_1 --light-tasks 10000000: does the advice change? Why?
 *   2. --workload python_like --iterations 1000, 10000, ...: from where on is it processes?
 *   3. Change WORTH or LARGE_PART in advice.c: whose advice changes first?
 */
#include "advice.h"
#include "cases.h"
#include "common/kernels/kernels.h"
#include "workloads.h"

/* ---- The tasks ----------------------------------------------------------------------------- */

/* A Python-like loop, as in chapter 1: under a GIL it lets others in every 1000 turns. */
static int64_t heavy_computation(int64_t x, size_t iterations, struct gil *gil)
{
    int64_t result = 0;
    for (size_t i = 0; i < iterations;) {
        const size_t next_look = i + 1000 < iterations ? i + 1000 : iterations;
        for (; i < next_look; i++) {
            result += (int64_t)i * x;
            __asm__ volatile("" : "+r"(result)); /* or the compiler would use a formula */
        }
        if (gil)
            gil_checkpoint(gil);
    }
    return result;
}

/* One task. Returns the CPU time of a command, which a pool's worker must add to its own; else 0.
 * noinline: in all modes a task is a call, as it is for Python's map. */
__attribute__((noinline)) static double do_task(void *result, const void *input, enum kind kind,
                                                size_t size, struct gil *gil)
{
    double cpu = 0;
    if (kind == X_PLUS_1)
        *(int64_t *)result = *(const int64_t *)input + 1;
    else if (kind == PYTHON_LIKE)
        *(int64_t *)result = heavy_computation(*(const int64_t *)input, size, gil);
    else if (kind == LARGE_DATA)
        *(double *)result = sum(input, size);
    else if (kind == IMAGE)
        image_edges(result, input, size, size, NULL);
    else if (kind == MATRIX)
        *(double *)result = product_sum(lesson_scratch(size * size * sizeof(float)), input, size);
    else
        *(int64_t *)result = lesson_command_run(input, &cpu);
    return cpu;
}

/* ---- Four ways to run them ----------------------------------------------------------------- */

/* For --timeline. An addition takes less time than to look at the clock. */
static void task_done(struct lesson_run *run, size_t i)
{
    const struct work *work = run->work;
    if (work->kind != X_PLUS_1)
        lesson_task_done(run, i);
}

static void run_sequential(struct lesson_run *run)
{
    struct work *work = run->work;
    for (size_t i = 0; i < work->tasks; i++) {
        do_task(result_of(work, i), input_of(work, i), work->kind, work->size, NULL);
        task_done(run, i);
    }
}

static void run_threads(struct lesson_run *run)
{
    struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->tasks; i++) {
        do_task(result_of(work, i), input_of(work, i), work->kind, work->size, NULL);
        task_done(run, i);
    }
}

/* nowait: at a barrier a thread would wait for others with the GIL in its hands, and they for it.
 */
static void run_threads_under_gil(struct lesson_run *run)
{
    struct work *work = run->work;
    const bool held = keeps_gil(work); /* while a task computes */
#pragma omp parallel num_threads(run->workers)
    {
        gil_acquire(run->gil);
#pragma omp for schedule(runtime) nowait
        for (size_t i = 0; i < work->tasks; i++) {
            if (!held)
                gil_release(run->gil);
            do_task(result_of(work, i), input_of(work, i), work->kind, work->size,
                    held ? run->gil : NULL);
            task_done(run, i);
            if (held)
                gil_checkpoint(run->gil);
            else
                gil_acquire(run->gil);
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

/* Of x + 1 alone, without a call for each: the compiler makes vector instructions of the loop. */
static void run_vectorised(struct lesson_run *run)
{
    const struct work *work = run->work;
    const int64_t *restrict x = work->inputs;
    int64_t *restrict incremented = work->results;
#pragma omp simd
    for (size_t i = 0; i < work->tasks; i++)
        incremented[i] = x[i] + 1;
}

/* ---- Asking, or measuring ------------------------------------------------------------------ */

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

#define SIZES "light-tasks tasks iterations numbers side order"

int main(int argc, char **argv)
{
    size_t tasks[KINDS] = {[X_PLUS_1] = 10000, [PYTHON_LIKE] = 24}; /* and of the others, below */
    size_t sizes[KINDS] = {
        [PYTHON_LIKE] = 10000000, [LARGE_DATA] = 250000, [IMAGE] = 512, [MATRIX] = 400};
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
    const struct lesson_exclusion exclusive[] = {
        {"command", "workload independent heavy large " SIZES},
        {"workload", "independent heavy large"},
        {0}};
    const struct lesson_chapter chapter = {.name = "08_when_to_parallelise",
                                           .title = "When to parallelise: three questions",
                                           .options = options,
                                           .exclusive = exclusive,
                                           .together = "command files",
                                           .blas = true};
    static const struct ways ways = {
        {run_sequential, run_threads, run_threads_under_gil, run_processes}, run_vectorised};
    struct lesson *lesson = lesson_begin(argc, argv, &chapter);
    tasks[LARGE_DATA] = tasks[IMAGE] = tasks[MATRIX] = tasks[PYTHON_LIKE];
    tasks[COMMAND] = files.count;
    if (lesson_python(lesson) && !lesson_given(lesson, &sizes[PYTHON_LIKE]))
        sizes[PYTHON_LIKE] /= 10; /* which Python takes long enough for */

    const bool answered = answers[0] >= 0 || answers[1] >= 0 || answers[2] >= 0;
    const bool to_measure = chosen != UNKNOWN || command || lesson_python(lesson) ||
                            lesson_any_given(lesson, SIZES) || !lesson_can_ask(lesson);
    if (answered || !to_measure) {
        ask(lesson, answers);
    } else if (command) {
        lesson_command(lesson, &work.command, "command", command, "files", &files);
        measure_all(lesson, &work, COMMAND, COMMAND, tasks, sizes, &ways);
        lesson_command_failures(lesson, &files, work.results);
    } else if (chosen == UNKNOWN || chosen > MATRIX) { /* all */
        measure_all(lesson, &work, X_PLUS_1, MATRIX, tasks, sizes, &ways);
    } else {
        measure_all(lesson, &work, (enum kind)chosen, (enum kind)chosen, tasks, sizes, &ways);
    }
    return lesson_end(lesson);
}
