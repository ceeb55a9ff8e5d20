/*
 * Records for threads: who has one, and who takes over whose.
 */
#ifndef HEAPSUM_ATTACH_H
#define HEAPSUM_ATTACH_H

/* An image was made: it has no threads yet. */
void threads_start(void);

/* Gives back what the threads of an earlier recording had. No hook may be under way in any thread. */
void threads_forget(void);

/* Gives this thread a record, a dead one's where there is one. */
void thread_attach(void);

#endif
