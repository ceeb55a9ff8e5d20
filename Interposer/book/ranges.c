/*
 * The range tree. A node is entered by one compare-and-swap and never leaves, so whoever holds an entry's address may
 * write to it at any time. An entry that covers many pages and must change for some of them gets a node first, filled
 * with what the entry says: the tree means the same before and after.
 *
 * A kill between any two stores leaves a tree that can be read: the change was made for some of its pages.
 */
#include "book/ranges.h"

#include "base/atomics.h"
#include "threads/thread.h"

static uint32_t is_wanted; /* the hooks are there */
static uint32_t spare;     /* a node that another thread's came before; 0: none */
/* The newest change's number. It goes on from image to image: a call may begin in one and end in the next. */
static uint64_t newest;
/* The program's own mapped bytes now. Private: readers take them from the tree. */
static int64_t mapped_bytes;

#define PAGE_LOG2 12
#define PAGES_MOST (1ull << (HEAP_ADDRESS_BITS - PAGE_LOG2))
#define CALL_PAGES_MOST ((1ull << (64 - HEAP_RANGE_PAGES_SHIFT)) - 1)

static struct heap_mapping_sums *sums(void) { return (struct heap_mapping_sums *)&image.ranges[0]; }

void ranges_start(void) {
    store_relaxed(&spare, 0);
    store_relaxed(&mapped_bytes, 0);
    if (load_relaxed(&is_wanted)) ranges_begin();
}

void ranges_begin(void) {
    store_relaxed(&is_wanted, 1);
    if (image.base == NULL) return; /* of a forked child: the next image begins with this */
    /* partner: a reader, which finds the tree's root once it sees the flag */
    if (image.header->sections[HEAP_SECTION_RANGES].used > HEAP_RANGE_POOL_NAMES)
        __atomic_fetch_or(&image.header->flags, HEAP_FLAG_MAPPINGS, __ATOMIC_RELEASE);
}

uint64_t ranges_number(void) {
    uint64_t number = __atomic_add_fetch(&newest, 1, __ATOMIC_SEQ_CST);
    return number < HEAP_RANGE_BIRTH_MASK ? number : HEAP_RANGE_BIRTH_MASK;
}

struct change {
    uint64_t first, end; /* pages */
    uint64_t number;
    uint64_t only; /* 0, or the one birth that is replaced */
    struct heap_range to;
    int64_t counted_pages; /* by how many the program's own mapped pages grew */
    uint64_t lost_pages;
};

static bool counts(uint64_t word, uint64_t more) {
    return word != 0 && (more & HEAP_MAPPING_KIND_MASK) != HEAP_MAPPING_ALLOCATOR;
}

struct heap_range ranges_read(const struct heap_range *entry) {
    struct heap_range seen;
    do {
        seen.word = load_acquire(&entry->word); /* partner: the swaps below */
        seen.more = load_acquire(&entry->more);
    } while (load_relaxed(&entry->word) != seen.word);
    return seen;
}

bool ranges_split(struct heap_range *entry, struct heap_range seen, bool *is_full) {
    int64_t node = swap_relaxed(&spare, 0);
    if (node == 0) node = image_take(HEAP_SECTION_RANGES, 1);
    *is_full = node < 0;
    if (*is_full) return false;
    struct heap_range *parts = image.ranges[node].entries;
    for (uint32_t i = 0; i < HEAP_RANGE_ENTRIES; i++) {
        store_relaxed(&parts[i].more, seen.more);
        store_relaxed(&parts[i].word, seen.word);
    }
    if (cas_acq_rel(&entry->word, &seen.word, HEAP_RANGE_NODE | (uint64_t)node)) return true; /* partner: ranges_read */
    store_relaxed(&spare, (uint32_t)node);
    return false;
}

static void change_in(uint32_t node, uint32_t level, uint64_t base, struct change *change);

static uint64_t lesser(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t greater(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Changes the part of [from, from + 2^(9 level)) that lies in the range. */
static void change_entry(struct heap_range *entry, uint32_t level, uint64_t from, struct change *change) {
    const uint64_t until = from + (1ull << heap_range_log2(level));
    const uint64_t pages = lesser(until, change->end) - greater(from, change->first);
    const bool is_whole = change->first <= from && until <= change->end;
    for (;;) {
        struct heap_range seen = ranges_read(entry);
        if (heap_range_is_node(seen.word)) {
            if (level > 0) change_in((uint32_t)seen.word, level - 1, from, change);
            return;
        }
        const uint64_t birth = heap_range_birth(seen.word);
        if (seen.word == 0 && change->to.word == 0) return;
        if (seen.word != 0
            && (change->only != 0 ? birth != change->only : birth >= change->number && birth != HEAP_RANGE_BIRTH_MASK))
            return;
        if (is_whole && seen.word != 0) {
            /* Emptied first, also where another mapping follows: no old word stands beside a new `more`. */
            if (!cas_acq_rel(&entry->word, &seen.word, 0)) continue; /* partner: ranges_read */
            if (counts(seen.word, seen.more)) change->counted_pages -= (int64_t)pages;
            if (change->to.word == 0) return;
            continue;
        }
        if (is_whole) {
            store_relaxed(&entry->more, change->to.more);
            if (!cas_acq_rel(&entry->word, &seen.word, change->to.word)) continue; /* partner: ranges_read */
            if (counts(change->to.word, change->to.more)) change->counted_pages += (int64_t)pages;
            return;
        }
        bool is_full;
        if (!ranges_split(entry, seen, &is_full) && is_full) {
            change->lost_pages += pages;
            return;
        }
    }
}

static void change_in(uint32_t node, uint32_t level, uint64_t base, struct change *change) {
    const uint32_t log2 = heap_range_log2(level);
    const uint64_t first = greater(change->first, base),
                   end = lesser(change->end, base + ((uint64_t)HEAP_RANGE_ENTRIES << log2));
    struct heap_range *entries = image.ranges[node].entries;
    for (uint64_t i = (first - base) >> log2; base + (i << log2) < end; i++)
        change_entry(&entries[i], level, base + (i << log2), change);
}

static void count(int64_t bytes) {
    int64_t now = __atomic_add_fetch(&mapped_bytes, bytes, __ATOMIC_RELAXED);
    uint64_t peak = load_relaxed(&sums()->peak_bytes);
    while (now > 0 && (uint64_t)now > peak && !cas_relaxed(&sums()->peak_bytes, &peak, (uint64_t)now)) {}
}

static void apply(struct change *change, uintptr_t start, size_t bytes) {
    uintptr_t last;
    if (bytes == 0 || __builtin_add_overflow(start, bytes - 1, &last)) return;
    change->first = lesser(start >> PAGE_LOG2, PAGES_MOST);
    change->end = lesser((last >> PAGE_LOG2) + 1, PAGES_MOST);
    if (change->first >= change->end) return;
    change_in(HEAP_RANGE_ROOT, HEAP_RANGE_LEVELS - 1, 0, change);
    if (change->counted_pages != 0) count(change->counted_pages * (1 << PAGE_LOG2));
    if (unlikely(change->lost_pages != 0)) ranges_lost(change->lost_pages << PAGE_LOG2);
}

void ranges_set(uint64_t number, uintptr_t start, size_t bytes, uint32_t stack, uint32_t what) {
    const uint64_t pages =
        lesser(((start + bytes + HEAP_PAGE_BYTES - 1) >> PAGE_LOG2) - (start >> PAGE_LOG2), CALL_PAGES_MOST);
    struct change change = {.number = number,
        .to = {(uint64_t)stack << HEAP_RANGE_STACK_SHIFT | number,
            pages << HEAP_RANGE_PAGES_SHIFT | (uint64_t)thread_clock()->tick << HEAP_RANGE_TICK_SHIFT | what}};
    apply(&change, start, bytes);
}

void ranges_clear(uint64_t number, uintptr_t start, size_t bytes) {
    struct change change = {.number = number};
    apply(&change, start, bytes);
}

void ranges_clear_one(uint64_t birth, uintptr_t start, size_t bytes) {
    struct change change = {.only = birth};
    apply(&change, start, bytes);
}

struct heap_range ranges_at(uintptr_t address) {
    const uint64_t page = address >> PAGE_LOG2;
    uint64_t node = HEAP_RANGE_ROOT;
    if (page >= PAGES_MOST) return (struct heap_range){0, 0};
    for (uint32_t level = HEAP_RANGE_LEVELS; level-- > 0;) {
        struct heap_range seen =
            ranges_read(&image.ranges[node].entries[page >> heap_range_log2(level) & (HEAP_RANGE_ENTRIES - 1)]);
        if (!heap_range_is_node(seen.word)) return seen;
        node = (uint32_t)seen.word;
    }
    return (struct heap_range){0, 0};
}

/* ---- All of them ---------------------------------------------------------------------------------------- */

/* The mapping that is being put together; no bytes: none. */
struct walk {
    struct heap_mapping run;
    bool (*take)(const struct heap_mapping *mapping);
    bool is_done;
};

static void end_run(struct walk *walk) {
    if (walk->run.bytes != 0 && !walk->is_done) walk->is_done = !walk->take(&walk->run);
    walk->run.bytes = 0;
}

static void add_pages(struct walk *walk, uint64_t page, uint64_t pages, struct heap_range seen) {
    const uint64_t start = page << PAGE_LOG2, bytes = pages << PAGE_LOG2, birth = heap_range_birth(seen.word);
    struct heap_mapping *run = &walk->run;
    if (run->bytes != 0 && run->start + run->bytes == start && run->birth == birth) {
        run->bytes += bytes;
        return;
    }
    end_run(walk);
    *run = (struct heap_mapping){.start = start,
        .bytes = bytes,
        .slot = heap_slot_make(heap_range_stack(seen.word), heap_range_tick(seen.more), 0),
        .birth = birth,
        .kind = (uint32_t)seen.more & HEAP_MAPPING_KIND_MASK,
        .flags = (uint32_t)seen.more & (HEAP_MAPPING_FLAG_RESERVED | HEAP_MAPPING_FLAG_HUGE)};
}

/* The tree has four levels, so this goes no deeper. */
static void walk_node(struct walk *walk, uint32_t node, uint32_t level, uint64_t base) {
    const uint32_t log2 = heap_range_log2(level);
    for (uint64_t i = 0; i < HEAP_RANGE_ENTRIES && !walk->is_done; i++) {
        const struct heap_range seen = ranges_read(&image.ranges[node].entries[i]);
        if (!heap_range_is_node(seen.word)) {
            if (seen.word != 0) add_pages(walk, base + (i << log2), 1ull << log2, seen);
        } else if (level > 0) {
            walk_node(walk, (uint32_t)seen.word, level - 1, base + (i << log2));
        }
    }
}

void ranges_each(bool (*take)(const struct heap_mapping *mapping)) {
    struct walk walk = {.take = take};
    walk_node(&walk, HEAP_RANGE_ROOT, HEAP_RANGE_LEVELS - 1, 0);
    end_run(&walk);
}

/* ---- Counts --------------------------------------------------------------------------------------------- */

void ranges_called(void) { add_relaxed(&sums()->calls, 1); }

void ranges_lost(size_t bytes) {
    add_relaxed(&sums()->lost_calls, 1);
    add_relaxed(&sums()->lost_bytes, bytes);
}

void ranges_discarded(size_t bytes) {
    add_relaxed(&sums()->discards, 1);
    add_relaxed(&sums()->discarded_bytes, bytes);
}
