/*
 * Seccomp: a filter that a program sets for itself applies to us too. If the filter would kill the program for a call
 * that recording needs (madvise for the image's next page, mincore for a new stack's bounds, …), we report that and
 * stop recording before the filter is set. Any other filter does not matter. To find out, we run the filter as the
 * kernel will. It is a program for a small machine (linux/filter.h), and the kernel has not checked it yet, so we check
 * each of its accesses.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/atomics.h"
#include "base/next.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/system.h"
#include "hooks/sandbox.h"
#include "process/start.h"
#include "threads/hook.h"

/* A filter's answer for one system call; 0, which kills, if the filter is invalid. */
static uint32_t answer(const struct sock_fprog *program, const struct seccomp_data *data) {
    uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
    for (uint32_t at = 0; at < program->len; at++) { /* jumps only go forward, so this ends */
        const struct sock_filter *step = &program->filter[at];
        uint32_t k = step->k, operand = BPF_SRC(step->code) == BPF_X ? x : k;
        switch (BPF_CLASS(step->code)) {
            case BPF_LD:
            case BPF_LDX: {
                uint32_t value;
                if (BPF_MODE(step->code) == BPF_ABS && k <= sizeof *data - 4)
                    memcpy(&value, (const uint8_t *)data + k, 4);
                else if (BPF_MODE(step->code) == BPF_IMM) value = k;
                else if (BPF_MODE(step->code) == BPF_LEN) value = sizeof *data;
                else if (BPF_MODE(step->code) == BPF_MEM && k < BPF_MEMWORDS) value = memory[k];
                else return 0;
                if (BPF_CLASS(step->code) == BPF_LD) a = value;
                else x = value;
                break;
            }
            case BPF_ST:
            case BPF_STX:
                if (k >= BPF_MEMWORDS) return 0;
                memory[k] = BPF_CLASS(step->code) == BPF_ST ? a : x;
                break;
            case BPF_ALU:
                switch (BPF_OP(step->code)) {
                    case BPF_ADD: a += operand; break;
                    case BPF_SUB: a -= operand; break;
                    case BPF_MUL: a *= operand; break;
                    case BPF_DIV:
                        if (operand == 0) return 0;
                        a /= operand;
                        break;
                    case BPF_AND: a &= operand; break;
                    case BPF_OR: a |= operand; break;
                    case BPF_XOR: a ^= operand; break;
                    case BPF_LSH: a = operand < 32 ? a << operand : 0; break;
                    case BPF_RSH: a = operand < 32 ? a >> operand : 0; break;
                    case BPF_NEG: a = 0u - a; break;
                    default: return 0;
                }
                break;
            case BPF_JMP: {
                bool holds;
                switch (BPF_OP(step->code)) {
                    case BPF_JA:
                        if (k >= program->len) return 0;
                        at += k;
                        continue;
                    case BPF_JEQ: holds = a == operand; break;
                    case BPF_JGT: holds = a > operand; break;
                    case BPF_JGE: holds = a >= operand; break;
                    case BPF_JSET: holds = (a & operand) != 0; break;
                    default: return 0;
                }
                at += holds ? step->jt : step->jf;
                break;
            }
            case BPF_RET: return BPF_RVAL(step->code) == BPF_A ? a : k;
            case BPF_MISC:
                if (BPF_MISCOP(step->code) == BPF_TAX) x = a;
                else a = x;
                break;
        }
    }
    return 0;
}

/* A system call of ours, and whether we can do without its result. */
struct call {
    int number;
    bool may_fail;
    uint64_t arguments[6];
};

/* Whether the filter can be read. If not, the kernel will refuse it. */
static bool is_there(const struct sock_fprog *program) {
    if (program == NULL || !memory_is_readable((uintptr_t)program) || program->filter == NULL || program->len == 0)
        return false;
    const uintptr_t first = (uintptr_t)program->filter, end = first + program->len * sizeof program->filter[0];
    for (uintptr_t at = first; at < end; at = (at | 4095) + 1)
        if (!memory_is_readable(at & ~(uintptr_t)7)) return false;
    return true;
}

/* Whether the filter keeps the kernel from answering the call. An errno is an answer, except for a call that must not
 * fail. */
static bool forbids_call(const struct sock_fprog *program, const struct call *call) {
    struct seccomp_data data = {.nr = call->number, .arch = MACHINE_AUDIT};
    memcpy(data.args, call->arguments, sizeof call->arguments);
    uint32_t action = answer(program, &data) & SECCOMP_RET_ACTION_FULL;
    bool fails = action == SECCOMP_RET_ERRNO;
    return action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG && !(fails && call->may_fail);
}

static bool forbids_any(const struct sock_fprog *program, const struct call *calls, size_t count) {
    if (!is_there(program)) return false;
    for (size_t i = 0; i < count; i++)
        if (forbids_call(program, &calls[i])) return true;
    return false;
}

/* Whether recording can't continue under the filter. */
static bool forbids(const struct sock_fprog *program) {
    static const struct call ours[] = {
        {SYS_madvise, true, {0, HEAP_PAGE_BYTES, 23 /* MADV_POPULATE_WRITE */}},
        {SYS_mincore, true, {0}},
        {SYS_sigaltstack, true, {0}},
        {SYS_mmap, true, {0, HEAP_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}},
        {SYS_gettid, false, {0}},
        {SYS_getpid, false, {0}},
        {SYS_tgkill, false, {1, 1, 0}},
    };
    return forbids_any(program, ours, sizeof ours / sizeof ours[0]);
}

/* Whether the filter forbids reading files, or memory that may be unmapped. Recording can do without those. */
static bool forbids_looks(const struct sock_fprog *program) {
    static const struct call ours[] = {
        {SYS_openat, true, {(uint64_t)AT_FDCWD, 0, O_RDONLY | O_CLOEXEC}},
        {SYS_openat, true, {(uint64_t)AT_FDCWD, 0, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY}},
        {SYS_read, true, {3}},
        {SYS_pread64, true, {3}},
        {SYS_readlinkat, true, {(uint64_t)AT_FDCWD}},
        {SYS_faccessat2, true, {(uint64_t)AT_FDCWD}},
        {SYS_faccessat, true, {(uint64_t)AT_FDCWD}},
        {SYS_futex, true, {0, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG}},
        {SYS_close, true, {3}},
        {SYS_newfstatat, true, {(uint64_t)AT_FDCWD}},
        {SYS_process_vm_readv, true, {0}},
        {SYS_shmctl, true, {0, 2 /* IPC_STAT */}},
        {SYS_rt_sigprocmask, true, {(uint64_t)~0}},
    };
    return forbids_any(program, ours, sizeof ours / sizeof ours[0]);
}

/* Whether the filter forbids making an image or writing a dump, as a fork's child or the dump signal would. */
static bool forbids_files(const struct sock_fprog *program) {
    static const struct call ours[] = {
        {SYS_openat, true, {(uint64_t)AT_FDCWD, 0, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600}},
        {SYS_close, true, {3}},
        {SYS_read, true, {3}},
        {SYS_ftruncate, true, {3}},
        {SYS_pwrite64, true, {3}},
        {SYS_writev, true, {3}},
        {SYS_unlinkat, true, {(uint64_t)AT_FDCWD}},
        {SYS_linkat, true, {(uint64_t)AT_FDCWD}},
        {SYS_renameat2, true, {(uint64_t)AT_FDCWD}},
        {SYS_prlimit64, true, {0, RLIMIT_AS}},
        {SYS_sysinfo, true, {0}},
        {SYS_memfd_create, true, {0}},
        {SYS_munmap, true, {0}},
        {SYS_getppid, false, {0}},
        {SYS_rt_sigprocmask, true, {SIG_BLOCK}},
        {SYS_clock_gettime, true, {CLOCK_MONOTONIC}},
        {SYS_mmap, true, {0, HEAP_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, 3, 0}},
        {SYS_rt_sigaction, true, {SIGUSR2}},
    };
    return forbids_any(program, ours, sizeof ours / sizeof ours[0]);
}

/* What the filters that are already set forbid. */
static struct system_forbidden known(void) {
    struct system_forbidden now;
    __atomic_load(&system_forbidden, &now, __ATOMIC_RELAXED);
    return now;
}

static void know(struct system_forbidden now) { __atomic_store(&system_forbidden, &now, __ATOMIC_RELAXED); }

/*
 * Called before a filter is set. Returns whether recording has to stop, and reports that while it still can. The state
 * is set now, because another thread may be about to make a system call. A vfork's child shares its parent's memory:
 * its filter applies only to the child, and recording of the parent continues.
 */
static bool announce(bool strict, const struct sock_fprog *program) {
    const bool borrowed = hook_memory_is_borrowed();
    bool stops = !borrowed && start_may_record() && (strict || forbids(program));
    if (stops)
        message("recording stopped where a seccomp filter forbids what it needs; the image is of that moment: ",
            options.program);
    struct system_forbidden before = known(), now = before;
    /* the old state was of a vfork's child that has called exec since */
    if (!borrowed && before.process != 0) now = (struct system_forbidden){.looks = false};
    if (strict || forbids_looks(program)) now.looks = true;
    if (strict || forbids_files(program)) now.files = true;
    if (borrowed) now.process = system_process();
    if (!borrowed || !(before.looks || before.files) || before.process != 0) know(now);
    return stops;
}

/* Called after the kernel's answer: a filter that it refused forbids nothing. */
static void conclude(bool stands, bool stops, struct system_forbidden before) {
    if (!stands) know(before);
    else if (stops) start_stop();
}

HOOK int hook_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    if (!start_next() || next.prctl == NULL) return -1;
    if (likely(option != PR_SET_SECCOMP)) return next.prctl(option, a, b, c, d);
    struct system_forbidden before = known();
    bool stops = announce(a == SECCOMP_MODE_STRICT, a == SECCOMP_MODE_FILTER ? (const struct sock_fprog *)b : NULL);
    int result = next.prctl(option, a, b, c, d);
    conclude(result == 0, stops, before);
    return result;
}

long sandbox_seccomp(long operation, long flags, long program) {
    const bool strict = operation == SECCOMP_SET_MODE_STRICT;
    if (!strict && operation != SECCOMP_SET_MODE_FILTER)
        return next.syscall(SYS_seccomp, operation, flags, program, 0, 0, 0);
    struct system_forbidden before = known();
    bool stops = announce(strict, strict ? NULL : (const struct sock_fprog *)program);
    long result = next.syscall(SYS_seccomp, operation, flags, program, 0, 0, 0);
    /* a listener's descriptor means success; a thread's number means failure */
    conclude(result == 0 || (result > 0 && flags & SECCOMP_FILTER_FLAG_NEW_LISTENER), stops, before);
    return result;
}
