/* Recorded runs: everybody's events of the pool's recording, sorted into the rows of a timeline,
 * one for each worker or thread. */
#include "common/lesson/measure/measurement.h"
#include "common/parallel/timeline.h"
#include <math.h>
#include <stdlib.h>

/* ---- During a run ---------------------------------------------------------------------------- */

bool record_wanted(const struct lesson *lesson)
{
    const struct options *options = lesson->options;
    return options->timeline || options->trace || options->plot || options->report;
}

void lesson_tell_task(struct lesson_watch *watch, size_t i)
{
    if (watch->recorded && timeline_is_on())
        timeline_task_done(i, 1);
    if (watch->live)
        live_task(watch->live);
}

void lesson_tasks_begin(const struct lesson_run *run)
{
    if (run->watched && run->watched->recorded)
        timeline_tasks_begin();
}

void record_begin(struct lesson *lesson, int workers)
{
    struct error error;
    if (lesson->recorded_workers < workers) {
        timeline_free(lesson->recording);
        lesson->recording = timeline_create(workers, 0, &error);
        if (!lesson->recording)
            lesson_die(lesson, "the recording of %d workers: %s", workers, error.message);
        lesson->recorded_workers = workers;
    }
    lesson->watch.recorded = true;
    timeline_start(lesson->recording);
}

void record_end(struct lesson *lesson)
{
    timeline_stop();
    lesson->watch.recorded = false;
}

/* ---- After it -------------------------------------------------------------------------------- */

/* How many have rows behind those that are kept for the workers, or the threads of a team? */
static int count_others(const struct timeline *timeline, int kept)
{
    int count = 0;
    for (int row = kept; row < timeline_rows(timeline); row++)
        count += timeline_row_view(timeline, row).who != TIMELINE_NOBODY;
    return count;
}

/* Row 0 is the main thread's, 1 .. workers are kept for the workers, or for the threads of a team
 * but its first. These are shown even if they did nothing; where others did it, the threads of a
 * loader, so many fewer of them. */
static bool is_shown(const struct timeline *timeline, int row, enum lesson_mode mode, int workers,
                     int others)
{
    const bool with_main = mode == LESSON_PROCESSES || others > 0;
    const int own = with_main ? workers + 1 - others : workers;
    return row == 0 || row < own || timeline_row_view(timeline, row).who != TIMELINE_NOBODY;
}

static void name_thread_row(char name[32], const struct timeline_row_view *view, int row, int shown,
                            enum lesson_mode mode)
{
    if (mode != LESSON_PROCESSES)
        snprintf(name, 32, "thread %d", shown);
    else if (view->who == TIMELINE_WORKER)
        snprintf(name, 32, "worker %d, pid %ld", view->number, (long)view->pid);
    else if (row == 0)
        snprintf(name, 32, "program");
    else if (view->who == TIMELINE_THREAD)
        snprintf(name, 32, "program, thread %d", shown);
    else
        snprintf(name, 32, "worker %d", row - 1);
}

static int depth(enum timeline_kind kind)
{
    return kind == TIMELINE_CHUNK ? 0 : kind == TIMELINE_TASK ? 1 : 2;
}

/* By row and begin; what lies inside another event comes after it. */
static int compare_events(const void *left, const void *right)
{
    const struct lesson_event *a = left, *b = right;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end > b->end ? -1 : 1;
    return depth(a->kind) - depth(b->kind);
}

static struct lesson_event event_of(const struct timeline_event *event, int row, double begin,
                                    double wall)
{
    return (struct lesson_event){.begin =
                                     fmin(fmax(1e-9 * (double)event->begin - begin, 0.0), wall),
                                 .end = fmin(fmax(1e-9 * (double)event->end - begin, 0.0), wall),
                                 .row = row,
                                 .kind = (enum timeline_kind)event->kind,
                                 .index = event->index,
                                 .tasks = event->tasks};
}

struct taken {
    struct lesson_timeline timeline;
    struct lesson_event *events;
    bool tasks;
};

static void take_row(struct taken *taken, const struct timeline_row_view *view, double begin)
{
    struct lesson_timeline *timeline = &taken->timeline;
    for (size_t i = 0; i < view->count; i++) {
        const struct timeline_event *event = &view->events[i];
        taken->tasks |= event->kind == TIMELINE_TASK;
        taken->events[timeline->count++] = event_of(event, timeline->rows, begin, timeline->wall);
    }
    timeline->lost += view->lost;
}

/* Nobody told of a task: each row has had one piece of work, as long as the run. */
static void make_whole(struct taken *taken, enum lesson_mode mode)
{
    struct lesson_timeline *timeline = &taken->timeline;
    timeline->whole = true;
    for (int row = 0; mode != LESSON_GIL && row < timeline->rows; row++)
        taken->events[timeline->count++] =
            (struct lesson_event){.end = timeline->wall, .row = row, .kind = TIMELINE_TASK};
}

struct lesson_timeline *record_take(struct lesson *lesson, enum lesson_mode mode, int workers,
                                    double begin, double wall)
{
    const struct timeline *from = lesson->recording;
    const int rows = timeline_rows(from);
    const int others = count_others(from, lesson->recorded_workers + 1);
    size_t most = (size_t)rows;
    for (int row = 0; row < rows; row++)
        most += timeline_row_view(from, row).count;
    struct taken *taken = lesson_allocate(lesson, 1, sizeof *taken);
    struct lesson_timeline *timeline = &taken->timeline;
    taken->events = lesson_allocate(lesson, most, sizeof *taken->events);
    *timeline = (struct lesson_timeline){.wall = wall, .lost = timeline_lost(from)};
    timeline->names = lesson_allocate(lesson, (size_t)rows, sizeof *timeline->names);
    for (int row = 0; row < rows; row++) {
        const struct timeline_row_view view = timeline_row_view(from, row);
        if (!is_shown(from, row, mode, workers, others))
            continue;
        name_thread_row(timeline->names[timeline->rows], &view, row, timeline->rows, mode);
        take_row(taken, &view, begin);
        timeline->rows++;
    }
    if (!taken->tasks && mode != LESSON_PROCESSES)
        make_whole(taken, mode);
    qsort(taken->events, timeline->count, sizeof *taken->events, compare_events);
    timeline->events = taken->events;
    return timeline;
}

void record_free(const struct lesson_timeline *timeline)
{
    struct taken *taken = (struct taken *)(void *)timeline; /* its first part */
    if (!taken)
        return;
    free(taken->timeline.names);
    free(taken->events);
    free(taken);
}
