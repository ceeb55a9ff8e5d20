/*
 * syscall(): the calls that are interposed by their names are seen by their numbers, too. All others are a jump to the next function, which finds the
 * stack as its caller left it: it takes one argument from there, whether or not that was given; and a child that shares the
 * stack (SYS_vfork) returns before its parent does.
 */
#include <errno.h>
#include <stddef.h>

#include "base/next.h"
#include "base/system.h"
#include "hooks/exec_hooks.h"
#include "hooks/hazards.h"
#include "hooks/sandbox.h"
#include "process/start.h"
#include "threads/hook.h"

/* Before the next functions are known, and where errno may not be to be had. */
HOOK long system_calls_early(long number, long a, long b, long c, long d, long e, long f) {
    if (start_next() && next.syscall != NULL) return next.syscall(number, a, b, c, d, e, f);
    long answer = system_call(number, a, b, c, d, e, f);
    return answer < 0 && answer >= -4095 ? -1 : answer;
}

/* One of ours. The arguments that a call has not are not looked at. */
HOOK long system_calls_ours(long number, long a, long b, long c, long d, long e) {
    if (!start_next() || next.syscall == NULL) return system_calls_early(number, a, b, c, d, e, 0);
    switch (number) {
        case SYS_seccomp: return sandbox_seccomp(a, b, c);
        case SYS_mlockall: return hook_mlockall((int)a);
        case SYS_execve: return hook_execve((const char *)a, (char *const *)b, (char *const *)c);
        default: return exec_at((int)a, (const char *)b, (char *const *)c, (char *const *)d, (int)e);
    }
}

#if defined(__x86_64__)
_Static_assert(SYS_seccomp == 317 && SYS_mlockall == 151 && SYS_execve == 59 && SYS_execveat == 322, "below");
__asm__(".pushsection .text\n"
        ".globl hook_syscall\n"
        ".hidden hook_syscall\n"
        ".type hook_syscall, @function\n"
        "hook_syscall:\n"
        "    .cfi_startproc\n"
        "    cmpq $317, %rdi\n"
        "    je system_calls_ours\n"
        "    cmpq $151, %rdi\n"
        "    je system_calls_ours\n"
        "    cmpq $59, %rdi\n"
        "    je system_calls_ours\n"
        "    cmpq $322, %rdi\n"
        "    je system_calls_ours\n"
        "    movq next_syscall(%rip), %rax\n"
        "    testq %rax, %rax\n"
        "    jz system_calls_early\n"
        "    jmpq *%rax\n"
        "    .cfi_endproc\n"
        ".size hook_syscall, . - hook_syscall\n"
        ".popsection\n");
#else
HOOK long hook_syscall(long number, long a, long b, long c, long d, long e, long f) { /* all of them in registers */
    if (number == SYS_seccomp || number == SYS_mlockall || number == SYS_execve || number == SYS_execveat) return system_calls_ours(number, a, b, c, d, e);
    return next_syscall != NULL ? next_syscall(number, a, b, c, d, e, f) : system_calls_early(number, a, b, c, d, e, f);
}
#endif
