/*
 * What differs between processors when a thread is stopped in a system call, and continues it: x86_64.c and aarch64.c.
 * For CLeaks and CAttach, which change the registers of a stopped thread; each call is for a thread that the caller
 * traces and that is stopped. Results are 0 or a negative errno.
 *
 * On x86-64 the kernel decides when the thread runs on whether to begin the call again, from two registers that a
 * tracer can set. On AArch64 it decides before the stop. So there the thread is looked at before the interruption,
 * which shows the call and its arguments.
 */
#ifndef HEAPSUM_LEAKS_REGISTERS_H
#define HEAPSUM_LEAKS_REGISTERS_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#define SYSTEM_CALL_STOP (SIGTRAP | 0x80) /* a stop at a call's entry or exit, with PTRACE_O_TRACESYSGOOD */
#define REGISTERS_VECTORS_MOST 16384      /* XSAVE's area with AMX takes 11 KB, SVE's longest registers 9 KB */

/* The system call in which a thread waited just before it was interrupted. */
struct registers_before {
    bool is_waiting;
    bool has_moved; /* it may have come back since, and wait again with another first argument */
    int64_t number;
    uint64_t arguments[6], stack_pointer, instruction;
    uint64_t sleeps; /* how often it had gone to sleep by then */
    uint64_t others; /* signals sent to the process that another of its threads takes */
};

#if defined(__x86_64__)
static inline uint64_t registers_instruction(const struct user_regs_struct *r) { return r->rip; }
static inline uint64_t registers_stack(const struct user_regs_struct *r) { return r->rsp; }
static inline int64_t registers_result(const struct user_regs_struct *r) { return (int64_t)r->rax; }
#elif defined(__aarch64__)
static inline uint64_t registers_instruction(const struct user_regs_struct *r) { return r->pc; }
static inline uint64_t registers_stack(const struct user_regs_struct *r) { return r->sp; }
static inline int64_t registers_result(const struct user_regs_struct *r) { return (int64_t)r->regs[0]; }
#else
#error "no stopped threads on this processor"
#endif

/* Whether a call's result says that the kernel begins the call again (ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND,
 * ERESTART_RESTARTBLOCK): a signal or a tracer's interruption came in between. Only a tracer sees these. The kernel
 * does so if no handler runs, when the thread goes on with the registers that it has. */
static inline bool registers_begins_again(const struct user_regs_struct *r) {
    const int64_t result = registers_result(r);
    return (result <= -512 && result >= -514) || result == -516;
}
/* A call's result as a program may see it: those of the kernel alone are -EINTR. */
static inline int64_t registers_answer(const struct user_regs_struct *r) {
    return registers_begins_again(r) ? -EINTR : registers_result(r);
}
#define REGISTERS_AGAIN_MOST 8u /* how often a call of ours may begin again */

/* Looks at a thread that still runs or waits. x86-64 needs no look. */
void registers_look(pid_t pid, pid_t tid, struct registers_before *before);
/* Call it at the stop, when the registers were read: learns whether the thread has come back since the look. */
void registers_check(pid_t tid, const struct user_regs_struct *saved, struct registers_before *before);

/* -ENOEXEC: the thread runs in 32-bit mode. */
int registers_read(pid_t tid, struct user_regs_struct *registers);
int registers_write(pid_t tid, const struct user_regs_struct *registers);
/* The number of the system call that the thread was stopped in; negative: in none. */
int64_t registers_call(const struct user_regs_struct *registers, const struct registers_before *before);
/* Whether the thread's functions keep nothing below the stack pointer and in vector registers, because it makes a
 * system call. True also for calls that registers_call does not know. */
bool registers_is_in_call(pid_t tid, const struct user_regs_struct *registers, const struct registers_before *before);
/* Whether the thread is in a restartable sequence (rseq). Changed registers would break that unnoticed. */
bool registers_is_in_sequence(pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before);
/* The number of the call that a thread is in at its end (PTRACE_EVENT_EXIT); negative: in none, or unreadable. */
int64_t registers_ending_call(pid_t tid);
/* TPIDR_EL0 or the base of FS; 0: unreadable. */
uint64_t registers_thread_pointer(pid_t tid, const struct user_regs_struct *registers);

/*
 * The registers with which the thread continues an interrupted call. This is needed for calls that return EINTR on any
 * wake-up: the kernel does not begin those again. `is_used`: the thread has made another call since it was stopped, so
 * that the kernel has forgotten that it is to begin the first one again.
 */
struct user_regs_struct registers_resumed(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before, bool is_used);
/* Writes them, if they are others than the thread has now. Call it at once at the stop: if the tracer ends from then
 * on, the call still continues. And again before the thread is released: a signal may have come in, which ends the
 * call. */
static inline void registers_resume(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before, bool is_used) {
    const struct user_regs_struct resumed = registers_resumed(tid, saved, before, is_used);
    struct user_regs_struct now;
    if (registers_read(tid, &now) == 0 && memcmp(&resumed, &now, sizeof resumed) != 0) registers_write(tid, &resumed);
}
/*
 * For a process whose threads are released one after another. Only one of them may return EINTR for a signal that was
 * sent to the process: the first that would handle it. shared: such signals that wait; 0: the others need not be
 * called. takes: those that this thread will take, without those in `others`. await: waits until it has taken one, or
 * some milliseconds; returns those that it still has to take, for `others` of the threads behind it. On x86-64 the
 * kernel decides, and all return 0.
 */
uint64_t registers_shared(pid_t pid);
uint64_t registers_takes(pid_t tid, uint64_t others);
uint64_t registers_await(pid_t pid, uint64_t takes);
/*
 * Prepares a thread that is stopped at a signal's delivery, before it goes on with the signal. A traced thread is also
 * woken by a signal that the program ignores, which would not have ended its call: the call begins again. If there is a
 * handler, the call returns EINTR, as it would have. On AArch64 this does nothing: the first argument is lost by then.
 */
void registers_deliver(pid_t tid, int signal);
/* Whether the thread has to be led into its call by registers_enter. */
bool registers_need_entry(const struct user_regs_struct *saved, const struct registers_before *before, bool is_used);
/*
 * Lets a thread with the registers of registers_resumed run to the entry of its call, with its signals blocked if one
 * waits, and unblocks them there: the kernel ends the call, or begins it again, as the signals say that came in since.
 * The thread may then be detached, which interrupts the call once more. Returns the signal to detach with, or 0.
 */
int registers_enter(pid_t tid);
/* The same state for a thread that begins the call with all its arguments, from a signal's frame. */
struct user_regs_struct registers_again(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before);

/* Sets a system call. The stack pointer is 0 and there is nothing to return to, unless the caller sets them. */
void registers_set_call(
    struct user_regs_struct *registers, uint64_t instruction, long number, const uint64_t arguments[6]);

/* The vector registers as ptrace has them, and their kind (NT_…). Returns their bytes, or a negative errno. */
ssize_t registers_read_vectors(pid_t tid, uint8_t area[REGISTERS_VECTORS_MOST], unsigned *kind);

/* Writes them back where a system call does not keep them: AArch64's that are longer than 16 bytes. */
void registers_write_vectors(pid_t tid, const uint8_t *area, size_t bytes, unsigned kind);

#if defined(__aarch64__)
#define REGISTERS_NO_VECTOR SIZE_MAX
/* Where a vector register begins in that area; REGISTERS_NO_VECTOR: it is not there. */
size_t registers_vector_at(const uint8_t *area, size_t bytes, unsigned kind, unsigned number);
#endif

struct leaks_thread;
/* Adds what functions keep for their callers in vector registers to the words of `shown`. */
void registers_show_kept(struct leaks_thread *shown, const uint8_t *area, size_t bytes, unsigned kind);

#endif
