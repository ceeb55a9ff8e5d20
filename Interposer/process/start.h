/*
 * The start of recording, in a process and in a fork's child.
 */
#ifndef HEAPSUM_START_H
#define HEAPSUM_START_H

#include <stdbool.h>

#include "base/atomics.h"
#include "base/next.h"

/* Finds the next functions unless they are known; false while that is impossible (see next_resolve), and the arena
 * serves. */
bool start_next(void);

/* Whether this call comes that early. */
static inline bool start_is_early(void) { return unlikely(!next_known()) && !start_next(); }

/* Counts a call that came before recording could start. */
void start_miss(void);

/*
 * Called by a hook while nothing is recorded: makes the image if the process is ready for it. Returns whether this call
 * may be booked. May be called any number of times; never waits for another thread that is making the image.
 */
bool start_recording(void);

/* Whether the process is recorded or may still be, as a fork's child before its first allocation. */
bool start_may_record(void);

/* Ends recording for good, without a system call. The image stays as it is. */
void start_stop(void);

/*
 * Starts recording in a program that has run for long, with the settings of `env` (as the environment's,
 * NULL-terminated). False where it is recorded already, or can't be. Called again after start_detached: no hook of the
 * recording before may be under way in any thread then.
 */
bool start_attached(char **env);

/* Ends a recording, whichever way it began; hooks that come from here on pass their calls on. Those under way still
 * book. False where nothing is recorded. */
bool start_detached(void);

/* Called when the number of pauses changed: hooks leave the common path or return to it. */
void start_pauses_changed(void);

#endif
