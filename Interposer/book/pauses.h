/*
 * Pauses, which the program requests through heapsum.h. During a pause, frees are booked and allocations are not.
 */
#ifndef HEAPSUM_PAUSES_H
#define HEAPSUM_PAUSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"

extern HIDDEN uint32_t pauses;      /* pauses that are not resumed yet */
extern HIDDEN uint32_t pauses_ever; /* there was a pause: it explains frees of blocks that are not booked */

static inline bool pauses_are_on(void) { return unlikely(load_relaxed(&pauses) != 0); }

/* Counts an allocation that is not booked because the recording is paused. Returns true. */
bool pauses_pass_over(size_t bytes);

#endif
