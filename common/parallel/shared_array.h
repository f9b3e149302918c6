/* shared_array.h - an array with a shape and a type, in memory that all workers see.
 *
 * Python's multiprocessing.shared_memory with a NumPy array on top, in one: the data live in the
 * program's shared memory (shared_memory.h), so a pool's tasks read and write them in place, at
 * the same address, and nothing is copied. No name is needed for that.
 *
 * A program that shall be found by unrelated programs publishes an array under a name. What gets
 * the name (in /dev/shm) is a page that describes the array: magic, version, type, shape, and
 * where the creating process holds the memory; the data stay where they are. Who opens the name
 * checks the description, and maps the same memory. Only the creator takes the name away; whoever
 * has opened the array keeps it as long as he likes, even when the creator has freed it or is gone:
 * he holds a lock on its range (a shared one, of the open file, which the kernel drops with it),
 * and memory with such a lock is not used for anything else. What he opened is at another address,
 * and for his own pool it is ordinary memory, which is copied. The kernel frees a program's shared
 * memory as a whole: of a creator that is gone, all of it stays as long as one array is open.
 */
#ifndef PARALLEL_SHARED_ARRAY_H
#define PARALLEL_SHARED_ARRAY_H

#include "common/error.h"
#include <stdbool.h>
#include <stddef.h>

#define SHARED_ARRAY_MAX_DIMENSIONS 8
#define SHARED_ARRAY_DTYPE_LENGTH   16

struct shared_array {
    void *data;                            /* C order, contiguous, aligned to a page */
    char dtype[SHARED_ARRAY_DTYPE_LENGTH]; /* as NumPy writes it: "<f4", "<i8", "|u1", "|V24" */
    int dimensions;                        /* 0 to SHARED_ARRAY_MAX_DIMENSIONS */
    size_t shape[SHARED_ARRAY_MAX_DIMENSIONS];
    size_t item_size, count, bytes; /* count: product of shape (1 for 0 dimensions) */
    bool read_only;                 /* opened so: writing is a segmentation fault */
};

/* A zeroed array. dtype: a byte order ('<' or '=' or '|'; not '>', which this machine would have to
 * convert), a kind and the bytes of an element: b 1; i, u 1 2 4 8; f 2 4 8 16; c 8 16 32; S, V any
 * number. shape: the number of elements along each dimension; not read if there is none. Only the
 * process that called pool_startup may create arrays. The caller owns it and frees it with
 * shared_array_close. NULL with *error: ERROR_INVALID (dtype or dimensions not known, no elements,
 * bytes overflow, no pool_startup before), ERROR_MEMORY. */
struct shared_array *shared_array_create(const char *dtype, int dimensions, const size_t *shape,
                                         struct error *error);

/* Lets other programs of the same user find the array, created here, under this name: 1 to 200
 * characters, no '/' . ERROR_INVALID: the name cannot be, the array was opened and not created
 * here, or has a name already; ERROR_SYSTEM: the name is taken (EEXIST, unless its creator is
 * gone: then it is replaced), or the system refuses. Nothing half-made is ever seen under it. */
int shared_array_publish(struct shared_array *array, const char *name, struct error *error);

/* Takes the name away; who has the array open keeps it. shared_array_close does it too. A program
 * that is killed leaves the name, and nothing behind it. ERROR_INVALID: it has no name. */
int shared_array_unpublish(struct shared_array *array, struct error *error);

/* Opens what another program (or this one) has published. Needs no pool_startup. NULL with *error:
 * ERROR_INVALID (the name cannot be); ERROR_SYSTEM with ENOENT (no such name), EACCES (it belongs
 * to somebody else, or to a process that cannot be seen from here, as one of another container) or
 * ESRCH (its creator is gone); ERROR_FORMAT (the name is of something else: wrong magic, version,
 * size or shape). */
struct shared_array *shared_array_open(const char *name, bool read_only, struct error *error);

/* The creator's: frees the memory, so no task may use it any more; others that have it open keep
 * it. An opened one: unmaps it. NULL is allowed. */
void shared_array_close(struct shared_array *array);

#endif
