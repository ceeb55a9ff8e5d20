/*
 * Booking in the common case, inlined in the hook: between hook_enter_plainly and hook_leave_plainly, for a block in
 * the fine map. The order of stores is the same as in book.c.
 */
#ifndef HEAPSUM_PLAIN_H
#define HEAPSUM_PLAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/probes.h"
#include "book/drawn.h"
#include "book/live.h"
#include "book/ring.h"
#include "image/image.h"
#include "threads/thread.h"

/* The slot is about to be overwritten and still holds a block whose free was not seen. Counts it and books the free. */
__attribute__((cold)) void book_heal(struct place place, uint64_t word, uint32_t tick);

/* A free or realloc of a block that is not booked as the program's. */
__attribute__((cold)) void book_miss(struct place place, uint64_t word, const void *block);

/* The same for a free. False: the block is the arena's, which the real free must not get. The arena's blocks are never
 * booked, so this is the only place where a common free asks for them. */
__attribute__((cold)) bool book_miss_free(struct place place, uint64_t word, const void *block);

/* The two events below, for a block whose place must be made first, or that is not in the fine map. */
void book_allocation_elsewhere(const void *block, size_t bytes, uint32_t stack);
bool book_free_elsewhere(const void *block);

/* Tells tracers of a block. Outside the common path, because the weight needs the interval. */
__attribute__((cold)) void book_tell(const void *block, size_t bytes);
static inline __attribute__((always_inline)) void book_told(const void *block, size_t bytes) {
    if (probe_alloc_is_on()) book_tell(block, bytes);
}

/* Writes an event to this thread's ring. Between the entry and the head, the slot is set to `publish`. */
static inline __attribute__((always_inline)) void book_in_ring(uint32_t kind, uintptr_t address, uint64_t *slot,
    uint64_t publish, uint64_t word, size_t bytes, uint32_t flags, uint32_t tick) {
    ring_write(local.ring, local.record->head, address, word, bytes, flags, kind, tick);
    store_release(slot, publish); /* partner: a reader's acquire of the slot; its size stands before it */
    fence_compiler();
    local.fold_at = ring_commit(local.record, local.ring, 1, bytes, local.fold_at);
}

static inline __attribute__((always_inline)) void book_publish(
    struct place place, const void *block, size_t bytes, uint32_t stack) {
    uint32_t tick = thread_clock()->tick;
    uint64_t before = load_relaxed(place.slot);
    if (unlikely(before != 0)) book_heal(place, before, tick);
    uint64_t word = live_word(place, stack, tick, bytes);
    local.record->last_allocated_address = (uintptr_t)block;
    book_in_ring(HEAP_EVENT_ALLOCATED, (uintptr_t)block, place.slot, word, word, bytes, 0, tick);
    book_told(block, bytes);
}

static inline __attribute__((always_inline)) bool book_take_away(struct place place, const void *block) {
    uint64_t word = place.slot != NULL ? load_relaxed(place.slot) : 0;
    if (unlikely(!live_holds(place, word))) return book_miss_free(place, word, block);
    uint32_t flags = local.record->last_allocated_address == (uintptr_t)block ? HEAP_EVENT_FLAG_TEMPORARY : 0;
    book_in_ring(
        HEAP_EVENT_FREED, (uintptr_t)block, place.slot, 0, word, live_bytes(place, word), flags, thread_clock()->tick);
    probe_freed(block);
    return true;
}

/* Whether no block is booked at this address, of one that is glibc's and about to be freed. */
static inline __attribute__((always_inline)) bool book_knows_none(const void *block) {
    if (likely(!drawn_may_be_near(block))) return true;
    const struct place place = live_find((uintptr_t)block, glibc_usable_size(block));
    return place.slot == NULL || load_relaxed(place.slot) == 0;
}

/* Books a block that the real call has just returned. */
static inline __attribute__((always_inline)) void book_plain_allocation(
    const void *block, size_t bytes, uint32_t stack) {
    if (likely(next.is_glibc)) {
        if (live_is_fine_glibc(block)) {
            struct place place = live_look_up_fine((uintptr_t)block, LIVE_SHAPE_GLIBC);
            if (likely(place.slot != NULL)) {
                book_publish(place, block, bytes, stack);
                return;
            }
        }
    } else if (bytes < 1u << HEAP_GRANULE_LOG2_1) {
        struct place place = live_look_up_fine((uintptr_t)block, LIVE_SHAPE_OTHER);
        if (likely(place.slot != NULL)) {
            book_publish(place, block, bytes, stack);
            return;
        }
    }
    book_allocation_elsewhere(block, bytes, stack);
}

/* Books a free just before the real call. False: the block is the arena's, and there is no real call. Of such a block,
 * too, the word before it can be read. */
static inline __attribute__((always_inline)) bool book_plain_free(const void *block) {
    if (likely(next.is_glibc)) {
        if (unlikely(!live_is_fine_glibc(block))) return book_free_elsewhere(block);
        return book_take_away(live_look_up_fine((uintptr_t)block, LIVE_SHAPE_GLIBC), block);
    }
    struct place place = live_look_up_fine((uintptr_t)block, LIVE_SHAPE_OTHER);
    if (unlikely(place.slot == NULL) || unlikely(!live_holds(place, load_relaxed(place.slot))))
        return book_free_elsewhere(block);
    return book_take_away(place, block);
}

/* The same two in a sampled recording: for a block that was drawn, and for one that may have been. */
void book_sampled_allocation(const void *block, size_t bytes, uint32_t stack);
bool book_sampled_free(const void *block);

#endif
