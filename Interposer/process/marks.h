/*
 * Dumps that nobody sends a signal for.
 */
#ifndef HEAPSUM_MARKS_H
#define HEAPSUM_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"

/* In hook_live's word, beside the image's number: set while the recording is paused, so that no hook takes the common
 * way. */
#define HOOK_PAUSED (1ull << 63)

/* An allocation failed for `reason`, an errno: where that is want of memory, and it was asked for, writes a dump, once
 * a minute at the most. Keeps errno. */
void marks_failed(int reason);

/* The process's live bytes, as just folded: writes a dump where they passed the last dump's by what was asked for.
 * Keeps errno. */
void marks_grown(uint64_t live_bytes);

#endif
