/*
 * Calls in a stopped thread of another process. The thread recovers even if this tool is killed during a call.
 *
 * A call returns into a signal frame that this file writes: the thread's saved state, in the layout that the kernel
 * writes before a signal handler. Next to it is the address of libc's code for rt_sigreturn, which restores the state:
 * registers, vectors, the signal mask. So a thread in a call restores itself if this tool is killed, or if the tool
 * gives up because the call takes too long. When a call is done, the thread first waits some seconds for the tool:
 * normally the tool restores the state by ptrace, which can also resume an interrupted system call.
 *
 * The tool does not stop the thread at each system call: each stop takes two context switches, and the library makes
 * about a hundred calls. Instead the thread writes to memory that the call is done.
 *
 * The first call, mmap, runs on the thread's own stack, below the red zone, and uses no more of it than a signal
 * would. It maps memory for the other calls: a stack, and the few instructions that save errno and store the answer.
 *
 * Signals are blocked during a call, because a handler must not run on the mapped stack. Signals that an instruction
 * can raise stay unblocked: the kernel would reset the handler of a blocked one.
 */
#include "thread.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leaks.h"

#if defined(__x86_64__)

#define SYSTEM_CALL_STOP (SIGTRAP | 0x80)
#define CALL_NS (2000 * 1000 * 1000ull) /* for mmap and munmap */

/* The region: code, the answer, the frame; room for arguments; and the stack. */
#define REGION_BYTES ATTACH_REGION_BYTES
#define ANSWER_AT 2048u /* the answer, whether it is there, and how long to wait for us */
#define WAIT_SECONDS 5
#define FRAME_AT 4096u
#define STACK_TOP (REGION_BYTES - 64u)

/* The kernel's layout (arch/x86/include/asm/sigframe.h), without the siginfo, which rt_sigreturn doesn't read. */
struct kernel_context {
    uint64_t flags, link;
    uint64_t stack_pointer, stack_flags, stack_size; /* stack_t */
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2, vectors, reserved[8];
    uint64_t mask;
};
struct frame {
    uint64_t return_address;
    struct kernel_context context;
};
#define CONTEXT_FLAGS 7u     /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
#define NO_STACK 0x40000000u /* flags of an alternate stack that the kernel refuses, and so leaves as it is */

/* What the kernel expects in the part of XSAVE's area that the processor leaves to software. */
struct vector_words {
    uint32_t magic, extended_bytes;
    uint64_t features;
    uint32_t bytes, padding[7];
};
#define VECTOR_WORDS_AT 464
#define VECTOR_MAGIC_1 0x46505853u
#define VECTOR_MAGIC_2 0x46505845u

/* Writes the thread's state: the vectors, then the frame at `at`. */
static int write_frame(const struct attach_thread *thread, uint64_t at, uint64_t vectors) {
    static _Thread_local uint8_t area[VECTORS_MOST + 4];
    memcpy(area, thread->vectors, thread->vector_bytes);
    struct vector_words words = {
        VECTOR_MAGIC_1, (uint32_t)thread->vector_bytes + 4, 0, (uint32_t)thread->vector_bytes, {0}};
    /* The kernel has stored the processor's enabled features (XCR0) there. */
    memcpy(&words.features, thread->vectors + VECTOR_WORDS_AT, sizeof words.features);
    memcpy(area + VECTOR_WORDS_AT, &words, sizeof words);
    memcpy(area + thread->vector_bytes, &(uint32_t){VECTOR_MAGIC_2}, 4);
    if (attach_write(thread->plan.pid, vectors, area, thread->vector_bytes + 4) != (ssize_t)thread->vector_bytes + 4)
        return -EFAULT;
    struct user_regs_struct r = thread->saved;
    leaks_resume(&r);
    long answer = (long)r.rax;
    if ((long)r.orig_rax >= 0 && answer <= -512 && answer >= -516) {
        /* rt_sigreturn does not restart a system call: begin the call again. */
        r.rax = r.orig_rax;
        r.rip -= 2;
    }
    struct frame frame = {.return_address = thread->plan.signal_return,
        .context = {.flags = CONTEXT_FLAGS,
            .stack_flags = NO_STACK,
            .r8 = r.r8,
            .r9 = r.r9,
            .r10 = r.r10,
            .r11 = r.r11,
            .r12 = r.r12,
            .r13 = r.r13,
            .r14 = r.r14,
            .r15 = r.r15,
            .rdi = r.rdi,
            .rsi = r.rsi,
            .rbp = r.rbp,
            .rbx = r.rbx,
            .rdx = r.rdx,
            .rax = r.rax,
            .rcx = r.rcx,
            .rsp = r.rsp,
            .rip = r.rip,
            .eflags = r.eflags,
            .cs = (uint16_t)r.cs,
            .gs = (uint16_t)r.gs,
            .fs = (uint16_t)r.fs,
            .ss = (uint16_t)r.ss,
            .vectors = vectors,
            .mask = thread->mask}};
    return attach_write(thread->plan.pid, at, &frame, sizeof frame) == sizeof frame ? 0 : -EFAULT;
}

/*
 * Restores a thread that is in the same kind of stop in which it was found. There the kernel restarts the system call
 * that the interruption ended.
 *
 * The registers come last: if this tool ends before that, the thread still returns through the frame, and rt_sigreturn
 * restores the same state once more.
 */
static int restore(struct attach_thread *thread) {
    struct iovec vectors = {thread->vectors, thread->vector_bytes};
    struct user_regs_struct resumed = thread->saved;
    leaks_resume(&resumed);
    int result = 0;
    if (ptrace(PTRACE_SETREGSET, thread->tid, NT_X86_XSTATE, &vectors) != 0) result = -errno;
    if (ptrace(PTRACE_SETSIGMASK, thread->tid, 8ul, &thread->mask) != 0 && result == 0) result = -errno;
    if (ptrace(PTRACE_SETREGS, thread->tid, 0, &resumed) != 0 && result == 0) result = -errno;
    ptrace(PTRACE_SETOPTIONS, thread->tid, 0, 0);
    return result;
}

/* Restores a thread from any other kind of stop. */
static int put_back(struct attach_thread *thread) {
    int status;
    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) != 0) return -errno;
    do {
        if (ptrace(PTRACE_CONT, thread->tid, 0, 0) != 0) return -errno;
        int waited = attach_wait(thread->tid, &status, CALL_NS);
        if (waited <= 0) return waited == 0 ? -ETIMEDOUT : waited;
    } while (status >> 16 != PTRACE_EVENT_STOP);
    return restore(thread);
}

/* Detaches from a thread in a call: it will restore its state by itself. */
static void abandon(struct attach_thread **thread) {
    int status;
    pid_t tid = (*thread)->tid;
    if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0 && attach_wait(tid, &status, CALL_NS) > 0) {
        ptrace(PTRACE_SETOPTIONS, tid, 0, 0);
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
    if (ptrace(PTRACE_SETOPTIONS, thread->tid, 0, PTRACE_O_TRACESYSGOOD) != 0
        || ptrace(PTRACE_SETREGS, thread->tid, 0, registers) != 0
        || ptrace(PTRACE_SETSIGMASK, thread->tid, 8ul, &mask) != 0) {
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
    int status, result = set_off(thread, registers);
    while (result == 0) {
        if (ptrace(PTRACE_SYSCALL, thread->tid, 0, 0) != 0) return -errno;
        int waited = attach_wait(thread->tid, &status, CALL_NS);
        if (waited == 0) abandon(at);
        if (waited <= 0) return waited == 0 ? -ETIMEDOUT : waited;
        if (is_fault(status)) { /* the injected code raised the signal: drop it */
            result = put_back(thread);
            return result < 0 ? result : -EFAULT;
        }
        if (WSTOPSIG(status) != SYSTEM_CALL_STOP) continue;
        is_inside = !is_inside;
        if (is_inside) continue;
        struct user_regs_struct now;
        if (ptrace(PTRACE_GETREGS, thread->tid, 0, &now) != 0) return -errno;
        *answer = (int64_t)now.rax;
        return put_back(thread);
    }
    return result;
}

/* Lets the thread make a call, and waits until the thread has written that it is done. */
static int run_call(struct attach_thread **at, const struct user_regs_struct *registers, uint64_t nanoseconds) {
    struct attach_thread *thread = *at;
    const uint64_t began = attach_now(), done_at = thread->region + ANSWER_AT + 8;
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
            if (ptrace(PTRACE_CONT, thread->tid, 0, 0) != 0) return -errno;
        }
        if (found < 0 && errno != EINTR) return -ESRCH;
        if (attach_read(thread->plan.pid, done_at, &done, 8) == 8 && done != 0) break;
        if (attach_now() - began > nanoseconds) {
            abandon(at);
            return -ETIMEDOUT;
        }
        if (turn > 20) usleep(20);
    }
    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) != 0) return -errno;
    int waited = attach_wait(thread->tid, &status, CALL_NS);
    if (waited < 0) return waited;
    struct user_regs_struct now;
    if (waited == 0 || ptrace(PTRACE_GETREGS, thread->tid, 0, &now) != 0 || now.rip - thread->region >= ANSWER_AT) {
        /* The tool was too slow: the thread has stopped waiting, and has restored itself. */
        abandon(at);
        return -ETIMEDOUT;
    }
    return status >> 16 == PTRACE_EVENT_STOP ? restore(thread) : put_back(thread);
}

int64_t attach_system_call(struct attach_thread **at, long number, const uint64_t arguments[6]) {
    struct attach_thread *thread = *at;
    /* The state goes below the red zone, where the kernel would put it, with the vectors aligned to a cache line. */
    uint64_t vectors = (thread->saved.rsp - 128 - thread->vector_bytes - 64) & ~63ull;
    uint64_t frame = vectors - 64 - (sizeof(struct frame) + 15) / 16 * 16;
    if (thread->region != 0) frame = thread->region + FRAME_AT, vectors = thread->region + FRAME_AT + 1024;
    int result = write_frame(thread, frame, vectors);
    if (result < 0) return result;
    struct user_regs_struct r = thread->saved;
    r.rip = thread->plan.system_call;
    r.rax = (unsigned long long)number;
    r.orig_rax = ~0ull;
    r.rdi = arguments[0];
    r.rsi = arguments[1];
    r.rdx = arguments[2];
    r.r10 = arguments[3];
    r.r8 = arguments[4];
    r.r9 = arguments[5];
    r.rsp = frame;
    int64_t answer = -EIO;
    result = run_system_call(at, &r, &answer);
    return result < 0 ? result : answer;
}

static size_t put(uint8_t *code, size_t at, const char *bytes, size_t count, const uint64_t *word) {
    memcpy(code + at, bytes, count);
    at += count;
    if (word != NULL) memcpy(code + at, word, 8);
    return word != NULL ? at + 8 : at;
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
    const uint64_t region = thread->region, frame = region + FRAME_AT, home = frame + 8, stack = region + STACK_TOP,
                   result_at = region + ANSWER_AT;
    int result = write_frame(thread, frame, frame + 1024);
    if (result < 0) return result;
    const uint64_t one_word = 1, done_at = result_at + 8, wait_at = result_at + 16;
    const uint64_t answer_words[4] = {0, 0, WAIT_SECONDS, 0};
    uint8_t code[256];
    size_t n = 0;
    n = put(code, n, "\x48\xBC", 2, &stack);                       /* movabs $stack, %rsp */
    n = put(code, n, "\x48\xB8", 2, &thread->plan.errno_location); /* movabs $__errno_location, %rax */
    n = put(code, n, "\xFF\xD0\x48\x89\xC5\x8B\x18", 7, NULL);     /* call *%rax; mov %rax, %rbp; mov (%rax), %ebx */
    n = put(code, n, "\x48\xBF", 2, &one);                         /* movabs $one, %rdi */
    n = put(code, n, "\x48\xBE", 2, &two);                         /* movabs $two, %rsi */
    n = put(code, n, "\x48\xB8", 2, &function);                    /* movabs $function, %rax */
    n = put(code, n, "\xFF\xD0", 2, NULL);                         /* call *%rax */
    n = put(code, n, "\x48\xA3", 2, &result_at);                   /* movabs %rax, answer */
    n = put(code, n, "\x89\x5D\x00", 3, NULL);                     /* mov %ebx, (%rbp) */
    n = put(code, n, "\x48\xB8", 2, &one_word);                    /* movabs $1, %rax */
    n = put(code, n, "\x48\xA3", 2, &done_at);                     /* movabs %rax, done */
    /* ppoll(NULL, 0, wait, NULL, 8): unlike nanosleep and poll it does not overwrite the kernel's restart data. The
     * thread may have been found in such a call. */
    n = put(code, n, "\xB8\x0F\x01\x00\x00\x31\xFF\x31\xF6", 9, NULL); /* mov $271, %eax; xor %edi, %edi; xor %esi, %esi
                                                                        */
    n = put(code, n, "\x48\xBA", 2, &wait_at);                         /* movabs $wait, %rdx */
    n = put(code, n, "\x45\x31\xD2\x41\xB8\x08\x00\x00\x00\x0F\x05", 11, NULL); /* xor %r10d, %r10d; mov $8, %r8d;
                                                                                   syscall */
    n = put(code, n, "\x48\xBC", 2, &home);                                     /* movabs $home, %rsp */
    n = put(code, n, "\xB8\x0F\x00\x00\x00\x0F\x05", 7, NULL);                  /* mov $15, %eax; syscall */
    if (attach_write(thread->plan.pid, region, code, n) != (ssize_t)n
        || attach_write(thread->plan.pid, result_at, answer_words, sizeof answer_words) != sizeof answer_words)
        return -EFAULT;
    struct user_regs_struct r = thread->saved;
    r.rip = region;
    r.rsp = stack;
    r.rax = 0;
    r.orig_rax = ~0ull;
    r.eflags &= ~0x400ull; /* the direction flag: a call finds it clear */
    result = run_call(at, &r, (uint64_t)milliseconds * 1000000);
    if (result < 0) return result;
    return attach_read((*at)->plan.pid, result_at, answer, 8) == 8 ? 0 : -EFAULT;
}

#else

int attach_call(struct attach_thread **thread, uint64_t function, uint64_t one, uint64_t two, unsigned milliseconds,
    uint64_t *answer) {
    return (void)thread, (void)function, (void)one, (void)two, (void)milliseconds, (void)answer, -ENOTSUP;
}
int attach_prepare(struct attach_thread **thread) { return (void)thread, -ENOTSUP; }
int64_t attach_system_call(struct attach_thread **thread, long number, const uint64_t arguments[6]) {
    return (void)thread, (void)number, (void)arguments, -ENOTSUP;
}

#endif
