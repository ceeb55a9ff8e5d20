/*
 * An exported function, `label`, that jumps to the address in its entry and leaves registers and stack unchanged.
 */
#ifndef HEAPSUM_STUB_AARCH64_H
#define HEAPSUM_STUB_AARCH64_H

/* A call may change x16 and x17 (AAPCS64, 6.1.1). An entry's first word is the address to jump to; 0 until it is known.
 */
#define STUB(own, label) \
    __asm__(".pushsection .text\n" \
            ".globl " #label "\n" \
            ".type " #label ", %function\n" #label ":\n" \
            "    .cfi_startproc\n" \
            "    adrp x16, passing_" #own "\n" \
            "    add x16, x16, :lo12:passing_" #own "\n" \
            "    ldr x17, [x16]\n" \
            "    cbz x17, 1f\n" \
            "    br x17\n" \
            "1:  stp x29, x30, [sp, #-16]!\n" \
            "    .cfi_adjust_cfa_offset 16\n" \
            "    .cfi_rel_offset x29, 0\n" \
            "    .cfi_rel_offset x30, 8\n" \
            "    bl passing_settle_keeping\n" \
            "    ldp x29, x30, [sp], #16\n" \
            "    .cfi_adjust_cfa_offset -16\n" \
            "    .cfi_restore x29\n" \
            "    .cfi_restore x30\n" \
            "    adrp x16, passing_" #own "\n" \
            "    ldr x17, [x16, :lo12:passing_" #own "]\n" \
            "    cbz x17, 2f\n" \
            "    br x17\n" \
            "2:  b hook_" #own "\n" \
            "    .cfi_endproc\n" \
            ".size " #label ", . - " #label "\n" \
            ".popsection\n")

/* passing_settle(entry), which preserves every register that may pass an argument: integers, the result's address, and
 * vectors. */
#define SETTLE_KEEPING \
    __asm__(".pushsection .text\n" \
            ".type passing_settle_keeping, %function\n" \
            "passing_settle_keeping:\n" \
            "    .cfi_startproc\n" \
            "    stp x29, x30, [sp, #-224]!\n" \
            "    .cfi_adjust_cfa_offset 224\n" \
            "    .cfi_rel_offset x29, 0\n" \
            "    .cfi_rel_offset x30, 8\n" \
            "    stp x0, x1, [sp, #16]\n" \
            "    stp x2, x3, [sp, #32]\n" \
            "    stp x4, x5, [sp, #48]\n" \
            "    stp x6, x7, [sp, #64]\n" \
            "    str x8, [sp, #80]\n" \
            "    stp q0, q1, [sp, #96]\n" \
            "    stp q2, q3, [sp, #128]\n" \
            "    stp q4, q5, [sp, #160]\n" \
            "    stp q6, q7, [sp, #192]\n" \
            "    mov x0, x16\n" \
            "    bl passing_settle\n" \
            "    ldp x0, x1, [sp, #16]\n" \
            "    ldp x2, x3, [sp, #32]\n" \
            "    ldp x4, x5, [sp, #48]\n" \
            "    ldp x6, x7, [sp, #64]\n" \
            "    ldr x8, [sp, #80]\n" \
            "    ldp q0, q1, [sp, #96]\n" \
            "    ldp q2, q3, [sp, #128]\n" \
            "    ldp q4, q5, [sp, #160]\n" \
            "    ldp q6, q7, [sp, #192]\n" \
            "    ldp x29, x30, [sp], #224\n" \
            "    .cfi_adjust_cfa_offset -224\n" \
            "    .cfi_restore x29\n" \
            "    .cfi_restore x30\n" \
            "    ret\n" \
            "    .cfi_endproc\n" \
            ".size passing_settle_keeping, . - passing_settle_keeping\n" \
            ".popsection\n")

/* syscall: all arguments are in registers, so a plain function is enough. */
#define SYSCALL_JUMP \
    HOOK long hook_syscall(long number, long a, long b, long c, long d, long e, long f) { \
        if (number == SYS_seccomp || number == SYS_mlockall || number == SYS_setrlimit || number == SYS_prlimit64 \
            || number == SYS_execve || number == SYS_execveat) \
            return system_calls_ours(number, a, b, c, d, e); \
        return next_syscall != NULL ? next_syscall(number, a, b, c, d, e, f) \
                                    : system_calls_early(number, a, b, c, d, e, f); \
    }

/* dlsym(handle, name), as on x86-64. */
#define LATE_DLSYM \
    __asm__(".pushsection .text\n" \
            ".globl hook_dlsym\n" \
            ".hidden hook_dlsym\n" \
            ".type hook_dlsym, %function\n" \
            "hook_dlsym:\n" \
            "    .cfi_startproc\n" \
            "    stp x29, x30, [sp, #-32]!\n" \
            "    .cfi_adjust_cfa_offset 32\n" \
            "    .cfi_rel_offset x29, 0\n" \
            "    .cfi_rel_offset x30, 8\n" \
            "    stp x0, x1, [sp, #16]\n" \
            "    bl late_look\n" \
            "    mov x16, x0\n" \
            "    ldp x0, x1, [sp, #16]\n" \
            "    ldp x29, x30, [sp], #32\n" \
            "    .cfi_adjust_cfa_offset -32\n" \
            "    .cfi_restore x29\n" \
            "    .cfi_restore x30\n" \
            "    cbz x16, 1f\n" \
            "    mov x0, x16\n" \
            "    ret\n" \
            "1:  adrp x16, late_next_dlsym\n" \
            "    ldr x16, [x16, #:lo12:late_next_dlsym]\n" \
            "    br x16\n" \
            "    .cfi_endproc\n" \
            ".size hook_dlsym, . - hook_dlsym\n" \
            ".popsection\n");

#endif
