/*
 * The list of all interposed functions; C++'s operators are in base/operators.h.
 *
 * The tests read both files as text (one name a line, `X(name)`), hold the library's exports against the names, and
 * call each. base/next.h lists the next functions with their types.
 */
#ifndef HEAPSUM_INTERPOSED_H
#define HEAPSUM_INTERPOSED_H

#include "base/operators.h"

/* C's allocation functions that every allocator has. */
#define INTERPOSED_C(X) \
    X(malloc) \
    X(free) \
    X(calloc) \
    X(realloc)

/* The other ones, whose names a program may use for something else. If the next allocator lacks one (free_sized may be
 * newer than this libc), the functions above replace it. */
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
 * Functions that libc has in its first symbol version, for programs linked when there was no other. They are exported
 * in that version only, so that other programs, and dlsym, don't see them: X(name in here, name).
 */
#define INTERPOSED_OLD(X) X(cfree, cfree)
#define INTERPOSED_OLD_SPAWN(X) \
    X(old_posix_spawn, posix_spawn) \
    X(old_posix_spawnp, posix_spawnp)

/* Functions other than allocation that we have to see so that the program behaves as it would without us
 * (signal_hooks.c, hazards.c, sandbox.c, system_calls.c, exec_hooks.c). */
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
