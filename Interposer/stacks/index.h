/*
 * The index of the stack tree: from a parent and a frame to their node.
 */
#ifndef HEAPSUM_INDEX_H
#define HEAPSUM_INDEX_H

#include <stdint.h>

/* An image was made: no table is in use yet. */
void index_start(void);

/*
 * The node of this frame inside of `parent`, or 0 where the tree has none. Exact: an entry is confirmed by its node's
 * parent and frame. Lock-free. Complexity: one cache miss where there is none, two where there is one; one more while
 * a table grows.
 */
uint32_t index_find(uint32_t parent, uint64_t frame);

/* Enters a node that is written already. Returns it; or an equal one that another thread entered first. Where the index
 * has no room the node is not entered, and serves this once. */
uint32_t index_enter(uint32_t node);

#endif
