/*
 * Memory for allocations that come before the next allocator can be called: an IFUNC resolver may allocate before the
 * loader has relocated this library.
 */
#ifndef HEAPSUM_ARENA_H
#define HEAPSUM_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/machine.h"

/* Returns zeroed memory, which is never freed; NULL, with errno unchanged, if the arena is full. Any thread may call
 * it, before relocation and from a signal handler. */
void *arena_allocate(size_t bytes, size_t alignment);

#define ARENA_BYTES (1u << 20)
extern HIDDEN uint8_t arena[ARENA_BYTES];
static inline bool arena_owns(const void *pointer) { return (uintptr_t)pointer - (uintptr_t)arena < ARENA_BYTES; }

/* Whether it ever gave a block away. */
bool arena_is_used(void);

/* The size of a block of the arena, as it was asked for. */
size_t arena_size(const void *pointer);

#endif
