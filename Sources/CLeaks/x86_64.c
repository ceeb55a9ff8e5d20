/* The registers of a stopped thread: x86-64. See registers.h. */
#if defined(__x86_64__)

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "leaks.h"
#include "registers.h"
#include "restartable.h"

#define ERESTARTNOHAND_KERNEL 514 /* internal to the kernel, never seen by a program */

static const char *const names[LEAKS_REGISTERS] = {"r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8",
    "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es",
    "fs", "gs"};
_Static_assert(sizeof(struct user_regs_struct) == LEAKS_REGISTERS * 8, "the kernel's order of registers");

const char *leaks_register_name(size_t number) { return number < LEAKS_REGISTERS ? names[number] : ""; }

void registers_look(pid_t pid, pid_t tid, struct registers_before *before) { (void)pid, (void)tid, (void)before; }
void registers_check(pid_t tid, const struct user_regs_struct *saved, struct registers_before *before) {
    (void)tid, (void)saved, (void)before;
}
uint64_t registers_shared(pid_t pid) { return (void)pid, 0; }
uint64_t registers_takes(pid_t tid, uint64_t others) { return (void)tid, (void)others, 0; }
uint64_t registers_await(pid_t pid, uint64_t takes) { return (void)pid, (void)takes, 0; }

int registers_read(pid_t tid, struct user_regs_struct *registers) {
    struct iovec area = {registers, sizeof *registers};
    if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &area) != 0) return -errno;
    return area.iov_len != sizeof *registers || registers->cs == 0x23 ? -ENOEXEC : 0;
}

int registers_write(pid_t tid, const struct user_regs_struct *registers) {
    return ptrace(PTRACE_SETREGS, tid, 0, registers) == 0 ? 0 : -errno;
}

int64_t registers_call(const struct user_regs_struct *registers, const struct registers_before *before) {
    (void)before;
    return (int64_t)registers->orig_rax;
}

bool registers_is_in_call(pid_t tid, const struct user_regs_struct *registers, const struct registers_before *before) {
    return (void)tid, registers_call(registers, before) >= 0;
}

int64_t registers_ending_call(pid_t tid) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, tid, 0, &registers) != 0) return -errno;
    return (int64_t)registers.orig_rax;
}

uint64_t registers_thread_pointer(pid_t tid, const struct user_regs_struct *registers) {
    (void)tid;
    return registers->fs_base;
}

/* The kernel restarts the call for this result, or returns EINTR if a signal with a handler has arrived meanwhile. */
struct user_regs_struct registers_resumed(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before, bool is_used) {
    struct user_regs_struct registers = *saved;
    (void)tid, (void)before, (void)is_used;
    if ((long)registers.orig_rax >= 0 && (long)registers.rax == -EINTR && is_restartable(registers.orig_rax))
        registers.rax = (unsigned long long)-ERESTARTNOHAND_KERNEL;
    return registers;
}

void registers_deliver(pid_t tid, int signal) {
    struct user_regs_struct saved;
    /* A stop by job control ends such a call, traced or not. */
    if (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) return;
    if (registers_read(tid, &saved) == 0) registers_resume(tid, &saved, NULL, false);
}

bool registers_need_entry(const struct user_regs_struct *saved, const struct registers_before *before, bool is_used) {
    return (void)saved, (void)before, (void)is_used, false;
}

int registers_enter(pid_t tid) { return (void)tid, 0; }

/* rt_sigreturn does not restart a system call: the call begins again at its instruction. */
struct user_regs_struct registers_again(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before) {
    struct user_regs_struct registers = registers_resumed(tid, saved, before, true);
    if ((long)registers.orig_rax >= 0 && registers_begins_again(&registers)) {
        registers.rax = registers.orig_rax;
        registers.rip -= 2;
    }
    return registers;
}

void registers_set_call(
    struct user_regs_struct *registers, uint64_t instruction, long number, const uint64_t arguments[6]) {
    registers->rip = instruction;
    registers->rax = (unsigned long long)number;
    registers->orig_rax = ~0ull; /* the kernel must restart no call */
    registers->rdi = arguments[0];
    registers->rsi = arguments[1];
    registers->rdx = arguments[2];
    registers->r10 = arguments[3];
    registers->r8 = arguments[4];
    registers->r9 = arguments[5];
    registers->rsp = 0;
}

ssize_t registers_read_vectors(pid_t tid, uint8_t area[REGISTERS_VECTORS_MOST], unsigned *kind) {
    struct iovec vectors = {area, REGISTERS_VECTORS_MOST};
    *kind = NT_X86_XSTATE;
    return ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &vectors) == 0 ? (ssize_t)vectors.iov_len : -errno;
}

void registers_write_vectors(pid_t tid, const uint8_t *area, size_t bytes, unsigned kind) {
    (void)tid, (void)area, (void)bytes, (void)kind;
}

/* None. */
void registers_show_kept(struct leaks_thread *shown, const uint8_t *area, size_t bytes, unsigned kind) {
    (void)shown, (void)area, (void)bytes, (void)kind;
}

#endif
