#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <omp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TASK_STACK ((size_t)16 << 20)

/* The task thread's view of a call. */
struct pool_task {
    size_t index;
    char message[sizeof((struct error *)0)->message];
};

struct worker {
    struct worker_start start;
    struct board *board;
    struct worker_slot *slot;
};

long futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    return syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- Registered functions ------------------------------------------------------------------ */

static struct pool_registered *registered_functions;

void pool_register(struct pool_registered *registered, const char *name, pool_function *function)
{
    *registered =
        (struct pool_registered){.name = name, .function = function, .next = registered_functions};
    registered_functions = registered;
}

pool_function *pool_find(const char *name)
{
    for (const struct pool_registered *r = registered_functions; r; r = r->next)
        if (strcmp(r->name, name) == 0)
            return r->function;
    return NULL;
}

const char *pool_name(pool_function *function)
{
    for (const struct pool_registered *r = registered_functions; r; r = r->next)
        if (r->function == function)
            return r->name;
    return NULL;
}

int check_registered(pool_function *function, const char *what, struct error *error)
{
    const char *name = pool_name(function);
    if (!name)
        return error_set(error, ERROR_UNREGISTERED,
                         "%s was not registered with POOL_TASK: no other process could find it by "
                         "name",
                         what);
    if (strlen(name) >= NAME_LENGTH)
        return error_set(error, ERROR_INVALID, "%s: the name %.40s... is too long", what, name);
    if (pool_find(name) != function) /* static functions of two files, for example */
        return error_set(error, ERROR_INVALID, "%s: two functions are registered as %s", what,
                         name);
    return 0;
}

/* ---- Running tasks ------------------------------------------------------------------------- */

size_t pool_task_index(const struct pool_task *task)
{
    return task->index;
}

int pool_task_fail(struct pool_task *task, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(task->message, sizeof task->message, format, arguments);
    va_end(arguments);
    return -1;
}

static void note_error(struct job_slot *slot, const struct pool_task *task)
{
    const uint32_t current = atomic_load_explicit(&slot->current, memory_order_relaxed);
    if (current != 0 && slot->errors[current - 1].index <= task->index)
        return;
    const uint32_t other = current == 1 ? 2 : 1;
    slot->errors[other - 1].index = task->index;
    memcpy(slot->errors[other - 1].message, task->message, sizeof task->message);
    atomic_store_explicit(&slot->current, other, memory_order_release);
}

static const void *element(const struct pool_column *column, size_t i)
{
    const char *data = column->data;
    if (column->constant)
        return data;
    return data + (column->offsets ? column->offsets[i] : i * column->size);
}

/* The tasks of one chunk, until one fails: as in Python that ends its chunk. Returns how many
 * were completed. */
static uint32_t run_chunk(const struct job *job, struct job_slot *slot, pool_function *function,
                          size_t chunk)
{
    const size_t first = chunk * job->chunksize;
    const size_t end = chunk + 1 == job->chunk_count ? job->tasks : first + job->chunksize;
    const void *arguments[POOL_MAX_COLUMNS];
    struct pool_task task = {.message = ""};

    for (size_t i = first; i < end; i++) {
        for (size_t c = 0; c < job->column_count; c++)
            arguments[c] = element(&job->columns[c], i);
        char *result = job->results.data;
        if (result)
            result += job->results.offsets ? job->results.offsets[i] : i * job->results.size;
        task.index = i;
        const int failed = function(arguments, result, &task);
        if (failed) {
            if (task.message[0] == '\0')
                snprintf(task.message, sizeof task.message, "returned %d", failed);
            note_error(slot, &task);
            return (uint32_t)(i - first);
        }
    }
    return (uint32_t)(end - first);
}

/* Claims a chunk nobody has. The counter only says where to try; the compare-and-swap decides,
 * and it leaves the owner's name in the same store. */
static bool claim(struct job *job, uint32_t id, size_t *claimed)
{
    while (atomic_load_explicit(&job->next, memory_order_relaxed) < job->chunk_count) {
        const size_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        uint32_t nobody = 0;
        if (i >= job->chunk_count)
            return false;
        if (atomic_compare_exchange_strong_explicit(&job->chunks[i].owner, &nobody, id,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            *claimed = i;
            return true;
        }
    }
    return false;
}

/* One writer, so that loading and storing is enough. */
static void add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

/* Claims and runs chunks of one job until there are none. Were there any? */
static bool work_on(struct worker *worker, struct job *job)
{
    struct job_slot *slot = &job->slots[worker->start.slot];
    const uint32_t id = worker->start.id;
    pool_function *function = NULL;
    double last = 0;
    size_t chunk;

    while (claim(job, id, &chunk)) {
        if (!function) {
            last = now();
            function = pool_find(job->function);
        }
        job->chunks[chunk].completed = run_chunk(job, slot, function, chunk);
        if (__fpending(stdout) > 0) /* what a task printed is not lost with its worker */
            fflush(stdout);
        const double time = now();
        add(&slot->busy_ns, (uint64_t)((time - last) * 1e9));
        add(&worker->slot->chunks_done, 1);
        last = time;
        atomic_store_explicit(&job->chunks[chunk].owner, id | CHUNK_DONE, memory_order_release);
    }
    return function != NULL;
}

/* Wakes the parent if it sleeps. The fence orders what was stored before against the parent's
 * flag: either the parent sees our result before it sleeps, or we see that it sleeps. */
static void tell_parent(struct worker *worker)
{
    const uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&worker->board->parent_parked, memory_order_relaxed) &&
        atomic_exchange(&worker->board->parent_parked, 0))
        while (write(worker->start.event_fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
}

/* One look at every job on the board. A job is announced in slot->job before it is touched, and
 * then looked for again, so that the parent never frees one that a worker is looking at. */
static bool look_for_work(struct worker *worker)
{
    bool worked = false;
    for (int i = 0; i < JOB_SLOTS; i++) {
        struct job *job = atomic_load(&worker->board->jobs[i]);
        if (!job)
            continue;
        atomic_store(&worker->slot->job, job);
        if (atomic_load(&worker->board->jobs[i]) == job && work_on(worker, job))
            worked = true;
        atomic_store_explicit(&worker->slot->job, NULL, memory_order_release);
    }
    return worked;
}

/* Until the bell differs from `heard`: a short while awake where a core is idle, then asleep. */
static void rest(struct worker *worker, uint32_t heard)
{
    struct board *board = worker->board;
    if (board->spin > 0) {
        const double until = now() + board->spin;
        do
            for (int i = 0; i < 64; i++) {
                if (atomic_load_explicit(&board->bell, memory_order_acquire) != heard)
                    return;
#ifdef __x86_64__
                __builtin_ia32_pause();
#endif
            }
        while (now() < until);
    }
    atomic_store(&worker->slot->parked, 1);
    futex(&board->bell, FUTEX_WAIT, heard); /* returns at once if the bell has changed */
    atomic_store(&worker->slot->parked, 0);
}

static int initialize(struct worker *worker)
{
    struct board *board = worker->board;
    const void *arguments[] = {board->initializer_argument};
    struct pool_task task = {.message = ""};
    if (board->initializer[0] == '\0')
        return 0;
    const int failed = pool_find(board->initializer)(arguments, NULL, &task);
    if (failed && task.message[0] == '\0')
        snprintf(task.message, sizeof task.message, "returned %d", failed);
    if (failed)
        memcpy(worker->slot->message, task.message, sizeof task.message);
    return failed;
}

/* Only present when the program uses OpenBLAS. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));

/* A task that ends its thread (pthread_exit) would leave a process that lives and does nothing,
 * and a chunk that nobody knows to be lost. */
static void lose_worker(void *unused)
{
    (void)unused;
    _exit(1);
}

/* The thread that runs the tasks. It is a new thread in every worker, because libgomp keeps its
 * thread team in the thread that made it: a forked copy of such a thread would wait for team
 * members that were not forked with it. */
static void *task_thread(void *argument)
{
    struct worker *worker = argument;
    if (worker->board->place)
        resources_place(worker->start.slot);
    omp_set_num_threads(worker->board->threads_per_worker);
    if (openblas_set_num_threads)
        openblas_set_num_threads(worker->board->threads_per_worker);

    const bool ready = initialize(worker) == 0;
    atomic_store(&worker->slot->state, ready ? WORKER_READY : WORKER_FAILED);
    tell_parent(worker);
    if (!ready)
        _exit(1); /* the parent hears of it, and breaks the pool */
    pthread_cleanup_push(lose_worker, NULL);
    for (;;) {
        const uint32_t heard = atomic_load(&worker->board->bell);
        if (look_for_work(worker))
            tell_parent(worker);
        else
            rest(worker, heard);
    }
    pthread_cleanup_pop(0);
    return NULL;
}

_Noreturn void worker_main(const struct worker_start *start)
{
    struct worker worker = {
        .start = *start, .board = start->board, .slot = &start->board->slots[start->slot]};
    struct pollfd life = {.fd = start->life_fd};
    pthread_attr_t attributes;
    pthread_t thread;
    char name[16];

    snprintf(name, sizeof name, "worker-%d", start->slot);
    prctl(PR_SET_NAME, name);
    if (pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstacksize(&attributes, TASK_STACK) != 0 ||
        pthread_create(&thread, &attributes, task_thread, &worker) != 0)
        _exit(1);
    /* Nothing is ever written to the life line: it hangs up when the program closes it, or ends
     * in whatever way. _exit, because the program's exit handlers are not the worker's. */
    while (!(life.revents & (POLLHUP | POLLERR | POLLNVAL)))
        poll(&life, 1, -1);
    _exit(0);
}

/* ---- A fresh copy of the program ----------------------------------------------------------- */

int worker_start_to_environment(const struct worker_start *start)
{
    const struct arena_place *place = arena_place();
    char text[256];
    snprintf(text, sizeof text, "%d %d %d %p %zu %p %d %u", start->life_fd, start->event_fd,
             place->fd, place->base, place->size, (void *)start->board, start->slot, start->id);
    return setenv(WORKER_ENVIRONMENT, text, 1);
}

bool worker_start_from_environment(struct worker_start *start)
{
    struct arena_place place;
    void *board;
    const char *text = getenv(WORKER_ENVIRONMENT);
    if (!text)
        return false;
    if (sscanf(text, "%d %d %d %p %zu %p %d %" SCNu32, &start->life_fd, &start->event_fd, &place.fd,
               &place.base, &place.size, &board, &start->slot, &start->id) != 8 ||
        arena_attach(&place) != 0)
        _exit(127);
    start->board = board;
    fcntl(start->life_fd, F_SETFD, FD_CLOEXEC);
    fcntl(start->event_fd, F_SETFD, FD_CLOEXEC);
    fcntl(place.fd, F_SETFD, FD_CLOEXEC);
    unsetenv(WORKER_ENVIRONMENT); /* a program that a task starts is not a worker */
    return true;
}
