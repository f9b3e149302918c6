/* What a few rows of figures say about a task: whether it is worth handing over, and what more
 * cores would do with it.
 *
 * The model is Amdahl's: a part of the time stays, the rest is divided. For processes both were
 * measured: the program itself copies data and waits (send, receive, wait), the workers compute.
 * Threads show only their speedup, from which Karp and Flatt's formula gives the part. Tasks are
 * not divided, so n tasks on p cores are as good as n / ceil(n / p) cores. What the model leaves
 * out: memory and caches that cores share, more workers to wake, tasks of unequal length.
 */
#include "common/lesson/evidence.h"
#include "common/lesson/explain/explain.h"
#include <math.h>
#include <stdlib.h>

#define QUIET 0.90 /* cores that a plain loop of computations keeps busy at least */
#define SHORT 1e-3 /* seconds in which the clocks cannot tell */

static const char *const way_names[LESSON_WAYS] = {"threads", "gil", "processes, copy",
                                                   "processes, shared"};

/* ---- Formulas -------------------------------------------------------------------------------- */

double lesson_amdahl(double serial, double cores)
{
    return 1.0 / (serial + (1.0 - serial) / cores);
}

double lesson_karp_flatt(double speedup, double cores)
{
    return cores > 1.0 ? (1.0 / speedup - 1.0 / cores) / (1.0 - 1.0 / cores) : NAN;
}

struct lesson_scaling lesson_amdahl_fit(const double *cores, const double *speedups, size_t count)
{
    const struct lesson_scaling none = {NAN, NAN};
    double x_mean = 0.0, y_mean = 0.0, xx = 0.0, xy = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (!(speedups[i] > 0.0))
            return none;
        x_mean += 1.0 / cores[i] / (double)count;
        y_mean += 1.0 / speedups[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        xx += (1.0 / cores[i] - x_mean) * (1.0 / cores[i] - x_mean);
        xy += (1.0 / cores[i] - x_mean) * (1.0 / speedups[i] - y_mean);
    }
    if (xx < 1e-9)
        return none;
    /* 1 / speedup = stays + shared / cores, neither below 0 */
    double shared = fmax(xy / xx, 0.0), stays = y_mean - shared * x_mean;
    if (stays < 0.0) {
        stays = 0.0;
        shared = y_mean / x_mean;
    }
    return (struct lesson_scaling){.one_core = 1.0 / (stays + shared),
                                   .serial = stays / (stays + shared)};
}

struct lesson_scaling lesson_fit_rows(const struct lesson_results *results, const char *name,
                                      int cores)
{
    double each[POOL_MAX_WORKERS], speedups[POOL_MAX_WORKERS];
    size_t count = 0;
    for (size_t i = 1; i < results->count && count < POOL_MAX_WORKERS; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (strcmp(figures->name, name) != 0 || at_work(figures) > cores)
            continue;
        each[count] = at_work(figures);
        speedups[count++] = figures->speedup;
    }
    return lesson_amdahl_fit(each, speedups, count);
}

double lesson_break_even_work(double overhead, double parallel)
{
    return parallel > 1.0 ? overhead / (1.0 - 1.0 / parallel) : NAN;
}

double lesson_break_even_tasks(double startup, double task, double parallel_task)
{
    const double gain = task - parallel_task;
    return gain > 0.0 ? ceil(startup / gain) : INFINITY;
}

/* How many of the tasks are done at a time, on average, when none is divided. */
static double tasks_at_a_time(size_t tasks, int cores)
{
    return tasks > 0 ? (double)tasks / ceil((double)tasks / cores) : 1.0;
}

double lesson_predict(const struct lesson_evidence *evidence, enum lesson_way way, int cores)
{
    const struct lesson_scaling *scaling = &evidence->scaling[way];
    return scaling->one_core *
           lesson_amdahl(scaling->serial, tasks_at_a_time(evidence->tasks, cores));
}

/* ---- Evidence -------------------------------------------------------------------------------- */

static const struct lesson_figures *row(const struct lesson_results *results, enum lesson_way way,
                                        int workers)
{
    static const enum lesson_mode modes[LESSON_WAYS] = {
        [LESSON_BY_THREADS] = LESSON_THREADS,
        [LESSON_BY_GIL] = LESSON_GIL,
        [LESSON_BY_COPY] = LESSON_PROCESSES,
        [LESSON_BY_SHARED] = LESSON_PROCESSES,
    };
    const enum lesson_transfer transfer = way == LESSON_BY_COPY     ? LESSON_COPY
                                          : way == LESSON_BY_SHARED ? LESSON_SHARED
                                                                    : LESSON_DEFAULT_TRANSFER;
    return lesson_find(results, modes[way], workers, transfer);
}

/* The most workers that have a core each; or the fewest there are. */
int lesson_chosen_workers(const struct lesson_results *results, int cores)
{
    int chosen = 0;
    for (size_t i = 1; i < results->count; i++) {
        const int workers = results->figures[i].workers;
        if (chosen == 0 || (workers <= cores && (workers > chosen || chosen > cores)) ||
            (workers > cores && workers < chosen))
            chosen = workers;
    }
    return chosen > 0 ? chosen : 1;
}

/* Threads, from their speedup alone. Slower than the plain loop: then nothing of them is parallel
 * that more cores could help. */
static struct lesson_scaling scaling_of_threads(double speedup, double parallel)
{
    const double serial = lesson_karp_flatt(speedup, parallel);
    if (isnan(serial))
        return (struct lesson_scaling){NAN, NAN};
    if (serial >= 1.0)
        return (struct lesson_scaling){.one_core = speedup, .serial = 1.0};
    return (struct lesson_scaling){.one_core = 1.0, .serial = fmax(serial, 0.0)};
}

/* Processes, from where the time of one run went, applied to the median of all. */
static struct lesson_scaling scaling_of_processes(const struct lesson_figures *figures,
                                                  double parallel)
{
    const struct pool_phases *phases = &figures->phases;
    const double stays = phases->send + phases->receive + phases->wait;
    const double serial = stays / (stays + phases->compute * parallel);
    return (struct lesson_scaling){.one_core = figures->speedup / lesson_amdahl(serial, parallel),
                                   .serial = serial};
}

struct lesson_evidence lesson_evidence(const struct lesson *lesson,
                                       const struct lesson_results *results)
{
    const struct lesson_figures *sequential = &results->figures[0];
    const int cores = lesson->machine->cores, workers = lesson_chosen_workers(results, cores);
    const double tasks = (double)sequential->tasks;
    struct lesson_evidence evidence = {
        .tasks = sequential->tasks,
        .workers = workers,
        .cores = cores,
        .busy = sequential->cores_busy,
        .parallel = tasks_at_a_time(sequential->tasks, workers < cores ? workers : cores),
        .same = true,
        .task = sequential->wall_median / tasks,
        .bytes = NAN,
        .transfer = NAN,
        .handing_over = NAN,
        .startup = NAN,
        .vectorised = NAN,
        .library = NAN};
    for (size_t i = 0; i < results->count; i++)
        evidence.same &= results->figures[i].matches;
    for (enum lesson_way way = 0; way < LESSON_WAYS; way++) {
        const struct lesson_figures *figures = row(results, way, workers);
        evidence.speedup[way] = figures ? figures->speedup : NAN;
        evidence.scaling[way] = (struct lesson_scaling){NAN, NAN};
        if (!figures)
            continue;
        if (figures->mode != LESSON_PROCESSES) {
            evidence.scaling[way] = scaling_of_threads(figures->speedup, evidence.parallel);
            continue;
        }
        evidence.scaling[way] = scaling_of_processes(figures, evidence.parallel);
        evidence.handing_over = figures->phases.wait / tasks;
        evidence.startup = figures->startup;
        if (way == LESSON_BY_COPY) {
            evidence.bytes = (double)figures->pool.bytes_copied / tasks;
            evidence.transfer = (figures->phases.send + figures->phases.receive) / tasks;
        }
    }
    return evidence;
}

/* ---- In words -------------------------------------------------------------------------------- */

static void print_costs(struct lesson *lesson, const struct lesson_evidence *evidence)
{
    const double work = lesson_break_even_work(evidence->handing_over, evidence->parallel);
    const double processes =
        fmax(evidence->speedup[LESSON_BY_COPY], evidence->speedup[LESSON_BY_SHARED]);
    lesson_print(lesson, "  work          %s in one task, in the plain loop\n",
                 lesson_time_text(evidence->task));
    if (!isnan(evidence->transfer))
        lesson_print(lesson, "  data          %s copied for it to a worker and back: %s\n",
                     lesson_bytes_text(evidence->bytes), lesson_time_text(evidence->transfer));
    if (isnan(processes))
        return;
    lesson_print(
        lesson, "  handing over  %s: waking up, dealing out, waiting for the last, for each task\n",
        lesson_time_text(evidence->handing_over));
    if (isnan(work))
        lesson_print(lesson, "  break-even    not known: nothing was shared out\n");
    else
        lesson_print(lesson, "  break-even    %s of work in a task, its data apart\n",
                     lesson_time_text(work));
    const double tasks =
        lesson_break_even_tasks(evidence->startup, evidence->task, evidence->task / processes);
    lesson_print(lesson, "  start-up      %s for the pool: ", lesson_time_text(evidence->startup));
    if (isinf(tasks))
        lesson_print(lesson, "no number of such tasks makes up for it\n");
    else
        lesson_print(lesson, "made up for from %.0f task%s on\n", tasks, plural(tasks));
}

static void print_predictions(struct lesson *lesson, const struct lesson_evidence *evidence)
{
    static const int cores[] = {2, 4, 8, 16, 64};
    enum { COUNT = sizeof cores / sizeof *cores };
    bool any = false;
    for (enum lesson_way way = 0; way < LESSON_WAYS; way++)
        any |= !isnan(evidence->scaling[way].one_core);
    if (!any)
        return;
    lesson_print(lesson, "%-18s %9s   predicted for", "speedup", "measured");
    for (int i = 0; i < COUNT; i++)
        lesson_print(lesson, " %5d", cores[i]);
    lesson_print(lesson, " cores   serial part\n");
    for (enum lesson_way way = 0; way < LESSON_WAYS; way++) {
        if (isnan(evidence->scaling[way].one_core))
            continue;
        lesson_print(lesson, "%-18s %8.2fx %15s", way_names[way], evidence->speedup[way], "");
        for (int i = 0; i < COUNT; i++) {
            const double speedup = lesson_predict(evidence, way, cores[i]);
            lesson_print(lesson, " %5.*f", speedup < 9.95 ? 2 : 1, speedup);
        }
        lesson_print(lesson, " %17.3g %%\n", 100.0 * evidence->scaling[way].serial);
    }
    lesson_print(
        lesson, "  predicted     by Amdahl's law from the serial part f, 1 / (f + (1 - f) / cores);"
                " not measured\n"
                "  serial part   of processes send, receive and wait, of threads what their speedup"
                " shows\n");
}

void lesson_print_evidence(struct lesson *lesson, const struct lesson_evidence *evidence)
{
    lesson_print(lesson, "\nEvidence for a task, one of %zu, with %d worker%s on %d core%s:\n",
                 evidence->tasks, evidence->workers, plural(evidence->workers), evidence->cores,
                 plural(evidence->cores));
    print_costs(lesson, evidence);
    print_predictions(lesson, evidence);
}

/* ---- Advice ---------------------------------------------------------------------------------- */

static void write_speedups(FILE *stream, const struct lesson_evidence *evidence)
{
    static const char *const words[LESSON_WAYS] = {"threads", "threads under the GIL",
                                                   "processes, copied", "processes, shared"};
    fprintf(stream, ". Speedup");
    if (!isnan(evidence->vectorised))
        fprintf(stream, " of better code on one core %.3gx,", evidence->vectorised);
    if (!isnan(evidence->library))
        fprintf(stream, " of the library's own threads %.3gx,", evidence->library);
    fprintf(stream, " with %d worker%s:", evidence->workers, plural(evidence->workers));
    for (enum lesson_way way = 0; way < LESSON_WAYS; way++)
        if (isnan(evidence->speedup[way]))
            fprintf(stream, "%s %s not measured", way ? ";" : "", words[way]);
        else
            fprintf(stream, "%s %s %s", way ? ";" : "", words[way],
                    factor_text(evidence->speedup[way]));
}

void lesson_print_advice(struct lesson *lesson, const struct lesson_case *one)
{
    const struct lesson_evidence *evidence = &one->evidence;
    struct paragraph paragraph;
    paragraph_begin(lesson, &paragraph);
    FILE *const stream = paragraph.stream;
    fprintf(stream, "Advice for %s: %s. %s. Measured: a task is %s of work", one->name, one->advice,
            one->reason, lesson_time_text(evidence->task));
    if (!isnan(evidence->handing_over))
        fprintf(stream, ", handing it over %s", lesson_time_text(evidence->handing_over));
    if (!isnan(evidence->transfer))
        fprintf(stream, ", copying its %s %s", lesson_bytes_text(evidence->bytes),
                lesson_time_text(evidence->transfer));
    if (!isnan(evidence->startup))
        fprintf(stream, ", starting a pool %s", lesson_time_text(evidence->startup));
    write_speedups(stream, evidence);
    fprintf(stream, ".");
    if (evidence->busy < QUIET && evidence->task * (double)evidence->tasks > SHORT)
        fprintf(
            stream,
            " (Note: the plain loop kept %.2f cores busy. It waited, or other programs used the "
            "cores: then measure again without them.)",
            evidence->busy);
    lesson_print(lesson, "\n");
    paragraph_end(lesson, &paragraph, PAGE_COLUMNS);
}

static const char *known_time(double seconds)
{
    return isnan(seconds) ? "-" : lesson_time_text(seconds);
}

void lesson_print_cases(struct lesson *lesson, const struct lesson_case *cases, size_t count)
{
    lesson_print(lesson, "\n%s%-12s %7s %7s %7s %7s", bold(lesson), "workload", "work", "data",
                 "copying", "handing");
    for (enum lesson_way way = 0; way < LESSON_WAYS; way++)
        lesson_print(lesson, " %7s",
                     (const char *const[]){"threads", "gil", "copy", "shared"}[way]);
    lesson_print(lesson, "  same?  advice%s\n", plain(lesson));
    for (size_t i = 0; i < count; i++) {
        const struct lesson_evidence *evidence = &cases[i].evidence;
        lesson_print(lesson, "%-12s %7s %7s %7s %7s", cases[i].name,
                     lesson_time_text(evidence->task),
                     isnan(evidence->bytes) ? "-" : lesson_bytes_text(evidence->bytes),
                     known_time(evidence->transfer), known_time(evidence->handing_over));
        for (enum lesson_way way = 0; way < LESSON_WAYS; way++)
            lesson_print(lesson, " %7s", factor_text(evidence->speedup[way]));
        lesson_print(lesson, "  %-5s  %s\n", evidence->same ? "yes" : "NO", cases[i].advice);
    }
    lesson_print(
        lesson,
        "  work          of one task, in the plain loop\n"
        "  data, copying what is copied for a task to a worker and back, and what that takes\n"
        "  handing       over: waking up, dealing out, waiting for the last: for each task\n"
        "  threads ...   speedups, against the sequential loop, with %d worker%s\n"
        "  same?         every mode gave the sequential result\n",
        cases[0].evidence.workers, plural(cases[0].evidence.workers));
}

void lesson_conclude(struct lesson *lesson, const char *name, const char *text)
{
    struct conclusion *conclusion = lesson_allocate(lesson, 1, sizeof *conclusion);
    conclusion->name = strdup(name);
    conclusion->text = strdup(text);
    if (!conclusion->name || !conclusion->text)
        lesson_die(lesson, "out of memory");
    *lesson->last_conclusion = conclusion;
    lesson->last_conclusion = &conclusion->next;
}
