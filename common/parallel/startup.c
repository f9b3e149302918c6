/* startup.c - the program's own helper: started by the first line of main, found dead, ended at
 * exit.
 *
 * All pools with "forkserver" and "spawn" share it, each over a connection of its own; a pool with
 * "fork" has one to itself. Any pool's manager may find it dead, so what is known of it is guarded
 * by a mutex. A copy of the program (fork, and every worker) has no helper: it forgets this one as
 * it is made. */
#include "common/parallel/arena.h"
#include "common/parallel/descriptors.h"
#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static pid_t main_helper; /* 0: none */
static int main_socket = -1;
static int cores;        /* that this process may use, as it started */
static pid_t started_by; /* the process that called pool_startup; 0: none has */
static pthread_mutex_t startup_mutex = PTHREAD_MUTEX_INITIALIZER;

bool pool_is_spawned_worker(void)
{
    return getenv(WORKER_ENVIRONMENT) != NULL;
}

/* ---- Its end -------------------------------------------------------------------------------- */

static void stop_main_helper(void)
{
    if (getpid() != started_by) /* a process that was forked for another purpose */
        return;
    pthread_mutex_lock(&startup_mutex);
    helper_stop(&main_helper, &main_socket);
    pthread_mutex_unlock(&startup_mutex);
}

void stop_own_helper(struct pool *pool)
{
    if (pool->options.start_method == POOL_FORK)
        helper_stop(&pool->helper, &pool->helper_socket);
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
        return true; /* it has one connection only */
    pthread_mutex_lock(&startup_mutex);
    const bool dead = hangs_up(main_socket);
    if (dead)
        helper_stop(&main_helper, &main_socket);
    pthread_mutex_unlock(&startup_mutex);
    return dead;
}

/* ---- Its start ------------------------------------------------------------------------------ */

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

/* In a new process. */
static void forget_program(void)
{
    startup_mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* some thread may have held it */
    main_helper = 0;
    main_socket = -1;
    descriptors_forget_lock();
}

/* With the mutex held. */
static int start_up(struct error *error)
{
    static bool forgotten_at_fork; /* as the handler itself, it is inherited */
    if (!forgotten_at_fork)
        errno = pthread_atfork(NULL, NULL, forget_program);
    if (!forgotten_at_fork && errno != 0)
        return error_set_errno(error, "cannot start the pool's helper");
    forgotten_at_fork = true;
    if (arena_map(error) != 0)
        return -1;
    cores = resources_cores();
    started_by = getpid(); /* before the fork, so that no worker takes itself for the program */
    main_helper = helper_start(&main_socket, false, error);
    return main_helper > 0 ? 0 : -1;
}

int pool_startup(struct error *error)
{
    struct worker_start start;
    if (started_by != 0 && started_by != getpid() && !is_worker())
        return error_set(error, ERROR_INVALID,
                         "pool_startup in a forked copy of a program that has called it: only the "
                         "program itself can have pools");
    if (started_by != 0)
        return 0;
    if (worker_start_from_environment(&start)) {
        struct error why;
        started_by = -1;
        /* To execute a program may have given back what was given up before: root's rights, or
         * those of a file that is set-user-id. */
        if (inherit_take(&start.board->inherited, &why) != 0)
            worker_unable(&start, &why);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
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

int startup_check(struct error *error)
{
    return check_process(error) != 0 || (is_worker() && start_up_in_worker(error) != 0) ? -1 : 0;
}

int startup_cores(void)
{
    return cores;
}

int connect_helper(struct pool *pool, struct error *error)
{
    if (pool->options.start_method == POOL_FORK) {
        pool->helper = helper_start(&pool->helper_socket, true, error);
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
