/* A system call in one thread of a stopped process: inject.c, for clone.c. */
#ifndef HEAPSUM_LEAKS_INJECT_H
#define HEAPSUM_LEAKS_INJECT_H

#include "stop.h"

#define INJECT_CHILD (~0ull) /* as an argument: the stack of a child that has to end at once */
/* How long a thread may sleep without a break before it is given up. */
#define INJECT_ASLEEP_NS (10 * 1000 * 1000 * 1000ull)

/*
 * Makes a thread that is stopped by an interruption begin the given system call, up to its entry stop. `floor` is the
 * lowest address of its stack; 0: without a signal frame. -EFAULT: there is no room for one, or not all of its state
 * fits into it. -ESRCH: it was killed. -EAGAIN: it stopped for another reason before the call.
 */
int inject_begin(struct leaks_stop *stop, struct tracee *thread, const struct leaks_code *code, uint64_t floor,
    long number, const uint64_t arguments[4]);
/*
 * Waits for the next stop of a thread, or of the clone, while a call of ours is made. 1: it has stopped; -ESRCH: it has
 * ended; -ETIMEDOUT: it slept for INJECT_ASLEEP_NS without a break: it is frozen, or in uninterruptible sleep. It then
 * is to be left alone: it finds home by its frame when this tool ends. Without a frame it could not, so there is no
 * bound then.
 */
int inject_wait(const struct leaks_stop *stop, pid_t tid, int *status);
/* Abandons a thread that has ended or sleeps, by a result of inject_begin, inject_wait or inject_end: it is not touched
 * any more, and gets the SIGSTOP that was held back. Returns the result. */
int inject_abandon_if_gone(struct tracee *thread, int result);
/* Whether a thread that makes a call of ours has stopped at a SIGSTOP, which can't be blocked: it gets that at its
 * release. */
bool inject_postpone(struct tracee *thread, int status);
/* Lets the injected call finish, and stops the thread where it was, with its old registers, signal mask and stack. */
int inject_end(struct leaks_stop *stop, bool is_in_call);

#endif
