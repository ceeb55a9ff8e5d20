/*
 * The stack tree and its index.
 *
 * A node's hash runs over its frames from the outermost in, so that one probe finds a whole stack. The
 * index is a row of open-addressed tables, each twice the last: when one is three quarters full the next
 * is begun, and what a probe finds in an old table is entered in the new one on the way. Nothing is moved
 * and nobody stops. An entry is one word: the hash's upper 38 bits, and the node; its place in the table
 * adds the lower 12 to 25 bits, and a hit is confirmed by the node's frame, whose line is wanted anyway.
 *
 * An entry appears by one compare-and-swap after its node is written: a signal or a kill between the two
 * leaves a node that nothing names, and harms nobody.
 */
#include "stacks/tree.h"

#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "image/image.h"

#define NODE_BITS 26
#define NODE_MASK ((1ull << NODE_BITS) - 1)
#define PROBE_MOST 128

static uint32_t current;                    /* the one that takes new entries */
static uint64_t entered[TREE_INDEX_TABLES]; /* entries in each */
static uint64_t seed;

/* Whether the image has room for a table of this number; narrowing takes room away (image/narrow.h). */
static bool has_table(uint32_t table) {
    return table < TREE_INDEX_TABLES
        && TREE_INDEX_BYTES_OF(table + 1) <= load_relaxed(&image.header->sections[HEAP_SECTION_INDEX].capacity);
}

void tree_start(void) {
    current = 0;
    memset(entered, 0, sizeof entered);
    const void *random = (const void *)loader_auxiliary(AT_RANDOM);
    if (random != NULL) memcpy(&seed, random, sizeof seed);
}

uint64_t tree_root_hash(void) { return seed; }

static inline uint64_t table_offset(uint32_t table) { return ((1ull << table) - 1) << TREE_INDEX_FIRST_LOG2; }
static inline uint64_t table_mask(uint32_t table) { return (1ull << (TREE_INDEX_FIRST_LOG2 + table)) - 1; }

/* The node with this hash and innermost frame in one table, or 0. */
static uint32_t probe(uint32_t table, uint64_t hash, uint64_t frame) {
    uint64_t offset = table_offset(table), mask = table_mask(table);
    for (uint64_t i = 0; i < PROBE_MOST; i++) {
        uint64_t at = offset + ((hash + i) & mask);
        if (!image_has_index(at)) return 0;
        uint64_t entry = load_acquire(&image.index[at]); /* partner: the swap in enter() */
        if (entry == 0) return 0;
        if ((entry ^ hash) >> NODE_BITS == 0 && image.nodes[entry & NODE_MASK].frame == frame)
            return (uint32_t)(entry & NODE_MASK);
    }
    return 0;
}

/* Enters a node; returns it, or the one that another thread entered first, or 0 where the table has no room. */
static uint32_t enter(uint32_t table, uint64_t hash, uint64_t frame, uint32_t node) {
    uint64_t offset = table_offset(table), mask = table_mask(table), wanted = (hash & ~NODE_MASK) | node;
    for (uint64_t i = 0; i < PROBE_MOST; i++) {
        uint64_t at = offset + ((hash + i) & mask);
        if (!image_has_index(at)) return 0;
        uint64_t entry = load_acquire(&image.index[at]);
        /* partner: the acquires here and in probe() */
        if (entry == 0 && cas_acq_rel(&image.index[at], &entry, wanted)) {
            if (add_relaxed(&entered[table], 1) + 1 > (mask + 1) / 4 * 3 && has_table(table + 1)) {
                uint32_t expected = table;
                cas_relaxed(&current, &expected, table + 1);
            }
            return node;
        }
        if ((entry ^ hash) >> NODE_BITS == 0 && image.nodes[entry & NODE_MASK].frame == frame)
            return (uint32_t)(entry & NODE_MASK);
    }
    return 0;
}

static uint32_t find(uint64_t hash, uint64_t frame) {
    uint32_t newest = load_relaxed(&current);
    uint32_t node = probe(newest, hash, frame);
    for (uint32_t table = newest; node == 0 && table-- > 0;) {
        node = probe(table, hash, frame);
        if (node != 0) enter(newest, hash, frame, node);
    }
    return node;
}

/* Makes a node; 0 where there is no space. */
static uint32_t make(uint64_t hash, uint64_t frame, uint32_t parent) {
    int64_t fresh = image_take(HEAP_SECTION_NODES, 1);
    if (fresh < 0) return 0;
    struct heap_node *node = &image.nodes[fresh];
    node->frame = frame;
    node->parent = parent;
    uint32_t entered_node = enter(load_relaxed(&current), hash, frame, (uint32_t)fresh);
    return entered_node != 0 ? entered_node : (uint32_t)fresh; /* not in the index: it serves this once */
}

static uint32_t stack_of_node(uint32_t number) {
    struct heap_node *node = &image.nodes[number];
    uint32_t stack = load_acquire(&node->stack); /* partner: the swap below */
    if (likely(stack != 0)) return stack;
    int64_t fresh = image_take(HEAP_SECTION_STACKS, 1);
    if (fresh < 0) return 0;
    image.stacks[fresh].node = number;
    return cas_acq_rel(&node->stack, &stack, (uint32_t)fresh) ? (uint32_t)fresh : stack;
}

uint32_t tree_known(uint64_t frame, uint64_t hash) {
    uint32_t node = find(hash, frame);
    return node != 0 ? stack_of_node(node) : 0;
}

uint32_t tree_stack(const uint64_t *frames, const uint64_t *hashes, size_t count) {
    if (count == 0) return TREE_EMPTY_STACK;
    uint32_t node = 0;
    size_t known = count; /* frames that the tree has: it has all that lie outwards of one that it has */
    while (known > 0 && (node = find(hashes[known - 1], frames[known - 1])) == 0) known--;
    bool made = true;
    for (size_t i = known; i < count && made; i++) made = (node = make(hashes[i], frames[i], node)) != 0;
    uint32_t stack = made ? stack_of_node(node) : 0;
    if (likely(stack != 0)) return stack;
    LOSE(lost_stacks, 1);
    return TREE_EMPTY_STACK;
}
