/*
 * Checks the live map in another way than booking uses it: in all maps, by the general look-up.
 */
#include "book/check.h"

#include "base/atomics.h"
#include "book/drawn.h"
#include "book/live.h"
#include "image/image.h"

/* The number of maps in which the block is live, and its place in the last of them. */
static uint32_t times_live(const void *block, struct place *found) {
    uint32_t times = 0;
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++) {
        struct place place = live_look_up((uintptr_t)block, map, live_shapes[map]);
        if (place.slot == NULL || !live_holds(place, load_relaxed(place.slot))) continue;
        *found = place;
        times++;
    }
    return times;
}

/* Checks that the slot's piece is described as what the slot is used for. */
static void check_piece(const struct place *place, uintptr_t address) {
    uint64_t piece = (uint64_t)((const uint8_t *)place->slot - image.slots) / HEAP_PIECE_BYTES;
    const struct heap_piece *descriptor = &image.pieces[piece];
    const struct live_shape *shape = &live_shapes[place->map];
    INVARIANT(piece < load_relaxed(&image.header->sections[HEAP_SECTION_SLOTS].used));
    INVARIANT(load_acquire(&descriptor->kind) == HEAP_PIECE_LEAF); /* partner: descend's release */
    INVARIANT(descriptor->map == place->map);
    INVARIANT(address - descriptor->base < 1ull << shape->leaf_log2);
}

void check_booked(const void *block, size_t bytes, uint32_t stack) {
    struct place place;
    uint32_t times = times_live(block, &place);
    INVARIANT(times == 1);
    if (times != 1) return;
    uint64_t word = load_relaxed(place.slot);
    INVARIANT(heap_slot_stack(word) == stack);
    INVARIANT(live_bytes(place, word) == bytes);
    INVARIANT(heap_slot_stack(word) < load_relaxed(&image.header->sections[HEAP_SECTION_STACKS].used));
    check_piece(&place, (uintptr_t)block);
    INVARIANT(load_relaxed(&sample_interval) == 0 || drawn_may_be_near(block));
}

void check_unbooked(const void *block) {
    struct place place;
    INVARIANT(times_live(block, &place) == 0);
}

void check_ring(const struct heap_thread *record, const struct heap_ring *ring) {
    uint64_t head = record->head, folded = record->folded;
    INVARIANT(folded <= head);
    INVARIANT(head - folded <= HEAP_RING_EVENTS);
    INVARIANT(record->in_flight.phase == HEAP_IN_FLIGHT_NONE);
    /* Only the newest events: each event was among them once. */
    for (uint64_t number = head - folded < 4 ? folded : head - 4; number < head; number++) {
        const struct heap_event *event = &ring->events[number % HEAP_RING_EVENTS];
        uint32_t kind = heap_event_kind(event->tag);
        INVARIANT(heap_event_sequence(event->tag) == (uint32_t)number);
        INVARIANT(kind == HEAP_EVENT_ALLOCATED || kind == HEAP_EVENT_FREED);
    }
}
