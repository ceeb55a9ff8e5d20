/*
 * Stops one thread at a place where calls can be made in it, and resumes it. The other threads keep running.
 *
 * PTRACE_SEIZE sends no signal that the program could see. The interruption takes a waiting thread out of its system
 * call; registers_resumed puts it back.
 */
#include "thread.h"

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leaks.h"

#define STOP_NS (50 * 1000 * 1000ull)

/* System calls in which a thread waits for an outside event and holds no lock of libc's. */
static bool is_waiting(int64_t number) {
    switch (number) {
#if defined(__x86_64__)
        case SYS_poll:
        case SYS_select:
        case SYS_epoll_wait:
        case SYS_pause:
        case 333 /* io_pgetevents */:
#elif defined(__aarch64__)
        case 292 /* io_pgetevents */:
#endif
        case SYS_read:
        case SYS_readv:
        case SYS_write:
        case SYS_writev:
        case SYS_ppoll:
        case SYS_pselect6:
        case SYS_epoll_pwait:
        case 441 /* epoll_pwait2 */:
        case SYS_futex:
        case SYS_nanosleep:
        case SYS_clock_nanosleep:
        case SYS_rt_sigsuspend:
        case SYS_rt_sigtimedwait:
        case SYS_accept:
        case SYS_accept4:
        case SYS_connect:
        case SYS_recvfrom:
        case SYS_recvmsg:
        case SYS_recvmmsg:
        case SYS_sendto:
        case SYS_sendmsg:
        case SYS_wait4:
        case SYS_waitid:
        case SYS_semop:
        case SYS_semtimedop:
        case SYS_msgrcv:
        case SYS_msgsnd:
        case SYS_mq_timedreceive:
        case SYS_mq_timedsend:
        case SYS_flock:
        case SYS_fcntl:
        case SYS_io_getevents:
        case 426 /* io_uring_enter */:
        case 449 /* futex_waitv */:
        case SYS_restart_syscall: return true;
        default: return false;
    }
}

struct frame_state attach_frame_state(const struct attach_thread *thread) {
    return (struct frame_state){.tid = thread->tid,
        .code = {thread->plan.system_call, thread->plan.signal_return},
        .mask = thread->mask,
        .saved = &thread->saved,
        .vectors = thread->vectors,
        .vector_bytes = thread->vector_bytes,
        .vector_kind = thread->vector_kind};
}

/* Stopped by the interruption, not by a signal or job control. */
static bool is_trap(int status) { return status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) == SIGTRAP; }

/* Do this at once at the stop: if this tool ends from here on, the interrupted call still continues. */
static void settle(struct attach_thread *thread) {
    registers_check(thread->tid, &thread->saved, &thread->before);
    registers_resume(thread->tid, &thread->saved, &thread->before, false);
}

static enum attach_state state_of(struct attach_thread *thread, int status) {
    const struct attach_plan *plan = &thread->plan;
    if (!is_trap(status)) {
        if (status >> 16 == 0) registers_deliver(thread->tid, WSTOPSIG(status));
        return ATTACH_STOPPED;
    }
    int result = registers_read(thread->tid, &thread->saved);
    if (result < 0) return result == -ENOEXEC ? ATTACH_FOREIGN_MODE : ATTACH_STOPPED;
    settle(thread);
    ssize_t bytes = registers_read_vectors(thread->tid, thread->vectors, &thread->vector_kind);
    if (bytes < 0) return ATTACH_UNKNOWN;
    thread->vector_bytes = (size_t)bytes;
    const struct frame_state state = attach_frame_state(thread);
    if (!frame_can_hold(&state)) return ATTACH_IN_VECTORS;
    if (ptrace(PTRACE_GETSIGMASK, thread->tid, 8ul, &thread->mask) != 0) return ATTACH_STOPPED;
    if (registers_is_in_sequence(thread->tid, &thread->saved, &thread->before)) return ATTACH_IN_SEQUENCE;
    const int64_t call = registers_call(&thread->saved, &thread->before);
    const uint64_t at = registers_instruction(&thread->saved), stack = registers_stack(&thread->saved);
    if (call >= 0) {
        if (!is_waiting(call)) return ATTACH_BUSY;
        if (plan->only_outside && (call == SYS_futex || call == 449)) return ATTACH_BUSY;
    } else {
        if (plan->only_outside) return ATTACH_BUSY;
        for (size_t i = 0; i < plan->busy_count; i++)
            if (at - plan->busy[i].start < plan->busy[i].end - plan->busy[i].start) return ATTACH_BUSY;
    }
    if (at == plan->system_call) return ATTACH_BUSY; /* the kernel might take our call for the one to begin again */
    uint64_t end = 0, start = attach_stack_start(plan->pid, stack, &end);
    if (start == 0 || stack - start < FRAME_ROOM + thread->vector_bytes) return ATTACH_NO_ROOM;
    return attach_look(plan, thread->tid, &thread->saved, end, plan->forbidden, plan->forbidden_count);
}

static void let_go(struct attach_thread *thread, int status) {
    int signal = status >> 16 == 0 && WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
    if (is_trap(status)) {
        const struct user_regs_struct *saved = &thread->saved;
        registers_resume(thread->tid, saved, &thread->before, thread->is_used);
        if (registers_need_entry(saved, &thread->before, thread->is_used)) signal = registers_enter(thread->tid);
    } else if (signal != 0) {
        registers_deliver(thread->tid, signal);
    }
    if (thread->is_to_stop) syscall(SYS_tkill, thread->tid, SIGSTOP);
    ptrace(PTRACE_DETACH, thread->tid, 0, (long)signal);
}

/* Seizes and interrupts the thread; 1 if it is stopped, with the reason in `*status`. */
static int interrupt(struct attach_thread *thread, int *status) {
    /* It may be this tool's already: one that did not stop in time, and so couldn't be detached. Only its tracer can
     * interrupt it. */
    const int refused = ptrace(PTRACE_SEIZE, thread->tid, 0, 0) != 0 ? errno : 0;
    if (refused != 0 && refused != EPERM) return -refused;
    thread->began_ns = leaks_now();
    registers_look(thread->plan.pid, thread->tid, &thread->before);
    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) != 0) return refused != 0 ? -refused : -errno;
    int stopped = leaks_wait(thread->tid, status, STOP_NS);
    /* It is in uninterruptible sleep, and can't be detached before it stops: wait for the stop. */
    if (stopped == 0) stopped = leaks_wait(thread->tid, status, 100 * STOP_NS) > 0 ? 2 : 0;
    return stopped;
}

static struct attach_thread *new_thread(const struct attach_plan *plan, pid_t tid) {
    struct attach_thread *thread = aligned_alloc(64, (sizeof *thread + 63) / 64 * 64);
    if (thread == NULL) return NULL;
    memset(thread, 0, sizeof *thread);
    thread->plan = *plan;
    thread->tid = tid;
    /* Only SIGKILL may end this tool while another process's thread is stopped. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &thread->our_mask);
    /* On a busy machine the thread would stay stopped while this tool waits for a processor. */
    struct sched_param priority;
    thread->our_policy = sched_getscheduler(0);
    if (sched_getparam(0, &priority) == 0) thread->our_priority = priority.sched_priority;
    if (thread->our_policy == SCHED_OTHER)
        sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &(struct sched_param){.sched_priority = 1});
    return thread;
}

void attach_end(struct attach_thread *thread) {
    sigset_t mask = thread->our_mask;
    if (thread->our_policy == SCHED_OTHER)
        sched_setscheduler(0, thread->our_policy, &(struct sched_param){.sched_priority = thread->our_priority});
    free(thread);
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

int attach_stop(const struct attach_plan *plan, pid_t tid, struct attach_thread **out) {
    struct attach_thread *thread = new_thread(plan, tid);
    int status = 0;
    if (thread == NULL) return -ENOMEM;
    int result = interrupt(thread, &status);
    if (result > 0) {
        enum attach_state state = state_of(thread, status);
        if (state == ATTACH_SAFE && result == 1) {
            *out = thread;
            return ATTACH_SAFE;
        }
        let_go(thread, status);
        result = (int)(state == ATTACH_SAFE ? ATTACH_STOPPED : state);
    } else if (result == 0) {
        result = ATTACH_STOPPED;
    }
    attach_end(thread);
    return result;
}

uint64_t attach_room(const struct attach_thread *thread) { return thread->region != 0 ? thread->region + 65536 : 0; }

uint64_t attach_release(struct attach_thread *thread) {
    /* The mapped memory is unmapped by a call on the thread's own stack, as it was mapped. */
    if (thread->region != 0) {
        const uint64_t arguments[6] = {thread->region, ATTACH_REGION_BYTES, 0, 0, 0, 0};
        thread->region = 0;
        struct attach_thread *left = thread;
        attach_system_call(&left, SYS_munmap, arguments);
        if (left == NULL) return 0; /* that call has detached from the thread */
    }
    let_go(thread, PTRACE_EVENT_STOP << 16 | SIGTRAP << 8 | 0x7F);
    uint64_t paused = leaks_now() - thread->began_ns;
    attach_end(thread);
    return paused;
}

int attach_is_inside(const struct attach_plan *plan, pid_t tid, struct attach_span span, uint64_t *paused) {
    struct attach_thread *thread = new_thread(plan, tid);
    int status = 0;
    if (thread == NULL) return -ENOMEM;
    int result = interrupt(thread, &status);
    if (result > 0) {
        uint64_t end = 0;
        int read = registers_read(tid, &thread->saved);
        if (read == 0 && is_trap(status)) settle(thread);
        if (read < 0) {
            result = read;
        } else if (attach_stack_start(plan->pid, registers_stack(&thread->saved), &end) == 0) {
            result = registers_instruction(&thread->saved) - span.start < span.end - span.start;
        } else {
            result = attach_look(plan, tid, &thread->saved, end, &span, 1) != ATTACH_SAFE;
        }
        let_go(thread, status);
    } else if (result == 0) {
        result = 1; /* it did not stop: it may be inside */
    }
    if (paused != NULL) *paused = leaks_now() - thread->began_ns;
    attach_end(thread);
    return result;
}
