/*
 * What a program says of its own memory by heapsum.h, for who looks for lost blocks. It lies in the program's memory
 * and not in the image; a reader finds it by the library's symbol `heapsum_hints`. The file is for C and Swift.
 */
#ifndef HEAPSUM_HINTS_H
#define HEAPSUM_HINTS_H

#include <stdint.h>

#define HEAP_HINTS_VERSION 1u
#define HEAP_HINT_ROOTS 256u
#define HEAP_HINT_BLOCKS (1u << 20)

/* Memory to be looked through as roots are. An entry with `end` 0 is free, or is being written. */
struct heap_hint_root {
    uint64_t start, end;
};

/* A block that is no leak. It means the live block at `address` whose slot has this word, and none that comes after it;
 * 0: the entry is free, or is being written. */
struct heap_hint_block {
    uint64_t address, word;
};

struct heap_hints {
    uint32_t version;
    uint32_t lost;   /* requests that found no room */
    uint64_t blocks; /* where HEAP_HINT_BLOCKS entries lie, in no order and with gaps; 0: there are none */
    struct heap_hint_root roots[HEAP_HINT_ROOTS];
};

#endif
