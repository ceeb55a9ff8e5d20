/*
 * The functions that are next in line: those that the program would call without us.
 */
#ifndef HEAPSUM_NEXT_H
#define HEAPSUM_NEXT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/atomics.h"

/* std::nothrow_t and std::align_val_t, as the ABI passes them. */
typedef const void *nothrow_t;
typedef size_t align_val_t;

typedef int sigaction_function(int, const struct sigaction *, struct sigaction *);
typedef void (*signal_handler)(int);

/*
 * The C functions, each by its own name: what it answers, and what it is given. One list, for the table and for the
 * look-ups.
 *
 * prctl is variadic in its header, and called alike; posix_spawn's file actions and attributes are only passed on.
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

struct next { /* NULL where nobody has the function */
#define NEXT_FIELD(result, name, parameters) result(*name) parameters;
    NEXT_FUNCTIONS(NEXT_FIELD)
#undef NEXT_FIELD
    /* What programs linked before glibc 2.15 call: it starts a script without a first line, too. */
    __typeof__(int(int *, const char *, const void *, const void *, char *const *, char *const *)) *old_posix_spawn,
        *old_posix_spawnp;
    sigaction_function *libc_sigaction; /* libc's own: for the recorder's handler */
    bool is_glibc;                      /* malloc is glibc's own */
    bool knows_usable_size; /* malloc_usable_size is of the same module as malloc, and may be asked of any block */
};

extern struct next next;

/* next.syscall, where the jump in hooks/system_calls.c finds it; NULL until it is known. */
extern long (*next_syscall)(long, long, long, long, long, long, long);

/* Whether they are known: `malloc` is set last. */
static inline bool next_known(void) { return load_acquire(&next.malloc) != NULL; } /* partner: next_resolve's release */

/*
 * Finds them, once. False while this library is not relocated, as a function which the loader calls early may find it:
 * then nothing can be called, and the arena serves. Allocates nothing, and waits for nobody.
 */
bool next_resolve(void);

/* ---- operator new and delete ----------------------------------------------------------------------------- */

/* clang-format off */
#define OPERATORS(X) \
    X(_Znwm) \
    X(_Znam) \
    X(_ZnwmRKSt9nothrow_t) \
    X(_ZnamRKSt9nothrow_t) \
    X(_ZnwmSt11align_val_t) \
    X(_ZnamSt11align_val_t) \
    X(_ZnwmSt11align_val_tRKSt9nothrow_t) \
    X(_ZnamSt11align_val_tRKSt9nothrow_t) \
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
/* clang-format on */
#define OPERATOR_NUMBER(name) OPERATOR##name,
enum operator_number { OPERATORS(OPERATOR_NUMBER) OPERATOR_COUNT };

/* The operators of the modules of the start: the same for whoever calls. NULL where none of them has one. */
struct next_operator {
    void *function;
    bool brings_own; /* it lives beside the next malloc, and allocates by itself */
};
extern struct next_operator next_operators[OPERATOR_COUNT];

/*
 * The operator for a call from `caller` where the start has none: that of the scope which the caller's library came
 * with. Kept by call site, until a module goes. NULL where no library has one. Waits for nobody.
 */
void *next_scoped_operator(enum operator_number number, uintptr_t caller);

#endif
