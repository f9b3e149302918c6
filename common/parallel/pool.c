/* pool.c - a pool is created, closed, waited for and destroyed, and asked what it did. What it
 * consists of is described in internal.h, and made in board.c, startup.c and manager.c. */
#include "common/parallel/descriptors.h"
#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const char *const method_names[] = {"forkserver", "fork", "spawn"};

const char *pool_start_method_name(enum pool_start_method method)
{
    return method_names[method];
}

/* ---- Create --------------------------------------------------------------------------------- */

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
    if (!is_time_limit(options->initializer_time_limit))
        return error_set(error, ERROR_INVALID, "initializer_time_limit %g s: must be 0 to 1e9",
                         options->initializer_time_limit);
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
    if (pool->options.interrupted && *pool->options.interrupted && !ready)
        pool_interrupt(pool);
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
    if (!pool->started && error)
        *error = pool->end;
    return pool->started ? 0 : -1;
}

static int open_descriptors(struct pool *pool, struct error *error)
{
    descriptors_lock();
    pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const int failed = pool->event_fd < 0 || pipe2(pool->life, O_CLOEXEC) != 0 ? errno : 0;
    descriptors_own(pool->event_fd);
    descriptors_own(pool->life[0]);
    descriptors_own(pool->life[1]);
    descriptors_unlock();
    errno = failed;
    return failed ? error_set_errno(error, "cannot create the pool's descriptors") : 0;
}

struct pool *pool_create(const struct pool_options *options, struct error *error)
{
    const double began = now();
    struct pool_options own = options ? *options : (struct pool_options){.workers = 0};
    if (own.workers == 0)
        own.workers = resources_cores();
    options = &own;
    if (startup_check(error) != 0 || check_options(options, error) != 0)
        return NULL;
    struct pool *pool = allocate_pool(options, startup_cores(), error);
    if (!pool)
        return NULL;
    if (set_up_board(pool, error) != 0)
        goto failed;
    if (open_descriptors(pool, error) != 0)
        goto failed;
    fflush(stdout); /* the program's lines come before its tasks' */
    fflush(stderr);
    if (connect_helper(pool, error) != 0 || start_workers(pool, error) != 0)
        goto failed;
    pool->statistics.startup = now() - began;
    return pool;
failed:
    pool_destroy(pool);
    return NULL;
}

/* ---- The end -------------------------------------------------------------------------------- */

void pool_close(struct pool *pool)
{
    if (pool_check(pool, NULL) != 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->closed = true;
    pthread_mutex_unlock(&pool->mutex);
    manager_kick(pool);
}

void pool_close_and_cancel(struct pool *pool)
{
    struct pool_result *previous;
    if (pool_check(pool, NULL) != 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->closed = pool->cancelled = true;
    /* The last first: so none that waits for a place on the board comes to it. */
    for (struct pool_result *result = pool->last_unfinished; result; result = previous) {
        previous = result->previous;
        result_cancel(result);
    }
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

/* A wait_condition. */
static bool all_ended(void *context)
{
    struct pool *pool = context;
    if (!atomic_load(&pool->ended))
        return false;
    pthread_mutex_lock(&pool->mutex);
    const bool ended = !pool->callbacks && !pool->calling;
    pthread_mutex_unlock(&pool->mutex);
    return ended;
}

/* Has the calling thread an iterator that has not come to its end? With the mutex held. */
static bool is_iterating(const struct pool *pool)
{
    for (const struct open_iterator *open = pool->iterators; open; open = open->next)
        if (pthread_equal(atomic_load(&open->thread), pthread_self()))
            return true;
    return false;
}

int pool_join(struct pool *pool, double timeout, struct error *error)
{
    if (pool_check(pool, error) != 0)
        return -1;
    pthread_mutex_lock(&pool->mutex);
    const bool ends = pool->closed || pool->terminated || pool->end.code != ERROR_NONE ||
                      atomic_load(&pool->interrupted);
    const bool inside = in_callback(pool);
    const bool iterating = is_iterating(pool) && !pool->cancelled && !pool->terminated &&
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
    descriptors_close(pool->helper_socket);
    descriptors_close(pool->life[0]);
    descriptors_close(pool->life[1]);
    descriptors_close(pool->event_fd);
    pool->helper_socket = pool->life[0] = pool->life[1] = pool->event_fd = -1;
    pool_unreference(pool);
}

/* ---- What there is to know ------------------------------------------------------------------ */

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
