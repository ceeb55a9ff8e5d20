/*
 * syscall(): the system calls that we interpose by name are also interposed by number. For all others it jumps to the
 * next function with the stack unchanged. That matters for two reasons: the next function reads an argument from the
 * stack even if none was passed there, and a child that shares the stack (SYS_vfork) returns before its parent does.
 */
#include <errno.h>
#include <stddef.h>

#include "base/next.h"
#include "base/system.h"
#include "hooks/exec_hooks.h"
#include "hooks/hazards.h"
#include "hooks/sandbox.h"
#include "hooks/stub.h"
#include "process/start.h"
#include "threads/hook.h"

/* Before the next functions are known, when errno may not exist yet. */
HOOK long system_calls_early(long number, long a, long b, long c, long d, long e, long f) {
    if (start_next() && next.syscall != NULL) return next.syscall(number, a, b, c, d, e, f);
    long answer = system_call(number, a, b, c, d, e, f);
    return answer < 0 && answer >= -4095 ? -1 : answer;
}

/* A call that we interpose. Arguments that the call doesn't have are ignored. */
HOOK long system_calls_ours(long number, long a, long b, long c, long d, long e) {
    if (!start_next() || next.syscall == NULL) return system_calls_early(number, a, b, c, d, e, 0);
    switch (number) {
        case SYS_seccomp: return sandbox_seccomp(a, b, c);
        case SYS_mlockall: return hook_mlockall((int)a);
        case SYS_setrlimit: return hook_setrlimit((unsigned)a, (const struct rlimit *)b);
        case SYS_prlimit64: return hook_prlimit((pid_t)a, (unsigned)b, (const struct rlimit *)c, (struct rlimit *)d);
        case SYS_execve: return hook_execve((const char *)a, (char *const *)b, (char *const *)c);
        default: return exec_at((int)a, (const char *)b, (char *const *)c, (char *const *)d, (int)e);
    }
}

SYSCALL_JUMP
