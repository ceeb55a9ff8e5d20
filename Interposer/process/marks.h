/*
 * What the program asks for by heapsum.h: marks, and pauses.
 */
#ifndef HEAPSUM_MARKS_H
#define HEAPSUM_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"

/* In hook_live's word, beside the image's number: set while the recording is paused, so that no hook takes the common way. */
#define HOOK_PAUSED (1ull << 63)

extern uint32_t marks_pauses;      /* as many resumes are to come */
extern uint32_t marks_ever_paused; /* a free of a block that isn't booked is no riddle then */

static inline bool marks_are_paused(void) { return unlikely(load_relaxed(&marks_pauses) != 0); }

/* Counts an allocation that is not booked, as the recording is paused. True. */
bool marks_pass_over(size_t bytes);

/* An allocation failed for `reason`, an errno: where that is want of memory, and it was asked for, writes a dump, once a minute at the most. Keeps errno. */
void marks_failed(int reason);

/* The process's live bytes, as just folded: writes a dump where they passed the last dump's by what was asked for. Keeps errno. */
void marks_grown(uint64_t live_bytes);

/* A dump was written. */
void marks_dumped(void);

#endif
