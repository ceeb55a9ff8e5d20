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

/* The number of pauses changed: hooks leave the common way, or take it again. */
void start_pauses_changed(void);

#endif
