/*
 * Creating an image.
 */
#ifndef HEAPSUM_CREATE_H
#define HEAPSUM_CREATE_H

#include <stdbool.h>

/* Creates, maps and fills in a fresh image for this process. False if that is impossible: then nothing is recorded. */
bool image_create(void);

/* Unmaps the image, or the scratch memory that a forked child has in its place. No thread may be inside a hook. */
void image_forget(void);

/* In a forked child: maps scratch memory where the parent's image was, so that a hook that the fork interrupted writes
 * there and does no harm. */
void image_abandon(void);

#endif
