/*
 * Blocks of the program's own pools (heapsum_pool_allocated, under `heaprun --mappings`). A part of the image's format
 * (heap_image.h).
 */
#ifndef HEAP_POOLS_H
#define HEAP_POOLS_H

#include <assert.h>
#include <stdint.h>

#include "heap_mappings.h"

/*
 * Blocks of the program's pools have a tree of their own in RANGES, from node 2: five levels, by granules of 16 bytes.
 * An entry of its lowest level is a block that begins there; in its `more` the bytes stand where the pages of a call
 * stand above, and the low bits are the address's offset in its granule.
 */
#define HEAP_RANGE_POOLS 2u
#define HEAP_POOL_LEVELS 5u
#define HEAP_POOL_GRANULE_LOG2 4
#define HEAP_POOL_OFFSET_MASK 15u

struct heap_pool_sums {
    uint64_t allocated_blocks, allocated_bytes;
    uint64_t freed_blocks, freed_bytes;
    uint64_t lost_blocks;     /* not booked: no space, or another block in the same granule of 16 bytes */
    uint64_t unmatched_frees; /* of blocks that were not booked */
};

static_assert(sizeof(struct heap_pool_sums) == sizeof(struct heap_mapping), "sums: the second entry of MAPPINGS");

#endif
