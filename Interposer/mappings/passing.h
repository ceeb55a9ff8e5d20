/*
 * The functions that this library interposes, and the next ones.
 */
#ifndef HEAPSUM_MAPPINGS_PASSING_H
#define HEAPSUM_MAPPINGS_PASSING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Result, name and parameters. */
#define MAPPING_FUNCTIONS(X) \
    X(void *, mmap, (void *, size_t, int, int, int, off_t)) \
    X(void *, mmap64, (void *, size_t, int, int, int, off_t)) \
    X(int, munmap, (void *, size_t)) \
    X(void *, mremap, (void *, size_t, size_t, int, void *)) \
    X(int, brk, (void *)) \
    X(void *, sbrk, (intptr_t)) \
    X(void *, shmat, (int, const void *, int)) \
    X(int, shmdt, (const void *)) \
    X(int, madvise, (void *, size_t, int))

struct next_functions {
#define NEXT_FIELD(result, name, parameters) result(*name) parameters;
    MAPPING_FUNCTIONS(NEXT_FIELD)
#undef NEXT_FIELD
};
extern struct next_functions next_functions;

/* The next functions, found at the first call; all NULL before this library is relocated. Takes no lock; keeps errno.
 */
const struct next_functions *passing_next_functions(void);

#endif
