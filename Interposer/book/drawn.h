/*
 * Where the booked blocks of a sampled recording are, to the page. Nearly every free of such a recording is of a block
 * that was not drawn. It must learn that without a look into the live map, whose slots are as many as the blocks of the
 * program and leave the cache as these do: a byte a page stays in it.
 *
 * A byte counts the booked blocks that begin on its page, and on the pages that are a multiple of 1 GB away. A count is
 * never too low: it rises before the program has the block, and falls when the block is booked no more. It may be too
 * high, where a free went past us; that costs a look into the live map. A count that reached 255 stays.
 */
#ifndef HEAPSUM_DRAWN_H
#define HEAPSUM_DRAWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "threads/sample.h"

#define DRAWN_PAGE_LOG2 12
#define DRAWN_PAGE (1u << DRAWN_PAGE_LOG2)
#define DRAWN_PAGES (1u << 18)
#define DRAWN_MOST UINT8_MAX

extern HIDDEN uint8_t drawn_counts[DRAWN_PAGES];

static inline uint8_t *drawn_count(const void *block) {
    return &drawn_counts[(uintptr_t)block >> DRAWN_PAGE_LOG2 & (DRAWN_PAGES - 1)];
}

/* Whether a booked block may begin on this block's page. NULL and the arena's blocks, which need another way, count as
 * such blocks. In an exact recording nothing is known. Async-signal-safe. */
static inline __attribute__((always_inline)) bool drawn_may_be_near(const void *block) {
    return load_relaxed(drawn_count(block)) != 0;
}

/* Whether a recording is sampled and this block is not booked, without a look into the live map. */
static inline bool drawn_rules_out(const void *block) {
    return unlikely(load_relaxed(&sample_interval) != 0) && likely(!drawn_may_be_near(block));
}

/* A new recording: no block is booked. No hook is running. */
void drawn_start(void);

/* A block was booked, or one that was is booked no more. In an exact recording these do nothing. Both may be called in
 * a signal handler that interrupted either. */
void drawn_came(const void *block);
void drawn_went(const void *block);

#endif
