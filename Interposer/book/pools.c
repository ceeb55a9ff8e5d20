/*
 * Pools and their blocks.
 *
 * The blocks are in a tree of the image's range nodes, as mappings are, by granules. The pools are records in nodes of
 * the same size, 128 in each, which node 3 lists. A name's hash chooses a bucket of 16 records; the record's number is
 * in each block of the pool. A record whose pool was destroyed serves the next pool of that bucket.
 *
 * To find a pool's blocks again, its record has the first and the last of their addresses, and two sets of 64 bits: of
 * the pieces of 4 MB and of 8 KB in which they lie, by hash. A sweep enters a node of the tree only if its bit is set.
 */
#include "book/pools.h"

#include <string.h>

#include "base/atomics.h"
#include "book/ranges.h"
#include "threads/thread.h"

/* A record. Private: no reader knows it. */
struct pool {
    uint64_t name; /* the pool's name without its highest bit, shifted; the lowest bit: it is in use. 0: never used */
    uint64_t flags;
    uint64_t low, high; /* the addresses at which its blocks began, from their first to their last; high 0: none */
    uint64_t pieces, leaves;
    uint64_t blocks; /* live */
    uint64_t reserved;
};

#define RECORDS_IN_NODE (sizeof(struct heap_range_node) / sizeof(struct pool))
#define BUCKET 16u
#define POOLS_MOST (HEAP_RANGE_ENTRIES * (uint32_t)RECORDS_IN_NODE)
_Static_assert(sizeof(struct pool) == 64, "a node has whole records");
_Static_assert(POOLS_MOST - 1 <= HEAP_POOL_NUMBER_MASK, "a block has room for its pool's number");

#define BYTES_MOST ((1ull << (64 - HEAP_RANGE_PAGES_SHIFT)) - 1)
#define LEAF_LOG2 (HEAP_POOL_GRANULE_LOG2 + 9)
#define PIECE_LOG2 (LEAF_LOG2 + 9)

/* Places that were found before there was an image. */
static struct heap_request_sums places;

static struct heap_pool_sums *sums(void) {
    return (struct heap_pool_sums *)((struct heap_mapping_sums *)&image.ranges[0] + 1);
}
static struct heap_request_sums *request_sums(void) { return (struct heap_request_sums *)(sums() + 1); }

static uint64_t bytes_of(uint64_t more) { return more >> HEAP_RANGE_PAGES_SHIFT; }
static uint32_t pool_of(uint64_t word) { return (uint32_t)(word >> HEAP_POOL_NUMBER_SHIFT & HEAP_POOL_NUMBER_MASK); }
/* One of 64 bits. */
static uint64_t bit_of(uint64_t number) { return 1ull << (number * 0x9E3779B97F4A7C15ull >> 58); }

/* ---- Pools ---------------------------------------------------------------------------------------------- */

/* NULL: there is no node for it, and none is to be made, or there is no space. */
static struct pool *record(uint32_t number, bool makes) {
    struct heap_range *entry = &image.ranges[HEAP_RANGE_POOL_NAMES].entries[number / RECORDS_IN_NODE];
    uint64_t word = load_acquire(&entry->word); /* partner: the swap in ranges_split */
    while (!heap_range_is_node(word)) {
        bool is_full = false;
        if (!makes || (!ranges_split(entry, (struct heap_range){0, 0}, &is_full) && is_full)) return NULL;
        word = load_acquire(&entry->word);
    }
    return (struct pool *)&image.ranges[(uint32_t)word] + number % RECORDS_IN_NODE;
}

/* The number of the pool of this name; 0: it is not known, and not to be made, or there is no space for it. */
static uint32_t find(uintptr_t name, bool makes) {
    const uint64_t used = (uint64_t)name << 1 | 1;
    const uint32_t bucket = (uint32_t)(name * 0x9E3779B97F4A7C15ull >> 32) % POOLS_MOST / BUCKET * BUCKET;
    if (record(bucket, makes) == NULL) return 0;
    for (;;) {
        uint32_t free = 0;
        uint64_t was = 0;
        for (uint32_t number = bucket != 0 ? bucket : 1; number < bucket + BUCKET; number++) {
            const uint64_t seen = load_acquire(&record(number, false)->name); /* partner: the swaps below */
            if (seen == used) return number;
            if (!(seen & 1) && free == 0) {
                free = number;
                was = seen;
            }
            if (seen == 0) break;
        }
        if (!makes || free == 0) return 0;
        /* If another thread takes the record first, it may be for the same pool: look again. */
        if (cas_acq_rel(&record(free, false)->name, &was, used)) return free;
    }
}

/* The record of a number that a block has; NULL: the block is of no pool. */
static struct pool *pool_numbered(uint32_t number) { return number != 0 ? record(number, false) : NULL; }

/* Lets the pool know where one of its blocks begins. */
static void joins(struct pool *pool, uintptr_t address) {
    const uint64_t piece = bit_of(address >> PIECE_LOG2), leaf = bit_of(address >> LEAF_LOG2);
    uint64_t low = load_relaxed(&pool->low), high = load_relaxed(&pool->high);
    if (!(load_relaxed(&pool->pieces) & piece)) or_relaxed(&pool->pieces, piece);
    if (!(load_relaxed(&pool->leaves) & leaf)) or_relaxed(&pool->leaves, leaf);
    while ((low == 0 || address < low) && !cas_relaxed(&pool->low, &low, address)) {}
    while (address > high && !cas_relaxed(&pool->high, &high, address)) {}
    add_relaxed(&pool->blocks, 1);
}

static void leaves(uint32_t number) {
    struct pool *pool = pool_numbered(number);
    if (pool != NULL) add_relaxed(&pool->blocks, (uint64_t)-1);
}

/* A pool without blocks, under its name or free for another. */
static void empty(struct pool *pool, uint64_t flags) {
    store_relaxed(&pool->flags, flags);
    store_relaxed(&pool->low, 0);
    store_relaxed(&pool->high, 0);
    store_relaxed(&pool->pieces, 0);
    store_relaxed(&pool->leaves, 0);
    store_relaxed(&pool->blocks, 0);
}

static void forget(struct pool *pool) {
    empty(pool, 0);
    uint64_t name = load_relaxed(&pool->name);
    store_release(&pool->name, name & ~1ull); /* partner: find */
}

/* ---- Blocks --------------------------------------------------------------------------------------------- */

/* The entry for blocks that begin in the granule of this address; NULL if it is missing and not to be made, or there is
 * no space. */
static struct heap_range *entry_at(uintptr_t address, bool makes) {
    const uint64_t granule = address >> HEAP_POOL_GRANULE_LOG2;
    uint64_t node = HEAP_RANGE_POOLS;
    if (address >> HEAP_ADDRESS_BITS != 0) return NULL;
    for (uint32_t level = HEAP_POOL_LEVELS - 1;; level--) {
        struct heap_range *entry =
            &image.ranges[node].entries[granule >> heap_range_log2(level) & (HEAP_RANGE_ENTRIES - 1)];
        if (level == 0) return entry;
        uint64_t word = load_acquire(&entry->word); /* partner: the swap in ranges_split */
        while (!heap_range_is_node(word)) {
            bool is_full = false;
            if (!makes || (!ranges_split(entry, (struct heap_range){0, 0}, &is_full) && is_full)) return NULL;
            word = load_acquire(&entry->word);
        }
        node = (uint32_t)word;
    }
}

static void count_free(struct heap_range block) {
    leaves(pool_of(block.word));
    add_relaxed(&sums()->freed_blocks, 1);
    add_relaxed(&sums()->freed_bytes, bytes_of(block.more));
}

/* Books a block. `more` has its bytes and tick; `number` is its pool's. */
static void put(uint32_t number, uintptr_t address, uint64_t more, uint32_t stack) {
    struct heap_range *entry = entry_at(address, true);
    const uint64_t offset = address & HEAP_POOL_OFFSET_MASK;
    struct heap_range before = entry != NULL ? ranges_read(entry) : (struct heap_range){0, 0};
    if (entry == NULL || (before.word != 0 && (before.more & HEAP_POOL_OFFSET_MASK) != offset)) {
        add_relaxed(&sums()->lost_blocks, 1);
        return;
    }
    if (before.word != 0) { /* the pool took it back, and said nothing */
        /* no reader joins the old word with the new size */
        if (__atomic_exchange_n(&entry->word, 0, __ATOMIC_ACQ_REL) != 0) count_free(before);
    }
    store_relaxed(&entry->more, more | offset);
    struct pool *pool = pool_numbered(number);
    if (pool != NULL) joins(pool, address);
    const uint64_t count = (add_relaxed(&sums()->allocated_blocks, 1) + 1) & HEAP_POOL_COUNT_MASK;
    /* partner: ranges_read */
    store_release(
        &entry->word, (uint64_t)stack << HEAP_RANGE_STACK_SHIFT | (uint64_t)number << HEAP_POOL_NUMBER_SHIFT | count);
    add_relaxed(&sums()->allocated_bytes, bytes_of(more));
}

/* Clears the entry if it still holds this block. */
static bool clear(struct heap_range *entry, struct heap_range block) {
    if (!cas_acq_rel(&entry->word, &block.word, 0)) return false; /* partner: ranges_read */
    count_free(block);
    return true;
}

void pools_allocated_alone(uintptr_t address, size_t bytes, uint32_t stack) {
    put(0, address,
        (bytes < BYTES_MOST ? bytes : BYTES_MOST) << HEAP_RANGE_PAGES_SHIFT
            | (uint64_t)thread_clock()->tick << HEAP_RANGE_TICK_SHIFT,
        stack);
}

void pools_freed_alone(uintptr_t address) {
    struct heap_range *entry = entry_at(address, false);
    struct heap_range before = entry != NULL ? ranges_read(entry) : (struct heap_range){0, 0};
    if (before.word == 0 || (before.more & HEAP_POOL_OFFSET_MASK) != (address & HEAP_POOL_OFFSET_MASK)
        || !clear(entry, before))
        add_relaxed(&sums()->unmatched_frees, 1);
}

/* ---- Sweeps --------------------------------------------------------------------------------------------- */

/* A walk over the blocks of one pool. */
struct sweep {
    uint32_t number;
    uint64_t first, last; /* granules */
    uint64_t pieces, leaves;
    void (*visit)(const struct sweep *sweep, struct heap_range *entry, struct heap_range block, uintptr_t address);
    uintptr_t start, end;    /* of pools_trimmed: the first and the last byte */
    uint32_t to;             /* of pools_renamed */
    const struct pool *pool; /* NULL: all blocks in the range that are of no pool */
};

static void sweep_node(const struct sweep *sweep, uint32_t node, uint32_t level, uint64_t base) {
    const uint32_t log2 = heap_range_log2(level);
    uint64_t i = sweep->first > base ? (sweep->first - base) >> log2 : 0;
    for (; i < HEAP_RANGE_ENTRIES && base + (i << log2) <= sweep->last; i++) {
        struct heap_range *entry = &image.ranges[node].entries[i];
        const uint64_t word = load_acquire(&entry->word), granule = base + (i << log2); /* partner: ranges_split */
        if (word == 0) continue;
        if (sweep->pool != NULL && load_relaxed(&sweep->pool->blocks) == 0) return; /* that was the last one */
        if (level > 0) {
            const bool is_piece = level == 2, is_leaf = level == 1;
            if (!heap_range_is_node(word)) continue;
            if (is_piece && !(sweep->pieces & bit_of(granule >> (PIECE_LOG2 - HEAP_POOL_GRANULE_LOG2)))) continue;
            if (is_leaf && !(sweep->leaves & bit_of(granule >> (LEAF_LOG2 - HEAP_POOL_GRANULE_LOG2)))) continue;
            sweep_node(sweep, (uint32_t)word, level - 1, granule);
            continue;
        }
        if (pool_of(word) != sweep->number) continue;
        const struct heap_range block = ranges_read(entry);
        if (block.word == 0 || pool_of(block.word) != sweep->number) continue;
        sweep->visit(sweep, entry, block, granule << HEAP_POOL_GRANULE_LOG2 | (block.more & HEAP_POOL_OFFSET_MASK));
    }
}

static void sweep_pool(struct sweep *sweep) {
    const struct pool *pool = sweep->pool;
    if (load_relaxed(&pool->blocks) == 0) return;
    sweep->first = load_relaxed(&pool->low) >> HEAP_POOL_GRANULE_LOG2;
    sweep->last = load_relaxed(&pool->high) >> HEAP_POOL_GRANULE_LOG2;
    sweep->pieces = load_relaxed(&pool->pieces);
    sweep->leaves = load_relaxed(&pool->leaves);
    sweep_node(sweep, HEAP_RANGE_POOLS, HEAP_POOL_LEVELS - 1, 0);
}

static void visit_to_free(
    const struct sweep *sweep, struct heap_range *entry, struct heap_range block, uintptr_t address) {
    if (sweep->pool != NULL || (address >= sweep->start && address <= sweep->end)) clear(entry, block);
}

void pools_destroyed(uintptr_t name) {
    uint32_t number;
    /* At most: two threads may have made a pool of one name at once, each in a record of its own. */
    for (uint32_t i = 0; i < BUCKET && (number = find(name, false)) != 0; i++) {
        struct pool *pool = record(number, false);
        sweep_pool(&(struct sweep){.number = number, .pool = pool, .visit = visit_to_free});
        forget(pool);
    }
}

static void visit_to_trim(
    const struct sweep *sweep, struct heap_range *entry, struct heap_range block, uintptr_t address) {
    const uint64_t bytes = bytes_of(block.more);
    const uintptr_t last = bytes != 0 ? address + bytes - 1 : address;
    const bool begins = address >= sweep->start && address <= sweep->end,
               ends = last >= sweep->start && last <= sweep->end;
    if (begins && ends) return;
    if (!clear(entry, block) || begins == ends) return;
    const uintptr_t from = begins ? address : sweep->start, to = ends ? last : sweep->end;
    const uint64_t tick = (uint64_t)heap_range_tick(block.more) << HEAP_RANGE_TICK_SHIFT;
    put(sweep->number, from, (uint64_t)(to - from + 1) << HEAP_RANGE_PAGES_SHIFT | tick, heap_range_stack(block.word));
}

void pools_trimmed(uintptr_t name, uintptr_t start, size_t bytes) {
    const uint32_t number = find(name, false);
    uintptr_t end;
    if (number == 0) return;
    if (bytes == 0 || __builtin_add_overflow(start, bytes - 1, &end)) end = bytes == 0 ? start : UINTPTR_MAX;
    struct sweep sweep = {.number = number, .pool = record(number, false), .visit = visit_to_trim};
    sweep.start = bytes != 0 ? start : 1; /* nothing lies in an empty range */
    sweep.end = bytes != 0 ? end : 0;
    sweep_pool(&sweep);
}

static void visit_to_rename(
    const struct sweep *sweep, struct heap_range *entry, struct heap_range block, uintptr_t address) {
    const uint64_t pool_bits = HEAP_POOL_NUMBER_MASK << HEAP_POOL_NUMBER_SHIFT;
    struct pool *to = pool_numbered(sweep->to);
    if (to != NULL) joins(to, address);
    if (cas_acq_rel(&entry->word, &block.word, /* partner: ranges_read */
            (block.word & ~pool_bits) | (uint64_t)sweep->to << HEAP_POOL_NUMBER_SHIFT))
        leaves(sweep->number);
    else leaves(sweep->to);
}

void pools_renamed(uintptr_t from, uintptr_t to) {
    const uint32_t number = find(from, false);
    if (number == 0 || from == to) return;
    struct pool *pool = record(number, false);
    const uint32_t other = find(to, true);
    if (other == 0) add_relaxed(&request_sums()->lost_pools, 1);
    else store_relaxed(&record(other, false)->flags, load_relaxed(&pool->flags));
    sweep_pool(&(struct sweep){.number = number, .pool = pool, .visit = visit_to_rename, .to = other});
    forget(pool);
}

/* ---- The program's calls -------------------------------------------------------------------------------- */

/* The name under which a block of a pool of pools is kept: no pool has it, as programs' addresses are below. */
static uintptr_t name_of_outer(uintptr_t address) { return ~address; }

void pools_created(uintptr_t name, uint64_t flags) {
    const uint32_t number = find(name, true);
    if (number == 0) {
        add_relaxed(&request_sums()->lost_pools, 1);
        return;
    }
    /* If it is there already, it was not destroyed, and keeps its blocks. */
    store_relaxed(&record(number, false)->flags, flags & (POOLS_FREE_INNER | POOLS_OF_POOLS));
}

void pools_allocated(uintptr_t name, uintptr_t address, size_t bytes, uint32_t stack) {
    const uint32_t number = find(name, true);
    if (number == 0) add_relaxed(&request_sums()->lost_pools, 1);
    const uint64_t flags = number != 0 ? load_relaxed(&record(number, false)->flags) : 0;
    if (likely(!(flags & POOLS_OF_POOLS))) {
        const uint64_t held = bytes < BYTES_MOST ? bytes : BYTES_MOST;
        put(number, address, held << HEAP_RANGE_PAGES_SHIFT | (uint64_t)thread_clock()->tick << HEAP_RANGE_TICK_SHIFT,
            stack);
        return;
    }
    if (!(flags & POOLS_FREE_INNER) || bytes == 0) return;
    const uint32_t outer = find(name_of_outer(address), true);
    if (outer == 0) {
        add_relaxed(&request_sums()->lost_pools, 1);
        return;
    }
    store_relaxed(&record(outer, false)->low, address);
    store_relaxed(&record(outer, false)->high, address + bytes - 1);
}

void pools_freed(uintptr_t name, uintptr_t address) {
    const uint32_t number = find(name, false);
    const uint64_t flags = number != 0 ? load_relaxed(&record(number, false)->flags) : 0;
    if (likely(!(flags & POOLS_OF_POOLS))) {
        pools_freed_alone(address);
        return;
    }
    const uint32_t outer = find(name_of_outer(address), false);
    if (outer == 0) return;
    struct pool *pool = record(outer, false);
    struct sweep sweep = {.pieces = ~0ull, .leaves = ~0ull, .visit = visit_to_free};
    sweep.start = load_relaxed(&pool->low);
    sweep.end = load_relaxed(&pool->high);
    sweep.first = sweep.start >> HEAP_POOL_GRANULE_LOG2;
    sweep.last = sweep.end >> HEAP_POOL_GRANULE_LOG2;
    sweep_node(&sweep, HEAP_RANGE_POOLS, HEAP_POOL_LEVELS - 1, 0);
    forget(pool);
}

/* ---- All of them ---------------------------------------------------------------------------------------- */

static bool walk(bool (*take)(const struct heap_mapping *mapping), uint32_t node, uint32_t level, uint64_t base) {
    const uint32_t log2 = heap_range_log2(level);
    for (uint64_t i = 0; i < HEAP_RANGE_ENTRIES; i++) {
        const struct heap_range seen = ranges_read(&image.ranges[node].entries[i]);
        if (level > 0) {
            if (heap_range_is_node(seen.word) && !walk(take, (uint32_t)seen.word, level - 1, base + (i << log2)))
                return false;
            continue;
        }
        if (seen.word == 0) continue;
        if (!take(&(struct heap_mapping){
                .start = (base + i) << HEAP_POOL_GRANULE_LOG2 | (seen.more & HEAP_POOL_OFFSET_MASK),
                .bytes = bytes_of(seen.more),
                .slot = heap_slot_make(heap_range_stack(seen.word), heap_range_tick(seen.more), 0),
                .birth = heap_range_birth(seen.word),
                .kind = HEAP_MAPPING_POOL}))
            return false;
    }
    return true;
}

void pools_each(bool (*take)(const struct heap_mapping *mapping)) {
    walk(take, HEAP_RANGE_POOLS, HEAP_POOL_LEVELS - 1, 0);
}

/* ---- Requests ------------------------------------------------------------------------------------------- */

static bool has_image(void) { return image.base != NULL && ranges_are_booked(); }

static void add_places(const struct heap_request_sums *found) {
    struct heap_request_sums *to = request_sums();
    add_relaxed(&to->places, found->places);
    add_relaxed(&to->refused, found->refused);
    add_relaxed(&to->unsure, found->unsure);
    store_release(&to->kind, HEAP_MAPPING_REQUESTS);
}

void pools_start(void) {
    if (load_relaxed(&places.kind) != 0 && has_image()) add_places(&places);
}

void pools_request_places(uint64_t changed, uint64_t refused, uint64_t unsure) {
    const struct heap_request_sums found = {.places = changed, .refused = refused, .unsure = unsure};
    add_relaxed(&places.places, changed);
    add_relaxed(&places.refused, refused);
    add_relaxed(&places.unsure, unsure);
    store_relaxed(&places.kind, HEAP_MAPPING_REQUESTS);
    if (has_image()) add_places(&found);
}

void pools_request_unread(void) { add_relaxed(&sums()->lost_blocks, 1); }

void pools_request_came(void) { add_relaxed(&request_sums()->requests, 1); }

const struct heap_request_sums *pools_requests(void) {
    const struct heap_request_sums *here = request_sums();
    return load_acquire(&here->kind) != 0 ? here : NULL; /* partner: add_places */
}
