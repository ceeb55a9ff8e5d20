/*
 * The bump arena: 1 MB of zeroed pages. The kernel gives a page only when it is first written.
 */
#include "base/arena.h"

#include <string.h>

#include "base/atomics.h"

_Alignas(64) uint8_t arena[ARENA_BYTES];
static uint64_t used_bytes;

/* The 16 bytes before a block hold its size, and 0 in the last word: a free reads it as the size of a chunk of
 * glibc's. */
void *arena_allocate(size_t bytes, size_t alignment) {
    if (alignment < 16) alignment = 16;
    if (bytes > ARENA_BYTES || alignment > MACHINE_PAGE_MOST) return NULL;
    uint64_t at, used = load_relaxed(&used_bytes);
    do {
        at = ((uintptr_t)arena + used + 16 + alignment - 1) / alignment * alignment - (uintptr_t)arena;
        if (at + bytes > ARENA_BYTES) return NULL;
    } while (!cas_relaxed(&used_bytes, &used, at + bytes));
    memcpy(arena + at - 16, &(uint64_t){bytes}, sizeof(uint64_t));
    return arena + at;
}

bool arena_is_used(void) { return load_relaxed(&used_bytes) != 0; }

size_t arena_size(const void *pointer) {
    uint64_t bytes;
    memcpy(&bytes, (const uint8_t *)pointer - 16, sizeof bytes);
    return bytes;
}
