/* descriptors.c - a list of the descriptors that are ours (descriptors.h), and what closes many at
 * once. They are few, so the list is searched from its end. */
#include "common/parallel/descriptors.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static int *owned;
static int owned_count, owned_room;
static bool inherited; /* this process has closed its program's: what is not listed is not ours */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void descriptors_lock(void)
{
    pthread_mutex_lock(&mutex);
}

void descriptors_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

/* Without memory for the list it is left out: then a "fork" worker keeps it, and who waits for its
 * other end to hang up waits for that worker, too. */
void descriptors_own(int fd)
{
    if (fd >= 0 && owned_count == owned_room) {
        const int room = owned_room ? 2 * owned_room : 32;
        int *more = realloc(owned, (size_t)room * sizeof *owned);
        if (more) {
            owned = more;
            owned_room = room;
        }
    }
    if (fd >= 0 && owned_count < owned_room)
        owned[owned_count++] = fd;
}

/* Closed while it is locked, or its number could be another's before it has left the list. */
void descriptors_close(int fd)
{
    bool listed = false;
    if (fd < 0)
        return;
    descriptors_lock();
    for (int i = owned_count; i-- > 0 && !listed;)
        if (owned[i] == fd) {
            owned[i] = owned[--owned_count];
            listed = true;
        }
    if (listed || !inherited)
        close(fd);
    descriptors_unlock();
}

void descriptors_close_own(int keep1, int keep2)
{
    for (int i = 0; i < owned_count; i++)
        if (owned[i] != keep1 && owned[i] != keep2)
            close(owned[i]);
    owned_count = 0;
    inherited = true;
}

void descriptors_forget_lock(void)
{
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

/* Kernels before 5.9, and some sandboxes, have no close_range. */
static void close_from_to(int first, int last)
{
    if (close_range((unsigned)first, (unsigned)last, 0) == 0)
        return;
    const long most = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd <= last && fd < most; fd++)
        close(fd);
}

void descriptors_close_all_but(const int *keep, int count)
{
    int from = 3;
    for (;;) { /* the ranges between the kept ones, in ascending order */
        int next = -1;
        for (int i = 0; i < count; i++)
            if (keep[i] >= from && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next < 0)
            break;
        if (next > from)
            close_from_to(from, next - 1);
        from = next + 1;
    }
    close_from_to(from, INT_MAX);
}

#define USUAL_LIMIT 1024 /* of descriptors: higher numbers would cost the kernel a larger table */
#define DISTANCE    32   /* below it */

int descriptors_move_away(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return fd;
    const int most = limit.rlim_cur < USUAL_LIMIT ? (int)limit.rlim_cur : USUAL_LIMIT;
    const int moved = most > DISTANCE ? fcntl(fd, F_DUPFD_CLOEXEC, most - DISTANCE) : -1;
    if (moved < 0)
        return fd;
    close(fd);
    return moved;
}
