/*
 * A snapshot of a stopped process: one of its threads is made to call clone(CLONE_FILES). The child shares all pages
 * copy-on-write and never runs, so its memory is the program's memory at that instant, and can be read without hurry.
 * inject.c makes the call.
 *
 * Only the clone gets PTRACE_O_EXITKILL: the program must outlive the tool. If the tool is killed before the clone has
 * got it, the clone ends at its first instructions: it must not run as a second program.
 */
#include "inject.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static bool is_usable(const struct tracee *thread) { return thread->is_seized && thread->is_trapped; }

/* Whether the kernel hands the thread's calls to a handler of its own (syscall user dispatch: Wine, emulators). */
static bool is_dispatched(pid_t tid) {
    struct {
        uint64_t mode, selector, offset, length;
    } dispatch = {0};
    return ptrace(0x4211 /* PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG */, tid, sizeof dispatch, &dispatch) == 0
        && dispatch.mode != 0;
}

/* Whether the thread is where it can't be led elsewhere unnoticed: in a restartable sequence, or in a call by the same
 * instruction, where the kernel might take our call for the one to begin again. */
static bool is_tied(const struct tracee *thread, const struct leaks_code *code) {
    return registers_instruction(&thread->saved) == code->system_call
        || registers_is_in_sequence(thread->shown.tid, &thread->saved, &thread->before)
        || is_dispatched(thread->shown.tid);
}

/*
 * Begins a call in a thread that is stopped by an interruption, up to its entry. With a signal frame if a thread has
 * room for it; else without, and then the program ends if this tool is killed during the call. A thread that is in a
 * system call is preferred, and one in a restartable sequence is never taken.
 */
static int begin(struct leaks_stop *stop, const struct leaks_code *code, const uint64_t *floors, long number,
    const uint64_t arguments[4]) {
    enum { IN_CALL, FRAMED, ANY_IN_CALL, ANY, WAYS };
    int result = -EAGAIN;
    unsigned again = 0; /* a SIGCONT stops it before the call */
    for (int way = floors != NULL && code->signal_return != 0 ? IN_CALL : ANY_IN_CALL; way < WAYS; way++) {
        for (size_t i = 0; i < stop->count; i++) {
            struct tracee *thread = &stop->threads[i];
            if (!is_usable(thread) || (thread->shown.in_system_call != 0) != (way == IN_CALL || way == ANY_IN_CALL))
                continue;
            const uint64_t floor = way <= FRAMED ? floors[i] : 0;
            if ((way <= FRAMED && floor == 0) || is_tied(thread, code)) continue;
            do result = inject_abandon_if_gone(thread, inject_begin(stop, thread, code, floor, number, arguments));
            while (result == -EAGAIN && !thread->is_job_stopped && again++ < REGISTERS_AGAIN_MOST);
            if (result == 0) stop->injected = i;
            /* Its stack can't be written, or it was killed just now: another one. */
            if (result != -EFAULT && result != -ESRCH) return result;
        }
    }
    return result;
}

int leaks_clone_begin(struct leaks_stop *stop, const struct leaks_code *code, const uint64_t *floors) {
    /* The clone shares the table of open files: a connection that the program closes meanwhile is really closed. */
    const uint64_t arguments[4] = {CLONE_FILES, INJECT_CHILD, 0, 0};
    int result = begin(stop, code, floors, SYS_clone, arguments);
    if (result < 0) return result;
    return ptrace(PTRACE_SYSCALL, stop->threads[stop->injected].shown.tid, 0, 0) == 0 ? 0 : -errno;
}

/* The clone that a thread has just made: its PID, or a negative errno. */
static pid_t take_clone(struct leaks_stop *stop, pid_t tid) {
    unsigned long message = 0;
    int first;
    if (ptrace(PTRACE_GETEVENTMSG, tid, 0, &message) != 0) return -errno;
    const pid_t clone = (pid_t)message;
    const int waited = inject_wait(stop, clone, &first);
    if (waited < 0) return waited;
    ptrace(PTRACE_SETOPTIONS, clone, 0, PTRACE_O_EXITKILL);
    return clone;
}

/*
 * Waits until a thread that is in clone has made it, or has the kernel's answer. A signal that waits makes clone return
 * at once, also SIGSTOP and SIGCONT, which can't be blocked. The kernel then begins it again when the thread goes on.
 */
static pid_t await_clone(struct leaks_stop *stop, struct tracee *thread) {
    const pid_t tid = thread->shown.tid;
    bool is_inside = true;
    unsigned again = 0;
    for (;;) {
        int status;
        const int waited = inject_abandon_if_gone(thread, inject_wait(stop, tid, &status));
        if (waited < 0) return waited;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_CLONE << 8)) return take_clone(stop, tid);
        if (WSTOPSIG(status) == SYSTEM_CALL_STOP) {
            if (is_inside) {
                struct user_regs_struct registers;
                const int read = registers_read(tid, &registers);
                if (read < 0) return read;
                const int64_t answer = registers_answer(&registers);
                /* At this stop it can be led home without another try. */
                if (!registers_begins_again(&registers) || again++ == REGISTERS_AGAIN_MOST)
                    return answer < 0 ? (pid_t)answer : -EIO;
            }
            is_inside = !is_inside;
        } else if (!inject_postpone(thread, status) && leaks_event_of(tid, status) != LEAKS_EVENT_INTERRUPTED) {
            thread->is_job_stopped |= leaks_event_of(tid, status) == LEAKS_EVENT_GROUP_STOP;
            return -EINTR;
        }
        if (ptrace(PTRACE_SYSCALL, tid, 0, 0) != 0) return -errno;
    }
}

pid_t leaks_clone_finish(struct leaks_stop *stop) {
    struct tracee *thread = &stop->threads[stop->injected];
    const pid_t clone = await_clone(stop, thread);
    if (thread->is_seized) inject_abandon_if_gone(thread, inject_end(stop, true));
    return clone;
}

void leaks_kill_clone(pid_t clone) {
    int status, waited;
    kill(clone, SIGKILL);
    /* If it is frozen it ends later. */
    do waited = leaks_wait(clone, &status, INJECT_ASLEEP_NS);
    while (waited > 0);
}

int leaks_wait_for(struct leaks_stop *stop, pid_t inner, const struct leaks_code *code, const uint64_t *floors) {
    int status;
    const uint64_t arguments[4] = {(uint64_t)inner, 0, __WALL | WNOHANG, 0};
    int result = begin(stop, code, floors, SYS_wait4, arguments);
    if (result < 0) return result;
    struct tracee *thread = &stop->threads[stop->injected];
    if (ptrace(PTRACE_SYSCALL, thread->shown.tid, 0, 0) != 0) return -errno;
    result = inject_abandon_if_gone(thread, inject_wait(stop, thread->shown.tid, &status));
    if (result < 0) return result;
    struct user_regs_struct registers;
    int64_t answer = -EIO;
    if (WSTOPSIG(status) == SYSTEM_CALL_STOP && registers_read(thread->shown.tid, &registers) == 0)
        answer = registers_answer(&registers);
    result = inject_abandon_if_gone(thread, inject_end(stop, true));
    if (result < 0) return result;
    /* 0: it is no zombie yet. If it is no child any more, the program itself has waited for it. */
    return answer == inner || answer == -ECHILD ? 0 : answer < 0 ? (int)answer : -EAGAIN;
}
