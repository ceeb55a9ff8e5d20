/*
 * Records for threads: giving one to a thread, and taking over a dead thread's.
 */
#ifndef HEAPSUM_ATTACH_H
#define HEAPSUM_ATTACH_H

/* Resets the records for a new image. Called once for each image, by the thread that makes it. */
void threads_start(void);

/* Frees the threads' memory of an earlier recording. No thread may be in a hook. */
void threads_forget(void);

/* Gives this thread a record: a dead thread's if there is one. Keeps errno. */
void thread_attach(void);

/* Keeps this thread from the common path. */
void thread_be_general(void);

/* Lets this thread take the common path again, if it has all that the path needs. */
void thread_be_plain(void);

#endif
