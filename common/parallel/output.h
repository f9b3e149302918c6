/* output.h - results that grow while a task is at work (pool_task_append).
 *
 * A heap is a range of the arena behind which there is no memory yet, of which workers take blocks
 * by one atomic addition; memory comes with the first touch. What one task gives is a chain of
 * blocks. A task that dies leaves blocks that nobody comes to; they go with the heap.
 */
#ifndef PARALLEL_OUTPUT_H
#define PARALLEL_OUTPUT_H

#include "common/parallel/pool.h"
#include <stddef.h>

struct heap;

/* What a task's result is: where its first block is, and how many bytes there are in all. */
struct output {
    size_t first, size;
};

/* The program's: as large as there is room, within reason. heap_free: NULL is allowed. */
struct heap *heap_create(struct error *error);
void heap_free(struct heap *heap);

/* A task's output while it is being made. */
struct output_writer {
    struct heap *heap; /* NULL: this task has none */
    size_t last;       /* its last block; 0: none */
    struct output output;
};

/* -1: there is no more room, or memory. */
int output_append(struct output_writer *writer, const void *bytes, size_t count);

/* The bytes in one piece, from malloc; NULL: none, or no memory. */
void *output_collect(const struct heap *heap, const struct output *output);

#endif
