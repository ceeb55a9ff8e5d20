/* What thread.c, stacks.c and call.c share: a stopped thread. */
#ifndef HEAPSUM_ATTACH_THREAD_H
#define HEAPSUM_ATTACH_THREAD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "attach.h"
#include "frame.h"
#include "registers.h"
#include "wait.h"

struct attach_thread {
    struct attach_plan plan;
    pid_t tid;
    struct user_regs_struct saved;
    struct registers_before before; /* the system call in which it waited */
    bool is_to_stop;                /* a SIGSTOP came during a call: it is sent again afterwards */
    bool is_used;                   /* it has made a call of ours */
    uint64_t mask;                  /* its blocked signals */
    uint8_t vectors[REGISTERS_VECTORS_MOST] __attribute__((aligned(64)));
    size_t vector_bytes;
    unsigned vector_kind; /* NT_…: which of the kernel's sets `vectors` is */
    uint64_t region;      /* memory of ours in its process; 0: none yet */
    uint64_t began_ns;    /* when it was interrupted */
    sigset_t our_mask;
    int our_policy, our_priority; /* of scheduling */
};

/* Restores this tool's own signal mask and scheduling, which attach_stop changed. */
void attach_end(struct attach_thread *thread);

/* The lowest usable address of the stack mapping that holds `stack_pointer`, and its end. 0: unknown, or not a
 * thread's own stack. */
uint64_t attach_stack_start(pid_t pid, uint64_t stack_pointer, uint64_t *end);

/* Whether calls are safe, from the frames of a stopped thread whose registers are in `saved`. */
enum attach_state attach_look(const struct attach_plan *plan, pid_t tid, const struct user_regs_struct *saved,
    uint64_t stack_end, const struct attach_span *spans, size_t count);

/* What a signal frame of the thread is made of. */
struct frame_state attach_frame_state(const struct attach_thread *thread);

#endif
