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

/* Whether the process is recorded, or may still be: a fork's child before its first allocation. */
bool start_may_record(void);

/* Ends recording for good, without a system call. The image stays as it is. */
void start_stop(void);

/*
 * Starts recording in a program that is already running, with the settings of `env` (in the environment's form,
 * NULL-terminated). False if it is recorded already, or can't be. It may be called again after start_detached, when no
 * thread is in a hook of the earlier recording.
 */
bool start_attached(char **env);

/* Ends a recording, however it began. Hooks entered later only pass their calls on; hooks already entered still book.
 * False if nothing is recorded. */
bool start_detached(void);

/* Called when the number of pauses changed: hooks leave the common path or return to it. */
void start_pauses_changed(void);

#endif
