/*
 * The index of the stack tree: finds the node of a parent and a frame.
 */
#ifndef HEAPSUM_INDEX_H
#define HEAPSUM_INDEX_H

#include <stdint.h>

/* Called when a fresh image was made: no table is in use yet. */
void index_start(void);

/*
 * The node of this frame inside `parent`, or 0 if the tree has none. Exact: an entry is confirmed by its node's parent
 * and frame. Lock-free. Complexity: one cache miss if there is no node, two if there is one; one more while a table
 * grows.
 */
uint32_t index_find(uint32_t parent, uint64_t frame);

/* Enters a node that is already written. Returns it, or an equal node that another thread entered first. If the index
 * has no room, the node is not entered and is used only this once. */
uint32_t index_enter(uint32_t node);

#endif
