/*
 * x86-64: a client request of Valgrind's, what is put in its place, and the vector registers.
 */
#ifndef HEAPSUM_CHANGED_X86_64_H
#define HEAPSUM_CHANGED_X86_64_H

#include <string.h>

#include "base/callers.h"
#include "base/symbols.h"
#include "base/system.h"

/* rolq $3, %rdi; rolq $13, %rdi; rolq $61, %rdi; rolq $51, %rdi; xchgq %rbx, %rbx (valgrind.h). Together they do
 * nothing. %rax has the address of the request's words, %rdx the default, which is then the answer. */
#define REQUEST_INSTRUCTIONS \
    { 0x48, 0xC1, 0xC7, 0x03, 0x48, 0xC1, 0xC7, 0x0D, 0x48, 0xC1, 0xC7, 0x3D, 0x48, 0xC1, 0xC7, 0x33, 0x48, 0x87, 0xDB }

/* leaq -128(%rsp), %rsp; call; leaq 128(%rsp), %rsp; nop. The call leaves the red zone alone, and lea no flag changed.
 */
#define CHANGED_INSTRUCTIONS \
    { 0x48, 0x8D, 0x64, 0x24, 0x80, 0xE8, 0, 0, 0, 0, 0x48, 0x8D, 0xA4, 0x24, 0x80, 0, 0, 0, 0x90 }

#define CHANGED_BYTES 19u
#define CHANGED_CALL 5u    /* the call's offset … */
#define CHANGED_RETURN 10u /* … and that of the instruction that follows it */
#define CHANGED_DEPTH 128  /* bytes by which the stack pointer is lower at these two */

/* Whether these CHANGED_BYTES bytes are such a place. */
static inline bool is_changed_place(const uint8_t *bytes) {
    static const uint8_t changed[CHANGED_BYTES] = CHANGED_INSTRUCTIONS;
    return memcmp(bytes, changed, CHANGED_CALL + 1) == 0
        && memcmp(bytes + CHANGED_RETURN, changed + CHANGED_RETURN, CHANGED_BYTES - CHANGED_RETURN) == 0;
}

/* How much lower the stack pointer is at the instruction at `pc` than the code's call frame information says: a signal
 * may interrupt a place between its two leas. */
static inline int64_t changed_depth(uintptr_t pc) {
    uint8_t bytes[CHANGED_BYTES];
    const uint32_t offsets[] = {CHANGED_CALL, CHANGED_RETURN};
    for (int i = 0; i < 2; i++) {
        const uintptr_t start = pc - offsets[i], end = start + CHANGED_BYTES - 1;
        /* where the kernel may not be asked, nothing is read outside the page of the pc */
        if (!system_may_look() && (start / 4096 != pc / 4096 || end / 4096 != pc / 4096)) continue;
        if (memory_fetch(bytes, start, sizeof bytes) && is_changed_place(bytes)) return CHANGED_DEPTH;
    }
    return 0;
}

/* Where the recorder is too far for a call, places call a page that has this alone: jmpq *0(%rip), to the address that
 * follows. */
#define BRIDGE_INSTRUCTIONS \
    { 0xFF, 0x25, 0, 0, 0, 0 }
#define BRIDGE_JUMP 6

/* Whether the instruction at `pc` is such a jump. */
static inline bool is_bridge(uintptr_t pc) {
    static const uint8_t jump[BRIDGE_JUMP] = BRIDGE_INSTRUCTIONS;
    uint8_t bytes[BRIDGE_JUMP + sizeof(uintptr_t)];
    uintptr_t target;
    if (pc % 4096 != 0 || !memory_fetch(bytes, pc, sizeof bytes) || memcmp(bytes, jump, BRIDGE_JUMP) != 0) return false;
    memcpy(&target, bytes + BRIDGE_JUMP, sizeof target);
    return module_span_holds(&callers.own, target);
}

/* What XSAVE writes for x87, SSE, AVX and AVX-512 (Intel SDM, volume 1, 13.4): the last of them ends at byte 2,688. */
#define VECTORS_MASK 0xE7u
#define VECTORS_BYTES 2688
#define VECTORS_HEADER 512 /* 64 bytes, of which XSAVE writes the first 8; the others must be 0 */

struct kept_vectors {
    uint8_t state[VECTORS_BYTES];
} __attribute__((aligned(64)));

/* Whether the system has enabled XSAVE (OSXSAVE: CPUID.1:ECX.27). CPUID is slow in virtual machines: ask once. */
static inline bool vectors_have_xsave(void) {
    uint32_t a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return c >> 27 & 1;
}
static inline void vectors_keep(struct kept_vectors *kept) {
    if (load_relaxed(&code_is_changed) == CODE_CHANGED_WITH_XSAVE) {
        memset(kept->state + VECTORS_HEADER, 0, 64);
        __asm__ volatile("xsave64 %0" : "+m"(*kept) : "a"(VECTORS_MASK), "d"(0));
    } else {
        __asm__ volatile("fxsave64 %0" : "=m"(*kept));
    }
}

static inline void vectors_restore(const struct kept_vectors *kept) {
    if (load_relaxed(&code_is_changed) == CODE_CHANGED_WITH_XSAVE)
        __asm__ volatile("xrstor64 %0" : : "m"(*kept), "a"(VECTORS_MASK), "d"(0));
    else __asm__ volatile("fxrstor64 %0" : : "m"(*kept));
}

#endif
