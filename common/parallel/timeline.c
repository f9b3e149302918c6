/* timeline.c - recordings (timeline.h): rows of events in shared memory, each written by one thread
 * or worker.
 *
 * A thread finds its row once for each recording, by one compare-and-swap, and remembers it; from
 * then on an event is a store and a counter. The counter is stored after the event, so a worker
 * that dies leaves whole events only. */
#include "common/parallel/timeline.h"
#include "common/parallel/arena.h"
#include "common/parallel/base.h"
#include "common/parallel/board.h"
#include <omp.h>
#include <pthread.h>
#include <unistd.h>

#define MOST_EVENTS ((size_t)1 << 17) /* of a row, */
#define MOST_BYTES  ((size_t)1 << 25) /*   and of all of them, unless more are asked for */

#define WORKER ((uintptr_t)1)

/* Written by its owner only, but for `owner`. */
struct timeline_row {
    /* 0: nobody; else an address that only this thread has, or the worker in its slot: then it is
     * marked by WORKER. */
    _Alignas(CACHE_LINES) _Atomic uintptr_t owner;
    int number;
    pid_t pid;
    uint64_t task_begin; /* of a thread: when what it does now began, */
    uint64_t held_since; /*   and since when it has the GIL; 0: it has not */
    _Atomic size_t count, lost;
    size_t room;
    struct timeline_event *events; /* [room] */
};

struct timeline {
    uint64_t number; /* of the recording, so that a thread knows whether it has its row yet */
    _Atomic uint64_t since; /* no task began before */
    _Atomic size_t lost;
    int rows, own_rows; /* rows that are kept for the workers, or threads of the team, by number */
    struct timeline_row row[];
};

_Atomic(struct timeline *) timeline_recording;

uint64_t timeline_clock(void)
{
    return now_ns();
}

/* ---- Create, start, stop --------------------------------------------------------------------- */

/* A process that a task of the program forks has its thread's row before its eyes, and must not
 * write to it. */
static void forget_at_fork(void)
{
    pthread_atfork(NULL, NULL, timeline_forget); /* without memory for it no fork goes well */
}

struct timeline *timeline_create(int workers, size_t events, struct error *error)
{
    if (workers < 1 || workers > POOL_MAX_WORKERS || events > PTRDIFF_MAX / sizeof(struct job)) {
        error_set(error, ERROR_INVALID, "a recording of %d workers, %zu events each", workers,
                  events);
        return NULL;
    }
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, forget_at_fork);
    const size_t rows = 2 * (size_t)workers + 2;
    size_t room = events;
    if (room == 0) {
        room = MOST_BYTES / rows / sizeof(struct timeline_event);
        room = room < MOST_EVENTS ? room : MOST_EVENTS;
    }
    const size_t head = sizeof(struct timeline) + rows * sizeof(struct timeline_row);
    size_t bytes;
    if (__builtin_mul_overflow(rows * sizeof(struct timeline_event), room, &bytes) ||
        __builtin_add_overflow(bytes, head, &bytes)) {
        error_set(error, ERROR_INVALID, "a recording of %zu events overflows", events);
        return NULL;
    }
    struct timeline *timeline = arena_allocate(bytes, false, error);
    if (!timeline)
        return NULL;
    memset(timeline, 0, head);
    struct timeline_event *first = (void *)((char *)timeline + head);
    timeline->rows = (int)rows;
    timeline->own_rows = workers + 1;
    for (size_t i = 0; i < rows; i++)
        timeline->row[i] = (struct timeline_row){.room = room, .events = first + i * room};
    return timeline;
}

void timeline_free(struct timeline *timeline)
{
    if (timeline)
        arena_free(timeline);
}

void timeline_stop(void)
{
    atomic_store(&timeline_recording, NULL);
}

void timeline_forget(void)
{
    atomic_store(&timeline_recording, NULL);
}

struct timeline *timeline_of_jobs(void)
{
    return atomic_load_explicit(&timeline_recording, memory_order_relaxed);
}

/* ---- Whose row ------------------------------------------------------------------------------- */

/* A thread is known by the address of this. */
static _Thread_local struct {
    uint64_t number; /* of the recording in which the row is its own */
    struct timeline_row *row;
} mine;

static bool claim_row(struct timeline_row *row, uintptr_t owner, int number)
{
    uintptr_t nobody = 0;
    if (atomic_load(&row->owner) != owner &&
        !atomic_compare_exchange_strong(&row->owner, &nobody, owner))
        return false;
    row->number = number;
    row->pid = getpid();
    return true;
}

/* The row that is meant for it, or else one of the others. */
static struct timeline_row *find_row(struct timeline *timeline, int wish, uintptr_t owner,
                                     int number)
{
    if (wish >= 0 && wish < timeline->own_rows && claim_row(&timeline->row[wish], owner, number))
        return &timeline->row[wish];
    for (int i = timeline->own_rows; i < timeline->rows; i++)
        if (claim_row(&timeline->row[i], owner, number))
            return &timeline->row[i];
    return NULL;
}

struct timeline_row *timeline_worker_row(struct timeline *timeline, int slot, const void *own)
{
    struct timeline_row *row = find_row(timeline, 1 + slot, (uintptr_t)own | WORKER, slot);
    if (!row)
        atomic_fetch_add_explicit(&timeline->lost, 1, memory_order_relaxed);
    return row;
}

/* The calling thread's; NULL: nothing is recorded, or there is no row left. */
static struct timeline_row *own_row(void)
{
    struct timeline *timeline = atomic_load_explicit(&timeline_recording, memory_order_acquire);
    if (!timeline)
        return NULL;
    if (mine.number != timeline->number) {
        const bool in_team = omp_get_level() > 0;
        const int number = in_team ? omp_get_thread_num() : -1;
        mine.row = find_row(timeline, number > 0 ? number : -1, (uintptr_t)&mine, number);
        mine.number = timeline->number;
    }
    if (!mine.row)
        atomic_fetch_add_explicit(&timeline->lost, 1, memory_order_relaxed);
    return mine.row;
}

void timeline_start(struct timeline *timeline)
{
    static uint64_t last_number;
    for (int i = 0; i < timeline->rows; i++) {
        struct timeline_row *row = &timeline->row[i];
        *row = (struct timeline_row){.room = row->room, .events = row->events};
    }
    timeline->number = ++last_number;
    atomic_store(&timeline->lost, 0);
    mine.number = timeline->number;
    mine.row = find_row(timeline, 0, (uintptr_t)&mine, 0);
    atomic_store(&timeline->since, now_ns());
    atomic_store(&timeline_recording, timeline);
}

/* ---- Events ---------------------------------------------------------------------------------- */

void timeline_add(struct timeline_row *row, enum timeline_kind kind, uint64_t begin, uint64_t end,
                  size_t index, size_t tasks)
{
    const size_t i = atomic_load_explicit(&row->count, memory_order_relaxed);
    if (i == row->room) {
        const size_t lost = atomic_load_explicit(&row->lost, memory_order_relaxed);
        atomic_store_explicit(&row->lost, lost + 1, memory_order_relaxed);
        return;
    }
    row->events[i] = (struct timeline_event){
        .begin = begin, .end = end, .index = index, .kind = kind, .tasks = (uint32_t)tasks};
    /* after the event, so that a worker that dies here leaves whole events only */
    atomic_store_explicit(&row->count, i + 1, memory_order_release);
}

void timeline_span(enum timeline_kind kind, uint64_t begin, uint64_t end, size_t index,
                   size_t tasks)
{
    struct timeline_row *row = own_row();
    if (row)
        timeline_add(row, kind, begin, end, index, tasks);
}

/* What the row's thread has held of the GIL until now is an event; it goes on to hold it. */
static void cut_held(struct timeline_row *row, uint64_t now)
{
    if (row->held_since == 0)
        return;
    timeline_add(row, TIMELINE_GIL_HELD, row->held_since, now, 0, 0);
    row->held_since = now;
}

static uint64_t since(void)
{
    const struct timeline *timeline = atomic_load(&timeline_recording);
    return timeline ? atomic_load_explicit(&timeline->since, memory_order_relaxed) : 0;
}

void timeline_task_done(size_t index, size_t tasks)
{
    struct timeline_row *row = own_row();
    if (!row)
        return;
    const uint64_t end = now_ns(), least = since();
    cut_held(row, end);
    timeline_add(row, TIMELINE_TASK, row->task_begin > least ? row->task_begin : least, end, index,
                 tasks);
    row->task_begin = end;
}

void timeline_task_begin(void)
{
    struct timeline_row *row = own_row();
    if (!row)
        return;
    row->task_begin = now_ns();
    cut_held(row, row->task_begin);
}

void timeline_tasks_begin(void)
{
    struct timeline *timeline = atomic_load(&timeline_recording);
    if (timeline)
        atomic_store(&timeline->since, now_ns());
}

void timeline_gil_taken(uint64_t waited)
{
    struct timeline_row *row = own_row();
    if (!row)
        return;
    const uint64_t taken = now_ns();
    if (waited)
        timeline_add(row, TIMELINE_GIL_WAIT, waited, taken, 0, 0);
    row->held_since = taken;
    if (row->task_begin < since()) /* it waits to begin with its first task */
        row->task_begin = taken;
}

void timeline_gil_dropped(uint64_t dropped)
{
    struct timeline_row *row = own_row();
    if (!row || row->held_since == 0)
        return;
    cut_held(row, dropped);
    row->held_since = 0;
}

/* ---- Reading --------------------------------------------------------------------------------- */

int timeline_rows(const struct timeline *timeline)
{
    return timeline->rows;
}

size_t timeline_lost(const struct timeline *timeline)
{
    return atomic_load(&timeline->lost);
}

struct timeline_row_view timeline_row_view(const struct timeline *timeline, int row)
{
    const struct timeline_row *r = &timeline->row[row];
    const uintptr_t owner = atomic_load(&r->owner);
    return (struct timeline_row_view){.who = owner == 0       ? TIMELINE_NOBODY
                                             : owner & WORKER ? TIMELINE_WORKER
                                                              : TIMELINE_THREAD,
                                      .number = r->number,
                                      .pid = r->pid,
                                      .events = r->events,
                                      .count = atomic_load(&r->count),
                                      .lost = atomic_load(&r->lost)};
}
