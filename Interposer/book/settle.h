/*
 * Settles what a thread left unfinished: when a longjmp out of a signal handler ended a hook, or the thread ended.
 */
#ifndef HEAPSUM_SETTLE_H
#define HEAPSUM_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "include/heap_image.h"

/* Whether the slot of the block at this address holds this word. The block may be freed. */
bool settle_slot_holds(uintptr_t address, uint64_t word);

/* Ends a reallocation whose hook never returned: an old block that is still claimed is restored, a new block is
 * published. */
void settle_reallocation(struct heap_in_flight *flight, uint32_t thread);

#endif
