/*
 * AArch64: what differs by architecture.
 */
#ifndef HEAPSUM_MACHINE_AARCH64_H
#define HEAPSUM_MACHINE_AARCH64_H

#include <elf.h>
#include <linux/audit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The architecture's names in ELF files, in seccomp filters and in libunwind's symbols; the version of libc's first
 * symbols. */
#define MACHINE_ELF EM_AARCH64
/* Relocations of a table's entry that calls go through, of one that holds an address, and of a word of data. */
#define MACHINE_RELOCATION_CALL R_AARCH64_JUMP_SLOT
#define MACHINE_RELOCATION_ADDRESS R_AARCH64_GLOB_DAT
#define MACHINE_RELOCATION_WORD R_AARCH64_ABS64
/* Of words by which a thread-local variable is found (base/thread_variable.c). */
#define MACHINE_RELOCATION_TPOFF R_AARCH64_TLS_TPREL
#define MACHINE_RELOCATION_DTPMOD R_AARCH64_TLS_DTPMOD
#define MACHINE_RELOCATION_TLSDESC R_AARCH64_TLSDESC
#define MACHINE_AUDIT AUDIT_ARCH_AARCH64
#define MACHINE_LIBUNWIND_PREFIX "_ULaarch64"
#define MACHINE_LIBC_VERSION "GLIBC_2.17"
/* The flag that libc adds to each action: none, because handlers return through the vDSO. */
#define MACHINE_SA_RESTORER 0

/* A call puts the return address into a register, and the function saves it where it likes. */
#define MACHINE_HAS_LINK_REGISTER 1

/* Our own unwinder supports this architecture, and is the default. */
#define OWN_UNWINDER 1

/* Adds to a word that only this thread writes. Atomic, so that a signal handler of this thread may do so too. */
#define add_alone(p, v) ((void)__atomic_fetch_add((p), (v), __ATOMIC_RELAXED))
/* Subtracts in the same way, and says whether the difference is below 0, even if it is too small for the word. */
static inline bool lower_alone(int64_t *word, int64_t by) {
    return __atomic_fetch_sub(word, by, __ATOMIC_RELAXED) < by;
}

/* DWARF's numbers of the frame pointer, the link register and the stack pointer; ours of the pc, which has none; and
 * the number of all registers that matter. */
enum { DWARF_FP = 29, DWARF_LR = 30, DWARF_SP = 31, DWARF_PC = 32, DWARF_REGISTERS = 33 };

/* Where the kernel saves registers, from the stack pointer at a signal handler's return: x0 and on, x29, x30, the stack
 * pointer and the pc (struct rt_sigframe: a siginfo_t of 128 bytes, then the ucontext_t). */
#define SIGNAL_FRAME_REGISTERS 312
#define SIGNAL_FRAME_FP (SIGNAL_FRAME_REGISTERS + 8 * DWARF_FP)
#define SIGNAL_FRAME_LR (SIGNAL_FRAME_REGISTERS + 8 * DWARF_LR)
#define SIGNAL_FRAME_SP (SIGNAL_FRAME_REGISTERS + 8 * DWARF_SP)
#define SIGNAL_FRAME_PC (SIGNAL_FRAME_REGISTERS + 8 * DWARF_PC)

/* A function's frame, as far as its caller's registers are found by it: the frame pointer points to the caller's frame
 * pointer, and the return address lies above that. Where the frame ends only the compiler knows, because it puts
 * those two at any place of the frame. */
struct machine_frame {
    uintptr_t fp, sp;
};
#define MACHINE_FRAME ((struct machine_frame){(uintptr_t)__builtin_frame_address(0), (uintptr_t)__builtin_dwarf_cfa()})
/* The caller's stack pointer after the call. */
static inline uintptr_t machine_caller_sp(struct machine_frame frame) { return frame.sp; }

/* A return address as a pc: without the signature that pointer authentication may have put into its upper bits.
 * xpaclri, written as the hint that it is: processors without pointer authentication do nothing. */
static inline uintptr_t machine_strip(uintptr_t return_address) {
    register uintptr_t x30 __asm__("x30") = return_address;
    __asm__("hint #7" : "+r"(x30));
    return x30;
}

/* The thread pointer. */
static inline uintptr_t machine_thread_pointer(void) {
    uintptr_t pointer;
    __asm__("mrs %0, tpidr_el0" : "=r"(pointer));
    return pointer;
}

/* The thread's vector of its modules' thread-local variables: glibc has it at the thread pointer, musl before it. */
static inline const uintptr_t *machine_vector(int is_musl) {
    const uintptr_t *const *words = (const uintptr_t *const *)machine_thread_pointer();
    return is_musl ? words[-1] : words[0];
}

/* The largest page that a kernel may have: the others are of 4 and 16 KB. */
#define MACHINE_PAGE_MOST 65536u

/* memcpy and memset, byte by byte, without a loop that a compiler would turn into a call of them. */
static inline void machine_copy(void *to, const void *from, size_t bytes) {
    for (uint8_t *t = to; bytes > 0; bytes--) {
        *t++ = *(const uint8_t *)from;
        from = (const uint8_t *)from + 1;
        __asm__ volatile("" ::: "memory");
    }
}
static inline void machine_fill(void *to, int value, size_t bytes) {
    for (uint8_t *t = to; bytes > 0; bytes--) {
        *t++ = (uint8_t)value;
        __asm__ volatile("" ::: "memory");
    }
}

/* A system call: the number in x8, arguments in x0 to x5. A result in [-4095, -1] is a negated errno. */
static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

/* The clock's name in the vDSO. */
#define VDSO_CLOCK "__kernel_clock_gettime"

/* Whether we run on Valgrind: not asked on this architecture. */
static inline unsigned long running_on_valgrind(void) { return 0; }

#endif
