/* arena.h - the shared memory, mapped at one address in every process. */
#ifndef PARALLEL_ARENA_H
#define PARALLEL_ARENA_H

#include "common/error.h"
#include "common/parallel/pool.h"
#include <stdbool.h>
#include <stddef.h>

struct arena_place { /* how a fresh copy of the program finds the arena */
    int fd;
    void *base;
    size_t size;
};

int arena_map(struct error *error);
int arena_attach(const struct arena_place *of_parent);
const struct arena_place *arena_place(void); /* fd -1: not mapped */

/* A worker that has pools of its own has an arena beside that of the program, and so on: all that
 * are mapped here, the innermost, arena_place, last. */
#define MOST_ARENAS (POOL_MAX_NESTING + 1)
const struct arena_place *arena_places(int *count);

/* Whole pages, for the process that called arena_map only; zeroed if asked for. */
void *arena_allocate(size_t bytes, bool zeroed, struct error *error);
void arena_free(void *memory);

/* Addresses without memory behind them, which comes where they are touched; at its beginning
 * zeroed. For what nobody knows the size of. Freed by arena_free, and its memory with it. */
void *arena_allocate_range(size_t bytes, struct error *error);

/* From now on other programs may hold locks on this memory (F_OFD_SETLK, a read lock through a
 * descriptor that they opened). Freed with such a lock on it, it is not used again before that is
 * gone. */
void arena_mark_published(const void *memory);

#endif
