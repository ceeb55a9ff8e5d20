/*
 * The stack tree: one number a unique stack.
 */
#ifndef HEAPSUM_TREE_H
#define HEAPSUM_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "base/options.h"

/* The stack that booked what has none: depth 0, or no space for it. */
#define TREE_EMPTY_STACK 1u

/* An image was made: no table is in use yet. */
void tree_start(void);

/* The hash of no frames, from which the others run. */
uint64_t tree_root_hash(void);

/* The hash of a stack with one more frame inside of it. A multiply and a fold of its 128 bits: each bit of the frame
 * reaches each bit of the hash. */
static inline uint64_t tree_hash(uint64_t outer, uint64_t frame) {
    __uint128_t product = (__uint128_t)(outer ^ 0x9E3779B97F4A7C15ull) * (frame ^ 0xD6E8FEB86659FD93ull);
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ frame << 7;
}

/*
 * The number of the stack with these frames, outermost first, and their running hashes; TREE_EMPTY_STACK where there
 * are none, or no space for a new one (counted). Lock-free: two threads that enter the same stack at once may get two
 * nodes for a frame, which readers merge. Complexity: one probe where the stack is known; else one more for each frame,
 * outwards, up to the first known.
 */
uint32_t tree_stack(const uint64_t *frames, const uint64_t *hashes, size_t count);

/* The number of the stack with this innermost frame and hash, or 0 where the tree has none. Complexity: one probe. */
uint32_t tree_known(uint64_t frame, uint64_t hash);

/* A stack being put together, outermost first. */
struct stack_space {
    size_t count;
    uint64_t frames[OPTIONS_DEPTH_MOST + 3]; /* the cut and the thread's own frame beside them */
    uint64_t hashes[OPTIONS_DEPTH_MOST + 3];
};

static inline void stack_append(struct stack_space *space, uint64_t frame) {
    space->frames[space->count] = frame;
    space->hashes[space->count] =
        tree_hash(space->count > 0 ? space->hashes[space->count - 1] : tree_root_hash(), frame);
    space->count++;
}

#endif
