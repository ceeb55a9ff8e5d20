/*
 * The next functions: those that the program would call without us.
 */
#ifndef HEAPSUM_NEXT_H
#define HEAPSUM_NEXT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/atomics.h"
#include "base/operators.h"

/* std::nothrow_t and std::align_val_t, as the ABI passes them. */
typedef const void *nothrow_t;
typedef size_t align_val_t;

typedef int sigaction_function(int, const struct sigaction *, struct sigaction *);
typedef void (*signal_handler)(int);

/*
 * The C functions: result, name and parameters. This list makes the table and the look-ups.
 *
 * prctl is variadic in its header, and is called the same way. posix_spawn's file actions and attributes are only
 * passed on.
 */
#define NEXT_FUNCTIONS(X) \
    X(void *, malloc, (size_t)) \
    X(void, free, (void *)) \
    X(void *, calloc, (size_t, size_t)) \
    X(void *, realloc, (void *, size_t)) \
    X(int, posix_memalign, (void **, size_t, size_t)) \
    X(void *, memalign, (size_t, size_t)) \
    X(void *, aligned_alloc, (size_t, size_t)) \
    X(void *, valloc, (size_t)) \
    X(void *, pvalloc, (size_t)) \
    X(void, free_sized, (void *, size_t)) \
    X(void, free_aligned_sized, (void *, size_t, size_t)) \
    X(size_t, malloc_usable_size, (void *)) \
    X(int, sigaction, (int, const struct sigaction *, struct sigaction *)) \
    X(signal_handler, signal, (int, signal_handler)) \
    X(signal_handler, sysv_signal, (int, signal_handler)) \
    X(signal_handler, sigset, (int, signal_handler)) \
    X(int, sigignore, (int)) \
    X(int, siginterrupt, (int, int)) \
    X(int, dlclose, (void *)) \
    X(int, mlockall, (int)) \
    X(int, setrlimit, (unsigned, const struct rlimit *)) \
    X(int, prlimit, (int, unsigned, const struct rlimit *, struct rlimit *)) \
    X(int, prctl, (int, unsigned long, unsigned long, unsigned long, unsigned long)) \
    X(long, syscall, (long, long, long, long, long, long, long)) \
    X(int, execve, (const char *, char *const *, char *const *)) \
    X(int, execv, (const char *, char *const *)) \
    X(int, execvp, (const char *, char *const *)) \
    X(int, execvpe, (const char *, char *const *, char *const *)) \
    X(int, fexecve, (int, char *const *, char *const *)) \
    X(int, execveat, (int, const char *, char *const *, char *const *, int)) \
    X(int, posix_spawn, (int *, const char *, const void *, const void *, char *const *, char *const *)) \
    X(int, posix_spawnp, (int *, const char *, const void *, const void *, char *const *, char *const *)) \
    X(int, system, (const char *)) \
    X(void *, popen, (const char *, const char *))

struct next { /* NULL: no module has the function */
#define NEXT_FIELD(result, name, parameters) result(*name) parameters;
    NEXT_FUNCTIONS(NEXT_FIELD)
#undef NEXT_FIELD
    /* What programs linked before glibc 2.15 call: it also starts a script that has no #! line. */
    __typeof__(int(int *, const char *, const void *, const void *, char *const *, char *const *)) *old_posix_spawn,
        *old_posix_spawnp;
    sigaction_function *libc_sigaction; /* libc's own: for the recorder's handler */
    bool is_glibc;                      /* malloc is glibc's own */
    bool is_sanitizers;                 /* malloc is a sanitizer's, which may look for leaks at the end */
    bool knows_usable_size;             /* malloc_usable_size and malloc are in one module, and it accepts any block */
};

extern HIDDEN struct next next;

/* next.syscall, for the jump in hooks/system_calls.c; NULL until it is known. */
extern long (*next_syscall)(long, long, long, long, long, long, long);

/* Whether the next functions are known: `malloc` is set last. */
static inline bool next_known(void) { return load_acquire(&next.malloc) != NULL; } /* partner: next_resolve's release */

/*
 * Finds the next functions, once. Returns false while this library is not relocated, which is so during an early call
 * by the loader: nothing can be called then, and the arena serves. Allocates nothing, takes no lock; keeps errno.
 */
bool next_resolve(void);

/* ---- operator new and delete ----------------------------------------------------------------------------- */

#define OPERATOR_NUMBER(name) OPERATOR##name,
enum operator_number { OPERATORS(OPERATOR_NUMBER) OPERATOR_COUNT };

/* The operators of the modules of the start, the same for every caller. NULL if none of these modules has one. */
struct next_operator {
    void *function;
    bool brings_own; /* it is in the next malloc's module, and allocates by itself */
};
extern HIDDEN struct next_operator next_operators[OPERATOR_COUNT];

/*
 * The operator for a call from `caller`, if no module of the start has one: that of the scope of the caller's library.
 * Kept for each call site until a module is unloaded. NULL if no library has one. Takes no lock.
 */
void *next_scoped_operator(enum operator_number number, uintptr_t caller);

#endif
