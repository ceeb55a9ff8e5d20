/*
 * What only some stacks need besides their counters: what they held at the peak and at snapshots, and how long their
 * blocks lived. It is in section DETAILS, and made when a stack first needs it.
 */
#ifndef HEAPSUM_DETAILS_H
#define HEAPSUM_DETAILS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "include/heap_image.h"

/* One thread may fold the free of a block before another folds its allocation, so a sum may be below zero for a
 * while. */
static inline uint64_t not_below_zero(uint64_t sum) { return (int64_t)sum > 0 ? sum : 0; }

/* Adds to a counter. `alone`: no other thread adds meanwhile, so no lock prefix is needed. */
static inline __attribute__((always_inline)) void counter_add(uint64_t *counter, uint64_t value, bool alone) {
    if (alone) add_alone(counter, value);
    else add_relaxed(counter, value);
}

/* Copies what the stack holds to each level between its own `levels` and the given ones. Must be called before its
 * counters change. If DETAILS has no space, the level reads as 0; that is counted (lost_details). */
void details_copy_levels(struct heap_stack *stack, uint32_t levels);

/* Counts a block that was allocated at tick `born` and freed at tick `died`; `blocks` is what it counts for. */
void details_count_lifetime(struct heap_stack *stack, uint32_t born, uint32_t died, uint64_t blocks, bool alone);

#endif
