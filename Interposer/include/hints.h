/*
 * What a program has said about its own memory through heapsum.h, for the search for lost blocks. It lies in the
 * program's memory, not in the image; a reader finds it by the library's symbol `heapsum_hints`. For C and Swift.
 */
#ifndef HEAPSUM_HINTS_H
#define HEAPSUM_HINTS_H

#include <stdint.h>

#define HEAP_HINTS_VERSION 1u
#define HEAP_HINT_ROOTS 256u
#define HEAP_HINT_BLOCKS (1u << 20)

/* Memory to search as a root. An entry with `end` 0 is free, or is being written. */
struct heap_hint_root {
    uint64_t start, end;
};

/* A block that is no leak: the live block at `address` whose slot has this word, but no later block at that address.
 * 0: the entry is free, or is being written. */
struct heap_hint_block {
    uint64_t address, word;
};

struct heap_hints {
    uint32_t version;
    uint32_t lost;   /* hints that did not fit */
    uint64_t blocks; /* the address of HEAP_HINT_BLOCKS entries, unordered and with gaps; 0: there are none */
    struct heap_hint_root roots[HEAP_HINT_ROOTS];
};

#endif
