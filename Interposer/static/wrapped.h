/*
 * The functions that are replaced in a static program. The linker renames them (ld(1), --wrap): whoever calls malloc,
 * libc's own code too, calls __wrap_malloc, which is the hook; __real_malloc is what malloc was.
 *
 * The build reads this file as text (one name a line, `X(name)`), and makes the linker's options of it.
 */
#ifndef HEAPSUM_WRAPPED_H
#define HEAPSUM_WRAPPED_H

/* Both C libraries have them, so that they are always linked. */
#define WRAPPED(X) \
    X(malloc) \
    X(free) \
    X(calloc) \
    X(realloc) \
    X(posix_memalign) \
    X(memalign) \
    X(aligned_alloc) \
    X(valloc) \
    X(sigaction) \
    X(signal) \
    X(mlockall) \
    X(setrlimit) \
    X(prlimit) \
    X(prctl) \
    X(syscall) \
    X(execve) \
    X(execv) \
    X(execvp) \
    X(execvpe) \
    X(fexecve) \
    X(posix_spawn) \
    X(posix_spawnp) \
    X(system) \
    X(popen)

/* The hooks do without libc's own: it may have none, or has it in the object file of one of those above. */
#define WRAPPED_WITHOUT(X) \
    X(reallocarray) \
    X(pvalloc) \
    X(free_sized) \
    X(free_aligned_sized) \
    X(setrlimit64) \
    X(prlimit64) \
    X(execl) \
    X(execlp) \
    X(execle)

#endif
