/*
 * Makes the image's mapping smaller in a process that limits its address space.
 */
#ifndef HEAPSUM_NARROW_H
#define HEAPSUM_NARROW_H

#include <stdint.h>

#include "include/heap_image.h"

/* A part of the image that is mapped. */
struct image_part {
    uint8_t *start;
    uint64_t bytes;
};

/*
 * Unmaps what the sections do not use yet, until at most `most` bytes are mapped or each section has little more than
 * it uses. A section can't grow beyond what is left: what finds no space is counted, as on a full disk. The file keeps
 * its length. Any thread may call this at any time while others go on booking.
 */
void image_narrow(uint64_t most);

/* The parts that are mapped, in order: one if nothing was narrowed. Returns how many. An image must be mapped. */
#define IMAGE_PARTS_MOST (HEAP_SECTION_COUNT + 1)
unsigned image_parts(struct image_part parts[IMAGE_PARTS_MOST]);

#endif
