#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include "common/parallel/shared_memory.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static struct helper main_helper = {.socket = -1};
static struct pool *pools; /* all pools, since one helper reports the deaths of all */
static pid_t started_by;   /* the process that called pool_startup; 0: none has */

static const char *const method_names[] = {"forkserver", "fork", "spawn"};

const char *pool_start_method_name(enum pool_start_method method)
{
    return method_names[method];
}

/* ---- Start-up ------------------------------------------------------------------------------ */

bool pool_is_spawned_worker(void)
{
    return getenv(WORKER_ENVIRONMENT) != NULL;
}

static void stop_main_helper(void)
{
    if (getpid() == started_by) /* not in a process that was forked for another purpose */
        helper_stop(&main_helper);
}

/* A program may be started with standard streams closed; a descriptor of ours must not get their
 * number, or the next printf would go into it. */
static int occupy_standard_streams(struct error *error)
{
    for (int fd = 0; fd < 3; fd++)
        /* cppcheck-suppress leakReturnValNotUsed; it is to stay open */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return error_set_errno(error, "cannot open /dev/null");
    return 0;
}

int pool_startup(struct error *error)
{
    struct worker_start start;
    if (started_by != 0)
        return 0;
    if (worker_start_from_environment(&start)) {
        started_by = -1;
        resources_unbind();
        worker_main(&start);
    }
    if (occupy_standard_streams(error) != 0 || arena_map(error) != 0)
        return -1;
    started_by = getpid(); /* before the fork, so that no worker takes itself for the program */
    if (helper_start(&main_helper, error) != 0)
        return -1;
    atexit(stop_main_helper);
    return 0;
}

/* ---- Deaths -------------------------------------------------------------------------------- */

static void describe_death(char *text, size_t size, pid_t pid, int status)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "worker %d was killed by signal %d (%s)", (int)pid, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "worker %d ended with exit status %d", (int)pid, WEXITSTATUS(status));
}

void ring(struct pool *pool, size_t workers)
{
    struct board *board = pool->board;
    size_t parked = 0;
    atomic_fetch_add(&board->bell, 1);
    for (int i = 0; i < pool->options.workers; i++)
        parked += (size_t)atomic_load(&board->slots[i].parked);
    if (parked == 0)
        return;
    futex(&board->bell, FUTEX_WAKE, (uint32_t)(workers < parked ? workers : parked));
    pool->statistics.wakeups++;
}

static void mark_lost(struct submission *submission, size_t chunk, pid_t pid, const char *how)
{
    if (submission->lost == 0 || chunk < submission->first_lost) {
        submission->first_lost = chunk;
        submission->lost_worker = pid;
        snprintf(submission->lost_how, sizeof submission->lost_how, "%s", how);
    }
    submission->lost++;
    atomic_store(&submission->job->chunks[chunk].owner, CHUNK_LOST);
}

/* Takes back what a dead worker had claimed. It cannot come back, so its claims are ours to
 * change; a chunk that it finished says so and stays. */
static void take_back_chunks(struct pool *pool, uint32_t id, pid_t pid)
{
    struct submission *submission = pool->submission;
    if (!submission)
        return;
    struct job *job = submission->job;
    for (size_t i = submission->scanned; i < job->chunk_count; i++) {
        if (atomic_load(&job->chunks[i].owner) != id)
            continue;
        if (!submission->attempts)
            submission->attempts = calloc(job->chunk_count, 1);
        if (!submission->attempts || submission->attempts[i] >= pool->options.retries) {
            mark_lost(submission, i, pid, pool->statistics.last_death);
            pool->statistics.chunks_lost++;
        } else {
            submission->attempts[i]++;
            pool->statistics.chunks_retried++;
            atomic_store(&job->chunks[i].owner, 0);
        }
    }
    /* Everybody looks from the start again: besides the chunk taken back there may be one that
     * the dead worker had counted past but not yet claimed. */
    atomic_store(&job->next, 0);
}

/* Until the helper has something to say (POLLIN) or can take a request (POLLOUT). */
static void wait_for_helper(struct pool *pool, short events)
{
    struct pollfd wait = {.fd = pool->helper->socket, .events = events};
    poll(&wait, 1, -1);
}

/* Closing the life line has told them to end; this is for one that is stopped or stuck. When the
 * last of them is gone, nobody writes any more into what the caller may be about to free. */
static void kill_workers(struct pool *pool)
{
    while (pool->helper->socket >= 0 && helper_kill(pool->helper, pool->board, -1) == 0) {
        wait_for_helper(pool, POLLIN | POLLOUT);
        hear_helper(pool);
    }
    while (pool->helper->socket >= 0 && pool->alive > 0) {
        wait_for_helper(pool, POLLIN);
        hear_helper(pool);
    }
}

static void break_pool(struct pool *pool, const char *why)
{
    if (pool->broken)
        return;
    pool->broken = true;
    snprintf(pool->why_broken, sizeof pool->why_broken, "%s", why);
    if (pool->life[1] >= 0) /* the workers end themselves, and the helper sees to it */
        close(pool->life[1]);
    pool->life[1] = -1;
    kill_workers(pool);
}

/* A worker that dies as soon as it is started would be replaced for ever. */
static bool is_restart_storm(struct pool *pool)
{
    uint64_t done = 0;
    for (int i = 0; i < pool->options.workers; i++)
        done += atomic_load(&pool->board->slots[i].chunks_done);
    if (done != pool->chunks_done_before)
        pool->deaths_in_a_row = 0;
    pool->chunks_done_before = done;
    pool->deaths_in_a_row++;
    return pool->deaths_in_a_row > 10 + 3 * pool->options.workers;
}

/* Sends for a worker; its pid comes as a report. When it cannot be sent for, the pool is broken. */
static void start_worker(struct pool *pool, int slot)
{
    struct worker_slot *shared = &pool->board->slots[slot];
    const bool spawn = pool->options.start_method == POOL_SPAWN;
    if (pool->last_id == MAX_ID) {
        break_pool(pool, "no worker ids are left");
        return;
    }
    const struct worker_start start = {.board = pool->board,
                                       .slot = slot,
                                       .id = ++pool->last_id,
                                       .life_fd = pool->life[0],
                                       .event_fd = pool->event_fd};
    atomic_store(&shared->id, start.id);
    atomic_store(&shared->state, WORKER_STARTING);
    pool->workers[slot] = (struct worker_record){.id = start.id};
    int sent = 0;
    while (!pool->broken && (sent = helper_start_worker(pool->helper, &start, spawn)) == 0) {
        wait_for_helper(pool, POLLIN | POLLOUT);
        hear_helper(pool);
    }
    if (sent == 1)
        pool->alive++;
    else
        break_pool(pool, "the pool's helper process is gone");
}

static void on_death(struct pool *pool, const struct helper_report *report)
{
    pool->workers[report->slot].pid = 0;
    pool->alive--;
    pool->cpu_of_dead += report->cpu_seconds;
    atomic_store(&pool->board->slots[report->slot].job, NULL);
    atomic_store(&pool->board->slots[report->slot].parked, 0);
    if (pool->closing || pool->broken)
        return;

    describe_death(pool->statistics.last_death, sizeof pool->statistics.last_death, report->pid,
                   report->status);
    take_back_chunks(pool, report->id, report->pid);
    if (atomic_load(&pool->board->slots[report->slot].state) == WORKER_FAILED) {
        char why[sizeof pool->why_broken];
        snprintf(why, sizeof why, "initializer %.40s: %.70s", pool->board->initializer,
                 pool->board->slots[report->slot].message);
        break_pool(pool, why);
        return;
    }
    if (is_restart_storm(pool)) {
        char why[sizeof pool->why_broken];
        snprintf(why, sizeof why, "workers die as fast as they are started: %.80s",
                 pool->statistics.last_death);
        break_pool(pool, why);
        return;
    }
    pool->statistics.restarts++;
    start_worker(pool, report->slot);
    if (!pool->broken)
        ring(pool, SIZE_MAX);
}

/* With some workers missing the others do the work; with none the pool is broken. */
static void on_start(struct pool *pool, const struct helper_report *report)
{
    pool->workers[report->slot].pid = report->pid;
    if (report->error_number == 0)
        return;
    pool->start_failed = report->error_number;
    pool->workers[report->slot] = (struct worker_record){0};
    if (--pool->alive == 0 && !pool->closing) {
        char why[sizeof pool->why_broken];
        snprintf(why, sizeof why, "cannot start a worker process: %s",
                 strerror(report->error_number));
        break_pool(pool, why);
    }
}

void hear_helper(struct pool *pool)
{
    struct helper_report report;
    int got;
    while ((got = helper_receive(pool->helper, &report)) == 1) {
        struct pool *about = pools; /* one helper serves all pools but those made by fork */
        while (about && about->board != report.board)
            about = about->next;
        if (!about || about->workers[report.slot].id != report.id)
            continue;
        if (report.died)
            on_death(about, &report);
        else
            on_start(about, &report);
    }
    if (got < 0) {
        helper_stop(pool->helper);
        pool->alive = 0; /* the kernel kills the workers of a dead helper */
        break_pool(pool, "the pool's helper process is gone");
    }
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* Looks again for a moment where a core is idle, then sleeps until a worker or the helper has
 * something to say. */
void wait_until(struct pool *pool, pool_condition *reached)
{
    struct board *board = pool->board;
    double spin_until = board->spin > 0 ? now() + board->spin : 0;
    for (;;) {
        if (reached(pool) || pool->broken)
            return;
        if (spin_until > 0 && now() < spin_until)
            continue;
        atomic_store(&board->parent_parked, 1);
        atomic_thread_fence(memory_order_seq_cst);
        if (reached(pool)) {
            atomic_store(&board->parent_parked, 0);
            return;
        }
        struct pollfd waiting[] = {{.fd = pool->event_fd, .events = POLLIN},
                                   {.fd = pool->helper->socket, .events = POLLIN}};
        const int ready = poll(waiting, 2, -1);
        atomic_store(&board->parent_parked, 0);
        if (ready <= 0)
            continue;
        if (waiting[0].revents) {
            uint64_t count;
            if (read(pool->event_fd, &count, sizeof count) == (ssize_t)sizeof count)
                pool->statistics.wakeups += count;
        }
        if (waiting[1].revents)
            hear_helper(pool);
    }
}

static bool all_ready(struct pool *pool)
{
    bool ready = true;
    for (int i = 0; i < pool->options.workers; i++) {
        const int state = atomic_load(&pool->board->slots[i].state);
        if (state == WORKER_FAILED || pool->start_failed)
            return true;
        ready = ready && state == WORKER_READY && pool->workers[i].pid != 0;
    }
    return ready;
}

/* ---- Create and destroy -------------------------------------------------------------------- */

static int check_options(const struct pool_options *options, struct error *error)
{
    if (!options)
        return error_set(error, ERROR_INVALID, "the pool's options are NULL");
    if (started_by == 0)
        return error_set(error, ERROR_INVALID, "pool_startup has not been called");
    if (started_by != getpid())
        return error_set(
            error, ERROR_INVALID,
            "only the process that called pool_startup can have pools, a worker cannot");
    if (options->workers < 1 || options->workers > POOL_MAX_WORKERS)
        return error_set(error, ERROR_INVALID, "a pool of %d workers: 1 to %d are possible",
                         options->workers, POOL_MAX_WORKERS);
    if ((int)options->start_method < POOL_FORKSERVER || options->start_method > POOL_SPAWN)
        return error_set(error, ERROR_INVALID, "start method %d is not known",
                         (int)options->start_method);
    if (options->threads_per_worker < 0 || options->retries < 0 || options->retries > 255)
        return error_set(error, ERROR_INVALID,
                         "threads_per_worker %d, retries %d: must be 0 to any, 0 to 255",
                         options->threads_per_worker, options->retries);
    if (options->initializer &&
        check_registered(options->initializer, "the initializer", error) != 0)
        return -1;
    if (options->initializer_size > 0 && !options->initializer_argument)
        return error_set(error, ERROR_INVALID, "initializer_size without initializer_argument");
    return 0;
}

static int set_up_board(struct pool *pool, struct error *error)
{
    const struct pool_options *options = &pool->options;
    const size_t slots = (size_t)options->workers * sizeof(struct worker_slot);
    pool->board = arena_allocate(sizeof *pool->board + slots, true, error);
    if (!pool->board)
        return -1;
    pool->board->workers = options->workers;
    pool->board->threads_per_worker = options->threads_per_worker ? options->threads_per_worker : 1;
    const int cores = resources_cores();
    pool->board->spin = options->workers < cores ? SPIN : 0;
    pool->board->place = options->workers <= cores;
    if (!options->initializer)
        return 0;
    snprintf(pool->board->initializer, NAME_LENGTH, "%s", pool_name(options->initializer));
    if (options->initializer_size == 0)
        return 0;
    pool->initializer_copy = arena_allocate(options->initializer_size, false, error);
    if (!pool->initializer_copy)
        return -1;
    memcpy(pool->initializer_copy, options->initializer_argument, options->initializer_size);
    pool->board->initializer_argument = pool->initializer_copy;
    return 0;
}

static int start_workers(struct pool *pool, struct error *error)
{
    for (int i = 0; i < pool->options.workers && !pool->broken; i++)
        start_worker(pool, i);
    wait_until(pool, all_ready);
    if (pool->start_failed) {
        errno = pool->start_failed;
        return error_set_errno(error, "cannot start %d worker processes", pool->options.workers);
    }
    for (int i = 0; i < pool->options.workers; i++)
        if (atomic_load(&pool->board->slots[i].state) == WORKER_FAILED)
            return error_set(error, ERROR_TASK, "initializer %s: %s", pool->board->initializer,
                             pool->board->slots[i].message);
    if (pool->broken)
        return error_set(error, ERROR_BROKEN, "%s", pool->why_broken);
    return 0;
}

struct pool *pool_create(const struct pool_options *options, struct error *error)
{
    const double started = now();
    if (check_options(options, error) != 0)
        return NULL;
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        error_set(error, ERROR_MEMORY, "no memory for a pool");
        return NULL;
    }
    pool->options = *options;
    pool->owner = getpid();
    pool->life[0] = pool->life[1] = pool->event_fd = -1;
    pool->own_helper.socket = -1;
    pool->helper = &main_helper;
    pool->next = pools;
    pools = pool;

    pool->workers = calloc((size_t)options->workers, sizeof *pool->workers);
    pool->retired = calloc((size_t)options->workers + 1, sizeof(struct job *));
    if (!pool->workers || !pool->retired) {
        error_set(error, ERROR_MEMORY, "no memory for %d workers", options->workers);
        goto failed;
    }
    if (set_up_board(pool, error) != 0)
        goto failed;
    pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->event_fd < 0 || pipe2(pool->life, O_CLOEXEC) != 0) {
        error_set_errno(error, "cannot create the pool's descriptors");
        goto failed;
    }
    if (options->start_method == POOL_FORK) {
        if (helper_start(&pool->own_helper, error) != 0)
            goto failed;
        pool->helper = &pool->own_helper;
    }
    if (pool->helper->socket < 0) {
        error_set(error, ERROR_BROKEN, "the pool's helper process is gone");
        goto failed;
    }
    if (start_workers(pool, error) != 0)
        goto failed;
    pool->statistics.startup = now() - started;
    return pool;
failed:
    pool_destroy(pool);
    return NULL;
}

/* Workers end when their life line hangs up; one that is stopped or stuck is killed. */
static void end_workers(struct pool *pool)
{
    pool->closing = true;
    if (pool->life[1] >= 0)
        close(pool->life[1]);
    pool->life[1] = -1;
    if (pool->helper->socket >= 0 && pool->alive > 0) {
        kill_workers(pool);
    }
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    if (pool->owner == getpid()) { /* a forked copy of the program has no workers to end */
        if (pool->board)
            end_workers(pool);
        helper_stop(&pool->own_helper);
    }
    for (struct pool **link = &pools; *link; link = &(*link)->next)
        if (*link == pool) {
            *link = pool->next;
            break;
        }
    for (int i = 0; pool->retired && i <= pool->options.workers; i++)
        arena_free(pool->retired[i]);
    free(pool->retired);
    arena_free(pool->initializer_copy);
    arena_free(pool->board);
    if (pool->life[0] >= 0)
        close(pool->life[0]);
    if (pool->event_fd >= 0)
        close(pool->event_fd);
    free(pool->workers);
    free(pool);
}

/* ---- What there is to know ----------------------------------------------------------------- */

struct pool_statistics pool_statistics(struct pool *pool)
{
    return pool->statistics;
}

int pool_workers(const struct pool *pool)
{
    return pool->options.workers;
}

enum pool_start_method pool_start_method(const struct pool *pool)
{
    return pool->options.start_method;
}

void pool_pids(struct pool *pool, pid_t *pids)
{
    for (int i = 0; i < pool->options.workers; i++)
        pids[i] = pool->workers[i].pid;
}

double pool_cpu_seconds(struct pool *pool)
{
    double seconds = pool->cpu_of_dead;
    for (int i = 0; i < pool->options.workers; i++) {
        struct timespec used;
        clockid_t clock;
        if (pool->workers[i].pid > 0 && clock_getcpuclockid(pool->workers[i].pid, &clock) == 0 &&
            clock_gettime(clock, &used) == 0)
            seconds += (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
    }
    return seconds;
}
