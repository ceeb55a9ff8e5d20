/*
 * Booking: writes the three events to the ring and the live map, in a fixed order.
 */
#ifndef HEAPSUM_BOOK_H
#define HEAPSUM_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "threads/hook.h"

/* Books a block that the real call has just returned. */
void book_allocation(const struct hook *hook, const void *block, size_t bytes);

/* Books a free just before the real call. */
void book_free(const struct hook *hook, const void *block);

/* A reallocation, from before the real call until after it. */
struct reallocation {
    void *block;
    uint64_t *slot;
    uint64_t word; /* 0: the block was not booked */
    size_t bytes;
    bool claimed; /* claimed by this thread's in-flight record; if false, the slot was emptied instead */
};

/* Called before the real call: records the old block and claims its slot. */
struct reallocation book_realloc_begin(const struct hook *hook, void *block);

/* Called after the real call. If that failed (`moved` is NULL and `freed` false), the block is as before. */
void book_realloc_end(const struct hook *hook, struct reallocation *old, const void *moved, size_t bytes, bool freed);

#endif
