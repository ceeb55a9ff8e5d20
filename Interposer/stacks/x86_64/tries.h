/*
 * How often something failed for a pc, so that what costs many system calls is not tried at each allocation. The table
 * is small: a pc that displaces another is tried anew.
 */
#ifndef HEAPSUM_TRIES_H
#define HEAPSUM_TRIES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "include/heap_image.h"
#include "stacks/cfi.h"

#define TRIES_LOG2 8

/* A word is the pc and the number, which is below 256. */
struct tries {
    uint64_t words[1u << TRIES_LOG2];
};

static inline uint64_t *tries_word(struct tries *tries, uintptr_t pc) {
    return &tries->words[(pc ^ pc >> TRIES_LOG2) & ((1u << TRIES_LOG2) - 1)];
}

/* Async-signal-safe, as is the next one. */
static inline uint64_t tries_of(struct tries *tries, uintptr_t pc) {
    const uint64_t word = load_relaxed(tries_word(tries, pc));
    return word >> 8 == pc ? word & 0xFF : 0;
}

static inline void tries_set(struct tries *tries, uintptr_t pc, uint64_t number) {
    store_relaxed(tries_word(tries, pc), (uint64_t)pc << 8 | number);
}

/* Whether a word on the stack can't be a return address: it is no address of a program, or leads into the stack. */
static inline bool is_no_code(uintptr_t word, const struct cfi_bounds *bounds) {
    return word < HEAP_PAGE_BYTES || word >> (HEAP_ADDRESS_BITS - 1) != 0
        || word - bounds->low < bounds->high - bounds->low;
}

#endif
