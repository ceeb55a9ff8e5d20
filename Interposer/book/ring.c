/*
 * Folding. Each thread folds its own ring, with relaxed additions, and waits for nobody.
 *
 * `folded` moves on after each event. A kill in between leaves at most one event half folded; a reader settles that by
 * "allocated - freed = live". Peaks and snapshots are not copied when they happen: only an epoch is incremented, and
 * each stack copies what it held before its next change (details.c).
 *
 * With one thread the peak is exact: the fold first finds the batch's highest point and increments the epoch there.
 * With more threads, the peak misses events that are not folded yet in other rings: at most RING_FOLD_BYTES or
 * RING_FOLD_EVENTS per thread. peak_error_bytes says how many bytes that was.
 */
#include "book/ring.h"

#include "base/options.h"
#include "book/details.h"
#include "book/live.h"
#include "book/settle.h"
#include "image/image.h"
#include "threads/sample.h"
#include "threads/thread.h"

/* The header's peak epoch and number of snapshots, in the form of a stack's `levels`. */
static inline uint32_t current_levels(void) {
    const struct heap_header *header = image.header;
    /* partners: raise_peak, take_snapshot */
    uint32_t epoch = load_acquire(&header->peak_epoch);
    return heap_levels(epoch, load_acquire(&header->snapshots));
}

/*
 * While there is only one thread, its folds add without a lock prefix. A second thread sets `shared` before its first
 * event, and waits for a fold that may not have seen that. Each side stores its word, then reads the other's after a
 * full fence, so one of the two sees the other.
 */
static uint32_t shared, folding_alone;
/* The record, plus 1, whose thread takes a sample: keeps others out while the timeline is halved. A thread that finds
 * its own left the last sample by longjmp out of a handler. */
static uint32_t sampler;

void ring_start(void) {
    store_relaxed(&sampler, 0);
    store_relaxed(&shared, 0);
    store_relaxed(&folding_alone, 0);
}

void ring_share(void) {
    if (load_relaxed(&shared)) return;
    store_relaxed(&shared, 1);
    fence_seq_cst(); /* partner: begin_fold */
    for (int turns = 0; load_acquire(&folding_alone) != 0 && turns < 100000; turns++) fence_compiler();
}

/* Whether this fold is the only one that changes the counters. */
static bool begin_fold(void) {
    if (load_relaxed(&shared)) return false;
    store_relaxed(&folding_alone, 1);
    fence_seq_cst(); /* partner: ring_share */
    if (!load_relaxed(&shared)) return true;
    store_release(&folding_alone, 0);
    return false;
}

static void end_fold(bool alone) {
    if (alone) store_release(&folding_alone, 0); /* partner: ring_share */
}

/* 1 for an allocation, -1 for a free. */
static inline int64_t sign_of(uint64_t tag) { return 3 - 2 * (int64_t)heap_event_kind(tag); }
_Static_assert(HEAP_EVENT_ALLOCATED == 1 && HEAP_EVENT_FREED == 2, "sign_of");

/* What a block of so many bytes counts for; `interval` is the image's, and known to the compiler where it is 0. */
static inline __attribute__((always_inline)) struct heap_level counted(uint64_t bytes, uint64_t interval) {
    return (struct heap_level){heap_counted_bytes(bytes, interval), heap_counted_blocks(bytes, interval)};
}

/*
 * Adds one event to a stack's counters. There is no branch by its kind, because it would be mispredicted every other
 * time. Only a free can have another tick than its slot, or the flag of a temporary block.
 */
static inline __attribute__((always_inline)) void fold_event(
    struct heap_stack *stack, uint64_t slot, struct heap_level counted, uint64_t tag, uint32_t levels, bool alone) {
    if (unlikely(load_relaxed(&stack->levels) != levels)) details_copy_levels(stack, current_levels());
    uint64_t *blocks = &stack->allocated_blocks + (heap_event_kind(tag) - HEAP_EVENT_ALLOCATED) * 2;
    counter_add(blocks, counted.blocks, alone);
    counter_add(blocks + 1, counted.bytes, alone);
    uint32_t born = heap_slot_tick(slot), tick = heap_event_tick(tag);
    if (unlikely(born != tick)) details_count_lifetime(stack, born, tick, counted.blocks, alone);
    if (unlikely(heap_event_flags(tag) & HEAP_EVENT_FLAG_TEMPORARY))
        counter_add(&stack->temporary_blocks, counted.blocks, alone);
}
_Static_assert(offsetof(struct heap_stack, freed_blocks) - offsetof(struct heap_stack, allocated_blocks) == 16
        && offsetof(struct heap_stack, freed_bytes) - offsetof(struct heap_stack, freed_blocks) == 8,
    "fold_event");

/* With several threads, a stack's counters are prefetched for writing this many events ahead, because they are often in
 * another processor's cache. */
#define FETCH_AHEAD 6

/* Folds events [folded, until) into the stacks and into the process's sums. Returns the live bytes after them. */
static inline __attribute__((always_inline)) uint64_t fold_until(struct heap_thread *record, struct heap_ring *ring,
    uint64_t until, uint64_t *blocks_after, bool alone, uint64_t interval) {
    int64_t bytes = 0, blocks = 0;
    const uint32_t levels = current_levels();
    struct heap_stack *const stacks = image.stacks;
    for (uint64_t n = record->folded; n < until; n++) {
        const struct heap_event *event = &ring->events[n % HEAP_RING_EVENTS];
        const uint64_t slot = event->slot, tag = event->tag;
        const int64_t sign = sign_of(tag);
        const struct heap_level each = counted(event->bytes, interval);
        if (!alone)
            __builtin_prefetch(&stacks[heap_slot_stack(ring->events[(n + FETCH_AHEAD) % HEAP_RING_EVENTS].slot)], 1);
        bytes += sign * (int64_t)each.bytes;
        blocks += sign * (int64_t)each.blocks;
        fold_event(&stacks[heap_slot_stack(slot)], slot, each, tag, levels, alone);
        store_release(&record->folded, n + 1); /* partner: a reader's acquire; it then sees the adds */
    }
    *blocks_after = __atomic_add_fetch(&image.header->live_blocks, (uint64_t)blocks, __ATOMIC_RELAXED);
    const uint64_t bytes_after = __atomic_add_fetch(&image.header->live_bytes, (uint64_t)bytes, __ATOMIC_RELAXED);
    local.summed = until;
    return bytes_after;
}

void ring_sum_up(const struct heap_thread *record, const struct heap_ring *ring) {
    const uint64_t from = local.summed, until = record->folded, interval = load_relaxed(&sample_interval);
    int64_t bytes = 0, blocks = 0;
    if (until - from > HEAP_RING_EVENTS) return;
    for (uint64_t n = from; n < until; n++) {
        const struct heap_event *event = &ring->events[n % HEAP_RING_EVENTS];
        const struct heap_level each = counted(event->bytes, interval);
        bytes += sign_of(event->tag) * (int64_t)each.bytes;
        blocks += sign_of(event->tag) * (int64_t)each.blocks;
    }
    add_relaxed(&image.header->live_blocks, (uint64_t)blocks);
    add_relaxed(&image.header->live_bytes, (uint64_t)bytes);
    local.summed = until;
}

/* Bytes not folded yet in other threads' rings, for the peak's error. With more than 256 threads it returns the upper
 * bound instead of reading them all. */
static uint64_t pending_elsewhere(const struct heap_thread *self) {
    uint64_t threads = load_relaxed(&image.header->sections[HEAP_SECTION_THREADS].used), sum = 0;
    if (threads > 256) return (threads - 1) * (uint64_t)RING_FOLD_BYTES;
    for (uint64_t i = 0; i < threads; i++)
        if (&image.threads[i] != self) sum += load_relaxed(&image.threads[i].pending_bytes);
    return sum;
}

static void raise_peak(const struct heap_thread *self, uint64_t bytes, uint64_t blocks) {
    struct heap_header *header = image.header;
    uint64_t peak = load_relaxed(&header->peak_bytes);
    /* Signed, because the sum may be below zero. */
    while ((int64_t)bytes > (int64_t)peak)
        if (cas_relaxed(&header->peak_bytes, &peak, bytes)) {
            store_relaxed(&header->peak_blocks, not_below_zero(blocks));
            store_relaxed(&header->peak_ns, image_nanoseconds());
            store_relaxed(&header->peak_error_bytes, pending_elsewhere(self));
            __atomic_fetch_add(&header->peak_epoch, 1, __ATOMIC_RELEASE); /* partner: current_levels */
            return;
        }
}

static void take_sample(const struct heap_thread *record, uint64_t now) {
    const uint32_t self = (uint32_t)(record - image.threads) + 1;
    uint32_t nobody = 0;
    struct heap_header *header = image.header;
    uint64_t due = load_relaxed(&header->timeline_due_ns);
    if (likely(now < due)
        || !cas_relaxed(&header->timeline_due_ns, &due, now + load_relaxed(&header->timeline_interval_ns)))
        return;
    /* partner: the release below */
    if (!cas_acq_rel(&sampler, &nobody, self) && nobody != self) return;
    struct heap_section *section = &header->sections[HEAP_SECTION_TIMELINE];
    if (section->used == HEAP_TIMELINE_SAMPLES) {
        for (size_t i = 0; i < HEAP_TIMELINE_SAMPLES / 2; i++) image.timeline[i] = image.timeline[2 * i + 1];
        store_release(&section->used, HEAP_TIMELINE_SAMPLES / 2);
        store_relaxed(&header->timeline_interval_ns, header->timeline_interval_ns * 2);
    }
    uint64_t last = section->used;
    if (image_take(HEAP_SECTION_TIMELINE, 1) == (int64_t)last)
        image.timeline[last] = (struct heap_sample){now, not_below_zero(load_relaxed(&header->live_bytes)),
            not_below_zero(load_relaxed(&header->live_blocks)), load_relaxed(&header->rss_bytes)};
    store_release(&sampler, 0);
}

static void take_snapshot(uint64_t now) {
    struct heap_header *header = image.header;
    uint32_t taken = load_relaxed(&header->snapshots);
    while (taken < HEAP_SNAPSHOT_COUNT && now >= (uint64_t)HEAP_SNAPSHOT_FIRST_SECONDS * 1000000000u << taken)
        if (cas_acq_rel(&header->snapshots, &taken, taken + 1)) taken++; /* partner: current_levels */
}

/* Finds the batch's highest point. Returns by how many bytes it is above the batch's beginning; `*until` is the event
 * after it. */
static inline int64_t find_highest(
    const struct heap_thread *record, const struct heap_ring *ring, uint64_t *until, uint64_t interval) {
    int64_t sum = 0, highest = 0;
    uint64_t at = record->folded;
    for (uint64_t n = record->folded; n < record->head; n++) {
        const struct heap_event *event = &ring->events[n % HEAP_RING_EVENTS];
        sum += sign_of(event->tag) * (int64_t)heap_counted_bytes(event->bytes, interval);
        bool higher = sum > highest;
        highest = higher ? sum : highest;
        at = higher ? n + 1 : at;
    }
    *until = at;
    return highest;
}

static inline __attribute__((always_inline)) void fold_all(
    struct heap_thread *record, struct heap_ring *ring, bool alone, uint64_t interval) {
    const struct heap_header *header = image.header;
    uint64_t until, blocks;
    int64_t room = (int64_t)(load_relaxed(&header->peak_bytes) - load_relaxed(&header->live_bytes));
    /* A batch can exceed the peak only if it moved more bytes than are missing to it. A sampled batch's bytes are not
     * scaled. */
    if ((interval != 0 || (int64_t)record->pending_bytes > room)
        && find_highest(record, ring, &until, interval) > room) {
        uint64_t bytes = fold_until(record, ring, until, &blocks, alone, interval);
        raise_peak(record, bytes, blocks);
    }
    fold_until(record, ring, record->head, &blocks, alone, interval);
}

static __attribute__((noinline)) void fold_alone(struct heap_thread *record, struct heap_ring *ring) {
    fold_all(record, ring, true, 0);
}
static __attribute__((noinline)) void fold_among_others(struct heap_thread *record, struct heap_ring *ring) {
    fold_all(record, ring, false, 0);
}
static __attribute__((noinline)) void fold_sampled(struct heap_thread *record, struct heap_ring *ring) {
    fold_all(record, ring, false, sample_interval);
}

void (*ring_grown)(uint64_t live_bytes);

uint64_t ring_fold(struct heap_thread *record, struct heap_ring *ring) {
    uint64_t now = image_nanoseconds();
    take_snapshot(now);
    const bool sampled = load_relaxed(&sample_interval) != 0, alone = !sampled && begin_fold();
    if (unlikely(sampled)) fold_sampled(record, ring);
    else if (alone) fold_alone(record, ring);
    else fold_among_others(record, ring);
    end_fold(alone);
    store_relaxed(&record->pending_bytes, 0);
    record->folded_ms = now / 1000000;
    take_sample(record, now);
    if (unlikely(options.dump_growth != 0)) ring_grown(load_relaxed(&image.header->live_bytes));
    /* Sampled events are few, and each stands for many: they don't wait. */
    return record->head + (sampled ? 1 : RING_FOLD_EVENTS);
}

void ring_bypass(uint32_t kind, uint64_t slot, size_t bytes, uint32_t flags, uint32_t tick) {
    struct heap_header *header = image.header;
    bool allocated = kind == HEAP_EVENT_ALLOCATED;
    const struct heap_level each = counted(bytes, load_relaxed(&sample_interval));
    uint64_t live = __atomic_add_fetch(&header->live_bytes, allocated ? each.bytes : -each.bytes, __ATOMIC_RELAXED);
    uint64_t blocks =
        __atomic_add_fetch(&header->live_blocks, allocated ? each.blocks : -each.blocks, __ATOMIC_RELAXED);
    fold_event(
        &image.stacks[heap_slot_stack(slot)], slot, each, event_tag(0, flags, kind, tick), current_levels(), false);
    if (allocated) raise_peak(NULL, live, blocks);
    LOSE(ringless_events, 1);
}

void ring_settle(struct heap_thread *record, struct heap_ring *ring, uint32_t index) {
    settle_reallocation(&record->in_flight, index);
    uint64_t head = record->head, bytes = 0;
    for (int i = 0; i < 2; i++) {
        const struct heap_event *event = &ring->events[head % HEAP_RING_EVENTS];
        if (event->tag == 0 || heap_event_sequence(event->tag) != (uint32_t)head) break;
        bool stands = settle_slot_holds(event->address, event->slot);
        if (stands != (heap_event_kind(event->tag) == HEAP_EVENT_ALLOCATED)) break;
        bytes += event->bytes;
        head++;
    }
    store_release(&record->head, head);
    store_relaxed(&record->pending_bytes, record->pending_bytes + bytes);
}
