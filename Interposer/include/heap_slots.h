/*
 * Live blocks: slots and the pieces of the live map in which they lie, and the ticks that slots hold. A part of the
 * image's format (heap_image.h).
 */
#ifndef HEAP_SLOTS_H
#define HEAP_SLOTS_H

#include <assert.h>
#include <stdint.h>

/* ---- Live blocks --------------------------------------------------------------------------------- */

/*
 * A slot is one word that names the stack that allocated a live block. 0 is an empty slot.
 *
 *     63          38 37          18 17               0
 *    +--------------+--------------+------------------+
 *    | stack  26    | tick  20     | low  18          |
 *    +--------------+--------------+------------------+
 *      fine map:     low = requested bytes << 5 | address's offset in its granule
 *      coarse maps:  low = address's offset in its granule; the slot's second word = requested bytes
 *
 * No stack has number 0, so a word whose stack field is 0 is not a block. If bit 37 is set, the word is a claim: the
 * thread whose index is in the low bits claimed the block for a realloc in flight, and its heap_in_flight holds the
 * slot's earlier word.
 *
 * A block lives in the coarsest map whose granule is not above its usable size (malloc_usable_size), which is the same
 * when it is allocated and when it is freed. Two blocks of one map can't share a granule, because a block spans at
 * least one granule of its map.
 */
#define HEAP_SLOT_STACK_SHIFT 38
#define HEAP_SLOT_TICK_SHIFT 18
#define HEAP_SLOT_TICK_MASK 0xFFFFFull
#define HEAP_SLOT_LOW_MASK 0x3FFFFull
#define HEAP_SLOT_FINE_SIZE_SHIFT 5
#define HEAP_SLOT_FINE_OFFSET_MASK 31u
#define HEAP_SLOT_CLAIMED (1ull << 37)
/* the other word that is not a block of the program: a block of the recorder's own (the unwinder's thread data) */
#define HEAP_SLOT_OURS (1ull << 36)
#define HEAP_STACK_LIMIT (1u << 26)

#define HEAP_MAP_COUNT 5u
#define HEAP_MAP_FINE 0u
#define HEAP_PIECE_BYTES 16384u
#define HEAP_ADDRESS_BITS 48

/* A map's granule is 1 << heap_header.granule_log2[map] bytes; only the fine map's depends on the allocator. */
#define HEAP_GRANULE_LOG2_FINE_GLIBC 5
#define HEAP_GRANULE_LOG2_FINE_OTHER 3
#define HEAP_GRANULE_LOG2_1 9
#define HEAP_GRANULE_LOG2_2 12
#define HEAP_GRANULE_LOG2_3 13
#define HEAP_GRANULE_LOG2_4 17

enum heap_piece_kind {
    HEAP_PIECE_FREE = 0,   /* handed out, but not (yet) in the tree: a reader ignores it */
    HEAP_PIECE_BRANCH = 1, /* 4,096 numbers of leaf pieces, 32 bits each; recorder only */
    HEAP_PIECE_LEAF = 2,   /* slots: one word each in the fine map, two words in the others */
};

struct heap_piece {
    uint64_t base; /* leaf: the address where its first granule begins */
    uint32_t kind; /* enum heap_piece_kind */
    uint32_t map;  /* 0 fine … 4 coarsest */
};

/* One live block of a dense image. */
struct heap_block {
    uint64_t address;
    uint64_t slot;  /* stack and tick as above; the low bits are zero */
    uint64_t bytes; /* as requested */
};

/*
 * The geometry of a map: words per slot, slots per leaf, and how many address bits a leaf and a branch cover. A branch
 * is a piece of 1 << HEAP_BRANCH_LOG2 numbers.
 */
#define HEAP_BRANCH_LOG2 12
static inline uint32_t heap_map_slot_words(uint32_t map) { return map == HEAP_MAP_FINE ? 1 : 2; }
static inline uint32_t heap_map_slot_bytes(uint32_t map) {
    return heap_map_slot_words(map) * (uint32_t)sizeof(uint64_t);
}
static inline uint32_t heap_map_leaf_slots(uint32_t map) { return HEAP_PIECE_BYTES / heap_map_slot_bytes(map); }
static inline uint32_t heap_map_leaf_log2(uint32_t map, uint32_t granule_log2) {
    return granule_log2 + (uint32_t)__builtin_ctz(heap_map_leaf_slots(map));
}
static inline uint32_t heap_map_branch_log2(uint32_t map, uint32_t granule_log2) {
    return heap_map_leaf_log2(map, granule_log2) + HEAP_BRANCH_LOG2;
}

static inline uint32_t heap_slot_stack(uint64_t slot) { return (uint32_t)(slot >> HEAP_SLOT_STACK_SHIFT); }
static inline uint32_t heap_slot_tick(uint64_t slot) {
    return (uint32_t)(slot >> HEAP_SLOT_TICK_SHIFT & HEAP_SLOT_TICK_MASK);
}
static inline uint32_t heap_slot_low(uint64_t slot) { return (uint32_t)(slot & HEAP_SLOT_LOW_MASK); }
static inline uint64_t heap_slot_make(uint32_t stack, uint32_t tick, uint32_t low) {
    return (uint64_t)stack << HEAP_SLOT_STACK_SHIFT | (uint64_t)tick << HEAP_SLOT_TICK_SHIFT | low;
}
/* Whether the slot holds a claim, or a block of the recorder's own: no block of the program. */
static inline int heap_slot_is_reserved(uint64_t slot) { return slot != 0 && heap_slot_stack(slot) == 0; }
static inline uint64_t heap_slot_claim(uint32_t thread) { return HEAP_SLOT_CLAIMED | thread; }
static inline uint32_t heap_slot_claim_thread(uint64_t slot) { return (uint32_t)slot; }

/* ---- Time ---------------------------------------------------------------------------------------- */

/*
 * A tick is a time since the recording's start, in 20 bits. Its step grows with the run's age: 32,768 ticks of 1 ms,
 * then 32,768 of 2 ms, of 4 ms, and so on. So a tick is never wider than 1/32,768 of the run's age, and 20 bits last
 * for 4,000 years.
 */
#define HEAP_TICK_SEGMENT_LOG2 15

static inline uint32_t heap_tick_of_milliseconds(uint64_t milliseconds) {
    uint64_t value = milliseconds + (1ull << HEAP_TICK_SEGMENT_LOG2);
    uint32_t segment = (uint32_t)(63 - __builtin_clzll(value)) - HEAP_TICK_SEGMENT_LOG2;
    if (segment > 31) return (uint32_t)HEAP_SLOT_TICK_MASK;
    return segment << HEAP_TICK_SEGMENT_LOG2 | ((uint32_t)(value >> segment) & ((1u << HEAP_TICK_SEGMENT_LOG2) - 1));
}
static inline uint64_t heap_tick_milliseconds(uint32_t tick) { /* the first millisecond that the tick covers */
    uint32_t segment = tick >> HEAP_TICK_SEGMENT_LOG2 & 31;
    uint64_t mantissa = (tick & ((1u << HEAP_TICK_SEGMENT_LOG2) - 1)) + (1ull << HEAP_TICK_SEGMENT_LOG2);
    return (mantissa << segment) - (1ull << HEAP_TICK_SEGMENT_LOG2);
}

static_assert(sizeof(struct heap_piece) == 16, "piece");
static_assert(sizeof(struct heap_block) == 24, "block");
static_assert(HEAP_PIECE_BYTES == sizeof(uint32_t) << HEAP_BRANCH_LOG2, "a branch fills its piece");
static_assert(HEAP_SLOT_FINE_OFFSET_MASK == (1u << HEAP_SLOT_FINE_SIZE_SHIFT) - 1, "the size begins behind the offset");
static_assert(
    HEAP_GRANULE_LOG2_FINE_GLIBC <= HEAP_SLOT_FINE_SIZE_SHIFT, "a slot's low bits hold the offset in a fine granule");

#endif
