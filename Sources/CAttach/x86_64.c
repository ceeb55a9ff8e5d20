/* The instructions of a call in a stopped thread: x86-64. See code.h. */
#if defined(__x86_64__)

#include <errno.h>
#include <string.h>

#include "code.h"

static size_t put(uint8_t *code, size_t at, const char *bytes, size_t count, const uint64_t *word) {
    memcpy(code + at, bytes, count);
    at += count;
    if (word != NULL) memcpy(code + at, word, 8);
    return word != NULL ? at + 8 : at;
}

int code_write(const struct attach_thread *thread, const struct code_call *call, struct user_regs_struct *registers) {
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
