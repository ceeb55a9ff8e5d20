/*
 * The frees by which glibc raises M_MMAP_THRESHOLD: of blocks with mappings of their own. Each thread keeps the
 * largest.
 */
#ifndef HEAPSUM_MAPPED_H
#define HEAPSUM_MAPPED_H

#include "book/live.h"

/* Notes that this thread is about to free a block that has a mapping of its own. `place` is the block's. Only for
 * threads with a record. */
__attribute__((cold)) void mapped_note(struct place place, const void *block);

#endif
