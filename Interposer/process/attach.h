/*
 * Records for threads: giving one to a thread, and taking over a dead thread's.
 */
#ifndef HEAPSUM_ATTACH_H
#define HEAPSUM_ATTACH_H

#include <stdint.h>

/* Resets the records for a new image. Called once for each image, by the thread that makes it. */
void threads_start(void);

/* Frees the threads' memory of an earlier recording. No thread may be in a hook. */
void threads_forget(void);

/*
 * Gives this thread a record: a dead thread's if there is one. Called in a hook at `level`, which the hook owns
 * already. A signal handler that interrupts this, and allocates, gets here at a higher level; its events are booked
 * without a ring then, and may lack their stack. Keeps errno. Async-signal-safe.
 */
void thread_attach(uint32_t level);

/* Keeps this thread from the common path. */
void thread_be_general(void);

/* Lets this thread take the common path again, if it has all that the path needs. */
void thread_be_plain(void);

#endif
