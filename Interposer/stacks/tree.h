/*
 * The stack tree: one number a unique stack.
 */
#ifndef HEAPSUM_TREE_H
#define HEAPSUM_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/options.h"

/* The stack that booked what has none: depth 0, or no space for it. */
#define TREE_EMPTY_STACK 1u

/* An image was made: no table is in use yet. */
void tree_start(void);

/* The hash of no frames, from which the others run: a random number, the process's own. */
extern HIDDEN uint64_t tree_seed;

/* The hash of a stack with one more frame inside of it. A multiply and a fold of its 128 bits: each bit of the frame
 * reaches each bit of the hash. */
static inline uint64_t tree_hash(uint64_t outer, uint64_t frame) {
    __uint128_t product = (__uint128_t)(outer ^ 0x9E3779B97F4A7C15ull) * (frame ^ 0xD6E8FEB86659FD93ull);
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ frame << 7;
}

struct tree_stack {
    uint32_t number;
    bool is_cut; /* the stack is new and beyond the limit, so this one stands for it: to be counted for each block */
};

/*
 * The stack with these frames inside of `node`, outermost first; `nodes` gets the frames' nodes, 0 for those that the
 * tree doesn't have. TREE_EMPTY_STACK where there is no space for a new one (counted). Lock-free: two threads that
 * enter the same stack at once may get two nodes for a frame, which readers merge. Complexity: one look-up in the index
 * for each frame up to the first that is new, which no more frame inside of it needs.
 */
struct tree_stack tree_stack(uint32_t node, const uint64_t *frames, uint32_t *nodes, size_t count);

/* A stack being put together, outermost first. */
struct stack_space {
    size_t count;
    uint64_t hash;                           /* of the frames so far */
    uint64_t frames[OPTIONS_DEPTH_MOST + 3]; /* the cut and the thread's own frame beside them */
    uint32_t nodes[OPTIONS_DEPTH_MOST + 3];
};

static inline void stack_begin(struct stack_space *space) {
    space->count = 0;
    space->hash = tree_seed;
}
static inline void stack_append(struct stack_space *space, uint64_t frame) {
    space->frames[space->count++] = frame;
    space->hash = tree_hash(space->hash, frame);
}

/* Stacks of late, by their hash: seeded, and all of its 64 bits. Of one thread, at level 0. */
#define RECENT_STACKS 2048
#define RECENT_IS_CUT (1u << 31) /* beside the number: as tree_stack.is_cut */
struct recent_stack {
    uint64_t hash;
    uint32_t stack;  /* 0: none */
    uint32_t parent; /* node that the innermost frame lies inside of; 0: not known */
};

/* Keeps a stack. A signal handler may leave by longjmp in the middle: the number goes first and comes back last. */
static inline void recent_keep(struct recent_stack *recent, uint64_t hash, struct tree_stack stack, uint32_t parent) {
    recent->stack = 0;
    fence_compiler();
    recent->hash = hash;
    recent->parent = parent;
    fence_compiler();
    recent->stack = stack.number | (stack.is_cut ? RECENT_IS_CUT : 0);
}

#endif
