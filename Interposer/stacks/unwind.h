/*
 * Unwinding: who called the hook, out to the thread's start.
 *
 * Three ways behind one function: our own (unwind_own_x86_64.c, the default where it exists), frame pointers, and
 * libunwind (unwind_libunwind.c), which is also the oracle of HEAPSUM_VERIFY.
 */
#ifndef HEAPSUM_UNWIND_H
#define HEAPSUM_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hook;

#if defined(__x86_64__)
#define OWN_UNWINDER 1
#endif

/* Looks at the process, once at the start. */
void unwind_start(void);

/* The unwinder in use (enum heap_unwinder). */
uint32_t unwind_kind(void);

/* A module went: what was remembered of it is forgotten. */
void unwind_forget(void);

/* Around a fork: no other thread is inside of libunwind while the address space is copied, as far as a bounded wait can see to that. */
void unwind_fork_begin(void);
void unwind_fork_end(bool in_child);

/* A C++ runtime's module: its operator new may lie between two of our hooks, and is left out of stacks then. */
void unwind_know_runtime(uintptr_t address_in_module);

/* Whether an address is of our own code, or of that runtime. */
bool unwind_is_own(uintptr_t pc);
bool unwind_is_runtime(uintptr_t pc);

/* The number of the stack that called the hook. Keeps errno; never waits but for libunwind's loading. */
uint32_t unwind_stack(const struct hook *hook);

#endif
