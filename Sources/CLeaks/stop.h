/* What stop.c and clone.c share: the threads of a process while they are stopped. */
#ifndef HEAPSUM_LEAKS_STOP_H
#define HEAPSUM_LEAKS_STOP_H

#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "leaks.h"

struct tracee {
    struct leaks_thread shown;
    struct user_regs_struct saved;
    uint8_t *vectors;
    int signal; /* the stop was a signal's delivery: it goes on with that signal */
    bool is_seized;
    bool is_trapped; /* stopped by our interruption, and not by a signal or job control */
};

struct leaks_stop {
    pid_t pid;
    struct tracee *threads;
    size_t count, capacity;
    size_t injected; /* the thread that clones; `count`: none */
    uint64_t mask;   /* its signal mask meanwhile */
    uint64_t began_ns;
    sigset_t our_mask;
};

uint64_t leaks_now(void);

#if defined(__x86_64__)
/* Waits for a thread's next stop; false where it is gone. */
bool leaks_wait(pid_t tid, int *status);
/* Takes a thread that is stopped by an interruption into a system call of our choice, up to its entry. */
int leaks_inject(pid_t tid, const struct user_regs_struct *saved, uint64_t system_call, long number,
    const uint64_t arguments[4], uint64_t *mask);
/* Lets the injected call come to its end, and stops the thread where it was, with its registers and mask as they were.
 */
int leaks_restore(pid_t tid, const struct user_regs_struct *saved, uint64_t mask, bool is_in_call);
/* What the thread has to be given back for its interrupted call to go on. */
struct user_regs_struct leaks_resumed(const struct user_regs_struct *saved);
#endif

#endif
