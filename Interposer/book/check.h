/*
 * HEAPSUM_CHECK: checks the invariants of the live map and of a ring while they are used. A broken one sets a flag in
 * the image (image_broken); nothing else changes.
 */
#ifndef HEAPSUM_CHECK_H
#define HEAPSUM_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "include/heap_image.h"

/* Called when a block was booked and the program does not have it yet. It must be live in exactly one map, as it was
 * booked. */
void check_booked(const void *block, size_t bytes, uint32_t stack);

/* Called when a free was booked and is not done yet. The block must not be live. */
void check_unbooked(const void *block);

/* Checks a thread's own ring, between two events. */
void check_ring(const struct heap_thread *record, const struct heap_ring *ring);

#endif
