/* output.c - see output.h. A block's size doubles with what its task has given so far, so that a
 * large result has few blocks and a small one takes little. Offsets instead of pointers: 0 is no
 * block. */
#include "common/parallel/output.h"
#include "common/parallel/arena.h"
#include "common/parallel/board.h"
#include "common/parallel/resources.h"
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT      ((size_t)64)
#define SMALLEST_BLOCK ((size_t)256)
#define LARGEST_BLOCK  ((size_t)1 << 22)
#define UNCHECKED      ((size_t)1 << 20) /* with each so much it is asked how much memory is free */
#define LARGEST_HEAP   ((size_t)1 << 36)
#define SMALLEST_HEAP  ((size_t)1 << 20)

struct heap {
    size_t size;
    _Alignas(CACHE_LINES) _Atomic size_t used;
};

struct block {
    size_t next, room, used; /* room: bytes behind this */
};

struct heap *heap_create(struct error *error)
{
    error_set(error, ERROR_MEMORY, "no room for results in shared memory");
    size_t size = arena_place()->size / 8;
    struct heap *heap = NULL;
    if (size > LARGEST_HEAP)
        size = LARGEST_HEAP;
    while (!heap && size >= SMALLEST_HEAP) {
        heap = arena_allocate_range(size, error);
        if (!heap)
            size /= 2;
    }
    if (!heap)
        return NULL;
    heap->size = size;
    atomic_store(&heap->used, (sizeof *heap + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    return heap;
}

void heap_free(struct heap *heap)
{
    arena_free(heap);
}

static struct block *block_at(const struct heap *heap, size_t offset)
{
    return (struct block *)(void *)((char *)(uintptr_t)heap + offset);
}

/* A block with room for at least `least` bytes: its offset, 0 if there is none. */
static size_t take_block(struct heap *heap, size_t least, size_t so_far)
{
    size_t room = so_far < SMALLEST_BLOCK ? SMALLEST_BLOCK : so_far;
    if (room > LARGEST_BLOCK)
        room = LARGEST_BLOCK;
    if (room < least)
        room = least;
    if (room > heap->size)
        return 0;
    const size_t bytes = (sizeof(struct block) + room + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    const size_t at = atomic_fetch_add(&heap->used, bytes);
    if (at > heap->size || bytes > heap->size - at)
        return 0;
    if (at / UNCHECKED != (at + bytes) / UNCHECKED && bytes + UNCHECKED > resources_memory())
        return 0;
    *block_at(heap, at) = (struct block){.room = bytes - sizeof(struct block)};
    return at;
}

int output_append(struct output_writer *writer, const void *bytes, size_t count)
{
    struct heap *heap = writer->heap;
    while (count > 0) {
        struct block *last = writer->last ? block_at(heap, writer->last) : NULL;
        if (!last || last->used == last->room) {
            const size_t at = take_block(heap, count < LARGEST_BLOCK ? count : LARGEST_BLOCK,
                                         writer->output.size);
            if (at == 0)
                return -1;
            *(last ? &last->next : &writer->output.first) = at;
            writer->last = at;
            last = block_at(heap, at);
        }
        const size_t left = last->room - last->used, part = count < left ? count : left;
        memcpy((char *)(last + 1) + last->used, bytes, part);
        last->used += part;
        writer->output.size += part;
        bytes = (const char *)bytes + part;
        count -= part;
    }
    return 0;
}

void *output_collect(const struct heap *heap, const struct output *output)
{
    char *bytes = output->size > 0 ? malloc(output->size) : NULL;
    size_t copied = 0;
    for (size_t at = output->first; bytes && copied < output->size;) {
        const struct block *block = block_at(heap, at);
        const size_t left = output->size - copied, part = block->used < left ? block->used : left;
        memcpy(bytes + copied, block + 1, part);
        copied += part;
        at = block->next;
    }
    return bytes;
}
