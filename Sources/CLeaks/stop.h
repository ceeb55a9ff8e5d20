/* What stop.c and clone.c share: the threads of a process while they are stopped. */
#ifndef HEAPSUM_LEAKS_STOP_H
#define HEAPSUM_LEAKS_STOP_H

#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "leaks.h"
#include "registers.h"

struct tracee {
    struct leaks_thread shown;
    struct user_regs_struct saved;
    struct registers_before before;
    uint8_t *vectors;
    int signal; /* it stopped at the delivery of this signal, and is resumed with it; 0: none */
    bool is_seized;
    bool is_trapped; /* stopped by PTRACE_INTERRUPT, not by a signal or job control */
    bool is_used;    /* it has made a system call of ours since */
};

struct leaks_stop {
    pid_t pid;
    struct tracee *threads;
    size_t count, capacity;
    size_t injected; /* index of the thread that calls clone; `count`: none */
    uint64_t mask;   /* its signal mask meanwhile */
    uint64_t began_ns;
    sigset_t our_mask;
};

uint64_t leaks_now(void);

/* Waits for a thread's next stop; false if it has ended. */
bool leaks_wait(pid_t tid, int *status);
/* Makes a thread that is stopped by an interruption begin the given system call, up to its entry stop. */
int leaks_inject(struct tracee *thread, uint64_t system_call, long number, const uint64_t arguments[4], uint64_t *mask);
/* Lets the injected call finish, and stops the thread where it was, with its old registers and signal mask. */
int leaks_restore(pid_t tid, const struct user_regs_struct *saved, uint64_t mask, bool is_in_call);

#endif
