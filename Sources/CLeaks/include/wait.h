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

/*
 * Waits for the next stop of such a thread for as long as it does something. 1: it has stopped; 0: it slept for
 * `asleep` nanoseconds without a break, because it is frozen or in uninterruptible sleep; -ESRCH: it has ended. A
 * thread that sleeps often, and runs in between, is waited for, and so is one that waits for a processor.
 */
int leaks_wait_awake(pid_t tid, int *status, uint64_t asleep);

/* A thread's state from /proc: D: in uninterruptible sleep, or frozen; Z: has ended; 0: no such thread. */
char leaks_state_of(pid_t pid, pid_t tid);

#endif
