#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The helper that pool_startup starts. Guarded by the mutex; any pool's manager may find it dead.
 */
static pid_t main_helper; /* 0: none */
static int main_socket = -1;
static int cores;        /* that this process may use, as it started */
static pid_t started_by; /* the process that called pool_startup; 0: none has */
static pthread_mutex_t startup_mutex = PTHREAD_MUTEX_INITIALIZER;

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

/* Ends a helper and all that it has started, and waits for it. */
static void stop_helper(pid_t *helper, int *socket)
{
    if (*socket >= 0) {
        shutdown(*socket, SHUT_RDWR); /* hangs up whoever else has a copy of it */
        close(*socket);
    }
    *socket = -1;
    struct pollfd end = {.fd = *helper > 0 ? pidfd_open(*helper, 0) : -1, .events = POLLIN};
    const double deadline = now() + PATIENCE;
    int ended = 0;
    while (end.fd >= 0 && ended <= 0 && now() < deadline)
        ended = poll(&end, 1, (int)(1e3 * PATIENCE)); /* again after a signal */
    if (end.fd >= 0 && ended <= 0)
        kill(*helper, SIGKILL);
    if (end.fd >= 0)
        close(end.fd);
    if (*helper > 0)
        while (waitpid(*helper, NULL, 0) < 0 && errno == EINTR)
            ;
    *helper = 0;
}

static void stop_main_helper(void)
{
    if (getpid() != started_by) /* a process that was forked for another purpose */
        return;
    pthread_mutex_lock(&startup_mutex);
    stop_helper(&main_helper, &main_socket);
    pthread_mutex_unlock(&startup_mutex);
}

void stop_own_helper(struct pool *pool)
{
    if (pool->options.start_method == POOL_FORK)
        stop_helper(&pool->helper, &pool->helper_socket);
}

/* Its connections hang up one after the other, as the kernel closes them. */
static bool hangs_up(int socket)
{
    struct pollfd waiting = {.fd = socket};
    return socket < 0 || (poll(&waiting, 1, 200) == 1 && (waiting.revents & POLLHUP));
}

bool helper_is_dead(struct pool *pool)
{
    if (pool->options.start_method == POOL_FORK)
        return true; /* it has one connection only; pool_destroy reaps it */
    pthread_mutex_lock(&startup_mutex);
    const bool dead = hangs_up(main_socket);
    if (dead)
        stop_helper(&main_helper, &main_socket);
    pthread_mutex_unlock(&startup_mutex);
    return dead;
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

/* With the mutex held. */
static int start_up(struct error *error)
{
    if (arena_map(error) != 0)
        return -1;
    cores = resources_cores();
    started_by = getpid(); /* before the fork, so that no worker takes itself for the program */
    main_helper = helper_start(&main_socket, error);
    return main_helper > 0 ? 0 : -1;
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
    if (occupy_standard_streams(error) != 0)
        return -1;
    pthread_mutex_lock(&startup_mutex);
    const int status = start_up(error);
    pthread_mutex_unlock(&startup_mutex);
    if (status == 0)
        atexit(stop_main_helper);
    return status;
}

void forget_program(void)
{
    startup_mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* some thread may have held it */
    main_helper = 0;
    main_socket = -1;
}

/* A worker that is allowed to have pools gets a helper and shared memory of its own when it creates
 * the first. The helper ends when the worker does, in whatever way. */
static int start_up_in_worker(struct error *error)
{
    int status = 0;
    pthread_mutex_lock(&startup_mutex);
    if (started_by != getpid())
        status = start_up(error);
    pthread_mutex_unlock(&startup_mutex);
    return status;
}

/* ---- Create --------------------------------------------------------------------------------- */

static int check_process(struct error *error)
{
    if (started_by == 0)
        return error_set(error, ERROR_INVALID, "pool_startup has not been called");
    if (is_worker() && nesting_allowed() == 0)
        return error_set(error, ERROR_INVALID,
                         "a worker of this pool cannot have pools (option nesting)");
    if (started_by != getpid() && !is_worker())
        return error_set(error, ERROR_INVALID,
                         "only the process that called pool_startup can have pools");
    return 0;
}

static bool is_time_limit(double seconds)
{
    return seconds >= 0 && seconds <= 1e9; /* false for NaN */
}

static int check_options(const struct pool_options *options, struct error *error)
{
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
    if (options->maxtasksperchild < 0)
        return error_set(error, ERROR_INVALID, "maxtasksperchild %ld: must be 1 or more, or 0",
                         options->maxtasksperchild);
    if (!is_time_limit(options->soft_time_limit) || !is_time_limit(options->hard_time_limit))
        return error_set(error, ERROR_INVALID,
                         "time limits of %g s (soft), %g s (hard): must be 0 to 1e9",
                         options->soft_time_limit, options->hard_time_limit);
    if (options->nesting < 0 || options->nesting >= nesting_allowed())
        return error_set(error, ERROR_INVALID, "nesting %d: 0 to %d are possible here",
                         options->nesting, nesting_allowed() - 1);
    if (options->initializer &&
        check_registered(options->initializer, "the initializer", error) != 0)
        return -1;
    if (options->initializer_size > 0 && !options->initializer_argument)
        return error_set(error, ERROR_INVALID, "initializer_size without initializer_argument");
    return 0;
}

int pool_check(const struct pool *pool, struct error *error)
{
    if (!pool)
        return error_set(error, ERROR_INVALID, "the pool is NULL");
    if (pool->owner != getpid())
        return error_set(error, ERROR_INVALID, "this pool belongs to another process");
    return 0;
}

static int set_up_initializer(struct pool *pool, struct error *error)
{
    const struct pool_options *options = &pool->options;
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

/* The board and its lists, in one piece of shared memory. */
static int set_up_board(struct pool *pool, struct error *error)
{
    const struct pool_options *options = &pool->options;
    const int workers = options->workers;
    const int job_slots = 2 * workers + 16; /* a job for each worker, and as many to go on with */
    const int spin_places = workers < cores ? workers : cores - 1;
    const size_t jobs_at = sizeof(struct board) + (size_t)workers * sizeof(struct worker_slot);
    struct board *board =
        arena_allocate(jobs_at + (size_t)job_slots * sizeof(struct job *), true, error);
    if (!board)
        return -1;
    board->jobs = (void *)((char *)board + jobs_at);
    board->waiting_on = -1;
    board->workers = workers;
    board->job_slots = job_slots;
    board->spin_places = spin_places < MOST_SPINNING ? spin_places : MOST_SPINNING;
    board->threads_per_worker = options->threads_per_worker ? options->threads_per_worker : 1;
    board->nesting = options->nesting;
    board->maxtasksperchild = options->maxtasksperchild;
    board->time_limits = options->soft_time_limit > 0 || options->hard_time_limit > 0;
    board->background = options->background;
    board->place = workers <= cores;
    pool->board = board;
    pool->free_slots = calloc((size_t)job_slots, sizeof *pool->free_slots);
    if (!pool->free_slots)
        return error_set(error, ERROR_MEMORY, "no memory for a pool");
    while (pool->free_slot_count < job_slots) {
        pool->free_slots[pool->free_slot_count] = job_slots - 1 - pool->free_slot_count;
        pool->free_slot_count++;
    }
    return set_up_initializer(pool, error);
}

static int connect_helper(struct pool *pool, struct error *error)
{
    if (pool->options.start_method == POOL_FORK) {
        pool->helper = helper_start(&pool->helper_socket, error);
    } else {
        pthread_mutex_lock(&startup_mutex);
        pool->helper = main_helper;
        if (main_socket >= 0)
            pool->helper_socket = helper_connect(main_socket, error);
        else
            error_set(error, ERROR_BROKEN, "the pool's helper process is gone");
        pthread_mutex_unlock(&startup_mutex);
    }
    return pool->helper_socket >= 0 ? 0 : -1;
}

/* A wait_condition: are all ready, or does the pool come to its end? */
static bool all_ready(void *context)
{
    struct pool *pool = context;
    bool ready = true;
    pthread_mutex_lock(&pool->mutex);
    for (int i = 0; i < pool->options.workers; i++)
        ready = ready && pool->workers[i].pid != 0 &&
                atomic_load(&pool->board->slots[i].state) == WORKER_READY;
    pool->started = ready;
    ready = ready || atomic_load(&pool->ended);
    pthread_mutex_unlock(&pool->mutex);
    return ready;
}

static int start_workers(struct pool *pool, struct error *error)
{
    for (int i = 0; i < pool->options.workers; i++)
        pool->workers[i].wanted = true;
    pthread_mutex_lock(&pool->mutex);
    const int status = manager_start(pool, error);
    if (status == 0)
        start_missing_workers(pool); /* the helper is at work already while the manager starts */
    pthread_mutex_unlock(&pool->mutex);
    if (status != 0)
        return -1;
    wait_until(pool, all_ready, pool, INFINITY, false);
    if (pool->start_failed) {
        errno = pool->start_failed;
        return error_set_errno(error, "cannot start %d worker processes", pool->options.workers);
    }
    if (!pool->started && error)
        *error = pool->end;
    return pool->started ? 0 : -1;
}

static struct pool *allocate_pool(const struct pool_options *options, struct error *error)
{
    struct pool *pool = calloc(1, sizeof *pool);
    struct worker_record *workers = calloc((size_t)options->workers, sizeof *workers);
    if (!pool || !workers || pthread_mutex_init(&pool->mutex, NULL) != 0 ||
        pthread_cond_init(&pool->callback_condition, NULL) != 0 ||
        pthread_cond_init(&pool->collected, NULL) != 0) {
        error_set(error, ERROR_MEMORY, "no memory for a pool of %d workers", options->workers);
        free(pool);
        free(workers);
        return NULL;
    }
    pool->options = *options;
    pool->workers = workers;
    pool->owner = getpid();
    pool->cores = cores;
    pool->references = 1;
    pool->helper_socket = pool->life[0] = pool->life[1] = pool->event_fd = -1;
    pool->last_callback = &pool->callbacks;
    return pool;
}

struct pool *pool_create(const struct pool_options *options, struct error *error)
{
    const double began = now();
    const struct pool_options usual = {.workers = options ? 1 : resources_cores()};
    if (!options)
        options = &usual;
    if (check_process(error) != 0 || check_options(options, error) != 0 ||
        (is_worker() && start_up_in_worker(error) != 0))
        return NULL;
    struct pool *pool = allocate_pool(options, error);
    if (!pool)
        return NULL;
    if (set_up_board(pool, error) != 0)
        goto failed;
    pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->event_fd < 0 || pipe2(pool->life, O_CLOEXEC) != 0) {
        error_set_errno(error, "cannot create the pool's descriptors");
        goto failed;
    }
    if (connect_helper(pool, error) != 0 || start_workers(pool, error) != 0)
        goto failed;
    pool->statistics.startup = now() - began;
    return pool;
failed:
    pool_destroy(pool);
    return NULL;
}

/* ---- The end --------------------------------------------------------------------------------- */

void pool_close(struct pool *pool)
{
    if (pool_check(pool, NULL) != 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->closed = true;
    pthread_mutex_unlock(&pool->mutex);
    manager_kick(pool);
}

void pool_terminate(struct pool *pool)
{
    if (pool_check(pool, NULL) != 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->terminated = true;
    pthread_mutex_unlock(&pool->mutex);
    manager_kick(pool);
}

void pool_interrupt(struct pool *pool)
{
    const int error_number = errno; /* of what the signal has interrupted */
    atomic_store(&pool->interrupted, true);
    manager_kick(pool);
    errno = error_number;
}

static bool in_callback(const struct pool *pool)
{
    return pool->callback_thread_runs && pthread_equal(pthread_self(), pool->callback_thread);
}

/* A wait_condition. */
static bool all_ended(void *context)
{
    struct pool *pool = context;
    if (!atomic_load(&pool->ended))
        return false;
    pthread_mutex_lock(&pool->mutex);
    const bool ended = !pool->callbacks && !pool->callback_running;
    pthread_mutex_unlock(&pool->mutex);
    return ended;
}

int pool_join(struct pool *pool, double timeout, struct error *error)
{
    if (pool_check(pool, error) != 0)
        return -1;
    pthread_mutex_lock(&pool->mutex);
    const bool ends = pool->closed || pool->terminated || pool->end.code != ERROR_NONE ||
                      atomic_load(&pool->interrupted);
    const bool inside = in_callback(pool);
    const bool iterating = has_unfinished_iterator(pool) && !pool->terminated &&
                           !atomic_load(&pool->interrupted) && pool->end.code == ERROR_NONE;
    pthread_mutex_unlock(&pool->mutex);
    if (!ends)
        return error_set(error, ERROR_INVALID, "pool_join before pool_close or pool_terminate");
    if (inside)
        return error_set(error, ERROR_INVALID, "pool_join in a callback of the pool");
    if (iterating)
        return error_set(error, ERROR_INVALID,
                         "pool_join before the iterator of this thread has come to its end");
    if (wait_until(pool, all_ended, pool, deadline_after(timeout), false))
        return 0;
    return error_set(error, ERROR_TIMEOUT, "the pool has not ended after %g s", timeout);
}

static void end_callback_thread(struct pool *pool)
{
    if (!pool->callback_thread_runs)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->callbacks_end = true;
    pthread_cond_signal(&pool->callback_condition);
    pthread_mutex_unlock(&pool->mutex);
    if (in_callback(pool))
        pthread_detach(pool->callback_thread); /* the pool's memory stays until it ends */
    else
        pthread_join(pool->callback_thread, NULL);
}

void pool_unreference(struct pool *pool)
{
    if (atomic_fetch_sub(&pool->references, 1) > 1)
        return;
    free_retired_jobs(pool);
    for (size_t i = 0; i < pool->slab_count; i++)
        arena_free(pool->slabs[i]);
    arena_free(pool->board);
    arena_free(pool->initializer_copy);
    free(pool->watch_done);
    pthread_cond_destroy(&pool->collected);
    pthread_cond_destroy(&pool->callback_condition);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->slabs);
    free(pool->free_slots);
    free(pool->workers);
    free(pool);
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    if (pool->owner == getpid()) { /* a forked copy of the program has no workers to end */
        pool_terminate(pool);
        if (pool->manager_runs)
            pthread_join(pool->manager, NULL);
        end_callback_thread(pool);
        stop_own_helper(pool); /* where no manager was started */
    }
    const int descriptors[] = {pool->helper_socket, pool->life[0], pool->life[1], pool->event_fd};
    for (int i = 0; i < 4; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    pool->helper_socket = pool->life[0] = pool->life[1] = pool->event_fd = -1;
    pool_unreference(pool);
}

/* ---- What there is to know ------------------------------------------------------------------- */

struct pool_statistics pool_statistics(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct pool_statistics statistics = pool->statistics;
    for (int i = 0; i < pool->options.workers; i++)
        statistics.wakeups += atomic_load(&pool->board->slots[i].wakeups);
    pthread_mutex_unlock(&pool->mutex);
    return statistics;
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
    pthread_mutex_lock(&pool->mutex);
    for (int i = 0; i < pool->options.workers; i++)
        pids[i] = pool->workers[i].pid;
    pthread_mutex_unlock(&pool->mutex);
}

double pool_cpu_seconds(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    double seconds = pool->cpu_of_dead;
    for (int i = 0; i < pool->options.workers; i++) {
        struct timespec used;
        clockid_t clock;
        if (pool->workers[i].pid > 0 && clock_getcpuclockid(pool->workers[i].pid, &clock) == 0 &&
            clock_gettime(clock, &used) == 0)
            seconds += (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
        seconds += 1e-9 * (double)atomic_load(&pool->board->slots[i].outside_ns);
    }
    pthread_mutex_unlock(&pool->mutex);
    return seconds;
}
