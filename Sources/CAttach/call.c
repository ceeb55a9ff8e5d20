/*
 * Calls in a stopped thread of another process. The thread recovers even if this tool is killed during a call.
 *
 * A call returns into a signal frame that frame.h of CLeaks writes: the thread's saved state, in the layout that the
 * kernel writes before a signal handler. What it returns to is the code for rt_sigreturn, which restores the state:
 * registers, vectors, the signal mask. So a thread in a call restores itself if this tool is killed, or if the tool
 * gives up because the call takes too long. When a call is done, the thread first waits some seconds for the tool:
 * normally the tool restores the state by ptrace, which can also resume an interrupted system call.
 *
 * The tool does not stop the thread at each system call: each stop takes two context switches, and the library makes
 * about a hundred calls. Instead the thread writes to memory that the call is done.
 *
 * The first call, mmap, runs on the thread's own stack, below what is in use, and uses no more of it than a signal
 * would. It maps memory for the other calls: a stack, and the few instructions that save errno and store the answer.
 *
 * Signals are blocked during a call, because a handler must not run on the mapped stack. Signals that an instruction
 * can raise stay unblocked: the kernel would reset the handler of a blocked one.
 */
#include "code.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL_NS (2000 * 1000 * 1000ull) /* for mmap and munmap */

/* The region: code, the answer, the frame; room for arguments; and the stack. */
#define REGION_BYTES ATTACH_REGION_BYTES
#define ANSWER_AT 2048u /* the answer, whether it is there, and how long to wait for us */
#define WAIT_SECONDS 5
#define FRAME_AT 4096u
#define STACK_TOP (REGION_BYTES - 64u)

/*
 * Restores a thread that is in the same kind of stop in which it was found. There the kernel restarts the system call
 * that the interruption ended.
 *
 * The registers come last: if this tool ends before that, the thread still returns through the frame, and rt_sigreturn
 * restores the same state once more.
 */
static int restore(struct attach_thread *thread) {
    struct iovec vectors = {thread->vectors, thread->vector_bytes};
    const struct user_regs_struct resumed =
        registers_resumed(thread->tid, &thread->saved, &thread->before, thread->is_used);
    int result = 0;
    if (ptrace(PTRACE_SETREGSET, thread->tid, thread->vector_kind, &vectors) != 0) result = -errno;
    if (ptrace(PTRACE_SETSIGMASK, thread->tid, 8ul, &thread->mask) != 0 && result == 0) result = -errno;
    int written = registers_write(thread->tid, &resumed);
    ptrace(PTRACE_SETOPTIONS, thread->tid, 0, 0);
    return result < 0 ? result : written;
}

/* SIGSTOP can't be blocked: the thread gets it at its release. */
static void postpone(struct attach_thread *thread, int status) {
    if (status >> 16 == 0 && WSTOPSIG(status) == SIGSTOP) thread->is_to_stop = true;
}

/* Restores a thread from any other kind of stop. */
static int put_back(struct attach_thread *thread) {
    int status;
    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) != 0) return -errno;
    do {
        if (ptrace(PTRACE_CONT, thread->tid, 0, 0) != 0) return -errno;
        int waited = leaks_wait(thread->tid, &status, CALL_NS);
        if (waited <= 0) return waited == 0 ? -ETIMEDOUT : waited;
        postpone(thread, status);
    } while (status >> 16 != PTRACE_EVENT_STOP);
    return restore(thread);
}

/* Detaches from a thread in a call: it will restore its state by itself. */
static void abandon(struct attach_thread **thread) {
    int status;
    pid_t tid = (*thread)->tid;
    if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0 && leaks_wait(tid, &status, CALL_NS) > 0) {
        ptrace(PTRACE_SETOPTIONS, tid, 0, 0);
        if ((*thread)->is_to_stop) syscall(SYS_tkill, tid, SIGSTOP);
        ptrace(PTRACE_DETACH, tid, 0, 0);
    }
    attach_end(*thread);
    *thread = NULL;
}

static const uint64_t faults = 1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGILL - 1)
    | 1ull << (SIGFPE - 1) | 1ull << (SIGTRAP - 1) | 1ull << (SIGSYS - 1);

static bool is_fault(int status) {
    int signal = WSTOPSIG(status);
    return status >> 16 == 0 && signal < 64 && faults >> (signal - 1) & 1;
}

/* Gives the thread the registers of a call. The registers come before the signal mask: a thread with blocked signals
 * but without a frame to restore from could never recover by itself. */
static int set_off(struct attach_thread *thread, const struct user_regs_struct *registers) {
    uint64_t mask = ~faults | thread->mask;
    thread->is_used = true;
    if (ptrace(PTRACE_SETOPTIONS, thread->tid, 0, PTRACE_O_TRACESYSGOOD) != 0
        || registers_write(thread->tid, registers) != 0 || ptrace(PTRACE_SETSIGMASK, thread->tid, 8ul, &mask) != 0) {
        int error = errno;
        restore(thread);
        return -error;
    }
    return 0;
}

/* Lets the thread make one system call, and stores its result in *answer. */
static int run_system_call(struct attach_thread **at, const struct user_regs_struct *registers, int64_t *answer) {
    struct attach_thread *thread = *at;
    bool is_inside = false;
    unsigned again = 0;
    int status, result = set_off(thread, registers);
    while (result == 0) {
        if (ptrace(PTRACE_SYSCALL, thread->tid, 0, 0) != 0) return -errno;
        int waited = leaks_wait(thread->tid, &status, CALL_NS);
        if (waited == 0) abandon(at);
        if (waited <= 0) return waited == 0 ? -ETIMEDOUT : waited;
        if (is_fault(status)) { /* the injected code raised the signal: drop it */
            result = put_back(thread);
            return result < 0 ? result : -EFAULT;
        }
        postpone(thread, status);
        if (WSTOPSIG(status) != SYSTEM_CALL_STOP) continue;
        is_inside = !is_inside;
        if (is_inside) continue;
        struct user_regs_struct now;
        int read = registers_read(thread->tid, &now);
        if (read < 0) return read;
        if (registers_begins_again(&now) && again++ < REGISTERS_AGAIN_MOST) continue;
        *answer = registers_answer(&now);
        return put_back(thread);
    }
    return result;
}

/* Lets the thread make a call, and waits until the thread has written that it is done. */
static int run_call(struct attach_thread **at, const struct user_regs_struct *registers, uint64_t nanoseconds) {
    struct attach_thread *thread = *at;
    const uint64_t began = leaks_now(), done_at = thread->region + ANSWER_AT + 8;
    int status, result = set_off(thread, registers);
    if (result < 0) return result;
    if (ptrace(PTRACE_CONT, thread->tid, 0, 0) != 0) return -errno;
    for (unsigned turn = 0;; turn++) {
        uint64_t done = 0;
        pid_t found = waitpid(thread->tid, &status, __WALL | WNOHANG);
        if (found > 0) {
            if (!WIFSTOPPED(status)) return -ESRCH;
            if (is_fault(status)) {
                result = put_back(thread);
                return result < 0 ? result : -EFAULT;
            }
            postpone(thread, status);
            if (ptrace(PTRACE_CONT, thread->tid, 0, 0) != 0) return -errno;
        }
        if (found < 0 && errno != EINTR) return -ESRCH;
        if (attach_read(thread->plan.pid, done_at, &done, 8) == 8 && done != 0) break;
        if (leaks_now() - began > nanoseconds) {
            abandon(at);
            return -ETIMEDOUT;
        }
        if (turn > 20) usleep(20);
    }
    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) != 0) return -errno;
    int waited = leaks_wait(thread->tid, &status, CALL_NS);
    if (waited < 0) return waited;
    struct user_regs_struct now;
    if (waited == 0 || registers_read(thread->tid, &now) != 0
        || registers_instruction(&now) - thread->region >= ANSWER_AT) {
        /* The tool was too slow: the thread has stopped waiting, and has restored itself. */
        abandon(at);
        return -ETIMEDOUT;
    }
    return status >> 16 == PTRACE_EVENT_STOP ? restore(thread) : put_back(thread);
}

/* Writes the frame with which the thread goes on as if there had been no call. */
static int write_frame(const struct attach_thread *thread, struct frame_place place) {
    const struct frame_state state = attach_frame_state(thread);
    const struct user_regs_struct again = registers_again(thread->tid, &thread->saved, &thread->before);
    return frame_write(&state, place, &again);
}

int64_t attach_system_call(struct attach_thread **at, long number, const uint64_t arguments[6]) {
    struct attach_thread *thread = *at;
    const struct frame_state state = attach_frame_state(thread);
    struct frame_place place =
        thread->region != 0 ? frame_in_region(thread->region + FRAME_AT) : frame_on_stack(&state);
    int result = write_frame(thread, place);
    if (result < 0) return result;
    struct user_regs_struct r = thread->saved;
    frame_set_system_call(&r, &state.code, place.frame, number, arguments);
    int64_t answer = -EIO;
    result = run_system_call(at, &r, &answer);
    return result < 0 ? result : answer;
}

int attach_prepare(struct attach_thread **at) {
    if ((*at)->region != 0) return 0;
    const uint64_t arguments[6] = {
        0, REGION_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0};
    int64_t answer = attach_system_call(at, SYS_mmap, arguments);
    if (answer < 0) return (int)answer;
    (*at)->region = (uint64_t)answer;
    return 0;
}

int attach_call(
    struct attach_thread **at, uint64_t function, uint64_t one, uint64_t two, unsigned milliseconds, uint64_t *answer) {
    int made = attach_prepare(at);
    if (made < 0) return made;
    struct attach_thread *thread = *at;
    const struct frame_place place = frame_in_region(thread->region + FRAME_AT);
    const uint64_t answer_at = thread->region + ANSWER_AT;
    int result = write_frame(thread, place);
    if (result < 0) return result;
    const uint64_t answer_words[4] = {0, 0, WAIT_SECONDS, 0};
    if (attach_write(thread->plan.pid, answer_at, answer_words, sizeof answer_words) != sizeof answer_words)
        return -EFAULT;
    const struct code_call call = {
        thread->region, thread->region + STACK_TOP, function, one, two, answer_at, place.frame};
    struct user_regs_struct r = thread->saved;
    result = code_write(thread, &call, &r);
    if (result < 0) return result;
    result = run_call(at, &r, (uint64_t)milliseconds * 1000000);
    if (result < 0) return result;
    return attach_read((*at)->plan.pid, answer_at, answer, 8) == 8 ? 0 : -EFAULT;
}
