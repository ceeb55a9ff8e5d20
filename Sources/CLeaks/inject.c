/*
 * A system call in a thread of a stopped process, of which the program notices nothing, also if this tool is killed at
 * any instant.
 *
 * The call returns into a signal frame below what the thread's stack has in use, and so the thread gives itself its
 * registers, vector registers and signal mask back. Normally that does not happen: the tool restores them, and the
 * bytes of the stack, while the thread is still stopped. A child that clone makes gets a frame of its own, which leads
 * to exit_group: it ends without a core file, and no handler of the program runs in it.
 *
 * Without room for a frame the call is made with stack pointer 0, and nothing to return to. If this tool is killed
 * during such a call, the program ends; so does the child.
 *
 * The thread's signals are blocked meanwhile, because their handlers would run too early, or in the child. With a frame
 * the registers come before the signal mask, which they bring back; without one they come behind it, because a handler
 * can't run without a stack.
 */
#include "inject.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frame.h"

int inject_wait(const struct leaks_stop *stop, pid_t tid, int *status) {
    int waited;
    /* A large process takes its time to clone, and a busy machine too: then the thread runs, now and then. */
    do waited = leaks_wait_awake(tid, status, INJECT_ASLEEP_NS);
    while (waited == 0 && stop->injection.under == NULL);
    return waited == 0 ? -ETIMEDOUT : waited;
}

int inject_abandon_if_gone(struct tracee *thread, int result) {
    if (result == -ESRCH || result == -ETIMEDOUT) thread->is_seized = false;
    if (result == -ETIMEDOUT && thread->is_to_stop) syscall(SYS_tkill, thread->shown.tid, SIGSTOP);
    return result;
}

bool inject_postpone(struct tracee *thread, int status) {
    if (status >> 16 != 0 || WSTOPSIG(status) != SIGSTOP) return false;
    return thread->is_to_stop = true;
}

ssize_t frame_copy(pid_t tid, uint64_t address, const void *buffer, size_t count) {
    struct iovec here = {(void *)(uintptr_t)buffer, count}, there = {(void *)(uintptr_t)address, count};
    ssize_t done = process_vm_writev(tid, &here, 1, &there, 1, 0);
    return done < 0 ? -errno : done;
}

/* Gives the stack back what was in it. */
static void put_stack_back(struct leaks_stop *stop) {
    struct injection *injection = &stop->injection;
    const pid_t tid = stop->threads[stop->injected].shown.tid;
    if (injection->under != NULL) frame_copy(tid, injection->under_at, injection->under, injection->under_bytes);
    free(injection->under);
    injection->under = NULL;
}

/* Writes the frames for the thread and for its child. */
static int write_frames(struct leaks_stop *stop, const struct tracee *thread, const struct leaks_code *code,
    uint64_t floor, struct frame_place *home, struct frame_place *child) {
    struct injection *injection = &stop->injection;
    const struct frame_state state = {.tid = thread->shown.tid,
        .code = *code,
        .mask = injection->mask,
        .saved = &thread->saved,
        .vectors = thread->vectors,
        .vector_bytes = thread->shown.vector_bytes,
        .vector_kind = thread->vector_kind};
    struct frame_state ending = state;
    ending.mask = ~0ull;
    if (state.vectors == NULL || !frame_can_hold(&state)) return -EFAULT;
    /* The thread's own is the lowest: the stack pointer leads there, and a signal's frame would go below it. */
    *child = frame_on_stack(&state);
    *home = frame_below(*child);
    const uint64_t top = frame_end(&state), room = FRAME_ROOM + thread->shown.vector_bytes;
    if (home->frame < floor || home->frame - floor < room || home->frame > top) return -EFAULT;
    injection->under_at = home->frame;
    injection->under_bytes = (size_t)(top - home->frame);
    free(injection->under);
    injection->under = malloc(injection->under_bytes);
    if (injection->under == NULL) return -EFAULT;
    struct iovec here = {injection->under, injection->under_bytes};
    struct iovec there = {(void *)(uintptr_t)injection->under_at, injection->under_bytes};
    if (process_vm_readv(thread->shown.tid, &here, 1, &there, 1, 0) != (ssize_t)injection->under_bytes) {
        free(injection->under);
        injection->under = NULL;
        return -EFAULT;
    }
    const struct user_regs_struct again = registers_again(thread->shown.tid, &thread->saved, &thread->before);
    struct user_regs_struct end = thread->saved;
    const uint64_t none[6] = {0};
    registers_set_call(&end, code->system_call, SYS_exit_group, none);
    int result = frame_write(&ending, *child, &end);
    if (result == 0) result = frame_write(&state, *home, &again);
    if (result < 0) put_stack_back(stop);
    return result;
}

int inject_begin(struct leaks_stop *stop, struct tracee *thread, const struct leaks_code *code, uint64_t floor,
    long number, const uint64_t arguments[4]) {
    const pid_t tid = thread->shown.tid;
    const uint64_t all = ~0ull;
    struct frame_place home = {0}, child = {0};
    stop->injected = (size_t)(thread - stop->threads);
    if (ptrace(PTRACE_GETSIGMASK, tid, 8ul, &stop->injection.mask) != 0) return -errno;
    if (floor != 0) {
        int result = write_frames(stop, thread, code, floor, &home, &child);
        if (result < 0) return result;
    }
    uint64_t six[6] = {0};
    for (int i = 0; i < 4; i++) six[i] = arguments[i] == INJECT_CHILD ? child.frame : arguments[i];
    struct user_regs_struct registers = thread->saved;
    if (floor != 0) frame_set_system_call(&registers, code, home.frame, number, six);
    else registers_set_call(&registers, code->system_call, number, six);
    thread->is_used = true;
    if (ptrace(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) != 0
        || (floor == 0 && ptrace(PTRACE_SETSIGMASK, tid, 8ul, &all) != 0) || registers_write(tid, &registers) != 0
        || (floor != 0 && ptrace(PTRACE_SETSIGMASK, tid, 8ul, &all) != 0) || ptrace(PTRACE_SYSCALL, tid, 0, 0) != 0) {
        int error = errno;
        inject_end(stop, false);
        return -error;
    }
    int status;
    do {
        const int waited = inject_wait(stop, tid, &status);
        if (waited < 0) return waited;
    } while (inject_postpone(thread, status) && ptrace(PTRACE_SYSCALL, tid, 0, 0) == 0);
    if (WSTOPSIG(status) == SYSTEM_CALL_STOP) return 0;
    thread->is_job_stopped |= leaks_event_of(tid, status) == LEAKS_EVENT_GROUP_STOP;
    /* It stopped for another reason before the call: nothing has happened yet. */
    int result = inject_end(stop, status >> 16 != PTRACE_EVENT_STOP);
    return result < 0 ? result : -EAGAIN;
}

/* Runs the thread into the kind of stop in which it was found: there the kernel restarts the call that the interruption
 * ended. */
static int run_to_stop(const struct leaks_stop *stop, struct tracee *thread) {
    const pid_t tid = thread->shown.tid;
    int status;
    if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0 || ptrace(PTRACE_CONT, tid, 0, 0) != 0) return -errno;
    for (;;) {
        const int waited = inject_wait(stop, tid, &status);
        if (waited < 0) return waited;
        if (status >> 16 == PTRACE_EVENT_STOP) return 0;
        inject_postpone(thread, status);
        if (ptrace(PTRACE_CONT, tid, 0, 0) != 0) return -errno;
    }
}

int inject_end(struct leaks_stop *stop, bool is_in_call) {
    struct tracee *thread = &stop->threads[stop->injected];
    const pid_t tid = thread->shown.tid;
    int result = is_in_call ? run_to_stop(stop, thread) : 0;
    if (result == 0) {
        /* The registers come last: until then the frame has the same state. The stack comes behind them. */
        const struct user_regs_struct resumed = registers_resumed(tid, &thread->saved, &thread->before, true);
        if (thread->vectors != NULL)
            registers_write_vectors(tid, thread->vectors, thread->shown.vector_bytes, thread->vector_kind);
        if (ptrace(PTRACE_SETSIGMASK, tid, 8ul, &stop->injection.mask) != 0) result = -errno;
        const int written = registers_write(tid, &resumed);
        if (written == 0) put_stack_back(stop);
        else result = written;
        ptrace(PTRACE_SETOPTIONS, tid, 0, 0);
    }
    free(stop->injection.under);
    stop->injection.under = NULL;
    return result;
}
