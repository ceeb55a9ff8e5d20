/*
 * The unwinder, behind one function: who called the hook, out to the thread's start.
 */
#ifndef HEAPSUM_UNWIND_H
#define HEAPSUM_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Looks at the process, once at the start. */
void unwind_start(void);

/* The unwinder in use (enum heap_unwinder). */
uint32_t unwind_kind(void);

/* A module went: what was remembered of it is forgotten. */
void unwind_forget(void);

/* Around a fork: no other thread is in the unwinder while the address space is copied, as far as a bounded wait can see to that. */
void unwind_fork_begin(void);
void unwind_fork_end(bool in_child);

/*
 * The return addresses from `caller` (where the hook returns to) outwards, innermost first, at most `most`; none of ours, and not those of an
 * operator new between us. `*complete` is false where the stack is known to go on. Returns their number, at least 1. Keeps errno.
 */
size_t unwind(void **pcs, size_t most, uintptr_t caller, bool *complete);

#endif
