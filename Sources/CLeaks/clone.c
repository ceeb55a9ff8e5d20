/*
 * A snapshot of a stopped process: one of its threads is made to call clone(CLONE_FILES). The child shares all pages
 * copy-on-write and never runs, so its memory is the program's memory at that instant, and can be read without hurry.
 *
 * Hazards: the call is made with stack pointer 0, and nothing to return to. If this tool is killed during it, the child
 * dies at its first instructions instead of running as a second program. The thread's signals are blocked meanwhile,
 * because a handler must not run on the injected registers. A thread that is in a system call is preferred: it can't be
 * in a restartable sequence (rseq), which changed registers would break unnoticed. Only the clone gets
 * PTRACE_O_EXITKILL: the program must outlive the tool.
 */
#include "stop.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SYSTEM_CALL_STOP (SIGTRAP | 0x80)

bool leaks_wait(pid_t tid, int *status) {
    for (;;) {
        pid_t found = waitpid(tid, status, __WALL);
        if (found > 0) return WIFSTOPPED(*status);
        if (errno != EINTR) return false;
    }
}

int leaks_inject(
    struct tracee *thread, uint64_t system_call, long number, const uint64_t arguments[4], uint64_t *mask) {
    const struct user_regs_struct *saved = &thread->saved;
    const pid_t tid = thread->shown.tid;
    if (ptrace(PTRACE_GETSIGMASK, tid, 8ul, mask) != 0) return -errno;
    uint64_t all = ~0ull;
    if (ptrace(PTRACE_SETSIGMASK, tid, 8ul, &all) != 0) return -errno;
    struct user_regs_struct registers = *saved;
    const uint64_t six[6] = {arguments[0], arguments[1], arguments[2], arguments[3], 0, 0};
    registers_set_call(&registers, system_call, number, six);
    thread->is_used = true;
    int status;
    if (registers_write(tid, &registers) != 0
        || ptrace(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) != 0
        || ptrace(PTRACE_SYSCALL, tid, 0, 0) != 0) {
        int error = errno;
        registers_write(tid, saved);
        ptrace(PTRACE_SETSIGMASK, tid, 8ul, mask);
        return -error;
    }
    if (!leaks_wait(tid, &status)) return -ESRCH;
    if (WSTOPSIG(status) == SYSTEM_CALL_STOP) return 0;
    /* It stopped for another reason before the call: nothing has happened yet. */
    int result = leaks_restore(tid, saved, *mask, status >> 16 != PTRACE_EVENT_STOP);
    return result < 0 ? result : -EAGAIN;
}

int leaks_restore(pid_t tid, const struct user_regs_struct *saved, uint64_t mask, bool is_in_call) {
    if (is_in_call) {
        int status;
        /* Bring it into the kind of stop in which it was found: there the kernel restarts the call that the
         * interruption ended. */
        if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0 || ptrace(PTRACE_CONT, tid, 0, 0) != 0) return -errno;
        do {
            if (!leaks_wait(tid, &status)) return -ESRCH;
            if (status >> 16 == PTRACE_EVENT_STOP) break;
            if (ptrace(PTRACE_CONT, tid, 0, 0) != 0) return -errno;
        } while (true);
    }
    int result = registers_write(tid, saved);
    if (ptrace(PTRACE_SETSIGMASK, tid, 8ul, &mask) != 0 && result == 0) result = -errno;
    ptrace(PTRACE_SETOPTIONS, tid, 0, 0);
    return result;
}

int leaks_clone_begin(struct leaks_stop *stop, uint64_t system_call) {
    size_t chosen = stop->count;
    for (size_t i = 0; i < stop->count; i++) {
        const struct tracee *thread = &stop->threads[i];
        if (!thread->is_seized || !thread->is_trapped) continue;
        if (chosen == stop->count) chosen = i;
        if (thread->shown.in_system_call) {
            chosen = i;
            break;
        }
    }
    if (chosen == stop->count) return -EAGAIN;
    struct tracee *thread = &stop->threads[chosen];
    /* The clone shares the table of open files: a connection that the program closes meanwhile is really closed. */
    const uint64_t arguments[4] = {CLONE_FILES, 0, 0, 0};
    int result = leaks_inject(thread, system_call, SYS_clone, arguments, &stop->mask);
    if (result == -ESRCH) thread->is_seized = false;
    if (result < 0) return result;
    if (ptrace(PTRACE_SYSCALL, thread->shown.tid, 0, 0) != 0) return -errno;
    stop->injected = chosen;
    return 0;
}

pid_t leaks_clone_finish(struct leaks_stop *stop) {
    struct tracee *thread = &stop->threads[stop->injected];
    pid_t tid = thread->shown.tid, clone = -EIO;
    int status;
    if (!leaks_wait(tid, &status)) {
        thread->is_seized = false;
        return -ESRCH;
    }
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_CLONE << 8)) {
        unsigned long message = 0;
        ptrace(PTRACE_GETEVENTMSG, tid, 0, &message);
        clone = (pid_t)message;
        int first;
        if (leaks_wait(clone, &first)) ptrace(PTRACE_SETOPTIONS, clone, 0, PTRACE_O_EXITKILL);
        else clone = -ESRCH;
    } else if (WSTOPSIG(status) == SYSTEM_CALL_STOP) {
        struct user_regs_struct registers;
        if (registers_read(tid, &registers) == 0 && registers_result(&registers) < 0)
            clone = (pid_t)registers_result(&registers);
    }
    if (leaks_restore(tid, &thread->saved, stop->mask, true) == -ESRCH) thread->is_seized = false;
    return clone;
}

int leaks_end_clone(pid_t parent, pid_t clone, pid_t inner, uint64_t system_call) {
    int status;
    kill(clone, SIGKILL);
    while (waitpid(clone, &status, __WALL) < 0 && errno == EINTR) {}
    struct leaks_stop *stop;
    int result = leaks_stop_all(parent, &stop);
    if (result < 0) return result;
    result = -EAGAIN;
    for (size_t i = 0; i < stop->count && result != 0; i++) {
        struct tracee *thread = &stop->threads[i];
        if (!thread->is_seized || !thread->is_trapped) continue;
        const uint64_t arguments[4] = {(uint64_t)inner, 0, __WALL | WNOHANG, 0};
        uint64_t mask;
        result = leaks_inject(thread, system_call, SYS_wait4, arguments, &mask);
        if (result < 0) continue;
        if (ptrace(PTRACE_SYSCALL, thread->shown.tid, 0, 0) == 0 && leaks_wait(thread->shown.tid, &status))
            result = leaks_restore(thread->shown.tid, &thread->saved, mask, true);
    }
    leaks_go_on(stop);
    return result;
}
