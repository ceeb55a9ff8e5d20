/*
 * System calls made without libc, because another library may have replaced libc's functions: libfaketime replaces
 * clock_gettime and stat in every program that it is preloaded into, also in heaprun. Times that are compared with an
 * image's must be the kernel's. Each function returns the kernel's result: 0, or a negative errno.
 */
#ifndef HEAPSUM_KERNEL_H
#define HEAPSUM_KERNEL_H

#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static inline long system_call_2(long number, long first, long second) {
#if defined(__x86_64__)
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = first;
    register long x1 __asm__("x1") = second;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    return x0;
#else
#error "no system calls for this processor"
#endif
}

/* clock_gettime(2). */
static inline long kernel_clock(clockid_t clock, struct timespec *time) {
    return system_call_2(SYS_clock_gettime, clock, (long)time);
}

/* fstat(2). On the processors above, libc's struct is the kernel's. */
static inline long kernel_fstat(int descriptor, struct stat *status) {
    return system_call_2(SYS_fstat, descriptor, (long)status);
}

#endif
