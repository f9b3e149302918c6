/* lesson_probe.c - the smallest whole chapter, for tests/test_lesson.c.
 *
 * It has one option of each kind, and one workload in all modes: the cubes of some numbers. With
 * --wrong MODE one mode computes something else, or (with "threads-nothing") nothing at all. With
 * --ladder two more workloads are measured in turns, and there is a ladder of made-up times.
 */
#include "common/lesson/lesson.h"
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct work {
    size_t tasks;
    int64_t add;
    int64_t *numbers, *cubes;
};

static const char *wrong;
static bool kill_workers;
static struct lesson *the_lesson;

static int64_t cube(int64_t x)
{
    return x * x * x;
}

static void run_sequential(struct lesson_run *run)
{
    const struct work *work = run->work;
    if (run->roof)
        return; /* its results do not count */
    for (size_t i = 0; i < work->tasks; i++)
        work->cubes[i] = cube(work->numbers[i]);
}

static void run_threads(struct lesson_run *run)
{
    const struct work *work = run->work;
    if (wrong && strcmp(wrong, "threads-nothing") == 0)
        return;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->tasks; i++)
        work->cubes[i] =
            cube(work->numbers[i]) + (wrong && strcmp(wrong, "threads") == 0 && i == 3);
}

static void run_gil(struct lesson_run *run)
{
    const struct work *work = run->work;
#pragma omp parallel for num_threads(run->workers) schedule(runtime)
    for (size_t i = 0; i < work->tasks; i++) {
        gil_acquire(run->gil);
        work->cubes[i] = cube(work->numbers[i]);
        gil_checkpoint(run->gil);
        gil_release(run->gil);
    }
}

static int cube_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)task;
    const int64_t number = *(const int64_t *)arguments[0];
    *(int64_t *)result = cube(number);
    return 0;
}
POOL_TASK(cube_task);

static int failing_task(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    return pool_task_fail(task, "as asked");
}
POOL_TASK(failing_task);

/* Ends its worker once; the flag is the argument itself, which is in shared memory. */
static void run_processes(struct lesson_run *run)
{
    const struct work *work = run->work;
    pool_function *function = wrong && strcmp(wrong, "processes") == 0 ? failing_task : cube_task;
    if (kill_workers) {
        pid_t *pids = calloc((size_t)run->workers, sizeof *pids);
        if (!pids)
            lesson_die(the_lesson, "out of memory");
        pool_pids(run->pool, pids);
        if (pids[0] > 0)
            kill(pids[0], SIGKILL);
        free(pids);
        kill_workers = false;
    }
    pool_map(run->pool, function, work->numbers, sizeof *work->numbers, work->cubes,
             sizeof *work->cubes, work->tasks, run->chunksize, &run->error);
}

/* The workload once more, with the inputs that it had, beside a roof. */
static void measure_again(struct lesson *lesson, const struct lesson_workload *first,
                          const struct lesson_results *results, size_t per_worker)
{
    struct lesson_workload again = *first;
    again.name = "again";
    again.prepare = NULL;
    again.tasks = NULL;
    again.grow = NULL;
    again.transfer = LESSON_COPY;
    again.fixed_transfer = again.roof = again.quiet = true;
    again.bytes_per_worker = per_worker;
    const struct lesson_variant ways[] = {
        {NULL, results}, {"again", lesson_measure(lesson, &again)}, {"never", NULL}};
    lesson_compare(lesson, "Side by side", ways, 3, 1000);
}

static void prepare(struct lesson *lesson, void *data)
{
    struct work *work = data;
    lesson_input(lesson, &work->numbers, work->tasks, sizeof *work->numbers);
    lesson_result(lesson, &work->cubes, NPY_INT64, work->tasks, 1);
    for (size_t i = 0; i < work->tasks; i++)
        work->numbers[i] = (int64_t)(i % 1000) + work->add;
}

/* Two workloads whose cubes differ, each with a work of its own; and a notebook that is not there.
 */
static void climb(struct lesson *lesson, const struct lesson_workload *workload)
{
    static const struct lesson_rung rungs[] = {
        {"start", NULL, "nothing", 8.0, -1},        {"middle", "algorithm", "less work", 4.0, 0},
        {"upper", "batch", "the same", 4.0, 1},     {"threads", "parallel", "cores", 1.0, 2},
        {"processes", "parallel", "cores", 0.5, 2},
    };
    static const char *const order[] = {"algorithm", "vectorise", "batch", "parallel", NULL};
    struct work works[2] = {{.tasks = 100, .add = 1}, {.tasks = 50, .add = 2}};
    struct lesson_workload both[2] = {*workload, *workload};
    const struct lesson_results *results[2];
    struct error error;
    for (int i = 0; i < 2; i++) {
        both[i].name = i == 0 ? "first" : "second";
        both[i].work = &works[i];
        both[i].tasks = &works[i].tasks;
        both[i].grow = NULL;
    }
    lesson_measure_in_turns(lesson, both, 2, results);
    for (int i = 0; i < 2; i++)
        if (results[i]->figures[0].tasks != works[i].tasks ||
            works[i].cubes[3] != cube(3 + works[i].add))
            lesson_die(lesson, "workload %d of two in turns is wrong", i);
    if (lesson_notebook(lesson, (const char *const[]){"--none", NULL}, 1.0, &error))
        lesson_die(lesson, "a notebook that is not there gave a report");
    lesson_paragraph(lesson, "Notebook: %s.", error.message);
    lesson_ladder(lesson, "A ladder", "step", rungs, 5, order);
}

int main(int argc, char **argv)
{
    bool ladder = false;
    struct work work = {.tasks = 100, .add = -7};
    size_t shape[2] = {128, 64}, volume[3] = {5, 6, 7};
    double part = 0.5, tolerance = 0;
    int answer = -1;
    const char *say = NULL;
    const char *output = NULL;
    struct lesson_paths input = {0};
    size_t sleep_milliseconds = 0, per_worker = 0;
    bool again = false;
    const struct lesson_option options[] = {
        {"tasks", "N", "how many cubes", LESSON_COUNT, &work.tasks, 0, 0},
        {"add", "N", "what is added to each number", LESSON_INTEGER, &work.add, 0, 0},
        {"small-number", "N", "milliseconds to sleep", LESSON_COUNT, &sleep_milliseconds, 0, 60000},
        {"size", "HxW", "a shape", LESSON_SHAPE, shape, 5, 4096},
        {"volume", "DxHxW", "a shape of three sides", LESSON_SHAPE3, volume, 5, 4096},
        {"part", "P", "a part of one", LESSON_REAL, &part, 0, 1},
        {"tolerance", "T", "of the cubes", LESSON_REAL, &tolerance, -1, 1},
        {"answer", "yes|no|maybe", "an answer", LESSON_CHOICE, &answer, 0, 0},
        {"say", "TEXT", "some text", LESSON_TEXT, &say, 0, 0},
        {"output", "DIR", "a path", LESSON_PATH, &output, 0, 0},
        {"wrong", "MODE", "make this mode fail", LESSON_PATH, &wrong, 0, 0},
        {"input", "PATH...", "some paths", LESSON_PATHS, &input, 0, 0},
        {"again", NULL, "measure it again", LESSON_FLAG, &again, 0, 0},
        {"per-worker", "N", "bytes that it takes for each worker", LESSON_COUNT, &per_worker, 0, 0},
        {"kill-worker", NULL, "kill a worker", LESSON_FLAG, &kill_workers, 0, 0},
        {"ladder", NULL, "climb a ladder", LESSON_FLAG, &ladder, 0, 0},
        {0}};
    const struct lesson_chapter chapter = {
        .name = "00_lesson_probe", .title = "A probe of the lesson", .options = options};
    struct lesson *lesson = the_lesson = lesson_begin(argc, argv, &chapter);
    const struct lesson_workload workload = {
        .name = "cubes",
        .title = "x * x * x for some numbers",
        .work = &work,
        .run = {run_sequential, run_threads, run_gil, run_processes},
        .prepare = prepare,
        .tasks = &work.tasks,
        .grow = &work.tasks,
        .tolerance = tolerance};
    const struct lesson_results *results = lesson_measure(lesson, &workload);
    if (!lesson_find(results, LESSON_SEQUENTIAL, 1, LESSON_DEFAULT_TRANSFER))
        lesson_die(lesson, "no sequential row");
    for (size_t i = 0; i < work.tasks && !wrong; i++) /* afterwards: the sequential results */
        if (work.cubes[i] != cube(work.numbers[i]))
            lesson_die(lesson, "cube %zu is wrong after lesson_measure", i);
    if (ladder)
        climb(lesson, &workload);
    if (again)
        measure_again(lesson, &workload, results, per_worker);
    lesson_save(lesson, "cubes.npy", NPY_INT64, 1, (const size_t[]){work.tasks}, work.cubes);
    if (sleep_milliseconds > 0)
        usleep((useconds_t)(1000 * sleep_milliseconds));
    return lesson_end(lesson);
}
