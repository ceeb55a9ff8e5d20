/*
 * The live map: which blocks are live.
 *
 * For each of four granules a tree of two levels below a top table: address -> branch -> leaf -> slot, in
 * pieces of 16 KB. A piece is the unit of the tree and of the file's growth alike, so the file has no
 * holes to read, and each piece's descriptor tells a reader which addresses it covers.
 */
#ifndef HEAPSUM_LIVE_H
#define HEAPSUM_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a block's slot is, or would be. */
struct place {
    uint64_t *slot; /* NULL: no leaf covers the address */
    uint32_t map;
    uint32_t offset; /* the address's, in its granule */
};

/* An image was made: works out the shape of its tops. */
void live_start(void);

/* The place of the block at `address` with this usable size, which malloc_usable_size gives the same all its life. */
struct place live_find(uintptr_t address, size_t usable);

/* The same, with its leaf made where it is missing; `slot` is NULL where there is no space or the address is out of range. */
struct place live_make(uintptr_t address, size_t usable);

/* The slot word for a block at this place; publishes the size of a coarse map's block, which must stand before the word. */
uint64_t live_word(struct place place, uint32_t stack, uint32_t tick, size_t bytes);

/* The requested bytes of the block whose word this is. */
size_t live_bytes(struct place place, uint64_t word);

/* Whether the word is that of a block at this very address: not empty, not a mark, not another block of the granule. */
bool live_holds(struct place place, uint64_t word);

#endif
