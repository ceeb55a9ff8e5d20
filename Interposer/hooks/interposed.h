/*
 * The list of all that the interposer interposes: the one place that names them.
 *
 * The tests read it as text (one name a line, `X(name)`), hold the library's exports against it and call each name. The
 * functions that are next in line are listed with their types in base/next.h.
 */
#ifndef HEAPSUM_INTERPOSED_H
#define HEAPSUM_INTERPOSED_H

/* C's allocation functions that each allocator has. */
#define INTERPOSED_C(X) \
    X(malloc) \
    X(free) \
    X(calloc) \
    X(realloc)

/* The others, whose names a program may use for something else. Those that the next allocator lacks (free_sized: newer
 * than this libc) are built on the first. */
#define INTERPOSED_C_LESS_COMMON(X) \
    X(reallocarray) \
    X(posix_memalign) \
    X(memalign) \
    X(aligned_alloc) \
    X(valloc) \
    X(pvalloc) \
    X(free_sized) \
    X(free_aligned_sized)

/*
 * Those that libc has in its first version alone, or too, for programs linked when it was the only one. They are
 * exported in that version, so that others, and dlsym, don't see them: X(name in here, name).
 */
#define INTERPOSED_OLD(X) X(cfree, cfree)
#define INTERPOSED_OLD_SPAWN(X) \
    X(old_posix_spawn, posix_spawn) \
    X(old_posix_spawnp, posix_spawnp)

/* operator new, by its mangled names (Itanium C++ ABI, 5.1.5): plain, array, nothrow, aligned, both. */
#define INTERPOSED_NEW(X) \
    X(_Znwm) \
    X(_Znam) \
    X(_ZnwmRKSt9nothrow_t) \
    X(_ZnamRKSt9nothrow_t) \
    X(_ZnwmSt11align_val_t) \
    X(_ZnamSt11align_val_t) \
    X(_ZnwmSt11align_val_tRKSt9nothrow_t) \
    X(_ZnamSt11align_val_tRKSt9nothrow_t)

/* operator delete: plain, array, nothrow, sized, aligned, sized and aligned. */
#define INTERPOSED_DELETE(X) \
    X(_ZdlPv) \
    X(_ZdaPv) \
    X(_ZdlPvRKSt9nothrow_t) \
    X(_ZdaPvRKSt9nothrow_t) \
    X(_ZdlPvm) \
    X(_ZdaPvm) \
    X(_ZdlPvSt11align_val_t) \
    X(_ZdaPvSt11align_val_t) \
    X(_ZdlPvSt11align_val_tRKSt9nothrow_t) \
    X(_ZdaPvSt11align_val_tRKSt9nothrow_t) \
    X(_ZdlPvmSt11align_val_t) \
    X(_ZdaPvmSt11align_val_t)

/* Not allocation: what has to be seen so that the program behaves as without us (signal_hooks.c, hazards.c, sandbox.c,
 * system_calls.c, exec_hooks.c). */
#define INTERPOSED_OTHER(X) \
    X(sigaction) \
    X(__sigaction) \
    X(signal) \
    X(bsd_signal) \
    X(ssignal) \
    X(sysv_signal) \
    X(__sysv_signal) \
    X(sigset) \
    X(sigignore) \
    X(siginterrupt) \
    X(dlclose) \
    X(mlockall) \
    X(setrlimit) \
    X(setrlimit64) \
    X(prlimit) \
    X(prlimit64) \
    X(prctl) \
    X(syscall) \
    X(execve) \
    X(execv) \
    X(execvp) \
    X(execvpe) \
    X(fexecve) \
    X(execveat) \
    X(execl) \
    X(execlp) \
    X(execle) \
    X(posix_spawn) \
    X(posix_spawnp) \
    X(system) \
    X(popen)

#endif
