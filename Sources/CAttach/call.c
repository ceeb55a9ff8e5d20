/*
 * Calls in a stopped thread of another process, which survive us.
 *
 * What a call would return into is a signal frame that we lay down: the thread's own state, as the kernel lays it down
 * before a signal's handler. Behind it stands the address of libc's code for rt_sigreturn, which takes the state back:
 * registers, vectors, the mask of signals. So a thread that is under way in a call of ours finds home by itself, should
 * we be killed at that instant, or let it go because it takes too long. While we are there, we stop it at that last
 * system call instead, and put the state back by ptrace, which can also put it back into a system call that it was in.
 *
 * The first call, mmap, is made on the thread's own stack, below the red zone, and takes no more of it than a signal
 * would. It brings memory for the others: a stack, and the few instructions that save errno and take the answer.
 *
 * Signals are blocked meanwhile, as a handler must not run on a stack that is ours; but those that an instruction of ours
 * would raise are not: the kernel resets the handler of a blocked one.
 */
#include "thread.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "leaks.h"

#if defined(__x86_64__)

#define SYSTEM_CALL_STOP (SIGTRAP | 0x80)
#define CALL_NS (2000 * 1000 * 1000ull) /* for mmap and munmap */

/* The region: code, the answer, the frame; room for arguments; and the stack. */
#define REGION_BYTES ATTACH_REGION_BYTES
#define ANSWER_AT 2048u
#define FRAME_AT 4096u
#define STACK_TOP (REGION_BYTES - 64u)

/* As the kernel has it (arch/x86/include/asm/sigframe.h), the siginfo left out, which rt_sigreturn doesn't read. */
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
#define CONTEXT_FLAGS 7u /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
#define NO_STACK 0x40000000u /* flags of an alternate stack that the kernel refuses, and so leaves as it is */

/* What the kernel looks for in the bytes of the area that the processor leaves to software. */
struct vector_words {
    uint32_t magic, extended_bytes;
    uint64_t features;
    uint32_t bytes, padding[7];
};
#define VECTOR_WORDS_AT 464
#define VECTOR_MAGIC_1 0x46505853u
#define VECTOR_MAGIC_2 0x46505845u

/* Writes the thread's state, vectors first, then the frame at `at`. */
static int write_frame(const struct attach_thread *thread, uint64_t at, uint64_t vectors) {
    static _Thread_local uint8_t area[VECTORS_MOST + 4];
    memcpy(area, thread->vectors, thread->vector_bytes);
    struct vector_words words = {VECTOR_MAGIC_1, (uint32_t)thread->vector_bytes + 4, 0, (uint32_t)thread->vector_bytes, {0}};
    /* The kernel has written there which features there are (XCR0). */
    memcpy(&words.features, thread->vectors + VECTOR_WORDS_AT, sizeof words.features);
    memcpy(area + VECTOR_WORDS_AT, &words, sizeof words);
    memcpy(area + thread->vector_bytes, &(uint32_t){VECTOR_MAGIC_2}, 4);
    if (attach_write(thread->plan.pid, vectors, area, thread->vector_bytes + 4) != (ssize_t)thread->vector_bytes + 4)
        return -EFAULT;
    struct user_regs_struct r = thread->saved;
    leaks_resume(&r);
    long answer = (long)r.rax;
    if ((long)r.orig_rax >= 0 && answer <= -512 && answer >= -516) {
        /* rt_sigreturn restarts nothing: the call is begun anew. */
        r.rax = r.orig_rax;
        r.rip -= 2;
    }
    struct frame frame = {.return_address = thread->plan.signal_return,
        .context = {.flags = CONTEXT_FLAGS,
            .stack_flags = NO_STACK,
            .r8 = r.r8, .r9 = r.r9, .r10 = r.r10, .r11 = r.r11, .r12 = r.r12, .r13 = r.r13, .r14 = r.r14, .r15 = r.r15,
            .rdi = r.rdi, .rsi = r.rsi, .rbp = r.rbp, .rbx = r.rbx, .rdx = r.rdx, .rax = r.rax, .rcx = r.rcx,
            .rsp = r.rsp, .rip = r.rip, .eflags = r.eflags,
            .cs = (uint16_t)r.cs, .gs = (uint16_t)r.gs, .fs = (uint16_t)r.fs, .ss = (uint16_t)r.ss,
            .vectors = vectors, .mask = thread->mask}};
    return attach_write(thread->plan.pid, at, &frame, sizeof frame) == sizeof frame ? 0 : -EFAULT;
}

/*
 * Puts the thread back where it was found, in the kind of stop in which it was found: there the kernel restarts the call
 * that the interruption ended. `at_entry`: it stands at the entry of a system call, which is not made.
 *
 * The registers come last. Until then the thread is on its way home by the frame, should we end here; and what
 * rt_sigreturn would restore, it restores once more.
 */
static int put_back(struct attach_thread *thread, bool at_entry) {
    int status;
    struct user_regs_struct registers;
    if (at_entry && ptrace(PTRACE_GETREGS, thread->tid, 0, &registers) == 0) {
        registers.orig_rax = ~0ull;
        ptrace(PTRACE_SETREGS, thread->tid, 0, &registers);
    }
    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0) != 0) return -errno;
    do {
        if (ptrace(PTRACE_CONT, thread->tid, 0, 0) != 0) return -errno;
        int waited = attach_wait(thread->tid, &status, CALL_NS);
        if (waited <= 0) return waited == 0 ? -ETIMEDOUT : waited;
    } while (status >> 16 != PTRACE_EVENT_STOP);
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

/* The thread is on its way and will find home alone. */
static void abandon(struct attach_thread **thread) {
    int status;
    pid_t tid = (*thread)->tid;
    sigset_t mask = (*thread)->our_mask;
    if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0 && attach_wait(tid, &status, CALL_NS) > 0) {
        ptrace(PTRACE_SETOPTIONS, tid, 0, 0);
        ptrace(PTRACE_DETACH, tid, 0, 0);
    }
    free(*thread);
    *thread = NULL;
    sigprocmask(SIG_SETMASK, &mask, NULL);
}

/*
 * Sets the thread off with these registers, and follows it: where `answered` is not NULL until the first system call
 * has answered, which goes there; else until it comes to rt_sigreturn by way of our frame, with the stack pointer `home`.
 */
static int run(struct attach_thread **at, const struct user_regs_struct *registers, uint64_t home, uint64_t nanoseconds,
    int64_t *answered) {
    struct attach_thread *thread = *at;
    const uint64_t faults = 1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGILL - 1) | 1ull << (SIGFPE - 1)
        | 1ull << (SIGTRAP - 1) | 1ull << (SIGSYS - 1);
    uint64_t mask = ~faults | thread->mask, began = attach_now();
    bool is_inside = false;
    /* The registers first: a thread with its signals blocked, and no frame to bring them back, would be ours for good. */
    if (ptrace(PTRACE_SETOPTIONS, thread->tid, 0, PTRACE_O_TRACESYSGOOD) != 0
        || ptrace(PTRACE_SETREGS, thread->tid, 0, registers) != 0
        || ptrace(PTRACE_SETSIGMASK, thread->tid, 8ul, &mask) != 0) {
        int error = errno;
        ptrace(PTRACE_SETREGS, thread->tid, 0, &thread->saved);
        ptrace(PTRACE_SETSIGMASK, thread->tid, 8ul, &thread->mask);
        return -error;
    }
    for (;;) {
        int status;
        if (ptrace(PTRACE_SYSCALL, thread->tid, 0, 0) != 0) return -errno;
        uint64_t spent = attach_now() - began;
        int waited = attach_wait(thread->tid, &status, nanoseconds > spent ? nanoseconds - spent : 0);
        if (waited < 0) return waited;
        if (waited == 0) {
            abandon(at);
            return -ETIMEDOUT;
        }
        if (WSTOPSIG(status) == SYSTEM_CALL_STOP) {
            struct user_regs_struct now;
            if (ptrace(PTRACE_GETREGS, thread->tid, 0, &now) != 0) return -errno;
            is_inside = !is_inside;
            if (answered != NULL && !is_inside) {
                *answered = (int64_t)now.rax;
                return put_back(thread, false);
            }
            if (answered == NULL && is_inside && now.orig_rax == SYS_rt_sigreturn && now.rsp == home)
                return put_back(thread, true);
        } else if (status >> 16 == 0) {
            int signal = WSTOPSIG(status);
            if (signal < 64 && faults >> (signal - 1) & 1) {
                int result = put_back(thread, false); /* the signal goes with it: it was ours */
                return result < 0 ? result : -EFAULT;
            }
        }
    }
}

int64_t attach_system_call(struct attach_thread **at, long number, const uint64_t arguments[6]) {
    struct attach_thread *thread = *at;
    /* The state below the red zone, as the kernel would put it there; its vectors aligned to a line. */
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
    result = run(at, &r, frame + 8, CALL_NS, &answer);
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

int attach_call(struct attach_thread **at, uint64_t function, uint64_t one, uint64_t two, unsigned milliseconds,
    uint64_t *answer) {
    int made = attach_prepare(at);
    if (made < 0) return made;
    struct attach_thread *thread = *at;
    const uint64_t region = thread->region, frame = region + FRAME_AT, home = frame + 8, stack = region + STACK_TOP,
                   result_at = region + ANSWER_AT, none = 0;
    int result = write_frame(thread, frame, frame + 1024);
    if (result < 0) return result;
    uint8_t code[192];
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
    n = put(code, n, "\x48\xBC", 2, &home);                        /* movabs $home, %rsp */
    /* 1: mov $15, %eax; syscall; jmp 1b. Again, where we kept it from being made and ended then. */
    n = put(code, n, "\xB8\x0F\x00\x00\x00\x0F\x05\xEB\xF7", 9, NULL);
    if (attach_write(thread->plan.pid, region, code, n) != (ssize_t)n
        || attach_write(thread->plan.pid, result_at, &none, 8) != 8)
        return -EFAULT;
    struct user_regs_struct r = thread->saved;
    r.rip = region;
    r.rsp = stack;
    r.rax = 0;
    r.orig_rax = ~0ull;
    r.eflags &= ~0x400ull; /* the direction flag: a call finds it clear */
    result = run(at, &r, home, (uint64_t)milliseconds * 1000000, NULL);
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
