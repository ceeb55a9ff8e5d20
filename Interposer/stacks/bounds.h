/*
 * How far a stack goes: the memory that an unwinder may read.
 */
#ifndef HEAPSUM_BOUNDS_H
#define HEAPSUM_BOUNDS_H

#include <stdint.h>

#include "stacks/cfi.h"

/*
 * The mapped memory from `sp` outwards; `sp` must be in use. It ends at the end of the stack if that is known (the main
 * thread's stack, a thread's own stack up to its thread control block, the alternate signal stack), else where the
 * mapped pages end. Costs a few system calls, so callers keep the answer.
 */
struct cfi_bounds bounds_of_stack(uintptr_t sp);

#endif
