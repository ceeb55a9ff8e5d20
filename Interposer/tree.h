/*
 * The stack tree: one number a unique stack.
 */
#ifndef HEAPSUM_TREE_H
#define HEAPSUM_TREE_H

#include <stddef.h>
#include <stdint.h>

/* The hash tables from a stack's hash to its node: 4,096 entries of 8 bytes, then twice as many, and so on. */
#define TREE_INDEX_FIRST_LOG2 12
#define TREE_INDEX_TABLES 14
#define TREE_INDEX_BYTES (((1ull << TREE_INDEX_TABLES) - 1) << TREE_INDEX_FIRST_LOG2 << 3)

/* The stack that booked what has none: depth 0, or no space for it. */
#define TREE_EMPTY_STACK 1u

/* An image was made: no table is in use yet. */
void tree_start(void);

/*
 * The number of the stack with these frames, innermost first; TREE_EMPTY_STACK where there is no space for a new one
 * (counted). `hashes` is room for count + 1 words.
 * Lock-free: two threads that enter the same stack at once may get two nodes for a frame, which readers merge.
 * Complexity: one probe where the stack is known; else one more for each frame, outwards, up to the first known.
 */
uint32_t tree_stack(const uint64_t *frames, size_t count, uint64_t *hashes);

#endif
