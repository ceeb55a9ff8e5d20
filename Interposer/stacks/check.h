/*
 * HEAPSUM_CHECK: checks the invariants of a stack in the tree. A broken one sets a flag in the image (image_broken);
 * nothing else changes.
 */
#ifndef HEAPSUM_STACKS_CHECK_H
#define HEAPSUM_STACKS_CHECK_H

#include <stdint.h>

#include "stacks/modules.h"
#include "stacks/unwind_own.h"

/* Checks the stack's own entries: each node's parent is older, its frame's module is known, and the path ends at the
 * root. */
void check_stack(uint32_t stack);

/* Checks that the stack's frames are those of these pcs, innermost first, as far as both go. `modules`: as frame_of. */
void check_frames(uint32_t stack, const struct pcs *pcs, struct module_cache *modules);

#endif
