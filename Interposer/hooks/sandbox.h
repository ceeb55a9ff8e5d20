/*
 * Seccomp filters that a program sets for itself.
 */
#ifndef HEAPSUM_SANDBOX_H
#define HEAPSUM_SANDBOX_H

/* seccomp(2) as called by syscall(); returns what that returns. The next functions must be known. */
long sandbox_seccomp(long operation, long flags, long program);

#endif
