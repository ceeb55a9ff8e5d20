/*
 * Sampling: which allocations are booked where not all are (heap_image.h, "Sampling").
 *
 * Each thread counts down the bytes to the next one that is drawn. The distances are exponentially distributed, so what
 * is left of one says nothing about the past, and it doesn't matter which bytes an allocation came after. The draw is
 * made before the real call and whatever becomes of it.
 */
#ifndef HEAPSUM_SAMPLE_H
#define HEAPSUM_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "threads/hook.h"
#include "threads/thread.h"

/* The image's `sample_interval`: 0 where all allocations are booked. */
extern HIDDEN uint64_t sample_interval;

/* This thread begins to book into the image: it gets a generator and a first distance. */
void sample_begin(uint32_t index);

/* Whether an allocation of so many bytes is drawn, in a hook of a sampled recording. Async-signal-safe. */
bool sample_draws(size_t bytes);

/* Whether this allocation is to be booked, in a hook. */
static inline bool sample_books(size_t bytes) {
    return likely(load_relaxed(&sample_interval) == 0) || sample_draws(bytes);
}

/* Whether this thread passes unbooked calls without entering a hook: glibc's alone, whose functions call none that we
 * interpose, so none is drawn twice. */
static inline __attribute__((always_inline)) bool sample_is_on(void) {
    /* partner: go_live's release */
    return local.distance != 0 && load_acquire(&hook_live.word) == local.plain;
}

/* Whether an allocation passes unbooked: the common case, before anything else is done. False decides nothing. In a
 * signal handler that interrupted a hook too: the countdown is lowered by one instruction. */
static inline __attribute__((always_inline)) bool sample_passes(size_t bytes) {
    size_t drawn = bytes + (bytes == 0);
    if (likely(drawn >= local.distance) || load_acquire(&hook_live.word) != local.plain) return false;
    local.distance -= drawn;
    return true;
}

/* Before a free or a realloc is booked: the thread's newest block is not its newest where another passed unbooked. */
static inline void sample_age(void) {
    if (unlikely(load_relaxed(&sample_interval) != 0) && local.record != NULL
        && (local.distance | local.distance_inside) != local.first_distance)
        local.record->last_allocated_address = 0;
}

#endif
