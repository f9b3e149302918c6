/* worker.c - what a worker process does.
 *
 * Its first thread only waits for the life line to hang up, and then ends the process: so no worker
 * outlives its program, whatever a task is at. Tasks run in a second thread. That looks at every
 * job on the board, claims chunks (one compare-and-swap each), runs them (task.c), and marks them
 * done with one store; where nothing is left it looks again for a moment, if a core is idle, and
 * then sleeps on the bell. Nobody hands out work, and nothing here waits for the program or for
 * another worker. */
#include "common/parallel/worker.h"
#include "common/parallel/base.h"
#include "common/parallel/blas.h"
#include "common/parallel/descriptors.h"
#include "common/parallel/registry.h"
#include "common/parallel/resources.h"
#include "common/parallel/task.h"
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <omp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TASK_STACK  ((size_t)16 << 20)
#define LONGEST_RUN 16 /* chunks: two pairs of cache lines */

struct worker {
    struct worker_start start;
    struct board *board;
    struct worker_slot *slot;
    struct stat event; /* what its event_fd leads to */
    int look_at;       /* on the board, first */
    long chunks_done;
    struct recorder recorder;
};

static int levels = POOL_MAX_NESTING + 1; /* of pools that this process may have */
static pid_t worker_pid;                  /* so that a process forked by a task is not a worker */

int nesting_allowed(void)
{
    return levels;
}

bool is_worker(void)
{
    return worker_pid == getpid();
}

/* ---- Claiming chunks ------------------------------------------------------------------------ */

/* Chunks that a worker is to try next. */
struct run {
    size_t next, end;
};

/* Takes the next chunks from the job's counter. While many are left it takes several neighbours at
 * once, so that workers do not fight for the counter and for cache lines; never more than a small
 * part of its even share of what is left, so that nobody waits for it in the end. */
static bool next_run(const struct worker *worker, struct job *job, struct job_slot *slot,
                     struct run *run)
{
    const size_t count = job->chunk_count;
    const size_t at = atomic_load_explicit(&job->next, memory_order_relaxed);
    if (at >= count)
        return false;
    size_t length = (count - at) / (8 * (size_t)worker->board->workers);
    if (length > LONGEST_RUN)
        length = LONGEST_RUN;
    if (length < 1 || worker->board->maxtasksperchild > 0)
        length = 1;
    run->next = atomic_fetch_add_explicit(&job->next, length, memory_order_relaxed);
    run->end = run->next < count && length < count - run->next ? run->next + length : count;
    atomic_store_explicit(&slot->run, run->next, memory_order_relaxed);
    return run->next < count;
}

/* When the counter is at its end, the chunks that another worker took and has not come to. */
static struct run run_of(const struct job *job, int slot)
{
    const size_t first = atomic_load_explicit(&job->slots[slot].run, memory_order_relaxed);
    return (struct run){first, first + LONGEST_RUN < job->chunk_count ? first + LONGEST_RUN
                                                                      : job->chunk_count};
}

/* Claims a chunk nobody has. The counter only said where to try; the compare-and-swap decides, and
 * it leaves the owner's name in the same store. */
static bool claim(struct job *job, uint32_t id, struct run *run, size_t *claimed)
{
    while (run->next < run->end) {
        const size_t i = run->next++;
        uint32_t nobody = 0;
        if (atomic_load_explicit(&job->chunks[i].owner, memory_order_relaxed) != 0)
            continue; /* without disturbing who works on its neighbours */
        if (atomic_compare_exchange_strong_explicit(&job->chunks[i].owner, &nobody, id,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            *claimed = i;
            return true;
        }
    }
    return false;
}

/* ---- Working on a job ----------------------------------------------------------------------- */

/* A task may close descriptors that are not its own, and then their numbers are others'. (An
 * eventfd that it makes itself just there cannot be told from ours.) */
static void note_identity(struct worker *worker)
{
    if (fstat(worker->start.event_fd, &worker->event) != 0)
        worker->event = (struct stat){0};
}

static bool is_still_there(const struct worker *worker)
{
    struct stat now;
    return fstat(worker->start.event_fd, &now) == 0 && now.st_dev == worker->event.st_dev &&
           now.st_ino == worker->event.st_ino && now.st_mode == worker->event.st_mode;
}

/* Wakes threads of the parent that sleep. The fence orders what was stored before against their
 * flags: either they see our result before they sleep, or we see that they sleep. */
static void tell_parent(struct worker *worker)
{
    struct board *board = worker->board;
    const uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&board->listeners) > 0) {
        atomic_fetch_add(&board->news, 1);
        futex(&board->news, FUTEX_WAKE, INT_MAX, INFINITY);
        counter_add(&worker->slot->wakeups, 1);
    }
    if (atomic_load(&board->manager_listens) && atomic_exchange(&board->manager_listens, 0)) {
        while (is_still_there(worker) && /* else the manager hears of it when it looks again */
               write(worker->start.event_fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
        counter_add(&worker->slot->wakeups, 1);
    }
}

/* Claims and runs the chunks of a run. Returns how many. */
static size_t do_run(struct worker *worker, struct job *job, pool_function *function,
                     struct run run)
{
    const uint32_t id = worker->start.id;
    size_t chunk, done = 0;
    while (claim(job, id, &run, &chunk)) {
        run_chunk(worker->board, worker->start.slot, job, function, chunk, &worker->recorder);
        if (__fpending(stdout) > 0) /* what a task printed is not lost with its worker */
            fflush(stdout);
        counter_add(&worker->slot->chunks_done, 1);
        done++;
        atomic_store_explicit(&job->chunks[chunk].owner, id | CHUNK_DONE, memory_order_release);
    }
    return done;
}

static bool has_served(const struct worker *worker)
{
    return worker->board->maxtasksperchild > 0 &&
           worker->chunks_done >= worker->board->maxtasksperchild;
}

/* The program has registered it after the workers were made, from a plug-in perhaps. */
static int not_found(const void *const *arguments, void *result, struct pool_task *task)
{
    (void)arguments;
    (void)result;
    return pool_task_fail(task, "the worker does not find the function by its name");
}

/* Works on a job until nothing of it is left to begin. Returns how many chunks that was. */
static size_t work_on(struct worker *worker, struct job *job)
{
    const int own = worker->start.slot, slots = job->slot_count;
    struct job_slot *slot = &job->slots[own < slots ? own : 0];
    if (atomic_load_explicit(&job->finished, memory_order_relaxed) == job->chunk_count)
        return 0;
    pool_function *function = pool_find(job->function);
    if (!function)
        function = not_found;
    worker->recorder = (struct recorder){.every = 1};
    uint64_t last = now_ns();
    size_t done = 0, more;
    struct run run;
    int other = 0;
    while (!has_served(worker)) {
        if (!next_run(worker, job, slot, &run)) {
            if (other == slots || slots == 1 || worker->board->maxtasksperchild > 0)
                break;
            run = run_of(job, other++);
        }
        more = do_run(worker, job, function, run);
        if (more == 0)
            continue;
        const uint64_t time = now_ns();
        counter_add(&slot->busy_ns, time - last);
        last = time;
        done += more;
        worker->chunks_done += (long)more;
    }
    return done;
}

/* The last worker to have counted its chunks tells the parent. */
static void count_finished(struct worker *worker, struct job *job, size_t done)
{
    const size_t finished = atomic_fetch_add(&job->finished, done) + done;
    if (finished == job->chunk_count || atomic_load(&job->uncertain))
        tell_parent(worker);
}

/* One look at every job on the board. A job is announced in slot->job before it is touched, and
 * then looked for again, so that the parent never frees one that a worker is looking at. Each look
 * begins where the last one found something, so that every job gets its turn. */
static bool look_for_work(struct worker *worker)
{
    struct board *board = worker->board;
    bool worked = false;
    int i = worker->look_at;
    for (int looks = 0; looks < board->job_slots;
         looks++, i = i + 1 < board->job_slots ? i + 1 : 0) {
        struct job *job = atomic_load_explicit(&board->jobs[i], memory_order_relaxed);
        if (!job)
            continue;
        atomic_store(&worker->slot->job, job);
        if (atomic_load(&board->jobs[i]) == job) {
            const size_t done = work_on(worker, job);
            if (done > 0) {
                worked = true;
                worker->look_at = i;
                count_finished(worker, job, done);
            }
        }
        atomic_store_explicit(&worker->slot->job, NULL, memory_order_release);
        if (has_served(worker))
            break;
    }
    return worked;
}

/* ---- Waiting for work ----------------------------------------------------------------------- */

/* Where a core is idle a worker looks for work for a moment before it sleeps. Its place among the
 * spinning ones carries its id. The parent clears it when it counts on this worker for a job, or
 * when the worker has died there. */
static _Atomic uint32_t *spin_place(struct worker *worker)
{
    struct board *board = worker->board;
    if (board->spin_places == 0)
        return NULL;
    _Atomic uint32_t *place = &board->spinners[worker->start.slot % board->spin_places];
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(place, &nobody, worker->start.id) ? place : NULL;
}

static bool spin(const struct board *board, uint32_t heard)
{
    const double until = now() + SPIN;
    if (sched_getcpu() == atomic_load(&board->waiting_on) && /* it is rung there: not on my core, */
        !resources_is_bound())                               /* unless it was chosen for me */
        resources_place(resources_here() + 1);
    do
        for (int i = 0; i < 64; i++) {
            if (atomic_load_explicit(&board->bell, memory_order_acquire) != heard)
                return true;
            cpu_relax();
        }
    while (now() < until);
    return false;
}

/* Until the bell differs from `heard`: a short while awake where a core is idle, then asleep. */
static void rest(struct worker *worker, uint32_t heard)
{
    struct board *board = worker->board;
    _Atomic uint32_t *place = spin_place(worker);
    if (place) {
        uint32_t own = worker->start.id;
        const bool rung = spin(board, heard);
        atomic_compare_exchange_strong(place, &own, 0);
        if (rung)
            return;
    }
    atomic_store(&worker->slot->parked, 1);
    futex(&board->bell, FUTEX_WAIT, heard, INFINITY); /* at once if the bell has changed */
    atomic_store(&worker->slot->parked, 0);
}

/* ---- The process ---------------------------------------------------------------------------- */

static int initialize(struct worker *worker)
{
    struct board *board = worker->board;
    const void *arguments[] = {board->initializer_argument};
    struct pool_task task = {.own = worker->slot, .worker = worker->start.slot};
    if (board->initializer[0] == '\0')
        return 0;
    pool_function *initializer = pool_find(board->initializer);
    atomic_store(&worker->slot->initializing, now_ns());
    const int failed = (initializer ? initializer : not_found)(arguments, NULL, &task);
    atomic_store(&worker->slot->initializing, 0);
    if (!failed)
        return 0;
    name_failure(&task, failed);
    memcpy(worker->slot->message, task.message, sizeof task.message);
    return failed;
}

/* A task that ends its thread (pthread_exit) would leave a process that lives and does nothing,
 * and a chunk that nobody knows to be lost. */
static void lose_worker(void *unused)
{
    (void)unused;
    _exit(1);
}

/* The worker has done as many chunks as it may. It holds none, so nothing is lost. */
_Noreturn static void retire(struct worker *worker)
{
    atomic_store(&worker->slot->state, WORKER_RETIRED);
    _exit(0);
}

_Noreturn void worker_unable(const struct worker_start *start, const struct error *error)
{
    struct worker_slot *slot = &start->board->slots[start->slot];
    slot->error_number = error->system_errno;
    memcpy(slot->message, error->message, sizeof slot->message);
    atomic_store(&slot->state, WORKER_UNABLE);
    _exit(1);
}

/* SIGUSR1 says that the soft time limit is over. Shared memory has said so already; the signal is
 * for a system call that the task may be in, so it must reach the thread that runs the tasks. */
static pthread_t tasks_run_in;

static void pass_on(int number)
{
    if (!pthread_equal(pthread_self(), tasks_run_in))
        pthread_kill(tasks_run_in, number);
}

/* The thread that runs the tasks. It is a new thread in every worker, because libgomp keeps its
 * thread team in the thread that made it: a forked copy of such a thread would wait for team
 * members that were not forked with it. */
static void *task_thread(void *argument)
{
    struct worker *worker = argument;
    if (worker->board->place)
        resources_place(worker->start.slot);
    if (worker->board->background)
        sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    omp_set_num_threads(worker->board->threads_per_worker);
    blas_set_threads(worker->board->threads_per_worker);

    tasks_run_in = pthread_self();
    pthread_cleanup_push(lose_worker, NULL);
    const bool ready = initialize(worker) == 0;
    atomic_store(&worker->slot->state, ready ? WORKER_READY : WORKER_FAILED);
    tell_parent(worker);
    if (!ready)
        _exit(1); /* the parent hears of it, and breaks the pool */
    for (;;) {
        const uint32_t heard = atomic_load(&worker->board->bell);
        if (look_for_work(worker)) {
            if (has_served(worker))
                retire(worker);
        } else {
            rest(worker, heard);
        }
    }
    pthread_cleanup_pop(0);
    return NULL;
}

/* exit() in a task: the exit handlers that the program has registered are not the worker's, and its
 * standard input is not to be wound back to where the program has read to. */
static void leave_at_once(int status, void *unused)
{
    (void)unused;
    fflush(stdout);
    _exit(status);
}

/* A task that reads it finds its end, and takes nothing away from the program. */
static int close_standard_input(struct error *error)
{
    int ends[2], nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 && pipe(ends) == 0) { /* where a root directory has no devices */
        nothing = ends[0];
        close(ends[1]);
    }
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0)
        return error_set_errno(error, "a worker cannot open /dev/null");
    if (nothing == STDIN_FILENO)
        fcntl(nothing, F_SETFD, 0);
    else
        close(nothing);
    __fpurge(stdin); /* what the program had read ahead */
    clearerr(stdin);
    return 0;
}

static int start_task_thread(struct worker *worker, struct error *error)
{
    pthread_attr_t attributes;
    pthread_t thread;
    errno = pthread_attr_init(&attributes);
    if (errno == 0)
        errno = pthread_attr_setstacksize(&attributes, TASK_STACK);
    if (errno == 0)
        errno = notice_copies();
    if (errno == 0)
        errno = pthread_create(&thread, &attributes, task_thread, worker);
    if (errno == 0)
        return 0;
    if (errno == EAGAIN)
        return error_set_errno(error,
                               "a worker cannot start a thread (limit of processes, ulimit -u, "
                               "or of address space, ulimit -v)");
    return error_set_errno(error, "a worker cannot start a thread");
}

_Noreturn void worker_main(const struct worker_start *start)
{
    struct worker worker = {
        .start = *start, .board = start->board, .slot = &start->board->slots[start->slot]};
    struct pollfd life = {.fd = descriptors_move_away(start->life_fd)};
    const struct sigaction soft_limit = {.sa_handler = pass_on}; /* no SA_RESTART */
    sigset_t usr1;
    struct error error;
    char name[16];

    worker.start.event_fd = descriptors_move_away(start->event_fd);
    descriptors_own(life.fd);
    descriptors_own(worker.start.event_fd);
    note_identity(&worker);
    levels = start->board->nesting;
    worker_pid = getpid();
    timeline_forget();
    snprintf(name, sizeof name, "worker-%d", start->slot);
    prctl(PR_SET_NAME, name);
    if (start->board->time_limits)
        sigaction(SIGUSR1, &soft_limit, NULL);
    on_exit(leave_at_once, NULL);
    if ((!start->board->keep_stdin && close_standard_input(&error) != 0) ||
        start_task_thread(&worker, &error) != 0)
        worker_unable(start, &error);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL); /* it is for the other thread */
    /* Nothing is ever written to the life line: it hangs up when the program closes it, or ends
     * in whatever way. _exit, because the program's exit handlers are not the worker's. */
    while (!(life.revents & (POLLHUP | POLLERR | POLLNVAL)))
        poll(&life, 1, -1);
    _exit(0);
}
