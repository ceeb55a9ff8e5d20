/*
 * HEAPSUM_CHECK: what must hold of the live map and of a ring, looked at as they are used. What is found broken marks
 * the image (image_broken), and changes nothing.
 */
#ifndef HEAPSUM_CHECK_H
#define HEAPSUM_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "include/heap_image.h"

/* A block was just booked, and the program does not have it yet: it is live once, as it was booked. */
void check_booked(const void *block, size_t bytes, uint32_t stack);

/* A block was just unbooked, and is not freed yet: it is live no more. */
void check_unbooked(const void *block);

/* A thread's own ring, between two events. */
void check_ring(const struct heap_thread *record, const struct heap_ring *ring);

#endif
