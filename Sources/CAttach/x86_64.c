/* Calls in a stopped thread: x86-64. See frame.h. */
#if defined(__x86_64__)

#include <errno.h>
#include <string.h>

#include "frame.h"

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

/* Below the red zone, with the vectors aligned to a cache line. */
struct frame_place frame_on_stack(const struct attach_thread *thread) {
    uint64_t vectors = (thread->saved.rsp - 128 - thread->vector_bytes - 64) & ~63ull;
    return (struct frame_place){vectors - 64 - (sizeof(struct frame) + 15) / 16 * 16, vectors};
}

struct frame_place frame_in_region(uint64_t at) {
    return (struct frame_place){at, at + 1024};
}
_Static_assert(1024 + REGISTERS_VECTORS_MOST + 4 <= FRAME_MOST, "room for the vectors");

int frame_write(const struct attach_thread *thread, struct frame_place place) {
    static _Thread_local uint8_t area[REGISTERS_VECTORS_MOST + 4];
    memcpy(area, thread->vectors, thread->vector_bytes);
    struct vector_words words = {
        VECTOR_MAGIC_1, (uint32_t)thread->vector_bytes + 4, 0, (uint32_t)thread->vector_bytes, {0}};
    /* The kernel has stored the processor's enabled features (XCR0) there. */
    memcpy(&words.features, thread->vectors + VECTOR_WORDS_AT, sizeof words.features);
    memcpy(area + VECTOR_WORDS_AT, &words, sizeof words);
    memcpy(area + thread->vector_bytes, &(uint32_t){VECTOR_MAGIC_2}, 4);
    if (attach_write(thread->plan.pid, place.vectors, area, thread->vector_bytes + 4)
        != (ssize_t)thread->vector_bytes + 4)
        return -EFAULT;
    struct user_regs_struct r = registers_again(thread->tid, &thread->saved, &thread->before);
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
            .vectors = place.vectors,
            .mask = thread->mask}};
    return attach_write(thread->plan.pid, place.frame, &frame, sizeof frame) == sizeof frame ? 0 : -EFAULT;
}

void frame_set_system_call(struct user_regs_struct *registers, const struct attach_thread *thread, uint64_t frame,
    long number, const uint64_t arguments[6]) {
    registers_set_call(registers, thread->plan.system_call, number, arguments);
    registers->rsp = frame;
}

static size_t put(uint8_t *code, size_t at, const char *bytes, size_t count, const uint64_t *word) {
    memcpy(code + at, bytes, count);
    at += count;
    if (word != NULL) memcpy(code + at, word, 8);
    return word != NULL ? at + 8 : at;
}

int frame_write_call(
    const struct attach_thread *thread, const struct frame_call *call, struct user_regs_struct *registers) {
    const uint64_t one_word = 1, done_at = call->answer_at + 8, wait_at = call->answer_at + 16, home = call->frame + 8;
    uint8_t code[256];
    size_t n = 0;
    n = put(code, n, "\x48\xBC", 2, &call->stack);                 /* movabs $stack, %rsp */
    n = put(code, n, "\x48\xB8", 2, &thread->plan.errno_location); /* movabs $__errno_location, %rax */
    n = put(code, n, "\xFF\xD0\x48\x89\xC5\x8B\x18", 7, NULL);     /* call *%rax; mov %rax, %rbp; mov (%rax), %ebx */
    n = put(code, n, "\x48\xBF", 2, &call->one);                   /* movabs $one, %rdi */
    n = put(code, n, "\x48\xBE", 2, &call->two);                   /* movabs $two, %rsi */
    n = put(code, n, "\x48\xB8", 2, &call->function);              /* movabs $function, %rax */
    n = put(code, n, "\xFF\xD0", 2, NULL);                         /* call *%rax */
    n = put(code, n, "\x48\xA3", 2, &call->answer_at);             /* movabs %rax, answer */
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
    if (attach_write(thread->plan.pid, call->code, code, n) != (ssize_t)n) return -EFAULT;
    registers->rip = call->code;
    registers->rsp = call->stack;
    registers->rax = 0;
    registers->orig_rax = ~0ull;
    registers->eflags &= ~0x400ull; /* the direction flag: a call finds it clear */
    return 0;
}

#endif
