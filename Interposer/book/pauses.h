/*
 * Pauses, which the program asks for by heapsum.h: while there is one, allocations are not booked, and frees are.
 */
#ifndef HEAPSUM_PAUSES_H
#define HEAPSUM_PAUSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"

extern HIDDEN uint32_t pauses;      /* as many resumes are to come */
extern HIDDEN uint32_t pauses_ever; /* a free of a block that isn't booked is no riddle then */

static inline bool pauses_are_on(void) { return unlikely(load_relaxed(&pauses) != 0); }

/* Counts an allocation that is not booked, as the recording is paused. True. */
bool pauses_pass_over(size_t bytes);

#endif
