/* shared_memory.h - memory that every process of the program sees at the same address.
 *
 * pool_startup() maps one large, sparse, unnamed region (the arena) before any worker exists, so
 * a pointer into it means the same in the parent and in every worker: whatever lives there
 * travels to a worker as an address and is never copied. Python's
 * multiprocessing.shared_memory.SharedMemory does the same through a named file in /dev/shm;
 * here nothing has a name, so nothing must be unlinked and nothing outlives the processes.
 *
 * Pages are reserved when memory is allocated: a machine without room for it answers with an
 * error at once, instead of SIGBUS at the first touch.
 */
#ifndef PARALLEL_SHARED_MEMORY_H
#define PARALLEL_SHARED_MEMORY_H

#include "common/error.h"
#include <stdbool.h>
#include <stddef.h>

/* Memory for count elements of size bytes each, zeroed, aligned to a page. The caller owns it and
 * gives it back with shared_memory_free. Only the process that called pool_startup may allocate,
 * and workers that may have pools. Arrays that know their shape and type: shared_array.h. NULL with
 * *error: ERROR_INVALID (count or size 0, count x size overflows, no pool_startup before),
 * ERROR_MEMORY (more than the machine or its cgroup has free). */
void *shared_memory_allocate(size_t count, size_t size, struct error *error);

/* Gives it back. NULL is allowed. No task may use it any more. */
void shared_memory_free(void *memory);

/* Do all `bytes` from `pointer` on lie in shared memory? */
bool shared_memory_contains(const void *pointer, size_t bytes);

#endif
