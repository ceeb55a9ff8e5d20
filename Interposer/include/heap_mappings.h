/*
 * Memory that the program maps itself (`heaprun --mappings`). A part of the image's format (heap_image.h).
 */
#ifndef HEAP_MAPPINGS_H
#define HEAP_MAPPINGS_H

#include <assert.h>
#include <stdint.h>

#include "heap_slots.h"

/*
 * Mappings are booked by pages of 4,096 bytes.
 *
 * In a running image RANGES is a tree of four levels, like the processor's page table: a node has 512 entries, and an
 * entry covers 512 GB, 1 GB, 2 MB or a page. Node 1 is the root; node 0 begins with a heap_mapping_sums.
 *
 *   word:  63        62          37 36                0
 *         +---------+--------------+-------------------+
 *         | 0       | stack  26    | birth  37         |   these pages belong to one mapping; 0: to none
 *         +---------+--------------+-------------------+
 *         | 1       | number of the node that tells more |
 *         +---------+--------------+-------------------+
 *   more:  63                    28 27        8 7      5 4     0
 *         +------------------------+-----------+--------+-------+
 *         | pages of the call  36  | tick  20  | flags  | kind  |
 *         +------------------------+-----------+--------+-------+
 *
 * A birth is the number of the call that made the mapping. A run of pages with the same birth is one mapping: a hole
 * makes two of one. `more` is stored before `word`, so a reader reads word, more, and word again.
 */
enum heap_mapping_kind {
    HEAP_MAPPING_ANONYMOUS = 1,        /* private, without a file */
    HEAP_MAPPING_SHARED_ANONYMOUS = 2, /* the same, shared with the children */
    HEAP_MAPPING_STACK = 3, /* by MAP_STACK or MAP_GROWSDOWN: for a thread or coroutine of the program's own */
    HEAP_MAPPING_FILE = 4,  /* a file's private copy */
    HEAP_MAPPING_SHARED_FILE = 5,
    HEAP_MAPPING_MEMFD = 6,
    HEAP_MAPPING_SHARED_MEMORY = 7, /* by shmat, or a file in /dev/shm */
    HEAP_MAPPING_BREAK = 8,         /* by brk or sbrk */
    HEAP_MAPPING_DEVICE = 9,        /* another file in /dev */
    HEAP_MAPPING_REQUESTS = 29,     /* MAPPINGS only: no mapping, but a heap_request_sums */
    HEAP_MAPPING_POOL = 30,         /* MAPPINGS only: no mapping, but a block of a pool (heapsum_pool_allocated) */
    HEAP_MAPPING_ALLOCATOR = 31,    /* the allocator's own: its blocks are counted already. Has no stack */
};
#define HEAP_MAPPING_KIND_MASK 31u
#define HEAP_MAPPING_FLAG_RESERVED 32u /* mapped without access (PROT_NONE) */
#define HEAP_MAPPING_FLAG_HUGE 64u     /* MAP_HUGETLB */

#define HEAP_RANGE_NODE (1ull << 63)
#define HEAP_RANGE_STACK_SHIFT 37
#define HEAP_RANGE_BIRTH_MASK 0x1FFFFFFFFFull
#define HEAP_RANGE_ENTRIES 512u
#define HEAP_RANGE_LEVELS 4u
#define HEAP_RANGE_TICK_SHIFT 8
#define HEAP_RANGE_PAGES_SHIFT 28
#define HEAP_RANGE_ROOT 1u

struct heap_range {
    uint64_t word;
    uint64_t more;
};

struct heap_range_node {
    struct heap_range entries[HEAP_RANGE_ENTRIES];
};

/* The first entry of MAPPINGS, and in a running image the start of node 0. A heap_pool_sums follows it in both. */
struct heap_mapping_sums {
    uint64_t calls;           /* that mapped, unmapped or moved something */
    uint64_t lost_calls;      /* that were not booked, or not wholly: no space in RANGES … */
    uint64_t lost_bytes;      /* … and the bytes of theirs that are booked wrongly: missing, or unmapped since */
    uint64_t peak_bytes;      /* the most that was mapped at a time, without the allocator's */
    uint64_t discarded_bytes; /* given back by madvise (MADV_DONTNEED, MADV_FREE, MADV_REMOVE), in all */
    uint64_t discards;        /* calls of madvise that did so */
};

/* A mapping of a dense image, from the third entry of MAPPINGS on, in order of address; then the pools' blocks, too. */
struct heap_mapping {
    uint64_t start;
    uint64_t bytes;
    uint64_t slot;  /* stack and tick as in a slot; the low bits are zero */
    uint64_t birth; /* parts of one call's mapping have the same */
    uint32_t kind;  /* enum heap_mapping_kind */
    uint32_t flags; /* HEAP_MAPPING_FLAG_ */
    uint64_t reserved;
};

static inline int heap_range_is_node(uint64_t word) { return word >> 63 != 0; }
static inline uint64_t heap_range_birth(uint64_t word) { return word & HEAP_RANGE_BIRTH_MASK; }
static inline uint32_t heap_range_stack(uint64_t word) {
    return (uint32_t)(word >> HEAP_RANGE_STACK_SHIFT) & (HEAP_STACK_LIMIT - 1);
}
static inline uint32_t heap_range_tick(uint64_t more) {
    return (uint32_t)(more >> HEAP_RANGE_TICK_SHIFT & HEAP_SLOT_TICK_MASK);
}
/* How many pages an entry covers, as a power of two; level 0 has the pages, level 3 is the root's. */
static inline uint32_t heap_range_log2(uint32_t level) { return level * 9; }

static_assert(sizeof(struct heap_range_node) == 8192, "range node");
static_assert(sizeof(struct heap_mapping) == 48, "mapping");
static_assert(sizeof(struct heap_mapping_sums) == sizeof(struct heap_mapping), "sums: the first entry of MAPPINGS");

#endif
