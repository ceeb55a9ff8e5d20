/* Restartable sequences (rseq): code that the kernel leads to another place if the thread is interrupted in it. */
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "registers.h"

static bool copy(pid_t tid, uint64_t address, void *buffer, size_t count) {
    struct iovec here = {buffer, count}, there = {(void *)(uintptr_t)address, count};
    return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)count;
}

bool registers_is_in_sequence(pid_t tid, const struct user_regs_struct *saved, const struct registers_before *before) {
    struct {
        uint64_t pointer;
        uint32_t size, signature, flags, padding;
    } where = {0};
    struct {
        uint32_t version, flags;
        uint64_t start, length, abort;
    } section;
    uint64_t current;
    if (registers_call(saved, before) >= 0) return false; /* a sequence contains no system call */
    if (ptrace(0x420F /* PTRACE_GET_RSEQ_CONFIGURATION */, tid, sizeof where, &where) < 0 || where.pointer == 0)
        return false;
    if (!copy(tid, where.pointer + 8, &current, sizeof current)) return true;
    if (current == 0) return false;
    if (!copy(tid, current, &section, sizeof section)) return true;
    return registers_instruction(saved) - section.start < section.length;
}
