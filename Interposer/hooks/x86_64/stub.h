/*
 * An exported function, `label`, that jumps to the address in its entry and leaves registers and stack unchanged.
 */
#ifndef HEAPSUM_STUB_X86_64_H
#define HEAPSUM_STUB_X86_64_H

/* %r11 passes no argument, and a call may change it (System V ABI, AMD64, 3.2.1). An entry's first word is the address
 * to jump to; 0 until it is known. */
#define STUB(own, label) \
    __asm__(".pushsection .text\n" \
            ".globl " #label "\n" \
            ".type " #label ", @function\n" #label ":\n" \
            "    .cfi_startproc\n" \
            "    movq passing_" #own "(%rip), %r11\n" \
            "    testq %r11, %r11\n" \
            "    jz 1f\n" \
            "    jmpq *%r11\n" \
            "1:  leaq passing_" #own "(%rip), %r11\n" \
            "    call passing_settle_keeping\n" \
            "    movq passing_" #own "(%rip), %r11\n" \
            "    testq %r11, %r11\n" \
            "    jz hook_" #own "\n" \
            "    jmpq *%r11\n" \
            "    .cfi_endproc\n" \
            ".size " #label ", . - " #label "\n" \
            ".popsection\n")

/* passing_settle(entry), which preserves every register that may pass an argument: integers, vectors, and the number of
 * vectors in %al. */
#define SETTLE_KEEPING \
    __asm__(".pushsection .text\n" \
            ".type passing_settle_keeping, @function\n" \
            "passing_settle_keeping:\n" \
            "    .cfi_startproc\n" \
            "    subq $192, %rsp\n" \
            "    .cfi_adjust_cfa_offset 192\n" \
            "    movq %rax, (%rsp)\n" \
            "    movq %rdi, 8(%rsp)\n" \
            "    movq %rsi, 16(%rsp)\n" \
            "    movq %rdx, 24(%rsp)\n" \
            "    movq %rcx, 32(%rsp)\n" \
            "    movq %r8, 40(%rsp)\n" \
            "    movq %r9, 48(%rsp)\n" \
            "    movups %xmm0, 64(%rsp)\n" \
            "    movups %xmm1, 80(%rsp)\n" \
            "    movups %xmm2, 96(%rsp)\n" \
            "    movups %xmm3, 112(%rsp)\n" \
            "    movups %xmm4, 128(%rsp)\n" \
            "    movups %xmm5, 144(%rsp)\n" \
            "    movups %xmm6, 160(%rsp)\n" \
            "    movups %xmm7, 176(%rsp)\n" \
            "    movq %r11, %rdi\n" \
            "    call passing_settle\n" \
            "    movq (%rsp), %rax\n" \
            "    movq 8(%rsp), %rdi\n" \
            "    movq 16(%rsp), %rsi\n" \
            "    movq 24(%rsp), %rdx\n" \
            "    movq 32(%rsp), %rcx\n" \
            "    movq 40(%rsp), %r8\n" \
            "    movq 48(%rsp), %r9\n" \
            "    movups 64(%rsp), %xmm0\n" \
            "    movups 80(%rsp), %xmm1\n" \
            "    movups 96(%rsp), %xmm2\n" \
            "    movups 112(%rsp), %xmm3\n" \
            "    movups 128(%rsp), %xmm4\n" \
            "    movups 144(%rsp), %xmm5\n" \
            "    movups 160(%rsp), %xmm6\n" \
            "    movups 176(%rsp), %xmm7\n" \
            "    addq $192, %rsp\n" \
            "    .cfi_adjust_cfa_offset -192\n" \
            "    ret\n" \
            "    .cfi_endproc\n" \
            ".size passing_settle_keeping, . - passing_settle_keeping\n" \
            ".popsection\n")

/*
 * syscall: system_calls_ours for the numbers of seccomp, mlockall, setrlimit, prlimit64, execve and execveat; else a
 * jump to the next function.
 */
#define SYSCALL_JUMP \
    _Static_assert(SYS_seccomp == 317 && SYS_mlockall == 151 && SYS_execve == 59 && SYS_execveat == 322, "below"); \
    _Static_assert(SYS_setrlimit == 160 && SYS_prlimit64 == 302, "below"); \
    __asm__(".pushsection .text\n" \
            ".globl hook_syscall\n" \
            ".hidden hook_syscall\n" \
            ".type hook_syscall, @function\n" \
            "hook_syscall:\n" \
            "    .cfi_startproc\n" \
            "    cmpq $317, %rdi\n" \
            "    je system_calls_ours\n" \
            "    cmpq $151, %rdi\n" \
            "    je system_calls_ours\n" \
            "    cmpq $59, %rdi\n" \
            "    je system_calls_ours\n" \
            "    cmpq $160, %rdi\n" \
            "    je system_calls_ours\n" \
            "    cmpq $302, %rdi\n" \
            "    je system_calls_ours\n" \
            "    cmpq $322, %rdi\n" \
            "    je system_calls_ours\n" \
            "    movq next_syscall(%rip), %rax\n" \
            "    testq %rax, %rax\n" \
            "    jz system_calls_early\n" \
            "    jmpq *%rax\n" \
            "    .cfi_endproc\n" \
            ".size hook_syscall, . - hook_syscall\n" \
            ".popsection\n");

/* dlsym(handle, name): returns late_look's answer. If that is NULL, jumps to the program's own dlsym, which examines
 * its return address. */
#define LATE_DLSYM \
    __asm__(".pushsection .text\n" \
            ".globl hook_dlsym\n" \
            ".hidden hook_dlsym\n" \
            ".type hook_dlsym, @function\n" \
            "hook_dlsym:\n" \
            "    .cfi_startproc\n" \
            "    pushq %rdi\n" \
            "    .cfi_adjust_cfa_offset 8\n" \
            "    pushq %rsi\n" \
            "    .cfi_adjust_cfa_offset 8\n" \
            "    subq $8, %rsp\n" \
            "    .cfi_adjust_cfa_offset 8\n" \
            "    call late_look\n" \
            "    addq $8, %rsp\n" \
            "    .cfi_adjust_cfa_offset -8\n" \
            "    popq %rsi\n" \
            "    .cfi_adjust_cfa_offset -8\n" \
            "    popq %rdi\n" \
            "    .cfi_adjust_cfa_offset -8\n" \
            "    testq %rax, %rax\n" \
            "    jz 1f\n" \
            "    ret\n" \
            "1:  jmpq *late_next_dlsym(%rip)\n" \
            "    .cfi_endproc\n" \
            ".size hook_dlsym, . - hook_dlsym\n" \
            ".popsection\n");

#endif
