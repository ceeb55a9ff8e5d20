/*
 * The counts of booked blocks by page.
 */
#include "book/drawn.h"

#include "base/arena.h"
#include "base/system.h"

/* Pages of their own, which have no memory until something on them is counted. */
uint8_t drawn_counts[DRAWN_PAGES] __attribute__((aligned(MACHINE_PAGE_MOST)));
_Static_assert(sizeof drawn_counts % MACHINE_PAGE_MOST == 0, "whole pages");

static bool is_sampled(void) { return unlikely(load_relaxed(&sample_interval) != 0); }

void drawn_start(void) {
    if (!is_sampled()) return;
    system_advise(drawn_counts, sizeof drawn_counts, MADV_DONTNEED); /* zeroes it; locked pages stay, which is no harm
                                                                      */
    store_relaxed(drawn_count(NULL), DRAWN_MOST);
    for (uintptr_t at = 0; at < ARENA_BYTES + DRAWN_PAGE; at += DRAWN_PAGE)
        store_relaxed(drawn_count(arena + at), DRAWN_MOST);
}

void drawn_came(const void *block) {
    if (!is_sampled()) return;
    uint8_t *count = drawn_count(block), seen = load_relaxed(count);
    while (seen != DRAWN_MOST && !cas_relaxed(count, &seen, (uint8_t)(seen + 1))) continue;
}

void drawn_went(const void *block) {
    if (!is_sampled()) return;
    uint8_t *count = drawn_count(block), seen = load_relaxed(count);
    while (seen != DRAWN_MOST && seen != 0 && !cas_relaxed(count, &seen, (uint8_t)(seen - 1))) continue;
}
