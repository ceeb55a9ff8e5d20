/* What stop.c, inject.c and clone.c share: the threads of a process while they are stopped. */
#ifndef HEAPSUM_LEAKS_STOP_H
#define HEAPSUM_LEAKS_STOP_H

#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "leaks.h"
#include "registers.h"
#include "wait.h"

struct tracee {
    struct leaks_thread shown;
    struct user_regs_struct saved;
    struct registers_before before;
    uint8_t *vectors;
    unsigned vector_kind;
    int signal;      /* it stopped at the delivery of this signal, and is resumed with it; 0: none */
    bool is_to_stop; /* a SIGSTOP came during a call of ours: it is sent again afterwards */
    bool is_seized;
    bool is_trapped;     /* stopped by PTRACE_INTERRUPT, not by a signal or job control */
    bool is_job_stopped; /* stopped by job control, then or since */
    bool is_late;        /* it did not stop in time */
    bool is_used;        /* it has made a system call of ours since */
};

/* What a thread gets back after a call of ours. */
struct injection {
    uint64_t mask;
    uint8_t *under; /* bytes of its stack, where the frames are; NULL: there are none */
    uint64_t under_at;
    size_t under_bytes;
};

struct leaks_stop {
    pid_t pid;
    struct tracee *threads;
    size_t count, capacity;
    size_t injected; /* index of the thread that makes a call of ours */
    struct injection injection;
    uint64_t began_ns;
    sigset_t our_mask;
};

/* Around the release of a thread: the signals that it takes. */
uint64_t leaks_turn_begin(const struct leaks_turn *turn, pid_t tid, struct registers_before *before);
void leaks_turn_end(struct leaks_turn *turn, uint64_t takes);

#endif
