/*
 * The live map. A look-up is three dependent loads, of which the first two stay in the cache: a branch
 * entry covers 64 KB of heap in the finest map, a top entry 256 MB. Booking is one store to the slot.
 *
 * A leaf or a branch is entered by one compare-and-swap; who loses the race leaves its piece unused
 * (HEAP_PIECE_FREE), which happens once in a piece's life at most.
 */
#include "live.h"

#include "atomics.h"
#include "image.h"

#define BRANCH_LOG2 12 /* 4,096 entries of 4 bytes */

static struct shape {
    uint64_t top; /* index of the map's first entry in TOPS */
    uint32_t granule_log2;
    uint32_t leaf_log2;   /* a leaf covers so many bytes, as a power of two */
    uint32_t slot_words;
} shapes[HEAP_MAP_COUNT];

void live_start(void) {
    uint64_t top = 0;
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++) {
        struct shape *shape = &shapes[map];
        shape->slot_words = map == HEAP_MAP_FINE ? 1 : 2;
        shape->granule_log2 = image.header->granule_log2[map];
        shape->leaf_log2 = shape->granule_log2 + (map == HEAP_MAP_FINE ? 11 : 10);
        shape->top = top;
        uint64_t bytes = image_top_entries(map, image.header->granule_log2) * sizeof(uint32_t);
        top += (bytes + HEAP_PAGE_BYTES - 1) / HEAP_PAGE_BYTES * (HEAP_PAGE_BYTES / sizeof(uint32_t));
    }
}

static inline uint32_t map_for(size_t usable) {
    if (usable < 1u << HEAP_GRANULE_LOG2_1) return 0;
    if (usable < 1u << HEAP_GRANULE_LOG2_2) return 1;
    return usable < 1u << HEAP_GRANULE_LOG2_3 ? 2 : 3;
}

static inline uint32_t *entry_of_branch(uint32_t branch, const struct shape *shape, uintptr_t address) {
    uint32_t *entries = (uint32_t *)(image.slots + (uint64_t)branch * HEAP_PIECE_BYTES);
    return &entries[address >> shape->leaf_log2 & ((1u << BRANCH_LOG2) - 1)];
}

static inline uint64_t *slot_of_leaf(uint32_t leaf, const struct shape *shape, uintptr_t address) {
    uint64_t *slots = (uint64_t *)(image.slots + (uint64_t)leaf * HEAP_PIECE_BYTES);
    uint64_t index = (address & ((1ull << shape->leaf_log2) - 1)) >> shape->granule_log2;
    return &slots[index * shape->slot_words];
}

/* What an entry of a top or a branch leads to, made where it is missing; 0 where there is no space. */
static uint32_t descend(uint32_t *entry, uint32_t kind, uint32_t map, uint64_t base) {
    uint32_t piece = load_acquire(entry); /* partner: the swap below */
    if (likely(piece != 0)) return piece;
    int64_t fresh = image_take(HEAP_SECTION_SLOTS, 1);
    if (fresh < 0 || !image_cover(HEAP_SECTION_PIECES, (uint64_t)fresh + 1)) return 0;
    struct heap_piece *descriptor = &image.pieces[fresh];
    descriptor->base = base;
    descriptor->map = map;
    /* The kind comes before the piece is in the tree: a reader may then see a leaf that is empty, but never miss one that is not. */
    store_release(&descriptor->kind, kind);
    if (cas_acq_rel(entry, &piece, (uint32_t)fresh)) return (uint32_t)fresh;
    store_relaxed(&descriptor->kind, HEAP_PIECE_FREE);
    return piece;
}

static struct place look_up(uintptr_t address, size_t usable, bool make) {
    uint32_t map = map_for(usable);
    const struct shape *shape = &shapes[map];
    struct place place = {.map = map, .offset = (uint32_t)(address & ((1ull << shape->granule_log2) - 1))};
    if (unlikely(address >> HEAP_ADDRESS_BITS != 0)) return place;
    uint64_t top = shape->top + (address >> (shape->leaf_log2 + BRANCH_LOG2));
    if (unlikely(!image_reserve_page(HEAP_SECTION_TOPS, top * sizeof(uint32_t)))) return place;
    uint32_t *entry = &image.tops[top];
    uint32_t branch = make ? descend(entry, HEAP_PIECE_BRANCH, map, 0) : load_acquire(entry);
    if (unlikely(branch == 0)) return place;
    entry = entry_of_branch(branch, shape, address);
    uint64_t base = address >> shape->leaf_log2 << shape->leaf_log2;
    uint32_t leaf = make ? descend(entry, HEAP_PIECE_LEAF, map, base) : load_acquire(entry);
    if (unlikely(leaf == 0)) return place;
    place.slot = slot_of_leaf(leaf, shape, address);
    return place;
}

struct place live_find(uintptr_t address, size_t usable) { return look_up(address, usable, false); }
struct place live_make(uintptr_t address, size_t usable) { return look_up(address, usable, true); }

uint64_t live_word(struct place place, uint32_t stack, uint32_t tick, size_t bytes) {
    if (place.map == HEAP_MAP_FINE) return heap_slot_make(stack, tick, (uint32_t)bytes << HEAP_SLOT_FINE_SIZE_SHIFT | place.offset);
    store_relaxed(&place.slot[1], bytes);
    return heap_slot_make(stack, tick, place.offset);
}

size_t live_bytes(struct place place, uint64_t word) {
    return place.map == HEAP_MAP_FINE ? heap_slot_low(word) >> HEAP_SLOT_FINE_SIZE_SHIFT : load_relaxed(&place.slot[1]);
}

bool live_holds(struct place place, uint64_t word) {
    if (word == 0 || heap_slot_is_mark(word)) return false;
    uint32_t low = heap_slot_low(word);
    return place.offset == (place.map == HEAP_MAP_FINE ? low & ((1u << HEAP_SLOT_FINE_SIZE_SHIFT) - 1) : low);
}
