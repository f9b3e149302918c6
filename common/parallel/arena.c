/* arena.c - the shared memory of a program and its workers.
 *
 * It is a sparse memfd of up to 1 TiB. Its parts are extents, in order of address: cold
 * ones have no memory behind them, warm ones have been used and keep their pages for the next
 * allocation, so that a map that is repeated does not pay for fresh pages each time.
 *
 * An extent that was published may be open in other programs. Each of them holds a lock on it, of
 * an open file description of its own; while there is one, an extent that has been freed is lent:
 * kept aside, and asked about again at every later allocation and release.
 *
 * Where the address space is limited (ulimit -v) the arena takes half of what is left of it: who
 * maps the rest, as threads do for their stacks and OpenBLAS for its buffers, must find some. */
#include "common/parallel/arena.h"
#include "common/parallel/resources.h"
#include "common/parallel/shared_memory.h"
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define LARGEST_ARENA  ((size_t)1 << 40)
#define SMALLEST_ARENA ((size_t)1 << 26)
#define MOST_WARM      ((size_t)1 << 28)
#define UNCHECKED      ((size_t)1 << 20) /* up to here nobody asks how much memory is free */

/* Far from where the kernel puts programs, libraries and stacks, so that a fresh copy of the
 * program, whose own addresses differ, finds it free. A worker that has pools of its own takes the
 * next place. Only a wish: without it "spawn" may fail. */
#define WISHED_ADDRESS 0x200000000000

enum extent_state { COLD, WARM, USED, LENT };

struct extent {
    size_t offset, size;
    enum extent_state state;
    bool published; /* used or lent: others may hold a lock on it */
    bool sparse;    /* used: memory is behind it only where it was touched */
};

static struct arena_place place = {.fd = -1};
static struct arena_place places[MOST_ARENAS]; /* those of the programs above, and this last */
static int place_count;
static pid_t owner; /* only this process manages the extents: its children have stale copies */
static struct extent *extents;
static size_t extent_count, extent_room, warm_bytes, lent_count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

const struct arena_place *arena_place(void)
{
    return &place;
}

const struct arena_place *arena_places(int *count)
{
    *count = place_count;
    return places;
}

static size_t whole_pages(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static int make_memfd(void)
{
#ifdef MFD_NOEXEC_SEAL
    const int fd = memfd_create("arena", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd >= 0 || errno != EINVAL)
        return fd;
#endif
    return memfd_create("arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

/* Makes the sparse file, as large as possible from `size` down. A limit on the size of files
 * (ulimit -f) is meant for files on a disk, so it is lifted for this one as far as the hard limit
 * allows; what exceeds that must be an error, not the signal that kills. */
static size_t size_memfd(int fd, size_t size)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    struct rlimit limit, lifted;
    getrlimit(RLIMIT_FSIZE, &limit);
    lifted = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_FSIZE, &lifted);
    sigaction(SIGXFSZ, &ignore, &before);
    while (size >= SMALLEST_ARENA && ftruncate(fd, (off_t)size) != 0)
        size /= 2;
    sigaction(SIGXFSZ, &before, NULL);
    setrlimit(RLIMIT_FSIZE, &limit);
    return size;
}

/* A crash would write the whole range to its core, a terabyte, as far as the limit allows. Copies
 * that fork makes of the mapping are left out with it. */
static void leave_out_of_cores(void *base, size_t size)
{
    madvise(base, size, MADV_DONTDUMP);
}

static void *map_at_wished_address(int fd, size_t size)
{
    const int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_NORESERVE;
    for (uintptr_t level = 0; level < MOST_ARENAS; level++) {
        void *wish = (void *)(WISHED_ADDRESS + level * LARGEST_ARENA);
        void *base = mmap(wish, size, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
        if (base != MAP_FAILED)
            return base;
    }
    return mmap(NULL, size, protection, flags, fd, 0);
}

int arena_map(struct error *error)
{
    if (place_count == MOST_ARENAS)
        return error_set(error, ERROR_INVALID, "shared memory is mapped %d times", place_count);
    const int fd = make_memfd();
    if (fd < 0)
        return error_set_errno(error, "cannot create shared memory (memfd_create)");
    const size_t left = resources_address_space();
    for (size_t size = size_memfd(fd, LARGEST_ARENA); size >= SMALLEST_ARENA; size /= 2) {
        if (size > left / 2)
            continue;
        void *base = map_at_wished_address(fd, size);
        if (base == MAP_FAILED) /* RLIMIT_AS, or a kernel that is strict: try with less */
            continue;
        leave_out_of_cores(base, size);
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
        extents = malloc(64 * sizeof *extents);
        if (!extents) {
            munmap(base, size);
            break;
        }
        owner = getpid();
        mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* some thread above may have held it */
        warm_bytes = lent_count = 0;
        extent_room = 64;
        extent_count = 1;
        extents[0] = (struct extent){.offset = 0, .size = size, .state = COLD};
        place = (struct arena_place){.fd = fd, .base = base, .size = size};
        places[place_count++] = place;
        return 0;
    }
    if (left / 2 < SMALLEST_ARENA)
        error_set(
            error, ERROR_MEMORY,
            "the limit on address space (ulimit -v) leaves %.0f MB, and shared memory takes at "
            "least %.0f MB, half of what there is",
            (double)left / 1e6, (double)SMALLEST_ARENA / 1e6);
    else
        error_set_errno(error, "cannot map shared memory");
    close(fd);
    return -1;
}

int arena_attach(const struct arena_place *of_parent)
{
    if (place_count == MOST_ARENAS)
        return -1;
    void *base = mmap(of_parent->base, of_parent->size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, of_parent->fd, 0);
    if (base != of_parent->base)
        return -1; /* cppcheck-suppress memleak; the caller ends the process */
    leave_out_of_cores(base, of_parent->size);
    places[place_count++] = place = *of_parent;
    return 0; /* cppcheck-suppress memleak; mapped for as long as the process lives */
}

/* ---- Extents ------------------------------------------------------------------------------- */

static int make_room(void)
{
    if (extent_count + 2 <= extent_room)
        return 0;
    struct extent *more = realloc(extents, 2 * extent_room * sizeof *extents);
    if (!more)
        return -1;
    extents = more;
    extent_room *= 2;
    return 0;
}

/* Cuts extent i so that it has exactly `size` bytes. Room for one more must be there. */
static void split(size_t i, size_t size)
{
    if (extents[i].size == size)
        return;
    memmove(&extents[i + 2], &extents[i + 1], (extent_count - i - 1) * sizeof *extents);
    extents[i + 1] = (struct extent){.offset = extents[i].offset + size,
                                     .size = extents[i].size - size,
                                     .state = extents[i].state};
    extents[i].size = size;
    extent_count++;
}

static void merge_with_next(size_t i)
{
    const enum extent_state state = extents[i].state;
    if (i + 1 >= extent_count || state != extents[i + 1].state || state == USED || state == LENT)
        return;
    extents[i].size += extents[i + 1].size;
    memmove(&extents[i + 1], &extents[i + 2], (extent_count - i - 2) * sizeof *extents);
    extent_count--;
}

static void merge_around(size_t i)
{
    merge_with_next(i);
    if (i > 0)
        merge_with_next(i - 1);
}

/* Gives the pages of a warm extent back to the system. */
static bool cool(size_t i)
{
    if (fallocate(place.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)extents[i].offset,
                  (off_t)extents[i].size) != 0)
        return false; /* it stays warm */
    warm_bytes -= extents[i].size;
    extents[i].state = COLD;
    merge_around(i);
    return true;
}

static void cool_all(void)
{
    for (size_t i = 0; i < extent_count;) {
        if (extents[i].state == WARM && cool(i))
            i = 0; /* the merge may have moved everything */
        else
            i++;
    }
}

/* Has another open file description, which means another program, a lock on it? */
static bool is_locked(const struct extent *extent)
{
    struct flock lock = {.l_type = F_WRLCK,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)extent->offset,
                         .l_len = (off_t)extent->size};
    return fcntl(place.fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static void release(size_t i)
{
    const bool sparse = extents[i].sparse;
    extents[i].state = WARM;
    extents[i].published = extents[i].sparse = false;
    warm_bytes += extents[i].size;
    if ((warm_bytes <= MOST_WARM && !sparse) || !cool(i))
        merge_around(i);
}

/* Downwards: what a release merges into a lower extent is not lent. */
static void take_back_lent(void)
{
    for (size_t i = extent_count; i-- > 0 && lent_count > 0;)
        if (extents[i].state == LENT && !is_locked(&extents[i])) {
            lent_count--;
            release(i);
        }
}

/* The smallest extent of this state with at least `size` bytes; extent_count if there is none. */
static size_t best_fit(enum extent_state state, size_t size)
{
    size_t best = extent_count;
    for (size_t i = 0; i < extent_count; i++)
        if (extents[i].state == state && extents[i].size >= size &&
            (best == extent_count || extents[i].size < extents[best].size))
            best = i;
    return best;
}

/* Puts memory behind a cold extent now, so that no later touch can fail (it would be SIGBUS). A
 * memfd has no limit of its own and would fill the machine: hence the question before. */
static int reserve(const struct extent *extent, struct error *error)
{
    if (extent->size > UNCHECKED) {
        const size_t available = resources_memory();
        if (extent->size > available)
            return error_set(error, ERROR_MEMORY,
                             "%.1f MB of shared memory asked for, %.1f MB are free",
                             (double)extent->size / 1e6, (double)available / 1e6);
    }
    int failed;
    do
        failed = fallocate(place.fd, 0, (off_t)extent->offset, (off_t)extent->size);
    while (failed && errno == EINTR);
    if (failed) {
        const int number = errno;
        fallocate(place.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)extent->offset,
                  (off_t)extent->size);
        return error_set(error, ERROR_MEMORY, "cannot reserve %.1f MB of shared memory: %s",
                         (double)extent->size / 1e6, strerror(number));
    }
#ifdef MADV_POPULATE_WRITE /* Linux 5.14; without it pages are mapped one fault at a time */
    madvise((char *)place.base + extent->offset, extent->size, MADV_POPULATE_WRITE);
#endif
    return 0;
}

/* Marks an extent of `size` bytes as used and returns its index, or extent_count with *error. */
static size_t take_extent(size_t size, bool *is_zero, struct error *error)
{
    size_t i = best_fit(WARM, size);
    *is_zero = i == extent_count;
    if (i < extent_count) {
        split(i, size);
        warm_bytes -= size;
    } else {
        i = best_fit(COLD, size);
        if (i == extent_count) {
            error_set(error, ERROR_MEMORY,
                      "%.1f MB of shared memory asked for, no address range that large is left",
                      (double)size / 1e6);
            return i;
        }
        split(i, size);
        if (reserve(&extents[i], error) != 0) {
            merge_around(i);
            return extent_count;
        }
    }
    extents[i].state = USED;
    return i;
}

/* Only the process that mapped the arena may: a copy's mutex may be locked for ever. */
static int check_owner(struct error *error)
{
    if (getpid() == owner)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "only the process that called pool_startup can allocate shared memory");
}

void *arena_allocate_range(size_t bytes, struct error *error)
{
    const size_t size = whole_pages(bytes);
    char *memory = NULL;
    if (check_owner(error) != 0)
        return NULL;
    pthread_mutex_lock(&mutex);
    const size_t i = make_room() == 0 ? best_fit(COLD, size) : extent_count;
    if (i < extent_count) {
        split(i, size);
        extents[i].state = USED;
        extents[i].sparse = true;
        memory = (char *)place.base + extents[i].offset;
    } else {
        error_set(error, ERROR_MEMORY, "no address range of %.1f MB is left in shared memory",
                  (double)size / 1e6);
    }
    pthread_mutex_unlock(&mutex);
    return memory;
}

void *arena_allocate(size_t bytes, bool zeroed, struct error *error)
{
    const size_t size = whole_pages(bytes);
    bool is_zero = false;
    char *memory = NULL;
    if (check_owner(error) != 0)
        return NULL;
    pthread_mutex_lock(&mutex);
    take_back_lent();
    if (size < bytes || make_room() != 0) {
        error_set(error, ERROR_MEMORY, "no memory to manage %zu bytes of shared memory", bytes);
    } else {
        size_t i = take_extent(size, &is_zero, error);
        if (i == extent_count && warm_bytes > 0) { /* what is kept warm may be what is missing */
            cool_all();
            i = take_extent(size, &is_zero, error);
        }
        if (i < extent_count)
            memory = (char *)place.base + extents[i].offset;
    }
    pthread_mutex_unlock(&mutex);
    if (memory && zeroed && !is_zero)
        memset(memory, 0, size);
    return memory;
}

/* The used extent that begins at `memory`; extent_count if there is none. */
static size_t find_used(const void *memory)
{
    const size_t offset = (size_t)((const char *)memory - (const char *)place.base);
    size_t i = 0;
    while (i < extent_count && (extents[i].offset != offset || extents[i].state != USED))
        i++;
    return i;
}

void arena_free(void *memory)
{
    if (!memory || getpid() != owner)
        return;
    pthread_mutex_lock(&mutex);
    take_back_lent();
    const size_t i = find_used(memory);
    if (i < extent_count && extents[i].published && is_locked(&extents[i])) {
        extents[i].state = LENT;
        lent_count++;
    } else if (i < extent_count) {
        release(i);
    }
    pthread_mutex_unlock(&mutex);
}

void arena_mark_published(const void *memory)
{
    if (getpid() != owner)
        return;
    pthread_mutex_lock(&mutex);
    const size_t i = find_used(memory);
    if (i < extent_count)
        extents[i].published = true;
    pthread_mutex_unlock(&mutex);
}

/* ---- shared_memory.h ------------------------------------------------------------------------ */

void *shared_memory_allocate(size_t count, size_t size, struct error *error)
{
    size_t bytes;
    if (place.fd < 0) {
        error_set(error, ERROR_INVALID, "shared memory: pool_startup has not been called");
        return NULL;
    }
    if (count == 0 || size == 0) {
        error_set(error, ERROR_INVALID, "shared memory of no bytes (%zu elements of %zu)", count,
                  size);
        return NULL;
    }
    if (__builtin_mul_overflow(count, size, &bytes)) {
        error_set(error, ERROR_INVALID, "shared memory: %zu elements of %zu bytes overflow", count,
                  size);
        return NULL;
    }
    return arena_allocate(bytes, true, error);
}

void shared_memory_free(void *memory)
{
    arena_free(memory);
}

bool shared_memory_contains(const void *pointer, size_t bytes)
{
    for (int i = 0; i < place_count; i++) {
        const uintptr_t first = (uintptr_t)pointer, base = (uintptr_t)places[i].base;
        if (first >= base && first - base <= places[i].size &&
            bytes <= places[i].size - (first - base))
            return true;
    }
    return false;
}
