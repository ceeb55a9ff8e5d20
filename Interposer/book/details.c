/*
 * Levels and lifetimes. A stack's entry holds neither, except for one lifetime: in a program whose stacks never repeat,
 * nearly all stacks hold nothing at any level, and free their blocks after the same lifetime.
 *
 * Entries of DETAILS are written before anything refers to them, and are never given back. If two threads make one at
 * the same time, one thread's entry stays unused.
 */
#include "book/details.h"

#include "image/image.h"

_Static_assert(sizeof *image.details == HEAP_DETAIL_BYTES, "all kinds of entries take whole ones");

/* The entry that `*reference` names, or `count` new entries of zeros. 0 if there is no space. */
static uint32_t entry_of(uint32_t *reference, uint32_t count) {
    uint32_t number = load_acquire(reference); /* partner: the swap below */
    if (likely(number != 0)) return number;
    int64_t fresh = image_take(HEAP_SECTION_DETAILS, count);
    if (fresh < 0) {
        LOSE(lost_details, 1);
        return 0;
    }
    return cas_acq_rel(reference, &number, (uint32_t)fresh) ? (uint32_t)fresh : number;
}

static struct heap_detail *detail_of(struct heap_stack *stack) {
    uint32_t number = entry_of(&stack->detail, 1);
    return number != 0 ? &image.details[number] : NULL;
}

static struct heap_snapshot *snapshot_at(uint32_t number) { return (struct heap_snapshot *)&image.details[number]; }

/* Records what was held from snapshot `number` on. */
static void push_snapshot(struct heap_detail *detail, uint32_t number, struct heap_level held) {
    uint32_t newest = load_acquire(&detail->snapshots); /* partner: the swap below */
    const struct heap_snapshot *last = newest != 0 ? snapshot_at(newest) : NULL;
    if (last != NULL ? last->held.bytes == held.bytes && last->held.blocks == held.blocks
                     : held.bytes == 0 && held.blocks == 0)
        return; /* the newest entry already says so */
    int64_t fresh = image_take(HEAP_SECTION_DETAILS, 1);
    if (fresh < 0) {
        LOSE(lost_details, 1);
        return;
    }
    struct heap_snapshot *entry = snapshot_at((uint32_t)fresh);
    entry->number = number;
    entry->held = held;
    do entry->next = newest;
    while (!cas_acq_rel(&detail->snapshots, &newest, (uint32_t)fresh));
}

__attribute__((noinline)) void details_copy_levels(struct heap_stack *stack, uint32_t levels) {
    uint32_t before = load_relaxed(&stack->levels);
    struct heap_level held = {
        .bytes = not_below_zero(load_relaxed(&stack->allocated_bytes) - load_relaxed(&stack->freed_bytes)),
        .blocks = not_below_zero(load_relaxed(&stack->allocated_blocks) - load_relaxed(&stack->freed_blocks)),
    };
    uint32_t copied = heap_levels_snapshots(before), taken = heap_levels_snapshots(levels);
    /* A stack without details held nothing at any level. If it holds nothing now, it still needs none. */
    bool needed = held.bytes != 0 || held.blocks != 0 || load_relaxed(&stack->detail) != 0;
    struct heap_detail *detail = needed ? detail_of(stack) : NULL;
    if (detail != NULL) {
        if (!heap_levels_same_epoch(before, levels)) {
            store_relaxed(&detail->peak.bytes, held.bytes);
            store_relaxed(&detail->peak.blocks, held.blocks);
        }
        if (copied < taken) push_snapshot(detail, copied, held);
    }
    /* after the copies: a kill in between leaves "not changed since", which is still true. What another thread copied
     * meanwhile is not undone. */
    do
        if (heap_levels_same_epoch(before, levels) && heap_levels_snapshots(before) >= taken) return;
    while (!__atomic_compare_exchange_n(&stack->levels, &before, levels, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Counts in the stack's own word, if it is the lifetime that occurred first there. False if it is another, or the word
 * is full.
 */
static bool count_in_word(struct heap_stack *stack, uint32_t lifetime, uint64_t blocks, bool alone) {
    uint32_t word = load_relaxed(&stack->lifetime);
    while ((word == 0 || heap_lifetime_word_lifetime(word) == lifetime)
        && blocks <= HEAP_LIFETIME_WORD_MOST - heap_lifetime_word_blocks(word)) {
        uint32_t next = heap_lifetime_word(lifetime, heap_lifetime_word_blocks(word) + (uint32_t)blocks);
        if (alone) {
            store_relaxed(&stack->lifetime, next);
            return true;
        }
        if (cas_relaxed(&stack->lifetime, &word, next)) return true;
    }
    return false;
}

static __attribute__((noinline)) void count_first(
    struct heap_stack *stack, uint32_t lifetime, uint64_t blocks, bool alone) {
    if (count_in_word(stack, lifetime, blocks, alone)) return;
    struct heap_detail *detail = detail_of(stack);
    uint32_t number = detail != NULL ? entry_of(&detail->lifetimes, HEAP_LIFETIME_ENTRIES) : 0;
    if (number != 0) counter_add(&((struct heap_lifetimes *)&image.details[number])->blocks[lifetime], blocks, alone);
}

__attribute__((noinline)) void details_count_lifetime(
    struct heap_stack *stack, uint32_t born, uint32_t died, uint64_t blocks, bool alone) {
    uint64_t from = heap_tick_milliseconds(born), to = heap_tick_milliseconds(died);
    uint32_t lifetime = heap_lifetime_of_milliseconds(to > from ? to - from : 0);
    if (lifetime == 0) return;
    uint32_t detail = load_acquire(&stack->detail); /* partner: the swap in entry_of */
    uint32_t number = detail != 0 ? load_acquire(&image.details[detail].lifetimes) : 0;
    if (likely(number != 0))
        counter_add(&((struct heap_lifetimes *)&image.details[number])->blocks[lifetime], blocks, alone);
    else count_first(stack, lifetime, blocks, alone);
}
