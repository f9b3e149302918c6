/* Working memory of a thread, for tasks: it grows, and is used again by the next one. */
#include "common/lesson/lesson.h"
#include "common/lesson/measure/measurement.h"
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* The buffer hangs on a key of the thread and not on a _Thread_local variable, because only a key
 * has a destructor: OpenMP ends threads whenever a team becomes smaller. */
struct scratch {
    size_t bytes;
    _Alignas(64) char memory[];
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int key_error;

static void make_key(void)
{
    key_error = pthread_key_create(&key, free);
}

void *lesson_scratch(size_t bytes)
{
    pthread_once(&once, make_key);
    struct scratch *mine = key_error ? NULL : pthread_getspecific(key);
    if (mine && mine->bytes >= bytes)
        return mine->memory;
    free(mine);
    mine = NULL;
    const size_t needed = sizeof *mine + bytes + 64 - bytes % 64; /* whole lines */
    if (!key_error && needed > bytes)
        mine = aligned_alloc(64, needed);
    if (!mine || pthread_setspecific(key, mine) != 0) {
        fprintf(stderr, "no memory for %zu bytes of scratch in process %d\n", bytes, (int)getpid());
        _exit(1);
    }
    mine->bytes = bytes;
    return mine->memory;
}
