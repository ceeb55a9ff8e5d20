/*
 * Sampling: decides which allocations are booked if not all are (heap_sampling.h).
 *
 * Each thread counts down the bytes to the next drawn byte. The distances are exponentially distributed: the rest of a
 * distance does not depend on the past, so the order of allocations does not matter. The draw is made before the real
 * call, and does not depend on its result.
 */
#ifndef HEAPSUM_SAMPLE_H
#define HEAPSUM_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "threads/hook.h"
#include "threads/thread.h"

/* The image's `sample_interval`; 0: all allocations are booked. */
extern HIDDEN uint64_t sample_interval;

/* Gives this thread a generator and a first distance, when it begins to book into the image. */
void sample_begin(uint32_t index);

/* Whether the countdown is checked before a hook is entered. */
bool sample_is_early(void);

/* Whether an allocation of `bytes` is drawn. Call it in a hook of a sampled recording. Async-signal-safe. */
bool sample_draws(size_t bytes);

/* Whether this allocation must be booked. Call it in a hook. */
static inline bool sample_books(size_t bytes) {
    return likely(load_relaxed(&sample_interval) == 0) || sample_draws(bytes);
}

/* Whether this thread passes unbooked calls without entering a hook. Only with glibc: its functions call none that we
 * interpose, so no allocation is drawn twice. `word` is hook_word's. Ask hook_is_plain first: before the loader has set
 * this thread's initial values, all these numbers are 0, and the thread seems to be plain. */
static inline __attribute__((always_inline)) bool sample_is_on(uint64_t word) { return word == local.passing; }

/*
 * Lowers a countdown. False if that ends it: then it is 0, so sample_draws draws. 0 bytes, and more than any block has,
 * are left to sample_draws.
 *
 * A signal handler of this thread may allocate between any two instructions. So one of them lowers the countdown and
 * tells whether it has ended. If it had been looked at before, a handler could lower it meanwhile, and it would begin
 * again near 2^64: the thread would draw no more. A countdown below 0 is one that has ended, for a handler too.
 */
static inline __attribute__((always_inline)) bool sample_counts_down(int64_t *left, size_t bytes) {
    if (unlikely((int64_t)bytes <= 0)) return false;
    if (likely(!lower_alone(left, (int64_t)bytes))) return true;
    store_relaxed(left, 0);
    return false;
}

/* Whether an allocation passes unbooked: the common case of a sampled recording, before a hook is entered. False
 * decides nothing. It is also safe in a signal handler that interrupted a hook. */
static inline __attribute__((always_inline)) bool sample_passes(uint64_t word, size_t bytes) {
    if (!sample_is_on(word) || unlikely(!sample_counts_down(&local.left, bytes))) return false;
    return true;
}

/* The same with another allocator, in a hook. */
static inline __attribute__((always_inline)) bool sample_passes_inside(size_t bytes) {
    return sample_counts_down(&local.left_inside, bytes);
}

/* Called before a free or a realloc is booked. If an allocation passed unbooked, the thread's newest booked block is
 * not its newest block. */
static inline void sample_age(void) {
    if (unlikely(load_relaxed(&sample_interval) != 0) && local.record != NULL
        && (local.left | local.left_inside) != local.first_left)
        local.record->last_allocated_address = 0;
}

#endif
