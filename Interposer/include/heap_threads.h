/*
 * Threads: their records, and the rings of their last events. A part of the image's format (heap_image.h).
 */
#ifndef HEAP_THREADS_H
#define HEAP_THREADS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "heap_slots.h"

enum heap_event_kind {
    HEAP_EVENT_ALLOCATED = 1,
    HEAP_EVENT_FREED = 2,
};

/*
 * One event of a thread's ring. `tag` is stored last. Its sequence number tells a reader whether the entry is the one
 * that it looks for.
 *
 *   tag:   63      32 31    24 23  20 19      0
 *         +----------+--------+------+---------+
 *         | sequence | flags  | kind | tick    |
 *         +----------+--------+------+---------+
 *
 * An entry at the ring's head or after it is not committed. Whether it happened is known from its block's slot: an
 * allocation happened if the slot holds this very word, a free if it doesn't.
 */
struct heap_event {
    uint64_t address;
    uint64_t slot;  /* the block's slot word: as published, or as it was before the free */
    uint64_t bytes; /* as requested */
    uint64_t tag;
};

#define HEAP_EVENT_SEQUENCE_SHIFT 32
#define HEAP_EVENT_FLAGS_SHIFT 24
#define HEAP_EVENT_KIND_SHIFT 20
#define HEAP_EVENT_FLAG_TEMPORARY 1u /* freed before the thread's next allocation */
#define HEAP_EVENT_FLAG_REALLOC 2u   /* one half of a reallocation */

static inline uint32_t heap_event_sequence(uint64_t tag) { return (uint32_t)(tag >> HEAP_EVENT_SEQUENCE_SHIFT); }
static inline uint32_t heap_event_flags(uint64_t tag) { return (uint32_t)(tag >> HEAP_EVENT_FLAGS_SHIFT) & 0xFF; }
static inline uint32_t heap_event_kind(uint64_t tag) { return (uint32_t)(tag >> HEAP_EVENT_KIND_SHIFT) & 0xF; }
static inline uint32_t heap_event_tick(uint64_t tag) { return (uint32_t)(tag & HEAP_SLOT_TICK_MASK); }

#define HEAP_RING_EVENTS 128u

struct heap_ring { /* event number n is at events[n % HEAP_RING_EVENTS] */
    struct heap_event events[HEAP_RING_EVENTS];
};

enum heap_in_flight_phase {
    HEAP_IN_FLIGHT_NONE = 0,
    HEAP_IN_FLIGHT_CLAIMED = 1,  /* the old block counts, as recorded here; its slot holds this thread's claim */
    HEAP_IN_FLIGHT_RETURNED = 2, /* the new block counts, as recorded here; the old one is gone, whatever its slot holds
                                  */
};

/*
 * A reallocation in flight. A reader counts exactly one block for it, from this record. It ignores claims, and it
 * ignores a slot that holds the same as the record: in phase CLAIMED old_slot at old_address (the claim is not set yet,
 * or is already taken back), in phase RETURNED new_slot at new_address.
 */
struct heap_in_flight {
    uint64_t phase;
    uint64_t old_address, old_slot, old_bytes;
    uint64_t new_address, new_slot, new_bytes;
    uint64_t reserved;
};

struct heap_thread {
    uint32_t tid; /* of the owner, or of the last owner */
    uint32_t reserved0;
    uint64_t head;   /* events committed: [folded, head) are in the ring and not in the stacks' counters */
    uint64_t folded; /* moves on after each event, so a kill leaves at most one event half folded */
    uint64_t last_allocated_address; /* of this thread's newest block, for temporary blocks */
    uint64_t pending_bytes;          /* of the events in [folded, head), freed or allocated */
    uint64_t folded_ms;              /* since the recording's start: the last fold */
    uint64_t started_ns;             /* since the recording's start: when the owner made its first event */
    uint64_t reserved1;
    struct heap_in_flight in_flight;
    uint64_t scratch_start; /* the recorder's own memory for this thread, by its address in the program; not a root for
                               leak search. 0: none */
    uint64_t scratch_bytes;
    uint64_t reserved2[11];
    uint64_t stack_address; /* on the owner's stack, where it made its first event; 0: not known */
    /* Of glibc: the largest block with a mapping of its own that this thread has freed, among those by which free may
     * raise M_MMAP_THRESHOLD. As heap_mapped_word and heap_mapped_times make them; the word is stored last, and both
     * hold the size: where they differ, the entry is being changed. 0: none */
    uint64_t mapped_times;
    uint64_t mapped_word;
};

/*
 * A freed block of glibc with a mapping of its own.
 *
 *   word:   stack 26 | 16 bits of 0 | the chunk's bytes / 16, 22
 *   times:  tick of the free 20 | tick of the allocation 20 | 2 bits of 0 | the chunk's bytes / 16, 22
 */
#define HEAP_MAPPED_UNIT 16u
#define HEAP_MAPPED_UNITS_MASK 0x3FFFFFull
/* glibc's DEFAULT_MMAP_THRESHOLD, and the most to which it raises the threshold by itself */
#define HEAP_MAPPED_LEAST (128u << 10)
#define HEAP_MAPPED_MOST (32u << 20)

static inline uint64_t heap_mapped_word(uint32_t stack, uint64_t units) {
    return (uint64_t)stack << HEAP_SLOT_STACK_SHIFT | units;
}
static inline uint64_t heap_mapped_times(uint32_t freed, uint32_t allocated, uint64_t units) {
    return (uint64_t)freed << 44 | (uint64_t)allocated << 24 | units;
}
static inline uint64_t heap_mapped_units(uint64_t word_or_times) { return word_or_times & HEAP_MAPPED_UNITS_MASK; }
static inline uint32_t heap_mapped_freed(uint64_t times) { return (uint32_t)(times >> 44); }
static inline uint32_t heap_mapped_allocated(uint64_t times) { return (uint32_t)(times >> 24 & HEAP_SLOT_TICK_MASK); }

static_assert(sizeof(struct heap_event) == 32, "event");
static_assert(sizeof(struct heap_ring) == 4096, "ring: one page");
static_assert(sizeof(struct heap_in_flight) == 64, "in flight");
static_assert(
    offsetof(struct heap_thread, in_flight) == 64, "thread: a line of its own for what moves with each event");
static_assert(sizeof(struct heap_thread) == 256, "thread");
static_assert(HEAP_MAPPED_MOST / HEAP_MAPPED_UNIT <= HEAP_MAPPED_UNITS_MASK, "a mapped block's size fits its word");

#endif
