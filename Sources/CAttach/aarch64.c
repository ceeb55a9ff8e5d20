/* The instructions of a call in a stopped thread: AArch64. See code.h. */
#if defined(__aarch64__)

#include <errno.h>
#include <string.h>

#include "code.h"

#define BRANCH_TYPE 0xC00ull

/*
 * The instructions of each call are the same, and what differs is data behind them: the processor's cache of
 * instructions is told of the first time that they are written, and needs not be again. ppoll as on x86-64, where a
 * comment says why.
 */
__asm__(".pushsection .rodata\n"
        ".balign 8\n"
        "attach_code:\n"
        "    ldr x16, 1f\n" /* __errno_location */
        "    blr x16\n"
        "    mov x19, x0\n"
        "    ldr w20, [x0]\n"
        "    ldr x0, 2f\n"
        "    ldr x1, 3f\n"
        "    ldr x16, 4f\n" /* the function */
        "    blr x16\n"
        "    ldr x9, 5f\n" /* the answer's place, and behind it that it is there */
        "    str x0, [x9]\n"
        "    str w20, [x19]\n"
        "    add x10, x9, #8\n"
        "    mov x11, #1\n"
        "    stlr x11, [x10]\n"
        "    mov x0, #0\n"
        "    mov x1, #0\n"
        "    add x2, x9, #16\n" /* the time to wait */
        "    mov x3, #0\n"
        "    mov x4, #8\n"
        "    mov x8, #73\n" /* ppoll */
        "    svc #0\n"
        "    ldr x9, 6f\n" /* the frame */
        "    mov sp, x9\n"
        "    mov x8, #139\n" /* rt_sigreturn */
        "    svc #0\n"
        ".balign 8\n"
        "1: .quad 0\n"
        "2: .quad 0\n"
        "3: .quad 0\n"
        "4: .quad 0\n"
        "5: .quad 0\n"
        "6: .quad 0\n"
        "attach_code_end:\n"
        ".popsection\n");
extern const uint8_t attach_code[] __attribute__((visibility("hidden")));
extern const uint8_t attach_code_end[] __attribute__((visibility("hidden")));

/* By ptrace, which tells the cache of instructions of it; process_vm_writev doesn't. */
static bool write_code(pid_t tid, uint64_t at, const uint8_t *code, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        uint64_t word;
        memcpy(&word, code + i, 8);
        if (ptrace(PTRACE_POKETEXT, tid, at + i, word) != 0) return false;
    }
    return true;
}

int code_write(const struct attach_thread *thread, const struct code_call *call, struct user_regs_struct *registers) {
    const uint64_t data[6] = {
        thread->plan.errno_location, call->one, call->two, call->function, call->answer_at, call->frame};
    const size_t bytes = (size_t)(attach_code_end - attach_code), count = bytes - sizeof data;
    uint64_t first;
    if (attach_read(thread->plan.pid, call->code, &first, 8) != 8
        || (first == 0 && !write_code(thread->tid, call->code, attach_code, count))
        || attach_write(thread->plan.pid, call->code + count, data, sizeof data) != sizeof data)
        return -EFAULT;
    registers->pc = call->code;
    registers->sp = call->stack;
    registers->pstate &= ~BRANCH_TYPE;
    registers->regs[29] = registers->regs[30] = 0;
    return 0;
}

#endif
