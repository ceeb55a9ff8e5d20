/*
 * The functions that are next in line: those that the program would call without us.
 */
#ifndef HEAPSUM_NEXT_H
#define HEAPSUM_NEXT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* std::nothrow_t and std::align_val_t, as the ABI passes them. */
typedef const void *nothrow_t;
typedef size_t align_val_t;

struct next {
    void *(*malloc)(size_t);
    void (*free)(void *);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    void (*free_sized)(void *, size_t);                 /* NULL where the allocator has none */
    void (*free_aligned_sized)(void *, size_t, size_t); /* likewise */
    size_t (*malloc_usable_size)(void *);
    int (*sigaction)(int, const struct sigaction *, struct sigaction *);
    void (*(*signal)(int, void (*)(int)))(int);
    void (*(*sysv_signal)(int, void (*)(int)))(int);
    void (*(*sigset)(int, void (*)(int)))(int);
    int (*dlclose)(void *);
    int (*mlockall)(int);
    int (*prctl)(int, unsigned long, unsigned long, unsigned long, unsigned long); /* variadic in its header, and called alike */
    long (*syscall)(long, long, long, long, long, long, long);
    bool is_glibc;          /* malloc is glibc's own */
    bool knows_usable_size; /* malloc_usable_size is of the same module as malloc */
};

extern struct next next;

/* next.syscall, where the jump in sandbox.c finds it. */
extern long (*sandbox_next_syscall)(long, long, long, long, long, long, long);

/* Whether they are known: `malloc` is set last. */
static inline bool next_known(void) { return __atomic_load_n(&next.malloc, __ATOMIC_ACQUIRE) != NULL; }

/* Behind a dlsym or dlopen of ours that may have failed: the program must not find our message in dlerror. Takes no lock but the loader's. */
void next_forget_error(void);

/* Finds the C functions; once, before anything else. What dlsym allocates meanwhile comes from the arena. */
void next_resolve(void);

/* An operator new or delete, once it is found. */
struct next_operator {
    void *function;
    bool brings_own; /* it lives beside the next malloc, and allocates by itself */
};

/*
 * The next operator of this mangled name, for a call from `caller`, found at the first call and kept in `*found`; NULL where
 * no library has one.
 */
void *next_operator(const char *name, struct next_operator *found, uintptr_t caller);

/* Memory for what is asked before the next functions are known; never fails while the kernel gives pages, never taken back. */
void *arena_allocate(size_t bytes, size_t alignment);
#define ARENA_BYTES (64u << 10)
extern uint8_t arena[ARENA_BYTES];
static inline bool arena_owns(const void *pointer) { return (uintptr_t)pointer - (uintptr_t)arena < ARENA_BYTES; }
/* The bytes that a block of the arena holds. */
size_t arena_size(const void *pointer);

#endif
