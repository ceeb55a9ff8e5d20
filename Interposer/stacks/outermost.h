/*
 * The outermost frame of a stack whose libc has no call frame information. musl is built without any, so its functions
 * that call main and a thread's start can't be told from others, qsort say, by a table.
 */
#ifndef HEAPSUM_OUTERMOST_H
#define HEAPSUM_OUTERMOST_H

#include <stdbool.h>
#include <stdint.h>

#include "stacks/bounds.h"

/*
 * Whether no frame of the program lies further out than the one of musl's code at `pc`, with this stack pointer. Yes
 * only with proof: between the frame and the thread's first call, or the end of the main thread's stack, there is no
 * return address to any other module. A word left over from an earlier call can look like one: then the stack counts as
 * cut, and says so. The answer depends on the function alone, so a yes is remembered by its pc. Complexity: a few
 * loads, or some system calls at the first time. Takes no lock.
 */
bool outermost_is(uintptr_t pc, uintptr_t sp, const struct cfi_bounds *bounds);

/* Whether a word of the stack, without its signature, is the return address of the thread's first call. What lies above
 * it is not the stack. Complexity: for most words a few comparisons. */
bool outermost_is_first_call(uintptr_t word);

#endif
