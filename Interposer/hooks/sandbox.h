/*
 * What a program forbids itself.
 */
#ifndef HEAPSUM_SANDBOX_H
#define HEAPSUM_SANDBOX_H

/* seccomp(2), called by syscall(): as that returns it. The next functions are known. */
long sandbox_seccomp(long operation, long flags, long program);

#endif
