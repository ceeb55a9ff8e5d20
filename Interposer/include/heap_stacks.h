/*
 * Stacks: a tree of frames, and what each stack's blocks come to. A part of the image's format (heap_image.h).
 */
#ifndef HEAP_STACKS_H
#define HEAP_STACKS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One entry of the stack tree. A parent is an older entry: its number is lower. If two threads insert the same frame at
 * once, two entries have the same parent and frame: a reader merges them.
 */
struct heap_node {
    uint64_t frame;
    uint32_t parent; /* 0: this is the outermost frame */
    uint32_t stack;  /* the stack that ends here, or 0 */
};

/* What a stack held at one moment. */
struct heap_level {
    uint64_t bytes;
    uint64_t blocks;
};

/* Snapshot i is taken when the run is HEAP_SNAPSHOT_FIRST_SECONDS << i seconds old: 8 s … 12 days. */
#define HEAP_SNAPSHOT_COUNT 18
#define HEAP_SNAPSHOT_FIRST_SECONDS 8
/* Lifetime i counts blocks that lived less than 4 << 2i milliseconds (and at least a quarter of that), up to 70
 * minutes. The last one counts all longer lifetimes. */
#define HEAP_LIFETIME_COUNT 12
#define HEAP_LIFETIME_FIRST_MILLISECONDS 4

static inline uint32_t heap_lifetime_of_milliseconds(uint64_t milliseconds) {
    uint64_t units = milliseconds / HEAP_LIFETIME_FIRST_MILLISECONDS;
    uint32_t lifetime = units == 0 ? 0 : (uint32_t)(63 - __builtin_clzll(units)) / 2 + 1;
    return lifetime < HEAP_LIFETIME_COUNT ? lifetime : HEAP_LIFETIME_COUNT - 1;
}

/*
 * A stack's counters, folded from the rings. They do not contain a thread's events from `folded` on. Everything else
 * lies in DETAILS and is made when it is first needed: a stack that only allocated and freed has none.
 *
 * Peak and snapshots are copied lazily. `levels` says how far: it is heap_levels of the header's epoch and count at the
 * last copy. If its epoch differs from the header's, or its count is below the header's, the stack has not changed
 * since, and each missing value is what the stack holds now. A copied value without an entry in DETAILS is zero.
 */
struct heap_stack {
    uint64_t allocated_blocks;
    uint64_t allocated_bytes;
    uint64_t freed_blocks;
    uint64_t freed_bytes;
    uint64_t temporary_blocks; /* freed before their thread's next allocation */
    uint32_t levels;           /* as heap_levels makes it */
    uint32_t lifetime; /* blocks of one lifetime, as heap_lifetime_word makes it; more are in DETAILS. 0: none */
    uint32_t node;     /* the innermost frame's */
    uint32_t detail;   /* entry of DETAILS: a heap_detail. 0: none */
};

/* The header's peak epoch (its lower 27 bits) and its number of snapshots, in one word. */
#define HEAP_LEVELS_EPOCH_SHIFT 5
static inline uint32_t heap_levels(uint32_t peak_epoch, uint32_t snapshots) {
    return peak_epoch << HEAP_LEVELS_EPOCH_SHIFT | (snapshots & 31);
}
static inline uint32_t heap_levels_snapshots(uint32_t levels) { return levels & 31; }
static inline int heap_levels_same_epoch(uint32_t levels, uint32_t other) {
    return levels >> HEAP_LEVELS_EPOCH_SHIFT == other >> HEAP_LEVELS_EPOCH_SHIFT;
}

/* A stack's entry counts the blocks of one lifetime, the first that occurred there. */
#define HEAP_LIFETIME_WORD_SHIFT 28
#define HEAP_LIFETIME_WORD_MOST 0xFFFFFFFu
static inline uint32_t heap_lifetime_word(uint32_t lifetime, uint32_t blocks) {
    return lifetime << HEAP_LIFETIME_WORD_SHIFT | blocks;
}
static inline uint32_t heap_lifetime_word_lifetime(uint32_t word) { return word >> HEAP_LIFETIME_WORD_SHIFT; }
static inline uint32_t heap_lifetime_word_blocks(uint32_t word) { return word & HEAP_LIFETIME_WORD_MOST; }

/* DETAILS has three kinds of entries, all of one size. An entry's kind is known from the field that refers to it. */
#define HEAP_DETAIL_BYTES 24u

/* The entry that a stack refers to. */
struct heap_detail {
    uint32_t snapshots;     /* the newest heap_snapshot; 0: it held nothing at every copied snapshot */
    uint32_t lifetimes;     /* a heap_lifetimes; 0: none */
    struct heap_level peak; /* held at the process's peak */
};

/*
 * What a stack held from snapshot `number` on, until the next snapshot with an entry. Before its first entry it held
 * nothing. If two threads made two entries of one number, the first in the list counts. A list longer than
 * HEAP_SNAPSHOT_ENTRIES is damaged.
 */
struct heap_snapshot {
    uint32_t next; /* an older entry; 0: none */
    uint32_t number;
    struct heap_level held;
};
#define HEAP_SNAPSHOT_ENTRIES 256

/* Freed blocks by lifetime, without those counted in the stack's own word. Lifetime 0 has no count here: it is
 * freed_blocks less all other lifetimes. Takes HEAP_LIFETIME_ENTRIES entries of DETAILS. */
struct heap_lifetimes {
    uint64_t blocks[HEAP_LIFETIME_COUNT];
};
#define HEAP_LIFETIME_ENTRIES 4u

/* A stack in an image of version 1. */
struct heap_stack_1 {
    uint32_t node;
    uint32_t reserved0;
    uint32_t peak_epoch;
    uint32_t snapshots;
    uint64_t allocated_blocks;
    uint64_t allocated_bytes;
    uint64_t freed_blocks;
    uint64_t freed_bytes;
    uint64_t temporary_blocks;
    uint64_t lifetimes[HEAP_LIFETIME_COUNT - 1]; /* from lifetime 1 on */
    struct heap_level peak;
    struct heap_level levels[HEAP_SNAPSHOT_COUNT];
};

static_assert(sizeof(struct heap_node) == 16, "node");
static_assert(offsetof(struct heap_stack, levels) == 40, "stack: the counters come first");
static_assert(sizeof(struct heap_stack) == 56, "stack: less than a line");
static_assert(HEAP_SNAPSHOT_COUNT < 1 << HEAP_LEVELS_EPOCH_SHIFT, "levels: all snapshots are in it");
static_assert(HEAP_LIFETIME_COUNT <= 1 << (32 - HEAP_LIFETIME_WORD_SHIFT), "a lifetime fits its word");
static_assert(sizeof(struct heap_detail) == HEAP_DETAIL_BYTES, "detail");
static_assert(sizeof(struct heap_snapshot) == HEAP_DETAIL_BYTES, "snapshot");
static_assert(sizeof(struct heap_lifetimes) == HEAP_LIFETIME_ENTRIES * HEAP_DETAIL_BYTES, "lifetimes");
static_assert(offsetof(struct heap_stack_1, peak) == 144, "stack of version 1");
static_assert(sizeof(struct heap_stack_1) == 448, "stack of version 1");

#endif
