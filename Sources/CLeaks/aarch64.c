/*
 * The registers of a stopped thread: AArch64. See registers.h.
 *
 * At the stop of an interrupted call the kernel has already forgotten the call. It has set the program counter back to
 * the `svc` and x0 to its first argument, if the call is one that it begins again; else x0 is the result -EINTR, and
 * the first argument is nowhere. /proc/PID/task/TID/syscall has it, as long as the thread waits. So a thread is known
 * to be in a call only if it waited in one just before, with the same stack pointer, arguments and place.
 */
#if defined(__aarch64__)

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "leaks.h"
#include "registers.h"
#include "restartable.h"

#define NT_TLS 0x401
#define NT_SYSTEM_CALL 0x404
#define NT_SVE 0x405
#define SVC 0xD4000001u /* svc #0 */
#define SVC_BYTES 4u
#define BRANCH_TYPE 0xC00ull /* of the processor's state: set, the next instruction must be a place to branch to */

const char *leaks_register_name(size_t number) {
    static const char *const names[LEAKS_REGISTERS] = {"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9",
        "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25",
        "x26", "x27", "x28", "x29", "x30", "sp", "pc", "pstate", "d8", "d9", "d10", "d11", "d12", "d13", "d14", "d15"};
    return number < LEAKS_REGISTERS ? names[number] : "";
}

/* Calls for a relative time. The kernel knows how much of it is left, and goes on with restart_syscall. */
static bool has_time_left(const struct registers_before *before) {
    switch (before->number) {
        case SYS_nanosleep: return true;
        case SYS_clock_nanosleep: return (before->arguments[1] & TIMER_ABSTIME) == 0;
        case SYS_futex: return (before->arguments[1] & 127) == 0 /* FUTEX_WAIT */ && before->arguments[3] != 0;
        default: return false;
    }
}

/* Reads the call in which the thread waits. The kernel does so only while it sleeps. */
static bool read_call(pid_t pid, pid_t tid, struct registers_before *before) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)pid, (int)tid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    long long number;
    unsigned long long words[8];
    if (sscanf(text, "%lld %llx %llx %llx %llx %llx %llx %llx %llx", &number, &words[0], &words[1], &words[2],
            &words[3], &words[4], &words[5], &words[6], &words[7])
            != 9
        || number < 0)
        return false;
    before->number = number;
    for (int i = 0; i < 6; i++) before->arguments[i] = words[i];
    before->stack_pointer = words[6];
    before->instruction = words[7];
    return true;
}

/* What /proc/TID/status has of a thread. */
struct status {
    unsigned long long own, shared, blocked, caught; /* signals */
    unsigned long long sleeps;
};

static bool read_status(pid_t tid, struct status *status) {
    char path[64], line[128];
    *status = (struct status){0};
    bool is_whole = false;
    snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] != 'S' && line[0] != 'v') continue;
        sscanf(line, "SigPnd: %llx", &status->own);
        sscanf(line, "ShdPnd: %llx", &status->shared);
        sscanf(line, "SigBlk: %llx", &status->blocked);
        sscanf(line, "SigCgt: %llx", &status->caught);
        is_whole |= sscanf(line, "voluntary_ctxt_switches: %llu", &status->sleeps) == 1;
    }
    fclose(file);
    return is_whole;
}

/*
 * Of a call that returns EINTR the first argument is lost at the stop, and the thread may come back between the look
 * and the stop, and wait in the same call again. The kernel counts how often a thread goes to sleep. If the count is
 * the same before and after the look, the thread was in one and the same sleep; and the stop itself is the only other
 * sleep if the count is higher by one then. A call that was woken and went to sleep again without coming back counts
 * more, and then returns EINTR.
 */
void registers_look(pid_t pid, pid_t tid, struct registers_before *before) {
    *before = (struct registers_before){.is_waiting = false};
    before->is_waiting = read_call(pid, tid, before);
    if (!before->is_waiting || !is_restartable(before->number)) return;
    struct status one, two;
    for (int turn = 0; turn < 3; turn++) {
        if (!read_status(tid, &one)) break;
        before->is_waiting = read_call(pid, tid, before);
        if (!before->is_waiting || !read_status(tid, &two)) break;
        before->sleeps = two.sleeps;
        if (one.sleeps == two.sleeps) return;
    }
    before->has_moved = true;
}

int registers_read(pid_t tid, struct user_regs_struct *registers) {
    struct iovec area = {registers, sizeof *registers};
    if (ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &area) != 0) return -errno;
    /* A 32-bit thread has another set of registers, and bit 4 of the state. */
    return area.iov_len != sizeof *registers || registers->pstate & 16 ? -ENOEXEC : 0;
}

int registers_write(pid_t tid, const struct user_regs_struct *registers) {
    struct iovec area = {(void *)(uintptr_t)registers, sizeof *registers};
    return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &area) == 0 ? 0 : -errno;
}

/* Whether the thread is still in the call in which it waited. */
static bool is_same(const struct user_regs_struct *registers, const struct registers_before *before) {
    if (!before->is_waiting || registers->sp != before->stack_pointer
        || registers->regs[8] != (unsigned long long)before->number)
        return false;
    for (int i = 1; i < 6; i++)
        if (registers->regs[i] != before->arguments[i]) return false;
    return registers->pc == before->instruction
        || (registers->pc == before->instruction - SVC_BYTES && registers->regs[0] == before->arguments[0]);
}

int64_t registers_call(const struct user_regs_struct *registers, const struct registers_before *before) {
    return is_same(registers, before) ? before->number : -1;
}

bool registers_is_in_call(pid_t tid, const struct user_regs_struct *registers, const struct registers_before *before) {
    if (is_same(registers, before) || registers_ending_call(tid) >= 0) return true;
    uint32_t code = 0;
    struct iovec here = {&code, sizeof code}, there = {(void *)(uintptr_t)registers->pc, sizeof code};
    return process_vm_readv(tid, &here, 1, &there, 1, 0) == sizeof code && code == SVC;
}

int64_t registers_ending_call(pid_t tid) {
    int number = -1;
    struct iovec area = {&number, sizeof number};
    return ptrace(PTRACE_GETREGSET, tid, NT_SYSTEM_CALL, &area) == 0 ? number : -errno;
}

uint64_t registers_thread_pointer(pid_t tid, const struct user_regs_struct *registers) {
    uint64_t pointer = 0;
    struct iovec area = {&pointer, sizeof pointer};
    (void)registers;
    return ptrace(PTRACE_GETREGSET, tid, NT_TLS, &area) == 0 ? pointer : 0;
}

static bool was_interrupted(const struct user_regs_struct *saved, const struct registers_before *before) {
    return is_same(saved, before) && saved->pc == before->instruction && (long long)saved->regs[0] == -EINTR
        && is_restartable(before->number) && !before->has_moved;
}

void registers_check(pid_t tid, const struct user_regs_struct *saved, struct registers_before *before) {
    struct status status;
    if (was_interrupted(saved, before) && (!read_status(tid, &status) || status.sleeps != before->sleeps + 1))
        before->has_moved = true;
}

/* Whether a signal has come in that the thread would handle now. Then EINTR is what the call would have returned. */
static bool has_signal(pid_t tid, uint64_t others) {
    struct status status;
    return read_status(tid, &status)
        && ((status.own | (status.shared & ~others)) & ~status.blocked & status.caught) != 0;
}

uint64_t registers_shared(pid_t pid) {
    struct status status;
    return read_status(pid, &status) ? status.shared : 0;
}

uint64_t registers_takes(pid_t tid, uint64_t others) {
    struct status status;
    return read_status(tid, &status) ? status.shared & ~others & ~status.blocked & status.caught : 0;
}

uint64_t registers_await(pid_t pid, uint64_t takes) {
    for (int turn = 0; turn < 100; turn++) {
        if ((registers_shared(pid) & takes) != takes) return 0;
        usleep(50);
    }
    return takes;
}

/*
 * A call that returned EINTR begins again. If a signal with a handler comes in after the look and before the thread is
 * detached, some microseconds later, the handler runs first, and the call doesn't end by it.
 */
struct user_regs_struct registers_resumed(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before, bool is_used) {
    struct user_regs_struct registers = *saved;
    if (was_interrupted(saved, before)) {
        if (has_signal(tid, before->others)) return registers;
        registers.pc -= SVC_BYTES;
        registers.regs[0] = before->arguments[0];
    } else if (is_used && is_same(saved, before) && saved->pc != before->instruction && has_time_left(before)) {
        registers.regs[8] = SYS_restart_syscall;
    }
    return registers;
}

void registers_deliver(pid_t tid, int signal) { (void)tid, (void)signal; }

bool registers_need_entry(const struct user_regs_struct *saved, const struct registers_before *before, bool is_used) {
    return is_used && is_same(saved, before) && saved->pc != before->instruction;
}

int registers_enter(pid_t tid) {
    uint64_t mask, all = ~0ull;
    int status, signal = 0;
    if (ptrace(PTRACE_GETSIGMASK, tid, 8ul, &mask) != 0) return 0;
    if (ptrace(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_TRACESYSGOOD) != 0) return 0;
    /* Only for a signal that waits: they would stay blocked if this tool were killed now. */
    const bool blocks = has_signal(tid, 0);
    if (blocks && ptrace(PTRACE_SETSIGMASK, tid, 8ul, &all) != 0) return 0;
    /* A second stop for the interruption that was asked for may come first. */
    for (int turn = 0; turn < 4; turn++) {
        if (ptrace(PTRACE_SYSCALL, tid, 0, 0) != 0) break;
        pid_t found;
        do found = waitpid(tid, &status, __WALL);
        while (found < 0 && errno == EINTR);
        if (found < 0 || !WIFSTOPPED(status)) return 0; /* it was killed */
        if (WSTOPSIG(status) == SYSTEM_CALL_STOP) break;
        if (status >> 16 == 0) { /* it is delivered, and the call begins after it */
            signal = WSTOPSIG(status);
            break;
        }
    }
    if (blocks) ptrace(PTRACE_SETSIGMASK, tid, 8ul, &mask);
    ptrace(PTRACE_SETOPTIONS, tid, 0, 0);
    return signal;
}

struct user_regs_struct registers_again(
    pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before) {
    return registers_resumed(tid, saved, before, false);
}

void registers_set_call(
    struct user_regs_struct *registers, uint64_t instruction, long number, const uint64_t arguments[6]) {
    registers->pc = instruction;
    registers->pstate &= ~BRANCH_TYPE;
    registers->regs[8] = (unsigned long long)number;
    for (int i = 0; i < 6; i++) registers->regs[i] = arguments[i];
    registers->regs[29] = registers->regs[30] = 0;
    registers->sp = 0;
}

ssize_t registers_read_vectors(pid_t tid, uint8_t area[REGISTERS_VECTORS_MOST], unsigned *kind) {
    struct iovec vectors = {area, REGISTERS_VECTORS_MOST};
    *kind = NT_SVE;
    if (ptrace(PTRACE_GETREGSET, tid, NT_SVE, &vectors) == 0) {
        /* The set's size is that of the longest registers: the header has how much there is. */
        uint32_t bytes;
        memcpy(&bytes, area, sizeof bytes);
        if (bytes > 16 && bytes <= vectors.iov_len) return bytes;
    }
    vectors = (struct iovec){area, REGISTERS_VECTORS_MOST};
    *kind = NT_PRFPREG;
    return ptrace(PTRACE_GETREGSET, tid, NT_PRFPREG, &vectors) == 0 ? (ssize_t)vectors.iov_len : -errno;
}

void registers_write_vectors(pid_t tid, const uint8_t *area, size_t bytes, unsigned kind) {
    struct iovec vectors = {(void *)(uintptr_t)area, bytes};
    if (kind == NT_SVE) ptrace(PTRACE_SETREGSET, tid, NT_SVE, &vectors);
}

size_t registers_vector_at(const uint8_t *area, size_t bytes, unsigned kind, unsigned number) {
    if (kind == NT_PRFPREG) return bytes >= 512 && number < 32 ? number * 16u : REGISTERS_NO_VECTOR;
    /* struct user_sve_header: sizes, then the registers' length in bytes and what the set has. */
    uint16_t length, flags;
    memcpy(&length, area + 8, sizeof length);
    memcpy(&flags, area + 12, sizeof flags);
    if ((flags & 1) == 0) length = 16;
    size_t at = 16 + (size_t)number * length;
    return number < 32 && at + 16 <= bytes ? at : REGISTERS_NO_VECTOR;
}

void registers_show_kept(struct leaks_thread *shown, const uint8_t *area, size_t bytes, unsigned kind) {
    for (unsigned i = 8; i < 16; i++) {
        size_t at = registers_vector_at(area, bytes, kind, i);
        if (at != REGISTERS_NO_VECTOR) memcpy(&shown->registers[26 + i], area + at, 8);
    }
}

#endif
