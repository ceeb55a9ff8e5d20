/*
 * The range tree: which pages belong to which mapping of the program's own.
 *
 * Each change is numbered. A change for a range replaces only what older changes left there, so it does not matter
 * which of two threads writes first. Number the unmapping of pages before the real call, and a mapping after it: as
 * long as a page is not unmapped, the kernel gives it to nobody else, so the numbers are in the kernel's order. (Where
 * a program changes one range in two threads at once, the order is the program's own race.)
 *
 * Everything here is async-signal-safe, allocates nothing outside the image, and waits for no other thread.
 */
#ifndef HEAPSUM_RANGES_H
#define HEAPSUM_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

/* Called when a fresh image was made. */
void ranges_start(void);

/* Whether mappings are booked. */
static inline bool ranges_are_booked(void) { return load_relaxed(&image.header->flags) & HEAP_FLAG_MAPPINGS; }

/* From now on they are, in this image and in those of forks, if the image has space for them (HEAPSUM_MAPPINGS). */
void ranges_begin(void);

/* The next change's number. A call may take two: one for what it unmaps, and one for what it maps. */
uint64_t ranges_number(void);

/* Counts a call that mapped, unmapped or moved something. */
void ranges_called(void);

/* `what`: a kind and flags. Addresses are rounded to whole pages, outwards. */
void ranges_set(uint64_t number, uintptr_t start, size_t bytes, uint32_t stack, uint32_t what);

/* The same range belongs to nobody, if it belongs to a mapping with a lower number. */
void ranges_clear(uint64_t number, uintptr_t start, size_t bytes);

/* What is booked at an address, with the pages that its call mapped; a word of 0: nothing. */
struct heap_range ranges_at(uintptr_t address);

/* Takes away all that is left in these pages of the mapping with number `birth`. */
void ranges_clear_one(uint64_t birth, uintptr_t start, size_t bytes);

/* Passes the mappings to `take`, in order of address, until it returns false: neighbouring pages of one birth as one.
 */
void ranges_each(bool (*take)(const struct heap_mapping *mapping));

/* Counts a call that could not be booked. */
void ranges_lost(size_t bytes);

/* Counts what madvise gave back. */
void ranges_discarded(size_t bytes);

/* ---- For pools.c, whose tree has the same nodes ---- */

/* An entry's two words, of the same moment. */
struct heap_range ranges_read(const struct heap_range *entry);

/* Gives the entry a node that says for each part what `seen` says for all. Returns whether the entry was still so;
 * `*is_full`: there is no space for a node. */
bool ranges_split(struct heap_range *entry, struct heap_range seen, bool *is_full);

#endif
