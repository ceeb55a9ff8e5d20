/*
 * Blocks of the program's own pools (heapsum_pool_allocated, under `heaprun --mappings`). A part of the image's format
 * (heap_image.h).
 */
#ifndef HEAP_POOLS_H
#define HEAP_POOLS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "heap_mappings.h"

/*
 * Blocks of the program's pools have a tree of their own in RANGES, from node 2: five levels, by granules of 16 bytes.
 * An entry of its lowest level is a block that begins there; in its `more` the bytes stand where the pages of a call
 * stand above, and the low bits are the address's offset in its granule. Its birth is of two parts: the low 21 bits
 * count blocks, and the 16 bits above are the number of its pool, by which the recorder finds it again when the pool is
 * destroyed; 0: of no pool. Node 3 is where the recorder keeps the pools.
 */
#define HEAP_RANGE_POOLS 2u
#define HEAP_RANGE_POOL_NAMES 3u
#define HEAP_POOL_NUMBER_SHIFT 21
#define HEAP_POOL_NUMBER_MASK 0xFFFFull
#define HEAP_POOL_COUNT_MASK 0x1FFFFFull
#define HEAP_POOL_LEVELS 5u
#define HEAP_POOL_GRANULE_LOG2 4
#define HEAP_POOL_OFFSET_MASK 15u

struct heap_pool_sums {
    uint64_t allocated_blocks, allocated_bytes;
    uint64_t freed_blocks, freed_bytes;
    uint64_t lost_blocks;     /* not booked: no space, or another block in the same granule of 16 bytes */
    uint64_t unmatched_frees; /* of blocks that were not booked */
};

/*
 * Under `heaprun --valgrind-requests`: the places in the program's code with a client request of Valgrind's. In a
 * running image it follows the heap_pool_sums; in a dense one it is an entry of MAPPINGS like a mapping, of a kind of
 * its own, behind all others. `kind` 0: the option was not given.
 */
struct heap_request_sums {
    uint64_t places;   /* that lead to the recorder */
    uint64_t refused;  /* left as they are: their memory could not be written, or nothing could be mapped near them */
    uint64_t unsure;   /* left as they are: no call frame information says that they are code */
    uint64_t requests; /* that came: of the kinds that are booked, while the program was recorded */
    uint32_t kind;     /* HEAP_MAPPING_REQUESTS */
    uint32_t flags;
    uint64_t lost_pools; /* blocks that were booked without their pool: too many pools, or no space */
};

static_assert(sizeof(struct heap_request_sums) == sizeof(struct heap_mapping)
        && offsetof(struct heap_request_sums, kind) == offsetof(struct heap_mapping, kind),
    "sums: an entry of MAPPINGS");
static_assert(HEAP_POOL_COUNT_MASK + (HEAP_POOL_NUMBER_MASK << HEAP_POOL_NUMBER_SHIFT) == HEAP_RANGE_BIRTH_MASK,
    "a pool's block: its birth");
static_assert(sizeof(struct heap_pool_sums) == sizeof(struct heap_mapping), "sums: the second entry of MAPPINGS");

#endif
