/*
 * A system call on x86-64: the number in rax, arguments in rdi, rsi, rdx, r10, r8 and r9; rcx and r11 are the kernel's (System V
 * ABI, AMD64, A.2.1). The answer is the kernel's own: a negated errno where it lies in [-4095, -1].
 */
#ifndef HEAPSUM_SYSTEM_CALL_H
#define HEAPSUM_SYSTEM_CALL_H

static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return answer;
}

/* The clock's name in the kernel's own library. */
#define VDSO_CLOCK "__vdso_clock_gettime"

/*
 * Whether we run on Valgrind: its client request 0x1001 by the instructions that it knows (valgrind.h documents both), which do
 * nothing on a processor.
 */
static inline unsigned long running_on_valgrind(void) {
    volatile unsigned long request[6] = {0x1001};
    unsigned long answer = 0;
    __asm__ volatile("rolq $3, %%rdi\n\trolq $13, %%rdi\n\trolq $61, %%rdi\n\trolq $51, %%rdi\n\txchgq %%rbx, %%rbx"
                     : "=d"(answer) : "a"(request), "0"(answer) : "cc", "memory");
    return answer;
}

#endif
