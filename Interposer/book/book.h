/*
 * Booking: how the three events reach the ring and the live map, in which order.
 */
#ifndef HEAPSUM_BOOK_H
#define HEAPSUM_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "threads/hook.h"

/* Books a block that the real call has just returned. */
void book_allocation(const struct hook *hook, const void *block, size_t bytes);

/* Books a free that the real call is about to do. */
void book_free(const struct hook *hook, const void *block);

/* A reallocation, from before the real call to behind it. */
struct reallocation {
    void *block;
    uint64_t *slot;
    uint64_t word; /* 0: the block was not booked */
    size_t bytes;
    bool claimed; /* by this thread's in-flight record; else its slot was just emptied */
};

/* Before the real call: the old block is written down and its slot claimed. */
struct reallocation book_realloc_begin(const struct hook *hook, void *block);

/* Behind it: where it failed (`moved` is NULL and `freed` false) the block stands as before. */
void book_realloc_end(const struct hook *hook, struct reallocation *old, const void *moved, size_t bytes, bool freed);

#endif
