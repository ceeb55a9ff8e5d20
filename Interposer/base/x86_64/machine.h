/*
 * x86-64: what differs by architecture.
 */
#ifndef HEAPSUM_MACHINE_X86_64_H
#define HEAPSUM_MACHINE_X86_64_H

#include <elf.h>
#include <linux/audit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The architecture's names in ELF files, in seccomp filters and in libunwind's symbols; the version of libc's first
 * symbols. */
#define MACHINE_ELF EM_X86_64
/* Relocations of a table's entry that calls go through, of one that holds an address, and of a word of data. */
#define MACHINE_RELOCATION_CALL R_X86_64_JUMP_SLOT
#define MACHINE_RELOCATION_ADDRESS R_X86_64_GLOB_DAT
#define MACHINE_RELOCATION_WORD R_X86_64_64
/* Of words by which a thread-local variable is found (base/thread_variable.c). */
#define MACHINE_RELOCATION_TPOFF R_X86_64_TPOFF64
#define MACHINE_RELOCATION_DTPMOD R_X86_64_DTPMOD64
#define MACHINE_RELOCATION_TLSDESC R_X86_64_TLSDESC
#define MACHINE_AUDIT AUDIT_ARCH_X86_64
#define MACHINE_LIBUNWIND_PREFIX "_ULx86_64"
#define MACHINE_LIBC_VERSION "GLIBC_2.2.5"
/* libc has posix_spawn in two versions. */
#define MACHINE_HAS_OLD_SPAWN 1

/* The flag that libc adds to each action (sigaction(2), SA_RESTORER). */
#define MACHINE_SA_RESTORER 0x04000000

/* Our own unwinder supports this architecture, and is the default. */
#define OWN_UNWINDER 1

/* Adds to a word that only this thread writes. One instruction, so that a signal handler of this thread may do so too;
 * without the lock prefix, which costs some 6 ns. */
#define add_alone(p, v) __asm__("addq %1, %0" : "+m"(*(p)) : "er"((uint64_t)(v)))
/* Subtracts in the same way, and says whether the difference is below 0, even if it is too small for the word. */
static inline bool lower_alone(int64_t *word, int64_t by) {
    bool is_negative;
    __asm__("subq %2, %1" : "=@ccl"(is_negative), "+m"(*word) : "er"(by));
    return is_negative;
}

/* DWARF's numbers of the frame pointer, the stack pointer and the pc (the return address's), and of all registers that
 * matter. */
enum { DWARF_FP = 6, DWARF_SP = 7, DWARF_PC = 16, DWARF_REGISTERS = 17 };

/* Where the kernel saves registers, from the stack pointer at a signal handler's return (struct ucontext_t). */
#define SIGNAL_FRAME_FP 120
#define SIGNAL_FRAME_SP 160
#define SIGNAL_FRAME_PC 168

/* A function's frame, as far as its caller's registers are found by it: the frame pointer points to the caller's frame
 * pointer, and the return address lies above that. */
struct machine_frame {
    uintptr_t fp;
};
#define MACHINE_FRAME ((struct machine_frame){(uintptr_t)__builtin_frame_address(0)})
/* The caller's stack pointer after the call. */
static inline uintptr_t machine_caller_sp(struct machine_frame frame) { return frame.fp + 16; }

/* A return address as a pc: the same. */
static inline uintptr_t machine_strip(uintptr_t return_address) { return return_address; }

/* The thread pointer: the first word at it is its own address. */
static inline uintptr_t machine_thread_pointer(void) {
    uintptr_t pointer;
    __asm__("movq %%fs:0, %0" : "=r"(pointer));
    return pointer;
}

/* The thread's vector of its modules' thread-local variables, where both C libraries have it. */
static inline const uintptr_t *machine_vector(int is_musl) {
    (void)is_musl;
    return ((const uintptr_t *const *)machine_thread_pointer())[1];
}

/* The largest page that a kernel may have. */
#define MACHINE_PAGE_MOST 4096u

/* memcpy and memset. */
static inline void machine_copy(void *to, const void *from, size_t bytes) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
}
static inline void machine_fill(void *to, int value, size_t bytes) {
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
}

/*
 * A system call: the number in rax, arguments in rdi, rsi, rdx, r10, r8 and r9; the kernel overwrites rcx and r11
 * (System V ABI, AMD64, A.2.1). A result in [-4095, -1] is a negated errno.
 */
static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return answer;
}

/* The clock's name in the vDSO. */
#define VDSO_CLOCK "__vdso_clock_gettime"

/*
 * Whether we run on Valgrind: its client request 0x1001. valgrind.h documents the request and the instructions, which
 * do nothing on a processor.
 */
static inline unsigned long running_on_valgrind(void) {
    volatile unsigned long request[6] = {0x1001};
    unsigned long answer = 0;
    __asm__ volatile("rolq $3, %%rdi\n\trolq $13, %%rdi\n\trolq $61, %%rdi\n\trolq $51, %%rdi\n\txchgq %%rbx, %%rbx"
                     : "=d"(answer)
                     : "a"(request), "0"(answer)
                     : "cc", "memory");
    return answer;
}

#endif
