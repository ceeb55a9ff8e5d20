/*
 * The heap image: the file that holds all that the interposer knows of a program's heap.
 *
 * This header is the format's only definition. The interposer (C) writes the format, and the tools (Swift) import this
 * header. It owns the layout alone: no function here touches memory that it was not given.
 *
 * Two shapes of one format, which `kind` tells apart:
 *
 *   running   sparse: the live map lies in SLOTS (pieces of a radix tree, described by PIECES).
 *             Every section is a bump region: entries [0, used) were handed out, and of those only
 *             the ones below `ready_bytes` have memory behind them. INDEX and TOPS belong to the
 *             recorder alone; a reader never needs them.
 *   dense     what a dump or `heapsum pack` leaves: the same sections end to end, and the live map
 *             as records in BLOCKS, in no particular order. It may bring its frames' names, in NAMES.
 *
 * Little-endian and fixed-width throughout. A reader checks every offset, count and index before it uses it.
 */
#ifndef HEAP_IMAGE_H
#define HEAP_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define HEAP_MAGIC 0x0A6D757370616568ull /* the bytes "heapsum\n" */
#define HEAP_VERSION 3u
/* The versions before. Version 2 has no sampling, and its header ends before `sample_interval`. Version 1 has a still
 * shorter header (HEAP_HEADER_1_BYTES), and its stacks are entries of heap_stack_1. */
#define HEAP_VERSION_2 2u
#define HEAP_VERSION_1 1u
#define HEAP_BYTE_ORDER 0x01020304u
#define HEAP_PAGE_BYTES 4096u

enum heap_kind {
    HEAP_KIND_RUNNING = 1, /* the sparse image that the program writes, or wrote until it ended */
    HEAP_KIND_DUMP = 2,    /* dense, of one moment of a running program */
    /* dense, of a program's end: what heaprun leaves, or `heapsum pack` makes of a finished image */
    HEAP_KIND_PACKED = 3,
};

enum heap_state {
    HEAP_STATE_RUNNING = 0, /* as the interposer writes it; without a launcher it stays so for good */
    HEAP_STATE_EXITED = 1,  /* `exit_status` holds */
    HEAP_STATE_KILLED = 2,  /* `exit_signal` holds */
    HEAP_STATE_EXEC = 3,    /* another program took the process */
    HEAP_STATE_UNKNOWN = 4, /* gone, and nobody saw how */
};

enum heap_flags {
    /* a copied address space: blocks inherited from the parent are not in here */
    HEAP_FLAG_FORKED = 1u << 0,
    /* BLOCKS holds the reallocations in flight; a reader passes over `heap_in_flight` */
    HEAP_FLAG_IN_FLIGHT_SETTLED = 1u << 1,
    HEAP_FLAG_SIGNAL_OF_PROGRAM = 1u << 2, /* the program has its own handler for the dump signal and keeps it */
    HEAP_FLAG_THREADS = 1u << 3,           /* stacks are rooted in their thread (HEAP_MODULE_THREAD) */
    HEAP_FLAG_FULL = 1u << 4,              /* `maximum_bytes` was reached, and recording of new blocks stopped */
    /* recording ended before the program did (a seccomp filter): later events are not in here */
    HEAP_FLAG_STOPPED = 1u << 5,
    HEAP_FLAG_NAMES = 1u << 6, /* dense: NAMES is there (`heapsum pack --with-symbols`) */
    /* the program set marks: they lie behind the header, from HEAP_MARKS_OFFSET on */
    HEAP_FLAG_MARKS = 1u << 7,
    /* it started a program from where the library can't be reached (a sandbox): that one is not recorded */
    HEAP_FLAG_UNREACHED = 1u << 8,
    HEAP_FLAG_BROKEN = 1u << 9,   /* HEAPSUM_CHECK: the recorder found an invariant of its own broken */
    HEAP_FLAG_VERDICT = 1u << 10, /* dense: VERDICTS is there (`heapdump --leaks`, `heaprun --leaks`) */
    /* recording began in a program that was already running: blocks from before are not in here, and unmatched_frees
       counts their frees */
    HEAP_FLAG_ATTACHED = 1u << 11,
    HEAP_FLAG_DETACHED = 1u << 12, /* recording was ended from outside, and the program went on */
};

enum heap_unwinder {
    HEAP_UNWINDER_NONE = 0, /* only the caller's address is in a stack, or nothing at depth 0 */
    HEAP_UNWINDER_LIBUNWIND = 1,
    HEAP_UNWINDER_OWN = 2,
    HEAP_UNWINDER_FP = 3,
};

/* ---- Sections ------------------------------------------------------------------------------------ */

enum heap_section_name {
    HEAP_SECTION_STRINGS = 0,  /* bytes; entry 0 is unused, so that an offset of 0 says "none" */
    HEAP_SECTION_MODULES = 1,  /* heap_module; entry 0 is unused */
    HEAP_SECTION_NODES = 2,    /* heap_node; entry 0 is the root of every stack */
    HEAP_SECTION_STACKS = 3,   /* heap_stack; entry 0 is unused, entry 1 is the empty stack */
    HEAP_SECTION_THREADS = 4,  /* heap_thread */
    HEAP_SECTION_EVENTS = 5,   /* heap_ring: thread i's ring is entry i */
    HEAP_SECTION_TIMELINE = 6, /* heap_sample, by time */
    HEAP_SECTION_PIECES = 7,   /* heap_piece: entry i describes piece i of SLOTS */
    HEAP_SECTION_SLOTS = 8,    /* pieces of HEAP_PIECE_BYTES; piece 0 is unused */
    HEAP_SECTION_BLOCKS = 9,   /* heap_block; dense images alone */
    HEAP_SECTION_INDEX = 10,   /* the recorder's: hash tables from a stack's hash to its node */
    HEAP_SECTION_TOPS = 11,    /* the recorder's: the live map's top tables */
    HEAP_SECTION_DETAILS = 12, /* HEAP_DETAIL_BYTES each: what stacks refer to; entry 0 is unused */
    HEAP_SECTION_COUNT = 13,
    /* heap_name; dense images with HEAP_FLAG_NAMES alone. The others have INDEX there, which no reader needs */
    HEAP_SECTION_NAMES = 10,
    /* heap_verdict; dense images with HEAP_FLAG_VERDICT alone. The others have TOPS there, which no reader needs */
    HEAP_SECTION_VERDICTS = 11,
};

struct heap_section {
    uint64_t offset;      /* from the file's start, a multiple of 8 */
    uint64_t capacity;    /* bytes of the file set aside; in a dense image exactly used * entry_bytes */
    uint64_t used;        /* entries handed out; may pass what is ready by those that found no space */
    uint64_t ready_bytes; /* bytes from the start with memory behind them: no reader goes past */
    uint32_t entry_bytes;
    uint32_t reserved;
};

/* Bytes in STRINGS: UTF-8 by custom, anything in fact. `arguments` separates with NUL bytes. */
struct heap_string {
    uint32_t offset; /* 0: none */
    uint32_t length; /* bytes, no terminator counted */
};

/* ---- Live blocks --------------------------------------------------------------------------------- */

/*
 * A slot is one word that says whose a live block is. 0 is an empty slot.
 *
 *     63          38 37          18 17               0
 *    +--------------+--------------+------------------+
 *    | stack  26    | tick  20     | low  18          |
 *    +--------------+--------------+------------------+
 *      fine map:     low = requested bytes << 5 | address's offset in its granule
 *      coarse maps:  low = address's offset in its granule; the slot's second word = requested bytes
 *
 * Stack 0 names no stack, so a word with an empty stack field is no block: bit 37 set and a thread's
 * index in the low bits says that this thread claimed the block for a realloc in flight, and that the
 * thread's heap_in_flight holds what stood here.
 *
 * A block lives in the coarsest map whose granule is not above its usable size (malloc_usable_size),
 * which is the same at its allocation and at its free. Two blocks of one map can't share a granule, as a block spans at
 * least one granule of its map.
 */
#define HEAP_SLOT_STACK_SHIFT 38
#define HEAP_SLOT_TICK_SHIFT 18
#define HEAP_SLOT_TICK_MASK 0xFFFFFull
#define HEAP_SLOT_LOW_MASK 0x3FFFFull
#define HEAP_SLOT_FINE_SIZE_SHIFT 5
#define HEAP_SLOT_FINE_OFFSET_MASK 31u
#define HEAP_SLOT_CLAIMED (1ull << 37)
/* the other mark: a block of the recorder's own (the unwinder's thread data), which is not the program's */
#define HEAP_SLOT_OURS (1ull << 36)
#define HEAP_STACK_LIMIT (1u << 26)

#define HEAP_MAP_COUNT 5u
#define HEAP_MAP_FINE 0u
#define HEAP_PIECE_BYTES 16384u
#define HEAP_ADDRESS_BITS 48

/* A map's granule is 1 << heap_header.granule_log2[map] bytes; only the fine map's depends on the allocator. */
#define HEAP_GRANULE_LOG2_FINE_GLIBC 5
#define HEAP_GRANULE_LOG2_FINE_OTHER 3
#define HEAP_GRANULE_LOG2_1 9
#define HEAP_GRANULE_LOG2_2 12
#define HEAP_GRANULE_LOG2_3 13
#define HEAP_GRANULE_LOG2_4 17

enum heap_piece_kind {
    HEAP_PIECE_FREE = 0,   /* handed out and not in the tree (yet): nothing of it counts */
    HEAP_PIECE_BRANCH = 1, /* 4,096 numbers of leaf pieces, 32 bits each: the recorder's */
    HEAP_PIECE_LEAF = 2,   /* slots: one word each in the fine map, two words in the others */
};

struct heap_piece {
    uint64_t base; /* leaf: the address that its first granule covers */
    uint32_t kind; /* enum heap_piece_kind */
    uint32_t map;  /* 0 fine … 4 coarsest */
};

/* One live block of a dense image. */
struct heap_block {
    uint64_t address;
    uint64_t slot;  /* stack and tick as above; the low bits are zero */
    uint64_t bytes; /* as requested */
};

/*
 * The geometry of a map: words a slot, slots a leaf, and how many address bits a leaf and a branch cover. A branch is a
 * piece of 1 << HEAP_BRANCH_LOG2 numbers.
 */
#define HEAP_BRANCH_LOG2 12
static inline uint32_t heap_map_slot_words(uint32_t map) { return map == HEAP_MAP_FINE ? 1 : 2; }
static inline uint32_t heap_map_slot_bytes(uint32_t map) {
    return heap_map_slot_words(map) * (uint32_t)sizeof(uint64_t);
}
static inline uint32_t heap_map_leaf_slots(uint32_t map) { return HEAP_PIECE_BYTES / heap_map_slot_bytes(map); }
static inline uint32_t heap_map_leaf_log2(uint32_t map, uint32_t granule_log2) {
    return granule_log2 + (uint32_t)__builtin_ctz(heap_map_leaf_slots(map));
}
static inline uint32_t heap_map_branch_log2(uint32_t map, uint32_t granule_log2) {
    return heap_map_leaf_log2(map, granule_log2) + HEAP_BRANCH_LOG2;
}

static inline uint32_t heap_slot_stack(uint64_t slot) { return (uint32_t)(slot >> HEAP_SLOT_STACK_SHIFT); }
static inline uint32_t heap_slot_tick(uint64_t slot) {
    return (uint32_t)(slot >> HEAP_SLOT_TICK_SHIFT & HEAP_SLOT_TICK_MASK);
}
static inline uint32_t heap_slot_low(uint64_t slot) { return (uint32_t)(slot & HEAP_SLOT_LOW_MASK); }
static inline uint64_t heap_slot_make(uint32_t stack, uint32_t tick, uint32_t low) {
    return (uint64_t)stack << HEAP_SLOT_STACK_SHIFT | (uint64_t)tick << HEAP_SLOT_TICK_SHIFT | low;
}
static inline int heap_slot_is_mark(uint64_t slot) { return slot != 0 && heap_slot_stack(slot) == 0; }
static inline uint64_t heap_slot_mark(uint32_t thread) { return HEAP_SLOT_CLAIMED | thread; }
static inline uint32_t heap_slot_mark_thread(uint64_t slot) { return (uint32_t)slot; }

/* ---- Sampling ------------------------------------------------------------------------------------ */

/*
 * In a sampled image each allocated byte had the same chance to be drawn, 1 in `sample_interval`, and a block is in the
 * image if one of its bytes was drawn: with the chance 1 - exp(-bytes / interval). A block of 0 bytes is drawn as one
 * of 1 byte. So one such block stands for 1 / chance blocks of its size, and any sum of what blocks stand for is an
 * unbiased estimate of the same sum over all blocks (Horvitz and Thompson).
 *
 * Slots, events, blocks and reallocations in flight have the bytes that were requested. All counts have what the blocks
 * stand for: the counters, levels and lifetimes of stacks, the timeline, and the header's live and peak sums. Bytes are
 * bytes there, and blocks are in units of 1 / HEAP_SAMPLE_BLOCK, as a block may stand for 1.58 blocks. Losses count
 * sampled blocks.
 *
 * Integer arithmetic throughout: the recorder may use no other, and a reader has to come to the very same numbers.
 */
#define HEAP_SAMPLE_MOST (1ull << 30)
#define HEAP_SAMPLE_BLOCK_LOG2 10
#define HEAP_SAMPLE_BLOCK (1ull << HEAP_SAMPLE_BLOCK_LOG2)
#define HEAP_SAMPLE_SCALE_LOG2 20
#define HEAP_SAMPLE_ONE (1ull << 62)

static inline uint64_t heap_sample_product(uint64_t one, uint64_t other) {
    return (uint64_t)((unsigned __int128)one * other >> 62);
}

/* The chance that a block was sampled, in units of 1 / HEAP_SAMPLE_ONE; never 0. `interval` is from 1 to
 * HEAP_SAMPLE_MOST. Right to 1 part in 2^30. */
static inline uint64_t heap_sample_chance(uint64_t bytes, uint64_t interval) {
    if (bytes == 0) bytes = 1;
    uint64_t whole = bytes / interval, rest = bytes % interval;
    if (whole >= 44) return HEAP_SAMPLE_ONE; /* exp(-44) is below the unit */
    uint64_t high = (rest << 32) / interval, low = ((rest << 32) % interval << 30) / interval;
    /* The ratio is halved until a short series does, and the result doubled as often: 1 - exp(-2x) = q (2 - q). */
    uint32_t halvings = whole == 0 ? 0 : 6;
    uint64_t ratio = (whole << (62 - 6)) + ((high << 30 | low) >> halvings);
    for (; ratio >> 57 != 0; ratio >>= 1) halvings++;
    uint64_t series = HEAP_SAMPLE_ONE;
    for (uint32_t n = 9; n >= 2; n--) series = HEAP_SAMPLE_ONE - heap_sample_product(ratio, series) / n;
    uint64_t chance = heap_sample_product(ratio, series);
    for (; halvings > 0; halvings--) chance = 2 * chance - heap_sample_product(chance, chance);
    return chance;
}

/* How many blocks a sampled block stands for, in units of 1 / 2^HEAP_SAMPLE_SCALE_LOG2. */
static inline uint64_t heap_sample_scale(uint64_t bytes, uint64_t interval) {
    uint64_t chance = heap_sample_chance(bytes, interval);
    uint32_t shift = (uint32_t)__builtin_clzll(chance) - 1;       /* at most 31: the chance is above 1 in 2^31 */
    uint64_t reciprocal = (1ull << 63) / (chance << shift >> 31); /* 2^94 / (chance << shift), of 32 to 33 bits */
    return shift >= 12 ? reciprocal << (shift - 12) : (reciprocal + (1ull << (11 - shift))) >> (12 - shift);
}

/* The bytes that a block counts for; `interval` as the header has it: where it is 0, its own. */
static inline uint64_t heap_counted_bytes(uint64_t bytes, uint64_t interval) {
    if (interval == 0 || bytes / interval >= 44) return bytes;
    uint64_t above = heap_sample_scale(bytes, interval) - (1ull << HEAP_SAMPLE_SCALE_LOG2);
    return bytes + ((bytes * above + (1ull << (HEAP_SAMPLE_SCALE_LOG2 - 1))) >> HEAP_SAMPLE_SCALE_LOG2);
}

/* The blocks that it counts for: 1, or units of 1 / HEAP_SAMPLE_BLOCK where `interval` is not 0. */
static inline uint64_t heap_counted_blocks(uint64_t bytes, uint64_t interval) {
    if (interval == 0) return 1;
    const uint32_t shift = HEAP_SAMPLE_SCALE_LOG2 - HEAP_SAMPLE_BLOCK_LOG2;
    return (heap_sample_scale(bytes, interval) + (1ull << (shift - 1))) >> shift;
}

/* ---- Time ---------------------------------------------------------------------------------------- */

/*
 * A tick is a time since the recording's start, in 20 bits, with steps that widen as the run grows
 * old: 32,768 ticks of 1 ms, then 32,768 of 2 ms, of 4 ms, and so on: never more than 1/32,768 of the
 * run's age wide, and enough for 4,000 years.
 */
#define HEAP_TICK_SEGMENT_LOG2 15

static inline uint32_t heap_tick_of_milliseconds(uint64_t milliseconds) {
    uint64_t value = milliseconds + (1ull << HEAP_TICK_SEGMENT_LOG2);
    uint32_t segment = (uint32_t)(63 - __builtin_clzll(value)) - HEAP_TICK_SEGMENT_LOG2;
    if (segment > 31) return (uint32_t)HEAP_SLOT_TICK_MASK;
    return segment << HEAP_TICK_SEGMENT_LOG2 | ((uint32_t)(value >> segment) & ((1u << HEAP_TICK_SEGMENT_LOG2) - 1));
}
static inline uint64_t heap_tick_milliseconds(uint32_t tick) { /* the first millisecond that the tick covers */
    uint32_t segment = tick >> HEAP_TICK_SEGMENT_LOG2 & 31;
    uint64_t mantissa = (tick & ((1u << HEAP_TICK_SEGMENT_LOG2) - 1)) + (1ull << HEAP_TICK_SEGMENT_LOG2);
    return (mantissa << segment) - (1ull << HEAP_TICK_SEGMENT_LOG2);
}

/* ---- Stacks -------------------------------------------------------------------------------------- */

/* A frame: module in the top 16 bits, the return address less the module's load bias in the low 48. */
#define HEAP_FRAME_MODULE_SHIFT 48
#define HEAP_FRAME_OFFSET_MASK 0xFFFFFFFFFFFFull
#define HEAP_MODULE_NONE 0u        /* the offset is the absolute address: no module was there */
#define HEAP_MODULE_THREAD 0xFFFEu /* a root frame: the offset is the thread's tid */
#define HEAP_MODULE_CUT 0xFFFFu    /* frames are missing here: the offset says why */

enum heap_cut {
    HEAP_CUT_DEPTH = 0, /* over the depth limit, or the unwinder gave up */
    /* the innermost frames of stacks that were new when the image had `maximum_stacks` of them: one row for all that
     * lie inside of the same known frames */
    HEAP_CUT_STACKS = 1,
    /* packed: one row for all stacks that held nothing at the end, at the peak and at any snapshot, and did little */
    HEAP_CUT_GONE = 2,
};

static inline uint64_t heap_frame_make(uint32_t module, uint64_t offset) {
    return (uint64_t)module << HEAP_FRAME_MODULE_SHIFT | (offset & HEAP_FRAME_OFFSET_MASK);
}
static inline uint32_t heap_frame_module(uint64_t frame) { return (uint32_t)(frame >> HEAP_FRAME_MODULE_SHIFT); }
static inline uint64_t heap_frame_offset(uint64_t frame) { return frame & HEAP_FRAME_OFFSET_MASK; }

/*
 * One entry of the stack tree. A parent is an older entry: its number is lower. Two entries may have the same parent
 * and frame (two threads inserted at once): a reader merges them.
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
/* Lifetime i counts blocks that lived less than 4 << 2i milliseconds (and not less than a quarter of that), up to 70
 * minutes; the last all above. */
#define HEAP_LIFETIME_COUNT 12
#define HEAP_LIFETIME_FIRST_MILLISECONDS 4

static inline uint32_t heap_lifetime_of_milliseconds(uint64_t milliseconds) {
    uint64_t units = milliseconds / HEAP_LIFETIME_FIRST_MILLISECONDS;
    uint32_t lifetime = units == 0 ? 0 : (uint32_t)(63 - __builtin_clzll(units)) / 2 + 1;
    return lifetime < HEAP_LIFETIME_COUNT ? lifetime : HEAP_LIFETIME_COUNT - 1;
}

/*
 * A stack's counters, folded from the rings: a thread's events from `folded` on are not in them. All but the counters
 * is made when it is first needed, in DETAILS: a stack that came and went has none of it.
 *
 * Peak and snapshots are copied lazily. `levels` says how far: heap_levels of the header's epoch and count when they
 * were last copied. Where the epoch in it is not the header's, or the count is below the header's, the stack has not
 * changed since, and the missing values are what it holds now. A copied value that has no entry in DETAILS is zero.
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

/* The header's peak epoch and number of snapshots in one word; of the epoch the lower 27 bits. */
#define HEAP_LEVELS_EPOCH_SHIFT 5
static inline uint32_t heap_levels(uint32_t peak_epoch, uint32_t snapshots) {
    return peak_epoch << HEAP_LEVELS_EPOCH_SHIFT | (snapshots & 31);
}
static inline uint32_t heap_levels_snapshots(uint32_t levels) { return levels & 31; }
static inline int heap_levels_same_epoch(uint32_t levels, uint32_t other) {
    return levels >> HEAP_LEVELS_EPOCH_SHIFT == other >> HEAP_LEVELS_EPOCH_SHIFT;
}

/* Blocks of the lifetime that a stack met first, counted in its own entry. */
#define HEAP_LIFETIME_WORD_SHIFT 28
#define HEAP_LIFETIME_WORD_MOST 0xFFFFFFFu
static inline uint32_t heap_lifetime_word(uint32_t lifetime, uint32_t blocks) {
    return lifetime << HEAP_LIFETIME_WORD_SHIFT | blocks;
}
static inline uint32_t heap_lifetime_word_lifetime(uint32_t word) { return word >> HEAP_LIFETIME_WORD_SHIFT; }
static inline uint32_t heap_lifetime_word_blocks(uint32_t word) { return word & HEAP_LIFETIME_WORD_MOST; }

/* DETAILS has entries of one size, and three kinds of them. What an entry is, the one that refers to it says. */
#define HEAP_DETAIL_BYTES 24u

/* What a stack refers to. */
struct heap_detail {
    uint32_t snapshots;     /* the newest heap_snapshot; 0: it held nothing at any that was copied */
    uint32_t lifetimes;     /* a heap_lifetimes; 0: none */
    struct heap_level peak; /* held at the process's peak */
};

/*
 * What a stack held from snapshot `number` on, up to the next that it has an entry for. Before its first entry it held
 * nothing. Two threads may have made two entries of one number: the one that comes first is meant. A list has no more
 * than HEAP_SNAPSHOT_ENTRIES entries: a longer one is damaged.
 */
struct heap_snapshot {
    uint32_t next; /* an older entry; 0: none */
    uint32_t number;
    struct heap_level held;
};
#define HEAP_SNAPSHOT_ENTRIES 256

/* Freed blocks by lifetime, beside those in the stack's own word. Lifetime 0 is what all others leave of freed_blocks,
 * and has no count here. Takes HEAP_LIFETIME_ENTRIES entries of DETAILS. */
struct heap_lifetimes {
    uint64_t blocks[HEAP_LIFETIME_COUNT];
};
#define HEAP_LIFETIME_ENTRIES 4u

/* A stack of an image of version 1. */
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

/* ---- Names --------------------------------------------------------------------------------------- */

enum heap_name_flags {
    HEAP_NAME_SOURCE = 1u << 0,  /* the source is known, so the next bit says something */
    HEAP_NAME_INLINED = 1u << 1, /* the compiler put this function into the next entry's */
};

#define HEAP_NAME_NO_SYMBOL 0xFFFFFFFFFFFFFFFFull

/*
 * A function that a frame stands for. Entries of one frame follow one another: those that were inlined there, the
 * innermost first, and last the one that the return address is in. A frame that was looked up and has no
 * name has one entry, without a function; one that could not be looked up has none.
 */
struct heap_name {
    uint64_t frame; /* as in heap_node */
    /* from the symbol's start to the return address; HEAP_NAME_NO_SYMBOL: not by a symbol */
    uint64_t symbol_offset;
    struct heap_string function; /* as people read it, demangled */
    struct heap_string symbol;   /* as it is linked, mangled */
    struct heap_string file;     /* the source */
    uint32_t line;               /* from 1, where the call is; 0: not known */
    uint32_t flags;              /* enum heap_name_flags */
};

/* ---- Verdicts ------------------------------------------------------------------------------------ */

enum heap_verdict_kind {
    /* Of the blocks of one stack in BLOCKS, those with one verdict. The sums over all of them are the live blocks. */
    HEAP_VERDICT_UNKNOWN = 0, /* allocated after the verdict was made */
    HEAP_VERDICT_REACHABLE = 1,
    HEAP_VERDICT_POSSIBLE = 2,
    HEAP_VERDICT_DEFINITE = 3, /* `more_` are the indirectly lost ones that these drag along */
    HEAP_VERDICT_INDIRECT = 4,
    /* A line of the tree of holders, each behind the one it hangs from: a root (`text` names it), or all blocks of one
     * stack that one line holds. `more_` is what would be freed if it went, itself included. */
    HEAP_VERDICT_HOLDER = 5,
    /* What the verdict could not see: `text` says it. Without such an entry the verdict is whole. */
    HEAP_VERDICT_NOT_READ = 6,
    HEAP_VERDICT_NOTE = 7,  /* what a reader should know, without a bearing on the verdict: `text` */
    HEAP_VERDICT_PAUSE = 8, /* `blocks` is how many nanoseconds the program stood still for it */
};

#define HEAP_VERDICT_SEVERAL_ROOTS 1u /* `flags` of a holder: it goes only when more than one root goes */

/* The value of a signal that a program sends itself before an exec, for a heaprun that traces it: the bytes
 * "leaving\n".
 */
#define HEAP_LEAVING_NOTICE 0x0A676E697661656Cull

/* A reader passes over kinds that it does not know. */
struct heap_verdict {
    uint32_t kind;  /* enum heap_verdict_kind */
    uint32_t stack; /* 0: none; stack 1 is known to be empty */
    uint64_t blocks, bytes;
    uint64_t more_blocks, more_bytes;
    uint64_t address; /* of the first of the blocks; 0: none */
    uint32_t depth;   /* of a holder: 0 hangs from nothing, else at most one more than the line before */
    uint32_t flags;
    struct heap_string text;
};

/* ---- Modules ------------------------------------------------------------------------------------- */

#define HEAP_BUILD_ID_BYTES 32

/* One loaded ELF file. Two entries may describe the same file (two threads met it at once): a reader merges them. */
struct heap_module {
    struct heap_string path;
    uint8_t build_id[HEAP_BUILD_ID_BYTES];
    uint32_t build_id_length; /* 0: the file has none */
    uint32_t flags;           /* enum heap_module_flags */
    /* load address less the ELF file's own; where the file came back elsewhere, the last one */
    uint64_t bias;
    uint64_t start; /* the addresses it covers: [start, end) */
    uint64_t end;
    uint64_t loaded_ns;   /* since the recording's start; when it was first met in a stack */
    uint64_t unloaded_ns; /* 0: not known to be gone */
    /* of the mapped file (stat), as it stood when the module was first met; all zero: not known */
    uint64_t device, inode, file_bytes, modified_ns;
};

enum heap_module_flags {
    HEAP_MODULE_READY = 1u << 0,    /* all fields are written; without it the entry is half made */
    HEAP_MODULE_MOVED = 1u << 1,    /* seen at more than one bias: absolute addresses are not known */
    HEAP_MODULE_REPLACED = 1u << 2, /* the mapped file was already deleted or replaced at its path */
};

/* ---- Threads and events -------------------------------------------------------------------------- */

enum heap_event_kind {
    HEAP_EVENT_ALLOCATED = 1,
    HEAP_EVENT_FREED = 2,
};

/*
 * One event of a thread's ring. `mark` is stored last: a reader knows by its sequence number whether
 * the entry is the one that it looks for.
 *
 *   mark:  63      32 31    24 23  20 19      0
 *         +----------+--------+------+---------+
 *         | sequence | flags  | kind | tick    |
 *         +----------+--------+------+---------+
 *
 * An entry at the ring's head or after is not committed: it happened if, and only if, its block's slot
 * says so (allocated: the slot holds this very word; freed: it doesn't).
 */
struct heap_event {
    uint64_t address;
    uint64_t slot;  /* the block's slot word: as published, or as it stood before the free */
    uint64_t bytes; /* as requested */
    uint64_t mark;
};

#define HEAP_EVENT_SEQUENCE_SHIFT 32
#define HEAP_EVENT_FLAGS_SHIFT 24
#define HEAP_EVENT_KIND_SHIFT 20
#define HEAP_EVENT_FLAG_TEMPORARY 1u /* freed before the thread's next allocation */
#define HEAP_EVENT_FLAG_REALLOC 2u   /* one half of a reallocation */

static inline uint32_t heap_event_sequence(uint64_t mark) { return (uint32_t)(mark >> HEAP_EVENT_SEQUENCE_SHIFT); }
static inline uint32_t heap_event_flags(uint64_t mark) { return (uint32_t)(mark >> HEAP_EVENT_FLAGS_SHIFT) & 0xFF; }
static inline uint32_t heap_event_kind(uint64_t mark) { return (uint32_t)(mark >> HEAP_EVENT_KIND_SHIFT) & 0xF; }
static inline uint32_t heap_event_tick(uint64_t mark) { return (uint32_t)(mark & HEAP_SLOT_TICK_MASK); }

#define HEAP_RING_EVENTS 128u

struct heap_ring { /* event number n is at events[n % HEAP_RING_EVENTS] */
    struct heap_event events[HEAP_RING_EVENTS];
};

enum heap_in_flight_phase {
    HEAP_IN_FLIGHT_NONE = 0,
    HEAP_IN_FLIGHT_CLAIMED = 1,  /* the old block counts, from here; its slot holds this thread's mark */
    HEAP_IN_FLIGHT_RETURNED = 2, /* the new block counts, from here; the old one is gone, wherever its slot stands */
};

/*
 * A reallocation in flight. A reader counts exactly one block for it, from this record, and passes over
 * marks, and over a slot that says the same as the record: old_address with old_slot while it is claimed
 * (the mark is not set yet, or taken back already), new_address with new_slot when it returned.
 */
struct heap_in_flight {
    uint64_t phase;
    uint64_t old_address, old_slot, old_bytes;
    uint64_t new_address, new_slot, new_bytes;
    uint64_t reserved;
};

struct heap_thread {
    uint32_t tid; /* of the owner, or of the last one */
    uint32_t reserved0;
    uint64_t head;   /* events committed: [folded, head) are in the ring and not in the stacks' counters */
    uint64_t folded; /* moves on after each single event, so a kill leaves at most one half folded */
    uint64_t last_allocated_address; /* of this thread's newest block, for temporary blocks */
    uint64_t pending_bytes;          /* of the events in [folded, head), freed or allocated */
    uint64_t folded_ms;              /* since the recording's start: the last fold */
    uint64_t started_ns;             /* since the recording's start: when the owner made its first event */
    uint64_t reserved1;
    struct heap_in_flight in_flight;
    uint64_t scratch_start; /* the recorder's own memory for this thread, at its address in the program: no root of the
                               program's blocks. 0: none */
    uint64_t scratch_bytes;
    uint64_t reserved2[14];
};

/* ---- Time series and losses ------------------------------------------------------------------------ */

#define HEAP_TIMELINE_SAMPLES 1024u
#define HEAP_TIMELINE_FIRST_INTERVAL_NS 10000000ull /* 10 ms; doubled each time that the timeline is full */

/* A reader drops a sample whose time is not above the one before it (a halving was cut off). */
struct heap_sample {
    uint64_t time_ns; /* since the recording's start */
    uint64_t live_bytes;
    uint64_t live_blocks;
    uint64_t rss_bytes; /* 0: nobody measured it (heaprun does, from outside) */
};

/* What could not be booked, and what was booked with less than all. Each is a count of events unless it says otherwise.
 */
struct heap_losses {
    uint64_t lost_allocations; /* no space in the image: such blocks are not in it */
    uint64_t lost_bytes;       /* what those requested */
    uint64_t lost_stacks;      /* booked under stack 1: no space for the stack */
    uint64_t cut_stacks;       /* over the depth limit, or given up by the unwinder */
    uint64_t ringless_events;  /* booked without a ring: more threads than rings, or a signal handler inside a hook */
    uint64_t unmatched_frees;  /* of blocks that were not booked */
    uint64_t inherited_frees;  /* the same in a forked child: mostly the parent's blocks */
    uint64_t healed_slots;     /* published over an occupied slot: its free went past us */
    uint64_t refused_modules;  /* frames kept as absolute addresses: no space in MODULES */
    uint64_t failed_dumps;
    uint64_t failed_reservations; /* madvise calls that found no space */
    /* of a packed image: records of live blocks that its source had lost: it was cut off */
    uint64_t lost_records;
    uint64_t paused_allocations; /* not booked, as the program had paused the recording; and what they requested */
    uint64_t paused_bytes;
    /* of blocks that are not booked, since the recording was first paused: probably of paused allocations */
    uint64_t paused_frees;
    /* not booked: they came before recording could start, or while another thread was starting it */
    uint64_t early_allocations;
    /* booked under the known part of their stack alone, as the image had `maximum_stacks` (HEAP_CUT_STACKS) */
    uint64_t limited_allocations;
    /* peaks, snapshots and lifetimes of stacks that found no space in DETAILS; such a peak or snapshot reads as 0 */
    uint64_t lost_details;
};

/*
 * Where the process's resident memory lay, by kind of mapping, as /proc/PID/smaps had it. Measured from outside alone:
 * heaprun writes it into the running image now and then, heapdump into its copy. The unit is the kernel's, 1,024
 * bytes; what 32 bits don't hold is UINT32_MAX.
 */
struct heap_residence {
    uint64_t measured_ns;  /* since the recording's start; 0: nobody measured */
    uint32_t allocator_kb; /* malloc's: [heap], arenas, blocks with mappings of their own */
    uint32_t anonymous_kb; /* private, of no file, and not malloc's */
    uint32_t stacks_kb;
    uint32_t files_kb;
    uint32_t shared_kb;  /* shared memory that is no file of a disk's */
    uint32_t image_kb;   /* this image */
    uint32_t swapped_kb; /* on top of all these */
    uint32_t reserved;
};

/* ---- Marks --------------------------------------------------------------------------------------- */

/*
 * Moments that the program named (heapsum.h). Number n, from 1, lies in entry (n - 1) % HEAP_MARK_COUNT, so the newest
 * are kept. They lie in the header's page, behind it, in images of every kind.
 */
#define HEAP_MARKS_OFFSET 1024u
#define HEAP_MARK_COUNT 48u
#define HEAP_MARK_NAME_BYTES 40u

struct heap_mark {
    /* stored last, and 0 while the entry is written: a reader passes over an entry that doesn't say its own */
    uint64_t number;
    uint64_t time_ns; /* since the recording's start */
    uint32_t tick;    /* of blocks that are allocated from here on: this or above */
    uint32_t tid;
    char name[HEAP_MARK_NAME_BYTES]; /* cut where it is longer; the rest are NUL bytes */
};

/* ---- The header ---------------------------------------------------------------------------------- */

struct heap_header {
    uint64_t magic;
    uint32_t version;
    uint32_t byte_order;
    uint32_t header_bytes;
    uint32_t kind;  /* enum heap_kind */
    uint32_t flags; /* enum heap_flags */
    uint32_t state; /* enum heap_state */
    uint32_t exit_status;
    uint32_t exit_signal;

    /* Whose heap it is. */
    uint32_t pid; /* in the program's own PID namespace */
    uint32_t parent_pid;
    uint64_t start_time;           /* of the process: clock ticks since boot, field 22 of /proc/PID/stat */
    uint8_t boot_id[16];           /* all zero: not known */
    uint64_t started_realtime_ns;  /* the recording's start, CLOCK_REALTIME … */
    uint64_t started_monotonic_ns; /* … and CLOCK_MONOTONIC: ticks and `_ns` fields count from here */
    uint64_t began_ns;             /* of a dense image: when its writing began and ended */
    uint64_t ended_ns;
    struct heap_string program;   /* the executable's path */
    struct heap_string arguments; /* NUL between them */
    struct heap_string allocator; /* path of the module whose malloc is next in line */
    struct heap_string output;    /* the directory for dumps */
    struct heap_string name;      /* file name of the image, without directory: dumps number on from it */

    /* How it was recorded. */
    uint32_t depth;         /* most frames kept of a stack */
    uint32_t unwinder;      /* enum heap_unwinder */
    uint32_t dump_signal;   /* 0: none */
    uint32_t dumps;         /* written so far */
    uint64_t maximum_bytes; /* of the image and its dumps; 0: no limit */
    uint8_t granule_log2[HEAP_MAP_COUNT];
    uint8_t recorder[3]; /* heapsum's version that recorded it: major, minor, patch; all 0: not known */
    uint32_t generation; /* of the module map: bumped when a module goes */
    uint32_t marks;      /* set so far; the newest HEAP_MARK_COUNT are kept */

    /* How it stands, as folded: the peak's error is what the rings of other threads held at that moment. */
    uint64_t live_bytes;
    uint64_t live_blocks;
    uint64_t peak_bytes;
    uint64_t peak_blocks;
    uint64_t peak_ns;
    uint64_t peak_error_bytes;
    uint32_t peak_epoch; /* bumped at each new peak */
    uint32_t snapshots;  /* taken so far, at most HEAP_SNAPSHOT_COUNT */
    uint64_t timeline_interval_ns;
    uint64_t timeline_due_ns;
    uint64_t rss_bytes; /* heaprun's last measure, from outside */
    uint64_t rss_peak_bytes;
    uint64_t verified_stacks;  /* held against libunwind (HEAPSUM_VERIFY) … */
    uint64_t differing_stacks; /* … and found to differ */
    struct heap_residence residence;

    struct heap_losses losses;
    struct heap_section sections[HEAP_SECTION_COUNT];
    uint64_t maximum_stacks; /* beyond these many a new stack is booked under its known part; 0: no limit */
    uint64_t gone_stacks;    /* packed: stacks that were put into the row of HEAP_CUT_GONE */
    /* mean bytes between two sampled ones ("Sampling"), at most HEAP_SAMPLE_MOST; 0: every block was booked */
    uint64_t sample_interval;
};

/* A header of version 2 is the same up to here. */
#define HEAP_HEADER_2_BYTES 1008u
/* Where a header of version 1 differs: it ends behind its sections. Up to its losses it is as above. */
#define HEAP_HEADER_1_BYTES 936u
#define HEAP_LOSSES_1_BYTES 128u
#define HEAP_SECTIONS_1_OFFSET 456u
#define HEAP_SECTIONS_1_COUNT 12u

#ifdef __cplusplus
#define HEAP_ASSERT static_assert
#else
#define HEAP_ASSERT _Static_assert
#endif
HEAP_ASSERT(sizeof(struct heap_section) == 40, "section");
HEAP_ASSERT(sizeof(struct heap_string) == 8, "string");
HEAP_ASSERT(sizeof(struct heap_piece) == 16, "piece");
HEAP_ASSERT(sizeof(struct heap_block) == 24, "block");
HEAP_ASSERT(HEAP_PIECE_BYTES == sizeof(uint32_t) << HEAP_BRANCH_LOG2, "a branch fills its piece");
HEAP_ASSERT(HEAP_SLOT_FINE_OFFSET_MASK == (1u << HEAP_SLOT_FINE_SIZE_SHIFT) - 1, "the size begins behind the offset");
HEAP_ASSERT(
    HEAP_GRANULE_LOG2_FINE_GLIBC <= HEAP_SLOT_FINE_SIZE_SHIFT, "a slot's low bits hold the offset in a fine granule");
HEAP_ASSERT(sizeof(struct heap_node) == 16, "node");
HEAP_ASSERT(offsetof(struct heap_stack, levels) == 40, "stack: the counters come first");
HEAP_ASSERT(sizeof(struct heap_stack) == 56, "stack: less than a line");
HEAP_ASSERT(HEAP_SNAPSHOT_COUNT < 1 << HEAP_LEVELS_EPOCH_SHIFT, "levels: all snapshots are in it");
HEAP_ASSERT(HEAP_LIFETIME_COUNT <= 1 << (32 - HEAP_LIFETIME_WORD_SHIFT), "a lifetime fits its word");
HEAP_ASSERT(sizeof(struct heap_detail) == HEAP_DETAIL_BYTES, "detail");
HEAP_ASSERT(sizeof(struct heap_snapshot) == HEAP_DETAIL_BYTES, "snapshot");
HEAP_ASSERT(sizeof(struct heap_lifetimes) == HEAP_LIFETIME_ENTRIES * HEAP_DETAIL_BYTES, "lifetimes");
HEAP_ASSERT(offsetof(struct heap_stack_1, peak) == 144, "stack of version 1");
HEAP_ASSERT(sizeof(struct heap_stack_1) == 448, "stack of version 1");
HEAP_ASSERT(offsetof(struct heap_module, bias) == 48, "module");
HEAP_ASSERT(sizeof(struct heap_module) == 120, "module");
HEAP_ASSERT(sizeof(struct heap_name) == 48, "name");
HEAP_ASSERT(sizeof(struct heap_verdict) == 64, "verdict");
HEAP_ASSERT(sizeof(struct heap_event) == 32, "event");
HEAP_ASSERT(sizeof(struct heap_ring) == 4096, "ring: one page");
HEAP_ASSERT(sizeof(struct heap_in_flight) == 64, "in flight");
HEAP_ASSERT(offsetof(struct heap_thread, in_flight) == 64, "thread: a line of its own for what moves with each event");
HEAP_ASSERT(sizeof(struct heap_thread) == 256, "thread");
HEAP_ASSERT(sizeof(struct heap_sample) == 32, "sample");
HEAP_ASSERT(sizeof(struct heap_losses) == 144, "losses");
HEAP_ASSERT(sizeof(struct heap_residence) == 40, "residence");
HEAP_ASSERT(offsetof(struct heap_header, pid) == 40, "header");
HEAP_ASSERT(offsetof(struct heap_header, program) == 104, "header");
HEAP_ASSERT(offsetof(struct heap_header, depth) == 144, "header");
HEAP_ASSERT(offsetof(struct heap_header, live_bytes) == 184, "header");
HEAP_ASSERT(offsetof(struct heap_header, peak_epoch) == 232, "header");
HEAP_ASSERT(offsetof(struct heap_header, residence) == 288, "header: heaprun writes it in place");
HEAP_ASSERT(offsetof(struct heap_header, losses) == 328, "header");
HEAP_ASSERT(offsetof(struct heap_header, sections) == 472, "header");
HEAP_ASSERT(offsetof(struct heap_header, sample_interval) == HEAP_HEADER_2_BYTES, "header of version 2");
HEAP_ASSERT(sizeof(struct heap_header) == 1016, "header");
HEAP_ASSERT(
    HEAP_SECTIONS_1_OFFSET == offsetof(struct heap_header, losses) + HEAP_LOSSES_1_BYTES, "header of version 1");
HEAP_ASSERT(HEAP_HEADER_1_BYTES == HEAP_SECTIONS_1_OFFSET + HEAP_SECTIONS_1_COUNT * sizeof(struct heap_section),
    "header of version 1");
HEAP_ASSERT(sizeof(struct heap_mark) == 64, "mark");
HEAP_ASSERT(HEAP_MARKS_OFFSET >= sizeof(struct heap_header), "marks lie behind the header");
HEAP_ASSERT(HEAP_MARKS_OFFSET + HEAP_MARK_COUNT * sizeof(struct heap_mark) == HEAP_PAGE_BYTES, "marks lie in its page");

#endif
