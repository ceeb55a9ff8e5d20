/*
 * The blocks of the program's own pools, and which pool each belongs to. A block is found by its address; a pool by the
 * name that the program gives it, any number. So a pool that is destroyed takes its blocks along, though nobody names
 * them.
 *
 * Everything here is async-signal-safe, allocates nothing outside the image, and waits for no other thread. What two
 * threads do to one block or one pool at the same time is the program's own race.
 */
#ifndef HEAPSUM_POOLS_H
#define HEAPSUM_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

/* Called when a fresh image was made, after ranges_start. */
void pools_start(void);

/*
 * A block of a pool: called when the pool hands it out, and before it takes it back. Blocks that begin in one granule
 * of 16 bytes displace each other: the later one is lost, and counted. A pool that nobody created is made by its first
 * block. Complexity: O(1).
 */
void pools_allocated(uintptr_t pool, uintptr_t address, size_t bytes, uint32_t stack);
void pools_freed(uintptr_t pool, uintptr_t address);

/* The same for a block of no pool. */
void pools_allocated_alone(uintptr_t address, size_t bytes, uint32_t stack);
void pools_freed_alone(uintptr_t address);

/* The pool takes back all its blocks, and is forgotten. Complexity: linear in the pieces of 8 KB, between the pool's
 * first and last block, in which a block has ever been; most of other pools' are passed over. */
void pools_destroyed(uintptr_t pool);

/* How Valgrind's pools may be (VALGRIND_CREATE_MEMPOOL_EXT). */
enum { POOLS_FREE_INNER = 1, POOLS_OF_POOLS = 2 };

/*
 * A new pool, without blocks. With POOLS_OF_POOLS its blocks are memory out of which other blocks are handed out, which
 * are told by pools_allocated_alone; the pool's own blocks are not booked then. With POOLS_FREE_INNER as well, the free
 * of such a block is that of those within it.
 */
void pools_created(uintptr_t pool, uint64_t flags);

/* Of a pool's blocks, those that lie within the range stay, those that have only one end in it are cut to it, and all
 * others are free. Complexity: as of pools_destroyed. */
void pools_trimmed(uintptr_t pool, uintptr_t start, size_t bytes);

/* The pool has another name from now on. Complexity: as of pools_destroyed. */
void pools_renamed(uintptr_t from, uintptr_t to);

/* Passes the live blocks to `take`, in order of address, until it returns false. */
void pools_each(bool (*take)(const struct heap_mapping *mapping));

/* ---- Valgrind's client requests (hooks/requests.c) ---- */

/* Adds to the counts of places in the program's code, in this image and in each later one. */
void pools_request_places(uint64_t places, uint64_t refused, uint64_t unsure);

/* Counts a request; or one whose words can't be read safely, as a block that is not booked. */
void pools_request_came(void);
void pools_request_unread(void);

/* The counts, if there are any; else NULL. */
const struct heap_request_sums *pools_requests(void);

#endif
