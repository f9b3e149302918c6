/* board.c - a pool's memory: its board, which the workers see, and what only the program sees. It
 * is freed with the last reference: the program's, that of each result and iterator, the callback
 * thread's. */
#include "common/parallel/internal.h"
#include <stdlib.h>
#include <unistd.h>

int pool_check(const struct pool *pool, struct error *error)
{
    if (!pool)
        return error_set(error, ERROR_INVALID, "the pool is NULL");
    if (pool->owner != getpid())
        return error_set(error, ERROR_INVALID, "this pool belongs to another process");
    return 0;
}

int check_open(const struct pool *pool, bool even_closed, struct error *error)
{
    if (pool->end.code != ERROR_NONE) {
        if (error)
            *error = pool->end;
        return -1;
    }
    if (atomic_load(&pool->interrupted))
        return error_set(error, ERROR_INTERRUPTED, "the pool was interrupted");
    if (pool->terminated || pool->cancelled || (pool->closed && !even_closed))
        return error_set(error, ERROR_CLOSED, "the pool was closed");
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
int set_up_board(struct pool *pool, struct error *error)
{
    const struct pool_options *options = &pool->options;
    const int workers = options->workers;
    const int cores = pool->cores;
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
    board->keep_stdin = options->keep_stdin;
    board->keep_descriptors = options->start_method == POOL_FORK;
    inherit_note(&board->inherited);
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

struct pool *allocate_pool(const struct pool_options *options, int cores, struct error *error)
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

bool in_callback(const struct pool *pool)
{
    return atomic_load(&pool->callback_thread_runs) &&
           pthread_equal(pthread_self(), atomic_load(&pool->callback_thread));
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
