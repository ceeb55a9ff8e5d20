/*
 * The live map's growth. Booking is one store to a slot (book.c); this file's code runs once for each 64 KB of heap.
 *
 * A leaf or a branch is entered by one compare-and-swap. A thread that loses the race leaves its piece unused
 * (HEAP_PIECE_FREE); that happens at most once for each entered piece and thread.
 */
#include "book/live.h"

#include "base/atomics.h"

struct live_shape live_shapes[HEAP_MAP_COUNT];

void live_start(void) {
    uint64_t top = 0;
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++) {
        struct live_shape *shape = &live_shapes[map];
        shape->slot_words = heap_map_slot_words(map);
        shape->granule_log2 = image.header->granule_log2[map];
        shape->leaf_log2 = heap_map_leaf_log2(map, shape->granule_log2);
        shape->top = top;
        uint64_t bytes = image_top_entries(map, image.header->granule_log2) * sizeof(uint32_t);
        top += (bytes + HEAP_PAGE_BYTES - 1) / HEAP_PAGE_BYTES * (HEAP_PAGE_BYTES / sizeof(uint32_t));
    }
}

/* The piece that an entry of a top or a branch leads to, made if it is missing. 0 if there is no space. */
static uint32_t descend(uint32_t *entry, uint32_t kind, uint32_t map, uint64_t base) {
    uint32_t piece = load_acquire(entry); /* partner: the swap below */
    if (piece != 0) return piece;
    int64_t fresh = image_take(HEAP_SECTION_SLOTS, 1);
    if (fresh < 0 || !image_cover(HEAP_SECTION_PIECES, (uint64_t)fresh + 1)) return 0;
    struct heap_piece *descriptor = &image.pieces[fresh];
    descriptor->base = base;
    descriptor->map = map;
    /* The kind is stored before the piece enters the tree: so a reader may see an empty leaf, but never misses one in
     * use. */
    store_release(&descriptor->kind, kind);
    if (cas_acq_rel(entry, &piece, (uint32_t)fresh)) return (uint32_t)fresh; /* partner: live_find's acquires */
    store_relaxed(&descriptor->kind, HEAP_PIECE_FREE);
    return piece;
}

struct place live_look_up_slowly(uintptr_t address, uint32_t map) {
    const struct live_shape *shape = &live_shapes[map];
    uint64_t top = shape->top + (address >> (shape->leaf_log2 + LIVE_BRANCH_LOG2));
    if (image_has_top(top)) return live_look_up(address, map, *shape);
    return (struct place){.map = map, .offset = (uint32_t)(address & ((1ull << shape->granule_log2) - 1))};
}

struct place live_search(uintptr_t address) {
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++) {
        struct place place = live_look_up(address, map, live_shapes[map]);
        if (place.slot != NULL && live_holds(place, load_relaxed(place.slot))) return place;
    }
    return (struct place){.slot = NULL};
}

struct place live_find_coarse(const void *block, struct place fine) {
    for (uint32_t map = HEAP_MAP_FINE + 1; map < HEAP_MAP_COUNT; map++) {
        struct place place = live_look_up((uintptr_t)block, map, live_shapes[map]);
        if (place.slot != NULL && live_holds(place, load_relaxed(place.slot))) return place;
    }
    /* A block of the recorder's own is in the map for its size, if it is booked. */
    const size_t usable = next.knows_usable_size ? next.malloc_usable_size((void *)block) : 0;
    return live_map_for(usable) != HEAP_MAP_FINE ? live_find((uintptr_t)block, usable) : fine;
}

struct place live_look_up_fine_slowly(uintptr_t address) {
    const struct live_shape shape = next.is_glibc ? LIVE_SHAPE_GLIBC : LIVE_SHAPE_OTHER;
    uint64_t region = address >> (shape.leaf_log2 + LIVE_BRANCH_LOG2);
    struct place place = live_look_up(address, HEAP_MAP_FINE, shape);
    /* A branch without the leaf is worth remembering too: in a sampled recording most leaves are never made. */
    if (address >> HEAP_ADDRESS_BITS != 0 || !image_top_is_there(region) || load_acquire(&image.tops[region]) == 0)
        return place;
    local.branches[region % THREAD_BRANCHES] = thread_branch(region, load_relaxed(&image.tops[region]));
    return place;
}

struct place live_grow(struct place place, uintptr_t address) {
    const struct live_shape *shape = &live_shapes[place.map];
    if (address >> HEAP_ADDRESS_BITS != 0) return place;
    uint64_t top = shape->top + (address >> (shape->leaf_log2 + LIVE_BRANCH_LOG2));
    if (!image_has_top(top)) return place;
    uint32_t branch = descend(&image.tops[top], HEAP_PIECE_BRANCH, place.map, 0);
    if (branch == 0) return place;
    uint64_t base = address >> shape->leaf_log2 << shape->leaf_log2;
    uint32_t leaf = descend(live_branch_entry(branch, shape, address), HEAP_PIECE_LEAF, place.map, base);
    if (leaf != 0) place.slot = live_leaf_slot(leaf, shape, address);
    return place;
}
