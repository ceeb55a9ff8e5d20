/*
 * How far a stack goes: what an unwinder may read.
 */
#ifndef HEAPSUM_BOUNDS_H
#define HEAPSUM_BOUNDS_H

#include <stdint.h>

#include "stacks/cfi.h"

/*
 * Mapped memory from `sp`, which is in use, outwards: to the end of the stack where that is known (the main thread's,
 * the thread's own below its thread control block, the alternate signal stack), else as far as pages are mapped. Some
 * system calls, so its answer is kept by the caller.
 */
struct cfi_bounds bounds_of_stack(uintptr_t sp);

#endif
