/* manager.c - the pool's own thread: deaths, replacements, time limits, the end.
 *
 * It sleeps in poll until the helper reports something, a worker has news while somebody wants to
 * know them, a time limit may be over, or a thread of the program kicks it. It holds the pool's
 * mutex whenever it is awake, and never waits for anybody. */
#include "common/parallel/descriptors.h"
#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include <linux/sockios.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_AGAIN 0.1 /* seconds after a replacement could not be started */

/* ---- The end --------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void end_pool(struct pool *pool, enum error_code code,
                                                           const char *format, ...)
{
    va_list arguments;
    if (pool->end.code != ERROR_NONE)
        return;
    pool->end.code = code;
    va_start(arguments, format);
    error_format(pool->end.message, sizeof pool->end.message, format, arguments);
    va_end(arguments);
}

/* The kernel kills the workers of a dead helper, but it need not have done so already. The last of
 * them closes the read end of the life line. Somebody else may have it too, a process that a task
 * has made, hence no longer than a moment. */
static void helper_is_gone(struct pool *pool)
{
    struct pollfd life = {.fd = pool->life[1]};
    const bool dead = helper_is_dead(pool);
    descriptors_close(pool->helper_socket);
    descriptors_close(pool->life[0]);
    pool->helper_socket = pool->life[0] = -1;
    if (pool->alive > 0)
        poll(&life, 1, 200);
    pool->alive = 0;
    end_pool(pool, ERROR_BROKEN,
             dead ? "the pool's helper process is gone"
                  : "the pool's helper process has no descriptor left for one more pool");
}

/* Has the helper left unread what it was sent? */
static bool helper_does_not_read(const struct pool *pool)
{
    int unread = 0;
    return !pool->kill_sent || (ioctl(pool->helper_socket, SIOCOUTQ, &unread) == 0 && unread > 0);
}

/* Kills all workers. When the last of them is gone, nobody writes any more into what the program
 * may be about to free. A helper that does not read is stopped, or stuck. */
static void kill_workers(struct pool *pool)
{
    if (pool->kill_asked == 0)
        pool->kill_asked = now();
    if (!pool->kill_sent && pool->helper_socket >= 0)
        pool->kill_sent = helper_signal(pool->helper_socket, -1, SIGKILL) == 1;
    if (pool->alive > 0 && now() - pool->kill_asked > PATIENCE && helper_does_not_read(pool))
        helper_kill(pool->helper);
}

/* Has the pool come to its end? */
static bool end_reached(struct pool *pool)
{
    if (atomic_load(&pool->interrupted))
        end_pool(pool, ERROR_INTERRUPTED, "the pool was interrupted");
    if (pool->terminated ||
        (pool->closed && !pool->unfinished && (!pool->iterators || pool->cancelled)))
        end_pool(pool, ERROR_CLOSED, "the pool was %s", pool->terminated ? "terminated" : "closed");
    if (pool->end.code == ERROR_NONE)
        return false;
    kill_workers(pool);
    if (pool->alive > 0)
        return false;
    settle_finished(pool); /* what was done in time is done */
    settle_all(pool);
    return true;
}

/* ---- Deaths ---------------------------------------------------------------------------------- */

static void describe_death(char *text, size_t size, pid_t pid, int status)
{
    const char *name = WIFSIGNALED(status) ? sigdescr_np(WTERMSIG(status)) : NULL;
    if (WIFSIGNALED(status))
        snprintf(text, size, "worker %d was killed by signal %d (%s)", (int)pid, WTERMSIG(status),
                 name ? name : "unknown");
    else
        snprintf(text, size, "worker %d ended with exit status %d", (int)pid, WEXITSTATUS(status));
}

/* May the chunk be run again? Deaths are counted, unless the worker was killed for a time limit
 * that it kept in the end. */
static bool may_retry(struct pool_result *result, size_t chunk, bool counts)
{
    if (result->cancelled)
        return false;
    if (!counts)
        return true;
    if (!result->attempts)
        result->attempts = calloc(result->job->chunk_count, 1);
    if (!result->attempts || result->attempts[chunk] >= result->pool->options.retries)
        return false;
    result->attempts[chunk]++;
    result->pool->statistics.chunks_retried++;
    return true;
}

struct death {
    uint32_t id;
    bool timed_out; /* the task that it was in had exceeded the hard time limit */
    bool counts;    /* as an attempt */
    struct error why;
};

/* Takes back what a dead worker had claimed. It cannot come back, so its claims are ours to
 * change; a chunk that it finished says so and stays. Returns whether there was one. */
static bool take_back_chunks(struct pool *pool, const struct death *death)
{
    bool held = false;
    for (struct pool_result *result = pool->unfinished; result != pool->first_queued;
         result = result->next) {
        struct job *job = result->job;
        atomic_store(&job->uncertain, 1); /* it may not have counted what it finished */
        for (size_t i = atomic_load(&result->scanned); i < job->chunk_count; i++) {
            if (atomic_load(&job->chunks[i].owner) != death->id)
                continue;
            held = true;
            if (atomic_load(&job->chunks[i].completed) == chunk_tasks(job, i))
                atomic_store(&job->chunks[i].owner, death->id | CHUNK_DONE); /* all but this */
            else if (death->timed_out)
                give_up_chunk(result, i, POOL_TASK_TIMED_OUT, &death->why);
            else if (may_retry(result, i, death->counts))
                atomic_store(&job->chunks[i].owner, 0);
            else
                give_up_chunk(result, i, result->cancelled ? POOL_TASK_CANCELLED : POOL_TASK_LOST,
                              &death->why);
        }
        /* Everybody looks from the start again: besides the chunk taken back there may be one that
         * the dead worker had counted past but not yet claimed. */
        atomic_store(&job->next, 0);
    }
    return held;
}

/* A worker that dies as soon as it is started would be replaced for ever. One that held a chunk
 * is bounded by that chunk's retries. */
static bool is_restart_storm(struct pool *pool, bool held)
{
    uint64_t done = 0;
    for (int i = 0; i < pool->options.workers; i++)
        done += atomic_load(&pool->board->slots[i].chunks_done);
    if (held || done != pool->chunks_done_before || now() - pool->last_death > 1)
        pool->deaths_in_a_row = 0;
    pool->chunks_done_before = done;
    pool->last_death = now();
    pool->deaths_in_a_row += !held;
    return pool->deaths_in_a_row > 10 + 3 * pool->options.workers;
}

static void clear_slot(struct pool *pool, int slot, uint32_t id)
{
    struct board *board = pool->board;
    struct worker_slot *shared = &board->slots[slot];
    atomic_store(&shared->job, NULL);
    atomic_store(&shared->parked, 0);
    atomic_store(&shared->started, 0);
    atomic_store(&shared->initializing, 0);
    atomic_store(&shared->outside_ns, 0);
    for (int i = 0; i < board->spin_places; i++) {
        uint32_t dead = id;
        atomic_compare_exchange_strong(&board->spinners[i], &dead, 0);
    }
}

static void want_worker(struct pool *pool, int slot)
{
    pool->workers[slot] = (struct worker_record){.wanted = true};
}

/* With some workers missing the others do the work, and the start is tried again later; with none
 * the pool has come to its end. */
static void worker_not_started(struct pool *pool, int slot, int error_number, const char *why)
{
    want_worker(pool, slot);
    pool->workers[slot].not_before = now() + START_AGAIN;
    if (pool->alive > 0 && pool->started)
        return;
    if (pool->end.code != ERROR_NONE)
        return;
    end_pool(pool, pool->started ? ERROR_BROKEN : ERROR_SYSTEM, "cannot start a worker process: %s",
             why);
    pool->end.system_errno = error_number;
}

static void on_death(struct pool *pool, const struct helper_report *report)
{
    struct worker_record *record = &pool->workers[report->slot];
    const struct worker_slot *shared = &pool->board->slots[report->slot];
    const int state = atomic_load(&shared->state);
    const uint64_t started = atomic_load(&shared->started);
    struct death death = {.id = report->id,
                          .timed_out = record->killed != 0 && record->killed == started,
                          .counts = record->killed == 0,
                          .why = {.worker = report->pid}};
    pool->alive--;
    pool->cpu_of_dead += report->cpu_seconds; /* in which the kernel has what it waited for */
    record->pid = 0;
    clear_slot(pool, report->slot, report->id);
    if (pool->end.code != ERROR_NONE)
        return;
    if (state == WORKER_UNABLE) {
        worker_not_started(pool, report->slot, shared->error_number, shared->message);
        return;
    }
    if (state == WORKER_RETIRED) {
        pool->statistics.retired++;
        want_worker(pool, report->slot);
        return;
    }
    describe_death(pool->statistics.last_death, sizeof pool->statistics.last_death, report->pid,
                   report->status);
    memcpy(death.why.message, pool->statistics.last_death, sizeof pool->statistics.last_death);
    const bool held = take_back_chunks(pool, &death);
    settle_finished(pool);
    announce(pool);
    if (state == WORKER_FAILED) {
        end_pool(pool, pool->started ? ERROR_BROKEN : ERROR_TASK, "initializer %s: %s",
                 pool->board->initializer, shared->message);
    } else if (is_restart_storm(pool, held)) {
        end_pool(pool, ERROR_BROKEN, "workers die as fast as they are started: %s",
                 pool->statistics.last_death);
    } else {
        pool->statistics.restarts++;
        want_worker(pool, report->slot);
        ring(pool, SIZE_MAX);
    }
}

/* ---- Starts ---------------------------------------------------------------------------------- */

static void on_start(struct pool *pool, const struct helper_report *report)
{
    struct worker_record *record = &pool->workers[report->slot];
    record->pid = report->pid;
    if (report->error_number == 0)
        return;
    pool->alive--;
    char message[256];
    snprintf(message, sizeof message, "the helper process cannot make it: %s",
             strerrordesc_np(report->error_number));
    worker_not_started(pool, report->slot, report->error_number, message);
}

static void hear_helper(struct pool *pool)
{
    struct helper_report report;
    int got = 0;
    while (pool->helper_socket >= 0 && (got = helper_receive(pool->helper_socket, &report)) == 1) {
        pool->helper_busy = false;
        if (pool->workers[report.slot].id != report.id)
            continue;
        if (report.died)
            on_death(pool, &report);
        else
            on_start(pool, &report);
        announce(pool);
    }
    if (got < 0)
        helper_is_gone(pool);
}

static void start_worker(struct pool *pool, int slot)
{
    struct worker_slot *shared = &pool->board->slots[slot];
    const bool spawn = pool->options.start_method == POOL_SPAWN;
    if (pool->last_id == MAX_ID) {
        end_pool(pool, ERROR_BROKEN, "no worker ids are left");
        return;
    }
    const struct worker_start start = {.board = pool->board,
                                       .slot = slot,
                                       .id = pool->last_id + 1,
                                       .life_fd = pool->life[0],
                                       .event_fd = pool->event_fd};
    atomic_store(&shared->state, WORKER_STARTING);
    const int sent = helper_start_worker(pool->helper_socket, &start, spawn);
    if (sent < 0)
        helper_is_gone(pool);
    pool->helper_busy = sent == 0;
    if (sent == 1) {
        pool->last_id++;
        pool->workers[slot] = (struct worker_record){.id = start.id};
        pool->alive++;
    }
}

double start_missing_workers(struct pool *pool)
{
    double next = INFINITY;
    for (int i = 0; i < pool->options.workers; i++) {
        const struct worker_record *record = &pool->workers[i];
        if (pool->end.code != ERROR_NONE || pool->helper_socket < 0 || pool->helper_busy)
            return next;
        if (!record->wanted)
            continue;
        if (record->not_before <= now())
            start_worker(pool, i);
        else
            next = fmin(next, record->not_before);
    }
    return next;
}

/* ---- Time limits ----------------------------------------------------------------------------- */

/* An initializer that takes too long. Of a replacement it breaks the pool, as one that fails. */
static double keep_initializer_limit(struct pool *pool)
{
    const double limit = pool->options.initializer_time_limit;
    double next = INFINITY;
    if (pool->end.code != ERROR_NONE)
        return next;
    for (int i = 0; limit > 0 && i < pool->options.workers; i++) {
        const uint64_t began = atomic_load(&pool->board->slots[i].initializing);
        if (began == 0)
            continue;
        const double end = 1e-9 * (double)began + limit;
        if (now() >= end)
            end_pool(pool, pool->started ? ERROR_BROKEN : ERROR_TIMEOUT,
                     "initializer %s: not done after %g s", pool->board->initializer, limit);
        next = fmin(next, end);
    }
    return next;
}

/* Returns when the next limit may be over. A task that begins after this look cannot exceed its
 * limit before that long from now. */
static double keep_time_limits(struct pool *pool)
{
    const double soft =
        pool->options.soft_time_limit > 0 ? pool->options.soft_time_limit : INFINITY;
    const double hard =
        pool->options.hard_time_limit > 0 ? pool->options.hard_time_limit : INFINITY;
    if (!pool->board->time_limits || !pool->unfinished)
        return INFINITY;
    const double time = now();
    double next = time + fmin(soft, hard);
    for (int i = 0; i < pool->options.workers; i++) {
        struct worker_slot *slot = &pool->board->slots[i];
        const uint64_t started = atomic_load(&slot->started);
        const double begin = 1e-9 * (double)started;
        if (started == 0 || pool->workers[i].killed == started)
            continue;
        if (time >= begin + hard) {
            if (helper_signal(pool->helper_socket, i, SIGKILL) == 1)
                pool->workers[i].killed = started;
            else
                next = fmin(next, time + 1e-3);
            continue;
        }
        next = fmin(next, begin + hard);
        if (atomic_load(&slot->overdue) == started)
            continue;
        if (time < begin + soft) {
            next = fmin(next, begin + soft);
            continue;
        }
        atomic_store(&slot->overdue, started);
        helper_signal(pool->helper_socket, i, SIGUSR1);
    }
    return next;
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void drain(const struct pool *pool)
{
    uint64_t ignored;
    while (read(pool->event_fd, &ignored, sizeof ignored) > 0)
        ;
}

static bool is_a_worker_new(const struct pool *pool)
{
    for (int i = 0; i < pool->options.workers; i++)
        if (atomic_load(&pool->board->slots[i].state) == WORKER_STARTING)
            return true;
    return false;
}

/* Returns when to look again, INFINITY: only when something is heard. */
static double look(struct pool *pool)
{
    double next = start_missing_workers(pool);
    next = fmin(next, keep_time_limits(pool));
    next = fmin(next, keep_initializer_limit(pool));
    if (pool->options.initializer_time_limit > 0 && next > now() + 0.1 && is_a_worker_new(pool))
        next = now() + 0.1; /* its initializer may begin before anything is heard */
    if (pool->end.code != ERROR_NONE)
        next = fmin(next, fmax(pool->kill_asked + PATIENCE, now() + 0.1));
    if (atomic_load(&pool->board->manager_listens)) {
        find_skipped_chunks(pool);
        next = fmin(next, now() + 0.1);
    }
    return next;
}

static int milliseconds_until(double time)
{
    const double left = ceil(1e3 * (time - now()));
    return left > 1e6 ? -1 : left > 0 ? (int)left : 0;
}

static void *manage(void *argument)
{
    struct pool *pool = argument;
    resources_unbind();
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        drain(pool);
        hear_helper(pool);
        settle_finished(pool);
        if (end_reached(pool))
            break;
        const double next = look(pool);
        struct pollfd waiting[] = {
            {.fd = pool->event_fd, .events = POLLIN},
            {.fd = pool->helper_socket, .events = pool->helper_busy ? POLLIN | POLLOUT : POLLIN}};
        pthread_mutex_unlock(&pool->mutex);
        poll(waiting, 2, milliseconds_until(next));
        pthread_mutex_lock(&pool->mutex);
        if (waiting[1].revents & POLLOUT)
            pool->helper_busy = false;
    }
    for (int i = 0; i < pool->options.workers; i++) /* of those too that died with the helper */
        atomic_store(&pool->board->slots[i].job, NULL);
    stop_own_helper(pool);
    atomic_store(&pool->ended, true);
    announce(pool);
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

int manager_start(struct pool *pool, struct error *error)
{
    errno = thread_start(&pool->manager, manage, pool);
    if (errno != 0)
        return error_set_errno(error, "cannot start the pool's manager thread");
    pool->manager_runs = true;
    return 0;
}
