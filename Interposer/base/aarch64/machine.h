/*
 * AArch64: what differs by architecture.
 */
#ifndef HEAPSUM_MACHINE_AARCH64_H
#define HEAPSUM_MACHINE_AARCH64_H

#include <elf.h>
#include <linux/audit.h>
#include <stddef.h>
#include <stdint.h>

/* The architecture's names in ELF files, in seccomp filters and in libunwind's symbols; the version of libc's first
 * symbols. */
#define MACHINE_ELF EM_AARCH64
/* Relocations of a table's entry that calls go through, of one that holds an address, and of a word of data. */
#define MACHINE_RELOCATION_CALL R_AARCH64_JUMP_SLOT
#define MACHINE_RELOCATION_ADDRESS R_AARCH64_GLOB_DAT
#define MACHINE_RELOCATION_WORD R_AARCH64_ABS64
#define MACHINE_AUDIT AUDIT_ARCH_AARCH64
#define MACHINE_LIBUNWIND_PREFIX "_ULaarch64"
#define MACHINE_LIBC_VERSION "GLIBC_2.17"
/* The flag that libc adds to each action: none, because handlers return through the vDSO. */
#define MACHINE_SA_RESTORER 0

/* Adds to a word that only this thread writes, or subtracts. Atomic, so that a signal handler of this thread may do so
 * too. */
#define add_alone(p, v) ((void)__atomic_fetch_add((p), (v), __ATOMIC_RELAXED))
#define subtract_alone(p, v) ((void)__atomic_fetch_sub((p), (v), __ATOMIC_RELAXED))

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
