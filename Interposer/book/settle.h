/*
 * What a thread left unfinished: a hook that a longjmp out of a signal handler ended, or the end of the thread.
 */
#ifndef HEAPSUM_SETTLE_H
#define HEAPSUM_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "include/heap_image.h"

/* Whether the slot of the block at this address holds this word. The block may be gone. */
bool settle_slot_holds(uintptr_t address, uint64_t word);

/* Ends a reallocation whose hook never came back: an old block that is still claimed stands again, a new one is
 * published. */
void settle_reallocation(struct heap_in_flight *flight, uint32_t thread);

#endif
