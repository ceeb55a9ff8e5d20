/*
 * Tags: what the program says a thread works for (heapsum_tag). A tag is the root frame of the stacks that its thread
 * allocates from.
 */
#ifndef HEAPSUM_TAGS_H
#define HEAPSUM_TAGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "threads/thread.h"

/* Makes `text` this thread's tag; NULL and "" mean none. Returns the earlier tag, NULL if there was none: a text that
 * stays valid, and that leads back to the same tag. Works before a recording starts, too: a tag belongs to the thread,
 * not to the image. Lock-free and async-signal-safe. Complexity: O(length), and a few places of a table. */
const char *tags_set(const char *text);

/* The number of a tag for struct local's `tag`: entered if it is new, cut if it is longer than HEAP_TAG_BYTES; never 0.
 * Lock-free and async-signal-safe. */
uint32_t tags_number(const char *text, size_t length);

/* The root frame of a tag (struct local's, not 0). The first one in an image copies the tag's text there. Call it in a
 * hook of a thread that is attached. Async-signal-safe. */
uint64_t tags_frame(uint32_t tag);

#endif
