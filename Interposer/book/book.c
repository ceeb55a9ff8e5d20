/*
 * Booking. The image's correctness depends on the order of stores here (heap_threads.h): the ring's entry, then the
 * slot, then the ring's head; a free before the real free, an allocation after the real call. So the events of one
 * address are in their true order, no matter which threads make them. A kill between any two stores leaves an image
 * from which each block is counted exactly once.
 */
#include "book/book.h"

#include "base/arena.h"
#include "base/atomics.h"
#include "base/next.h"
#include "base/options.h"
#include "book/check.h"
#include "book/drawn.h"
#include "book/hints.h"
#include "book/live.h"
#include "book/mapped.h"
#include "book/pauses.h"
#include "book/plain.h"
#include "book/ring.h"
#include "image/image.h"
#include "threads/sample.h"

static void book_past_ring(
    uint32_t kind, uint64_t *slot, uint64_t publish, uint64_t word, size_t bytes, uint32_t flags, uint32_t tick) {
    store_release(slot, publish);
    ring_bypass(kind, word, bytes, flags, tick);
}

__attribute__((noinline)) void book_tell(const void *block, size_t bytes) {
    probe_alloc(block, bytes, heap_counted_bytes(bytes, load_relaxed(&sample_interval)));
}

static void lose(size_t bytes) {
    LOSE(lost_allocations, 1);
    LOSE(lost_bytes, bytes);
}

void book_heal(struct place place, uint64_t word, uint32_t tick) {
    if (heap_slot_is_reserved(word))
        return; /* a claim: its owner has recorded the old block and removes the claim itself */
    LOSE(healed_slots, 1);
    ring_bypass(HEAP_EVENT_FREED, word, live_bytes(place, word), 0, tick);
}

/* Another allocator's block is looked for in the fine map first, and maybe in all. So a block that is booked in a
 * coarse map takes away one that is still booked at its address in another map, whose free went past us. */
static void heal_elsewhere(const void *block, struct place place, uint32_t tick) {
    if (next.is_glibc || place.map == HEAP_MAP_FINE) return;
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++) {
        if (map == place.map) continue;
        struct place other = live_look_up((uintptr_t)block, map, live_shapes[map]);
        uint64_t word = other.slot != NULL ? load_relaxed(other.slot) : 0;
        if (likely(!live_holds(other, word))) continue;
        book_heal(other, word, tick);
        store_release(other.slot, 0);
    }
}

void book_allocation_elsewhere(const void *block, size_t bytes, uint32_t stack) {
    struct place place = live_make_block(block, bytes);
    if (place.slot != NULL) heal_elsewhere(block, place, thread_clock()->tick);
    if (likely(place.slot != NULL)) book_publish(place, block, bytes, stack);
    else lose(bytes);
}

static void allocated(const struct hook *hook, const void *block, size_t bytes) {
    if (pauses_are_on() && !hook->ours && pauses_pass_over(bytes)) return;
    if (likely(hook_has_ring(hook))) {
        uint64_t lost = options.check ? load_relaxed(&image.header->losses.lost_allocations) : 0;
        book_plain_allocation(block, bytes, hook->stack);
        drawn_came(block);
        if (unlikely(options.check) && load_relaxed(&image.header->losses.lost_allocations) == lost) {
            check_booked(block, bytes, hook->stack);
            check_ring(local.record, local.ring);
        }
        return;
    }
    struct place place = live_make_block(block, bytes);
    if (place.slot == NULL) {
        if (!hook->ours) lose(bytes);
        return;
    }
    uint32_t tick = thread_clock()->tick;
    uint64_t before = load_relaxed(place.slot);
    if (before != 0) book_heal(place, before, tick);
    heal_elsewhere(block, place, tick);
    drawn_came(block);
    if (hook->ours) {
        store_release(place.slot, HEAP_SLOT_OURS);
        return;
    }
    uint64_t word = live_word(place, hook->stack, tick, bytes);
    book_past_ring(HEAP_EVENT_ALLOCATED, place.slot, word, word, bytes, 0, tick);
    book_told(block, bytes);
}

void book_allocation(const struct hook *hook, const void *block, size_t bytes) {
    allocated(hook, block, bytes);
    if (unlikely(local.ignoring != 0) && !hook->ours) hints_ignore((uintptr_t)block);
}

void book_sampled_allocation(const void *block, size_t bytes, uint32_t stack) {
    book_plain_allocation(block, bytes, stack);
    drawn_came(block);
}

void book_miss(struct place place, uint64_t word, const void *block) {
    if (word == HEAP_SLOT_OURS) {
        store_release(place.slot, 0);
        drawn_went(block);
    } else if (load_relaxed(&sample_interval) != 0) return; /* of a block that was not drawn, nearly always */
    else if (image.header->flags & HEAP_FLAG_FORKED) LOSE(inherited_frees, 1);
    else if (load_relaxed(&pauses_ever)) LOSE(paused_frees, 1);
    else LOSE(unmatched_frees, 1);
}

bool book_miss_free(struct place place, uint64_t word, const void *block) {
    if (arena_owns(block)) return false;
    book_miss(place, word, block);
    return true;
}

bool book_free_elsewhere(const void *block) {
    /* before another allocator is asked for its size */
    if (arena_owns(block)) return false;
    struct place place = live_find_block(block);
    if (next.is_glibc && unlikely(glibc_is_mapped(block))) mapped_note(place, block);
    return book_take_away(place, block);
}

static bool is_booked(const void *block) {
    if (arena_owns(block)) return false;
    const struct place place = live_find_block(block);
    return place.slot != NULL && live_holds(place, load_relaxed(place.slot));
}

bool book_sampled_free(const void *block) {
    if (likely(!drawn_may_be_near(block))) return true;
    const bool was_booked = is_booked(block), is_real = book_plain_free(block);
    if (was_booked) drawn_went(block);
    return is_real;
}

void book_free(const struct hook *hook, const void *block) {
    if (likely(hook_has_ring(hook))) {
        if (likely(load_relaxed(&sample_interval) == 0)) book_plain_free(block);
        else book_sampled_free(block);
        if (unlikely(options.check)) {
            check_unbooked(block);
            check_ring(local.record, local.ring);
        }
        return;
    }
    struct place place = live_find_block(block);
    uint64_t word = place.slot != NULL ? load_relaxed(place.slot) : 0;
    if (!live_holds(place, word)) {
        book_miss(place, word, block);
        return;
    }
    book_past_ring(HEAP_EVENT_FREED, place.slot, 0, word, live_bytes(place, word), 0, thread_clock()->tick);
    drawn_went(block);
    probe_freed(block);
}

struct reallocation book_realloc_begin(const struct hook *hook, void *block) {
    if (drawn_rules_out(block)) return (struct reallocation){.block = block};
    uintptr_t address = (uintptr_t)block;
    struct place place = live_find_block(block);
    struct reallocation old = {
        .block = block, .slot = place.slot, .word = place.slot != NULL ? load_relaxed(place.slot) : 0};
    if (unlikely(!live_holds(place, old.word))) {
        book_miss(place, old.word, block);
        old.word = 0;
        return old;
    }
    old.bytes = live_bytes(place, old.word);
    /* Before the call, after which another thread may get the address. If the call fails, the block is told again. */
    probe_freed(block);
    if (unlikely(!hook_has_ring(hook))) {
        /* No in-flight record is free: the free is booked now, and undone if the call fails. */
        store_release(old.slot, 0);
        return old;
    }
    struct heap_in_flight *flight = &local.record->in_flight;
    flight->old_address = address;
    flight->old_slot = old.word;
    flight->old_bytes = old.bytes;
    fence_compiler();
    store_release(&flight->phase, HEAP_IN_FLIGHT_CLAIMED); /* partner: a reader's acquire */
    fence_compiler();
    store_release(old.slot, heap_slot_claim(local.index));
    old.claimed = true;
    return old;
}

/* The call failed: the block is as it was. */
static void give_back(const struct reallocation *old) {
    book_told(old->block, old->bytes);
    store_release(old->slot, old->word);
    fence_compiler();
    if (old->claimed) store_release(&local.record->in_flight.phase, HEAP_IN_FLIGHT_NONE);
}

void book_realloc_end(const struct hook *hook, struct reallocation *old, const void *moved, size_t bytes, bool freed) {
    if (old->word == 0) { /* the old block was not booked; the new one is */
        if (moved != NULL) book_allocation(hook, moved, bytes);
        return;
    }
    if (moved == NULL && !freed) {
        give_back(old);
        return;
    }
    uint32_t tick = thread_clock()->tick;
    if (unlikely(!old->claimed)) {
        ring_bypass(HEAP_EVENT_FREED, old->word, old->bytes, HEAP_EVENT_FLAG_REALLOC, tick);
        drawn_went(old->block);
        if (moved != NULL) book_allocation(hook, moved, bytes);
        return;
    }
    struct heap_thread *record = local.record;
    struct heap_in_flight *flight = &record->in_flight;
    uintptr_t address = (uintptr_t)moved;
    struct place place = moved != NULL ? live_make_block(moved, bytes) : (struct place){0};
    uint64_t word = 0;
    if (moved != NULL && unlikely(place.slot == NULL)) lose(bytes);
    if (place.slot != NULL) {
        uint64_t before = load_relaxed(place.slot);
        if (unlikely(before != 0)) book_heal(place, before, tick);
        heal_elsewhere(moved, place, tick);
        word = live_word(place, hook->stack, tick, bytes);
    }
    flight->new_address = address;
    flight->new_slot = word; /* 0: the call returned no block, or there was no space for it */
    flight->new_bytes = bytes;
    fence_compiler();
    /* partner: a reader's acquire; from here on the new block counts */
    store_release(&flight->phase, HEAP_IN_FLIGHT_RETURNED);
    fence_compiler();
    uint32_t flags = HEAP_EVENT_FLAG_REALLOC
        | (record->last_allocated_address == (uintptr_t)old->block ? HEAP_EVENT_FLAG_TEMPORARY : 0);
    ring_write(local.ring, record->head, (uintptr_t)old->block, old->word, old->bytes, flags, HEAP_EVENT_FREED, tick);
    if (word != 0) {
        ring_write(
            local.ring, record->head + 1, address, word, bytes, HEAP_EVENT_FLAG_REALLOC, HEAP_EVENT_ALLOCATED, tick);
        store_release(place.slot, word);
        drawn_came(moved);
        book_told(moved, bytes);
        record->last_allocated_address = address;
        if (unlikely(local.ignoring != 0)) hints_ignore(address);
    }
    if (place.slot != old->slot) {
        /* Removes only this thread's claim: if another thread got the old address meanwhile, the slot holds its
         * block. */
        uint64_t claim = heap_slot_claim(local.index);
        cas_acq_rel(old->slot, &claim, 0);
    }
    drawn_went(old->block);
    fence_compiler();
    /* before the phase, so that a reader does not miss the events */
    store_release(&record->head, record->head + (word != 0 ? 2 : 1));
    fence_compiler();
    store_release(&flight->phase, HEAP_IN_FLIGHT_NONE);
    local.fold_at = ring_commit(record, local.ring, 0, old->bytes + bytes, local.fold_at);
    if (unlikely(options.check)) {
        if (word != 0) check_booked(moved, bytes, hook->stack);
        check_ring(record, local.ring);
    }
}
