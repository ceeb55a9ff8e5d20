/*
 * The stack tree: gives each unique stack a number.
 */
#ifndef HEAPSUM_TREE_H
#define HEAPSUM_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/options.h"

/* The empty stack: blocks without a stack are booked under it (depth 0, or no space for the stack). */
#define TREE_EMPTY_STACK 1u

/* Called when a fresh image was made: no table is in use yet. */
void tree_start(void);

/* The hash of an empty stack, from which the others are computed: a random number for each process. */
extern HIDDEN uint64_t tree_seed;

/* The hash of a stack with one more inner frame. A multiplication and a fold of its 128 bits: each bit of the frame
 * affects each bit of the hash. */
static inline uint64_t tree_hash(uint64_t outer, uint64_t frame) {
    __uint128_t product = (__uint128_t)(outer ^ 0x9E3779B97F4A7C15ull) * (frame ^ 0xD6E8FEB86659FD93ull);
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ frame << 7;
}

struct tree_stack {
    uint32_t number;
    bool is_cut; /* the stack is new and beyond the limit, so this one is used instead; counted for each block */
};

/*
 * The stack with these frames inside `node`, outermost first. `nodes` gets the frames' nodes, 0 for frames that the
 * tree doesn't have. TREE_EMPTY_STACK if there is no space for a new stack (counted). Lock-free: two threads that enter
 * the same stack at once may get two nodes for a frame, which readers merge. Complexity: one look-up in the index for
 * each frame up to the first new one; frames inside that one need none.
 */
struct tree_stack tree_stack(uint32_t node, const uint64_t *frames, uint32_t *nodes, size_t count);

/* Work space for putting a stack together, outermost frame first. */
struct stack_space {
    size_t count;
    uint64_t hash;                           /* of the frames so far */
    uint64_t frames[OPTIONS_DEPTH_MOST + 4]; /* and the tag, the thread's own frame, and the cuts */
    uint32_t nodes[OPTIONS_DEPTH_MOST + 4];
};

static inline void stack_begin(struct stack_space *space) {
    space->count = 0;
    space->hash = tree_seed;
}
static inline void stack_append(struct stack_space *space, uint64_t frame) {
    space->frames[space->count++] = frame;
    space->hash = tree_hash(space->hash, frame);
}

/* A thread's recent stacks, by all 64 bits of their seeded hash. Used at level 0 only. */
#define RECENT_STACKS 2048
#define RECENT_IS_CUT (1u << 31) /* a flag beside the number: tree_stack.is_cut */
struct recent_stack {
    uint64_t hash;
    uint32_t stack;  /* 0: none */
    uint32_t parent; /* node of the innermost frame's caller; 0: not known */
};

/* Keeps a stack. A signal handler may leave by longjmp in the middle, so the number is cleared first and written
 * last. */
static inline void recent_keep(struct recent_stack *recent, uint64_t hash, struct tree_stack stack, uint32_t parent) {
    recent->stack = 0;
    fence_compiler();
    recent->hash = hash;
    recent->parent = parent;
    fence_compiler();
    recent->stack = stack.number | (stack.is_cut ? RECENT_IS_CUT : 0);
}

#endif
