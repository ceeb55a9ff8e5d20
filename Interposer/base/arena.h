/*
 * Memory for what is asked before there is an allocator to ask: by a function that the loader calls to choose another
 * (an IFUNC), before this library is relocated.
 */
#ifndef HEAPSUM_ARENA_H
#define HEAPSUM_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/machine.h"

/* Zeroed memory, never taken back; NULL, and errno untouched, where the arena is used up. Needs no relocation. */
void *arena_allocate(size_t bytes, size_t alignment);

#define ARENA_BYTES (1u << 20)
extern HIDDEN uint8_t arena[ARENA_BYTES];
static inline bool arena_owns(const void *pointer) { return (uintptr_t)pointer - (uintptr_t)arena < ARENA_BYTES; }

/* The bytes that a block of the arena holds. */
size_t arena_size(const void *pointer);

#endif
