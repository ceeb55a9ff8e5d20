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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#define REGISTERS_VECTORS_MOST 16384 /* XSAVE's area with AMX takes 11 KB, SVE's longest registers 9 KB */

/* The system call in which a thread waited just before it was interrupted. */
struct registers_before {
    bool is_waiting;
    int64_t number;
    uint64_t arguments[6], stack_pointer, instruction;
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

/* Looks at a thread that still runs or waits. x86-64 needs no look. */
void registers_look(pid_t pid, pid_t tid, struct registers_before *before);

/* -ENOEXEC: the thread runs in 32-bit mode. */
int registers_read(pid_t tid, struct user_regs_struct *registers);
int registers_write(pid_t tid, const struct user_regs_struct *registers);
/* The number of the system call that the thread was stopped in; negative: in none. */
int64_t registers_call(const struct user_regs_struct *registers, const struct registers_before *before);
/* Whether the thread's functions keep nothing below the stack pointer and in vector registers, because it makes a
 * system call. True also for calls that registers_call does not know. */
bool registers_is_in_call(pid_t tid, const struct user_regs_struct *registers, const struct registers_before *before);
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
/* Writes them, if they are others than it has. */
static inline void registers_resume(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before, bool is_used) {
    const struct user_regs_struct resumed = registers_resumed(tid, saved, before, is_used);
    if (memcmp(&resumed, saved, sizeof resumed) != 0) registers_write(tid, &resumed);
}
/*
 * Prepares a thread that is stopped at a signal's delivery, before it goes on with the signal. A traced thread is also
 * woken by a signal that the program ignores, which would not have ended its call: the call begins again. If there is a
 * handler, the call returns EINTR, as it would have. On AArch64 this does nothing: the first argument is lost by then.
 */
void registers_deliver(pid_t tid, int signal);
/* Whether the thread has to be led into its call by registers_enter. */
bool registers_need_entry(const struct user_regs_struct *saved, const struct registers_before *before, bool is_used);
/*
 * Lets a thread with the registers of registers_resumed run to the entry of its call with its signals blocked, and
 * unblocks them there: the kernel ends the call, or begins it again, as the signals say that came in since. The thread
 * may then be detached, which interrupts the call once more. Returns the signal to detach with, or 0.
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

#if defined(__aarch64__)
#define REGISTERS_NO_VECTOR SIZE_MAX
/* Where a vector register begins in that area; REGISTERS_NO_VECTOR: it is not there. */
size_t registers_vector_at(const uint8_t *area, size_t bytes, unsigned kind, unsigned number);
#endif

struct leaks_thread;
/* Adds what functions keep for their callers in vector registers to the words of `shown`. */
void registers_show_kept(struct leaks_thread *shown, const uint8_t *area, size_t bytes, unsigned kind);

#endif
