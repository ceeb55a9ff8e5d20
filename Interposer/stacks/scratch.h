/*
 * Work space for unwinding, one for each thread's record. It has its own memory because it is too large for a program's
 * stack.
 */
#ifndef HEAPSUM_SCRATCH_H
#define HEAPSUM_SCRATCH_H

#include "stacks/memo.h"
#include "stacks/modules.h"
#include "stacks/python.h"
#include "stacks/thread_context.h"
#include "stacks/tree.h"
#include "threads/thread.h"

/* At most this many frames are unwound: enough to find the outermost frames of a deep recursion. */
#define UNWIND_MOST 4096
#define UNWIND_MOST_NESTED 1280

struct scratch {
    struct memory memory; /* of level 0, as this is: */
    struct module_cache modules;
    struct module_cache nested_modules;
    struct stack_space spaces[HOOK_LEVELS];
    struct cfi_space cfi[HOOK_LEVELS];
    void *pcs[UNWIND_MOST];
    void *nested_pcs[HOOK_LEVELS - 1][UNWIND_MOST_NESTED];
    void *verified_pcs[UNWIND_MOST_NESTED]; /* HEAPSUM_VERIFY: a handler may unwind meanwhile, at a nested level */
    struct thread_context contexts[HOOK_LEVELS];
    uint64_t python[PYTHON_SPACE_BYTES / sizeof(uint64_t)];
};

#endif
