/* isa.h - private to the kernels: one program, several instruction sets.
 *
 * A function marked EACH_ISA is compiled once for each of the x86-64 levels below; the dynamic
 * linker chooses the best one that the processor knows when the program starts. Functions it
 * calls must be INLINED into it, or they stay compiled for the oldest processor. Both are no more
 * than attributes: elsewhere, and under the sanitizers (which are not ready when the dynamic
 * linker chooses), the compiler's own target is used.
 */
#ifndef KERNELS_ISA_H
#define KERNELS_ISA_H

#include <features.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    #define KERNELS_CLONED 1
    #define EACH_ISA       __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
    #define KERNELS_CLONED 0
    #define EACH_ISA
#endif

#define INLINED static inline __attribute__((always_inline))

/* Asks for the cache lines of `bytes` bytes that lie `ahead` bytes further on. The processor
 * fetches ahead by itself, but stops at the end of each page, and the more instructions there are
 * to a cache line, the fewer lines it has asked for at a time. Where there is no memory a prefetch
 * does nothing. */
INLINED void prefetch(const void *at, unsigned long ahead, unsigned long bytes)
{
    const unsigned long from = (unsigned long)at + ahead;
    for (unsigned long line = 0; line < bytes; line += 64)
        __builtin_prefetch((const void *)(from + line));
}

#endif
