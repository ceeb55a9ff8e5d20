/*
 * How often something failed for a pc, so that what costs many system calls is not tried at each allocation. If a pc
 * has no place, because eight others have those that it could take, it displaces one, which is tried anew.
 */
#ifndef HEAPSUM_TRIES_H
#define HEAPSUM_TRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "include/heap_image.h"
#include "stacks/cfi.h"

/* A program has some dozens of such pcs. With one place for each hash, two of them would often displace each other for
 * ever, and then each of their allocations is a try. A set is a cache line. */
#define TRIES_SETS_LOG2 7
#define TRIES_SET 8

/* A word is the pc and the number, which is below 256. */
struct tries {
    _Alignas(64) uint64_t sets[1u << TRIES_SETS_LOG2][TRIES_SET];
};

static inline uint64_t *tries_set_of(struct tries *tries, uintptr_t pc) {
    return tries->sets[(uint64_t)pc * 0x9E3779B97F4A7C15ull >> (64 - TRIES_SETS_LOG2)];
}

/* Async-signal-safe, as is the next one. */
static inline uint64_t tries_of(struct tries *tries, uintptr_t pc) {
    const uint64_t *set = tries_set_of(tries, pc);
    for (size_t i = 0; i < TRIES_SET; i++) {
        const uint64_t word = load_relaxed(&set[i]);
        if (word >> 8 == pc) return word & 0xFF;
    }
    return 0;
}

static inline void tries_set(struct tries *tries, uintptr_t pc, uint64_t number) {
    uint64_t *set = tries_set_of(tries, pc);
    size_t place = pc % TRIES_SET;
    for (size_t i = 0; i < TRIES_SET; i++) {
        const uint64_t word = load_relaxed(&set[i]);
        if (word == 0) place = i;
        if (word >> 8 != pc) continue;
        place = i;
        break;
    }
    store_relaxed(&set[place], (uint64_t)pc << 8 | number);
}

/* Whether a word on the stack can't be a return address: it is no address of a program, or leads into the stack. */
static inline bool is_no_code(uintptr_t word, const struct cfi_bounds *bounds) {
    return word < HEAP_PAGE_BYTES || word >> (HEAP_ADDRESS_BITS - 1) != 0
        || word - bounds->low < bounds->high - bounds->low;
}

#endif
