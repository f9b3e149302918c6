/* loader_threads.c - threads that load batches.
 *
 * There is no queue and no lock: a thread looks through the slots for the batch that comes first of
 * those that have parts nobody has taken, and takes one by one atomic subtraction. What it finds
 * may be out of date, but the part it gets is not: whether there was one, and which, is in the one
 * number that it counts down, and a slot is described before this rises above 0 again. */
#include "common/parallel/loader_internal.h"
#include <linux/futex.h>
#include <math.h>
#include <sched.h>

static struct slot *find_work(const struct loader *loader)
{
    struct slot *found = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < loader->slot_count; i++) {
        struct slot *slot = &loader->slots[i];
        const size_t number = atomic_load_explicit(&slot->number, memory_order_relaxed);
        if (atomic_load_explicit(&slot->unclaimed, memory_order_relaxed) > 0 && number < least) {
            found = slot;
            least = number;
        }
    }
    return found;
}

/* Sleeping threads are woken one at a time, by the program and then by each other: to wake a
 * thread takes longer than all else that the program does here. */
void wake_one(struct loader *loader)
{
    if (atomic_load(&loader->idle) > 0)
        futex(&loader->bell, FUTEX_WAKE, 1, INFINITY);
}

static void note_error(struct loader *loader, struct slot *slot, const struct error *error)
{
    pthread_mutex_lock(&loader->mutex);
    if (slot->error.code == ERROR_NONE || error->task < slot->error.task)
        slot->error = *error;
    pthread_mutex_unlock(&loader->mutex);
}

static void load_part(struct loader *loader, struct slot *slot, size_t part)
{
    struct error error;
    const size_t first = part * slot->chunksize, left = slot->count - first;
    gil_take(loader->options.gil);
    const uint64_t begin = now_ns();
    load_samples(loader, slot, first, first + (left < slot->chunksize ? left : slot->chunksize),
                 &error);
    atomic_fetch_add_explicit(&slot->busy_ns, now_ns() - begin, memory_order_relaxed);
    gil_give(loader->options.gil);
    if (error.code != ERROR_NONE)
        note_error(loader, slot, &error);
    if (atomic_fetch_sub(&slot->uncompleted, 1) > 1)
        return;
    atomic_store(&slot->state, LOADED);
    if (atomic_load(&loader->listening)) {
        atomic_fetch_add(&loader->news, 1);
        futex(&loader->news, FUTEX_WAKE, 1, INFINITY);
    }
}

static void *load_batches(void *argument)
{
    struct loader *loader = argument;
    /* A batch thread that is woken does not take the core from the one that woke it: the program
     * goes on, to where it waits for something else. */
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    for (;;) {
        const uint32_t heard = atomic_load(&loader->bell);
        if (atomic_load(&loader->stop)) /* after the bell, or who rings in between is not heard */
            break;
        struct slot *slot = find_work(loader);
        if (!slot) {
            atomic_fetch_add(&loader->idle, 1);
            futex(&loader->bell, FUTEX_WAIT, heard, INFINITY); /* at once if it has changed */
            atomic_fetch_sub(&loader->idle, 1);
            continue;
        }
        const int64_t left = atomic_fetch_sub(&slot->unclaimed, 1);
        if (left <= 0)
            continue;
        if (find_work(loader))
            wake_one(loader);
        load_part(loader, slot, slot->parts - (size_t)left);
    }
    return NULL;
}

void stop_threads(struct loader *loader)
{
    atomic_store(&loader->stop, true);
    atomic_fetch_add(&loader->bell, 1);
    futex(&loader->bell, FUTEX_WAKE, INT32_MAX, INFINITY);
    for (int i = 0; i < loader->thread_count; i++)
        pthread_join(loader->threads[i], NULL);
    loader->thread_count = 0;
    atomic_store(&loader->stop, false);
}

int start_threads(struct loader *loader, struct error *error)
{
    for (; loader->thread_count < loader->options.workers; loader->thread_count++) {
        errno = thread_start(&loader->threads[loader->thread_count], load_batches, loader);
        if (errno == 0)
            continue;
        error_set_errno(error, "cannot start %d threads", loader->options.workers);
        stop_threads(loader);
        return -1;
    }
    return 0;
}

void submit_to_threads(struct loader *loader, struct slot *slot)
{
    atomic_store(&slot->uncompleted, (int64_t)slot->parts);
    atomic_store(&slot->unclaimed, (int64_t)slot->parts); /* from here on it can be claimed */
    atomic_fetch_add(&loader->bell, 1);
}

void wait_for_threads(struct loader *loader, wait_condition *reached, void *context,
                      double deadline)
{
    const double spin_end = loader->spin ? fmin(now() + SPIN, deadline) : 0;
    while (now() < spin_end) {
        if (reached(context))
            return;
        cpu_relax();
    }
    atomic_store(&loader->listening, 1); /* before it looks: what is loaded later is heard */
    atomic_thread_fence(memory_order_seq_cst);
    for (;;) {
        const uint32_t heard = atomic_load(&loader->news);
        const double left = deadline - now();
        if (reached(context) || left <= 0)
            break;
        futex(&loader->news, FUTEX_WAIT, heard, left);
    }
    atomic_store(&loader->listening, 0);
}
