/*
 * Making an image.
 */
#ifndef HEAPSUM_CREATE_H
#define HEAPSUM_CREATE_H

#include <stdbool.h>

/* Makes, maps and fills in a fresh image for this process; false where none can be made (then nothing is recorded). */
bool image_create(void);

/* Unmaps the image, or what a fork's child has in its place. No hook may be under way in any thread. */
void image_forget(void);

/* A fork's child: lays scratch memory where the parent's image was, so that a hook which the fork interrupted writes
 * nowhere. */
void image_abandon(void);

#endif
