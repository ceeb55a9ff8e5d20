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

/* Whether the countdown is looked at before a hook is entered. */
bool sample_is_early(void);

/* Whether an allocation of so many bytes is drawn, in a hook of a sampled recording. Async-signal-safe. */
bool sample_draws(size_t bytes);

/* Whether this allocation is to be booked, in a hook. */
static inline bool sample_books(size_t bytes) {
    return likely(load_relaxed(&sample_interval) == 0) || sample_draws(bytes);
}

/* Whether this thread passes unbooked calls without entering a hook: glibc's alone, whose functions call none that we
 * interpose, so none is drawn twice. `word` is hook_word's. Ask hook_is_plain first: before the loader has set this
 * thread's initial values, all these numbers are 0, and the thread seems to be plain. */
static inline __attribute__((always_inline)) bool sample_is_on(uint64_t word) { return word == local.passing; }

/* Whether an allocation passes unbooked: the common case of a sampled recording, before a hook is entered. False
 * decides nothing; 0 bytes are left to sample_draws. In a signal handler that interrupted a hook too: the countdown is
 * lowered by one instruction. */
static inline __attribute__((always_inline)) bool sample_passes(uint64_t word, size_t bytes) {
    if (!sample_is_on(word) || unlikely(bytes - 1 >= local.left)) return false;
    subtract_alone(&local.left, bytes);
    return true;
}

/* Before a free or a realloc is booked: the thread's newest block is not its newest where another passed unbooked. */
static inline void sample_age(void) {
    if (unlikely(load_relaxed(&sample_interval) != 0) && local.record != NULL
        && (local.left | local.left_inside) != local.first_left)
        local.record->last_allocated_address = 0;
}

#endif
