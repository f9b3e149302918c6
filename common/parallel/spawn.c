/* spawn.c - how a fresh copy of the program learns that it is a worker (start method "spawn"): by
 * one environment variable that names its descriptors, its place on the board, and the arenas to
 * map at the addresses that they have in the program. */
#include "common/parallel/arena.h"
#include "common/parallel/worker.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* All its descriptors stay open in the new program. */
int worker_start_to_environment(const struct worker_start *start)
{
    int count;
    const struct arena_place *places = arena_places(&count);
    char text[64 * (2 + MOST_ARENAS)];
    int used = snprintf(text, sizeof text, "%d %d %p %d %u", start->life_fd, start->event_fd,
                        (void *)start->board, start->slot, start->id);
    fcntl(start->life_fd, F_SETFD, 0);
    fcntl(start->event_fd, F_SETFD, 0);
    for (int i = 0; i < count; i++) {
        used += snprintf(text + used, sizeof text - (size_t)used, " %d %p %zu", places[i].fd,
                         places[i].base, places[i].size);
        fcntl(places[i].fd, F_SETFD, 0);
    }
    return setenv(WORKER_ENVIRONMENT, text, 1);
}

static bool attach_arenas(const char *text)
{
    struct arena_place place;
    int used;
    while (sscanf(text, "%d %p %zu%n", &place.fd, &place.base, &place.size, &used) == 3) {
        if (arena_attach(&place) != 0)
            return false;
        fcntl(place.fd, F_SETFD, FD_CLOEXEC);
        text += used;
    }
    return *text == '\0' && arena_place()->fd >= 0;
}

bool worker_start_from_environment(struct worker_start *start)
{
    void *board;
    int used;
    const char *text = getenv(WORKER_ENVIRONMENT);
    if (!text)
        return false;
    if (sscanf(text, "%d %d %p %d %" SCNu32 "%n", &start->life_fd, &start->event_fd, &board,
               &start->slot, &start->id, &used) != 5 ||
        !attach_arenas(text + used))
        _exit(127);
    start->board = board;
    fcntl(start->life_fd, F_SETFD, FD_CLOEXEC);
    fcntl(start->event_fd, F_SETFD, FD_CLOEXEC);
    unsetenv(WORKER_ENVIRONMENT); /* a program that a task starts is not a worker */
    return true;
}
