/*
 * Settling what a thread left unfinished.
 */
#include "book/settle.h"

#include "base/atomics.h"
#include "book/live.h"
#include "image/image.h"

/* The slot of `address` that holds `word`, in any map, or NULL. The block may be freed, so its usable size can't be
 * asked. */
static uint64_t *slot_holding(uintptr_t address, uint64_t word) {
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++) {
        struct place place = live_look_up(address, map, live_shapes[map]);
        if (place.slot != NULL && load_relaxed(place.slot) == word) return place.slot;
    }
    return NULL;
}

bool settle_slot_holds(uintptr_t address, uint64_t word) { return slot_holding(address, word) != NULL; }

void settle_reallocation(struct heap_in_flight *flight, uint32_t thread) {
    uint64_t claim = heap_slot_claim(thread);
    uint64_t *claimed = flight->phase != HEAP_IN_FLIGHT_NONE ? slot_holding(flight->old_address, claim) : NULL;
    if (claimed != NULL) cas_acq_rel(claimed, &claim, flight->phase == HEAP_IN_FLIGHT_CLAIMED ? flight->old_slot : 0);
    if (flight->phase == HEAP_IN_FLIGHT_RETURNED && flight->new_slot != 0
        && !settle_slot_holds(flight->new_address, flight->new_slot)) {
        /* The allocator returned the block and the program never got it. So nobody frees it, and its size can be
         * asked. */
        struct place place = live_make_block((void *)flight->new_address, flight->new_bytes);
        if (place.slot != NULL) {
            live_word(place, 0, 0, flight->new_bytes);
            store_release(place.slot, flight->new_slot);
        }
    }
    store_release(&flight->phase, HEAP_IN_FLIGHT_NONE);
}
