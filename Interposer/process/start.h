/*
 * The start of recording, in a process's life and in a forked child's.
 */
#ifndef HEAPSUM_START_H
#define HEAPSUM_START_H

#include <stdbool.h>

#include "base/atomics.h"
#include "base/next.h"

/* Finds the next functions, where they are not known yet; false while they can't be, see next_resolve: the arena serves
 * then. */
bool start_next(void);

/* Whether this call comes so early. */
static inline bool start_is_early(void) { return unlikely(!next_known()) && !start_next(); }

/* A call came before recording could start. */
void start_miss(void);

/*
 * Called by a hook while nothing is recorded: makes the image where it is time.
 * True where this call may be booked. Safe to call again and again; who meets another thread at it passes through.
 */
bool start_recording(void);

/* Whether the process is recorded, or may still be: a fork's child is at its first allocation. */
bool start_may_record(void);

/* Ends that for good, without a system call. The image stays as it is. */
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

/* The number of pauses changed: hooks leave the common way, or take it again. */
void start_pauses_changed(void);

#endif
