/*
 * The image as the recorder sees it, and its space. create.h creates it.
 */
#ifndef HEAPSUM_IMAGE_H
#define HEAPSUM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <time.h>

#include "base/atomics.h"
#include "base/system.h"
#include "include/heap_image.h"

/* The sections' addresses in this process. `base` is NULL if no image is mapped. A forked child gets an image of its
 * own. */
struct image {
    uint8_t *base;
    uint64_t bytes;
    struct heap_header *header;
    uint32_t narrowed; /* parts were unmapped (narrow.h) */
    uint8_t *strings;
    struct heap_module *modules;
    struct heap_node *nodes;
    struct heap_stack *stacks;
    struct heap_detail *details; /* entry i, of any of the three kinds */
    struct heap_thread *threads;
    struct heap_ring *rings;
    struct heap_sample *timeline;
    struct heap_piece *pieces;
    uint8_t *slots;
    uint32_t *index;
    uint32_t *tops;
    struct heap_range_node *ranges; /* if mappings are booked */
};

extern HIDDEN struct image image;

/* Called when a fresh image is made: none of its space is reserved yet. */
void image_space_start(void);

/* Gives memory to the pages of [start, start + bytes). 0, or an errno. */
int image_populate(uint8_t *start, uint64_t bytes);

/* Hands out `count` entries of a bump section, with memory. Returns the first one's number, or -1 if there is no space
 * (counted). */
int64_t image_take(enum heap_section_name section, uint64_t count);

/* Makes sure that entries [0, entries) of a bump section are handed out and have memory. For a section whose entries
 * are numbered like another section's. */
bool image_cover(enum heap_section_name section, uint64_t entries);

/* The hash tables from a frame and its parent to their node (stacks/tree.c): the first has 4,096 entries of 4 bytes,
 * each further one twice as many. */
#define TREE_INDEX_FIRST_LOG2 12
#define TREE_INDEX_TABLES 15
#define TREE_INDEX_BYTES_OF(tables) (((1ull << (tables)) - 1) << TREE_INDEX_FIRST_LOG2 << 2)
#define TREE_INDEX_BYTES TREE_INDEX_BYTES_OF(TREE_INDEX_TABLES) /* at the most */

/*
 * INDEX and TOPS are used sparsely, so each of their pages has a bit that says whether it has memory: first the pages
 * of INDEX, then those of TOPS. Private, because only the recorder reads these sections.
 */
#define INDEX_PAGES (TREE_INDEX_BYTES / HEAP_PAGE_BYTES)
extern HIDDEN uint64_t image_page_bits[(INDEX_PAGES + (64u << 20) / HEAP_PAGE_BYTES) / 64];

/* Gives memory to a page of INDEX or TOPS, by its bit's number. False if there is no space. */
bool image_reserve_page(uint64_t bit);

static inline uint64_t image_index_bit(uint64_t entry) { return entry * sizeof(uint32_t) / HEAP_PAGE_BYTES; }
static inline bool image_index_is_there(uint64_t entry) { /* whether an entry of INDEX has memory already */
    uint64_t bit = image_index_bit(entry);
    return likely(load_acquire(&image_page_bits[bit / 64]) >> bit % 64 & 1); /* partner: image_reserve_page's release */
}
static inline bool image_has_index(uint64_t entry) { /* makes sure that an entry of INDEX has memory */
    return image_index_is_there(entry) || image_reserve_page(image_index_bit(entry));
}

/* Gives back the memory of `count` entries of INDEX from `first` on: whole pages, in which nobody looks for anything
 * any more. */
void image_release_index(uint64_t first, uint64_t count);

static inline uint64_t image_top_bit(uint64_t entry) {
    return INDEX_PAGES + entry * sizeof(uint32_t) / HEAP_PAGE_BYTES;
}
static inline bool image_top_is_there(uint64_t entry) { /* whether an entry of TOPS has memory already */
    uint64_t bit = image_top_bit(entry);
    return load_acquire(&image_page_bits[bit / 64]) >> bit % 64 & 1;
}
static inline bool image_has_top(uint64_t entry) { /* makes sure that an entry of TOPS has memory */
    return image_top_is_there(entry) || image_reserve_page(image_top_bit(entry));
}

/* Counts bytes of the image or a dump against --max-size. If they are too many, flags the image as full and returns
 * false. A negative number gives bytes back. */
bool image_account(int64_t bytes);

/* Copies bytes into STRINGS. {0, 0} if there is no space. */
struct heap_string image_string(const char *bytes, size_t length);

/* The number of entries in a map's top table, for the given granules. */
uint64_t image_top_entries(uint32_t map, const uint8_t *granule_log2);

/* Time since the recording's start, from a time of CLOCK_MONOTONIC_COARSE (steps of 1 to 4 ms). */
static inline uint64_t image_nanoseconds_at(struct timespec now) {
    int64_t since =
        (int64_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - image.header->started_monotonic_ns);
    return since > 0 ? (uint64_t)since : 0;
}
static inline uint64_t image_nanoseconds(void) { return image_nanoseconds_at(system_clock(CLOCK_MONOTONIC_COARSE)); }

/* HEAPSUM_CHECK: one of the recorder's own invariants is broken. Flags the image and prints the invariant, once for
 * each. */
void image_broken(uint32_t *said, const char *invariant);
#define INVARIANT(condition) \
    do { \
        static uint32_t said; \
        if (unlikely(!(condition))) image_broken(&said, #condition); \
    } while (0)

#define LOSE(what, n) add_relaxed(&image.header->losses.what, (n))

#endif
