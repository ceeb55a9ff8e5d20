/*
 * Dumps without a signal.
 */
#ifndef HEAPSUM_MARKS_H
#define HEAPSUM_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"

/* A bit of hook_live's word, above the image's number: set while recording is paused, so that no hook takes the common
 * path. */
#define HOOK_PAUSED (1ull << 63)

/* Called when an allocation failed with the errno `reason`. If memory ran out and the user asked for it, writes a dump,
 * at most one a minute. Keeps errno. */
void marks_failed(int reason);

/* Called with the process's live bytes after a fold. Writes a dump if they grew since the last dump by as much as the
 * user asked for. Keeps errno. */
void marks_grown(uint64_t live_bytes);

#endif
