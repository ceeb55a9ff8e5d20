/* Waiting for a stopped thread, with a bound: for CLeaks and CAttach. */
#ifndef HEAPSUM_LEAKS_WAIT_H
#define HEAPSUM_LEAKS_WAIT_H

#include <stdint.h>
#include <sys/types.h>

/* CLOCK_MONOTONIC, in nanoseconds. */
uint64_t leaks_now(void);

/* Waits for the next stop of a thread that the calling thread traces. 1: it has stopped; 0: the time is over; -ESRCH:
 * it has ended. */
int leaks_wait(pid_t tid, int *status, uint64_t nanoseconds);

/* A thread's state from /proc: D: in uninterruptible sleep, or frozen; Z: has ended; 0: no such thread. */
char leaks_state_of(pid_t pid, pid_t tid);

#endif
