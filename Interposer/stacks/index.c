/*
 * The index: open-addressed tables, each twice as large as the one before. One is in use, or two while entries move
 * from a full table to the next.
 *
 *     31     26 25                      0
 *    +---------+-------------------------+
 *    | tag     | node                    |     0: empty
 *    +---------+-------------------------+
 *
 * An entry is half a word, so a table of a million nodes takes at most 8 MB. The tag is six bits of the hash that the
 * entry's place does not give: with it, nearly all other entries are skipped without a look at their node.
 *
 * No thread stops while a table grows: each new node moves MOVED_AT_ONCE places of the old table, so the old table is
 * empty long before the new one is full. Until then, look-ups that find nothing in the new table go on in the old one.
 * If a thread never finishes a move (it was cancelled, or a signal handler left by longjmp), all later look-ups go
 * through both tables, which is slower but right. An old table's memory is given back some time after its entries
 * moved. A thread that was asleep in a look-up meanwhile finds nothing and makes a second node with the same parent and
 * frame. Two threads that enter a node at the same time may do the same. Readers merge such nodes.
 */
#include "stacks/index.h"

#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "image/image.h"

#define NODE_BITS 26
#define NODE_MASK ((1u << NODE_BITS) - 1)
#define PROBE_MOST 256
#define MOVED_AT_ONCE 32

static uint32_t current; /* the table that takes new entries */
static uint64_t seed;
static struct {
    uint64_t entered;  /* entries, including those that moved here */
    uint64_t claimed;  /* places of the previous table that threads have claimed for moving … */
    uint64_t moved;    /* … and have moved */
    uint32_t complete; /* this table has all entries of the older tables */
} states[TREE_INDEX_TABLES];

/* Whether the image has room for table number `table`. Narrowing takes room away (image/narrow.h). */
static bool has_table(uint32_t table) {
    return table < TREE_INDEX_TABLES
        && TREE_INDEX_BYTES_OF(table + 1) <= load_relaxed(&image.header->sections[HEAP_SECTION_INDEX].capacity);
}

void index_start(void) {
    current = 0;
    memset(states, 0, sizeof states);
    states[0].complete = 1;
    const void *random = (const void *)loader_auxiliary(AT_RANDOM);
    if (random != NULL) memcpy(&seed, random, sizeof seed);
}

static inline uint64_t table_offset(uint32_t table) { return ((1ull << table) - 1) << TREE_INDEX_FIRST_LOG2; }
static inline uint64_t table_size(uint32_t table) { return 1ull << (TREE_INDEX_FIRST_LOG2 + table); }

/* A multiplication and a fold of its 128 bits. Seeded, so that nobody can choose frames that collide. */
static inline uint64_t hash_of(uint32_t parent, uint64_t frame) {
    __uint128_t product = (__uint128_t)(frame ^ seed) * (parent * 0x9E3779B97F4A7C15ull ^ 0xD6E8FEB86659FD93ull);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
static inline uint32_t entry_of(uint64_t hash, uint32_t node) { return (uint32_t)(hash >> 58) << NODE_BITS | node; }

static inline bool is_of(uint32_t entry, uint64_t hash, uint32_t parent, uint64_t frame) {
    if ((entry ^ entry_of(hash, 0)) >> NODE_BITS != 0) return false;
    const struct heap_node *node = &image.nodes[entry & NODE_MASK];
    return node->frame == frame && node->parent == parent;
}

static uint32_t probe(uint32_t table, uint64_t hash, uint32_t parent, uint64_t frame) {
    uint64_t offset = table_offset(table), mask = table_size(table) - 1;
    for (uint64_t i = 0; i < PROBE_MOST; i++) {
        uint64_t at = offset + ((hash + i) & mask);
        if (!image_index_is_there(at)) return 0;
        uint32_t entry = load_acquire(&image.index[at]); /* partner: the swap in enter() */
        if (entry == 0) return 0;
        if (is_of(entry, hash, parent, frame)) return entry & NODE_MASK;
    }
    return 0;
}

uint32_t index_find(uint32_t parent, uint64_t frame) {
    uint64_t hash = hash_of(parent, frame);
    for (uint32_t table = load_acquire(&current);; table--) {
        uint32_t node = probe(table, hash, parent, frame);
        if (node != 0 || load_acquire(&states[table].complete) || table == 0) return node; /* partner: move() */
    }
}

/* Enters a node. Returns it, or the equal one that is already there, or 0 if the table has no room. */
static uint32_t enter(uint32_t table, uint64_t hash, uint32_t number) {
    const struct heap_node *node = &image.nodes[number];
    uint64_t offset = table_offset(table), mask = table_size(table) - 1;
    for (uint64_t i = 0; i < PROBE_MOST; i++) {
        uint64_t at = offset + ((hash + i) & mask);
        if (!image_has_index(at)) return 0;
        uint32_t entry = load_acquire(&image.index[at]);
        /* partner: the acquires here and in probe() */
        if (entry == 0 && cas_acq_rel(&image.index[at], &entry, entry_of(hash, number))) {
            add_relaxed(&states[table].entered, 1);
            return number;
        }
        if (is_of(entry, hash, node->parent, node->frame)) return entry & NODE_MASK;
    }
    return 0;
}

/* Moves some places of the table before this one. */
static void move(uint32_t table) {
    uint64_t size = table_size(table - 1), offset = table_offset(table - 1);
    if (load_relaxed(&states[table].claimed) >= size) return;
    uint64_t first = add_relaxed(&states[table].claimed, MOVED_AT_ONCE);
    if (first >= size) return;
    uint32_t nodes[MOVED_AT_ONCE];
    size_t count = 0;
    for (uint64_t i = 0; i < MOVED_AT_ONCE && image_index_is_there(offset + first); i++) {
        uint32_t entry = load_acquire(&image.index[offset + first + i]);
        if (entry == 0) continue;
        nodes[count++] = entry & NODE_MASK;
        __builtin_prefetch(&image.nodes[entry & NODE_MASK]);
    }
    for (size_t i = 0; i < count; i++) {
        const struct heap_node *node = &image.nodes[nodes[i]];
        enter(table, hash_of(node->parent, node->frame), nodes[i]);
    }
    if (__atomic_add_fetch(&states[table].moved, MOVED_AT_ONCE, __ATOMIC_ACQ_REL) == size
        && load_acquire(&states[table - 1].complete))
        store_release(&states[table].complete, 1); /* partner: index_find */
}

/* Called after a new node was entered in a table: moves entries from the previous table, and starts the next one if
 * this one is full. */
static void grow(uint32_t table) {
    uint64_t entered = load_relaxed(&states[table].entered), size = table_size(table);
    bool complete = load_acquire(&states[table].complete);
    if (!complete) move(table);
    /* This happens once, and long after the last look-up in the old table began. */
    else if (table > 0 && entered == size / 16 * 9) image_release_index(table_offset(table - 1), table_size(table - 1));
    if (entered > size / 16 * 13 && has_table(table + 1) && (complete || entered > size / 16 * 15)) {
        uint32_t expected = table;
        cas_acq_rel(&current, &expected, table + 1);
    }
}

uint32_t index_enter(uint32_t number) {
    const struct heap_node *node = &image.nodes[number];
    uint32_t table = load_acquire(&current);
    uint32_t entered = enter(table, hash_of(node->parent, node->frame), number);
    if (likely(entered == number)) grow(table);
    return entered != 0 ? entered : number;
}
