/*
 * The live map: which blocks are live.
 *
 * Each of the five granules has a tree of two levels below a top table: address -> branch -> leaf -> slot, in pieces of
 * 16 KB. Both the tree and the file grow by pieces, so the file has no holes for readers, and each piece's descriptor
 * says which addresses it covers.
 */
#ifndef HEAPSUM_LIVE_H
#define HEAPSUM_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/next.h"
#include "image/image.h"
#include "threads/thread.h"

/* Where a block's slot is, or would be. */
struct place {
    uint64_t *slot; /* NULL: no leaf covers the address */
    uint32_t map;
    uint32_t offset; /* of the address in its granule */
};

/* Called when a fresh image was made: computes the shape of its tops. */
void live_start(void);

/* A map's shape, for this image's granules. */
struct live_shape {
    uint64_t top; /* index of the map's first entry in TOPS */
    uint32_t granule_log2;
    uint32_t leaf_log2; /* a leaf covers 1 << leaf_log2 bytes */
    uint32_t slot_words;
};
extern HIDDEN struct live_shape live_shapes[HEAP_MAP_COUNT];

#define LIVE_BRANCH_LOG2 HEAP_BRANCH_LOG2

static inline uint32_t live_map_for(size_t usable) {
    if (usable < 1u << HEAP_GRANULE_LOG2_1) return HEAP_MAP_FINE;
    if (usable < 1u << HEAP_GRANULE_LOG2_2) return 1;
    if (usable < 1u << HEAP_GRANULE_LOG2_3) return 2;
    return usable < 1u << HEAP_GRANULE_LOG2_4 ? 3 : 4;
}

static inline uint32_t *live_branch_entry(uint32_t branch, const struct live_shape *shape, uintptr_t address) {
    uint32_t *entries = (uint32_t *)(image.slots + (uint64_t)branch * HEAP_PIECE_BYTES);
    return &entries[address >> shape->leaf_log2 & ((1u << LIVE_BRANCH_LOG2) - 1)];
}

static inline uint64_t *live_leaf_slot(uint32_t leaf, const struct live_shape *shape, uintptr_t address) {
    uint64_t *slots = (uint64_t *)(image.slots + (uint64_t)leaf * HEAP_PIECE_BYTES);
    return &slots[((address & ((1ull << shape->leaf_log2) - 1)) >> shape->granule_log2) * shape->slot_words];
}

/* The same look-up, if a page of TOPS may have no memory yet. */
struct place live_look_up_slowly(uintptr_t address, uint32_t map);

/* The place of the live block at this address, in any map. Its slot is NULL if there is none. */
struct place live_search(uintptr_t address);

/* The place of a live block of another allocator than glibc, which is not at `fine`, its place in the fine map. */
struct place live_find_coarse(const void *block, struct place fine);

/* A look-up in a map of this shape: three dependent loads; the first two stay in the cache. */
static inline __attribute__((always_inline)) struct place live_look_up(
    uintptr_t address, uint32_t map, struct live_shape shape) {
    struct place place = {.map = map, .offset = (uint32_t)(address & ((1ull << shape.granule_log2) - 1))};
    if (unlikely(address >> HEAP_ADDRESS_BITS != 0)) return place;
    uint64_t top = shape.top + (address >> (shape.leaf_log2 + LIVE_BRANCH_LOG2));
    if (unlikely(!image_top_is_there(top))) return live_look_up_slowly(address, map);
    uint32_t branch = load_acquire(&image.tops[top]); /* partner: the swap in live_grow, as below */
    if (unlikely(branch == 0)) return place;
    uint32_t leaf = load_acquire(live_branch_entry(branch, &shape, address));
    if (likely(leaf != 0)) place.slot = live_leaf_slot(leaf, &shape, address);
    return place;
}

/* The shapes of the fine map, for glibc and for any other allocator, as constants for the compiler. This map is laid
 * out first, so its tops begin at 0. */
#define LIVE_SHAPE_FINE(granule_log2) \
    ((struct live_shape){0, (granule_log2), heap_map_leaf_log2(HEAP_MAP_FINE, (granule_log2)), 1})
#define LIVE_SHAPE_GLIBC LIVE_SHAPE_FINE(HEAP_GRANULE_LOG2_FINE_GLIBC)
#define LIVE_SHAPE_OTHER LIVE_SHAPE_FINE(HEAP_GRANULE_LOG2_FINE_OTHER)

/* A look-up in this process's fine map; remembers the branch for this thread. */
struct place live_look_up_fine_slowly(uintptr_t address);

/* Where a block would be in the fine map; `shape` is this process's of the two above. Two dependent loads; the first
 * stays in the cache: 4 bytes for 64 KB of glibc's heap, or 16 KB of another's. */
static inline __attribute__((always_inline)) struct place live_look_up_fine(
    uintptr_t address, struct live_shape shape) {
    const uint64_t region = address >> (shape.leaf_log2 + LIVE_BRANCH_LOG2);
    const uint64_t branch = load_relaxed(&local.branches[region % THREAD_BRANCHES]);
    struct place place = {.offset = (uint32_t)(address & ((1u << shape.granule_log2) - 1))};
    if (likely(thread_branch_covers(branch, region))) {
        /* partner: the swap in live_grow */
        uint32_t leaf = load_acquire(live_branch_entry(thread_branch_piece(branch), &shape, address));
        if (likely(leaf != 0)) place.slot = live_leaf_slot(leaf, &shape, address);
    } else {
        place = live_look_up_fine_slowly(address);
    }
    place.map = HEAP_MAP_FINE; /* tells the compiler */
    return place;
}

/* The place of the block at `address` with this usable size. The allocator must give the same size all its life. */
static inline struct place live_find(uintptr_t address, size_t usable) {
    uint32_t map = live_map_for(usable);
    if (map != HEAP_MAP_FINE) return live_look_up(address, map, live_shapes[map]);
    return next.is_glibc ? live_look_up_fine(address, LIVE_SHAPE_GLIBC) : live_look_up_fine(address, LIVE_SHAPE_OTHER);
}

/*
 * glibc keeps a chunk's size in the word before the block, with three flags in its low bits; bit 1 says that the chunk
 * has its own mapping (malloc.c, "Chunk representation", the same since 1996). This is malloc_usable_size without the
 * call.
 */
static inline size_t glibc_chunk_size(const void *block) { return ((const size_t *)block)[-1] & ~(size_t)7; }
static inline size_t glibc_usable_size(const void *block) {
    return glibc_chunk_size(block) - (((const size_t *)block)[-1] & 2 ? 16 : 8);
}
static inline bool glibc_is_mapped(const void *block) { return ((const size_t *)block)[-1] & 2; }

/* Whether glibc's block is in the fine map, as nearly all are. */
static inline bool live_is_fine_glibc(const void *block) {
    return likely(glibc_chunk_size(block) < (1u << HEAP_GRANULE_LOG2_1) + 8);
}

/* Whether the word belongs to a block at exactly this address: it is not empty, not a claim, and not another block in
 * the granule. */
static inline bool live_holds(struct place place, uint64_t word) {
    if (word == 0 || heap_slot_is_reserved(word)) return false;
    uint32_t low = heap_slot_low(word);
    return place.offset == (place.map == HEAP_MAP_FINE ? low & ((1u << HEAP_SLOT_FINE_SIZE_SHIFT) - 1) : low);
}

/*
 * The place of a live block. glibc's is in the map for the size that stands before it. Another allocator's is nearly
 * always in the fine map, which is asked first; then the others are: malloc_usable_size takes longer, is missing in
 * some allocators (libc's would read memory that holds no size), and may report another size than when it returned the
 * block (tcmalloc says 0 until it is set up).
 */
static inline struct place live_find_block(const void *block) {
    if (next.is_glibc) return live_find((uintptr_t)block, glibc_usable_size(block));
    struct place place = live_look_up_fine((uintptr_t)block, LIVE_SHAPE_OTHER);
    if (likely(place.slot != NULL) && likely(live_holds(place, load_relaxed(place.slot)))) return place;
    return live_find_coarse(block, place);
}

/* Makes the leaf for a place that has none. Its slot stays NULL if there is no space or the address is out of range.
 */
struct place live_grow(struct place place, uintptr_t address);

/*
 * The place of a block that the allocator has just returned for a request of `bytes`. The map is chosen by the usable
 * size if that is plausible. Another allocator's small blocks need not be asked for it: a block of `bytes` is no
 * smaller than its granule in the map for `bytes`, and a free looks there first.
 */
static inline struct place live_make_block(const void *block, size_t bytes) {
    size_t usable = bytes;
    if (next.is_glibc) {
        usable = glibc_usable_size(block);
    } else if (bytes >= 1u << HEAP_GRANULE_LOG2_1 && next.knows_usable_size) {
        usable = next.malloc_usable_size((void *)block);
        if (unlikely(usable < bytes)) usable = bytes;
    }
    struct place place = live_find((uintptr_t)block, usable);
    return likely(place.slot != NULL) ? place : live_grow(place, (uintptr_t)block);
}

/* The slot word for a block at this place. In a coarse map it also publishes the block's size, which must be stored
 * before the word. */
static inline uint64_t live_word(struct place place, uint32_t stack, uint32_t tick, size_t bytes) {
    if (likely(place.map == HEAP_MAP_FINE))
        return heap_slot_make(stack, tick, (uint32_t)bytes << HEAP_SLOT_FINE_SIZE_SHIFT | place.offset);
    store_relaxed(&place.slot[1], bytes);
    return heap_slot_make(stack, tick, place.offset);
}

/* The requested bytes of the block with this slot word. */
static inline size_t live_bytes(struct place place, uint64_t word) {
    return likely(place.map == HEAP_MAP_FINE) ? heap_slot_low(word) >> HEAP_SLOT_FINE_SIZE_SHIFT
                                              : load_relaxed(&place.slot[1]);
}

#endif
