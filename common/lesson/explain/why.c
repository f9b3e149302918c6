/* The Why lines: what the figures of this run say about its own speed, and nothing else.
 *
 * The best that W workers on C cores can do is min(W, C) times sequential. What is missing to
 * that was spent somewhere: on more CPU time than sequential needed (the cores slowed each other
 * down, or the way itself costs), on cores that had nothing to do (too few or uneven tasks, a run
 * too short to share, a lock), or, with processes, on the phases that the pool measured. Each
 * sentence follows from one of these figures.
 */
#include "common/lesson/explain/explain.h"
#include <math.h>
#include <stdlib.h>

#define GOOD      0.85 /* of the best possible speedup: nothing to explain */
#define QUIET     0.90 /* cores that a sequential computation keeps busy at least */
#define SMALL     0.10 /* a share below this is not worth a word */
#define SHORT_RUN 200e-6

struct reason {
    FILE *text;
    const struct lesson_figures *figures, *sequential;
    int cores;
    double best;     /* speedup that is possible: workers or cores, whichever is less */
    double overhead; /* seconds that the run took above a perfect one */
};

/* To two digits: an estimate is not known better. */
static double about(double count)
{
    const double unit = count >= 100.0 ? pow(10.0, floor(log10(count)) - 1.0) : 1.0;
    return ceil(count / unit) * unit;
}

static void say_speed(const struct reason *reason)
{
    const double speedup = reason->figures->speedup;
    if (speedup >= 1.05)
        fprintf(reason->text, "%.2fx as fast as sequential", speedup);
    else if (speedup > 0.95)
        fprintf(reason->text, "as fast as sequential (%.2fx)", speedup);
    else /* as many digits as in the table */
        fprintf(reason->text, "slower than sequential (%s)", factor_text(speedup));
}

/* Fewer threads than were asked for are the first reason, whatever else there is. */
static void say_limit(const struct reason *reason)
{
    const int threads = at_work(reason->figures);
    if (is_short_handed(reason->figures))
        fprintf(reason->text, "; only %d of %d threads ran: %s", threads, reason->figures->workers,
                team_limit_text(threads));
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* Tasks that do not divide evenly: the longest queue decides. Says so and returns true if that
 * explains at least half of what is missing. */
static bool say_uneven(const struct reason *reason)
{
    const struct lesson_figures *figures = reason->figures;
    const double tasks = (double)figures->tasks;
    const double longest = ceil(tasks / reason->best);
    const double possible = longest > 0.0 ? tasks / longest : reason->best;
    if (reason->best - possible < 0.5 * (reason->best - figures->speedup))
        return false;
    if (tasks < reason->best)
        fprintf(reason->text, "; there %s only %.0f task%s to share", tasks == 1.0 ? "is" : "are",
                tasks, plural(tasks));
    else
        fprintf(reason->text,
                "; %.0f tasks do not divide evenly: one core does %.0f of them, so %.2fx is all "
                "that is possible",
                tasks, longest, possible);
    return true;
}

static void say_lost_time(const struct reason *reason)
{
    const struct lesson_figures *figures = reason->figures, *sequential = reason->sequential;
    const double more_cpu = figures->cpu_median - sequential->cpu_median;
    const double idle = reason->best * figures->wall_median - figures->cpu_median;
    if (say_uneven(reason))
        return;
    if (sequential->wall_median < SHORT_RUN) {
        fprintf(
            reason->text,
            "; on the clock the whole work is %s, %s a task, and sharing it out cost %s, so there "
            "is little to win",
            lesson_time_text(sequential->wall_median),
            lesson_time_text(sequential->wall_median / (double)figures->tasks),
            lesson_time_text(reason->overhead));
        return;
    }
    if (more_cpu > SMALL * sequential->cpu_median && more_cpu >= 0.5 * idle)
        fprintf(reason->text,
                "; the same work took %.2f times the CPU time (%s instead of %s): the threads "
                "slowed each other down, at the memory or by sharing a core",
                figures->cpu_median / fmax(sequential->cpu_median, 1e-9),
                lesson_time_text(figures->cpu_median), lesson_time_text(sequential->cpu_median));
    else
        fprintf(
            reason->text,
            "; only %.2f of %.0f cores were busy: threads waited for the longest among them, or "
            "other programs used the cores",
            figures->cores_busy, reason->best);
}

static void why_threads(const struct reason *reason)
{
    const struct lesson_figures *figures = reason->figures;
    say_speed(reason);
    say_limit(reason);
    if (at_work(figures) == 1)
        fprintf(reason->text, "; one thread has one core, as sequential has%s",
                figures->cores_busy < QUIET ? ", but did not get all of it: it waited, or other "
                                              "programs used it"
                                            : "");
    else if (figures->speedup < GOOD * reason->best)
        say_lost_time(reason);
    else if (at_work(figures) > reason->cores)
        fprintf(reason->text, "; %d threads took turns on %d core%s (%.2f busy): more give no more",
                at_work(figures), reason->cores, plural(reason->cores), figures->cores_busy);
    else
        fprintf(reason->text, "; %.2f cores were busy%s", figures->cores_busy,
                figures->cores_busy >= GOOD * reason->best ? ", nearly all that the threads can use"
                                                           : "");
}

/* ---- Threads under the GIL ------------------------------------------------------------------- */

static void why_gil(const struct reason *reason)
{
    const struct lesson_figures *figures = reason->figures;
    const double switch_interval = figures->switch_interval;
    const struct gil_statistics *gil = &figures->gil;
    say_speed(reason);
    say_limit(reason);
    if (at_work(figures) == 1) {
        fprintf(reason->text, "; one thread has nobody to share the lock with");
        return;
    }
    if (gives_lock_back(figures)) {
        fprintf(reason->text,
                "; the tasks computed while they did not hold the lock, as NumPy's do, and took it "
                "%llu times: %.2f cores were busy",
                (unsigned long long)gil->acquired, figures->cores_busy);
        if (figures->speedup < GOOD * reason->best)
            say_lost_time(reason);
        return;
    }
    fprintf(reason->text, "; %.2f cores were busy", figures->cores_busy);
    if (reason->cores > 1 && figures->cores_busy <= ONE_CORE_BUSY)
        fprintf(reason->text, ": the lock let one of the %d threads compute at a time",
                at_work(figures));
    fprintf(reason->text, "; it went from thread to thread %llu time%s",
            (unsigned long long)gil->switches, plural((double)gil->switches));
    if (gil->forced > 0)
        fprintf(reason->text, ", %llu of them because a thread had waited for %s and asked",
                (unsigned long long)gil->forced, lesson_time_text(switch_interval));
    else if (figures->wall_median < switch_interval)
        fprintf(reason->text,
                ", never because a thread asked for it: the run was shorter than the switch "
                "interval, %s (try --seconds 1)",
                lesson_time_text(switch_interval));
}

/* ---- Processes ------------------------------------------------------------------------------- */

/* What the run spent above a perfect one, as the pool measured it. */
enum loss { LOSS_COPYING, LOSS_WAITING, LOSS_COMPUTING, LOSSES };

static void say_loss(const struct reason *reason, enum loss loss, double seconds)
{
    const struct lesson_figures *figures = reason->figures, *sequential = reason->sequential;
    const double tasks = (double)figures->tasks;
    const double task = sequential->cpu_median / tasks;
    const double percent = 100.0 * seconds / figures->wall_median;
    const double more_cpu = figures->cpu_median / tasks - task;
    fprintf(reason->text, "; %.0f %% of the wall time (%s) ", percent, lesson_time_text(seconds));
    if (loss == LOSS_COPYING)
        fprintf(reason->text, "went into copying %s to the workers and back",
                lesson_bytes_text((double)figures->pool.bytes_copied));
    else if (loss == LOSS_WAITING)
        fprintf(
            reason->text,
            "went into waiting for workers to wake up, for %llu chunk%s to be handed out and for "
            "the last worker",
            (unsigned long long)figures->pool.chunks, plural((double)figures->pool.chunks));
    else if (figures->workers == 1 || more_cpu * tasks >= 0.5 * seconds)
        fprintf(reason->text,
                "was extra computing: with all that belongs to it a task took %s of CPU time, in "
                "the plain loop %s",
                lesson_time_text(task + fmax(more_cpu, 0.0)), lesson_time_text(task));
    else
        fprintf(reason->text,
                "was extra computing: the busiest worker did more than its even share "
                "or had to share its core");
}

/* The losses that make up a quarter or more of all, the largest first. */
static void say_losses(const struct reason *reason)
{
    const struct pool_phases *phases = &reason->figures->phases;
    double left[LOSSES] = {
        [LOSS_COPYING] = phases->send + phases->receive,
        [LOSS_WAITING] = phases->wait,
        [LOSS_COMPUTING] =
            fmax(0.0, phases->compute - reason->sequential->wall_median / reason->best)};
    const double all = left[LOSS_COPYING] + left[LOSS_WAITING] + left[LOSS_COMPUTING];
    if (all < SMALL * reason->figures->wall_median)
        return;
    for (int i = 0; i < LOSSES; i++) {
        enum loss largest = LOSS_COPYING;
        for (enum loss loss = LOSS_WAITING; loss < LOSSES; loss++)
            if (left[loss] > left[largest])
                largest = loss;
        if (left[largest] < 0.25 * all)
            break;
        say_loss(reason, largest, left[largest]);
        left[largest] = 0.0;
    }
}

/* When does the start-up pay? */
static void say_start_up(const struct reason *reason)
{
    const struct lesson_figures *figures = reason->figures;
    const double tasks = (double)figures->tasks;
    const double task = reason->sequential->wall_median / tasks;
    const double gain = task - figures->wall_median / tasks;
    const double together = figures->startup + figures->wall_median;
    if (figures->startup > SMALL * together)
        fprintf(reason->text,
                ". With start-up it took %s on the clock, %.0f %% of that for starting %d "
                "worker%s: the time of %.0f "
                "sequential task%s",
                lesson_time_text(together), 100.0 * figures->startup / together, figures->workers,
                plural(figures->workers), about(figures->startup / task),
                plural(ceil(figures->startup / task)));
    else
        fprintf(reason->text, ". Starting them took %s, %.1f %% on top",
                lesson_time_text(figures->startup),
                100.0 * figures->startup / fmax(figures->wall_median, 1e-9));
    if (gain > SMALL / 2.0 * task)
        fprintf(reason->text,
                "; on the clock each task wins %s, so at this rate a new pool pays from about %.0f "
                "task%s on",
                lesson_time_text(gain), about(figures->startup / gain),
                plural(about(figures->startup / gain)));
    else
        fprintf(reason->text,
                "; on the clock a task took %s instead of %s: nothing to set against it",
                lesson_time_text(figures->wall_median / tasks), lesson_time_text(task));
}

static void why_processes(const struct reason *reason)
{
    const struct lesson_figures *figures = reason->figures;
    say_speed(reason);
    if (figures->speedup >= GOOD * reason->best && figures->workers > 1) {
        if (figures->workers > reason->cores)
            fprintf(reason->text, "; %d processes took turns on %d core%s", figures->workers,
                    reason->cores, plural(reason->cores));
        else
            fprintf(reason->text, "; %.2f cores were busy", figures->cores_busy);
    } else if (figures->workers == 1 || figures->pool.chunks > 0) {
        say_losses(reason);
    }
    say_start_up(reason);
}

/* ---- All ------------------------------------------------------------------------------------- */

char *why_text(const struct lesson_figures *figures, const struct lesson_figures *sequential,
               int cores)
{
    char *text = NULL;
    size_t size = 0;
    struct reason reason = {.text = open_memstream(&text, &size),
                            .figures = figures,
                            .sequential = sequential,
                            .cores = cores,
                            .best = at_work(figures) < cores ? at_work(figures) : cores};
    if (!reason.text)
        return NULL;
    reason.overhead = figures->wall_median - sequential->wall_median / reason.best;
    fprintf(reason.text, "Why: %s, %d worker%s: ", figures->name, figures->workers,
            plural(figures->workers));
    if (!figures->matches)
        fprintf(reason.text, "the results are wrong, so its time means nothing");
    else if (figures->tasks == 0)
        fprintf(reason.text, "there was no task to run, so this is the cost of doing nothing");
    else if (!(sequential->wall_median > 0.0 && figures->wall_median > 0.0))
        fprintf(reason.text, "too short for the clock");
    else if (figures->mode == LESSON_THREADS)
        why_threads(&reason);
    else if (figures->mode == LESSON_GIL)
        why_gil(&reason);
    else
        why_processes(&reason);
    fprintf(reason.text, ".");
    if (fclose(reason.text)) {
        free(text);
        return NULL;
    }
    return text;
}

/* Is `a` rather to be explained than `b`? Wrong results first; then, of the GIL, the most threads,
 * for they meet at the lock; of the others the fastest. */
static bool more_telling(const struct lesson_figures *a, const struct lesson_figures *b)
{
    if (a->matches != b->matches)
        return !a->matches;
    if (a->mode == LESSON_GIL)
        return a->workers > b->workers;
    return a->wall_median < b->wall_median;
}

static const struct lesson_figures *most_telling(const struct lesson_results *results,
                                                 enum lesson_mode mode,
                                                 enum lesson_transfer transfer)
{
    const struct lesson_figures *best = NULL;
    for (size_t i = 0; i < results->count; i++) {
        const struct lesson_figures *figures = &results->figures[i];
        if (figures->mode == mode && figures->transfer == transfer &&
            (!best || more_telling(figures, best)))
            best = figures;
    }
    return best;
}

/* The base of all speedups must be a quiet one. */
static void warn_of_disturbance(struct lesson *lesson, const struct lesson_figures *sequential)
{
    char text[256];
    if (lesson->restless)
        report_paragraph(
            lesson, 0,
            "Note: idle threads kept computing (OMP_WAIT_POLICY or GOMP_SPINCOUNT?), so "
            "CPU and cores busy count more than the work.");
    if (sequential->wall_median < 1e-3 || sequential->cores_busy > QUIET)
        return;
    snprintf(text, sizeof text,
             "Note: sequential kept only %.2f cores busy: it waited, or other programs used its "
             "core. Its time is the base of the speedups, which may be too high.",
             sequential->cores_busy);
    report_paragraph(lesson, 0, text);
}

void why_print(struct lesson *lesson, const struct lesson_results *results)
{
    static const struct {
        enum lesson_mode mode;
        enum lesson_transfer transfer;
    } kinds[] = {{LESSON_THREADS, LESSON_DEFAULT_TRANSFER},
                 {LESSON_GIL, LESSON_DEFAULT_TRANSFER},
                 {LESSON_PROCESSES, LESSON_COPY},
                 {LESSON_PROCESSES, LESSON_SHARED}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct lesson_figures *figures =
            most_telling(results, kinds[i].mode, kinds[i].transfer);
        if (!figures)
            continue;
        char *text = why_text(figures, &results->figures[0], lesson->machine->cores);
        if (!text)
            lesson_die(lesson, "out of memory");
        report_paragraph(lesson, 0, text);
        free(text);
    }
    warn_of_disturbance(lesson, &results->figures[0]);
}
