/*
 * Events: a thread's ring, and folding it into the stacks' counters and the timeline.
 */
#ifndef HEAPSUM_RING_H
#define HEAPSUM_RING_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "include/heap_image.h"

/* The ring is folded after this many events. Its other entries keep the thread's last events. */
#define RING_FOLD_EVENTS 64
/* … or after this many bytes, so that the peak and the timeline don't wait for a thread that allocates large blocks
 * rarely. */
#define RING_FOLD_BYTES (1u << 20)
/* … or after THREAD_FOLD_MILLISECONDS. */

static inline uint64_t event_tag(uint64_t sequence, uint32_t flags, uint32_t kind, uint32_t tick) {
    return sequence << HEAP_EVENT_SEQUENCE_SHIFT | (uint64_t)flags << HEAP_EVENT_FLAGS_SHIFT
        | (uint64_t)kind << HEAP_EVENT_KIND_SHIFT | tick;
}

/* Writes event number `sequence`, its tag last. The event counts when ring_commit has moved the head past it. */
static inline void ring_write(struct heap_ring *ring, uint64_t sequence, uintptr_t address, uint64_t slot, size_t bytes,
    uint32_t flags, uint32_t kind, uint32_t tick) {
    struct heap_event *event = &ring->events[sequence % HEAP_RING_EVENTS];
    store_relaxed(&event->address, address);
    store_relaxed(&event->slot, slot);
    store_relaxed(&event->bytes, bytes);
    /* partner: a reader's acquire of the tag, or of what is stored after it */
    store_release(&event->tag, event_tag(sequence, flags, kind, tick));
    fence_compiler(); /* entry, then slot, then head: the order in which a killed program's image is read */
}

/* Folds all committed events. Called by the record's owner, or by the thread that took the record over. Returns the
 * head at which the ring must be folded again. */
uint64_t ring_fold(struct heap_thread *record, struct heap_ring *ring);

/* Commits `count` events of `bytes` in all, and folds when the head reaches `fold_at` or many bytes wait. Returns the
 * next `fold_at`. */
static inline __attribute__((always_inline)) uint64_t ring_commit(
    struct heap_thread *record, struct heap_ring *ring, uint64_t count, uint64_t bytes, uint64_t fold_at) {
    uint64_t head = record->head + count, pending = record->pending_bytes + bytes;
    store_release(&record->head, head); /* partner: a reader's acquire; entries and slots stand before it */
    store_relaxed(&record->pending_bytes, pending);
    return unlikely(head >= fold_at || pending >= RING_FOLD_BYTES) ? ring_fold(record, ring) : fold_at;
}

/* Settles what an owner left unfinished (it died, or jumped out of a handler), as a reader of a killed program's image
 * does. */
void ring_settle(struct heap_thread *record, struct heap_ring *ring, uint32_t index);

/* Adds to the process's sums what a fold that was left by longjmp out of a handler has added to stacks alone. Called by
 * the record's owner before its next event. */
void ring_sum_up(const struct heap_thread *record, const struct heap_ring *ring);

/* Called when a second thread is about to make events: from now on, folds add with a lock prefix. Waits for the current
 * fold, a few microseconds at most. */
void ring_share(void);

/* If `--dump-at-growth` is given, called with the process's live bytes at each fold. Set at the start. */
extern HIDDEN void (*ring_grown)(uint64_t live_bytes);

/* Called when a fresh image was made: there is one thread so far. */
void ring_start(void);

/* Counts one event without a ring. */
void ring_bypass(uint32_t kind, uint64_t slot, size_t bytes, uint32_t flags, uint32_t tick);

#endif
